//! `rollback`: drops a task's staged changes, its branch and its locks.

use std::path::PathBuf;

use crate::coordinator::{Coordinator, Error, RunRefusal, in_place, settle};
use crate::model::{TaskId, TransactionId, TransactionState};
use crate::store::Release;

/// What a rollback came to.
#[derive(Debug, Clone)]
pub struct RolledBack {
    /// The task, which no longer exists.
    pub task: TaskId,
    /// The transaction that was dropped, if the task had one.
    pub transaction: Option<TransactionId>,
    /// How many staged changes were dropped.
    pub dropped: usize,
    /// Where everything is kept that belonged to a decided commit which could not be completed.
    pub kept: Option<PathBuf>,
    /// Where is kept what was there before a run in the working tree itself that could not be put back.
    pub before: Option<PathBuf>,
}

impl Coordinator {
    /// Drops everything that `task` staged and gives its locks back. A decided commit is completed, never undone; the
    /// recovery that every command begins with has done that already. One that could not be completed, since somebody
    /// forced the target elsewhere, is given up: what is in place stays, and the rest is kept.
    pub fn rollback(&mut self, task: &TaskId) -> Result<RolledBack, Error> {
        let given_back = self.releasable(task)?;
        let rolled_back = self.drop_task(task)?;
        self.providers.released(&given_back);
        Ok(rolled_back)
    }

    fn drop_task(&mut self, task: &TaskId) -> Result<RolledBack, Error> {
        let Some(transaction) = self.store.current_transaction(task)? else {
            self.store
                .task(task)?
                .ok_or_else(|| Error::UnknownTask { task: task.clone() })?;
            self.store
                .release(task, &Release::All)
                .map_err(|error| Error::of_lease(error, task))?;
            return Ok(RolledBack {
                task: task.clone(),
                transaction: None,
                dropped: 0,
                kept: None,
                before: None,
            });
        };
        if in_place::is_kept(self, &transaction.id)? {
            // It puts back what it has changed before it is rolled back: with its transaction, all that there was before would go.
            let still = self.end_runs_in_place(Some(task), &[])?;
            if !still.is_empty() {
                self.store
                    .release(task, &Release::All)
                    .map_err(|error| Error::of_lease(error, task))?;
                return Err(RunRefusal::StandsStill { task: task.clone() }.into());
            }
            if self.store.current_transaction(task)?.is_none() {
                return Ok(RolledBack {
                    task: task.clone(),
                    transaction: Some(transaction.id),
                    dropped: 0,
                    kept: None,
                    before: None,
                });
            }
        }
        // A killed one that cannot be put back is given up.
        let before = in_place::give_up(self, &transaction)?;
        let _own = self.hold(&transaction.id)?;
        // It may have ended while we waited for the other process.
        let transaction = self.open_transaction(task)?;
        if transaction.state == TransactionState::Decided {
            let mut pending = self.recovered.pending.iter();
            let reason = pending.find(|(id, _)| *id == transaction.id);
            return Err(Error::Unapplied {
                task: task.clone(),
                transaction: transaction.id,
                reason: reason
                    .map_or("it is being completed", |(_, reason)| reason)
                    .to_owned(),
            });
        }
        let dropped = self.store.changes(&transaction.id)?.len();
        let kept = if transaction.state == TransactionState::Conflict {
            Some(settle::give_up(self, &transaction)?)
        } else {
            settle::roll_back(self, &transaction)?;
            None
        };
        self.store.after_command();
        Ok(RolledBack {
            task: task.clone(),
            transaction: Some(transaction.id),
            dropped,
            kept,
            before,
        })
    }
}
