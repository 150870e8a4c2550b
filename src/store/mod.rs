//! Who holds what, and what is being committed: one handle, [`Store`], over whatever keeps it.
//!
//! The handle asks the clocks and looks at processes, waits, and wakes others up; the rules themselves run inside the
//! store, as one atomic act each. Time and what is known of other processes are arguments of an act, never read in it.
//!
//! Read `rows` for what is kept, `judge` for who is in the way, `shares` for what is shared out by number, `grant` and
//! `hand_off` for what is given and taken, `acquire` and `lease` for the verbs made of them, `ending` for transactions.
//! `sqlite` and `memory` are the two engines that run these acts. What every store promises is in
//! `docs/store-contract.md`, and `tests/it/store` holds them to it.

mod acquire;
mod backend;
mod bell;
mod blocked;
mod claims;
mod data;
mod deadlock;
mod describe;
mod ended;
mod ending;
mod error;
mod grant;
mod hand_off;
mod holder;
mod judge;
mod lease;
mod local;
mod locking;
mod memory;
mod needs;
mod queue;
mod rows;
mod shares;
mod sqlite;
mod transactions;
mod wait;

use std::path::PathBuf;
use std::sync::Arc;

pub use data::{
    Asker, Attempt, Decision, Grant, HeldLock, Holders, NewEvent, NewTask, NewTransaction, Release, Standing,
    Steal, Task, Transaction, Upkeep, Wait, Waiter,
};
pub use error::{AcquireError, DecideError, LeaseError, StoreError};
pub(crate) use judge::LOCKS_MAX as CONFLICTS_MAX;

use crate::host::Host;
use crate::model::{Conflict, Lock, LockSet, Mode, Now, Resource, TaskId, Ticket, TransactionState, Verdict};
use crate::store::rows::TaskRow;
use backend::Parts;
use bell::Bell;
use local::Local;
use memory::Memory;
use sqlite::Sqlite;

/// Above this length a log is folded into the database by whoever has answered, in bytes. Whoever opens the registry
/// while nobody else has it open reads all of it.
const LOG_BYTES_MAX: u64 = 1 << 19;

/// The same for whoever has only staged.
const LOG_BYTES_STAGING_MAX: u64 = 1 << 22;

/// Where an embedded store lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The database.
    pub registry: PathBuf,
    /// The lock taken before every write.
    pub door: PathBuf,
    /// The directory of the waiters' sockets.
    pub wake: PathBuf,
}

/// A handle on a store. Several handles, in several processes, may be open at once.
pub struct Store {
    parts: Box<dyn Parts>,
    host: Arc<dyn Host>,
    bell: Bell,
}

impl Store {
    /// Makes the store at `place`, or opens the one that is there.
    pub fn create(place: &Place, host: Arc<dyn Host>) -> Result<Self, StoreError> {
        let sqlite = Sqlite::create(place, &host.now())?;
        Ok(Self {
            parts: Box::new(Local(sqlite)),
            host,
            bell: Bell::Sockets(place.wake.clone()),
        })
    }

    /// Opens the store at `place`.
    pub fn open(place: &Place, host: Arc<dyn Host>) -> Result<Self, StoreError> {
        let sqlite = Sqlite::open(place)?;
        Ok(Self {
            parts: Box::new(Local(sqlite)),
            host,
            bell: Bell::Sockets(place.wake.clone()),
        })
    }

    /// Makes a store that lives in this process alone and ends with it.
    pub fn memory(host: Arc<dyn Host>) -> Self {
        Self {
            parts: Box::new(Local(Memory::default())),
            host,
            bell: Bell::Memory(Arc::default()),
        }
    }

    /// Opens another handle on the same store, for another thread.
    pub fn another(&self) -> Result<Self, StoreError> {
        let (host, bell) = (Arc::clone(&self.host), self.bell.clone());
        Ok(Self {
            parts: self.parts.another()?,
            host,
            bell,
        })
    }

    /// Reads one task.
    pub fn task(&mut self, task: &TaskId) -> Result<Option<Task>, StoreError> {
        let now = self.host.now();
        let found = self.parts.task(&now, task)?;
        Ok(found.map(|(row, locks)| describe::task(&now, row, locks)))
    }

    /// Reads all tasks, by name.
    pub fn tasks(&mut self) -> Result<Vec<Task>, StoreError> {
        let now = self.host.now();
        let tasks = self.parts.tasks(&now)?;
        Ok(tasks
            .into_iter()
            .map(|(row, locks)| describe::task(&now, row, locks))
            .collect())
    }

    /// Reads the queue, in order of arrival.
    pub fn waiters(&mut self) -> Result<Vec<Waiter>, StoreError> {
        let now = self.host.now();
        let waiters = self.parts.waiters(&now)?.into_iter();
        let queued = waiters.filter(|blocked| blocked.waiter.is_queued());
        let shown = queued.map(|blocked| Waiter {
            task: blocked.waiter.task,
            wants: blocked.waiter.wants,
            since: blocked.waiter.since,
            blocked_by: blocked.by.into_iter().collect(),
            and_others: blocked.and_others,
            only: blocked.only,
        });
        Ok(shown.collect())
    }

    /// Returns the tickets that somebody may still listen for.
    pub fn tickets(&mut self) -> Result<Vec<Ticket>, StoreError> {
        let now = self.host.now();
        Ok(self
            .parts
            .waiters(&now)?
            .into_iter()
            .map(|blocked| blocked.waiter.ticket)
            .collect())
    }

    /// Finds what others hold that conflicts with `wants`. What the asking task's own write locks cover nobody else can
    /// hold, so only the rest is looked up. A holder whose lease ran out is named as well, since it may still
    /// renew; one that is known to be dead is not.
    pub fn conflicts(
        &mut self,
        wants: &LockSet,
        asking: Option<&TaskId>,
    ) -> Result<Vec<Conflict>, StoreError> {
        let now = self.host.now();
        let rest = match asking {
            None => wants.clone(),
            Some(task) => self.not_covered(&now, wants, task)?,
        };
        if rest.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for (row, task) in self.parts.conflicting(&now, &rest, asking)? {
            if !self.is_free_for_the_asking(&now, &task)? {
                found.push(describe::conflict(&now, &row.lock, row.token, &task, false));
            }
        }
        Ok(found)
    }

    /// Tells whether whoever asks for the locks of `task` gets them at once: its owner is known to be dead, and it left
    /// no commit behind that recovery has to end first.
    fn is_free_for_the_asking(&mut self, now: &Now, task: &TaskRow) -> Result<bool, StoreError> {
        let is_dead = task.owner.boot != now.boot || self.host.verdict(&task.owner) == Verdict::Dead;
        if !is_dead {
            return Ok(false);
        }
        let transaction = self.parts.current_transaction(now, &task.id)?;
        Ok(transaction.is_none_or(|transaction| transaction.state == TransactionState::Open))
    }

    fn not_covered(&mut self, now: &Now, wants: &LockSet, task: &TaskId) -> Result<LockSet, StoreError> {
        let Some((row, locks)) = self.parts.task(now, task)? else {
            return Ok(wants.clone());
        };
        if row.lost {
            return Ok(wants.clone());
        }
        let own: LockSet = locks.into_iter().map(|held| held.lock).collect();
        let is_own = |lock: &Lock| matches!(&lock.resource, Resource::File(path) if own.covers_write(path));
        Ok(wants.iter().filter(|lock| !is_own(lock)).collect())
    }

    /// Finds who holds what overlaps each of `resources`, in whatever mode.
    pub fn holders(&mut self, resources: &[Resource]) -> Result<Vec<Holders>, StoreError> {
        let now = self.host.now();
        let mut answer = Vec::with_capacity(resources.len());
        for resource in resources {
            let whole = Lock {
                resource: resource.clone(),
                mode: Mode::Write,
            };
            let found = self
                .parts
                .conflicting(&now, &[whole].into_iter().collect(), None)?
                .into_iter();
            let holders =
                found.map(|(row, task)| describe::conflict(&now, &row.lock, row.token, &task, false));
            answer.push(Holders {
                resource: resource.clone(),
                holders: holders.collect(),
            });
        }
        Ok(answer)
    }

    /// Returns the name that tells this store from any other that could be put in its place. It got it when it was made.
    pub fn identity(&mut self) -> Result<String, StoreError> {
        self.parts.identity()
    }

    /// Checks what is stored: the file itself, that held locks do not conflict, that rows belong together. Answers what is
    /// wrong, in words.
    pub fn check(&mut self) -> Result<Vec<String>, StoreError> {
        let mut wrong = self.parts.check()?;
        let now = self.host.now();
        for (row, locks) in self.parts.tasks(&now)? {
            let held: LockSet = locks.iter().map(|held| held.lock.clone()).collect();
            for (other, _) in self.parts.conflicting(&now, &held, Some(&row.id))? {
                // Each pair is found from both ends; one of them tells it.
                if row.id < other.task {
                    wrong.push(format!(
                        "{} and {} both hold {}",
                        row.id, other.task, other.lock.resource
                    ));
                }
            }
            if let Some(newer) = locks.iter().find(|held| held.token > row.token) {
                let resource = &newer.lock.resource;
                wrong.push(format!(
                    "{} holds {resource} under a token newer than its own",
                    row.id
                ));
            }
        }
        Ok(wrong)
    }

    /// Does the work that nobody should have to wait for. To be called once an answer was given: it cannot fail any
    /// more, and what could not be done now is done after a later command.
    pub fn after_command(&mut self) {
        self.fold_log(LOG_BYTES_MAX);
    }

    /// The same after staging, which lets the log grow longer: what is done then syncs, and the sync would wait for all
    /// the bytes that were staged.
    pub fn after_staging(&mut self) {
        self.fold_log(LOG_BYTES_STAGING_MAX);
    }

    fn fold_log(&mut self, bytes_max: u64) {
        if let Err(error) = self.parts.after_command(bytes_max) {
            tracing::warn!(%error, "folding the registry's log is left to a later command");
        }
    }
}
