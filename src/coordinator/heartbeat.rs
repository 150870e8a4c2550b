//! Keeps the lease of a task alive while something works for it, and notices when it is lost.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::coordinator::{Coordinator, Error};
use crate::host::Stopwatch;
use crate::model::{Interrupter, TaskId};
use crate::store::{LeaseError, Standing, Store};

/// How often to look whether the lease was taken by force. Looking only reads.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A lease that others keep alive: tells when it is lost.
#[derive(Clone, Default)]
pub struct Leash(Interrupter);

impl Leash {
    /// Tells whether another has taken the locks. Whatever is done from then on will be refused.
    pub fn is_lost(&self) -> bool {
        self.0.is_interrupted()
    }

    /// Calls `listener` once the locks are lost, from another thread; at once, when they are lost already.
    pub fn when_lost(&self, listener: impl FnOnce() + Send + 'static) {
        self.0.listen(Box::new(listener));
    }

    /// Returns what interrupts whoever works under the lease once it is lost.
    pub(super) fn interrupter(&self) -> Interrupter {
        self.0.clone()
    }
}

impl std::fmt::Debug for Leash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leash").field("is_lost", &self.is_lost()).finish()
    }
}

impl Coordinator {
    /// Begins to renew the lease of a task.
    pub(super) fn heartbeat(&mut self, task: &TaskId) -> Result<Heartbeat, Error> {
        Ok(Heartbeat::start(
            self.store.another()?,
            task.clone(),
            Duration::from_millis(self.config.heartbeat_interval_ms),
            Duration::from_millis(self.config.lock_timeout_ms),
        ))
    }
}

/// A thread that renews a lease until it is dropped.
#[must_use = "the lease is no longer renewed as soon as this is dropped"]
#[derive(Debug)]
pub(super) struct Heartbeat {
    leash: Leash,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Renews the lease of `task` every `interval`, by a handle on the store of its own.
    fn start(store: Store, task: TaskId, interval: Duration, until_lost: Duration) -> Self {
        let leash = Leash::default();
        let (stop, stopped) = mpsc::channel();
        let mut beat = Beat {
            store,
            task,
            // A third of the lease at most: two renewals may fail before it runs out.
            interval: interval.min(until_lost / 3),
            until_lost,
            renewed: Stopwatch::start(),
        };
        let own = leash.clone();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(LOOK_EVERY.min(beat.interval)) == Err(RecvTimeoutError::Timeout) {
                if beat.is_lost() {
                    own.0.interrupt();
                    return;
                }
            }
        });
        Self {
            leash,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Returns what tells when the lease is lost.
    pub(super) fn leash(&self) -> Leash {
        self.leash.clone()
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told so itself.
            drop(thread.join());
        }
    }
}

struct Beat {
    store: Store,
    task: TaskId,
    interval: Duration,
    until_lost: Duration,
    renewed: Stopwatch,
}

impl Beat {
    /// Looks, and renews when it is time. A store that does not answer loses the lease only when it must have run out.
    fn is_lost(&mut self) -> bool {
        let answer = if self.renewed.elapsed() >= self.interval {
            match self.store.renew(&self.task) {
                Ok(task) => {
                    self.renewed = Stopwatch::start();
                    Ok(Some(task))
                }
                Err(LeaseError::Lost | LeaseError::Unknown) => Ok(None),
                Err(LeaseError::Store(error)) => Err(error),
            }
        } else {
            self.store.task(&self.task)
        };
        match answer {
            Ok(Some(task)) => task.standing == Standing::Lost,
            Ok(None) => true,
            Err(error) => {
                tracing::warn!(%error, "the lease could not be looked at");
                self.renewed.elapsed() >= self.until_lost
            }
        }
    }
}
