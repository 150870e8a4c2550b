//! Ending a verb before its commit is decided. After the decision nobody is heard any more: it only goes forward.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::coordinator::{Coordinator, Error, Leash, RunRefusal};
use crate::disk;
use crate::disk::lock::FileLock;
use crate::model::{Interrupter, Kind, TaskId, TransactionId};

impl Coordinator {
    /// Returns what ends the verbs of this coordinator, from another thread or a signal: waits for locks and for the turn to land, a
    /// validation with everything that it has started, and any commit that is not decided yet. They answer [`Error::Interrupted`];
    /// a run is rolled back, and what it had finished is kept aside. What is decided is completed all the same.
    ///
    /// A validation that is a function, and the work of a run, end by themselves: they may be given a clone to ask.
    pub fn interrupter(&self) -> Interrupter {
        self.interrupter.clone()
    }

    /// Lets `interrupter` end the verbs of this coordinator, in the place of the one that it was opened with.
    pub fn interrupted_by(&mut self, interrupter: Interrupter) {
        self.interrupter = interrupter;
    }

    /// Refuses to go on once somebody has interrupted.
    pub(super) fn refuse_interrupted(&self, task: &TaskId) -> Result<(), Error> {
        if self.interrupter.is_interrupted() {
            return Err(Error::Interrupted { task: task.clone() });
        }
        Ok(())
    }

    /// Says of a run that it was interrupted when that is why something failed: a terminal interrupts the git commands that it waits
    /// for as well.
    pub(super) fn interrupted_instead(&self, task: &TaskId, error: Error) -> Error {
        if self.interrupter.is_interrupted() && error.kind() == Kind::Failed {
            tracing::debug!(%error, "failed while it was interrupted");
            return RunRefusal::Interrupted { task: task.clone() }.into();
        }
        error
    }

    /// Takes the lock under which commits are applied. Waits for whoever holds it, unless somebody interrupts.
    pub(super) fn lock_commits_for(&self, task: &TaskId) -> Result<FileLock, Error> {
        self.lock_for(task, self.layout.commit_lock())
    }

    /// Takes the lock of a transaction. Waits for whoever works on it, unless somebody interrupts.
    pub(super) fn hold_for(&self, task: &TaskId, transaction: &TransactionId) -> Result<FileLock, Error> {
        let directory = self.layout.transaction(transaction);
        disk::create_dir_all(directory.path())?;
        self.lock_for(task, directory.own_lock())
    }

    fn lock_for(&self, task: &TaskId, path: PathBuf) -> Result<FileLock, Error> {
        let lock = self.lock_within(task, path, Duration::MAX)?;
        Ok(lock.unwrap_or_else(|| unreachable!("BUG: time without end does not end")))
    }

    /// Takes a lock, waiting at most so long for whoever holds it, unless somebody interrupts.
    pub(super) fn lock_within(
        &self,
        task: &TaskId,
        path: PathBuf,
        limit: Duration,
    ) -> Result<Option<FileLock>, Error> {
        if let Some(lock) = FileLock::try_acquire(&path)? {
            return Ok(Some(lock));
        }
        let (tell, told) = mpsc::channel();
        let interrupted = tell.clone();
        let _listening = self
            .interrupter
            .when_interrupted(move || drop(interrupted.send(None)));
        // Nothing can end a wait for a file lock. The thread that is left behind gives it back as soon as it has it.
        thread::spawn(move || drop(tell.send(Some(FileLock::acquire(&path)))));
        match told.recv_timeout(limit) {
            Ok(Some(lock)) => Ok(Some(lock?)),
            Ok(None) => Err(Error::Interrupted { task: task.clone() }),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                unreachable!("BUG: the thread that waits for the lock says how that ended")
            }
        }
    }
}

impl Leash {
    /// Says why `task` was interrupted: its locks were lost, or somebody wanted it to end.
    pub(super) fn reason(&self, task: &TaskId) -> Error {
        let task = task.clone();
        if self.is_lost() {
            Error::Lost { task }
        } else {
            Error::Interrupted { task }
        }
    }
}
