//! Which runs go on: a file each, locked by the process that runs it, so that its end is known however it comes.
//!
//! The file is there before the task is, and goes when the task has. What is found unlocked belongs to a run that was
//! killed: whatever it started is ended, what it did is dropped, its locks are free.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::coordinator::error_text::with_causes;
use crate::coordinator::in_place::Who;
use crate::coordinator::worktrees::{Worktree, stop_strays};
use crate::coordinator::{
    Coordinator, Error, Observer, RunRefusal, Silent, guarded, in_place, landing, settle,
};
use crate::disk::contained;
use crate::disk::lock::FileLock;
use crate::disk::{self, fault};
use crate::model::{EventKind, Lock, Resource, TaskId, TransactionId, TransactionState, Verdict, overlap};
use crate::store::{NewEvent, Release, Transaction, Wait};

/// How long somebody who does not wait for locks is patient with whoever puts back what a killed run has left there.
const PUT_BACK_GRACE: Duration = Duration::from_secs(5);

/// How long a run whose command was ended has to put everything back before its locks are taken all the same. It leaves then what
/// others have made since.
const END_GRACE: Duration = Duration::from_secs(5);

/// The largest mark that is read, in bytes: it holds the name of a task.
const MARK_BYTES_MAX: u64 = 256;

/// The mark of a run that goes on.
#[must_use = "a run whose mark is dropped counts as dead"]
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    _lock: FileLock,
}

/// What a task was granted, and has not been told of yet.
struct Granted<'a> {
    task: &'a TaskId,
    locks: &'a [Lock],
    wait: Wait,
}

impl Mark {
    /// Takes the mark away: what it marked is over and has left nothing.
    pub(super) fn remove(self) {
        if let Err(error) = disk::remove_file_if_there(&self.path) {
            tracing::warn!(%error, "the mark of what is over is left to recovery");
        }
    }
}

impl Coordinator {
    /// Marks a run as going on, before it has anything.
    pub(super) fn mark_run(&self, transaction: TransactionId, task: &TaskId) -> Result<Mark, Error> {
        let mark = self.mark(&transaction)?;
        // Between its grant and its transaction there is nothing else to know it by.
        disk::overwrite(&mark.path, task.as_str().as_bytes())?;
        fault::point("run.marked");
        Ok(mark)
    }

    /// Marks something as going on for as long as this process lives.
    pub(super) fn mark(&self, name: &dyn Display) -> Result<Mark, Error> {
        disk::create_private_dir(&self.layout.runs())?;
        let path = self.layout.runs().join(name.to_string());
        let lock = FileLock::acquire(&path)?;
        Ok(Mark { path, _lock: lock })
    }

    /// Finds what was killed. Each comes with its mark, which keeps others from clearing up after it as well. Whoever was `granted`
    /// what somebody else puts back at this moment finds nothing of that: it is over then.
    fn dead(
        &mut self,
        granted: Option<&Granted>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<(String, Mark)>, Error> {
        let mut dead = Vec::new();
        for name in disk::list(&self.layout.runs())? {
            let path = self.layout.runs().join(&name);
            let Ok(name) = name.into_string() else { continue };
            let lock = match (FileLock::try_acquire(&path)?, granted) {
                (None, Some(granted)) => self.lock_put_back(granted, &name, observer)?,
                (lock, _) => lock,
            };
            if let Some(lock) = lock {
                dead.push((name, Mark { path, _lock: lock }));
            }
        }
        Ok(dead)
    }

    /// Waits until somebody else has put back what a killed run in place has left where something was granted.
    fn lock_put_back(
        &mut self,
        granted: &Granted,
        name: &str,
        observer: &mut dyn Observer,
    ) -> Result<Option<FileLock>, Error> {
        let run = match name.parse::<TransactionId>() {
            Ok(id) => self.store.transaction(&id)?,
            Err(_) => None,
        };
        let Some(run) = run.filter(|run| run.task != *granted.task) else {
            return Ok(None);
        };
        if !in_place::is_kept(self, &run.id)? || !in_place::reaches(self, &run.id, granted.locks) {
            return Ok(None);
        }
        if !self.has_died(&run)? {
            // It has lost them while it lived. Whoever puts back after it has to know who works there by then.
            in_place::note_overtaker(self, &run.id, granted.task)?;
            // If it has died before that was noted, somebody may be putting back who does not know.
            if !self.has_died(&run)? {
                let task = &run.task;
                observer.notice(&format!(
                    "The run {task} had this before, and has not put back what it has changed there: what is there may be half done."
                ));
                return Ok(None);
            }
        }
        let limit = match granted.wait {
            Wait::Never => PUT_BACK_GRACE,
            Wait::UpTo(limit) => limit,
        };
        let lock = self.lock_within(granted.task, self.layout.run(&run.id), limit)?;
        let refusal = || RunRefusal::NotPutBack {
            task: run.task,
            reason: "another process is at it, and does not end".to_owned(),
        };
        Ok(Some(lock.ok_or_else(refusal)?))
    }

    /// Tells whether the process of a run is gone: whoever holds its mark then puts things back.
    fn has_died(&mut self, run: &Transaction) -> Result<bool, Error> {
        let task = self.store.task(&run.task)?;
        Ok(task.is_some_and(|task| self.is_dead(&task)))
    }

    /// Returns the tasks of all runs that are marked, whether they have their locks yet or not.
    pub(super) fn marked_tasks(&self) -> Result<BTreeSet<TaskId>, Error> {
        let mut tasks = BTreeSet::new();
        for name in disk::list(&self.layout.runs())? {
            let name = disk::read_bounded(&self.layout.runs().join(name), MARK_BYTES_MAX)?;
            let name = name.and_then(|name| String::from_utf8(name).ok());
            tasks.extend(name.and_then(|name| TaskId::new(name).ok()));
        }
        Ok(tasks)
    }

    /// Refuses to begin or to commit from inside the working copy of a run.
    pub(super) fn refuse_inside_copy(&self) -> Result<(), Error> {
        let (here, root) = (self.root.path(), self.layout.root());
        // Of all others we are told by where they lie alone.
        let is_apart = here != root || self.current_directory.starts_with(self.layout.worktrees());
        if !is_apart {
            return Ok(());
        }
        let is_here = |copy: &Path| {
            let copy = copy.canonicalize().unwrap_or_else(|_| copy.to_owned());
            here == copy || self.current_directory.starts_with(copy)
        };
        match self.worktrees()?.into_iter().find(|known| is_here(&known.path)) {
            Some(Worktree { path, .. }) => {
                let root = root.to_owned();
                Err(RunRefusal::Inside { path, root }.into())
            }
            None => Ok(()),
        }
    }

    /// Refuses to commit for a run what it commits itself.
    pub(super) fn refuse_running(&mut self, task: &TaskId) -> Result<(), Error> {
        let Some(transaction) = self.store.current_transaction(task)? else {
            return Ok(());
        };
        let mark = self.layout.run(&transaction.id);
        if contained::stat(&mark)?.is_some() && FileLock::try_acquire(&mark)?.is_none() {
            let task = task.clone();
            return Err(RunRefusal::GoesOn { task }.into());
        }
        Ok(())
    }

    /// Ends the runs that work in the working tree itself and hold what is about to be taken by force: nobody else is to write
    /// there before what they did is undone. Answers those that stand still, and so do not end.
    pub(super) fn end_runs_in_place(
        &mut self,
        from: Option<&TaskId>,
        resources: &[Resource],
    ) -> Result<Vec<TaskId>, Error> {
        let mut still = Vec::new();
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
            let path = self.layout.run(&id);
            let Some(lock) = self.lock_within(&row.task, path.clone(), END_GRACE)? else {
                still.push(row.task);
                continue;
            };
            let mark = Mark { path, _lock: lock };
            if !in_place::is_kept(self, &id)? {
                mark.remove();
            } else if let Err(error) = self.bury_run(id, mark, &mut Silent) {
                tracing::warn!(%error, "what a killed run has changed is not put back yet");
            }
        }
        Ok(still)
    }

    /// Clears up after every run that was killed. Answers their transactions.
    pub(super) fn bury_dead_runs(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<Vec<TransactionId>, Error> {
        self.bury_before(None, observer)
    }

    /// Clears up after every run that was killed, or waits for whoever does, before a task is told what it was granted. It would
    /// `wait` so long for others.
    pub(super) fn clear_granted(
        &mut self,
        task: &TaskId,
        locks: &[Lock],
        wait: Wait,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let granted = Granted { task, locks, wait };
        self.bury_before(Some(&granted), observer).map(drop)
    }

    fn bury_before(
        &mut self,
        granted: Option<&Granted>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<TransactionId>, Error> {
        let mut buried = Vec::new();
        for (name, mark) in self.dead(granted, observer)? {
            if let Ok(id) = name.parse() {
                match self.bury_run(id, mark, observer) {
                    Ok(true) => buried.push(id),
                    Ok(false) => {}
                    Err(error) => self.leave_unburied(id, granted, error, observer)?,
                }
            } else {
                self.bury_turn(&name)?;
                mark.remove();
            }
        }
        Ok(buried)
    }

    /// Goes on although a killed run in place could not be put back: its mark stays, so that the next command tries again. Only whoever
    /// was granted what it had is refused.
    fn leave_unburied(
        &mut self,
        id: TransactionId,
        granted: Option<&Granted>,
        error: Error,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let row = self.store.transaction(&id)?;
        let (Some(Transaction { task, .. }), true) = (row, in_place::is_kept(self, &id)?) else {
            return Err(error);
        };
        let reason = with_causes(&error);
        let refusal = RunRefusal::NotPutBack { task, reason };
        if granted.is_some_and(|granted| in_place::reaches(self, &id, granted.locks)) {
            return Err(refusal.into());
        }
        tracing::warn!(%error, "putting back what a killed run has changed is left to the next command");
        observer.notice(&format!("{refusal}."));
        Ok(())
    }

    /// Clears up after a killed validation.
    fn bury_turn(&mut self, name: &str) -> Result<(), Error> {
        let validated = name.strip_prefix(landing::PREFIX).and_then(|id| id.parse().ok());
        if let (Some(transaction), Ok(turn)) = (validated, TaskId::new(name)) {
            if let Err(error) = guarded::stop_validation(&transaction) {
                tracing::warn!(%error, "a validation that was killed goes on");
            }
            self.forget_turn(&turn)?;
        }
        Ok(())
    }

    /// Clears up after a killed run. A commit of its that was decided is complete by now, or waits for a human.
    fn bury_run(
        &mut self,
        id: TransactionId,
        mark: Mark,
        observer: &mut dyn Observer,
    ) -> Result<bool, Error> {
        if let Err(error) = stop_strays(&id) {
            if in_place::is_kept(self, &id)? {
                // They may change the working tree still.
                return Err(error);
            }
            self.leave_worktrees(&id)?;
            observer.notice(&format!("{error}. Its working copy is left to it."));
        }
        let row = self.store.transaction(&id)?;
        let state = row.as_ref().map(|row| row.state);
        match (row, state) {
            (Some(row), Some(TransactionState::Open)) => {
                // At best effort: whatever is wrong with it must not be in everybody's way.
                let finished = self.salvage_finished(&row).unwrap_or_else(|error| {
                    tracing::warn!(%error, "what the run had finished is not kept");
                    None
                });
                let kept = in_place::put_back(self, Who::Clearing, &row, observer)?.or(finished);
                fault::point("run.put-back");
                self.reclaim_worktrees(&row)?;
                settle::roll_back_because(self, &row, Some("the run was killed"))?;
                self.store.record(&NewEvent {
                    transaction: Some(id),
                    reason: Some("the run was killed".to_owned()),
                    ..NewEvent::about(EventKind::TaskRecovered, &row.task)
                })?;
                mark.remove();
                observer.notice(&format!("The run {id} was killed; it is rolled back."));
                if let Some(kept) = kept {
                    observer.kept(&kept);
                }
                Ok(true)
            }
            // Recovery is still at it.
            (
                _,
                Some(TransactionState::Committing | TransactionState::Aborting | TransactionState::Decided),
            ) => Ok(false),
            (Some(row), _) => {
                self.reclaim_worktrees(&row)?;
                mark.remove();
                Ok(false)
            }
            (None, _) => {
                self.release_unopened(&id)?;
                mark.remove();
                Ok(false)
            }
        }
    }

    /// Frees what a run was granted that was killed before it opened its transaction.
    fn release_unopened(&mut self, id: &TransactionId) -> Result<(), Error> {
        let name = disk::read_bounded(&self.layout.run(id), MARK_BYTES_MAX)?.unwrap_or_default();
        let Some(task) = String::from_utf8(name)
            .ok()
            .and_then(|name| TaskId::new(name).ok())
        else {
            return Ok(());
        };
        let is_its_own = self.store.current_transaction(&task)?.is_none()
            && self
                .store
                .task(&task)?
                .is_some_and(|task| self.host.verdict(&task.owner) == Verdict::Dead);
        if is_its_own {
            // What is lost already is given back as well.
            drop(self.store.release(&task, &Release::All));
        }
        Ok(())
    }
}
