//! Telling whoever works or waits to end, from another thread.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tells what waits or works to end. Its clones are one and the same, and any thread may have one.
///
/// What is said is said for good: whatever comes after needs an interrupter of its own.
#[derive(Clone, Default)]
pub struct Interrupter(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    is_interrupted: bool,
    /// The number of the next listener.
    next: u64,
    listeners: BTreeMap<u64, Box<dyn FnOnce() + Send>>,
}

/// Somebody who is to be called. Once this is dropped nobody calls them any more.
#[must_use = "nobody is called any more as soon as this is dropped"]
#[derive(Debug)]
pub struct Listening {
    interrupter: Interrupter,
    number: u64,
}

impl Interrupter {
    /// Tells everybody to end. Doing it again changes nothing.
    pub fn interrupt(&self) {
        let mut inner = self.lock();
        inner.is_interrupted = true;
        let listeners = std::mem::take(&mut inner.listeners);
        drop(inner);
        // Unlocked: a listener may well ask what there is to be heard.
        for listener in listeners.into_values() {
            listener();
        }
    }

    /// Tells whether [`interrupt`](Self::interrupt) was called.
    pub fn is_interrupted(&self) -> bool {
        self.lock().is_interrupted
    }

    /// Calls `listener` when somebody interrupts, from their thread; at once, from this one, when they have done so already.
    pub fn when_interrupted(&self, listener: impl FnOnce() + Send + 'static) -> Listening {
        Listening {
            interrupter: self.clone(),
            number: self.listen(Box::new(listener)),
        }
    }

    /// Adds a listener that stays.
    pub(crate) fn listen(&self, listener: Box<dyn FnOnce() + Send>) -> u64 {
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        if inner.is_interrupted {
            drop(inner);
            listener();
        } else {
            inner.listeners.insert(number, listener);
        }
        number
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let listener = self.interrupter.lock().listeners.remove(&self.number);
        // Unlocked: what it has captured is dropped with it.
        drop(listener);
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupter")
            .field("is_interrupted", &self.is_interrupted())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn whoever_listens_is_called_once_and_whoever_left_is_not() {
        let (interrupter, calls) = (Interrupter::default(), Arc::new(AtomicU32::new(0)));
        let call = |amount| {
            let calls = Arc::clone(&calls);
            move || {
                calls.fetch_add(amount, Ordering::Relaxed);
            }
        };
        let _stays = interrupter.when_interrupted(call(1));
        drop(interrupter.when_interrupted(call(10)));
        assert!(!interrupter.is_interrupted());
        interrupter.clone().interrupt();
        interrupter.interrupt();
        assert!(interrupter.is_interrupted());
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        let _late = interrupter.when_interrupted(call(100));
        assert_eq!(calls.load(Ordering::Relaxed), 101);
    }
}
