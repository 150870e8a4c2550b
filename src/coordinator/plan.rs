//! Works out what a commit would do, without any lock of git and without touching anything that others can see.
//!
//! This is where nearly everything is refused: a base that changed, the user's own work in the way, a conflict with a
//! target that moved, damaged staged bytes. What it answers is complete: the later steps only make it durable,
//! decide, and carry it out.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::coordinator::look::{self, Seen};
use crate::coordinator::{Coordinator, Error, fit, merge, record};
use crate::git::Git;
use crate::model::{Change, ObjectId, RepoPath, TaskId};
use crate::store::{Task, Transaction};
use crate::workspace::TransactionDirectory;
use crate::workspace::manifest::{Operation, Slot};
use crate::workspace::slots::Slots;

/// How the target took the changes of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeKind {
    /// The target had not moved: it now is the task's commit.
    FastForward,
    /// A merge commit joins both.
    Merge,
}

/// What is to be committed: the same for every way of committing.
#[derive(Debug)]
pub(super) struct Order {
    /// The task as it stood when the plan was made.
    pub(super) task: Task,
    /// Its transaction.
    pub(super) transaction: Transaction,
    /// The staged changes that change something, by path.
    pub(super) changes: Vec<Change>,
    /// Where everything of the transaction lies.
    pub(super) directory: TransactionDirectory,
    /// Where the staged bytes lie.
    pub(super) slots: Slots,
    /// The commit message, if git shall record them.
    pub(super) message: Option<String>,
}

/// What a commit would do.
#[derive(Debug)]
pub(super) struct Plan {
    /// What was ordered.
    pub(super) order: Order,
    /// What happens to the working tree, in the order of paths.
    pub(super) operations: Vec<Operation>,
    /// How git follows.
    pub(super) landing: Landing,
}

/// How git follows a commit.
#[derive(Debug, Default)]
pub(super) struct Landing {
    /// The ref that moves.
    pub(super) reference: Option<PlannedRef>,
    /// Whether index entries change.
    pub(super) rewrite_index: bool,
    /// How a branch was merged.
    pub(super) merge: Option<MergeKind>,
    /// What was written into git's object store and must be durable before the decision.
    pub(super) written: Vec<PathBuf>,
}

/// The ref that moves.
#[derive(Debug)]
pub(super) struct PlannedRef {
    /// `refs/heads/…`, or `HEAD` when it is detached.
    pub(super) name: String,
    /// What it holds; `None` when the branch has no commit yet.
    pub(super) old: Option<ObjectId>,
    /// What it shall hold.
    pub(super) new: ObjectId,
    /// The line for the reflog.
    pub(super) message: String,
}

impl Order {
    /// Reads what the task has staged. Changes that would change nothing are left out.
    pub(super) fn read(
        coordinator: &mut Coordinator,
        task: &TaskId,
        message: Option<String>,
    ) -> Result<Self, Error> {
        let transaction = coordinator.open_transaction(task)?;
        let staged = coordinator.store.changes(&transaction.id)?;
        if staged.is_empty() {
            return Err(Error::NothingStaged { task: task.clone() });
        }
        let changes = staged.into_iter().filter(|change| !change.is_empty()).collect();
        let directory = coordinator.layout.transaction(&transaction.id);
        let slots = coordinator.slots(&transaction.id)?;
        let task = coordinator
            .store
            .task(task)?
            .ok_or_else(|| Error::UnknownTask { task: task.clone() })?;
        Ok(Self {
            task,
            transaction,
            changes,
            directory,
            slots,
            message,
        })
    }

    /// Returns the paths that go away.
    pub(super) fn deleted(&self) -> BTreeSet<RepoPath> {
        self.changes
            .iter()
            .filter(|change| change.post.is_none())
            .map(|change| change.path.clone())
            .collect()
    }

    /// Returns the paths.
    pub(super) fn paths(&self) -> Vec<RepoPath> {
        self.changes.iter().map(|change| change.path.clone()).collect()
    }
}

impl Plan {
    /// Tells whether carrying it out would change nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.landing.reference.is_none()
    }
}

/// Plans the commit.
pub(super) fn plan(coordinator: &Coordinator, order: Order) -> Result<Plan, Error> {
    if let Some(git) = &coordinator.git
        && let Some(operation) = git.operation_in_progress()
    {
        return Err(Error::OperationInProgress { operation });
    }
    fit::verify(&order)?;
    if order.transaction.branch.is_some() {
        return merge::plan(coordinator, order);
    }
    let seen = look::look(&coordinator.root, &order.paths(), &order.deleted())?;
    let modes = coordinator.git.as_ref().map(Git::modes);
    look::compare_bases(&order.task.id, &seen, &order.changes, modes)?;
    let mut operations = operations(&order.changes, &seen);
    let landing = match (&order.message, &coordinator.git) {
        (Some(message), Some(git)) => {
            record::land(coordinator, git, &order, &seen, &mut operations, message)?
        }
        (Some(_), None) => {
            return Err(Error::NeedsGit {
                what: "Recording a commit (-m)",
            });
        }
        (None, _) => Landing::default(),
    };
    fit::metadata(&order.slots, &coordinator.root, &mut operations, &seen)?;
    Ok(Plan {
        order,
        operations,
        landing,
    })
}

/// Turns staged changes and what their paths hold into operations that git does not know of yet.
fn operations(changes: &[Change], seen: &[Seen]) -> Vec<Operation> {
    changes
        .iter()
        .zip(seen)
        .map(|(change, seen)| Operation {
            path: change.path.clone(),
            pre: seen.present.before,
            post: change.post,
            slot: if change.post.is_some() {
                Slot::Staged(change.slot)
            } else {
                Slot::Made(change.slot)
            },
            staged: None,
            before: None,
            after: None,
        })
        .collect()
}
