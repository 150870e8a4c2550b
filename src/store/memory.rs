//! A store in this process alone: plain maps behind one mutex, asked by comparing everything with everything.
//!
//! It ends with the process, so nothing in it is durable. Its other use is as the oracle: what takes SQLite a probe of
//! ordered keys is here the conflict rule of `model` itself.

mod rows;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{Change, Event, LockSet, Mode, Now, RepoPath, Resource, TaskId, Token, TransactionId};
use crate::store::backend::Parts;
use crate::store::data::{Transaction, Upkeep};
use crate::store::error::StoreError;
use crate::store::local::{Act, Engine, Local, WriteError};
use crate::store::rows::{Durability, TaskRow, WaiterRow};
use rows::MemoryRows;
use table::Table;

type Result<T> = std::result::Result<T, StoreError>;

/// How many lines of the history go at once when there is no room.
const DROPPED_LINES: usize = 1024;

/// What a line of the history takes, nearly.
const LINE_BYTES: u64 = 200;

/// A handle on maps that other handles of the process may share.
#[derive(Debug, Default, Clone)]
pub(crate) struct Memory {
    state: Arc<Mutex<State>>,
}

/// Everything that is kept.
#[derive(Debug, Default)]
pub(super) struct State {
    token: u64,
    seq: u64,
    event_seq: u64,
    tasks: Table<TaskId, TaskRow>,
    locks: Table<(TaskId, Resource), (Mode, Token)>,
    waiters: Table<u64, WaiterRow>,
    transactions: Table<TransactionId, Transaction>,
    changes: Table<(TransactionId, RepoPath), Change>,
    events: Table<u64, Event>,
}

impl State {
    fn settle(&mut self, keep: bool) {
        self.tasks.settle(keep);
        self.locks.settle(keep);
        self.waiters.settle(keep);
        self.transactions.settle(keep);
        self.changes.settle(keep);
        self.events.settle(keep);
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, State> {
        // An act that panicked left its changes unsettled; they are undone before anybody sees them.
        self.state.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            let mut state = poisoned.into_inner();
            state.settle(false);
            state
        })
    }
}

impl Engine for Memory {
    fn write(
        &mut self,
        now: &Now,
        _durability: Durability,
        act: Act<'_>,
    ) -> std::result::Result<(), WriteError> {
        let mut state = self.lock();
        let answer = act(&mut MemoryRows {
            state: &mut state,
            now,
        });
        // Numbers that were given out stay so: a gap in them hurts nobody.
        state.settle(answer.is_ok());
        answer.map_err(WriteError::Act)
    }

    fn read(&mut self, now: &Now, act: Act<'_>) -> Result<()> {
        let mut state = self.lock();
        let answer = act(&mut MemoryRows {
            state: &mut state,
            now,
        });
        state.settle(false);
        answer
    }

    fn unfinished(&mut self) -> Result<Vec<TransactionId>> {
        let state = self.lock();
        let unfinished = state
            .transactions
            .values()
            .filter(|transaction| transaction.state.is_unfinished());
        Ok(unfinished.map(|transaction| transaction.id).collect())
    }

    fn events(&mut self, after: u64, limit: usize) -> Result<Vec<Event>> {
        Ok(self
            .lock()
            .events
            .range(after + 1..)
            .take(limit)
            .map(|(_, event)| event.clone())
            .collect())
    }

    fn events_before(&mut self, before: u64, limit: usize) -> Result<Vec<Event>> {
        Ok(self
            .lock()
            .events
            .range(..before)
            .rev()
            .take(limit)
            .map(|(_, event)| event.clone())
            .collect())
    }

    fn last_event(&mut self) -> Result<u64> {
        Ok(self.lock().event_seq)
    }

    fn upkeep(&mut self, what: &Upkeep) -> Result<usize> {
        let mut state = self.lock();
        let newest = state.event_seq;
        let is_old = |event: &&Event| match what {
            Upkeep::Trim { before, .. } => event.at < *before,
            Upkeep::DropOldest => true,
            // In memory nothing is packed, and what ended is small.
            Upkeep::Pack | Upkeep::Forget { .. } => false,
        };
        let lines_max = match what {
            Upkeep::Trim { lines_max, .. } => *lines_max,
            _ => DROPPED_LINES,
        };
        let oldest = state
            .events
            .values()
            .filter(|event| event.seq < newest)
            .take(lines_max);
        let old: Vec<u64> = oldest.filter(is_old).map(|event| event.seq).collect();
        for seq in &old {
            state.events.remove(seq);
        }
        state.settle(true);
        Ok(old.len())
    }

    fn history_bytes(&mut self) -> Result<u64> {
        Ok(self.lock().events.values().count() as u64 * LINE_BYTES)
    }

    fn identity(&mut self) -> Result<String> {
        // Nobody can put another one in its place.
        Ok("memory".to_owned())
    }

    fn check(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn after_command(&mut self, _log_bytes_max: u64) -> Result<()> {
        Ok(())
    }

    fn reconnect(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Parts for Local<Memory> {
    fn another(&self) -> Result<Box<dyn Parts>> {
        Ok(Box::new(Self(self.0.clone())))
    }
}

/// Tells whether a lock of a set excludes `other`.
fn is_conflicting(wants: &LockSet, other: &crate::model::Lock) -> bool {
    wants.iter().any(|want| crate::model::conflict(&want, other))
}

/// Tells whether two requests have to do with each other in the queue.
fn is_conflicting_in_line(wants: &LockSet, others: &LockSet) -> bool {
    let conflicting = |want: crate::model::Lock| {
        others
            .in_line()
            .any(|other| crate::model::conflict(&want, &other))
    };
    wants.in_line().any(conflicting)
}
