//! `begin`: opens a task with its lock set, all or none, and a transaction to stage into.

use std::ffi::OsString;

use serde_json::{Map, Value};

use crate::config::{self, Strategy};
use crate::coordinator::start_commit::start_commit;
use crate::coordinator::{
    Coordinator, Error, Observer, Wanted, WantedKind, optimistic, resolve, settle, task_branch,
};
use crate::disk;
use crate::git::{Git, Head};
use crate::host::unique_id;
use crate::model::{LockSet, Mode, ObjectId, RepoPath, TaskId, TransactionId};
use crate::store::{Asker, NewTask, NewTransaction, Release, Task, Transaction, Wait};

/// What to begin.
#[derive(Debug, Clone)]
pub struct BeginRequest {
    /// The task's name.
    pub task: TaskId,
    /// Its lock set.
    pub wants: Vec<Wanted>,
    /// Whether to wait for others.
    pub wait: Wait,
    /// The lease, in milliseconds; `None` takes the configured one.
    pub ttl_ms: Option<u64>,
    /// The process whose life keeps the lease, if any.
    pub pid: Option<u32>,
    /// Why, for whoever runs into the locks.
    pub reason: Option<String>,
    /// Anything else to keep with the task.
    pub metadata: Map<String, Value>,
    /// Whether the changes go through a branch of the task's own.
    pub branch: BranchChoice,
    /// The branch to land on; `None` takes the configured one, or the checked-out one.
    pub into: Option<String>,
    /// When its files are locked; `None` is as the configuration says.
    pub strategy: Option<Strategy>,
}

impl BeginRequest {
    /// Asks for write locks on paths, relative to where the repository was opened, without waiting. Everything else is
    /// as the configuration says; the fields may be changed.
    pub fn writing<P: Into<OsString>>(task: TaskId, paths: impl IntoIterator<Item = P>) -> Self {
        let wants = paths.into_iter().map(|path| Wanted {
            what: WantedKind::Path(path.into()),
            mode: Mode::Write,
        });
        Self {
            task,
            wants: wants.collect(),
            wait: Wait::Never,
            ttl_ms: None,
            pid: None,
            reason: None,
            metadata: Map::new(),
            branch: BranchChoice::Configured,
            into: None,
            strategy: None,
        }
    }
}

/// Whether a task works on a branch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchChoice {
    /// As the configuration says.
    Configured,
    /// No.
    Never,
    /// Yes.
    Always,
    /// Only when a file of the lock set has uncommitted changes.
    Dirty,
}

/// An open task with its transaction.
#[must_use = "a begun task holds locks"]
#[derive(Debug, Clone)]
pub struct Begun {
    /// The task with its locks.
    pub task: Task,
    /// Its transaction.
    pub transaction: Transaction,
}

/// What a task without a branch of its own starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The working tree, whatever it holds when something is staged.
    Ground,
    /// A working copy of its own, of what is there when its locks are granted.
    Copy {
        /// What git has recorded, without the user's uncommitted changes.
        recorded: bool,
    },
}

/// The branch of a task, and what it starts from.
struct Branch {
    name: String,
    target: String,
    base: ObjectId,
}

impl Coordinator {
    /// Opens a task: its whole lock set or nothing, then a transaction. Holding the locks starts when this returns.
    pub fn begin(&mut self, request: &BeginRequest, observer: &mut dyn Observer) -> Result<Begun, Error> {
        self.refuse_inside_copy()?;
        let locks = resolve::request(self, &request.wants)?;
        let begun = self.begin_with(request, &locks, observer)?;
        self.store.after_command();
        Ok(begun)
    }

    /// The same with locks that are known already.
    pub(super) fn begin_with(
        &mut self,
        request: &BeginRequest,
        locks: &LockSet,
        observer: &mut dyn Observer,
    ) -> Result<Begun, Error> {
        let id = TransactionId::from_uuid(unique_id());
        self.begin_as(id, request, locks, Start::Ground, observer)
    }

    /// The same with a transaction that has a name already.
    pub(super) fn begin_as(
        &mut self,
        id: TransactionId,
        request: &BeginRequest,
        locks: &LockSet,
        start: Start,
        observer: &mut dyn Observer,
    ) -> Result<Begun, Error> {
        let owner = self.host.owner(request.pid)?;
        let is_optimistic = request.strategy.unwrap_or(self.config.strategy) == Strategy::Optimistic;
        let mut metadata = request.metadata.clone();
        if is_optimistic {
            optimistic::mark(&mut metadata);
        }
        let task = NewTask {
            id: request.task.clone(),
            owner,
            ttl_ms: request.ttl_ms.unwrap_or(self.config.lock_timeout_ms),
            max_hold_ms: self.config.max_hold_ms,
            reason: request.reason.clone(),
            metadata,
        };
        // Refused before anything is locked: a branch that cannot be.
        self.branch(request, &id, locks)?;
        let wants = if is_optimistic {
            optimistic::without_files(locks)
        } else {
            locks.clone()
        };
        let asked = match start {
            Start::Ground => wants,
            Start::Copy { .. } => self.with_worktree(&wants)?,
        };
        let grant = self.acquire(&Asker::New(task), &asked, request.wait, observer)?;
        let opened = self.open_as(id, request, start, locks, &grant.task);
        if opened.is_err() {
            self.give_up_beginning(&request.task, &id);
        }
        Ok(Begun {
            task: grant.task,
            transaction: opened?,
        })
    }

    /// Opens the transaction of a task that holds its locks. What it starts from is read only now: whoever held the locks
    /// before may have changed it.
    fn open_as(
        &mut self,
        id: TransactionId,
        request: &BeginRequest,
        start: Start,
        locks: &LockSet,
        task: &Task,
    ) -> Result<Transaction, Error> {
        match self.branch(request, &id, locks)? {
            Some(branch) => self.open_with_branch(id, task, Some(branch)),
            None => match start {
                Start::Ground => self.open_with_branch(id, task, None),
                Start::Copy { recorded } => {
                    let base = start_commit(self, &id, recorded)?;
                    self.open_from(id, task, base)
                }
            },
        }
    }

    fn open_from(
        &mut self,
        id: TransactionId,
        task: &Task,
        base: Option<ObjectId>,
    ) -> Result<Transaction, Error> {
        let transaction = self.store.open_transaction(&NewTransaction {
            id,
            task: task.id.clone(),
            branch: None,
            target: None,
            base,
        })?;
        disk::create_dir_all(self.layout.transaction(&id).path())?;
        Ok(transaction)
    }

    /// Best effort: a task that was not told of its locks does not use them, and the lease would end them anyway.
    fn give_up_beginning(&mut self, task: &TaskId, id: &TransactionId) {
        let undone = match self.store.transaction(id) {
            Ok(Some(transaction)) => settle::roll_back(self, &transaction),
            _ => self
                .store
                .release(task, &Release::All)
                .map(|_| ())
                .map_err(|error| Error::of_lease(error, task)),
        };
        if let Err(error) = undone {
            tracing::warn!(%error, "giving the task up is left to its lease");
        }
    }

    fn open_with_branch(
        &mut self,
        id: TransactionId,
        task: &Task,
        branch: Option<Branch>,
    ) -> Result<Transaction, Error> {
        let transaction = self.store.open_transaction(&NewTransaction {
            id,
            task: task.id.clone(),
            branch: branch.as_ref().map(|branch| branch.name.clone()),
            target: branch.as_ref().map(|branch| branch.target.clone()),
            base: branch.as_ref().map(|branch| branch.base),
        })?;
        // The row comes first: a directory or a branch that no row names would be an orphan.
        let directory = self.layout.transaction(&id);
        disk::create_dir_all(directory.path())?;
        if let (Some(branch), Some(git)) = (branch, &self.git) {
            task_branch::create(git, &directory, &branch.name, branch.base)?;
        }
        Ok(transaction)
    }

    fn branch(
        &self,
        request: &BeginRequest,
        id: &TransactionId,
        locks: &LockSet,
    ) -> Result<Option<Branch>, Error> {
        let is_optimistic = request.strategy.unwrap_or(self.config.strategy) == Strategy::Optimistic;
        let choice = match (request.branch, self.config.branch) {
            // What others commit meanwhile can only be merged with what git knows the base of.
            (BranchChoice::Configured, _) if is_optimistic => match &self.git {
                Some(git) if optimistic::can_branch(git)? => BranchChoice::Always,
                _ => BranchChoice::Never,
            },
            (BranchChoice::Configured, config::Branch::Never) => BranchChoice::Never,
            (BranchChoice::Configured, config::Branch::Always) => BranchChoice::Always,
            (BranchChoice::Configured, config::Branch::Dirty) => BranchChoice::Dirty,
            (chosen, _) => chosen,
        };
        // Only a branch can land on another branch than the one that is checked out.
        let wanted = request.into.is_some()
            || match choice {
                BranchChoice::Always => true,
                BranchChoice::Dirty => self.has_uncommitted(locks)?,
                BranchChoice::Never | BranchChoice::Configured => false,
            };
        if !wanted {
            return Ok(None);
        }
        let git = self.git.as_ref().ok_or(Error::NeedsGit { what: "A branch" })?;
        let (target, base) = target(git, request.into.as_deref().or(self.config.target.as_deref()))?;
        Ok(Some(Branch {
            name: format!("refs/heads/mirror/{}/{id}", request.task),
            target,
            base,
        }))
    }

    fn has_uncommitted(&self, locks: &LockSet) -> Result<bool, Error> {
        let Some(git) = &self.git else { return Ok(false) };
        let covered = |path: &RepoPath| locks.iter().any(|lock| lock.resource.covers_path(path));
        Ok(git.uncommitted()?.iter().any(covered))
    }
}

/// Finds the branch to land on, and its tip.
fn target(git: &Git, name: Option<&str>) -> Result<(String, ObjectId), Error> {
    if let Some(name) = name {
        return git.resolve_branch(name)?.ok_or_else(|| Error::UnknownBranch {
            name: name.to_owned(),
        });
    }
    match git.head()? {
        Head::Branch { name, tip: Some(tip) } => Ok((name, tip)),
        Head::Branch { name, tip: None } => Err(Error::UnknownBranch { name }),
        Head::Detached { .. } => Err(Error::Usage(
            "HEAD is detached: name the branch to land on with --into".to_owned(),
        )),
    }
}
