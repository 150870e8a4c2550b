//! Keeping, giving back and losing a lease. Each function is the body of one atomic act.

use crate::model::{
    EventKind, Lock, LockSet, Mode, Resource, TaskId, Ticket, TransactionState, Verdict, overlap,
};
use crate::store::backend::Stolen;
use crate::store::data::{NewEvent, Release, Steal};
use crate::store::ended::{Ended, ended, verdict};
use crate::store::error::StoreError;
use crate::store::grant;
use crate::store::hand_off;
use crate::store::needs::Needs;
use crate::store::rows::{Evidence, LockRow, Rows, Subject, TaskRow, WaiterRow};

type Result<T> = std::result::Result<T, StoreError>;

/// How a lease stands for a verb that needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lease {
    /// It is the task's own.
    Held,
    /// It was taken by another.
    Lost,
    /// There is no such task.
    Unknown,
}

/// Extends the lease of a task. One that ran out but was not taken goes on with its token.
pub(crate) fn renew(rows: &mut dyn Rows, id: &TaskId) -> Result<Lease> {
    let Some(mut row) = rows.task(id)? else {
        return Ok(Lease::Unknown);
    };
    if row.lost {
        return Ok(Lease::Lost);
    }
    if row.owner.boot == rows.now().boot {
        rows.touch_task(id, rows.now().boottime_ns)?;
    } else {
        grant::extend(rows, &mut row);
        rows.put_task(&row)?;
    }
    Ok(Lease::Held)
}

/// Gives locks back and serves the queue. Answers what was given back. A task that has nothing left goes.
pub(crate) fn release(
    rows: &mut dyn Rows,
    id: &TaskId,
    what: &Release,
) -> Result<(Lease, Vec<Lock>, Vec<Ticket>)> {
    let Some(row) = rows.task(id)? else {
        return Ok((Lease::Unknown, Vec::new(), Vec::new()));
    };
    let mut released: Vec<Lock> = rows.locks_of(id)?.into_iter().map(|held| held.lock).collect();
    let mut freed = Vec::new();
    match what {
        Release::All => {
            rows.delete_locks_of(id)?;
            if rows.has_waiters()? {
                for waiter in rows.waiters_of(id)? {
                    grant::leave(rows, &waiter)?;
                    freed.extend(waiter.wants.in_line().map(|lock| lock.resource));
                }
            }
        }
        Release::Some(resources) => {
            released.retain(|lock| resources.iter().any(|named| names(named, &lock.resource)));
            for lock in &released {
                rows.delete_lock(id, &lock.resource)?;
            }
        }
    }
    if !released.is_empty() {
        let about = grant::about_locks(EventKind::ResourceUnlocked, id, released.iter());
        rows.event(&NewEvent {
            token: Some(row.token),
            ..about
        })?;
    }
    freed.extend(released.iter().map(|lock| lock.resource.clone()));
    freed.extend(take_back_broken(rows, &row)?);
    grant::remove_if_idle(rows, id)?;
    let wake = hand_off::hand_off(rows, freed)?;
    Ok((if row.lost { Lease::Lost } else { Lease::Held }, released, wake))
}

/// Takes back what was handed over and not claimed, where a part of it was given back meanwhile: whoever comes for it is
/// granted all of it or nothing.
fn take_back_broken(rows: &mut dyn Rows, row: &TaskRow) -> Result<Vec<Resource>> {
    let mut freed = Vec::new();
    if !rows.has_waiters()? {
        return Ok(freed);
    }
    for waiter in rows.waiters_of(&row.id)? {
        let held = grant::held_by(rows, row)?;
        let is_broken = !Needs::of(&held, &waiter.wants).uncovered.is_empty();
        if is_broken && !waiter.is_queued() {
            freed.extend(grant::take_back(rows, &waiter)?);
        }
    }
    Ok(freed)
}

/// Tells whether giving `named` back means `held`: a whole stands for all shares of it.
fn names(named: &Resource, held: &Resource) -> bool {
    named == held || matches!(named, Resource::Pool(_)) && named.covers(held)
}

/// Takes the whole lease of everybody who holds something that `steal` names: half a lock set is of no use to its holder.
/// A commit under way is left alone; recovery or its own end will free it.
pub(crate) fn steal(rows: &mut dyn Rows, steal: &Steal) -> Result<(Stolen, Vec<Ticket>)> {
    let (mut stolen, mut freed) = (Vec::new(), Vec::new());
    let reason = format!("by {}: {}", steal.by, steal.reason);
    for id in named(rows, steal)? {
        let Some(row) = rows.task(&id)? else { continue };
        let locks = rows.locks_of(&id)?;
        if locks.is_empty() || is_committing(rows, &id)? {
            continue;
        }
        freed.extend(grant::reap(rows, &row, EventKind::ResourceStolen, &reason, true)?);
        stolen.push((row, locks));
    }
    let wake = hand_off::hand_off(rows, freed)?;
    Ok((stolen, wake))
}

/// The tasks that a steal is about.
fn named(rows: &mut dyn Rows, steal: &Steal) -> Result<Vec<TaskId>> {
    if steal.resources.is_empty() {
        return Ok(steal.from.iter().cloned().collect());
    }
    let whole: LockSet = steal
        .resources
        .iter()
        .map(|resource| Lock {
            resource: resource.clone(),
            mode: Mode::Write,
        })
        .collect();
    // The parts of a quota overlap, but who names one means that one.
    let is_meant = |row: &LockRow| {
        steal.resources.iter().any(|named| match named {
            Resource::Quota { .. } => *named == row.lock.resource,
            other => overlap(other, &row.lock.resource),
        })
    };
    let mut tasks: Vec<TaskId> = rows
        .conflicting(&whole, None, None)?
        .into_iter()
        .filter(is_meant)
        .map(|row| row.task)
        .collect();
    tasks.sort();
    tasks.dedup();
    tasks.retain(|task| steal.from.as_ref().is_none_or(|from| from == task));
    Ok(tasks)
}

/// Tells whether a commit of the task is under way or decided. One that needs a human is not: nobody else can free it.
fn is_committing(rows: &mut dyn Rows, task: &TaskId) -> Result<bool> {
    let state = rows
        .current_transaction(task)?
        .map(|transaction| transaction.state);
    Ok(!matches!(
        state,
        None | Some(TransactionState::Open | TransactionState::Conflict)
    ))
}

/// Reaps every lease and every place that has ended, and serves the queue. Answers whose leases they were.
pub(crate) fn reap_ended(rows: &mut dyn Rows, evidence: &Evidence) -> Result<(Vec<TaskId>, Vec<Ticket>)> {
    let (mut reaped, mut freed) = (Vec::new(), Vec::new());
    for waiter in rows.waiters()? {
        if has_left(rows, &waiter, evidence) {
            freed.extend(grant::take_back(rows, &waiter)?);
        }
    }
    for row in rows.tasks()? {
        let locks = rows.locks_of(&row.id)?;
        if locks.is_empty() {
            remove_if_forgotten(rows, &row)?;
            continue;
        }
        let state = rows
            .current_transaction(&row.id)?
            .map(|transaction| transaction.state);
        if state.is_some_and(|state| state != TransactionState::Open) {
            continue;
        }
        let ends = locks
            .iter()
            .map(|held| ended(&row, &held.lock.resource, rows.now(), evidence));
        if let Some(end @ (Ended::ByTime | Ended::ByDeath)) = ends.max() {
            let reason = if end == Ended::ByDeath {
                "its owner died"
            } else {
                "its time ran out"
            };
            let by_death = end == Ended::ByDeath;
            freed.extend(grant::reap(
                rows,
                &row,
                EventKind::ResourceExpired,
                reason,
                by_death,
            )?);
            if !row.lost {
                reaped.push(row.id);
            }
        }
    }
    let wake = hand_off::hand_off(rows, freed)?;
    Ok((reaped, wake))
}

fn has_left(rows: &dyn Rows, waiter: &WaiterRow, evidence: &Evidence) -> bool {
    let is_dead = verdict(evidence, &Subject::Place(waiter.seq), &waiter.owner) == Some(Verdict::Dead);
    waiter.is_over(rows.now()) || (waiter.is_attended() && is_dead)
}

/// Removes the row of a task without locks that has nothing to come back for: two leases after its last sign of life.
fn remove_if_forgotten(rows: &mut dyn Rows, row: &TaskRow) -> Result<()> {
    let now = rows.now();
    let silent_for = now.boottime_ns.saturating_sub(row.renewed_ns);
    if row.owner.boot == now.boot && silent_for < row.ttl_ns.saturating_mul(2) {
        return Ok(());
    }
    grant::remove_if_idle(rows, &row.id)
}
