//! Who stands in the way of a request, and whose lease may be taken for it. Nothing is changed in here.
//!
//! A lease is taken only if that makes room for the whole request: one that ran out but is of no use to the asker stays,
//! and its holder may still renew it. Whether a process lives is never looked up in here either: where it decides, the
//! answer is a question, and the caller comes back with evidence.

use std::collections::BTreeMap;

use crate::model::{Lock, LockSet, Now, Owner, Resource, TaskId, Token, TransactionState, Verdict};
use crate::store::error::StoreError;
use crate::store::rows::{End, Evidence, LockRow, Part, Phase, Questions, Rows, Subject, TaskRow, WaiterRow};

type Result<T> = std::result::Result<T, StoreError>;

/// How many locks in the way are looked at before that is enough to refuse. More are named by nobody.
const LOCKS_MAX: usize = 64;

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

/// What may be taken to make room.
#[derive(Debug, Clone)]
pub(crate) enum Taking {
    /// The whole lease of a task.
    Lease {
        row: TaskRow,
        /// It cannot use it any more; otherwise only its time is over.
        is_dead: bool,
    },
    /// A grant that was handed over and not claimed.
    Handed(WaiterRow),
    /// A place in the queue.
    Place(WaiterRow),
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
}

/// What is known of one holder.
struct Holder {
    row: TaskRow,
    is_committing: bool,
    /// Its grants that nobody has claimed yet.
    handed: Vec<WaiterRow>,
}

enum Judgement {
    InTheWay,
    Ask(Subject, Owner),
    Take(Taking),
}

impl Assessment {
    /// Tells whether the request may be granted, once the takings are taken.
    pub(crate) fn is_free(&self) -> bool {
        self.blockers.is_empty()
    }

    fn add(&mut self, lock: Lock, token: Token, row: &TaskRow, waiting: bool, judgement: Judgement) {
        match judgement {
            Judgement::Take(taking) => {
                if !self.takings.iter().any(|known| known.is_same(&taking)) {
                    self.takings.push(taking);
                }
                return;
            }
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
}

impl Taking {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Lease { row, .. }, Self::Lease { row: other, .. }) => row.id == other.id,
            (Self::Handed(row), Self::Handed(other)) | (Self::Place(row), Self::Place(other)) => {
                row.seq == other.seq
            }
            _ => false,
        }
    }
}

/// Judges everybody in the way of `request`: first the holders, and where none of them is, the earlier requests.
pub(crate) fn assess(rows: &mut dyn Rows, request: &Request<'_>, evidence: &Evidence) -> Result<Assessment> {
    let some = rows.conflicting(request.wants, Some(request.task), Some(LOCKS_MAX))?;
    let is_all = some.len() < LOCKS_MAX;
    let mut found = judge_holders(rows, some, evidence)?;
    if !is_all && !found.is_certain {
        let all = rows.conflicting(request.wants, Some(request.task), None)?;
        found = judge_holders(rows, all, evidence)?;
    }
    if found.is_free() && rows.has_waiters()? {
        judge_earlier(rows, request, evidence, &mut found)?;
    }
    Ok(found)
}

fn judge_holders(rows: &mut dyn Rows, locks: Vec<LockRow>, evidence: &Evidence) -> Result<Assessment> {
    let mut found = Assessment::default();
    let mut holders: BTreeMap<TaskId, Holder> = BTreeMap::new();
    let now = rows.now().clone();
    for LockRow { task, lock, token } in locks {
        if !holders.contains_key(&task) {
            holders.insert(task.clone(), Holder::read(rows, &task)?);
        }
        let holder = &holders[&task];
        let judgement = holder.judge(&lock, token, &now, evidence);
        found.add(lock, token, &holder.row, false, judgement);
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
    let mut part = Part::first(PLACES_MAX, request.seq);
    loop {
        let places = rows.conflicting_places(request.wants, part)?;
        for seq in &places {
            part.after = *seq;
            let waiter = rows.waiter_at(*seq)?.ok_or_else(|| missing_place(*seq))?;
            if waiter.task == *request.task {
                continue;
            }
            let row = rows
                .task(&waiter.task)?
                .ok_or_else(|| missing_task(&waiter.task))?;
            let lock = in_the_way(&waiter, request.wants);
            found.add(lock, row.token, &row, true, judge_place(&waiter, &now, evidence));
        }
        if places.len() < PLACES_MAX || found.is_certain || found.questions.len() >= QUESTIONS_MAX {
            return Ok(());
        }
    }
}

/// The part of a waiting request that others run into.
fn in_the_way(waiter: &WaiterRow, wants: &LockSet) -> Lock {
    let conflicting = |lock: &Lock| wants.iter().any(|want| crate::model::conflict(&want, lock));
    let lock = waiter.wants.iter().find(conflicting);
    lock.unwrap_or_else(|| unreachable!("BUG: a place was found by a conflict that it does not have"))
}

/// A place is passed over when its time is over or its waiter died.
fn judge_place(waiter: &WaiterRow, now: &Now, evidence: &Evidence) -> Judgement {
    if waiter.is_over(now) {
        return Judgement::Take(Taking::Place(waiter.clone()));
    }
    match verdict(evidence, &Subject::Place(waiter.seq), &waiter.owner) {
        _ if !waiter.is_attended() => Judgement::InTheWay,
        None => Judgement::Ask(Subject::Place(waiter.seq), waiter.owner.clone()),
        Some(Verdict::Dead) => Judgement::Take(Taking::Place(waiter.clone())),
        Some(Verdict::Alive | Verdict::Unknown) => Judgement::InTheWay,
    }
}

impl Holder {
    fn read(rows: &mut dyn Rows, task: &TaskId) -> Result<Self> {
        let row = rows.task(task)?.ok_or_else(|| missing_task(task))?;
        let state = rows
            .current_transaction(task)?
            .map(|transaction| transaction.state);
        let mut handed = if rows.has_waiters()? {
            rows.waiters_of(task)?
        } else {
            Vec::new()
        };
        handed.retain(|waiter| !waiter.is_queued());
        Ok(Self {
            row,
            is_committing: state.is_some_and(|state| state != TransactionState::Open),
            handed,
        })
    }

    fn judge(&self, lock: &Lock, token: Token, now: &Now, evidence: &Evidence) -> Judgement {
        // Somebody commits at this moment, or recovery has to finish it first.
        if self.is_committing {
            return Judgement::InTheWay;
        }
        let is_of =
            |waiter: &&WaiterRow| matches!(waiter.phase, Phase::Granted { token: own, .. } if own == token);
        match self.handed.iter().find(is_of) {
            Some(waiter) => judge_handed(waiter, now, evidence),
            None => judge_lease(&self.row, &lock.resource, now, evidence),
        }
    }
}

/// A grant that was handed over ends when nobody claims it in time, or when the one who waited for it died.
fn judge_handed(waiter: &WaiterRow, now: &Now, evidence: &Evidence) -> Judgement {
    match judge_place(waiter, now, evidence) {
        Judgement::Take(_) => Judgement::Take(Taking::Handed(waiter.clone())),
        other => other,
    }
}

fn judge_lease(row: &TaskRow, resource: &Resource, now: &Now, evidence: &Evidence) -> Judgement {
    match ended(row, resource, now, evidence) {
        Ended::No => Judgement::InTheWay,
        Ended::Ask => Judgement::Ask(Subject::Lease(row.id.clone()), row.owner.clone()),
        Ended::ByTime => Judgement::Take(Taking::Lease {
            row: row.clone(),
            is_dead: false,
        }),
        Ended::ByDeath => Judgement::Take(Taking::Lease {
            row: row.clone(),
            is_dead: true,
        }),
    }
}

/// For how many leases a service is left alone.
const SERVICE_LEASES: i64 = 2;

/// Whether a lease has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    No,
    /// It depends on whether a process lives.
    Ask,
    ByTime,
    ByDeath,
}

/// Tells whether the lease of `row` on `resource` has ended.
///
/// A service does not check tokens. Unless the holder is known to be dead, it is left alone for one lease more: whoever
/// lost it by time may still be using it.
pub(crate) fn ended(row: &TaskRow, resource: &Resource, now: &Now, evidence: &Evidence) -> Ended {
    if row.owner.boot != now.boot {
        return Ended::ByDeath;
    }
    let held_for = now.boottime_ns.saturating_sub(row.renewed_ns);
    let leases = if resource.is_unfenced() { SERVICE_LEASES } else { 1 };
    let lease = row.ttl_ns.saturating_mul(leases);
    let by_time = |limit: i64| {
        if held_for >= limit {
            Ended::ByTime
        } else {
            Ended::No
        }
    };
    if row.owner.process.is_none() {
        return by_time(lease);
    }
    if held_for >= lease.max(row.max_hold_ns) {
        return Ended::ByTime;
    }
    match verdict(evidence, &Subject::Lease(row.id.clone()), &row.owner) {
        None => Ended::Ask,
        Some(Verdict::Dead) => Ended::ByDeath,
        Some(Verdict::Alive) => Ended::No,
        Some(Verdict::Unknown) => by_time(lease),
    }
}

/// Tells whether a lease that has ended by its time has ended for services, too.
pub(crate) fn is_over_for_services(row: &TaskRow, now: &Now) -> bool {
    let held_for = now.boottime_ns.saturating_sub(row.renewed_ns);
    held_for >= row.ttl_ns.saturating_mul(SERVICE_LEASES)
}

/// Looks up what is known of `subject`, if it still has the owner that was looked at.
pub(crate) fn verdict(evidence: &Evidence, subject: &Subject, owner: &Owner) -> Option<Verdict> {
    evidence
        .get(subject)
        .filter(|(seen, _)| seen == owner)
        .map(|(_, verdict)| *verdict)
}

/// Returns the last place before `request` that it has to wait for.
pub(crate) fn predecessor(rows: &mut dyn Rows, request: &Request<'_>) -> Result<Option<WaiterRow>> {
    let part = Part {
        limit: 1,
        from: End::Last,
        ..Part::first(1, request.seq)
    };
    match rows.conflicting_places(request.wants, part)?.last() {
        Some(seq) => Ok(rows
            .waiter_at(*seq)?
            .filter(|waiter| waiter.task != *request.task)),
        None => Ok(None),
    }
}

pub(crate) fn missing_task(task: &TaskId) -> StoreError {
    StoreError::Damaged(format!("rows belong to the task {task}, which does not exist"))
}

fn missing_place(seq: u64) -> StoreError {
    StoreError::Damaged(format!(
        "a request belongs to the place {seq} of the queue, which does not exist"
    ))
}
