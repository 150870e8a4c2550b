//! A task that is open: stage into it, then commit it or roll it back.

use std::ffi::OsString;
use std::io::Cursor;
use std::path::PathBuf;
use std::{error, fmt};

use crate::coordinator::{
    Begun, CommitRequest, Coordinator, Error, FileDiff, Receipt, RolledBack, StageRequest, StageWhat, Staged,
};
use crate::embed::declaration::Growth;
use crate::embed::shared::SharedObserver;
use crate::embed::tidy_up;
use crate::model::{Kind, Resource, TaskId, Token, TransactionId, TransactionState};

/// A task that holds its locks.
///
/// Committing or rolling back consumes it, so nothing can be staged into a task that is over. Dropping one that is not over
/// rolls it back at best effort: a failure is only logged, and then the task stays as it is until `mirror rollback`, or until
/// this process ends. To know that it was rolled back, call [`Task::rollback`]. When the process is killed, its locks are free
/// at once.
///
/// ```compile_fail,E0382
/// # fn main() -> Result<(), mirror::Error> {
/// # let mirror = mirror::Mirror::open(".")?;
/// let mut task = mirror.begin(&mirror::Declaration::new("agent-1")?.write("a"))?;
/// task.commit("all that is staged")?;
/// task.stage("a", "more")?; // it is over: this does not compile
/// # Ok(())
/// # }
/// ```
#[must_use = "a task that is dropped is rolled back"]
pub struct Task {
    coordinator: Coordinator,
    begun: Begun,
    growth: Growth,
    observer: SharedObserver,
    progress: Progress,
}

/// Whether a task is still to be rolled back when its handle goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Open,
    Over,
}

/// Why a commit did not happen. The task is as it was, unless the commit is decided and only its completion failed.
///
/// Dropped, as by `?`, it rolls the task back.
pub struct NotCommitted {
    error: Error,
    task: Option<Box<Task>>,
}

impl Task {
    pub(super) fn new(
        coordinator: Coordinator,
        begun: Begun,
        growth: Growth,
        observer: SharedObserver,
    ) -> Self {
        Self {
            coordinator,
            begun,
            growth,
            observer,
            progress: Progress::Open,
        }
    }

    /// Returns its name.
    pub fn id(&self) -> &TaskId {
        &self.begun.task.id
    }

    /// Returns its transaction.
    pub fn transaction(&self) -> TransactionId {
        self.begun.transaction.id
    }

    /// Returns the fencing number of its grant, for services that check it.
    pub fn token(&self) -> Token {
        self.begun.task.token
    }

    /// Returns what it was given when it began: which port, which member of a pool.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.begun.task.locks.iter().map(|held| &held.lock.resource)
    }

    /// Stages new content of a file. Nobody sees it before the commit; it survives the death of this process.
    pub fn stage(&mut self, path: impl Into<OsString>, content: impl Into<Vec<u8>>) -> Result<Staged, Error> {
        self.stage_all([StageWhat::Bytes {
            path: path.into(),
            content: Box::new(Cursor::new(content.into())),
            executable: None,
        }])
    }

    /// Stages what the file `from` holds as the new content of `path`. A symlink is staged as a symlink.
    pub fn stage_file(
        &mut self,
        path: impl Into<OsString>,
        from: impl Into<PathBuf>,
    ) -> Result<Staged, Error> {
        self.stage_all([StageWhat::File {
            path: path.into(),
            from: from.into(),
            executable: None,
        }])
    }

    /// Stages that a file, or everything below a directory, goes away.
    pub fn delete(&mut self, path: impl Into<OsString>) -> Result<Staged, Error> {
        self.stage_all([StageWhat::Delete { path: path.into() }])
    }

    /// Stages changes of any kind, all of them or none.
    pub fn stage_all(&mut self, what: impl IntoIterator<Item = StageWhat>) -> Result<Staged, Error> {
        let request = StageRequest {
            what: what.into_iter().collect(),
            lock: self.growth.is_allowed(),
        };
        self.coordinator
            .stage(&self.begun.task.id, request, &mut self.observer)
    }

    /// Reads what is staged, with the bytes before and after.
    pub fn diff(&mut self) -> Result<Vec<FileDiff>, Error> {
        self.coordinator.diff(&self.begun.task.id)
    }

    /// Commits what is staged, all of it or nothing, and gives the locks back. A text is the message of a git commit; for
    /// validation, or no git commit, see [`CommitRequest`]. When this returns a receipt, the result survives power loss.
    pub fn commit<'a>(mut self, commit: impl Into<CommitRequest<'a>>) -> Result<Receipt, NotCommitted> {
        let outcome = self
            .coordinator
            .commit(&self.begun.task.id, &commit.into(), &mut self.observer);
        match outcome {
            Ok(receipt) => {
                self.progress = Progress::Over;
                tidy_up(&mut self.coordinator);
                Ok(receipt)
            }
            Err(error) => {
                let task = self.is_open().then(|| Box::new(self));
                Err(NotCommitted { error, task })
            }
        }
    }

    /// Drops what is staged and gives the locks back.
    pub fn rollback(mut self) -> Result<RolledBack, Error> {
        let rolled_back = self.coordinator.rollback(&self.begun.task.id)?;
        self.progress = Progress::Over;
        tidy_up(&mut self.coordinator);
        Ok(rolled_back)
    }

    /// Tells whether the transaction can still be staged into, and rolled back. What cannot be known is not open: recovery
    /// settles it.
    fn is_open(&mut self) -> bool {
        let own = self.begun.transaction.id;
        let current = self.coordinator.transaction_of(&self.begun.task.id);
        self.progress == Progress::Open
            && matches!(current, Ok(Some(now)) if now.id == own && now.state == TransactionState::Open)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.is_open() {
            return;
        }
        if let Err(error) = self.coordinator.rollback(&self.begun.task.id) {
            tracing::warn!(%error, task = %self.begun.task.id, "rolling back is left to recovery");
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", self.id())
            .field("transaction", &self.transaction())
            .finish_non_exhaustive()
    }
}

impl NotCommitted {
    /// Returns why.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Returns what kind of failure this is.
    pub fn kind(&self) -> Kind {
        self.error.kind()
    }

    /// Returns the task with its locks and all that is staged, to be mended and committed again. `None` when the commit is
    /// decided, or may be: then recovery completes it.
    pub fn into_task(self) -> Option<Task> {
        self.task.map(|task| *task)
    }
}

impl From<NotCommitted> for Error {
    /// Rolls the task back, and keeps only why.
    fn from(refused: NotCommitted) -> Self {
        refused.error
    }
}

impl fmt::Debug for NotCommitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotCommitted")
            .field("error", &self.error)
            .field("task", &self.task)
            .finish()
    }
}

impl fmt::Display for NotCommitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl error::Error for NotCommitted {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        error::Error::source(&self.error)
    }
}
