//! Who has a claim on a part of a whole: its holders, and the places in the queue that came earlier.

use crate::model::{Amount, Lock, LockSet, Resource, Share, TaskId};
use crate::store::data::HeldLock;
use crate::store::error::StoreError;
use crate::store::grant;
use crate::store::judge::{Request, missing_task};
use crate::store::needs::Needs;
use crate::store::rows::{LockRow, Part, Rows, WaiterRow};
use crate::store::shares::{self, Claim, Claimed, Fit, Grip};

type Result<T> = std::result::Result<T, StoreError>;

/// How many places of the queue are read at a time.
const PLACES_MAX: usize = 16;

/// Who has a claim.
#[derive(Debug, Clone)]
pub(crate) enum Claimant {
    /// Somebody holds it.
    Holder(LockRow),
    /// An earlier place in the queue wants it.
    Place(Box<WaiterRow>, Claimed),
}

impl Claimant {
    pub(crate) fn task(&self) -> &TaskId {
        match self {
            Self::Holder(row) => &row.task,
            Self::Place(waiter, _) => &waiter.task,
        }
    }

    pub(crate) fn claimed(&self) -> Claimed {
        match self {
            Self::Holder(row) => Claimed::Part(row.lock.resource.clone()),
            Self::Place(_, claimed) => claimed.clone(),
        }
    }

    /// Takes it for certain that a claim stays.
    fn firm(&self) -> Claim {
        Claim {
            what: self.claimed(),
            grip: Grip::Firm,
        }
    }
}

/// Finds what others hold of the whole of `share`.
pub(crate) fn held(rows: &mut dyn Rows, request: &Request<'_>, share: &Share) -> Result<Vec<Claimant>> {
    let others = rows.conflicting(&whole(share), Some(request.task), None)?;
    Ok(others.into_iter().map(Claimant::Holder).collect())
}

/// The earlier places in the queue that want something of the whole of a share, a few at a time.
#[derive(Debug)]
pub(crate) struct Earlier {
    part: Part,
    pub(crate) is_over: bool,
}

impl Earlier {
    pub(crate) fn than(request: &Request<'_>) -> Self {
        Self {
            part: Part::first(PLACES_MAX, request.seq),
            is_over: false,
        }
    }

    /// Reads what the next few want, in order of arrival.
    pub(crate) fn next(
        &mut self,
        rows: &mut dyn Rows,
        request: &Request<'_>,
        share: &Share,
    ) -> Result<Vec<Claimant>> {
        let mut claimants = Vec::new();
        if self.is_over || !rows.has_waiters()? {
            self.is_over = true;
            return Ok(claimants);
        }
        let places = rows.conflicting_places(&whole(share), self.part)?;
        self.is_over = places.len() < PLACES_MAX;
        for seq in places {
            self.part.after = seq;
            if let Some(waiter) = rows.waiter_at(seq)?.filter(|waiter| waiter.task != *request.task) {
                let wanted = wanted(rows, &waiter, share)?;
                let claimant = |claimed| Claimant::Place(Box::new(waiter.clone()), claimed);
                claimants.extend(wanted.into_iter().map(claimant));
            }
        }
        Ok(claimants)
    }
}

/// Finds every claim on the whole of `share` that the request has to respect.
pub(crate) fn all(rows: &mut dyn Rows, request: &Request<'_>, share: &Share) -> Result<Vec<Claimant>> {
    let mut claimants = held(rows, request, share)?;
    let mut earlier = Earlier::than(request);
    while !earlier.is_over {
        claimants.extend(earlier.next(rows, request, share)?);
    }
    Ok(claimants)
}

/// Chooses what is left of the whole of `share` if all claims on it stay, or else names whose are in the way. The queue is
/// read no further than it takes to know that.
pub(crate) fn left(
    rows: &mut dyn Rows,
    request: &Request<'_>,
    share: &Share,
) -> Result<std::result::Result<Vec<Lock>, Vec<TaskId>>> {
    let mut claimants = held(rows, request, share)?;
    let mut earlier = Earlier::than(request);
    loop {
        let claims: Vec<Claim> = claimants.iter().map(Claimant::firm).collect();
        match shares::fit(share, &claims) {
            Fit::Short { blockers, .. } => {
                let task = |at: usize| claimants[at].task().clone();
                return Ok(Err(blockers.into_iter().map(task).collect()));
            }
            Fit::Fits { locks, .. } if earlier.is_over => return Ok(Ok(locks)),
            Fit::Fits { .. } => claimants.extend(earlier.next(rows, request, share)?),
        }
    }
}

/// Chooses shares for a request out of what nobody claims; `None` when there is too little.
pub(crate) fn free(rows: &mut dyn Rows, request: &Request<'_>) -> Result<Option<Vec<Lock>>> {
    let mut chosen = Vec::new();
    for share in request.wants.shares() {
        match left(rows, request, share)? {
            Ok(locks) => chosen.extend(locks),
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(chosen))
}

/// Tells whether nobody behind the place of `request` can have anything of the whole of `share`, which it wants.
pub(crate) fn leaves_nothing(rows: &mut dyn Rows, request: &Request<'_>, share: &Share) -> Result<bool> {
    let claimants = all(rows, request, share)?;
    let claimed: Vec<Claimed> = claimants.iter().map(Claimant::claimed).collect();
    Ok(shares::leaves_nothing(share, &claimed))
}

/// Tells whether somebody before `request` waits for more of the whole of `share` than there is.
pub(crate) fn is_behind_another(rows: &mut dyn Rows, request: &Request<'_>, share: &Share) -> Result<bool> {
    let holders = held(rows, request, share)?;
    let mut claimed: Vec<Claimed> = holders.iter().map(Claimant::claimed).collect();
    let mut earlier = Earlier::than(request);
    while !earlier.is_over {
        let places = earlier.next(rows, request, share)?;
        claimed.extend(places.iter().map(Claimant::claimed));
        if shares::has_short_wish(&claimed) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a place still wants of the whole of `share`: what it names, then as much as it has not yet of any.
fn wanted(rows: &mut dyn Rows, waiter: &WaiterRow, share: &Share) -> Result<Vec<Claimed>> {
    let row = rows
        .task(&waiter.task)?
        .ok_or_else(|| missing_task(&waiter.task))?;
    let held = grant::held_by(rows, &row)?;
    let uncovered = Needs::of(&held, &waiter.wants).uncovered;
    let pool = share.pool();
    let named = uncovered
        .iter()
        .filter(|lock| lock.resource.pool().as_ref() == Some(&pool));
    let mut wanted: Vec<Claimed> = named.map(|lock| Claimed::Part(lock.resource)).collect();
    let wish = uncovered.shares().find(|wish| wish.pool() == pool);
    wanted.extend(wish.map(|wish| Claimed::Wish(beside(wish, &held))));
    Ok(wanted)
}

/// Of a quota, what a task has already is counted where it holds it.
fn beside(wish: &Share, held: &[HeldLock]) -> Share {
    let Share::Amount { quota, amount, total } = wish else {
        return wish.clone();
    };
    let own = held.iter().find_map(|held| match &held.lock.resource {
        Resource::Quota { quota: of, amount } if of == quota => Some(amount.get()),
        _ => None,
    });
    Share::Amount {
        quota: quota.clone(),
        amount: Amount::new(amount.get().saturating_sub(own.unwrap_or(0))),
        total: *total,
    }
}

fn whole(share: &Share) -> LockSet {
    [share.in_line()].into_iter().collect()
}
