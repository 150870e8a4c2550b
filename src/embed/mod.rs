//! The library for programs that embed it: one repository, its tasks, its history as it happens.
//!
//! [`Mirror`] is a cheap handle that threads may share. Each task that it begins stands for itself, so a program may have as
//! many as it likes open at once. A task is either begun by hand ([`Mirror::begin`] gives a [`Task`] to stage into), or all of it
//! is left to [`Mirror::run_task`], which hands out a working copy. [`Mirror::subscribe`] tells what everybody does.
//!
//! Everything here is made of the verbs of [`coordinator`](crate::coordinator), which [`Mirror::coordinator`] gives: it is
//! where to go for what is not here.

mod declaration;
mod events;
mod options;
mod shared;
mod task;

use std::error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use declaration::Declaration;
pub use events::{Events, Since, Subscription};
pub use options::Options;
pub use task::{NotCommitted, Task};

use crate::config::Settings;
use crate::coordinator::{
    CommitRequest, Coordinator, Error, Observer, Ran, RunError, RunPlace, RunRequest, WorkingCopy,
};
use crate::host::Host;
use crate::model::{Interrupter, Kind};
use shared::SharedObserver;

/// A repository that is set up for mirror.
///
/// Cloning it is cheap, and threads may share it. It keeps nothing open: each verb opens the repository as every command does,
/// which takes a few milliseconds and recovers what a crash has left.
#[derive(Clone)]
pub struct Mirror {
    root: PathBuf,
    /// Where paths are relative to.
    at: PathBuf,
    settings: Settings,
    host: Arc<dyn Host>,
    observer: SharedObserver,
    /// What ends its verbs.
    interrupter: Interrupter,
}

/// Why a task that was run came to nothing. Nothing of it stays.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It was refused, or failed, before or after its work.
    #[error(transparent)]
    Refused(#[from] Error),
    /// Its work failed.
    #[error("The work failed")]
    Work(#[source] Box<dyn error::Error + Send + Sync>),
}

impl Mirror {
    /// Opens the repository that contains `at`, and recovers what a crash left in it. Paths will be relative to `at`.
    ///
    /// The settings are those of its `.mirror/config.yaml`. For others see [`Mirror::options`].
    pub fn open(at: impl AsRef<Path>) -> Result<Self, Error> {
        Self::options().open(at)
    }

    /// Sets `.mirror` up for the repository that contains `at`, or for the directory `at` where there is no git, and opens it.
    /// Doing it again is harmless.
    pub fn init(at: impl AsRef<Path>) -> Result<Self, Error> {
        Self::options().init(at)
    }

    /// Returns how to open a repository otherwise than usual.
    pub fn options() -> Options {
        Options::default()
    }

    /// Returns the root of the working tree.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens the repository for the verbs that have no short form here, such as `status`, `history` and `undo`.
    pub fn coordinator(&self) -> Result<Coordinator, Error> {
        let host = Arc::clone(&self.host);
        let mut observer = self.observer.clone();
        let mut coordinator = Coordinator::open(&self.at, &self.settings, host, &mut observer)?;
        coordinator.interrupted_by(self.interrupter.clone());
        Ok(coordinator)
    }

    /// Begins a task: all of what it declares is locked, or nothing. The locks are held until the task is committed, rolled back or
    /// dropped, and are free at once when this process dies.
    pub fn begin(&self, declaration: &Declaration) -> Result<Task, Error> {
        let mut coordinator = self.coordinator()?;
        let mut observer = self.observer.clone();
        let begun = coordinator.begin(&declaration.request(), &mut observer)?;
        Ok(Task::new(coordinator, begun, declaration.growth(), observer))
    }

    /// Runs `work` as a task of its own: locks what is declared, hands a working copy to `work`, commits what it changed there as
    /// `commit` says, and gives the locks back.
    ///
    /// When this returns, the result survives power loss. If `work` fails or panics, the validation refuses, the locks are
    /// lost, or somebody interrupts (see [`Mirror::interrupted_by`]), all of it is rolled back; work that was finished and then not
    /// committed is kept in `.mirror/salvage`, and the observer told where. The lease is renewed meanwhile. Programs that `work`
    /// starts should be told [`WorkingCopy::variables`]; it waits for their end itself.
    ///
    /// ```no_run
    /// # use mirror::{CommitRequest, Declaration, Mirror};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ran = Mirror::open(".")?.run_task(
    ///     &Declaration::new("es6")?.write("src/").service("database"),
    ///     CommitRequest::recorded("use const").validated_by_command("npm test"),
    ///     |copy| std::fs::write(copy.root.join("src/a.js"), "const a;\n"),
    /// )?;
    /// println!("{:?}", ran.receipt.commit);
    /// # Ok(())
    /// # }
    /// ```
    pub fn run_task<'a, T, E: Into<Box<dyn error::Error + Send + Sync>>>(
        &self,
        declaration: &Declaration,
        commit: impl Into<CommitRequest<'a>>,
        work: impl FnOnce(&WorkingCopy) -> Result<T, E>,
    ) -> Result<Ran<T>, TaskError> {
        let request = RunRequest {
            begin: declaration.request(),
            commit: commit.into(),
            grow: declaration.growth().is_allowed(),
            place: RunPlace::Copy,
        };
        let mut coordinator = self.coordinator()?;
        let ran = coordinator.run(&request, work, &mut self.observer.clone());
        tidy_up(&mut coordinator);
        ran.map_err(|error| match error {
            RunError::Refused(error) => TaskError::Refused(error),
            RunError::Work(error) => TaskError::Work(error.into()),
        })
    }

    /// Calls `listener` with every event of the history as it happens, one after the other, from a thread of its own, until the
    /// subscription is stopped or dropped. No event is missed and none comes twice, whichever process it happens in.
    pub fn subscribe(
        &self,
        since: Since,
        listener: impl FnMut(crate::model::Event) + Send + 'static,
    ) -> Result<Subscription, Error> {
        Subscription::start(self.coordinator()?, since, listener)
    }

    /// Returns the events of the history as they happen, to be taken one by one. No event is missed and none comes twice.
    pub fn events(&self, since: Since) -> Result<Events, Error> {
        Events::start(self.coordinator()?, since)
    }

    /// Returns a handle whose verbs also tell `observer` of waits, progress and whatever is worth a word. Threads that share the
    /// handle tell it one after the other.
    #[must_use]
    pub fn observed_by(&self, observer: impl Observer + Send + 'static) -> Self {
        Self {
            observer: SharedObserver::new(observer),
            ..self.clone()
        }
    }

    /// Returns a handle whose verbs end as soon as `interrupter` says so, from another thread: waits for locks and for the turn to
    /// land, a validation with all that it has started, and every commit that is not decided yet. They answer
    /// [`Error::Interrupted`]. A task that was run answers the same as a [`RunRefusal`](crate::coordinator::RunRefusal); it is rolled back, and what it had finished is kept in `.mirror/salvage`; one that was
    /// begun by hand stays open, to be rolled back or dropped. What is decided is completed all the same.
    ///
    /// The work of a task and a validation that is a function end by themselves: give them a clone to ask.
    ///
    /// ```no_run
    /// # use mirror::{CommitRequest, Declaration, Interrupter, Mirror};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let interrupter = Interrupter::default();
    /// let mirror = Mirror::open(".")?.interrupted_by(&interrupter);
    /// let worker = std::thread::spawn(move || {
    ///     let commit = CommitRequest::recorded("use const").validated_by_command("npm test");
    ///     let declaration = Declaration::new("es6")?.write("src/");
    ///     mirror.run_task(&declaration, commit, |copy| std::fs::write(copy.root.join("src/a.js"), "const a;\n"))?;
    ///     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// });
    /// interrupter.interrupt(); // somebody has clicked on "stop"
    /// # drop(worker.join());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn interrupted_by(&self, interrupter: &Interrupter) -> Self {
        Self {
            interrupter: interrupter.clone(),
            ..self.clone()
        }
    }
}

impl TaskError {
    /// Returns what kind of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused(error) => error.kind(),
            Self::Work(_) => Kind::Rejected,
        }
    }
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// Tidies up a little, if it is due. The verb has its answer by now, so a failure is left to whoever comes next.
fn tidy_up(coordinator: &mut Coordinator) {
    let done = coordinator.cleanup_is_due().and_then(|is_due| {
        if is_due {
            coordinator.cleanup_some()
        } else {
            Ok(())
        }
    });
    if let Err(error) = done {
        tracing::warn!(%error, "tidying up is left to whoever comes next");
    }
}
