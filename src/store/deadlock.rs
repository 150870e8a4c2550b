//! Finds the cycle that would close if a task waited for more while others wait for what it has.
//!
//! A task that has nothing keeps nobody waiting, so sets taken at once never come here. Edges only appear when somebody
//! queues, since nobody is overtaken: what a later one may have of a whole nobody before it waits for. So it is enough to
//! look then, in the same act.
//!
//! Who waits for any of several things needs only one of them, so a cycle alone says little: it counts only if nobody in
//! it could end after everybody has ended who waits for nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::{LockSet, Share, TaskId};
use crate::store::claims;
use crate::store::error::StoreError;
use crate::store::grant::held_by;
use crate::store::judge::{Request, missing_task};
use crate::store::needs::Needs;
use crate::store::rows::{Part, Rows, WaiterRow};
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

/// Returns the cycle that would close if `request` were queued: each task waits for the next, the last for the first.
pub(crate) fn find_cycle(rows: &mut dyn Rows, request: &Request<'_>) -> Result<Option<Vec<TaskId>>> {
    if !rows.has_waiters()? || !keeps_somebody_waiting(rows, request.task)? {
        return Ok(None);
    }
    let waits = reachable(rows, request)?;
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
            break;
        }
        ended.extend(next);
    }
    if ended.contains(request.task) {
        return Ok(None);
    }
    Ok(shortest_cycle(&waits, &ended, request.task))
}

/// Everybody that the request waits for, whom they wait for, and so on.
fn reachable(rows: &mut dyn Rows, request: &Request<'_>) -> Result<BTreeMap<TaskId, Vec<Wait>>> {
    let wait = waiting(rows, request)?;
    let mut todo: Vec<TaskId> = wait.blockers().into_iter().collect();
    let mut waits = BTreeMap::from([(request.task.clone(), vec![wait])]);
    while let Some(task) = todo.pop() {
        if waits.contains_key(&task) {
            continue;
        }
        let mut own = Vec::new();
        for waiter in rows.waiters_of(&task)? {
            own.extend(waiting_at(rows, &waiter)?);
        }
        todo.extend(own.iter().flat_map(Wait::blockers));
        waits.insert(task, own);
    }
    Ok(waits)
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

fn waiting_at(rows: &mut dyn Rows, waiter: &WaiterRow) -> Result<Option<Wait>> {
    if !waiter.is_queued() {
        return Ok(None);
    }
    let row = rows
        .task(&waiter.task)?
        .ok_or_else(|| missing_task(&waiter.task))?;
    let needs = Needs::of(&held_by(rows, &row)?, &waiter.wants);
    let request = Request {
        task: &waiter.task,
        wants: &needs.uncovered,
        seq: waiter.seq,
    };
    waiting(rows, &request).map(Some)
}

fn waiting(rows: &mut dyn Rows, request: &Request<'_>) -> Result<Wait> {
    let mut wait = Wait::default();
    let held = rows.conflicting(request.wants, Some(request.task), None)?;
    wait.all.extend(held.into_iter().map(|row| row.task));
    for seq in rows.conflicting_places(&request.wants.named(), Part::first(usize::MAX, request.seq))? {
        let earlier = rows.waiter_at(seq)?;
        let earlier = earlier.filter(|waiter| request.wants.waits_for(&waiter.wants));
        wait.all.extend(earlier.map(|waiter| waiter.task));
    }
    wait.all.remove(request.task);
    for share in request.wants.shares() {
        let claimants = claims::all(rows, request, share)?;
        let claims = claimants
            .iter()
            .map(|claimant| (claimant.task().clone(), claimant.claimed()));
        wait.shares.push((share.clone(), claims.collect()));
    }
    Ok(wait)
}
