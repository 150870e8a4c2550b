//! Who stands in the way of a request, and whose lease may be taken for it. Nothing is changed in here.
//!
//! A lease is taken only if that makes room for the whole request: one that ran out but is of no use to the asker stays,
//! and its holder may still renew it. Whether a process lives is never looked up in here either: where it decides, the
//! answer is a question, and the caller comes back with evidence.

use std::collections::BTreeMap;

use crate::model::{Lock, LockSet, Share, TaskId, Token, conflict};
use crate::store::claims::{self, Claimant, Earlier};
use crate::store::error::StoreError;
use crate::store::holder::{Holder, Judgement, Taking, judge_place};
use crate::store::rows::{End, Evidence, LockRow, Part, Questions, Rows, TaskRow, WaiterRow};
use crate::store::shares::{self, Claim, Claimed, Fit};

type Result<T> = std::result::Result<T, StoreError>;

/// How many locks in the way are looked at before that is enough to refuse. More are named by nobody.
pub(crate) const LOCKS_MAX: usize = 64;

/// How many places of the queue are read at a time.
const PLACES_MAX: usize = 8;

/// How many lives one look asks about: each costs a look into `/proc`.
const QUESTIONS_MAX: usize = 16;

/// A request, less what its task's own locks cover.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) task: &'a TaskId,
    pub(crate) wants: &'a LockSet,
    /// Its place in the queue, or the end.
    pub(crate) seq: u64,
}

/// One thing in the way.
#[derive(Debug, Clone)]
pub(crate) struct Blocker {
    /// What the other holds, or waits for.
    pub(crate) lock: Lock,
    pub(crate) token: Token,
    pub(crate) row: TaskRow,
    pub(crate) waiting: bool,
}

/// What a look at the rows comes to.
#[derive(Debug, Default)]
pub(crate) struct Assessment {
    /// What is in the way; not necessarily all of it.
    pub(crate) blockers: Vec<Blocker>,
    /// Whose life would decide.
    pub(crate) questions: Questions,
    /// Something is in the way whatever the answers are.
    pub(crate) is_certain: bool,
    /// What has to be taken for the request to be granted.
    pub(crate) takings: Vec<Taking>,
    /// The locks that make the shares of the request.
    pub(crate) chosen: Vec<Lock>,
}

impl Assessment {
    /// Tells whether the request may be granted, once the takings are taken.
    pub(crate) fn is_free(&self) -> bool {
        self.blockers.is_empty()
    }

    fn add(&mut self, lock: Lock, token: Token, row: &TaskRow, waiting: bool, judgement: Judgement) {
        match judgement {
            Judgement::Take(taking) => return self.take(taking),
            Judgement::Ask(subject, owner) => {
                self.questions.insert(subject, owner);
            }
            Judgement::InTheWay => self.is_certain = true,
        }
        self.blockers.push(Blocker {
            lock,
            token,
            row: row.clone(),
            waiting,
        });
    }

    fn take(&mut self, taking: Taking) {
        if !self.takings.iter().any(|known| known.is_same(&taking)) {
            self.takings.push(taking);
        }
    }

    /// Notes who is in the way of a share. Whether anything is certain is not for one of them alone to say.
    fn add_claims(&mut self, judged: Vec<Judged>, in_the_way: &[usize], is_certain: bool) {
        for (at, judged) in judged.into_iter().enumerate() {
            if !in_the_way.contains(&at) {
                continue;
            }
            if let Judgement::Ask(subject, owner) = judged.judgement {
                self.questions.insert(subject, owner);
            }
            self.blockers.push(judged.blocker);
        }
        self.is_certain |= is_certain;
    }
}

/// A claim on something of a whole, and what comes of it.
struct Judged {
    claimed: Claimed,
    blocker: Blocker,
    judgement: Judgement,
}

impl Judged {
    fn claim(&self) -> Claim {
        Claim {
            what: self.claimed.clone(),
            grip: self.judgement.grip(),
        }
    }
}

/// Judges everybody in the way of `request`: first the holders, and where none of them is, the earlier requests.
pub(crate) fn assess(rows: &mut dyn Rows, request: &Request<'_>, evidence: &Evidence) -> Result<Assessment> {
    let some = rows.conflicting(request.wants, Some(request.task), Some(LOCKS_MAX))?;
    let is_all = some.len() < LOCKS_MAX;
    let mut found = judge_holders(rows, request.wants, some, evidence)?;
    if !is_all && !found.is_certain {
        let all = rows.conflicting(request.wants, Some(request.task), None)?;
        found = judge_holders(rows, request.wants, all, evidence)?;
    }
    // Holders of a whole come before the queue: who waits for a share mostly waits for them, and they are few.
    let has_shares = request.wants.shares().next().is_some();
    if found.is_free() && has_shares {
        judge_shares(rows, request, evidence, &mut found, Among::Holders)?;
    }
    if found.is_free() && rows.has_waiters()? {
        judge_earlier(rows, request, evidence, &mut found)?;
    }
    if found.is_free() && has_shares {
        judge_shares(rows, request, evidence, &mut found, Among::HoldersAndPlaces)?;
    }
    Ok(found)
}

/// Whose claims count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Among {
    Holders,
    HoldersAndPlaces,
}

/// Finds out whether there is enough for the shares of a request. Only with everybody's claims is anything chosen.
fn judge_shares(
    rows: &mut dyn Rows,
    request: &Request<'_>,
    evidence: &Evidence,
    found: &mut Assessment,
    among: Among,
) -> Result<()> {
    for share in request.wants.shares() {
        let holders = claims::held(rows, request, share)?;
        let mut judged = judge_claimants(rows, holders, evidence)?;
        let mut fit = weigh(share, &judged);
        let mut earlier = Earlier::than(request);
        // The queue is read no further than it takes to know that there is too little.
        while among == Among::HoldersAndPlaces && !earlier.is_over && !is_settled(&fit, &judged) {
            let places = earlier.next(rows, request, share)?;
            judged.extend(judge_claimants(rows, places, evidence)?);
            fit = weigh(share, &judged);
        }
        match fit {
            Fit::Short { blockers, is_certain } => found.add_claims(judged, &blockers, is_certain),
            Fit::Fits { .. } if among == Among::Holders => {}
            Fit::Fits { locks, taking } => {
                found.chosen.extend(locks);
                for at in taking {
                    if let Judgement::Take(taking) = judged[at].judgement.clone() {
                        found.take(taking);
                    }
                }
            }
        }
    }
    Ok(())
}

fn weigh(share: &Share, judged: &[Judged]) -> Fit {
    let claims: Vec<Claim> = judged.iter().map(Judged::claim).collect();
    shares::fit(share, &claims)
}

/// Tells whether further claims would change nothing, or there is enough to ask about first.
fn is_settled(fit: &Fit, judged: &[Judged]) -> bool {
    let is_asked = |judged: &&Judged| matches!(judged.judgement, Judgement::Ask(..));
    match fit {
        Fit::Fits { .. } => false,
        Fit::Short { is_certain, .. } => {
            *is_certain || judged.iter().filter(is_asked).count() >= QUESTIONS_MAX
        }
    }
}

fn judge_claimants(
    rows: &mut dyn Rows,
    claimants: Vec<Claimant>,
    evidence: &Evidence,
) -> Result<Vec<Judged>> {
    let now = rows.now().clone();
    let mut holders: BTreeMap<TaskId, Holder> = BTreeMap::new();
    let mut judged = Vec::with_capacity(claimants.len());
    for claimant in claimants {
        match claimant {
            Claimant::Holder(LockRow { task, lock, token }) => {
                if !holders.contains_key(&task) {
                    holders.insert(task.clone(), Holder::read(rows, &task)?);
                }
                let holder = &holders[&task];
                for (part, judgement) in holder.judge(&lock, token, &now, evidence) {
                    judged.push(Judged {
                        claimed: Claimed::Part(part.resource.clone()),
                        blocker: Blocker {
                            lock: part,
                            token,
                            row: holder.row.clone(),
                            waiting: false,
                        },
                        judgement,
                    });
                }
            }
            Claimant::Place(waiter, claimed) => {
                let row = rows
                    .task(&waiter.task)?
                    .ok_or_else(|| missing_task(&waiter.task))?;
                judged.push(Judged {
                    blocker: Blocker {
                        lock: claimed.lock(),
                        token: row.token,
                        row,
                        waiting: true,
                    },
                    claimed,
                    judgement: judge_place(&waiter, &now, evidence),
                });
            }
        }
    }
    Ok(judged)
}

fn judge_holders(
    rows: &mut dyn Rows,
    wants: &LockSet,
    locks: Vec<LockRow>,
    evidence: &Evidence,
) -> Result<Assessment> {
    let mut found = Assessment::default();
    let mut holders: BTreeMap<TaskId, Holder> = BTreeMap::new();
    let now = rows.now().clone();
    for LockRow { task, lock, token } in locks {
        if !holders.contains_key(&task) {
            holders.insert(task.clone(), Holder::read(rows, &task)?);
        }
        let holder = &holders[&task];
        for (part, judgement) in holder.judge(&lock, token, &now, evidence) {
            if wants.iter().any(|want| conflict(&want, &part)) {
                found.add(part, token, &holder.row, false, judgement);
            }
        }
    }
    Ok(found)
}

fn judge_earlier(
    rows: &mut dyn Rows,
    request: &Request<'_>,
    evidence: &Evidence,
    found: &mut Assessment,
) -> Result<()> {
    let now = rows.now().clone();
    let named = request.wants.named();
    let mut part = Part::first(PLACES_MAX, request.seq);
    loop {
        let places = rows.conflicting_places(&named, part)?;
        for seq in &places {
            part.after = *seq;
            let waiter = rows.waiter_at(*seq)?.ok_or_else(|| missing_place(*seq))?;
            if waiter.task == *request.task || !request.wants.waits_for(&waiter.wants) {
                continue;
            }
            let row = rows
                .task(&waiter.task)?
                .ok_or_else(|| missing_task(&waiter.task))?;
            let lock = in_the_way(&waiter, &named);
            found.add(lock, row.token, &row, true, judge_place(&waiter, &now, evidence));
        }
        if places.len() < PLACES_MAX || found.is_certain || found.questions.len() >= QUESTIONS_MAX {
            return Ok(());
        }
    }
}

/// The part of a waiting request that others run into.
fn in_the_way(waiter: &WaiterRow, wants: &LockSet) -> Lock {
    let conflicting = |lock: &Lock| wants.iter().any(|want| conflict(&want, lock));
    let lock = waiter.wants.in_line().find(conflicting);
    lock.unwrap_or_else(|| unreachable!("BUG: a place was found by a conflict that it does not have"))
}

/// Returns the last place before `request` that it has to wait for. Who is the first to wait for more of a whole than there is
/// waits for the holders.
pub(crate) fn predecessor(rows: &mut dyn Rows, request: &Request<'_>) -> Result<Option<WaiterRow>> {
    if let Some(waiter) = last_before(rows, request, &request.wants.named())? {
        return Ok(Some(waiter));
    }
    for share in request.wants.shares() {
        if claims::is_behind_another(rows, request, share)? {
            return last_before(rows, request, request.wants);
        }
    }
    Ok(None)
}

fn last_before(rows: &mut dyn Rows, request: &Request<'_>, wants: &LockSet) -> Result<Option<WaiterRow>> {
    let part = Part {
        from: End::Last,
        ..Part::first(1, request.seq)
    };
    match rows.conflicting_places(wants, part)?.last() {
        Some(seq) => Ok(rows
            .waiter_at(*seq)?
            .filter(|waiter| waiter.task != *request.task)),
        None => Ok(None),
    }
}

/// Tells how far the first place is that `request` has to wait for. Places are numbered in order of arrival, so there are at
/// most so many before it.
pub(crate) fn places_ahead(rows: &mut dyn Rows, request: &Request<'_>) -> Result<u64> {
    let first = rows.conflicting_places(request.wants, Part::first(1, request.seq))?;
    Ok(first.first().map_or(0, |first| request.seq - first))
}

pub(crate) fn missing_task(task: &TaskId) -> StoreError {
    StoreError::Damaged(format!("rows belong to the task {task}, which does not exist"))
}

fn missing_place(seq: u64) -> StoreError {
    StoreError::Damaged(format!(
        "a request belongs to the place {seq} of the queue, which does not exist"
    ))
}
