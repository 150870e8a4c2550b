//! Finds the cycle that would close if a task waited for more while others wait for what it has.
//!
//! A task that has nothing keeps nobody waiting, so sets taken at once never come here. Edges only appear when somebody
//! queues, since nobody is overtaken: what a later one may have of a whole nobody before it waits for. So it is enough to
//! look then, in the same act. Nobody waits for what has ended and only has to be taken, nor for where the task stood before:
//! it stands there no more once it queues for something else.
//!
//! Who waits for any of several things needs only one of them, so a cycle alone says little: it counts only if nobody in
//! it could end after everybody has ended who waits for nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::{LockSet, Now, Owner, Share, TaskId};
use crate::store::claims::{self, Claimant};
use crate::store::ended::{Ended, ended};
use crate::store::error::StoreError;
use crate::store::grant::held_by;
use crate::store::holder::{Judgement, judge_place};
use crate::store::judge::{Request, missing_task};
use crate::store::needs::Needs;
use crate::store::rows::{Evidence, LockRow, Part, Questions, Rows, Subject, TaskRow, WaiterRow};
use crate::store::shares::{self, Claimed};

type Result<T> = std::result::Result<T, StoreError>;

/// All that one request waits for.
#[derive(Debug, Default)]
struct Wait {
    /// Every one of them has to end.
    all: BTreeSet<TaskId>,
    /// Of these, enough.
    shares: Vec<(Share, Vec<(TaskId, Claimed)>)>,
}

impl Wait {
    fn blockers(&self) -> BTreeSet<TaskId> {
        let claimants = self.shares.iter().flat_map(|(_, claims)| claims);
        let claimants = claimants.map(|(task, _)| task.clone());
        self.all.iter().cloned().chain(claimants).collect()
    }

    /// Tells whether the request can be granted once those have ended.
    fn is_over(&self, ended: &BTreeSet<TaskId>) -> bool {
        // Which parts the wishes of others will come to may change until then: in the worst case there is still enough.
        let fits = |(share, claims): &(Share, Vec<(TaskId, Claimed)>)| {
            let left = claims.iter().filter(|(task, _)| !ended.contains(task));
            let left: Vec<Claimed> = left.map(|(_, claimed)| claimed.clone()).collect();
            shares::is_assured(share, &left)
        };
        self.all.is_subset(ended) && self.shares.iter().all(fits)
    }
}

/// What a search comes to.
#[derive(Debug)]
pub(crate) enum Found {
    /// The request may be queued.
    Nothing,
    /// Each task waits for the next, the last for the first.
    Cycle(Vec<TaskId>),
    /// There is a cycle, unless somebody in it is dead.
    Ask(Questions),
}

/// Finds the cycle that would close if `request` were queued, and the places in `given_up` were gone.
pub(crate) fn find_cycle(
    rows: &mut dyn Rows,
    request: &Request<'_>,
    given_up: &[u64],
    evidence: &Evidence,
) -> Result<Found> {
    let now = rows.now().clone();
    let mut search = Search {
        rows,
        now,
        asker: request,
        given_up,
        evidence,
        doubts: Vec::new(),
    };
    if !search.rows.has_waiters()? || !search.keeps_somebody_waiting(request.task)? {
        return Ok(Found::Nothing);
    }
    let waits = search.reachable(request)?;
    let ended = ended_after_all(&waits);
    if ended.contains(request.task) {
        return Ok(Found::Nothing);
    }
    let Some(cycle) = shortest_cycle(&waits, &ended, request.task) else {
        return Ok(Found::Nothing);
    };
    let doubts = search.doubts.into_iter();
    let decisive = doubts.filter(|(task, ..)| *task != cycle[0] && cycle.contains(task));
    let questions: Questions = decisive.map(|(_, subject, owner)| (subject, owner)).collect();
    Ok(if questions.is_empty() {
        Found::Cycle(cycle)
    } else {
        Found::Ask(questions)
    })
}

/// Lists those who end by themselves, and those who only wait for them, and so on.
fn ended_after_all(waits: &BTreeMap<TaskId, Vec<Wait>>) -> BTreeSet<TaskId> {
    let mut ended = BTreeSet::new();
    loop {
        let is_next = |(task, waits): &(&TaskId, &Vec<Wait>)| {
            !ended.contains(*task) && waits.iter().all(|wait| wait.is_over(&ended))
        };
        let next: Vec<TaskId> = waits
            .iter()
            .filter(is_next)
            .map(|(task, _)| task.clone())
            .collect();
        if next.is_empty() {
            return ended;
        }
        ended.extend(next);
    }
}

/// Walks from `task` back to itself among those that cannot end.
fn shortest_cycle(
    waits: &BTreeMap<TaskId, Vec<Wait>>,
    ended: &BTreeSet<TaskId>,
    task: &TaskId,
) -> Option<Vec<TaskId>> {
    let mut seen = BTreeSet::new();
    let mut paths = VecDeque::from([vec![task.clone()]]);
    while let Some(path) = paths.pop_front() {
        let blockers: BTreeSet<TaskId> = waits[path.last()?].iter().flat_map(Wait::blockers).collect();
        for next in blockers {
            if next == *task {
                return Some(path);
            }
            if !ended.contains(&next) && seen.insert(next.clone()) {
                paths.push_back([path.as_slice(), &[next]].concat());
            }
        }
    }
    None
}

/// A look at who waits for whom. What has ended, by its time or by a death, and only has to be taken, keeps nobody waiting.
struct Search<'a> {
    rows: &'a mut dyn Rows,
    now: Now,
    /// Whoever asks lives, and keeps its lease and its place by waiting, even if they were over until now.
    asker: &'a Request<'a>,
    given_up: &'a [u64],
    evidence: &'a Evidence,
    /// Whose life would decide whether something of a task has ended.
    doubts: Vec<(TaskId, Subject, Owner)>,
}

impl Search<'_> {
    /// Tells whether somebody may be waiting for what `task` holds, or stands behind a place of it.
    fn keeps_somebody_waiting(&mut self, task: &TaskId) -> Result<bool> {
        let places = self.rows.waiters_of(task)?;
        if places.iter().any(|place| !self.given_up.contains(&place.seq)) {
            return Ok(true);
        }
        let held = self.rows.locks_of(task)?.into_iter();
        let held: LockSet = held.map(|held| held.lock).collect();
        let behind = self.rows.conflicting_places(&held, Part::first(1, u64::MAX))?;
        Ok(!behind.is_empty())
    }

    /// Everybody that the request waits for, whom they wait for, and so on.
    fn reachable(&mut self, request: &Request<'_>) -> Result<BTreeMap<TaskId, Vec<Wait>>> {
        let wait = self.waiting(request)?;
        let mut todo: Vec<TaskId> = wait.blockers().into_iter().collect();
        let mut waits = BTreeMap::from([(request.task.clone(), vec![wait])]);
        while let Some(task) = todo.pop() {
            if waits.contains_key(&task) {
                continue;
            }
            let mut own = Vec::new();
            for waiter in self.rows.waiters_of(&task)? {
                own.extend(self.waiting_at(&waiter)?);
            }
            todo.extend(own.iter().flat_map(Wait::blockers));
            waits.insert(task, own);
        }
        Ok(waits)
    }

    fn waiting_at(&mut self, waiter: &WaiterRow) -> Result<Option<Wait>> {
        if !waiter.is_queued() || self.is_over(waiter) {
            return Ok(None);
        }
        let row = self.task(&waiter.task)?;
        let needs = Needs::of(&held_by(self.rows, &row)?, &waiter.wants);
        let request = Request {
            task: &waiter.task,
            wants: &needs.uncovered,
            seq: waiter.seq,
        };
        self.waiting(&request).map(Some)
    }

    fn waiting(&mut self, request: &Request<'_>) -> Result<Wait> {
        let mut wait = Wait::default();
        for held in self.rows.conflicting(request.wants, Some(request.task), None)? {
            if !self.has_ended(&held)? {
                wait.all.insert(held.task);
            }
        }
        let places = Part::first(usize::MAX, request.seq);
        for seq in self.rows.conflicting_places(&request.wants.named(), places)? {
            let earlier = self.rows.waiter_at(seq)?;
            let earlier = earlier.filter(|waiter| request.wants.waits_for(&waiter.wants));
            if let Some(earlier) = earlier
                && !self.is_over(&earlier)
            {
                wait.all.insert(earlier.task);
            }
        }
        wait.all.remove(request.task);
        for share in request.wants.shares() {
            let mut claims = Vec::new();
            for claimant in claims::all(self.rows, request, share)? {
                let is_over = match &claimant {
                    Claimant::Holder(held) => self.has_ended(held)?,
                    Claimant::Place(waiter, _) => self.is_over(waiter),
                };
                if !is_over {
                    claims.push((claimant.task().clone(), claimant.claimed()));
                }
            }
            wait.shares.push((share.clone(), claims));
        }
        Ok(wait)
    }

    /// Tells whether a place only has to be taken out of the queue.
    fn is_over(&mut self, waiter: &WaiterRow) -> bool {
        match judge_place(waiter, &self.now, self.evidence) {
            _ if waiter.seq == self.asker.seq => false,
            _ if self.given_up.contains(&waiter.seq) => true,
            Judgement::Take(_) => true,
            Judgement::Ask(subject, owner) => {
                self.doubts.push((waiter.task.clone(), subject, owner));
                false
            }
            Judgement::InTheWay => false,
        }
    }

    /// Tells whether a lock only has to be taken.
    fn has_ended(&mut self, held: &LockRow) -> Result<bool> {
        if held.task == *self.asker.task {
            return Ok(false);
        }
        let row = self.task(&held.task)?;
        Ok(match ended(&row, &held.lock.resource, &self.now, self.evidence) {
            Ended::ByDeath => true,
            Ended::ByTime => !self.is_waiting(&held.task)?,
            Ended::Ask => {
                let subject = Subject::Lease(row.id.clone());
                self.doubts.push((row.id, subject, row.owner));
                false
            }
            Ended::No => false,
        })
    }

    /// Tells whether a process of the task waits at this moment: that keeps its lease, too.
    fn is_waiting(&mut self, task: &TaskId) -> Result<bool> {
        for waiter in self.rows.waiters_of(task)? {
            if waiter.is_queued() && waiter.is_attended() && !self.is_over(&waiter) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn task(&mut self, id: &TaskId) -> Result<TaskRow> {
        self.rows.task(id)?.ok_or_else(|| missing_task(id))
    }
}
