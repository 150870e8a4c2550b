//! Who holds what, and what is being committed: one handle, [`Store`], over whatever keeps it.
//!
//! The handle asks the clocks and looks at processes, waits, and wakes others up; the rules themselves run inside the
//! store, as one atomic act each. Time and what is known of other processes are arguments of an act, never read in it.

mod backend;
mod data;
mod ending;
mod error;
mod local;
mod rows;
mod rules;
mod sqlite;
mod transactions;
mod verbs;
mod wait;

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use data::{
    Asker, Attempt, Decision, Grant, HeldLock, Holders, NewEvent, NewTask, NewTransaction, Release, Standing,
    Steal, Task, Transaction, Wait, Waiter,
};
pub use error::{AcquireError, DecideError, LeaseError, StoreError};

use crate::host::Host;
use crate::model::{Conflict, Holder, Lock, LockSet, Mode, Now, Resource, TaskId, Ticket, Token};
use backend::Parts;
use local::Local;
use rows::{Evidence, TaskRow};
use rules::Obstacles;
use sqlite::Sqlite;
use verbs::Acquired;

/// How often an act is repeated because somebody's life had to be looked at first. Each round looks at everybody new.
const ROUNDS_MAX: usize = 32;

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

/// How waiters are woken.
#[derive(Debug, Clone)]
enum Bell {
    /// A socket each, in this directory.
    Sockets(PathBuf),
    /// All in this process, all at once.
    Memory(Arc<MemoryBell>),
}

/// Wakes the waiting threads of one process.
#[derive(Debug, Default)]
pub(crate) struct MemoryBell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl MemoryBell {
    fn ring(&self) {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.rung.notify_all();
    }

    fn wait(&self, timeout: Duration) {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.rung
                .wait_timeout(rings, timeout)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

impl Store {
    /// Makes the store at `place`, or opens the one that is there.
    pub fn create(place: &Place, host: Arc<dyn Host>) -> Result<Self, StoreError> {
        let sqlite = Sqlite::create(place)?;
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

    /// Opens another handle on the same store, for another thread.
    pub fn another(&self) -> Result<Self, StoreError> {
        Ok(Self {
            parts: self.parts.another()?,
            host: Arc::clone(&self.host),
            bell: self.bell.clone(),
        })
    }

    /// Grants all of `locks` or nothing. Nobody who asked earlier is overtaken. While it waits, `on_wait` hears who is in
    /// the way, again whenever that changes.
    pub fn acquire(
        &mut self,
        who: &Asker,
        locks: &LockSet,
        wait: Wait,
        on_wait: &mut dyn FnMut(&[Conflict]),
    ) -> Result<Grant, AcquireError> {
        let began = Instant::now();
        let first = self.asking(|parts, now, evidence| parts.acquire(now, who, locks, None, evidence))?;
        let (Acquired::Refused { .. }, Wait::UpTo(patience)) = (&first, wait) else {
            return self.settled(who, first);
        };
        let (queue, listener) = self.listen()?;
        let queued =
            self.asking(|parts, now, evidence| parts.acquire(now, who, locks, Some(&queue), evidence))?;
        match queued {
            Acquired::Queued { obstacles, wake } => {
                self.ring(&wake);
                self.wait_in_queue(queue.ticket, &listener, began + patience, obstacles, on_wait)
            }
            settled => self.settled(who, settled),
        }
    }

    fn settled(&mut self, who: &Asker, acquired: Acquired) -> Result<Grant, AcquireError> {
        let task = match who {
            Asker::New(new) => &new.id,
            Asker::Task(task) => task,
        };
        match acquired {
            Acquired::Granted { row, locks, wake } => {
                self.ring(&wake);
                Ok(self.grant(*row, locks)?)
            }
            Acquired::Refused { obstacles, wake } | Acquired::Queued { obstacles, wake } => {
                self.ring(&wake);
                Err(AcquireError::Held {
                    conflicts: self.conflicts_of(&obstacles)?,
                })
            }
            Acquired::Deadlock { cycle } => Err(AcquireError::Deadlock { cycle }),
            Acquired::Unknown => Err(AcquireError::UnknownTask { task: task.clone() }),
            Acquired::Exists { transaction } => Err(AcquireError::TaskExists {
                task: task.clone(),
                transaction,
            }),
        }
    }

    /// Repeats an act until it has no more questions about who lives. Outside the act, since `/proc` is slow.
    fn asking(
        &mut self,
        mut act: impl FnMut(&mut dyn Parts, &Now, &Evidence) -> Result<Acquired, StoreError>,
    ) -> Result<Acquired, StoreError> {
        let mut evidence = Evidence::new();
        for _ in 0..ROUNDS_MAX {
            let now = self.host.now();
            let answer = act(self.parts.as_mut(), &now, &evidence)?;
            let (Acquired::Refused { obstacles, wake } | Acquired::Queued { obstacles, wake }) = &answer
            else {
                return Ok(answer);
            };
            if obstacles.questions.is_empty() {
                return Ok(answer);
            }
            let wake = wake.clone();
            for (key, owner) in &obstacles.questions {
                evidence.insert(key.clone(), self.host.verdict(owner));
            }
            self.ring(&wake);
        }
        let now = self.host.now();
        act(self.parts.as_mut(), &now, &evidence)
    }

    fn grant(&mut self, row: TaskRow, granted: Vec<Lock>) -> Result<Grant, StoreError> {
        let now = self.host.now();
        let locks = self
            .parts
            .task(&now, &row.id)?
            .map(|(_, locks)| locks)
            .unwrap_or_default();
        Ok(Grant {
            task: described(&now, row, locks),
            granted,
        })
    }

    fn conflicts_of(&mut self, obstacles: &Obstacles) -> Result<Vec<Conflict>, StoreError> {
        let now = self.host.now();
        let mut conflicts = Vec::new();
        for found in &obstacles.held {
            if let Some((row, _)) = self.parts.task(&now, &found.task)? {
                conflicts.push(conflicting(&now, &found.lock, found.token, &row, false));
            }
        }
        for waiter in &obstacles.earlier {
            if let Some((row, _)) = self.parts.task(&now, &waiter.task)? {
                let wanted = waiter
                    .wants
                    .iter()
                    .map(|lock| conflicting(&now, &lock, row.token, &row, true));
                conflicts.extend(wanted);
            }
        }
        Ok(conflicts)
    }

    /// Extends the lease of a task to its full length from now.
    pub fn renew(&mut self, task: &TaskId) -> Result<Task, LeaseError> {
        let now = self.host.now();
        match self.parts.renew(&now, task)? {
            None => Err(LeaseError::Unknown),
            Some(false) => Err(LeaseError::Lost),
            Some(true) => self.task(task)?.ok_or(LeaseError::Unknown),
        }
    }

    /// Reads one task.
    pub fn task(&mut self, task: &TaskId) -> Result<Option<Task>, StoreError> {
        let now = self.host.now();
        Ok(self
            .parts
            .task(&now, task)?
            .map(|(row, locks)| described(&now, row, locks)))
    }

    /// Reads all tasks, by name.
    pub fn tasks(&mut self) -> Result<Vec<Task>, StoreError> {
        let now = self.host.now();
        let tasks = self.parts.tasks(&now)?;
        Ok(tasks
            .into_iter()
            .map(|(row, locks)| described(&now, row, locks))
            .collect())
    }

    /// Reads the queue, in order of arrival.
    pub fn waiters(&mut self) -> Result<Vec<Waiter>, StoreError> {
        let now = self.host.now();
        let waiters = self.parts.waiters(&now)?.into_iter();
        let shown = waiters.filter(|(row, _)| !matches!(row.phase, rows::Phase::Granted { .. }));
        let shown = shown.map(|(row, blocked_by)| Waiter {
            task: row.task,
            wants: row.wants,
            since: row.since,
            blocked_by,
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
            .map(|(row, _)| row.ticket)
            .collect())
    }

    /// Gives locks back; again is harmless. Whoever waits for them is served in the same act.
    pub fn release(&mut self, task: &TaskId, what: &Release) -> Result<Vec<Lock>, LeaseError> {
        let now = self.host.now();
        let (released, wake) = self.parts.release(&now, task, what)?.ok_or(LeaseError::Unknown)?;
        self.ring(&wake);
        Ok(released)
    }

    /// Takes leases by force and answers what was taken from whom. A commit under way is left alone.
    pub fn steal(&mut self, steal: &Steal) -> Result<Vec<Conflict>, StoreError> {
        let now = self.host.now();
        let (stolen, wake) = self.parts.steal(&now, steal)?;
        self.ring(&wake);
        let conflicts = stolen.iter().flat_map(|(row, locks)| {
            locks
                .iter()
                .map(|lock| conflicting(&now, lock, row.token, row, false))
                .collect::<Vec<_>>()
        });
        Ok(conflicts.collect())
    }

    /// Reaps every lease that has ended. Answers whose.
    pub fn reap(&mut self) -> Result<Vec<TaskId>, StoreError> {
        let now = self.host.now();
        let mut evidence = Evidence::new();
        for (row, _) in self.parts.tasks(&now)? {
            evidence.insert((row.id.clone(), row.token), self.host.verdict(&row.owner));
        }
        for (waiter, _) in self.parts.waiters(&now)? {
            let key = (waiter.task.clone(), rules::ticket_token(&waiter));
            evidence.insert(key, self.host.verdict(&waiter.owner));
        }
        let (reaped, wake) = self.parts.reap(&now, &evidence)?;
        self.ring(&wake);
        Ok(reaped)
    }

    /// Finds what others hold that conflicts with `wants`. What the asking task's own write locks cover nobody else can
    /// hold, so only the rest is looked up.
    pub fn conflicts(
        &mut self,
        wants: &LockSet,
        asking: Option<&TaskId>,
    ) -> Result<Vec<Conflict>, StoreError> {
        let now = self.host.now();
        let own: LockSet = match asking {
            None => LockSet::new(),
            Some(task) => self.own_locks(&now, task)?,
        };
        let is_own = |lock: &Lock| matches!(&lock.resource, Resource::File(path) if own.covers_write(path));
        let rest: LockSet = wants.iter().filter(|lock| !is_own(lock)).collect();
        if rest.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.parts.overlapping(&now, &rest, asking)?;
        let found = found
            .into_iter()
            .filter(|(row, _)| rules::conflicts_with(&rest, &row.lock));
        Ok(found
            .map(|(row, task)| conflicting(&now, &row.lock, row.token, &task, false))
            .collect())
    }

    fn own_locks(&mut self, now: &Now, task: &TaskId) -> Result<LockSet, StoreError> {
        let locks = self
            .parts
            .task(now, task)?
            .map(|(row, locks)| if row.lost { Vec::new() } else { locks });
        Ok(locks
            .unwrap_or_default()
            .into_iter()
            .map(|held| held.lock)
            .collect())
    }

    /// Finds who holds what overlaps each of `resources`, in whatever mode.
    pub fn holders(&mut self, resources: &[Resource]) -> Result<Vec<Holders>, StoreError> {
        let now = self.host.now();
        let mut answer = Vec::with_capacity(resources.len());
        for resource in resources {
            let wants: LockSet = [Lock {
                resource: resource.clone(),
                mode: Mode::Write,
            }]
            .into_iter()
            .collect();
            let found = self.parts.overlapping(&now, &wants, None)?;
            let holders = found
                .into_iter()
                .map(|(row, task)| conflicting(&now, &row.lock, row.token, &task, false))
                .collect();
            answer.push(Holders {
                resource: resource.clone(),
                holders,
            });
        }
        Ok(answer)
    }

    /// Checks what is stored: the file itself, that held locks do not conflict, that rows belong together. Answers what is
    /// wrong, in words.
    pub fn check(&mut self) -> Result<Vec<String>, StoreError> {
        let mut wrong = self.parts.check()?;
        let now = self.host.now();
        for task in self.tasks()? {
            let held: LockSet = task.locks.iter().map(|held| held.lock.clone()).collect();
            for (other, _) in self.parts.overlapping(&now, &held, Some(&task.id))? {
                // Each pair is found from both ends; one of them tells it.
                if task.id < other.task && rules::conflicts_with(&held, &other.lock) {
                    wrong.push(format!(
                        "{} and {} both hold {}",
                        task.id, other.task, other.lock.resource
                    ));
                }
            }
            if let Some(newer) = task.locks.iter().find(|held| held.token > task.token) {
                wrong.push(format!(
                    "{} holds {} under a token newer than its own",
                    task.id, newer.lock.resource
                ));
            }
        }
        Ok(wrong)
    }

    /// Does the work that nobody should have to wait for. To be called once an answer was given.
    pub fn after_command(&mut self) -> Result<(), StoreError> {
        self.parts.after_command()
    }
}

/// Milliseconds until a lease ends.
fn expires_in_ms(now: &Now, row: &TaskRow) -> i64 {
    if row.owner.boot != now.boot {
        return 0;
    }
    now.ms_until(row.renewed_ns.saturating_add(row.ttl_ns))
}

fn described(now: &Now, row: TaskRow, locks: Vec<HeldLock>) -> Task {
    let standing = match (row.lost, locks.is_empty() && row.token.get() == 0) {
        (true, _) => Standing::Lost,
        (false, true) => Standing::Waiting,
        (false, false) => Standing::Holding,
    };
    Task {
        expires_in_ms: expires_in_ms(now, &row),
        id: row.id,
        token: row.token,
        owner: row.owner,
        reason: row.reason,
        metadata: row.metadata,
        since: row.since,
        standing,
        locks,
    }
}

fn conflicting(now: &Now, lock: &Lock, token: Token, row: &TaskRow, waiting: bool) -> Conflict {
    Conflict {
        resource: lock.resource.clone(),
        mode: lock.mode,
        holder: Holder {
            task: row.id.clone(),
            host: row.owner.host.clone(),
            pid: row.owner.process.map(|process| process.pid),
            reason: row.reason.clone(),
            since: row.since,
            expires_in_ms: expires_in_ms(now, row),
            token,
        },
        waiting,
    }
}
