//! Waiting in the queue: one socket, the lives of those in the way, and a look every second.
//!
//! The datagram, and the end of a process, are only hints: whatever wakes a waiter, it asks the store.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::disk::wake::{Notified, WakeSocket, Woken, notify};
use crate::model::{Conflict, Owner, Ticket, Verdict};
use crate::store::data::Grant;
use crate::store::error::AcquireError;
use crate::store::rows::Evidence;
use crate::store::rules::Obstacles;
use crate::store::verbs::{Acquired, Queue};
use crate::store::{Bell, Store, StoreError};

/// How long a waiter sleeps at most before it looks for itself; jitter keeps many of them apart.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most processes that one waiter watches: descriptors are few, and the look every second covers the rest.
const WATCHED_MAX: usize = 32;

/// Listens for one ticket.
pub(super) enum Listener {
    Socket(WakeSocket),
    Memory(std::sync::Arc<super::MemoryBell>),
}

impl Store {
    /// Makes a ticket and listens for it. It exists before the queue knows it, so no wake-up can be missed.
    pub(super) fn listen(&self) -> Result<(Queue, Listener), StoreError> {
        let ticket = Ticket::from_uuid(Uuid::now_v7());
        let owner = self
            .host
            .owner(Some(std::process::id()))
            .or_else(|_| self.host.owner(None));
        let owner = owner.map_err(|error| StoreError::Database {
            doing: "naming ourselves",
            source: Box::new(error),
        })?;
        let listener = match &self.bell {
            Bell::Sockets(directory) => Listener::Socket(WakeSocket::bind(directory, &ticket.to_string())?),
            Bell::Memory(bell) => Listener::Memory(std::sync::Arc::clone(bell)),
        };
        Ok((Queue { ticket, owner }, listener))
    }

    /// Waits until the ticket's turn has come or the time is over.
    pub(super) fn wait_in_queue(
        &mut self,
        ticket: Ticket,
        listener: &Listener,
        deadline: Instant,
        mut obstacles: Obstacles,
        on_wait: &mut dyn FnMut(&[Conflict]),
    ) -> Result<Grant, AcquireError> {
        let mut told: Vec<Conflict> = Vec::new();
        loop {
            let conflicts = self.conflicts_of(&obstacles)?;
            if names(&conflicts) != names(&told) {
                on_wait(&conflicts);
                told = conflicts;
            }
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return self.leave_queue(ticket, told);
            }
            self.sleep(listener, remaining, &obstacles)?;
            match self.asking(|backend, now, evidence| backend.claim(now, ticket, evidence))? {
                Acquired::Granted { row, locks, wake } => {
                    self.ring(&wake);
                    return Ok(self.grant(*row, locks)?);
                }
                Acquired::Queued {
                    obstacles: left,
                    wake,
                } => {
                    self.ring(&wake);
                    obstacles = left;
                }
                // The place is gone: a steal or a rollback took it. The obstacles are as good an answer as any.
                _ => return Err(AcquireError::TimedOut { conflicts: told }),
            }
        }
    }

    fn leave_queue(&mut self, ticket: Ticket, told: Vec<Conflict>) -> Result<Grant, AcquireError> {
        let now = self.host.now();
        match self.parts.leave(&now, ticket, &Evidence::new())? {
            Acquired::Granted { row, locks, wake } => {
                self.ring(&wake);
                Ok(self.grant(*row, locks)?)
            }
            _ => Err(AcquireError::TimedOut { conflicts: told }),
        }
    }

    fn sleep(
        &self,
        listener: &Listener,
        remaining: Duration,
        obstacles: &Obstacles,
    ) -> Result<(), StoreError> {
        let jitter = Duration::from_micros(u64::from(Uuid::now_v7().as_bytes()[15]) * 800);
        let timeout = remaining.min(LOOK_EVERY.saturating_sub(jitter));
        match listener {
            Listener::Memory(bell) => bell.wait(timeout),
            Listener::Socket(socket) => {
                let watched = self.watched(obstacles);
                let descriptors: Vec<_> = watched.iter().map(|descriptor| descriptor.as_fd()).collect();
                let _: Woken = socket.wait(timeout, &descriptors)?;
            }
        }
        Ok(())
    }

    /// Opens descriptors of the processes in the way, so that a holder's death wakes us at once.
    fn watched(&self, obstacles: &Obstacles) -> Vec<OwnedFd> {
        let owners = obstacles.earlier.iter().map(|row| &row.owner);
        let held = obstacles.owners.iter();
        let processes = owners.chain(held).filter_map(|owner: &Owner| owner.process);
        processes
            .take(WATCHED_MAX)
            .filter_map(|process| self.host.watch(&process))
            .collect()
    }

    /// Wakes those who were served. Whoever does not listen any more is looked at, and passed over if it died.
    pub(super) fn ring(&mut self, wake: &[Ticket]) {
        let mut tickets: Vec<Ticket> = wake.to_vec();
        while let Some(ticket) = tickets.pop() {
            let directory = match &self.bell {
                Bell::Memory(bell) => {
                    bell.ring();
                    continue;
                }
                Bell::Sockets(directory) => directory,
            };
            let answer = notify(directory, &ticket.to_string());
            if matches!(answer, Ok(Notified::NobodyThere)) && self.waiter_died(ticket) {
                let now = self.host.now();
                // Best effort: an unclaimed grant ends by itself.
                if let Ok(next) = self.parts.bury(&now, ticket) {
                    tickets.extend(next);
                }
            }
        }
    }

    fn waiter_died(&mut self, ticket: Ticket) -> bool {
        let now = self.host.now();
        let Ok(waiters) = self.parts.waiters(&now) else {
            return false;
        };
        let owner = waiters
            .into_iter()
            .find(|(row, _)| row.ticket == ticket)
            .map(|(row, _)| row.owner);
        owner.is_some_and(|owner| self.host.verdict(&owner) == Verdict::Dead)
    }
}

/// Who is in the way, for noticing that it changed.
fn names(conflicts: &[Conflict]) -> Vec<(String, String)> {
    conflicts
        .iter()
        .map(|conflict| (conflict.resource.to_string(), conflict.holder.task.to_string()))
        .collect()
}
