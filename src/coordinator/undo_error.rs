//! Why `undo` refuses.

use std::path::PathBuf;

use crate::coordinator::error_text::path_list;
use crate::model::{Kind, RepoPath, TaskId, TransactionId, TransactionState, shown};

/// Why `undo` refuses. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// There is no such transaction of the task, or it is too old to be known.
    #[error("{}", unknown(task, transaction.as_ref()))]
    Unknown {
        /// The task.
        task: TaskId,
        /// What was asked for; `None` means the newest.
        transaction: Option<TransactionId>,
    },
    /// No committed transaction, or several, have a name that begins like this.
    #[error("{}", unnamed(task.as_ref(), named, found))]
    Unnamed {
        /// The task, if one is meant.
        task: Option<TaskId>,
        /// The beginning.
        named: String,
        /// Those that it could be.
        found: Vec<TransactionId>,
    },
    /// The transaction is not committed.
    #[error("The transaction {transaction} of {task} is {state}, and not committed")]
    NotCommitted {
        /// The task.
        task: TaskId,
        /// The transaction.
        transaction: TransactionId,
        /// Where it stands.
        state: TransactionState,
    },
    /// Paths that hold something else by now than what the transaction left.
    #[error("Changed again since the commit {transaction}: {}", path_list(paths))]
    ChangedSince {
        /// The transaction.
        transaction: TransactionId,
        /// The paths.
        paths: Vec<RepoPath>,
    },
    /// What the paths held before is gone.
    #[error("{}", not_kept(transaction, paths))]
    NotKept {
        /// The transaction.
        transaction: TransactionId,
        /// The paths; none means all of them.
        paths: Vec<RepoPath>,
    },
    /// It changed another working tree than this one.
    #[error("The commit {transaction} changed the working tree {}", shown(path))]
    Elsewhere {
        /// The transaction.
        transaction: TransactionId,
        /// The working tree.
        path: PathBuf,
    },
    /// It was recorded where no branch was checked out.
    #[error("The commit {transaction} was recorded on a detached HEAD, and a branch is checked out now")]
    Detached {
        /// The transaction.
        transaction: TransactionId,
    },
    /// A message for what git never recorded.
    #[error("Git did not record the commit {transaction}, so that undoing it is nothing to record either")]
    Unrecorded {
        /// The transaction.
        transaction: TransactionId,
    },
}

impl UndoError {
    /// Returns what kind of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::ChangedSince { .. } | Self::Elsewhere { .. } | Self::Detached { .. } => Kind::Conflict,
            Self::Unknown { .. }
            | Self::Unnamed { .. }
            | Self::NotCommitted { .. }
            | Self::NotKept { .. }
            | Self::Unrecorded { .. } => Kind::Usage,
        }
    }

    /// Returns the paths concerned.
    pub fn paths(&self) -> &[RepoPath] {
        match self {
            Self::ChangedSince { paths, .. } | Self::NotKept { paths, .. } => paths,
            _ => &[],
        }
    }
}

fn unknown(task: &TaskId, transaction: Option<&TransactionId>) -> String {
    match transaction {
        None => format!("No committed transaction of {task} is known"),
        Some(transaction) => format!("No transaction {transaction} of {task} is known"),
    }
}

fn unnamed(task: Option<&TaskId>, named: &str, found: &[TransactionId]) -> String {
    let named = named.escape_debug();
    let of = task.map(|task| format!(" of {task}")).unwrap_or_default();
    match found {
        [] => format!("No committed transaction{of} begins with {named}"),
        found => format!("{} committed transactions{of} begin with {named}", found.len()),
    }
}

fn not_kept(transaction: &TransactionId, paths: &[RepoPath]) -> String {
    if paths.is_empty() {
        format!("What was there before the commit {transaction} is not kept any more")
    } else {
        format!(
            "What was there before the commit {transaction} is not kept any more: {}",
            path_list(paths)
        )
    }
}
