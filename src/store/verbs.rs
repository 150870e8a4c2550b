//! The verbs of locking, each the body of one atomic act over rows.

use serde_json::json;

use crate::model::{EventKind, Lock, LockSet, Owner, Resource, TaskId, Ticket, TransactionState, overlap};
use crate::store::backend::Stolen;
use crate::store::data::{Asker, NewEvent, Release, Steal};
use crate::store::error::StoreError;
use crate::store::rows::{Evidence, Phase, Rows, TaskRow, WaiterRow};
use crate::store::rules::{self, Obstacles};

type Result<T> = std::result::Result<T, StoreError>;

/// What a request comes to.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// It is granted; the tickets are those of others who were served on the way.
    Granted {
        row: Box<TaskRow>,
        locks: Vec<Lock>,
        wake: Vec<Ticket>,
    },
    /// It is not, and it is not queued. With questions it may be worth asking and trying again.
    Refused { obstacles: Obstacles, wake: Vec<Ticket> },
    /// It stands in the queue.
    Queued { obstacles: Obstacles, wake: Vec<Ticket> },
    /// Waiting would close a cycle.
    Deadlock { cycle: Vec<TaskId> },
    /// There is no such task.
    Unknown,
    /// The task is open already.
    Exists {
        transaction: Option<crate::model::TransactionId>,
    },
}

/// A request to stand in the queue when it cannot be granted at once.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    pub(crate) ticket: Ticket,
    /// The process that will wait.
    pub(crate) owner: Owner,
}

/// Grants `wants` to `asker`, or queues it, or refuses it and leaves nothing behind.
pub(crate) fn acquire(
    rows: &mut dyn Rows,
    asker: &Asker,
    wants: &LockSet,
    queue: Option<&Queue>,
    evidence: &Evidence,
) -> Result<Acquired> {
    let (mut row, own) = match known(rows, asker, evidence)? {
        Ok(known) => known,
        Err(refused) => return Ok(refused),
    };
    let resumed = own.filter(|own| own.wants == *wants);
    if let Some(own) = &resumed
        && let Phase::Granted { .. } = own.phase
    {
        return claimed(rows, own, row);
    }
    let missing: Vec<Lock> = rules::missing(rows, &row.id, wants)?;
    let needed: LockSet = missing.iter().cloned().collect();
    let seq = resumed.as_ref().map(|own| own.seq);
    let (obstacles, freed) = rules::obstacles(rows, &row.id, &needed, seq, evidence)?;
    if obstacles.is_empty() {
        rules::grant(rows, &mut row, &missing)?;
        if let Some(own) = &resumed {
            rows.delete_waiter(own)?;
        }
        let wake = rules::hand_off(rows, freed)?;
        return Ok(Acquired::Granted {
            row: Box::new(row),
            locks: missing,
            wake,
        });
    }
    if !obstacles.questions.is_empty() {
        // The act is not over: somebody's life has to be looked at first, and that does not happen in here.
        let wake = rules::hand_off(rows, freed)?;
        return Ok(Acquired::Refused { obstacles, wake });
    }
    let Some(queue) = queue else {
        contended(rows, &row.id, &obstacles)?;
        let wake = rules::hand_off(rows, freed)?;
        return Ok(Acquired::Refused { obstacles, wake });
    };
    if let Some(cycle) = rules::find_cycle(rows, &row.id, &obstacles.tasks())? {
        let names: Vec<_> = cycle.iter().map(TaskId::as_str).collect();
        let details = serde_json::Map::from_iter([("cycle".to_owned(), json!(names))]);
        rows.event(&NewEvent {
            details,
            ..NewEvent::about(EventKind::DeadlockFound, &row.id)
        })?;
        return Ok(Acquired::Deadlock { cycle });
    }
    stand(rows, &row, wants, resumed, queue)?;
    let wake = rules::hand_off(rows, freed)?;
    Ok(Acquired::Queued { obstacles, wake })
}

/// Finds the asker's row and its place in the queue. A place for something else is given up.
fn known(
    rows: &mut dyn Rows,
    asker: &Asker,
    evidence: &Evidence,
) -> Result<std::result::Result<(TaskRow, Option<WaiterRow>), Acquired>> {
    match asker {
        Asker::Task(id) => match rows.task(id)? {
            None => Ok(Err(Acquired::Unknown)),
            Some(row) => {
                let own = rows.waiter_of(id)?;
                Ok(Ok((row, own)))
            }
        },
        Asker::New(new) => {
            let Some(row) = rows.task(&new.id)? else {
                return Ok(Ok((rules::new_row(rows, new), None)));
            };
            if let Some(transaction) = rows.current_transaction(&new.id)? {
                return Ok(Err(Acquired::Exists {
                    transaction: Some(transaction.id),
                }));
            }
            let own = rows.waiter_of(&new.id)?;
            // Another process that still waits for the same task is in its right.
            let is_waiting = own.as_ref().is_some_and(|own| {
                let key = (own.task.clone(), rules::ticket_token(own));
                own.phase == Phase::Waiting && evidence.get(&key) == Some(&crate::model::Verdict::Alive)
            });
            if is_waiting {
                return Ok(Err(Acquired::Exists { transaction: None }));
            }
            let renamed = TaskRow {
                token: row.token,
                since: row.since,
                ..rules::new_row(rows, new)
            };
            Ok(Ok((renamed, own)))
        }
    }
}

/// Puts the request into the queue, or takes its old place again.
fn stand(
    rows: &mut dyn Rows,
    row: &TaskRow,
    wants: &LockSet,
    resumed: Option<WaiterRow>,
    queue: &Queue,
) -> Result<()> {
    if let Some(own) = resumed {
        rows.put_task(row)?;
        return rows.update_waiter(&WaiterRow {
            ticket: queue.ticket,
            owner: queue.owner.clone(),
            phase: Phase::Waiting,
            ..own
        });
    }
    if let Some(other) = rows.waiter_of(&row.id)? {
        rows.delete_waiter(&other)?;
    }
    rows.put_task(row)?;
    let since = rows.now().wall;
    rows.queue(&WaiterRow {
        seq: 0,
        ticket: queue.ticket,
        task: row.id.clone(),
        wants: wants.clone(),
        owner: queue.owner.clone(),
        since,
        phase: Phase::Waiting,
    })?;
    let details = rules::lock_details(wants.iter().collect::<Vec<_>>().iter());
    rows.event(&NewEvent {
        details,
        ..NewEvent::about(EventKind::ResourceWaited, &row.id)
    })
}

fn contended(rows: &mut dyn Rows, task: &TaskId, obstacles: &Obstacles) -> Result<()> {
    let by: Vec<String> = obstacles.tasks().iter().map(ToString::to_string).collect();
    let resource = obstacles.held.first().map(|row| row.lock.resource.to_string());
    let details = serde_json::Map::from_iter([("by".to_owned(), json!(by))]);
    rows.event(&NewEvent {
        resource,
        details,
        ..NewEvent::about(EventKind::ResourceContended, task)
    })
}

/// What a waiter does when it wakes up: claims what was handed to it, or looks again.
pub(crate) fn claim(rows: &mut dyn Rows, ticket: Ticket, evidence: &Evidence) -> Result<Acquired> {
    let Some(waiter) = rows.waiter(ticket)? else {
        return Ok(Acquired::Unknown);
    };
    let Some(mut row) = rows.task(&waiter.task)? else {
        return Ok(Acquired::Unknown);
    };
    if let Phase::Granted { .. } = waiter.phase {
        return claimed(rows, &waiter, row);
    }
    let missing = rules::missing(rows, &row.id, &waiter.wants)?;
    let needed: LockSet = missing.iter().cloned().collect();
    let (obstacles, freed) = rules::obstacles(rows, &row.id, &needed, Some(waiter.seq), evidence)?;
    if obstacles.is_empty() {
        rules::grant(rows, &mut row, &missing)?;
        rows.delete_waiter(&waiter)?;
        let wake = rules::hand_off(rows, freed)?;
        return Ok(Acquired::Granted {
            row: Box::new(row),
            locks: missing,
            wake,
        });
    }
    let wake = rules::hand_off(rows, freed)?;
    Ok(Acquired::Queued { obstacles, wake })
}

/// Turns a grant that was handed over into the full lease.
fn claimed(rows: &mut dyn Rows, waiter: &WaiterRow, row: TaskRow) -> Result<Acquired> {
    rows.delete_waiter(waiter)?;
    let row = TaskRow {
        renewed_ns: rows.now().boottime_ns,
        ..row
    };
    rows.put_task(&row)?;
    Ok(Acquired::Granted {
        row: Box::new(row),
        locks: waiter.wants.iter().collect(),
        wake: Vec::new(),
    })
}

/// Ends a wait whose time ran out: the place is kept for a while. What was handed over at the last moment is claimed.
pub(crate) fn leave(rows: &mut dyn Rows, ticket: Ticket, evidence: &Evidence) -> Result<Acquired> {
    let last = claim(rows, ticket, evidence)?;
    if let Acquired::Queued { .. } = last
        && let Some(waiter) = rows.waiter(ticket)?
    {
        let until_ns = rows.now().boottime_ns + rules::CLAIM_NS;
        rows.update_waiter(&WaiterRow {
            phase: Phase::Away { until_ns },
            ..waiter.clone()
        })?;
        rows.event(&NewEvent::about(EventKind::ResourceTimedOut, &waiter.task))?;
    }
    Ok(last)
}

/// Takes a place out of the queue whose waiter is known to be dead, and serves those behind it.
pub(crate) fn bury(rows: &mut dyn Rows, ticket: Ticket) -> Result<Vec<Ticket>> {
    let Some(waiter) = rows.waiter(ticket)? else {
        return Ok(Vec::new());
    };
    let freed = match waiter.phase {
        Phase::Granted { token, .. } => {
            let granted = rows
                .locks_of(&waiter.task)?
                .into_iter()
                .filter(|held| held.token == token);
            let resources: Vec<Resource> = granted.map(|held| held.lock.resource).collect();
            for resource in &resources {
                rows.delete_lock(&waiter.task, resource)?;
            }
            rules::drop_waiter(rows, &waiter)?;
            resources
        }
        Phase::Waiting | Phase::Away { .. } => rules::drop_waiter(rows, &waiter)?,
    };
    rules::hand_off(rows, freed)
}

/// Extends the lease of a task. `None` means that there is no such task, `Some(false)` that it lost its lease.
pub(crate) fn renew(rows: &mut dyn Rows, id: &TaskId) -> Result<Option<bool>> {
    let Some(row) = rows.task(id)? else {
        return Ok(None);
    };
    if row.lost {
        return Ok(Some(false));
    }
    let now = rows.now().clone();
    if row.owner.boot == now.boot {
        rows.touch_task(id, now.boottime_ns)?;
    } else {
        // The machine was started again and nobody took the lease: it goes on, tied to no process any more.
        let owner = Owner {
            boot: now.boot,
            process: None,
            ..row.owner.clone()
        };
        rows.put_task(&TaskRow {
            owner,
            renewed_ns: now.boottime_ns,
            ..row
        })?;
    }
    Ok(Some(true))
}

/// Gives locks back and serves the queue. Answers what was given back.
pub(crate) fn release(
    rows: &mut dyn Rows,
    id: &TaskId,
    what: &Release,
) -> Result<Option<(Vec<Lock>, Vec<Ticket>)>> {
    let Some(row) = rows.task(id)? else {
        return Ok(None);
    };
    let held = rows.locks_of(id)?;
    let released: Vec<Lock> = match what {
        Release::All => {
            rows.delete_locks_of(id)?;
            held.into_iter().map(|held| held.lock).collect()
        }
        Release::Some(resources) => {
            let locks: Vec<Lock> = held
                .into_iter()
                .map(|held| held.lock)
                .filter(|lock| resources.contains(&lock.resource))
                .collect();
            for lock in &locks {
                rows.delete_lock(id, &lock.resource)?;
            }
            locks
        }
    };
    if !released.is_empty() {
        let details = rules::lock_details(released.iter());
        rows.event(&NewEvent {
            token: Some(row.token),
            details,
            ..NewEvent::about(EventKind::ResourceUnlocked, id)
        })?;
    }
    let mut freed: Vec<Resource> = released.iter().map(|lock| lock.resource.clone()).collect();
    if *what == Release::All
        && let Some(waiter) = rows.waiter_of(id)?
    {
        freed.extend(rules::drop_waiter(rows, &waiter)?);
    }
    rules::remove_if_idle(rows, id)?;
    let wake = rules::hand_off(rows, freed)?;
    Ok(Some((released, wake)))
}

/// Takes the leases of everybody who holds something that `steal` names. A commit under way is left alone.
pub(crate) fn steal(rows: &mut dyn Rows, steal: &Steal) -> Result<Stolen> {
    let (mut stolen, mut freed) = (Vec::new(), Vec::new());
    for row in rows.tasks()? {
        if steal.from.as_ref().is_some_and(|from| *from != row.id) {
            continue;
        }
        let locks: Vec<Lock> = rows
            .locks_of(&row.id)?
            .into_iter()
            .map(|held| held.lock)
            .collect();
        let named = |lock: &Lock| {
            steal
                .resources
                .iter()
                .any(|resource| overlap(resource, &lock.resource))
        };
        let taken: Vec<Lock> = locks
            .into_iter()
            .filter(|lock| steal.resources.is_empty() || named(lock))
            .collect();
        let is_deciding = rows
            .current_transaction(&row.id)?
            .is_some_and(|transaction| transaction.state != TransactionState::Open);
        if taken.is_empty() || is_deciding {
            continue;
        }
        let reason = format!("by {}: {}", steal.by, steal.reason);
        freed.extend(rules::reap(rows, &row, EventKind::ResourceStolen, &reason)?);
        stolen.push((row, taken));
    }
    let wake = rules::hand_off(rows, freed)?;
    Ok((stolen, wake))
}

/// Reaps every lease that has ended, and serves the queue.
pub(crate) fn reap(rows: &mut dyn Rows, evidence: &Evidence) -> Result<(Vec<TaskId>, Vec<Ticket>)> {
    let (mut reaped, mut freed) = (Vec::new(), Vec::new());
    for row in rows.tasks()? {
        if !row.lost && rules::has_ended(rows, &row, evidence)? {
            freed.extend(rules::reap(
                rows,
                &row,
                EventKind::ResourceExpired,
                "the lease ended",
            )?);
            reaped.push(row.id);
        }
    }
    for waiter in rows.waiters()? {
        let key = (waiter.task.clone(), rules::ticket_token(&waiter));
        let is_over = match waiter.phase {
            Phase::Away { until_ns } => {
                until_ns <= rows.now().boottime_ns || waiter.owner.boot != rows.now().boot
            }
            _ => {
                waiter.owner.boot != rows.now().boot
                    || evidence.get(&key) == Some(&crate::model::Verdict::Dead)
            }
        };
        if is_over && rows.waiter(waiter.ticket)?.is_some() {
            freed.extend(rules::drop_waiter(rows, &waiter)?);
        }
    }
    let wake = rules::hand_off(rows, freed)?;
    Ok((reaped, wake))
}
