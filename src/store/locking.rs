//! The handle's verbs of locking: acquire, renew, release, steal, reap.

use crate::model::{Conflict, Interrupter, LockSet, TaskId, Ticket, Verdict};
use crate::store::acquire::{Acquired, Granted, Line};
use crate::store::data::{Asker, Grant, Release, Steal, Task, Wait};
use crate::store::error::{AcquireError, LeaseError, StoreError};
use crate::store::rows::{Evidence, Questions, Subject};
use crate::store::{Store, describe};

/// How often an act is repeated because somebody's life had to be looked at first, or because a place in the queue was
/// gone before it was served.
const ROUNDS_MAX: usize = 64;

impl Store {
    /// Grants all of `locks` or nothing. Nobody who asked earlier is overtaken. While it waits, `on_wait` hears who is in
    /// the way, again whenever that changes.
    ///
    /// Of what is shared out by number, the store chooses which; more than there is, is refused at once.
    ///
    /// A grant survives the end of this process at once, and power loss never matters to it: no lease outlives a boot.
    pub fn acquire(
        &mut self,
        who: &Asker,
        locks: &LockSet,
        wait: Wait,
        on_wait: &mut dyn FnMut(&[Conflict]),
    ) -> Result<Grant, AcquireError> {
        self.acquire_unless(&[], who, locks, wait, on_wait)
    }

    /// The same, but the wait ends as soon as one of `interrupters` says so.
    pub fn acquire_unless(
        &mut self,
        interrupters: &[Interrupter],
        who: &Asker,
        locks: &LockSet,
        wait: Wait,
        on_wait: &mut dyn FnMut(&[Conflict]),
    ) -> Result<Grant, AcquireError> {
        locks.check()?;
        let deadline_ns = self.deadline(wait);
        let mut line = if deadline_ns.is_some() {
            Line::Probe
        } else {
            Line::Refuse
        };
        let mut listener = None;
        let mut evidence = Evidence::new();
        for round in 1.. {
            let now = self.host.now();
            let acquired = match self.parts.acquire(&now, who, locks, &line, &evidence)? {
                Acquired::Ask(questions) if round < ROUNDS_MAX => {
                    self.ask(&questions, &mut evidence);
                    continue;
                }
                Acquired::Refused(_) if let (Line::Probe, Some(deadline_ns)) = (&line, deadline_ns) => {
                    let (place, own) = self.take_place(deadline_ns)?;
                    (line, listener) = (Line::Stand(place), Some(own));
                    continue;
                }
                Acquired::Queued { wake } => {
                    self.ring(wake);
                    // The command ends when the wait does, and the log must not grow until then with everybody who queues.
                    self.after_command();
                    self.wait_in_queue(&line, listener.as_mut(), deadline_ns, interrupters, on_wait)?
                }
                settled => settled,
            };
            match acquired {
                // The place was dropped while this process could not run: ask anew with what is left of the time.
                Acquired::Gone if round < ROUNDS_MAX => {
                    self.refuse_lost(who)?;
                    (line, listener) = (Line::Probe, None);
                }
                settled => return self.settled(who, settled),
            }
        }
        unreachable!("BUG: the loop above only ends by returning")
    }

    fn settled(&mut self, who: &Asker, acquired: Acquired) -> Result<Grant, AcquireError> {
        let task = who.task().clone();
        let now = self.host.now();
        match acquired {
            Acquired::Granted(granted) => {
                let Granted {
                    row,
                    held,
                    locks,
                    wake,
                } = *granted;
                self.ring(wake);
                Ok(Grant {
                    task: describe::task(&now, row, held),
                    granted: locks,
                })
            }
            Acquired::Refused(blockers) => Err(AcquireError::Held {
                conflicts: describe::conflicts(&now, &blockers),
            }),
            Acquired::TimedOut(blockers) => Err(AcquireError::TimedOut {
                conflicts: describe::conflicts(&now, &blockers),
            }),
            Acquired::Ask(_) | Acquired::Queued { .. } | Acquired::Gone => Err(AcquireError::Held {
                conflicts: Vec::new(),
            }),
            Acquired::Deadlock { cycle } => Err(AcquireError::Deadlock { cycle }),
            Acquired::Unknown => Err(AcquireError::UnknownTask { task }),
            Acquired::Exists { transaction } => Err(AcquireError::TaskExists { task, transaction }),
        }
    }

    /// A task that lost its lease while it waited for more must not win only the rest.
    fn refuse_lost(&mut self, who: &Asker) -> Result<(), StoreError> {
        let now = self.host.now();
        match self.parts.task(&now, who.task())? {
            Some((row, _)) if row.lost => Err(StoreError::NoLease { task: row.id }),
            _ => Ok(()),
        }
    }

    /// Looks at the owners in question: outside the act, since `/proc` is slow.
    pub(super) fn ask(&self, questions: &Questions, evidence: &mut Evidence) {
        let judged = questions.iter().map(|(subject, owner)| {
            let verdict = self.host.verdict(owner);
            (subject.clone(), (owner.clone(), verdict))
        });
        evidence.extend(judged);
    }

    /// Wakes those who were served. Whoever does not listen any more is looked at, and passed over if it died.
    pub(super) fn ring(&mut self, wake: Vec<Ticket>) {
        let mut tickets = wake;
        while let Some(ticket) = tickets.pop() {
            if self.bell.ring(ticket) {
                continue;
            }
            // Best effort: what nobody claims ends by itself, and those behind look for themselves.
            tickets.extend(self.bury_if_dead(ticket).unwrap_or_default());
        }
    }

    fn bury_if_dead(&mut self, ticket: Ticket) -> Result<Vec<Ticket>, StoreError> {
        let now = self.host.now();
        let Some(waiter) = self.parts.waiter(&now, ticket)? else {
            return Ok(Vec::new());
        };
        if !waiter.is_attended() || self.host.verdict(&waiter.owner) != Verdict::Dead {
            return Ok(Vec::new());
        }
        self.parts.bury(&now, ticket, &waiter.owner)
    }

    /// Extends the lease of a task to its full length from now. One that ran out but was not taken goes on.
    pub fn renew(&mut self, task: &TaskId) -> Result<Task, LeaseError> {
        let now = self.host.now();
        let lease = self.parts.renew(&now, task)?;
        LeaseError::unless_held(lease)?;
        self.task(task)?.ok_or(LeaseError::Unknown)
    }

    /// Gives locks back; again is harmless. Whoever waits for them is served in the same act. A task without locks and
    /// without an open transaction is gone afterwards. Of a lost task whatever is left is given back as well, and the
    /// answer is still [`LeaseError::Lost`].
    pub fn release(&mut self, task: &TaskId, what: &Release) -> Result<Vec<crate::model::Lock>, LeaseError> {
        let now = self.host.now();
        let (lease, released, wake) = self.parts.release(&now, task, what)?;
        self.ring(wake);
        LeaseError::unless_held(lease)?;
        Ok(released)
    }

    /// Takes leases by force and answers what was taken from whom: the whole lease of everybody named, since half a lock
    /// set is of no use. A commit that is under way or decided is left alone.
    pub fn steal(&mut self, steal: &Steal) -> Result<Vec<Conflict>, StoreError> {
        let now = self.host.now();
        let (stolen, wake) = self.parts.steal(&now, steal)?;
        self.ring(wake);
        let mut taken = Vec::new();
        for (row, locks) in &stolen {
            let of_row =
                |held: &crate::store::HeldLock| describe::conflict(&now, &held.lock, held.token, row, false);
            taken.extend(locks.iter().map(of_row));
        }
        Ok(taken)
    }

    /// Reaps every lease and every place in the queue that has ended. Answers whose leases they were.
    pub fn reap(&mut self) -> Result<Vec<TaskId>, StoreError> {
        let now = self.host.now();
        let mut questions = Questions::new();
        for (row, _) in self.parts.tasks(&now)? {
            questions.insert(Subject::Lease(row.id), row.owner);
        }
        for blocked in self.parts.waiters(&now)? {
            questions.insert(Subject::Place(blocked.waiter.seq), blocked.waiter.owner);
        }
        let mut evidence = Evidence::new();
        self.ask(&questions, &mut evidence);
        let (reaped, wake) = self.parts.reap(&now, &evidence)?;
        self.ring(wake);
        Ok(reaped)
    }

    fn deadline(&self, wait: Wait) -> Option<i64> {
        match wait {
            Wait::Never => None,
            Wait::UpTo(patience) => {
                let patience_ns = i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX);
                Some(self.host.now().boottime_ns.saturating_add(patience_ns))
            }
        }
    }
}
