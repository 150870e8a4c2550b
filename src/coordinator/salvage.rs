//! Keeps the finished work of a run whose commit comes to nothing where people find it: `.mirror/salvage/<transaction>/`.

use std::path::PathBuf;

use crate::coordinator::run::Running;
use crate::coordinator::{Coordinator, Error, Observer, in_place, move_out};
use crate::disk::{contained, sync};
use crate::store::Transaction;
use crate::workspace::manifest::Slot;

impl Coordinator {
    /// Keeps the finished work of a run whose commit is refused.
    pub(super) fn keep_work(
        &mut self,
        running: &mut Running,
        error: Error,
        observer: &mut dyn Observer,
    ) -> Error {
        if is_decided(&error) {
            return error;
        }
        match self.salvage(running, observer) {
            Ok(Some(kept)) => {
                observer.kept(&kept);
                running.is_kept = true;
            }
            Ok(None) => {}
            Err(worse) => tracing::warn!(error = %worse, "what it had changed is not kept"),
        }
        error
    }

    /// Keeps what a run has changed, before it is rolled back. Answers where; nowhere if it has only deleted.
    fn salvage(&mut self, running: &Running, observer: &mut dyn Observer) -> Result<Option<PathBuf>, Error> {
        let transaction = &running.begun.transaction;
        match &running.leased {
            // By the time that something is staged the copy may have become what was to be validated.
            Some(leased) if self.store.changes(&transaction.id)?.is_empty() => {
                self.keep_changed(leased, transaction, observer)
            }
            _ => self.salvage_finished(transaction),
        }
    }

    /// Keeps what a run had finished, before it is rolled back: it moves away from among the files of its transaction, durably. Doing
    /// it again goes on where it was left.
    pub(super) fn salvage_finished(&mut self, transaction: &Transaction) -> Result<Option<PathBuf>, Error> {
        if let Some(kept) = in_place::salvage(self, transaction)? {
            sync::barrier_at(&kept)?;
            return Ok(Some(kept));
        }
        let staged = self.store.changes(&transaction.id)?;
        if staged.is_empty() {
            return Ok(None);
        }
        let (slots, kept) = (self.slots(&transaction.id)?, self.layout.salvage(&transaction.id));
        for change in staged.iter().filter(|change| change.post.is_some()) {
            let from = slots.at(Slot::Staged(change.slot));
            if from.stat()?.is_none() {
                continue;
            }
            move_out::move_below(&from, &kept, change.path.as_path())?;
        }
        if contained::stat(&kept)?.is_none() {
            return Ok(None);
        }
        sync::barrier_at(&kept)?;
        Ok(Some(kept))
    }
}

/// Whether what was done is safe already.
fn is_decided(error: &Error) -> bool {
    matches!(error, Error::Pending { .. } | Error::Undetermined { .. })
}
