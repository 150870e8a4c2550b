//! A request compared with what its task holds.

use crate::model::{AnyOf, Lock, LockSet, Mode, Resource, Share};
use crate::store::data::HeldLock;

/// What is left of a request.
#[derive(Debug)]
pub(crate) struct Needs {
    /// What is not held yet in that mode, shares apart.
    pub(crate) missing: Vec<Lock>,
    /// The part of the request that the task's own locks do not cover: only this can run into others.
    pub(crate) uncovered: LockSet,
}

impl Needs {
    pub(crate) fn of(held: &[HeldLock], wants: &LockSet) -> Self {
        let suffices = |held: &HeldLock, want: &Lock| held.lock.mode >= want.mode;
        let has = |want: &Lock| {
            held.iter()
                .any(|held| held.lock.resource == want.resource && suffices(held, want))
        };
        let missing: Vec<Lock> = wants.iter().filter(|want| !has(want)).collect();
        let covers = |want: &Lock| {
            held.iter()
                .any(|held| suffices(held, want) && held.lock.resource.covers(&want.resource))
        };
        let uncovered = missing.iter().filter(|want| !covers(want)).cloned().collect();
        let mut needs = Self { missing, uncovered };
        for share in wants.shares() {
            match share {
                Share::AnyOf(any) => needs.add_any(any, held, wants),
                Share::Amount { .. } => needs.add_amount(share, held),
            }
        }
        needs
    }

    /// What the task has, or asks for by name in the same request, counts.
    fn add_any(&mut self, any: &AnyOf, held: &[HeldLock], wants: &LockSet) {
        let held = held.iter().map(|held| held.lock.clone());
        let mut excluded = any.excluded.clone();
        let mut missing = any.count;
        for lock in held.chain(wants.iter()) {
            if lock.mode == Mode::Write && any.accepts(&lock.resource) && excluded.insert(lock.resource) {
                missing = missing.saturating_sub(1);
            }
        }
        if missing > 0 {
            self.uncovered.share(Share::AnyOf(AnyOf {
                candidates: any.candidates.clone(),
                count: missing,
                excluded,
            }));
        }
    }

    /// Less than the task has it may have without a turn.
    fn add_amount(&mut self, share: &Share, held: &[HeldLock]) {
        let Share::Amount { quota, amount, .. } = share else {
            return;
        };
        let resource = Resource::Quota {
            quota: quota.clone(),
            amount: *amount,
        };
        match held.iter().find(|held| resource.replaces(&held.lock.resource)) {
            Some(own) if own.lock.resource == resource => {}
            Some(own) if own.lock.resource.covers(&resource) => self.missing.push(Lock {
                resource,
                mode: Mode::Read,
            }),
            _ => self.uncovered.share(share.clone()),
        }
    }
}
