//! Waiting in the queue: one socket, the lives of those in the way, and a look every second, or every few at the end of a
//! long queue.
//!
//! The datagram, and the end of a process, are only hints: whatever wakes a waiter, it asks the store. It looks as a
//! reader, and comes through the door only when there is something to be had, so a hundred idle waiters cost nothing.

use std::os::fd::OwnedFd;
use std::process;
use std::time::Duration;

use uuid::Uuid;

use crate::model::{Conflict, Interrupter, Listening, Process, Ticket};
use crate::store::acquire::{Acquired, Line, Place};
use crate::store::bell::Listener;
use crate::store::error::{AcquireError, StoreError};
use crate::store::grant::CLAIM_NS;
use crate::store::queue::{Look, Still};
use crate::store::rows::Evidence;
use crate::store::{Store, describe};

/// How long a waiter sleeps at most before it looks for itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// For each so many places before it a waiter sleeps that long once more: else thousands would keep the machine busy with
/// looking.
const PLACES_PER_LOOK: u64 = 64;

/// How often it sleeps that long at most. A grant that was handed over has to be claimed in ten seconds, also by a waiter
/// whose wake-up was lost.
const LOOKS_MISSED_MAX: u32 = 8;

/// How far the sleeps of different waiters are kept apart.
const JITTER_STEPS: u32 = 256;

/// The most processes that one waiter watches: descriptors are few, and the look every second covers the rest.
const WATCHED_MAX: usize = 16;

/// How often one look asks about more lives before it sleeps over it.
const ASKED_MAX: usize = 4;

impl Store {
    /// Makes a ticket and listens for it. It exists before the queue knows it, so no wake-up can be missed.
    pub(super) fn take_place(&self, deadline_ns: i64) -> Result<(Place, Listener), StoreError> {
        let ticket = Ticket::from_uuid(Uuid::new_v4());
        let owner = self
            .host
            .owner(Some(process::id()))
            .or_else(|_| self.host.owner(None))?;
        let listener = self.bell.listen(ticket)?;
        Ok((
            Place {
                ticket,
                owner,
                until_ns: deadline_ns.saturating_add(CLAIM_NS),
            },
            listener,
        ))
    }

    /// Waits until the turn of the place that `line` stands at has come, the time is over, or somebody interrupts.
    pub(super) fn wait_in_queue(
        &mut self,
        line: &Line,
        listener: Option<&mut Listener>,
        deadline_ns: Option<i64>,
        interrupters: &[Interrupter],
        on_wait: &mut dyn FnMut(&[Conflict]),
    ) -> Result<Acquired, AcquireError> {
        let (Line::Stand(place), Some(listener), Some(deadline_ns)) = (line, listener, deadline_ns) else {
            unreachable!("BUG: only who stands in line with a listener and a deadline is queued");
        };
        let mut told: Vec<Conflict> = Vec::new();
        let _listening = self.wake_when_interrupted(place.ticket, interrupters);
        loop {
            if interrupters.iter().any(Interrupter::is_interrupted) {
                self.give_up_place(place)?;
                return Err(AcquireError::Interrupted);
            }
            let mut evidence = Evidence::new();
            let still = match self.look(place.ticket, &mut evidence)? {
                Look::Gone => return Ok(Acquired::Gone),
                Look::Turn => {
                    let now = self.host.now();
                    match self.parts.claim(&now, place.ticket, &evidence)? {
                        // Only the lease was extended, or somebody was quicker.
                        Acquired::Queued { .. } => continue,
                        settled => return Ok(settled),
                    }
                }
                Look::Still(still) => still,
            };
            let now = self.host.now();
            let conflicts = describe::conflicts(&now, &still.blockers);
            if names(&conflicts) != names(&told) {
                on_wait(&conflicts);
                told = conflicts;
            }
            let remaining_ns = deadline_ns.saturating_sub(now.boottime_ns);
            if remaining_ns <= 0 {
                return self.leave_queue(place.ticket, *still);
            }
            let remaining = Duration::from_nanos(remaining_ns.unsigned_abs());
            let watched = self.watch(&still.watch);
            listener.sleep(remaining.min(pause(place.ticket, still.ahead)), &watched)?;
        }
    }

    /// Looks without the door, and asks about whoever's life would decide.
    fn look(&mut self, ticket: Ticket, evidence: &mut Evidence) -> Result<Look, StoreError> {
        let now = self.host.now();
        for _ in 0..ASKED_MAX {
            match self.parts.look(&now, ticket, evidence)? {
                Look::Still(still)
                    if still
                        .questions
                        .keys()
                        .any(|subject| !evidence.contains_key(subject)) =>
                {
                    self.ask(&still.questions, evidence);
                }
                settled => return Ok(settled),
            }
        }
        self.parts.look(&now, ticket, evidence)
    }

    fn leave_queue(&mut self, ticket: Ticket, still: Still) -> Result<Acquired, AcquireError> {
        let now = self.host.now();
        match self.parts.leave(&now, ticket)? {
            Acquired::Queued { .. } => Ok(Acquired::TimedOut(still.blockers)),
            settled => Ok(settled),
        }
    }

    /// Rings for a ticket as soon as somebody interrupts.
    fn wake_when_interrupted(&self, ticket: Ticket, interrupters: &[Interrupter]) -> Vec<Listening> {
        let wake = |interrupter: &Interrupter| {
            let bell = self.bell.clone();
            // Nobody hears it only where nobody waits any more.
            interrupter.when_interrupted(move || {
                bell.ring(ticket);
            })
        };
        interrupters.iter().map(wake).collect()
    }

    /// Leaves the queue for good, with whatever was handed over a moment ago: nobody will come back for it.
    fn give_up_place(&mut self, place: &Place) -> Result<(), StoreError> {
        let now = self.host.now();
        let wake = self.parts.bury(&now, place.ticket, &place.owner)?;
        self.ring(wake);
        Ok(())
    }

    /// Opens descriptors that tell when a process ends.
    fn watch(&self, processes: &[Process]) -> Vec<OwnedFd> {
        processes
            .iter()
            .take(WATCHED_MAX)
            .filter_map(|process| self.host.watch(process))
            .collect()
    }
}

/// How long a waiter with so many places before it sleeps: between nine tenths and the whole of one to eight seconds, so that
/// many do not wake at once.
fn pause(ticket: Ticket, ahead: u64) -> Duration {
    let step = u32::from(ticket.as_bytes()[15]);
    let looks = u32::try_from(ahead / PLACES_PER_LOOK).unwrap_or(LOOKS_MISSED_MAX);
    let pause = LOOK_EVERY * looks.clamp(1, LOOKS_MISSED_MAX);
    pause.saturating_sub(pause / 10 * step / JITTER_STEPS)
}

/// Who is in the way, for noticing that it changed.
fn names(conflicts: &[Conflict]) -> Vec<(&crate::model::Resource, &crate::model::TaskId)> {
    conflicts
        .iter()
        .map(|conflict| (&conflict.resource, &conflict.holder.task))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_waiters_look_some_thousand_times_a_second() {
        let ticket = Ticket::from_uuid(Uuid::nil());
        assert_eq!(pause(ticket, 0), LOOK_EVERY);
        assert_eq!(pause(ticket, 64), LOOK_EVERY);
        let looks: f64 = (0..10_000)
            .map(|ahead| pause(ticket, ahead).as_secs_f64().recip())
            .sum();
        assert!(looks < 2_000.0, "{looks}");
        let longest = i64::try_from(pause(ticket, u64::MAX).as_nanos()).unwrap();
        assert!(longest < CLAIM_NS, "a lost wake-up costs no grant");
    }
}
