//! The history as it happens.
//!
//! The events are numbered in the order in which they happened, in one registry for all processes. Whoever follows remembers
//! the number of the last one and asks for what came after it, so none is missed and none comes twice.

use std::ops::ControlFlow;
use std::panic;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::coordinator::{Coordinator, Error};
use crate::model::Event;

/// How often a follower looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How many events are read at once.
const PAGE: usize = 1000;

/// How many events wait to be taken before the thread that reads them waits, too.
const WAITING_MAX: usize = 1024;

/// Where in the history to begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Since {
    /// With what happens from now on.
    #[default]
    Now,
    /// With all that is still known.
    Beginning,
    /// With what happened after the event of this number.
    Event(u64),
}

/// Somebody who is told of events by a thread of their own.
///
/// Dropping it ends the thread, after the event that it is at; events that were not told yet are not told any more.
#[must_use = "the subscription ends as soon as this is dropped"]
#[derive(Debug)]
pub struct Subscription {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<u64, Error>>>,
}

/// Events to be taken one by one. As an iterator it waits for the next one, and ends only when the history cannot be read any
/// more: [`Events::stop`] tells why.
///
/// A thread reads ahead by a thousand events or so, and waits for whoever takes them.
#[must_use = "the events end as soon as this is dropped"]
#[derive(Debug)]
pub struct Events {
    // Dropped first: a thread that waits for room ends by it.
    receiver: Receiver<Event>,
    subscription: Subscription,
}

impl Subscription {
    pub(super) fn start(
        coordinator: Coordinator,
        since: Since,
        mut listener: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, Error> {
        Self::follow(coordinator, since, move |event| {
            listener(event);
            ControlFlow::Continue(())
        })
    }

    fn follow(
        mut coordinator: Coordinator,
        since: Since,
        tell: impl FnMut(Event) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Self, Error> {
        let seq = match since {
            Since::Now => coordinator.last_event()?,
            Since::Beginning => 0,
            Since::Event(seq) => seq,
        };
        let (stop, stopped) = mpsc::channel();
        let mut follower = Follower {
            coordinator,
            seq,
            stopped,
            tell,
        };
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread::spawn(move || follower.run())),
        })
    }

    /// Ends the subscription once all has been told that had happened when this was called. Answers the number of the last
    /// event that was told, from which another subscription may go on. If the listener panicked, so does this.
    pub fn stop(mut self) -> Result<u64, Error> {
        self.ask_to_stop();
        let thread = self
            .thread
            .take()
            .unwrap_or_else(|| unreachable!("BUG: only stopping takes the thread, and happens once"));
        thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    /// Tells whether the thread has ended by itself, since the history cannot be read or the listener panicked.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn ask_to_stop(&self) {
        if let Some(stop) = &self.stop {
            // A thread that has ended already hears nothing.
            stop.send(()).ok();
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A listener may own its own subscription: then the thread ends after it, and nobody waits.
        let waits = |thread: &JoinHandle<_>| thread.thread().id() != thread::current().id();
        if let Some(thread) = self.thread.take().filter(waits) {
            // A thread that panicked has told so itself.
            drop(thread.join());
        }
    }
}

impl Events {
    pub(super) fn start(coordinator: Coordinator, since: Since) -> Result<Self, Error> {
        let (sender, receiver): (SyncSender<Event>, _) = mpsc::sync_channel(WAITING_MAX);
        let subscription = Subscription::follow(coordinator, since, move |event| match sender.send(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })?;
        Ok(Self {
            receiver,
            subscription,
        })
    }

    /// Waits for the next event, but not longer than this.
    pub fn next_within(&mut self, patience: Duration) -> Option<Event> {
        self.receiver.recv_timeout(patience).ok()
    }

    /// Ends, and answers what had happened when this was called and was not taken yet.
    pub fn stop(self) -> Result<Vec<Event>, Error> {
        self.subscription.ask_to_stop();
        // Until the thread ends, and with it the sender.
        let rest = self.receiver.iter().collect();
        self.subscription.stop()?;
        Ok(rest)
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.receiver.recv().ok()
    }
}

/// The thread of a subscription.
struct Follower<F> {
    coordinator: Coordinator,
    /// The number of the last event that was told.
    seq: u64,
    /// Told that this shall be the last look; broken off when nobody wants to know any more.
    stopped: Receiver<()>,
    tell: F,
}

impl<F: FnMut(Event) -> ControlFlow<()>> Follower<F> {
    /// Looks again and again. Answers the number of the last event that was told.
    fn run(&mut self) -> Result<u64, Error> {
        let mut is_last = false;
        loop {
            if self.look(is_last)?.is_break() {
                return Ok(self.seq);
            }
            is_last = match self.stopped.recv_timeout(LOOK_EVERY) {
                Err(RecvTimeoutError::Timeout) => false,
                Ok(()) => true,
                Err(RecvTimeoutError::Disconnected) => return Ok(self.seq),
            };
        }
    }

    /// Tells what there is. What happens while it is told is left to the next look, since there may always be more.
    fn look(&mut self, mut is_last: bool) -> Result<ControlFlow<()>, Error> {
        let mut newest = self.coordinator.last_event()?;
        while self.seq < newest {
            let page = self.coordinator.events_after(self.seq, PAGE)?;
            if page.is_empty() {
                break;
            }
            for event in page {
                let seq = event.seq;
                if (self.tell)(event).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                self.seq = seq;
                match self.stopped.try_recv() {
                    Err(TryRecvError::Empty) => {}
                    Ok(()) => {
                        is_last = true;
                        newest = self.coordinator.last_event()?;
                    }
                    Err(TryRecvError::Disconnected) => return Ok(ControlFlow::Break(())),
                }
            }
        }
        Ok(if is_last {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }
}
