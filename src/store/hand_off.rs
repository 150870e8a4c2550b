//! The hand-off: whatever an act frees is given to those whose turn it is before the act ends, so nobody can slip in
//! between.
//!
//! Nobody is overtaken: a request is served only if it conflicts with nothing that is held *and* with no request that
//! came earlier. Of a whole that is shared out it gets what those before it leave, so the search goes on behind those who
//! still wait for something else, until nothing is left.

use std::collections::BTreeSet;

use crate::model::{Lock, LockSet, Mode, Resource, Share, Ticket, Token};
use crate::store::claims;
use crate::store::data::HeldLock;
use crate::store::error::StoreError;
use crate::store::grant::{self, CLAIM_NS};
use crate::store::judge::{Request, missing_task};
use crate::store::needs::Needs;
use crate::store::rows::{Part, Phase, Rows, WaiterRow};

type Result<T> = std::result::Result<T, StoreError>;

/// How many places are read at a time.
const PLACES_MAX: usize = 16;

/// Serves the queue after `freed` became free: inserts the locks of everybody whose turn it is, in order of arrival, and
/// answers their tickets.
pub(crate) fn hand_off(rows: &mut dyn Rows, mut freed: Vec<Resource>) -> Result<Vec<Ticket>> {
    let mut served = Vec::new();
    if freed.is_empty() || !rows.has_waiters()? {
        return Ok(served);
    }
    let mut part = Part::first(PLACES_MAX, u64::MAX);
    // Who wants any part of one of these may now have another part set aside than before: then the one that it had before is
    // what became free.
    let mut wished = BTreeSet::new();
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
                freed.extend(grant::drop_place(rows, &waiter)?);
                part.after = seq;
                break;
            }
            let handed = hand(rows, &waiter, &freed)?;
            if handed.is_served {
                served.push(waiter.ticket);
            }
            freed.extend(handed.given_back);
            wished.extend(waiter.wants.shares().map(Share::pool));
            // Whether it was served or not: whoever stands behind a writer on the whole resource is not next.
            freed.retain(|resource| {
                let may_move = resource.pool().is_some_and(|pool| wished.contains(&pool));
                let is_written = writes(&waiter.wants, resource) && !may_move;
                !is_written && !handed.used_up.iter().any(|share| takes(share, resource))
            });
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

/// Tells whether `resource` is a part that may come to whoever waits for `share`.
fn takes(share: &Share, resource: &Resource) -> bool {
    !matches!(resource, Resource::Pool(_)) && share.may_use(resource)
}

/// What came of looking at a place.
#[derive(Default)]
struct Handed {
    is_served: bool,
    /// What the waiter gave back for what it got.
    given_back: Vec<Resource>,
    /// Shares that it still waits for and that leave nothing to those behind it.
    used_up: Vec<Share>,
}

impl Handed {
    fn nothing(rows: &mut dyn Rows, request: &Request<'_>, freed: &[Resource]) -> Result<Self> {
        let mut handed = Self::default();
        for share in request.wants.shares() {
            let matters = freed.iter().any(|resource| takes(share, resource));
            if matters && claims::leaves_nothing(rows, request, share)? {
                handed.used_up.push(share.clone());
            }
        }
        Ok(handed)
    }
}

/// Hands a waiter its locks if it is next. It has to claim them.
fn hand(rows: &mut dyn Rows, waiter: &WaiterRow, freed: &[Resource]) -> Result<Handed> {
    let mut row = rows
        .task(&waiter.task)?
        .ok_or_else(|| missing_task(&waiter.task))?;
    let held = grant::held_by(rows, &row)?;
    let needs = Needs::of(&held, &waiter.wants);
    let request = Request {
        task: &waiter.task,
        wants: &needs.uncovered,
        seq: waiter.seq,
    };
    let is_next = rows
        .conflicting(&needs.uncovered, Some(&waiter.task), Some(1))?
        .is_empty()
        && !has_earlier(rows, &request)?;
    if !is_next {
        return Handed::nothing(rows, &request, freed);
    }
    let Some(chosen) = claims::free(rows, &request)? else {
        return Handed::nothing(rows, &request, freed);
    };
    let locks = [needs.missing, chosen].concat();
    let is_replaced = |held: &&HeldLock| {
        locks
            .iter()
            .any(|lock| lock.resource.replaces(&held.lock.resource))
    };
    let before: Vec<Resource> = held
        .iter()
        .filter(is_replaced)
        .map(|held| held.lock.resource.clone())
        .collect();
    let is_part = |resource: &&Resource| matches!(resource, Resource::Quota { .. });
    let given_back = before.iter().filter(is_part).cloned().collect();
    let renewed_ns = row.renewed_ns;
    grant::grant(rows, &mut row, &locks)?;
    if !held.is_empty() {
        // Being served is no sign of life: what was held before lasts as long as it would have.
        rows.touch_task(&row.id, renewed_ns)?;
    }
    // Without anything new there is nothing that could be taken back, and no lock has the token zero.
    let token = if locks.is_empty() {
        Token::new(0)
    } else {
        row.token
    };
    let absent = waiter.phase == Phase::Away;
    let until_ns = rows.now().boottime_ns.saturating_add(CLAIM_NS);
    let phase = Phase::Granted {
        token,
        before,
        absent,
    };
    rows.update_waiter(&WaiterRow {
        phase,
        until_ns,
        ..waiter.clone()
    })?;
    Ok(Handed {
        is_served: true,
        given_back,
        used_up: Vec::new(),
    })
}

fn has_earlier(rows: &mut dyn Rows, request: &Request<'_>) -> Result<bool> {
    let named = request.wants.named();
    let mut part = Part::first(PLACES_MAX, request.seq);
    loop {
        let places = rows.conflicting_places(&named, part)?;
        for seq in &places {
            part.after = *seq;
            let is_before =
                |other: WaiterRow| other.task != *request.task && request.wants.waits_for(&other.wants);
            if rows.waiter_at(*seq)?.is_some_and(is_before) {
                return Ok(true);
            }
        }
        if places.len() < PLACES_MAX {
            return Ok(false);
        }
    }
}
