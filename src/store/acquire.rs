//! Asking for locks, at once or with a place in the queue. Each function is the body of one atomic act.

use serde_json::{Map, json};

use crate::model::{EventKind, Lock, LockSet, Owner, Resource, TaskId, Ticket, TransactionId, Verdict};
use crate::store::data::{Asker, HeldLock, NewEvent};
use crate::store::deadlock::Found;
use crate::store::ended::verdict;
use crate::store::error::StoreError;
use crate::store::grant;
use crate::store::judge::{self, Assessment, Blocker, Request};
use crate::store::needs::Needs;
use crate::store::rows::{Evidence, Phase, Questions, Rows, Subject, TaskRow, WaiterRow};
use crate::store::{deadlock, hand_off, queue};

type Result<T> = std::result::Result<T, StoreError>;

/// What a request comes to.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// It is granted.
    Granted(Box<Granted>),
    /// It depends on who lives. Nothing is changed: ask, and come back with evidence.
    Ask(Questions),
    /// It is not granted, and nothing is left behind.
    Refused(Vec<Blocker>),
    /// The time ran out; the place is kept for a while.
    TimedOut(Vec<Blocker>),
    /// It stands in the queue.
    Queued { wake: Vec<Ticket> },
    /// Waiting would close a cycle.
    Deadlock { cycle: Vec<TaskId> },
    /// There is no such task.
    Unknown,
    /// The task is open already; without a transaction it still waits for its first locks.
    Exists { transaction: Option<TransactionId> },
    /// The place in the queue is gone.
    Gone,
}

/// A grant.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) row: TaskRow,
    /// All that the task holds now.
    pub(crate) held: Vec<HeldLock>,
    /// What is new or stronger than before.
    pub(crate) locks: Vec<Lock>,
    /// Others who were served on the way.
    pub(crate) wake: Vec<Ticket>,
}

/// What to do with a request that cannot be granted at once.
#[derive(Debug, Clone)]
pub(crate) enum Line {
    /// Refuse it.
    Refuse,
    /// Say so: the asker will come back to stand in the queue.
    Probe,
    /// Put it into the queue.
    Stand(Place),
}

/// A place in the queue as its waiter knows it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) ticket: Ticket,
    /// The process that waits.
    pub(crate) owner: Owner,
    /// When it will have gone away.
    pub(crate) until_ns: i64,
}

/// Who asks, as the rows know it.
struct Asking {
    row: TaskRow,
    /// Its earlier place for the same request.
    resumed: Option<WaiterRow>,
    /// Its other places that nobody stands at.
    abandoned: Vec<WaiterRow>,
}

/// Grants `wants` to `asker`, or does with it what `line` says.
pub(crate) fn acquire(
    rows: &mut dyn Rows,
    asker: &Asker,
    wants: &LockSet,
    line: &Line,
    evidence: &Evidence,
) -> Result<Acquired> {
    let asking = match identify(rows, asker, wants, evidence)? {
        Ok(asking) => asking,
        Err(answer) => return Ok(answer),
    };
    if let Some(waiter) = asking.resumed.as_ref().filter(|waiter| !waiter.is_queued()) {
        return queue::claimed(rows, waiter, asking.row);
    }
    let held = grant::held_by(rows, &asking.row)?;
    let needs = Needs::of(&held, wants);
    let seq = asking.resumed.as_ref().map_or(u64::MAX, |waiter| waiter.seq);
    let request = Request {
        task: &asking.row.id,
        wants: &needs.uncovered,
        seq,
    };
    let found = judge::assess(rows, &request, evidence)?;
    if found.is_free() {
        let places = asking.resumed.into_iter().chain(asking.abandoned).collect();
        return granted(rows, asking.row, held, needs.missing, found, places);
    }
    match line {
        Line::Refuse if !found.is_certain => Ok(Acquired::Ask(found.questions)),
        Line::Refuse => {
            contended(rows, &asking.row.id, &found)?;
            Ok(Acquired::Refused(found.blockers))
        }
        Line::Probe => Ok(Acquired::Refused(found.blockers)),
        Line::Stand(place) => {
            let given_up: Vec<u64> = asking.abandoned.iter().map(|place| place.seq).collect();
            match deadlock::find_cycle(rows, &request, &given_up, evidence)? {
                Found::Cycle(cycle) => refuse_cycle(rows, &asking.row.id, cycle),
                Found::Ask(questions) => Ok(Acquired::Ask(questions)),
                Found::Nothing => stand(rows, asking, wants, place),
            }
        }
    }
}

/// Finds the asker's row and its places in the queue, or the answer that ends the request here.
fn identify(
    rows: &mut dyn Rows,
    asker: &Asker,
    wants: &LockSet,
    evidence: &Evidence,
) -> Result<std::result::Result<Asking, Acquired>> {
    let id = asker.task();
    let known = rows.task(id)?;
    let row = match (asker, known) {
        (Asker::Task(_), None) => return Ok(Err(Acquired::Unknown)),
        (Asker::Task(_), Some(row)) => row,
        (Asker::New(new), None) => grant::new_row(rows, new),
        (Asker::New(new), Some(row)) => {
            if let Some(transaction) = rows.current_transaction(id)? {
                return Ok(Err(Acquired::Exists {
                    transaction: Some(transaction.id),
                }));
            }
            TaskRow {
                token: row.token,
                since: row.since,
                lost: row.lost,
                ..grant::new_row(rows, new)
            }
        }
    };
    let mut asking = Asking {
        row,
        resumed: None,
        abandoned: Vec::new(),
    };
    if !rows.has_waiters()? {
        return Ok(Ok(asking));
    }
    let is_new = matches!(asker, Asker::New(_));
    for waiter in rows.waiters_of(id)? {
        // Only a process of its own may still stand at a place; of a new task there is only one.
        let matters = is_new || waiter.wants == *wants;
        match attendance(rows, &waiter, evidence) {
            Attendance::Ask if matters => {
                let question = (Subject::Place(waiter.seq), waiter.owner.clone());
                return Ok(Err(Acquired::Ask([question].into())));
            }
            Attendance::Present if is_new => return Ok(Err(Acquired::Exists { transaction: None })),
            Attendance::Present | Attendance::Ask => {}
            Attendance::Absent if asking.resumed.is_none() && waiter.wants == *wants => {
                asking.resumed = Some(waiter);
            }
            Attendance::Absent => asking.abandoned.push(waiter),
        }
    }
    Ok(Ok(asking))
}

enum Attendance {
    Present,
    Absent,
    Ask,
}

/// Tells whether somebody stands at a place.
fn attendance(rows: &dyn Rows, waiter: &WaiterRow, evidence: &Evidence) -> Attendance {
    if waiter.is_over(rows.now()) || !waiter.is_attended() {
        return Attendance::Absent;
    }
    match verdict(evidence, &Subject::Place(waiter.seq), &waiter.owner) {
        None => Attendance::Ask,
        Some(Verdict::Dead) => Attendance::Absent,
        Some(Verdict::Alive | Verdict::Unknown) => Attendance::Present,
    }
}

/// Takes what is in the way and may be taken, inserts the locks, gives up `places`, and serves those who stood behind.
pub(crate) fn granted(
    rows: &mut dyn Rows,
    mut row: TaskRow,
    mut held: Vec<HeldLock>,
    missing: Vec<Lock>,
    found: Assessment,
    places: Vec<WaiterRow>,
) -> Result<Acquired> {
    let mut freed = grant::take(rows, found.takings)?;
    let locks = [missing, found.chosen].concat();
    grant::grant(rows, &mut row, &locks)?;
    freed.extend(give_up(rows, places)?);
    held.retain(|held| {
        let resource = &held.lock.resource;
        let is_replaced = locks.iter().any(|lock| lock.resource.replaces(resource));
        // Whoever now has less of a quota than before has given something back.
        if is_replaced && matches!(resource, Resource::Quota { .. }) {
            freed.push(resource.clone());
        }
        !is_replaced
    });
    let wake = hand_off::hand_off(rows, freed)?;
    held.extend(locks.iter().map(|lock| HeldLock {
        lock: lock.clone(),
        token: row.token,
    }));
    held.sort_by(|a, b| a.lock.cmp(&b.lock));
    Ok(Acquired::Granted(Box::new(Granted {
        row,
        held,
        locks,
        wake,
    })))
}

/// Removes places that nobody stands at any more. Those behind them need not wait for them; what was handed over
/// to one of them meanwhile is the task's own.
fn give_up(rows: &mut dyn Rows, places: Vec<WaiterRow>) -> Result<Vec<Resource>> {
    let mut freed = Vec::new();
    for place in places {
        grant::leave(rows, &place)?;
        if place.is_queued() {
            freed.extend(place.wants.in_line().map(|lock| lock.resource));
        }
    }
    Ok(freed)
}

/// Puts the request into the queue, or takes its old place again.
fn stand(rows: &mut dyn Rows, asking: Asking, wants: &LockSet, place: &Place) -> Result<Acquired> {
    let Asking {
        row,
        resumed,
        abandoned,
    } = asking;
    rows.put_task(&row)?;
    let waiter = WaiterRow {
        seq: resumed.as_ref().map_or(0, |waiter| waiter.seq),
        ticket: place.ticket,
        task: row.id.clone(),
        wants: wants.clone(),
        owner: place.owner.clone(),
        since: rows.now().wall,
        phase: Phase::Waiting,
        until_ns: place.until_ns,
    };
    if resumed.is_some() {
        rows.update_waiter(&waiter)?;
    } else {
        rows.queue(&waiter)?;
        rows.event(&grant::about_wants(EventKind::ResourceWaited, &row.id, wants))?;
    }
    let freed = give_up(rows, abandoned)?;
    Ok(Acquired::Queued {
        wake: hand_off::hand_off(rows, freed)?,
    })
}

fn contended(rows: &mut dyn Rows, task: &TaskId, found: &Assessment) -> Result<()> {
    let by: std::collections::BTreeSet<&str> = found
        .blockers
        .iter()
        .map(|blocker| blocker.row.id.as_str())
        .collect();
    let resource = found
        .blockers
        .first()
        .map(|blocker| blocker.lock.resource.to_string());
    let details = Map::from_iter([("by".to_owned(), json!(by))]);
    rows.event(&NewEvent {
        resource,
        details,
        ..NewEvent::about(EventKind::ResourceContended, task)
    })
}

fn refuse_cycle(rows: &mut dyn Rows, task: &TaskId, cycle: Vec<TaskId>) -> Result<Acquired> {
    let names: Vec<&str> = cycle.iter().map(TaskId::as_str).collect();
    let details = Map::from_iter([("cycle".to_owned(), json!(names))]);
    rows.event(&NewEvent {
        details,
        ..NewEvent::about(EventKind::DeadlockFound, task)
    })?;
    Ok(Acquired::Deadlock { cycle })
}
