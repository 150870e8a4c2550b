//! Giving and taking: a grant, a lease that is reaped, a place that is dropped.
//!
//! Whatever an act frees it hands on before it ends: see `hand_off`.

use serde_json::{Map, Value, json};

use crate::model::{Amount, EventKind, Lock, LockSet, Mode, Resource, Share, TaskId, Token};
use crate::store::data::{HeldLock, NewEvent, NewTask};
use crate::store::ended;
use crate::store::error::StoreError;
use crate::store::holder::Taking;
use crate::store::rows::{Phase, Rows, TaskRow, WaiterRow};

type Result<T> = std::result::Result<T, StoreError>;

/// How long a grant that was handed over may stay unclaimed, and how long the place of somebody whose time ran out is
/// kept.
pub(crate) const CLAIM_NS: i64 = 10_000_000_000;

/// Describes a new task as a row. It holds nothing yet.
pub(crate) fn new_row(rows: &dyn Rows, new: &NewTask) -> TaskRow {
    let ns = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    TaskRow {
        id: new.id.clone(),
        token: Token::new(0),
        owner: new.owner.clone(),
        ttl_ns: ns(new.ttl_ms),
        max_hold_ns: ns(new.max_hold_ms),
        renewed_ns: rows.now().boottime_ns,
        reason: new.reason.clone(),
        metadata: new.metadata.clone(),
        since: rows.now().wall,
        lost: false,
    }
}

/// Begins the lease anew from now. After a reboot it is tied to no process any more.
pub(crate) fn extend(rows: &dyn Rows, row: &mut TaskRow) {
    let now = rows.now();
    row.renewed_ns = now.boottime_ns;
    if row.owner.boot != now.boot {
        row.owner.boot = now.boot.clone();
        row.owner.process = None;
    }
}

/// Returns what a task may count on: nothing of what a lost lease still blocks for others.
pub(crate) fn held_by(rows: &mut dyn Rows, row: &TaskRow) -> Result<Vec<HeldLock>> {
    if row.lost {
        Ok(Vec::new())
    } else {
        rows.locks_of(&row.id)
    }
}

/// Inserts locks under a new token. `row` gets the token and a lease from now. With nothing to insert a lease is only
/// extended: a new token would make the task's own commit look old.
pub(crate) fn grant(rows: &mut dyn Rows, row: &mut TaskRow, locks: &[Lock]) -> Result<()> {
    extend(rows, row);
    if row.lost {
        // What a lost lease still blocks for others is its own again, under the new token.
        let rest: Vec<Lock> = rows
            .locks_of(&row.id)?
            .into_iter()
            .map(|held| held.lock)
            .collect();
        rows.delete_locks_of(&row.id)?;
        if !rest.is_empty() {
            rows.event(&about_locks(EventKind::ResourceUnlocked, &row.id, rest.iter()))?;
        }
        row.lost = false;
    } else if locks.is_empty() && row.token.get() > 0 {
        return rows.put_task(row);
    }
    row.token = rows.next_token()?;
    rows.put_task(row)?;
    for lock in locks {
        replace_part(rows, &row.id, lock)?;
        rows.put_lock(&row.id, lock, row.token)?;
    }
    if locks.is_empty() {
        return Ok(());
    }
    rows.event(&NewEvent {
        token: Some(row.token),
        reason: row.reason.clone(),
        ..about_locks(EventKind::ResourceLocked, &row.id, locks.iter())
    })
}

/// Of a quota a task has one part: another amount takes its place.
fn replace_part(rows: &mut dyn Rows, task: &TaskId, lock: &Lock) -> Result<()> {
    if !matches!(lock.resource, Resource::Quota { .. }) {
        return Ok(());
    }
    for held in rows.locks_of(task)? {
        if lock.resource.replaces(&held.lock.resource) {
            rows.delete_lock(task, &held.lock.resource)?;
        }
    }
    Ok(())
}

/// Takes what a request needs. Answers what became free by it.
pub(crate) fn take(rows: &mut dyn Rows, mut takings: Vec<Taking>) -> Result<Vec<Resource>> {
    let mut freed = Vec::new();
    // What was handed over goes back to what was held before, and only then a whole lease can end.
    takings.sort_by_key(|taking| matches!(taking, Taking::Lease { .. }));
    for taking in takings {
        freed.extend(match taking {
            Taking::Lease { row, is_dead } => {
                let reason = if is_dead {
                    "its owner died"
                } else {
                    "its time ran out"
                };
                reap(rows, &row, EventKind::ResourceExpired, reason, is_dead)?
            }
            Taking::Handed(waiter) => take_back(rows, &waiter)?,
            Taking::Place(waiter) => drop_place(rows, &waiter)?,
        });
    }
    Ok(freed)
}

/// Ends the lease of a task. Its staged changes stay, and so does its row, so that it hears of it. Locks on services stay
/// in others' way for one lease more unless nobody can be using them any more.
pub(crate) fn reap(
    rows: &mut dyn Rows,
    row: &TaskRow,
    kind: EventKind,
    reason: &str,
    with_services: bool,
) -> Result<Vec<Resource>> {
    let mut gone: Vec<Lock> = rows
        .locks_of(&row.id)?
        .into_iter()
        .map(|held| held.lock)
        .collect();
    if with_services {
        rows.delete_locks_of(&row.id)?;
    } else {
        let services_too = ended::is_over_for_services(row, rows.now());
        gone.retain(|lock| services_too || !lock.resource.is_unfenced());
        for lock in &gone {
            rows.delete_lock(&row.id, &lock.resource)?;
        }
    }
    let mut freed: Vec<Resource> = gone.iter().map(|lock| lock.resource.clone()).collect();
    for waiter in rows.waiters_of(&row.id)? {
        freed.extend(waiter.wants.in_line().map(|lock| lock.resource));
        leave(rows, &waiter)?;
    }
    rows.put_task(&TaskRow {
        lost: true,
        ..row.clone()
    })?;
    rows.event(&NewEvent {
        token: Some(row.token),
        reason: Some(reason.to_owned()),
        ..about_locks(kind, &row.id, gone.iter())
    })?;
    Ok(freed)
}

/// Takes a grant back that was handed over and not claimed. What the task held before it keeps.
pub(crate) fn take_back(rows: &mut dyn Rows, waiter: &WaiterRow) -> Result<Vec<Resource>> {
    let Phase::Granted { token, before, .. } = &waiter.phase else {
        return drop_place(rows, waiter);
    };
    let mut handed: Vec<Lock> = Vec::new();
    for held in rows.locks_of(&waiter.task)? {
        if held.token != *token {
            continue;
        }
        rows.delete_lock(&waiter.task, &held.lock.resource)?;
        if let (Some(kept), _) = split(&held.lock, before) {
            rows.put_lock(&waiter.task, &kept, *token)?;
        }
        handed.push(held.lock);
    }
    rows.delete_waiter(waiter)?;
    rows.event(&NewEvent {
        token: Some(*token),
        reason: Some("nobody claimed it".to_owned()),
        ..about_locks(EventKind::ResourceExpired, &waiter.task, handed.iter())
    })?;
    remove_if_idle(rows, &waiter.task)?;
    Ok(handed.into_iter().map(|lock| lock.resource).collect())
}

/// Splits a lock that was handed over into what its task keeps when the grant is taken back, since it had as much before,
/// and what goes. Who asked for less of a quota than it had does not get that back.
pub(crate) fn split(lock: &Lock, before: &[Resource]) -> (Option<Lock>, Option<Lock>) {
    let kept = before.iter().find(|before| lock.resource.replaces(before));
    let Some(kept) = kept else {
        return (None, Some(lock.clone()));
    };
    let read = |resource| Lock {
        resource,
        mode: Mode::Read,
    };
    match (kept, &lock.resource) {
        (Resource::Quota { amount: had, .. }, Resource::Quota { quota, amount }) => {
            let part = |amount: u64| Resource::Quota {
                quota: quota.clone(),
                amount: Amount::new(amount),
            };
            let kept = had.get().min(amount.get());
            let more = amount.get() - kept;
            (Some(read(part(kept))), (more > 0).then(|| read(part(more))))
        }
        _ => (Some(read(kept.clone())), Some(lock.clone())),
    }
}

/// Removes a place, and says in the history that it was given up if its turn had not come: whoever is served from then on
/// overtakes nobody.
pub(crate) fn leave(rows: &mut dyn Rows, waiter: &WaiterRow) -> Result<()> {
    rows.delete_waiter(waiter)?;
    if waiter.is_queued() {
        rows.event(&NewEvent::about(EventKind::ResourceGivenUp, &waiter.task))?;
    }
    Ok(())
}

/// Takes a place out of the queue. Answers what later places no longer have to wait for.
pub(crate) fn drop_place(rows: &mut dyn Rows, waiter: &WaiterRow) -> Result<Vec<Resource>> {
    leave(rows, waiter)?;
    remove_if_idle(rows, &waiter.task)?;
    Ok(waiter.wants.in_line().map(|lock| lock.resource).collect())
}

/// Removes the row of a task that holds nothing, waits for nothing and has staged nothing.
pub(crate) fn remove_if_idle(rows: &mut dyn Rows, task: &TaskId) -> Result<()> {
    let is_idle = rows.locks_of(task)?.is_empty()
        && (!rows.has_waiters()? || rows.waiters_of(task)?.is_empty())
        && rows.current_transaction(task)?.is_none();
    if is_idle { rows.delete_task(task) } else { Ok(()) }
}

/// Begins a line of the history that is about locks.
pub(crate) fn about_locks<'a>(
    kind: EventKind,
    task: &TaskId,
    locks: impl IntoIterator<Item = &'a Lock>,
) -> NewEvent {
    let locks: Vec<&Lock> = locks.into_iter().collect();
    let one = match locks.as_slice() {
        [lock] => Some(lock.resource.to_string()),
        _ => None,
    };
    let list: Vec<Value> = locks
        .iter()
        .map(|lock| json!({"resource": lock.resource.to_string(), "mode": lock.mode.as_str()}))
        .collect();
    NewEvent {
        resource: one,
        details: Map::from_iter([("locks".to_owned(), list.into())]),
        ..NewEvent::about(kind, task)
    }
}

/// Begins a line of the history that is about a request.
pub(crate) fn about_wants(kind: EventKind, task: &TaskId, wants: &LockSet) -> NewEvent {
    let locks: Vec<Lock> = wants.iter().collect();
    let mut about = about_locks(kind, task, &locks);
    let shares: Vec<&Share> = wants.shares().collect();
    if let [share] = shares[..]
        && locks.is_empty()
    {
        about.resource = Some(share.to_string());
    }
    if !shares.is_empty() {
        about.details.insert("shares".to_owned(), json!(shares));
    }
    about
}
