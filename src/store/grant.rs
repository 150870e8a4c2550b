//! Giving and taking: a grant, a lease that is reaped, a place that is dropped, and the hand-off that follows.
//!
//! Whatever an act frees it hands on before it ends, so nobody can slip in between. Nobody is overtaken: a request is
//! served only if it conflicts with nothing that is held *and* with no request that came earlier.

use serde_json::{Map, Value, json};

use crate::model::{EventKind, Lock, LockSet, Mode, Resource, TaskId, Ticket, Token};
use crate::store::data::{HeldLock, NewEvent, NewTask};
use crate::store::error::StoreError;
use crate::store::judge::{self, Taking, missing_task};
use crate::store::rows::{Part, Phase, Rows, TaskRow, WaiterRow};

type Result<T> = std::result::Result<T, StoreError>;

/// How long a grant that was handed over may stay unclaimed, and how long the place of somebody whose time ran out is
/// kept.
pub(crate) const CLAIM_NS: i64 = 10_000_000_000;

/// How many places the hand-off reads at a time.
const PLACES_MAX: usize = 16;

/// A request compared with what its task holds.
#[derive(Debug)]
pub(crate) struct Needs {
    /// What is not held yet in that mode.
    pub(crate) missing: Vec<Lock>,
    /// The part of it that the task's own locks do not cover: only this can run into others.
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
        Self { missing, uncovered }
    }
}

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

/// Takes what a request needs. Answers what became free by it.
pub(crate) fn take(rows: &mut dyn Rows, takings: Vec<Taking>) -> Result<Vec<Resource>> {
    let mut freed = Vec::new();
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
        let services_too = judge::is_over_for_services(row, rows.now());
        gone.retain(|lock| services_too || !lock.resource.is_unfenced());
        for lock in &gone {
            rows.delete_lock(&row.id, &lock.resource)?;
        }
    }
    let mut freed: Vec<Resource> = gone.iter().map(|lock| lock.resource.clone()).collect();
    for waiter in rows.waiters_of(&row.id)? {
        freed.extend(waiter.wants.iter().map(|lock| lock.resource));
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
    let Phase::Granted { token, upgraded, .. } = &waiter.phase else {
        return drop_place(rows, waiter);
    };
    let mut handed: Vec<Lock> = Vec::new();
    for held in rows.locks_of(&waiter.task)? {
        if held.token != *token {
            continue;
        }
        let resource = &held.lock.resource;
        if upgraded.contains(resource) {
            rows.put_lock(
                &waiter.task,
                &Lock {
                    resource: resource.clone(),
                    mode: Mode::Read,
                },
                *token,
            )?;
        } else {
            rows.delete_lock(&waiter.task, resource)?;
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
    Ok(waiter.wants.iter().map(|lock| lock.resource).collect())
}

/// Removes the row of a task that holds nothing, waits for nothing and has staged nothing.
pub(crate) fn remove_if_idle(rows: &mut dyn Rows, task: &TaskId) -> Result<()> {
    let is_idle = rows.locks_of(task)?.is_empty()
        && (!rows.has_waiters()? || rows.waiters_of(task)?.is_empty())
        && rows.current_transaction(task)?.is_none();
    if is_idle { rows.delete_task(task) } else { Ok(()) }
}

/// Serves the queue after `freed` became free: inserts the locks of everybody whose turn it is, in order of arrival, and
/// answers their tickets.
pub(crate) fn hand_off(rows: &mut dyn Rows, mut freed: Vec<Resource>) -> Result<Vec<Ticket>> {
    let mut served = Vec::new();
    if freed.is_empty() || !rows.has_waiters()? {
        return Ok(served);
    }
    let mut part = Part::first(PLACES_MAX, u64::MAX);
    loop {
        let touched = freed
            .iter()
            .map(|resource| Lock {
                resource: resource.clone(),
                mode: Mode::Write,
            })
            .collect();
        let places = rows.conflicting_places(&touched, part)?;
        let Some(last) = places.last() else {
            return Ok(served);
        };
        part.after = *last;
        for seq in places {
            let Some(waiter) = rows.waiter_at(seq)? else {
                continue;
            };
            if waiter.is_over(rows.now()) {
                // Only places behind this one waited for it, so it is enough to go on from here.
                freed.extend(drop_place(rows, &waiter)?);
                part.after = seq;
                break;
            }
            if hand(rows, &waiter)? {
                served.push(waiter.ticket);
            }
            // Whether it was served or not: whoever stands behind a writer on the whole resource is not next.
            freed.retain(|resource| !writes(&waiter.wants, resource));
            if freed.is_empty() {
                return Ok(served);
            }
        }
    }
}

fn writes(wants: &LockSet, resource: &Resource) -> bool {
    wants
        .iter()
        .any(|want| want.mode == Mode::Write && want.resource.covers(resource))
}

/// Hands a waiter its locks if it is next. It has to claim them.
fn hand(rows: &mut dyn Rows, waiter: &WaiterRow) -> Result<bool> {
    let mut row = rows
        .task(&waiter.task)?
        .ok_or_else(|| missing_task(&waiter.task))?;
    let held = held_by(rows, &row)?;
    let needs = Needs::of(&held, &waiter.wants);
    let is_next = rows
        .conflicting(&needs.uncovered, Some(&waiter.task), Some(1))?
        .is_empty()
        && !has_earlier(rows, waiter, &needs.uncovered)?;
    if !is_next {
        return Ok(false);
    }
    let is_missing = |held: &&HeldLock| {
        needs
            .missing
            .iter()
            .any(|lock| lock.resource == held.lock.resource)
    };
    let upgraded = held
        .iter()
        .filter(is_missing)
        .map(|held| held.lock.resource.clone())
        .collect();
    let renewed_ns = row.renewed_ns;
    grant(rows, &mut row, &needs.missing)?;
    if !held.is_empty() {
        // Being served is no sign of life: what was held before lasts as long as it would have.
        rows.touch_task(&row.id, renewed_ns)?;
    }
    // Without anything new there is nothing that could be taken back, and no lock has the token zero.
    let token = if needs.missing.is_empty() {
        Token::new(0)
    } else {
        row.token
    };
    let absent = waiter.phase == Phase::Away;
    let until_ns = rows.now().boottime_ns.saturating_add(CLAIM_NS);
    let phase = Phase::Granted {
        token,
        upgraded,
        absent,
    };
    rows.update_waiter(&WaiterRow {
        phase,
        until_ns,
        ..waiter.clone()
    })?;
    Ok(true)
}

fn has_earlier(rows: &mut dyn Rows, waiter: &WaiterRow, wants: &LockSet) -> Result<bool> {
    let mut part = Part::first(PLACES_MAX, waiter.seq);
    loop {
        let places = rows.conflicting_places(wants, part)?;
        for seq in &places {
            part.after = *seq;
            if rows
                .waiter_at(*seq)?
                .is_some_and(|other| other.task != waiter.task)
            {
                return Ok(true);
            }
        }
        if places.len() < PLACES_MAX {
            return Ok(false);
        }
    }
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
