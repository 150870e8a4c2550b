//! Waiting for locks: looking, claiming, leaving. Each function is the body of one atomic act.

use crate::model::{EventKind, Owner, Process, Ticket};
use crate::store::acquire::{Acquired, Granted, granted};
use crate::store::data::{HeldLock, NewEvent};
use crate::store::error::StoreError;
use crate::store::grant::{self, CLAIM_NS};
use crate::store::hand_off;
use crate::store::judge::{self, Assessment, Blocker, Request, missing_task};
use crate::store::needs::Needs;
use crate::store::rows::{Evidence, Phase, Questions, Rows, TaskRow, WaiterRow};

type Result<T> = std::result::Result<T, StoreError>;

/// What a waiter sees when it looks for itself.
#[derive(Debug)]
pub(crate) enum Look {
    /// The place is gone.
    Gone,
    /// There is something to be had: come in.
    Turn,
    /// Nothing has changed.
    Still(Box<Still>),
}

/// Why a waiter still waits.
#[derive(Debug)]
pub(crate) struct Still {
    pub(crate) blockers: Vec<Blocker>,
    pub(crate) questions: Questions,
    /// The processes whose end would be news for this waiter.
    pub(crate) watch: Vec<Process>,
    /// How far the first in line is, at most. A waiter that keeps a lease alive by looking counts as the first.
    pub(crate) ahead: u64,
}

/// What a waiter reads, without the door, when it woke up or its second is over.
pub(crate) fn look(rows: &mut dyn Rows, ticket: Ticket, evidence: &Evidence) -> Result<Look> {
    let Some(waiter) = rows.waiter(ticket)? else {
        return Ok(Look::Gone);
    };
    let row = rows
        .task(&waiter.task)?
        .ok_or_else(|| missing_task(&waiter.task))?;
    let held = grant::held_by(rows, &row)?;
    // Waiting is a sign of life. A third of the lease is early enough for it.
    let is_stale = rows.now().boottime_ns.saturating_sub(row.renewed_ns) > row.ttl_ns / 3;
    if !waiter.is_queued() || (is_stale && !held.is_empty()) {
        return Ok(Look::Turn);
    }
    let needs = Needs::of(&held, &waiter.wants);
    let request = Request {
        task: &row.id,
        wants: &needs.uncovered,
        seq: waiter.seq,
    };
    let found = judge::assess(rows, &request, evidence)?;
    if found.is_free() {
        return Ok(Look::Turn);
    }
    let watch = worth_watching(rows, &request, &found)?;
    let ahead = if held.is_empty() {
        judge::places_ahead(rows, &request)?
    } else {
        0
    };
    Ok(Look::Still(Box::new(Still {
        blockers: found.blockers,
        questions: found.questions,
        watch,
        ahead,
    })))
}

/// Whoever is first in line watches the holders, everybody else the one before: then an end wakes one waiter, not all.
fn worth_watching(rows: &mut dyn Rows, request: &Request<'_>, found: &Assessment) -> Result<Vec<Process>> {
    let Some(predecessor) = judge::predecessor(rows, request)? else {
        return Ok(found
            .blockers
            .iter()
            .filter_map(|blocker| blocker.row.owner.process)
            .collect());
    };
    let leased = rows.task(&predecessor.task)?.and_then(|row| row.owner.process);
    Ok(predecessor.owner.process.into_iter().chain(leased).collect())
}

/// What a waiter does when there is something to be had: claims what was handed to it, or takes it.
pub(crate) fn claim(rows: &mut dyn Rows, ticket: Ticket, evidence: &Evidence) -> Result<Acquired> {
    let Some(waiter) = rows.waiter(ticket)? else {
        return Ok(Acquired::Gone);
    };
    let row = rows
        .task(&waiter.task)?
        .ok_or_else(|| missing_task(&waiter.task))?;
    if !waiter.is_queued() {
        return claimed(rows, &waiter, row);
    }
    let held = grant::held_by(rows, &row)?;
    let needs = Needs::of(&held, &waiter.wants);
    let found = judge::assess(
        rows,
        &Request {
            task: &row.id,
            wants: &needs.uncovered,
            seq: waiter.seq,
        },
        evidence,
    )?;
    if found.is_free() {
        return granted(rows, row, held, needs.missing, found, vec![waiter]);
    }
    if !held.is_empty() {
        rows.touch_task(&row.id, rows.now().boottime_ns)?;
    }
    Ok(Acquired::Queued { wake: Vec::new() })
}

/// Turns a grant that was handed over into the full lease.
pub(crate) fn claimed(rows: &mut dyn Rows, waiter: &WaiterRow, mut row: TaskRow) -> Result<Acquired> {
    rows.delete_waiter(waiter)?;
    grant::extend(rows, &mut row);
    rows.put_task(&row)?;
    let held = rows.locks_of(&row.id)?;
    let is_new =
        |held: &&HeldLock| matches!(waiter.phase, Phase::Granted { token, .. } if token == held.token);
    let locks = held.iter().filter(is_new).map(|held| held.lock.clone()).collect();
    Ok(Acquired::Granted(Box::new(Granted {
        row,
        held,
        locks,
        wake: Vec::new(),
    })))
}

/// Ends a wait whose time ran out: the place is kept for a while. What was handed over at the last moment is claimed.
pub(crate) fn leave(rows: &mut dyn Rows, ticket: Ticket) -> Result<Acquired> {
    let last = claim(rows, ticket, &Evidence::new())?;
    if let Acquired::Queued { .. } = last
        && let Some(waiter) = rows.waiter(ticket)?
    {
        let until_ns = rows.now().boottime_ns.saturating_add(CLAIM_NS);
        rows.event(&NewEvent::about(EventKind::ResourceTimedOut, &waiter.task))?;
        rows.update_waiter(&WaiterRow {
            phase: Phase::Away,
            until_ns,
            ..waiter
        })?;
    }
    Ok(last)
}

/// Takes a place out of the queue whose waiter, `owner`, is known to be dead or gives up, and serves those behind it.
pub(crate) fn bury(rows: &mut dyn Rows, ticket: Ticket, owner: &Owner) -> Result<Vec<Ticket>> {
    match rows.waiter(ticket)? {
        Some(waiter) if waiter.is_attended() && waiter.owner == *owner => {
            let freed = grant::take_back(rows, &waiter)?;
            hand_off::hand_off(rows, freed)
        }
        _ => Ok(Vec::new()),
    }
}
