//! Waking waiters: a socket each where processes share a store, one bell for all where threads do.
//!
//! What arrives here is only a hint. Whoever wakes up asks the store, and looks for itself every few seconds anyway.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::disk::wake::{Notified, WakeSocket, notify};
use crate::model::Ticket;
use crate::store::error::StoreError;

/// How waiters are woken.
#[derive(Debug, Clone)]
pub(crate) enum Bell {
    /// A socket each, in this directory.
    Sockets(PathBuf),
    /// All threads of this process at once.
    Memory(Arc<Rings>),
}

/// How often a bell was rung.
#[derive(Debug, Default)]
pub(crate) struct Rings {
    count: Mutex<u64>,
    rung: Condvar,
}

/// Listens for one ticket.
#[derive(Debug)]
pub(crate) enum Listener {
    Socket(WakeSocket),
    Memory { rings: Arc<Rings>, heard: u64 },
}

impl Bell {
    /// Begins to listen for `ticket`.
    pub(crate) fn listen(&self, ticket: Ticket) -> Result<Listener, StoreError> {
        Ok(match self {
            Self::Sockets(directory) => Listener::Socket(WakeSocket::bind(directory, &ticket.to_string())?),
            Self::Memory(rings) => Listener::Memory {
                rings: Arc::clone(rings),
                heard: rings.count(),
            },
        })
    }

    /// Wakes whoever listens for `ticket`. Answers whether somebody may have heard it.
    pub(crate) fn ring(&self, ticket: Ticket) -> bool {
        match self {
            // Whatever fails here, the waiter looks for itself before long.
            Self::Sockets(directory) => {
                !matches!(notify(directory, &ticket.to_string()), Ok(Notified::NobodyThere))
            }
            Self::Memory(rings) => {
                rings.ring();
                true
            }
        }
    }
}

impl Rings {
    fn count(&self) -> u64 {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.rung.notify_all();
    }
}

impl Listener {
    /// Sleeps until the ticket is rung for, one of `processes` ends, or `timeout` is over.
    pub(crate) fn sleep(&mut self, timeout: Duration, processes: &[OwnedFd]) -> Result<(), StoreError> {
        match self {
            Self::Socket(socket) => {
                let descriptors: Vec<_> = processes.iter().map(OwnedFd::as_fd).collect();
                socket.wait(timeout, &descriptors)?;
            }
            Self::Memory { rings, heard } => {
                let count = rings.count.lock().unwrap_or_else(PoisonError::into_inner);
                let unheard = |count: &mut u64| *count == *heard;
                let woken = rings.rung.wait_timeout_while(count, timeout, unheard);
                *heard = *woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        Ok(())
    }
}
