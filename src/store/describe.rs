//! Turns rows into what callers see.

use crate::model::{Conflict, Holder, Lock, Now, Token};
use crate::store::data::{HeldLock, Standing, Task};
use crate::store::judge::Blocker;
use crate::store::rows::TaskRow;

pub(crate) fn task(now: &Now, row: TaskRow, locks: Vec<HeldLock>) -> Task {
    let standing = if row.lost {
        Standing::Lost
    } else if row.token.get() == 0 {
        Standing::Waiting
    } else {
        Standing::Holding
    };
    Task {
        expires_in_ms: expires_in_ms(now, &row),
        id: row.id,
        token: row.token,
        owner: row.owner,
        reason: row.reason,
        metadata: row.metadata,
        since: row.since,
        standing,
        locks,
    }
}

pub(crate) fn conflict(now: &Now, lock: &Lock, token: Token, row: &TaskRow, waiting: bool) -> Conflict {
    Conflict {
        resource: lock.resource.clone(),
        mode: lock.mode,
        holder: Holder {
            task: row.id.clone(),
            host: row.owner.host.clone(),
            pid: row.owner.process.map(|process| process.pid),
            reason: row.reason.clone(),
            since: row.since,
            expires_in_ms: expires_in_ms(now, row),
            token,
        },
        waiting,
    }
}

pub(crate) fn conflicts(now: &Now, blockers: &[Blocker]) -> Vec<Conflict> {
    let described =
        |blocker: &Blocker| conflict(now, &blocker.lock, blocker.token, &blocker.row, blocker.waiting);
    blockers.iter().map(described).collect()
}

/// Milliseconds until a lease runs out. What is left of an older boot has run out.
fn expires_in_ms(now: &Now, row: &TaskRow) -> i64 {
    if row.owner.boot != now.boot {
        return 0;
    }
    now.ms_until(row.renewed_ns.saturating_add(row.ttl_ns))
}
