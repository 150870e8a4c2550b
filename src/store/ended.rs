//! Whether a lease has ended: by its time, by a death, or not yet. Nothing is looked up here.

use crate::model::{Now, Owner, Resource, Verdict};
use crate::store::rows::{Evidence, Subject, TaskRow};

/// For how many leases a service is left alone.
const SERVICE_LEASES: i64 = 2;

/// Whether a lease has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    No,
    /// It depends on whether a process lives.
    Ask,
    ByTime,
    ByDeath,
}

/// Tells whether the lease of `row` on `resource` has ended.
///
/// A service does not check tokens. Unless the holder is known to be dead, it is left alone for one lease more: whoever
/// lost it by time may still be using it.
pub(crate) fn ended(row: &TaskRow, resource: &Resource, now: &Now, evidence: &Evidence) -> Ended {
    if row.owner.boot != now.boot {
        return Ended::ByDeath;
    }
    let held_for = now.boottime_ns.saturating_sub(row.renewed_ns);
    let leases = if resource.is_unfenced() { SERVICE_LEASES } else { 1 };
    let lease = row.ttl_ns.saturating_mul(leases);
    let by_time = |limit: i64| {
        if held_for >= limit {
            Ended::ByTime
        } else {
            Ended::No
        }
    };
    if row.owner.process.is_none() {
        return by_time(lease);
    }
    if held_for >= lease.max(row.max_hold_ns) {
        return Ended::ByTime;
    }
    match verdict(evidence, &Subject::Lease(row.id.clone()), &row.owner) {
        None => Ended::Ask,
        Some(Verdict::Dead) => Ended::ByDeath,
        Some(Verdict::Alive) => Ended::No,
        Some(Verdict::Unknown) => by_time(lease),
    }
}

/// Tells whether a lease that has ended by its time has ended for services, too.
pub(crate) fn is_over_for_services(row: &TaskRow, now: &Now) -> bool {
    let held_for = now.boottime_ns.saturating_sub(row.renewed_ns);
    held_for >= row.ttl_ns.saturating_mul(SERVICE_LEASES)
}

/// Looks up what is known of `subject`, if it still has the owner that was looked at.
pub(crate) fn verdict(evidence: &Evidence, subject: &Subject, owner: &Owner) -> Option<Verdict> {
    evidence
        .get(subject)
        .filter(|(seen, _)| seen == owner)
        .map(|(_, verdict)| *verdict)
}
