//! Who is named as being in the way of a waiter.
//!
//! The last of ten thousand waits for all the others. Naming them all for each would make the answer, and the time it takes,
//! grow with the square of the queue; so the holders and whoever is served first are named, and that there are more.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Lock, TaskId};
use crate::store::error::StoreError;
use crate::store::grant::held_by;
use crate::store::judge::{Request, missing_task};
use crate::store::needs::Needs;
use crate::store::rows::{Part, Rows, WaiterRow};
use crate::store::shares;

type Result<T> = std::result::Result<T, StoreError>;

/// How many places, and how many locks, are looked at to name somebody.
const LOOKED_AT_MAX: usize = 16;

/// A waiter with those in its way.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub(crate) waiter: WaiterRow,
    pub(crate) by: BTreeSet<TaskId>,
    /// There may be more than were looked at.
    pub(crate) and_others: bool,
}

/// Reads the whole queue, in order of arrival.
pub(crate) fn queue(rows: &mut dyn Rows) -> Result<Vec<Blocked>> {
    let waiters = rows.waiters()?;
    let queue: BTreeMap<u64, &WaiterRow> = waiters.iter().map(|waiter| (waiter.seq, waiter)).collect();
    let blocked = |waiter| blocked(rows, waiter, &queue);
    waiters.iter().map(blocked).collect()
}

fn blocked(rows: &mut dyn Rows, waiter: &WaiterRow, queue: &BTreeMap<u64, &WaiterRow>) -> Result<Blocked> {
    let mut blocked = Blocked {
        waiter: waiter.clone(),
        by: BTreeSet::new(),
        and_others: false,
    };
    if !waiter.is_queued() {
        return Ok(blocked);
    }
    let row = rows
        .task(&waiter.task)?
        .ok_or_else(|| missing_task(&waiter.task))?;
    let wants = Needs::of(&held_by(rows, &row)?, &waiter.wants).uncovered;
    let request = Request {
        task: &waiter.task,
        wants: &wants,
        seq: waiter.seq,
    };
    let held = rows.conflicting(&wants, Some(&waiter.task), Some(LOOKED_AT_MAX))?;
    let places = rows.conflicting_places(&wants, Part::first(LOOKED_AT_MAX, waiter.seq))?;
    blocked.and_others = held.len() >= LOOKED_AT_MAX || places.len() >= LOOKED_AT_MAX;
    blocked.by.extend(held.into_iter().map(|lock| lock.task));
    for share in wants.shares() {
        let held = shares::held(rows, &request, share)?;
        blocked.and_others |= held.len() > LOOKED_AT_MAX;
        let holders = held.into_iter().take(LOOKED_AT_MAX);
        blocked.by.extend(holders.map(|claimant| claimant.task().clone()));
    }
    let is_waited_for = |earlier: &&&WaiterRow| {
        let claims = |lock: Lock| wants.shares().any(|share| share.may_use(&lock.resource));
        wants.waits_for(&earlier.wants) || earlier.wants.iter().any(claims)
    };
    let earlier = places
        .iter()
        .filter_map(|seq| queue.get(seq))
        .filter(is_waited_for);
    blocked.by.extend(earlier.map(|earlier| earlier.task.clone()));
    blocked.by.remove(&waiter.task);
    Ok(blocked)
}
