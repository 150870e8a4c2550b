//! Who is named as being in the way of a waiter.
//!
//! The last of ten thousand waits for all the others. Naming them all for each would make the answer, and the time it takes,
//! grow with the square of the queue; so the holders and whoever is served first are named, and that there are more.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Pool, TaskId};
use crate::store::claims;
use crate::store::error::StoreError;
use crate::store::grant::held_by;
use crate::store::judge::{Request, missing_task};
use crate::store::needs::Needs;
use crate::store::rows::{Part, Rows, WaiterRow};

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
    /// Nothing is in the way but that too little is left of this whole.
    pub(crate) only: Option<Pool>,
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
        only: None,
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
    let places = rows.conflicting_places(&wants.named(), Part::first(LOOKED_AT_MAX, waiter.seq))?;
    blocked.and_others = held.len() >= LOOKED_AT_MAX || places.len() >= LOOKED_AT_MAX;
    blocked.by.extend(held.into_iter().map(|lock| lock.task));
    let earlier = places
        .iter()
        .filter_map(|seq| queue.get(seq))
        .filter(|earlier| wants.waits_for(&earlier.wants));
    blocked.by.extend(earlier.map(|earlier| earlier.task.clone()));
    let is_free = blocked.by.is_empty() && !blocked.and_others;
    let mut short = Vec::new();
    // Of a whole that is shared out only those are in the way who leave too little of it.
    for share in wants.shares() {
        if let Err(claimants) = claims::left(rows, &request, share)? {
            blocked.and_others |= claimants.len() > LOOKED_AT_MAX;
            blocked.by.extend(claimants.into_iter().take(LOOKED_AT_MAX));
            short.push(share.pool());
        }
    }
    if let ([pool], true) = (short.as_slice(), is_free) {
        blocked.only = Some(pool.clone());
    }
    blocked.by.remove(&waiter.task);
    Ok(blocked)
}
