//! The verbs, one file each. This is the only floor where locks, files and git meet.
//!
//! Read them in this order: `begin` and `lock` acquire, `stage` collects, `commit` prepares, decides, applies
//! and finishes, `rollback` drops, `undo` takes back, `recover` ends what a crash left. Every verb starts from an opened
//! [`Coordinator`], and opening recovers.

mod abandon;
mod after_power_loss;
mod allocate;
mod backoff;
mod begin;
mod carry_out;
mod check;
mod clean;
mod cleanup;
mod commit;
mod diff;
mod displaced;
mod doctor;
mod draft;
mod error;
mod error_kind;
mod error_text;
mod fit;
mod furnish;
mod git_lock;
mod ground;
mod guarded;
mod heartbeat;
mod history;
mod hook;
mod in_place;
mod interrupt;
mod landing;
mod leased;
mod left_branches;
mod linked;
mod lock;
mod look;
mod merge;
mod move_out;
mod nested;
mod observer;
mod open;
mod optimistic;
mod origin;
mod overtaken;
mod plan;
mod prepare;
mod printed;
pub mod provider;
mod record;
mod recover;
mod resolve;
mod reversal;
mod rollback;
mod run;
mod run_error;
mod running;
mod salvage;
mod set_aside;
mod settle;
mod show;
mod stage;
mod stage_patch;
mod stage_step;
mod stage_tree;
mod start_commit;
mod status;
mod task_branch;
mod undo;
mod undo_error;
mod unstage;
mod upkeep;
mod validate;
mod who;
mod why;
mod working_copy;
mod worktree_place;
mod worktrees;

pub use begin::{BeginRequest, Begun, BranchChoice};
pub use cleanup::{Cleaned, CleanupRequest};
pub use commit::{CommitRequest, Outcome, Receipt};
pub use diff::FileDiff;
pub use doctor::Finding;
pub use error::Error;
pub use guarded::Guard;
pub use heartbeat::Leash;
pub use history::{History, HistoryFilter};
pub use hook::{HookAnswer, HookRequest};
pub use lock::{ForceUnlock, Forced, LockRequest, Wanted, WantedKind};
pub use observer::{Observer, Silent};
pub use open::{InitOptions, Initialised};
pub use origin::Origin;
pub use plan::MergeKind;
pub use recover::Recovered;
pub use rollback::RolledBack;
pub use run::{Ran, RunError, RunPlace, RunRequest};
pub use run_error::RunRefusal;
pub use show::Shown;
pub use stage::{StageRequest, StageWhat, Staged};
pub use status::{Phase, ShareHolder, Status, TaskStatus, Utilisation};
pub use undo::{UndoRequest, Undone};
pub use undo_error::UndoError;
pub use unstage::Unstaged;
pub use validate::Validation;
pub use why::Why;
pub use working_copy::WorkingCopy;
pub use worktrees::{Worktree, WorktreeState};

pub use crate::model::Interrupter;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Config;
use crate::coordinator::provider::Providers;
use crate::disk::contained::{self, Root};
use crate::disk::lock::FileLock;
use crate::git::{self, Git};
use crate::host::Host;
use crate::model::{TaskId, TransactionId};
use crate::store::{LeaseError, Store, Transaction};
use crate::workspace::Layout;
use crate::workspace::manifest::{Manifest, RefUpdate};
use crate::workspace::slots::Slots;

/// One opened repository: what every verb works on.
pub struct Coordinator {
    /// The names in `.mirror`.
    layout: Layout,
    /// Who holds what.
    store: Store,
    /// The git repository, if the directory is one.
    git: Option<Git>,
    /// The working tree that paths are relative to.
    root: Root,
    /// Where the user stands, for paths that are typed.
    current_directory: PathBuf,
    config: Config,
    host: Arc<dyn Host>,
    /// Who answers wishes for what is no path.
    providers: Providers,
    /// Whether anybody registered a provider, who hears of what is given back.
    listening: bool,
    /// What ends its verbs.
    interrupter: Interrupter,
    /// Under what the commands of validations run.
    guard: Option<Guard>,
    /// What opening recovered, until somebody asks.
    recovered: Recovered,
}

impl Coordinator {
    /// Returns the root that all paths are relative to.
    pub fn root(&self) -> &std::path::Path {
        self.root.path()
    }

    /// Tells whether the directory is a git repository.
    pub fn has_git(&self) -> bool {
        self.git.is_some()
    }

    /// Returns the settings in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the open transaction of a task, if it has one.
    pub fn transaction_of(&mut self, task: &TaskId) -> Result<Option<Transaction>, Error> {
        Ok(self.store.current_transaction(task)?)
    }

    /// Takes the lock under which commits are applied and crashes are recovered. Waits for whoever holds it.
    fn lock_commits(&self) -> Result<FileLock, Error> {
        Ok(FileLock::acquire(&self.layout.commit_lock())?)
    }

    /// Takes the commit lock if nobody holds it.
    fn try_lock_commits(&self) -> Result<Option<FileLock>, Error> {
        Ok(FileLock::try_acquire(&self.layout.commit_lock())?)
    }

    /// Keeps other processes from staging into, committing or dropping the same transaction.
    fn hold(&self, transaction: &TransactionId) -> Result<FileLock, Error> {
        let directory = self.layout.transaction(transaction);
        crate::disk::create_dir_all(directory.path())?;
        Ok(FileLock::acquire(&directory.own_lock())?)
    }

    /// Opens the slots of a transaction.
    fn slots(&self, transaction: &TransactionId) -> Result<Slots, Error> {
        Ok(Slots::open(self.layout.transaction(transaction).path())?)
    }

    /// Returns the open transaction of a task.
    fn open_transaction(&mut self, task: &TaskId) -> Result<Transaction, Error> {
        match self.store.current_transaction(task)? {
            Some(transaction) => Ok(transaction),
            None if self.store.task(task)?.is_some() => Err(Error::NoTransaction { task: task.clone() }),
            None => Err(Error::UnknownTask { task: task.clone() }),
        }
    }

    /// Renews the lease; refuses when it was taken by another.
    fn require_lease(&mut self, task: &TaskId) -> Result<crate::store::Task, Error> {
        self.store
            .renew(task)
            .map_err(|error| Error::of_lease(error, task))
    }

    /// Tells whether a manifest speaks of a ref, and of a working tree of this repository: the one that `.mirror` lies in, or
    /// one that is linked to it.
    fn owns(&self, manifest: &Manifest) -> Result<bool, Error> {
        let (named, own) = (self.root_of(manifest), self.layout.root());
        let is_ref = |update: &RefUpdate| git::is_ref_name(&update.name);
        if !manifest.reference.as_ref().is_none_or(is_ref) {
            return Ok(false);
        }
        let inode = |path| Ok::<_, Error>(contained::stat(path)?.map(|stat| (stat.dev, stat.ino)));
        if inode(&named)? == inode(own)? {
            return Ok(true);
        }
        if self.git.is_none() || contained::stat(&named.join(".git"))?.is_none() {
            return Ok(false);
        }
        // An error is no answer: what cannot be read now may be ours.
        let git = Git::open(&named)?;
        Ok(git.is_some_and(|git| git.root() == named && git.main_root() == own))
    }

    /// Returns the git repository that a manifest's working tree belongs to, which need not be the one the current
    /// command was started in: linked worktrees share one `.mirror`.
    fn git_of(&self, manifest: &Manifest) -> Result<Option<Git>, Error> {
        if self.git.is_none() {
            return Ok(None);
        }
        Ok(Git::open(&self.root_of(manifest))?)
    }

    /// Finds the working tree that a manifest is about.
    fn root_of(&self, manifest: &Manifest) -> PathBuf {
        self.layout.root().join(manifest.root.as_path())
    }

    fn seen_from_main_root(&self) -> &Path {
        let root = self.root.path();
        root.strip_prefix(self.layout.root()).unwrap_or(root)
    }
}

impl Error {
    /// Turns what the store says of a lease into words about the task.
    fn of_lease(error: LeaseError, task: &TaskId) -> Self {
        match error {
            LeaseError::Unknown => Self::UnknownTask { task: task.clone() },
            LeaseError::Lost => Self::Lost { task: task.clone() },
            LeaseError::Store(error) => Self::Store(error),
        }
    }
}
