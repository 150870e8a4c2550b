//! Which runs go on: a file each, locked by the process that runs it, so that its end is known however it comes.
//!
//! The file is there before the task is, and goes when the task has. What is found unlocked belongs to a run that was
//! killed: whatever it started is ended, what it did is dropped, its locks are free.

use crate::coordinator::worktrees::stop_strays;
use crate::coordinator::{Coordinator, Error, Observer, in_place, settle};
use crate::disk::lock::FileLock;
use crate::disk::{self, fault};
use crate::model::{EventKind, Resource, TaskId, TransactionId, TransactionState, overlap};
use crate::store::NewEvent;

/// The mark of a run that goes on.
#[must_use = "a run whose mark is dropped counts as dead"]
#[derive(Debug)]
pub(super) struct Mark {
    transaction: TransactionId,
    _lock: FileLock,
}

impl Coordinator {
    /// Marks a run as going on, before it has anything.
    pub(super) fn mark_run(&self, transaction: TransactionId) -> Result<Mark, Error> {
        disk::create_private_dir(&self.layout.runs())?;
        let lock = FileLock::acquire(&self.layout.run(&transaction))?;
        fault::point("run.marked");
        Ok(Mark {
            transaction,
            _lock: lock,
        })
    }

    /// Takes the mark away: the run is over and has left nothing.
    pub(super) fn unmark_run(&self, mark: Mark) {
        if let Err(error) = disk::remove_file_if_there(&self.layout.run(&mark.transaction)) {
            tracing::warn!(%error, "the mark of a run that is over is left to recovery");
        }
        drop(mark);
    }

    /// Finds the runs that were killed. Each comes with its mark, which keeps others from clearing up after it as well.
    fn dead_runs(&self) -> Result<Vec<Mark>, Error> {
        let mut dead = Vec::new();
        for name in disk::list(&self.layout.runs())? {
            let Some(transaction) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if let Some(lock) = FileLock::try_acquire(&self.layout.run(&transaction))? {
                dead.push(Mark {
                    transaction,
                    _lock: lock,
                });
            }
        }
        Ok(dead)
    }

    /// Ends the runs that work in the working tree itself and hold what is about to be taken by force: nobody else may write
    /// there before what they did is undone.
    pub(super) fn end_runs_in_place(
        &mut self,
        from: Option<&TaskId>,
        resources: &[Resource],
    ) -> Result<(), Error> {
        for name in disk::list(&self.layout.runs())? {
            let Some(id) = name.to_str().and_then(|name| name.parse::<TransactionId>().ok()) else {
                continue;
            };
            let Some(row) = self.store.transaction(&id)? else {
                continue;
            };
            let held = self
                .store
                .task(&row.task)?
                .map(|task| task.locks)
                .unwrap_or_default();
            let overlaps =
                |resource: &Resource| held.iter().any(|held| overlap(&held.lock.resource, resource));
            let is_meant = from.is_none_or(|from| *from == row.task)
                && (resources.is_empty() || resources.iter().any(overlaps));
            if !is_meant || !in_place::is_kept(self, &id)? {
                continue;
            }
            stop_strays(&id)?;
            // The run sees its command end, puts everything back, and lets go of its mark.
            let mark = FileLock::acquire(&self.layout.run(&id))?;
            self.unmark_run(Mark {
                transaction: id,
                _lock: mark,
            });
        }
        Ok(())
    }

    /// Clears up after every run that was killed. Answers their transactions.
    pub(super) fn bury_dead_runs(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<Vec<TransactionId>, Error> {
        let mut buried = Vec::new();
        for mark in self.dead_runs()? {
            if let Some(id) = self.bury_run(mark)? {
                observer.notice(&format!("The run {id} was killed; it is rolled back."));
                buried.push(id);
            }
        }
        Ok(buried)
    }

    /// Clears up after a killed run. A commit of its that was decided is complete by now, or waits for a human.
    fn bury_run(&mut self, mark: Mark) -> Result<Option<TransactionId>, Error> {
        let id = mark.transaction;
        stop_strays(&id)?;
        let row = self.store.transaction(&id)?;
        let state = row.as_ref().map(|row| row.state);
        match (row, state) {
            (Some(row), Some(TransactionState::Open)) => {
                in_place::put_back(self, &row)?;
                fault::point("run.put-back");
                self.reclaim_worktrees(&row)?;
                settle::roll_back(self, &row)?;
                self.store.record(&NewEvent {
                    transaction: Some(id),
                    reason: Some("the run was killed".to_owned()),
                    ..NewEvent::about(EventKind::TaskRecovered, &row.task)
                })?;
                self.unmark_run(mark);
                Ok(Some(id))
            }
            // Recovery is still at it.
            (
                _,
                Some(TransactionState::Committing | TransactionState::Aborting | TransactionState::Decided),
            ) => Ok(None),
            _ => {
                self.unmark_run(mark);
                Ok(None)
            }
        }
    }
}
