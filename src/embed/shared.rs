//! One observer for all threads that share a handle.

use std::sync::{Arc, Mutex, PoisonError};

use crate::coordinator::Observer;
use crate::model::Conflict;

/// Tells one observer, or nobody. Whoever has a clone tells the same one.
#[derive(Clone, Default)]
pub(super) struct SharedObserver(Option<Arc<Mutex<dyn Observer + Send>>>);

impl SharedObserver {
    pub(super) fn new(observer: impl Observer + Send + 'static) -> Self {
        Self(Some(Arc::new(Mutex::new(observer))))
    }

    fn tell(&self, what: impl FnOnce(&mut dyn Observer)) {
        if let Some(observer) = &self.0 {
            // One that panicked once is told all the same: it keeps nothing of ours.
            what(&mut *observer.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Observer for SharedObserver {
    fn waiting(&mut self, conflicts: &[Conflict]) {
        self.tell(|observer| observer.waiting(conflicts));
    }

    fn waited(&mut self) {
        self.tell(|observer| observer.waited());
    }

    fn progress(&mut self, step: &str, done: u64, total: u64) {
        self.tell(|observer| observer.progress(step, done, total));
    }

    fn notice(&mut self, text: &str) {
        self.tell(|observer| observer.notice(text));
    }
}
