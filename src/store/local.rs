//! A store whose acts are functions over rows: embedded SQLite and memory.

use std::collections::BTreeMap;

use crate::model::{
    Change, Event, EventKind, Lock, LockSet, Now, Owner, RepoPath, TaskId, Ticket, Token, TransactionId,
    TransactionState,
};
use crate::store::acquire::{Acquired, Line};
use crate::store::backend::{Backend, LockAndTask, Registry, Stolen, TaskAndLocks, Wake};
use crate::store::blocked::Blocked;
use crate::store::data::{
    Asker, Attempt, Decision, NewEvent, NewTransaction, Release, Steal, Transaction, Upkeep,
};
use crate::store::error::{DecideError, StoreError};
use crate::store::judge::missing_task;
use crate::store::lease::Lease;
use crate::store::queue::Look;
use crate::store::rows::{Durability, Evidence, Rows, TaskRow, WaiterRow};
use crate::store::{acquire, blocked, ending, lease, queue};

type Result<T> = std::result::Result<T, StoreError>;

/// The body of an act.
pub(crate) type Act<'a> = &'a mut dyn FnMut(&mut dyn Rows) -> Result<()>;

/// Why a write did not happen, or may have happened.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The act itself refused or failed; nothing is written.
    Act(StoreError),
    /// Beginning failed; nothing is written.
    Begin(StoreError),
    /// Ending failed: what was written may or may not stand.
    End(StoreError),
}

/// Something that runs acts over rows, one at a time.
pub(crate) trait Engine: Send {
    /// Runs an act that writes. All of it stands or nothing.
    fn write(
        &mut self,
        now: &Now,
        durability: Durability,
        act: Act<'_>,
    ) -> std::result::Result<(), WriteError>;
    /// Runs an act that only reads, from one state.
    fn read(&mut self, now: &Now, act: Act<'_>) -> Result<()>;
    /// Reads the states that recovery cares about, as cheaply as possible.
    fn unfinished(&mut self) -> Result<Vec<TransactionId>>;
    fn events(&mut self, after: u64, limit: usize) -> Result<Vec<Event>>;
    fn events_before(&mut self, before: u64, limit: usize) -> Result<Vec<Event>>;
    fn last_event(&mut self) -> Result<u64>;
    fn upkeep(&mut self, what: &Upkeep) -> Result<usize>;
    fn history_bytes(&mut self) -> Result<u64>;
    fn identity(&mut self) -> Result<String>;
    fn check(&mut self) -> Result<Vec<String>>;
    fn after_command(&mut self, log_bytes_max: u64) -> Result<()>;
    /// Connects anew: what the old connection believes may not be true.
    fn reconnect(&mut self) -> Result<()>;
}

/// A store over an engine.
#[derive(Debug)]
pub(crate) struct Local<E>(pub(crate) E);

impl<E: Engine> Local<E> {
    fn write<T>(
        &mut self,
        now: &Now,
        durability: Durability,
        mut act: impl FnMut(&mut dyn Rows) -> Result<T>,
    ) -> std::result::Result<T, WriteError> {
        let mut answer = None;
        self.0.write(now, durability, &mut |rows| {
            answer = Some(act(rows)?);
            Ok(())
        })?;
        Ok(answer.unwrap_or_else(|| unreachable!("BUG: an act that ended well has answered")))
    }

    fn normal<T>(&mut self, now: &Now, act: impl FnMut(&mut dyn Rows) -> Result<T>) -> Result<T> {
        Ok(self.write(now, Durability::Normal, act)?)
    }

    fn read<T>(&mut self, now: &Now, mut act: impl FnMut(&mut dyn Rows) -> Result<T>) -> Result<T> {
        let mut answer = None;
        self.0.read(now, &mut |rows| {
            answer = Some(act(rows)?);
            Ok(())
        })?;
        Ok(answer.unwrap_or_else(|| unreachable!("BUG: an act that ended well has answered")))
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Act(error) | WriteError::Begin(error) | WriteError::End(error) => error,
        }
    }
}

impl<E: Engine> Backend for Local<E> {
    fn acquire(
        &mut self,
        now: &Now,
        asker: &Asker,
        wants: &LockSet,
        line: &Line,
        evidence: &Evidence,
    ) -> Result<Acquired> {
        self.normal(now, |rows| acquire::acquire(rows, asker, wants, line, evidence))
    }

    fn look(&mut self, now: &Now, ticket: Ticket, evidence: &Evidence) -> Result<Look> {
        self.read(now, |rows| queue::look(rows, ticket, evidence))
    }

    fn claim(&mut self, now: &Now, ticket: Ticket, evidence: &Evidence) -> Result<Acquired> {
        self.normal(now, |rows| queue::claim(rows, ticket, evidence))
    }

    fn leave(&mut self, now: &Now, ticket: Ticket) -> Result<Acquired> {
        self.normal(now, |rows| queue::leave(rows, ticket))
    }

    fn bury(&mut self, now: &Now, ticket: Ticket, owner: &Owner) -> Result<Wake> {
        self.normal(now, |rows| queue::bury(rows, ticket, owner))
    }

    fn renew(&mut self, now: &Now, task: &TaskId) -> Result<Lease> {
        self.normal(now, |rows| lease::renew(rows, task))
    }

    fn release(&mut self, now: &Now, task: &TaskId, what: &Release) -> Result<(Lease, Vec<Lock>, Wake)> {
        self.normal(now, |rows| lease::release(rows, task, what))
    }

    fn steal(&mut self, now: &Now, steal: &Steal) -> Result<(Stolen, Wake)> {
        self.normal(now, |rows| lease::steal(rows, steal))
    }

    fn reap(&mut self, now: &Now, evidence: &Evidence) -> Result<(Vec<TaskId>, Wake)> {
        self.normal(now, |rows| lease::reap_ended(rows, evidence))
    }

    fn task(&mut self, now: &Now, task: &TaskId) -> Result<Option<TaskAndLocks>> {
        self.read(now, |rows| match rows.task(task)? {
            Some(row) => Ok(Some((row, rows.locks_of(task)?))),
            None => Ok(None),
        })
    }

    fn tasks(&mut self, now: &Now) -> Result<Vec<TaskAndLocks>> {
        self.read(now, |rows| {
            let tasks = rows.tasks()?.into_iter();
            tasks
                .map(|row| rows.locks_of(&row.id).map(|locks| (row, locks)))
                .collect()
        })
    }

    fn waiter(&mut self, now: &Now, ticket: Ticket) -> Result<Option<WaiterRow>> {
        self.read(now, |rows| rows.waiter(ticket))
    }

    fn waiters(&mut self, now: &Now) -> Result<Vec<Blocked>> {
        self.read(now, |rows| blocked::queue(rows))
    }

    fn conflicting(
        &mut self,
        now: &Now,
        wants: &LockSet,
        except: Option<&TaskId>,
    ) -> Result<Vec<LockAndTask>> {
        self.read(now, |rows| {
            let mut found = Vec::new();
            let mut known: BTreeMap<TaskId, TaskRow> = BTreeMap::new();
            for row in rows.conflicting(wants, except, None)? {
                if !known.contains_key(&row.task) {
                    let task = rows.task(&row.task)?.ok_or_else(|| missing_task(&row.task))?;
                    known.insert(row.task.clone(), task);
                }
                let task = known[&row.task].clone();
                found.push((row, task));
            }
            Ok(found)
        })
    }
}

impl<E: Engine> Registry for Local<E> {
    fn open_transaction(&mut self, now: &Now, new: &NewTransaction) -> Result<Transaction> {
        self.normal(now, |rows| ending::open(rows, new))
    }

    fn transaction(&mut self, now: &Now, id: &TransactionId) -> Result<Option<Transaction>> {
        self.read(now, |rows| rows.transaction(id))
    }

    fn current_transaction(&mut self, now: &Now, task: &TaskId) -> Result<Option<Transaction>> {
        self.read(now, |rows| rows.current_transaction(task))
    }

    fn transactions(&mut self, now: &Now) -> Result<Vec<Transaction>> {
        self.read(now, |rows| rows.transactions())
    }

    fn unfinished(&mut self, now: &Now) -> Result<Vec<Transaction>> {
        let ids = self.0.unfinished()?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.read(now, |rows| {
            ids.iter()
                .filter_map(|id| rows.transaction(id).transpose())
                .collect()
        })
    }

    fn changes(&mut self, now: &Now, id: &TransactionId) -> Result<Vec<Change>> {
        self.read(now, |rows| rows.changes(id))
    }

    fn edit_changes(
        &mut self,
        now: &Now,
        id: &TransactionId,
        put: &[Change],
        remove: &[RepoPath],
    ) -> Result<Lease> {
        self.normal(now, |rows| ending::edit_changes(rows, id, put, remove))
    }

    fn begin_commit(&mut self, now: &Now, id: &TransactionId, attempt: &Attempt) -> Result<Token> {
        self.normal(now, |rows| ending::begin_commit(rows, id, attempt))
    }

    fn decide(&mut self, now: &Now, decision: &Decision<'_>) -> std::result::Result<(), DecideError> {
        let written = self.write(now, Durability::Full, |rows| ending::decide(rows, decision));
        let uncertain = match written {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(DecideError::Lost),
            Err(WriteError::Act(error) | WriteError::Begin(error)) => {
                return Err(DecideError::Undecided(error));
            }
            Err(WriteError::End(error)) => error,
        };
        // The frames may stand in the log although nobody sees them yet. Only a fresh look counts, and only a durable
        // `aborting` behind them makes sure that they never come to life.
        let settled = self
            .0
            .reconnect()
            .and_then(|()| self.transaction(now, &decision.transaction));
        match settled {
            Ok(Some(found)) if found.state == TransactionState::Decided => Ok(()),
            Ok(_) => match self.advance(now, &decision.transaction, TransactionState::Aborting) {
                Ok(()) => Err(DecideError::Undecided(uncertain)),
                Err(_) => Err(DecideError::Unknown(uncertain)),
            },
            Err(_) => Err(DecideError::Unknown(uncertain)),
        }
    }

    fn advance(&mut self, now: &Now, id: &TransactionId, to: TransactionState) -> Result<()> {
        let durability = match to {
            TransactionState::Aborting | TransactionState::Conflict => Durability::Full,
            _ => Durability::Normal,
        };
        Ok(self.write(now, durability, |rows| ending::advance(rows, id, to))?)
    }

    fn end(
        &mut self,
        now: &Now,
        id: &TransactionId,
        to: TransactionState,
        reason: Option<&str>,
    ) -> Result<Wake> {
        let durability = if to == TransactionState::Done {
            Durability::Full
        } else {
            Durability::Normal
        };
        Ok(self.write(now, durability, |rows| ending::end(rows, id, to, reason))?)
    }

    fn forget(&mut self, now: &Now, id: &TransactionId) -> Result<()> {
        self.normal(now, |rows| {
            rows.delete_changes(id)?;
            let is_done = |row: Transaction| row.state == TransactionState::Done;
            if rows.transaction(id)?.is_some_and(is_done) {
                return Ok(());
            }
            rows.delete_transaction(id)
        })
    }

    fn record(&mut self, now: &Now, event: &NewEvent) -> Result<()> {
        self.normal(now, |rows| rows.event(event))
    }

    fn events(&mut self, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.0.events(after, limit)
    }

    fn events_before(&mut self, before: u64, limit: usize) -> Result<Vec<Event>> {
        self.0.events_before(before, limit)
    }

    fn last_event(&mut self) -> Result<u64> {
        self.0.last_event()
    }

    fn upkeep(&mut self, what: &Upkeep) -> Result<usize> {
        self.0.upkeep(what)
    }

    fn history_bytes(&mut self) -> Result<u64> {
        self.0.history_bytes()
    }

    fn identity(&mut self) -> Result<String> {
        self.0.identity()
    }

    fn check(&mut self) -> Result<Vec<String>> {
        self.0.check()
    }

    fn after_command(&mut self, log_bytes_max: u64) -> Result<()> {
        self.0.after_command(log_bytes_max)
    }
}

/// Says in the history that a new boot was noticed.
pub(crate) fn rebooted(rows: &mut dyn Rows) -> Result<()> {
    rows.event(&NewEvent::of(EventKind::StoreRebooted))
}
