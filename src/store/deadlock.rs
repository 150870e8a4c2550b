//! Finds the cycle that would close if a task waited for more while others wait for what it has.
//!
//! A task that has nothing keeps nobody waiting, so sets taken at once never come here. Edges only appear when somebody
//! queues, since nobody is overtaken; so it is enough to look then, in the same act.

use std::collections::BTreeSet;

use crate::model::{LockSet, TaskId};
use crate::store::error::StoreError;
use crate::store::grant::{Needs, held_by};
use crate::store::judge::{Request, missing_task};
use crate::store::rows::{Part, Rows, WaiterRow};

type Result<T> = std::result::Result<T, StoreError>;

/// Returns the cycle that would close if `request` were queued: each task waits for the next, the last for the first.
pub(crate) fn find_cycle(rows: &mut dyn Rows, request: &Request<'_>) -> Result<Option<Vec<TaskId>>> {
    if !rows.has_waiters()? || !keeps_somebody_waiting(rows, request.task)? {
        return Ok(None);
    }
    let mut seen = BTreeSet::new();
    let mut paths = vec![vec![request.task.clone()]];
    while let Some(path) = paths.pop() {
        let Some(last) = path.last() else { continue };
        let blockers = if path.len() == 1 {
            blocking(rows, request)?
        } else {
            blocked_by(rows, last)?
        };
        for next in blockers {
            if next == *request.task {
                return Ok(Some(path));
            }
            if seen.insert(next.clone()) {
                paths.push([path.as_slice(), &[next]].concat());
            }
        }
    }
    Ok(None)
}

/// Tells whether somebody may be waiting for what `task` holds, or stands behind a place of it.
fn keeps_somebody_waiting(rows: &mut dyn Rows, task: &TaskId) -> Result<bool> {
    if !rows.waiters_of(task)?.is_empty() {
        return Ok(true);
    }
    let held: LockSet = rows.locks_of(task)?.into_iter().map(|held| held.lock).collect();
    Ok(!rows
        .conflicting_places(&held, Part::first(1, u64::MAX))?
        .is_empty())
}

/// Everybody that a task waits for, at any of its places.
fn blocked_by(rows: &mut dyn Rows, task: &TaskId) -> Result<BTreeSet<TaskId>> {
    let mut blockers = BTreeSet::new();
    for waiter in rows.waiters_of(task)? {
        blockers.extend(blocked_at(rows, &waiter)?);
    }
    Ok(blockers)
}

/// Everybody that a place in the queue waits for.
pub(crate) fn blocked_at(rows: &mut dyn Rows, waiter: &WaiterRow) -> Result<BTreeSet<TaskId>> {
    if !waiter.is_queued() {
        return Ok(BTreeSet::new());
    }
    let row = rows
        .task(&waiter.task)?
        .ok_or_else(|| missing_task(&waiter.task))?;
    let needs = Needs::of(&held_by(rows, &row)?, &waiter.wants);
    blocking(
        rows,
        &Request {
            task: &waiter.task,
            wants: &needs.uncovered,
            seq: waiter.seq,
        },
    )
}

fn blocking(rows: &mut dyn Rows, request: &Request<'_>) -> Result<BTreeSet<TaskId>> {
    let held = rows.conflicting(request.wants, Some(request.task), None)?;
    let mut blockers: BTreeSet<TaskId> = held.into_iter().map(|row| row.task).collect();
    for seq in rows.conflicting_places(request.wants, Part::first(usize::MAX, request.seq))? {
        blockers.extend(rows.waiter_at(seq)?.map(|waiter| waiter.task));
    }
    blockers.remove(request.task);
    Ok(blockers)
}
