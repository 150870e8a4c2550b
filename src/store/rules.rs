//! The lock rules: grant, queue, hand-off, reaping, deadlock. Written once, over rows.
//!
//! Every function runs inside one atomic act and is deterministic: the moment, the tokens and what is known of other
//! processes come from outside. Nobody is overtaken: a request is granted only if it conflicts with nothing that is held
//! *and* with no request that came earlier. Whatever an act frees it hands on before it ends, so nobody can slip in
//! between.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::model::{
    EventKind, Lock, LockSet, Mode, Owner, Resource, TaskId, Ticket, TransactionState, Verdict, conflict,
};
use crate::store::data::{NewEvent, NewTask};
use crate::store::error::StoreError;
use crate::store::rows::{Evidence, LockRow, Phase, Rows, TaskRow, WaiterRow};

type Result<T> = std::result::Result<T, StoreError>;

/// How long a granted place in the queue, or one whose asker went away, is kept.
pub(crate) const CLAIM_NS: i64 = 10_000_000_000;

/// What is in the way of a request.
#[derive(Debug, Default)]
pub(crate) struct Obstacles {
    /// Locks of others.
    pub(crate) held: Vec<LockRow>,
    /// Earlier requests of others.
    pub(crate) earlier: Vec<WaiterRow>,
    /// The owners of the locks that are in the way.
    pub(crate) owners: Vec<Owner>,
    /// Owners whose life would decide: ask outside and come back.
    pub(crate) questions: BTreeMap<(TaskId, crate::model::Token), Owner>,
}

impl Obstacles {
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.earlier.is_empty()
    }

    /// Everybody in the way.
    pub(crate) fn tasks(&self) -> BTreeSet<TaskId> {
        let held = self.held.iter().map(|row| row.task.clone());
        held.chain(self.earlier.iter().map(|row| row.task.clone()))
            .collect()
    }
}

/// Whether a lease may be taken from its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reapable {
    Yes,
    No,
    /// It depends on whether a process lives.
    Ask,
}

/// Finds what stands between `task` and `wants`, reaping on the way whatever may be reaped. `seq` is the task's place in
/// the queue, if it has one. Answers also what became free.
pub(crate) fn obstacles(
    rows: &mut dyn Rows,
    task: &TaskId,
    wants: &LockSet,
    seq: Option<u64>,
    evidence: &Evidence,
) -> Result<(Obstacles, Vec<Resource>)> {
    let mut found = Obstacles::default();
    let mut freed = Vec::new();
    let mut standing: BTreeMap<TaskId, Reapable> = BTreeMap::new();
    for row in rows.overlapping(wants, Some(task))? {
        if !conflicts_with(wants, &row.lock) {
            continue;
        }
        let reapable = if let Some(known) = standing.get(&row.task) {
            *known
        } else {
            let answer = judge(rows, &row.task, evidence, &mut found, &mut freed)?;
            standing.insert(row.task.clone(), answer);
            answer
        };
        if reapable != Reapable::Yes {
            found.held.push(row);
        }
    }
    if rows.has_waiters()? {
        earlier(rows, task, wants, seq, evidence, &mut found, &mut freed)?;
    }
    Ok((found, freed))
}

/// Judges the holder of a lock in the way, and reaps it if that is allowed.
fn judge(
    rows: &mut dyn Rows,
    holder: &TaskId,
    evidence: &Evidence,
    found: &mut Obstacles,
    freed: &mut Vec<Resource>,
) -> Result<Reapable> {
    let Some(row) = rows.task(holder)? else {
        return Err(StoreError::Damaged(format!(
            "a lock belongs to the task {holder}, which does not exist"
        )));
    };
    let answer = reapable(rows, &row, evidence)?;
    match answer {
        Reapable::Yes => freed.extend(reap(rows, &row, EventKind::ResourceExpired, "the lease ended")?),
        Reapable::Ask => {
            found
                .questions
                .insert((row.id.clone(), row.token), row.owner.clone());
        }
        Reapable::No => found.owners.push(row.owner),
    }
    Ok(answer)
}

/// Collects the earlier requests in the way. A place whose time is over, or whose waiter died, is passed over.
fn earlier(
    rows: &mut dyn Rows,
    task: &TaskId,
    wants: &LockSet,
    seq: Option<u64>,
    evidence: &Evidence,
    found: &mut Obstacles,
    freed: &mut Vec<Resource>,
) -> Result<()> {
    for row in rows.waiters_overlapping(wants)? {
        let is_earlier = row.task != *task && seq.is_none_or(|own| row.seq < own);
        // What is granted already stands among the held locks.
        if !is_earlier || matches!(row.phase, Phase::Granted { .. }) || !sets_conflict(wants, &row.wants) {
            continue;
        }
        let key = (row.task.clone(), ticket_token(&row));
        let is_over = if let Phase::Away { until_ns } = row.phase {
            until_ns <= rows.now().boottime_ns || row.owner.boot != rows.now().boot
        } else {
            let verdict = evidence.get(&key);
            if verdict.is_none() {
                found.questions.insert(key, row.owner.clone());
            }
            verdict == Some(&Verdict::Dead)
        };
        if is_over {
            freed.extend(drop_waiter(rows, &row)?);
        } else {
            found.earlier.push(row);
        }
    }
    Ok(())
}

/// Waiters have no token yet; their place in the queue tells one request of a task from the next.
pub(crate) fn ticket_token(row: &WaiterRow) -> crate::model::Token {
    crate::model::Token::new(row.seq | (1 << 63))
}

fn reapable(rows: &mut dyn Rows, row: &TaskRow, evidence: &Evidence) -> Result<Reapable> {
    if let Some(transaction) = rows.current_transaction(&row.id)?
        && !matches!(transaction.state, TransactionState::Open)
    {
        // Somebody commits at this moment, or recovery has to finish it first.
        return Ok(Reapable::No);
    }
    if let Some(waiter) = rows.waiter_of(&row.id)?
        && let Phase::Granted { until_ns, .. } = waiter.phase
    {
        let unclaimed = until_ns <= rows.now().boottime_ns || waiter.owner.boot != rows.now().boot;
        let died = evidence.get(&(row.id.clone(), row.token)) == Some(&Verdict::Dead);
        return Ok(if unclaimed || died {
            Reapable::Yes
        } else {
            Reapable::No
        });
    }
    let now = rows.now();
    if row.owner.boot != now.boot {
        return Ok(Reapable::Yes);
    }
    let deadline = row.renewed_ns.saturating_add(row.ttl_ns);
    if row.owner.process.is_none() {
        return Ok(if deadline <= now.boottime_ns {
            Reapable::Yes
        } else {
            Reapable::No
        });
    }
    let held_for = now.boottime_ns.saturating_sub(row.renewed_ns);
    let is_over = match evidence.get(&(row.id.clone(), row.token)) {
        None => return Ok(Reapable::Ask),
        Some(Verdict::Dead) => true,
        Some(Verdict::Alive) => held_for >= row.max_hold_ns,
        Some(Verdict::Unknown) => deadline <= now.boottime_ns,
    };
    Ok(if is_over { Reapable::Yes } else { Reapable::No })
}

/// Takes all locks of a task away. Its staged changes stay; a task that has none, and no transaction, goes.
pub(crate) fn reap(
    rows: &mut dyn Rows,
    row: &TaskRow,
    kind: EventKind,
    reason: &str,
) -> Result<Vec<Resource>> {
    let locks = rows.locks_of(&row.id)?;
    rows.delete_locks_of(&row.id)?;
    let mut freed: Vec<Resource> = locks.iter().map(|held| held.lock.resource.clone()).collect();
    if let Some(waiter) = rows.waiter_of(&row.id)? {
        freed.extend(waiter.wants.iter().map(|lock| lock.resource));
        rows.delete_waiter(&waiter)?;
    }
    rows.event(&NewEvent {
        token: Some(row.token),
        reason: Some(reason.to_owned()),
        details: lock_details(locks.iter().map(|held| &held.lock)),
        ..NewEvent::about(kind, &row.id)
    })?;
    if rows.current_transaction(&row.id)?.is_some() {
        rows.put_task(&TaskRow {
            lost: true,
            ..row.clone()
        })?;
    } else {
        rows.delete_task(&row.id)?;
    }
    Ok(freed)
}

/// Takes a place out of the queue. Answers what later places no longer have to wait for.
pub(crate) fn drop_waiter(rows: &mut dyn Rows, row: &WaiterRow) -> Result<Vec<Resource>> {
    rows.delete_waiter(row)?;
    rows.event(&NewEvent::about(EventKind::ResourceTimedOut, &row.task))?;
    remove_if_idle(rows, &row.task)?;
    Ok(row.wants.iter().map(|lock| lock.resource).collect())
}

/// Removes the row of a task that holds nothing, waits for nothing and has staged nothing.
pub(crate) fn remove_if_idle(rows: &mut dyn Rows, task: &TaskId) -> Result<()> {
    let is_idle = rows.locks_of(task)?.is_empty()
        && rows.waiter_of(task)?.is_none()
        && rows.current_transaction(task)?.is_none();
    if is_idle { rows.delete_task(task) } else { Ok(()) }
}

/// Inserts locks under a new token. `row` gets the token and a lease from now.
pub(crate) fn grant(rows: &mut dyn Rows, row: &mut TaskRow, locks: &[Lock]) -> Result<()> {
    row.token = rows.next_token()?;
    row.renewed_ns = rows.now().boottime_ns;
    row.lost = false;
    rows.put_task(row)?;
    for lock in locks {
        rows.put_lock(&row.id, lock, row.token)?;
    }
    if !locks.is_empty() {
        let single = if let [lock] = locks {
            Some(lock.resource.to_string())
        } else {
            None
        };
        rows.event(&NewEvent {
            token: Some(row.token),
            resource: single,
            reason: row.reason.clone(),
            details: lock_details(locks.iter()),
            ..NewEvent::about(EventKind::ResourceLocked, &row.id)
        })?;
    }
    Ok(())
}

/// Serves the queue after `freed` became free: inserts the locks of everybody whose turn it is, in order of arrival, and
/// answers their tickets. To be called before the act ends.
pub(crate) fn hand_off(rows: &mut dyn Rows, mut freed: Vec<Resource>) -> Result<Vec<Ticket>> {
    let mut served = Vec::new();
    if freed.is_empty() || !rows.has_waiters()? {
        return Ok(served);
    }
    let touched: LockSet = freed
        .iter()
        .map(|resource| Lock {
            resource: resource.clone(),
            mode: Mode::Write,
        })
        .collect();
    for waiter in rows.waiters_overlapping(&touched)? {
        if freed.is_empty() {
            break;
        }
        if !matches!(waiter.phase, Phase::Waiting | Phase::Away { .. }) || !is_next(rows, &waiter)? {
            continue;
        }
        let Some(mut row) = rows.task(&waiter.task)? else {
            return Err(StoreError::Damaged(format!(
                "the task {} waits but does not exist",
                waiter.task
            )));
        };
        let missing = missing(rows, &waiter.task, &waiter.wants)?;
        grant(rows, &mut row, &missing)?;
        let until_ns = rows.now().boottime_ns + CLAIM_NS;
        rows.update_waiter(&WaiterRow {
            phase: Phase::Granted {
                token: row.token,
                until_ns,
            },
            ..waiter.clone()
        })?;
        served.push(waiter.ticket);
        // What is taken whole and exclusively again is of no use to those behind.
        freed.retain(|resource| waiter.wants.mode_of(resource) != Some(Mode::Write));
    }
    Ok(served)
}

fn is_next(rows: &mut dyn Rows, waiter: &WaiterRow) -> Result<bool> {
    let held = rows.overlapping(&waiter.wants, Some(&waiter.task))?;
    if held.iter().any(|row| conflicts_with(&waiter.wants, &row.lock)) {
        return Ok(false);
    }
    let queued = rows.waiters_overlapping(&waiter.wants)?;
    Ok(!queued.iter().any(|other| {
        other.seq < waiter.seq
            && other.task != waiter.task
            && !matches!(other.phase, Phase::Granted { .. })
            && sets_conflict(&waiter.wants, &other.wants)
    }))
}

/// Returns the part of `wants` that `task` does not hold yet in that mode.
pub(crate) fn missing(rows: &mut dyn Rows, task: &TaskId, wants: &LockSet) -> Result<Vec<Lock>> {
    let held: LockSet = rows.locks_of(task)?.into_iter().map(|held| held.lock).collect();
    Ok(wants
        .iter()
        .filter(|lock| held.mode_of(&lock.resource).is_none_or(|mode| mode < lock.mode))
        .collect())
}

/// Finds a cycle that would close if `task` waited for `blockers`: each task of the answer waits for the next, the last
/// for the first.
pub(crate) fn find_cycle(
    rows: &mut dyn Rows,
    task: &TaskId,
    blockers: &BTreeSet<TaskId>,
) -> Result<Option<Vec<TaskId>>> {
    let mut paths: Vec<Vec<TaskId>> = blockers
        .iter()
        .map(|blocker| vec![task.clone(), blocker.clone()])
        .collect();
    let mut seen: BTreeSet<TaskId> = blockers.clone();
    while let Some(path) = paths.pop() {
        let Some(last) = path.last() else { continue };
        for next in blocked_by(rows, last)? {
            if next == *task {
                return Ok(Some(path));
            }
            if seen.insert(next.clone()) {
                paths.push([path.as_slice(), &[next]].concat());
            }
        }
    }
    Ok(None)
}

/// Everybody that a waiting task waits for.
pub(crate) fn blocked_by(rows: &mut dyn Rows, task: &TaskId) -> Result<BTreeSet<TaskId>> {
    let Some(waiter) = rows.waiter_of(task)? else {
        return Ok(BTreeSet::new());
    };
    if matches!(waiter.phase, Phase::Granted { .. }) {
        return Ok(BTreeSet::new());
    }
    let held = rows.overlapping(&waiter.wants, Some(task))?;
    let mut blockers: BTreeSet<TaskId> = held
        .into_iter()
        .filter(|row| conflicts_with(&waiter.wants, &row.lock))
        .map(|row| row.task)
        .collect();
    for other in rows.waiters_overlapping(&waiter.wants)? {
        if other.seq < waiter.seq && other.task != *task && sets_conflict(&waiter.wants, &other.wants) {
            blockers.insert(other.task);
        }
    }
    Ok(blockers)
}

/// Describes a new task as a row. It holds nothing yet.
pub(crate) fn new_row(rows: &mut dyn Rows, new: &NewTask) -> TaskRow {
    let ns = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    TaskRow {
        id: new.id.clone(),
        token: crate::model::Token::new(0),
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

pub(crate) fn conflicts_with(wants: &LockSet, held: &Lock) -> bool {
    wants.iter().any(|want| conflict(&want, held))
}

fn sets_conflict(a: &LockSet, b: &LockSet) -> bool {
    b.iter().any(|lock| conflicts_with(a, &lock))
}

/// Says which locks an event is about.
pub(crate) fn lock_details<'a>(
    locks: impl Iterator<Item = &'a Lock>,
) -> serde_json::Map<String, serde_json::Value> {
    let list: Vec<_> = locks
        .map(|lock| json!({"resource": lock.resource.to_string(), "mode": lock.mode.as_str()}))
        .collect();
    serde_json::Map::from_iter([("locks".to_owned(), list.into())])
}

/// Tells whether a lease has ended, by its time or by what is known of its owner.
pub(crate) fn has_ended(rows: &mut dyn Rows, row: &TaskRow, evidence: &Evidence) -> Result<bool> {
    Ok(reapable(rows, row, evidence)? == Reapable::Yes)
}
