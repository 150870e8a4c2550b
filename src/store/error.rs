//! Why the store refuses or fails.

use std::path::PathBuf;

use crate::disk::DiskError;
use crate::host::HostError;
use crate::model::{Conflict, IllegalStep, Impossible, Kind, TaskId, TransactionId, shown};
use crate::store::lease::Lease;

/// The store failed, or what it holds makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The machine would not say who we are.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The database said no.
    #[error("The registry failed while {doing}")]
    Database {
        /// What we were doing.
        doing: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody else keeps the database locked.
    #[error("The registry {} is locked by another program", shown(path))]
    Locked {
        /// Which file.
        path: PathBuf,
    },
    /// The database was made by a newer version.
    #[error(
        "The registry {} has the format {found}, and this version of mirror knows only up to {known}",
        shown(path)
    )]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest that we know.
        known: i64,
    },
    /// The linked SQLite may lose committed writes.
    #[error("SQLite {found} may lose committed writes; 3.51.3 or newer is needed")]
    OldSqlite {
        /// The linked version.
        found: &'static str,
    },
    /// A setting did not take hold.
    #[error("The registry refused the setting {pragma}: it answers {answer:?}")]
    Setting {
        /// Which.
        pragma: &'static str,
        /// What it answers.
        answer: String,
    },
    /// There is no registry.
    #[error("There is no registry at {}", shown(path))]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A row makes no sense.
    #[error("The registry is damaged: {0}")]
    Damaged(String),
    /// A transaction was sent where the table of states does not let it go.
    #[error("Transaction {transaction} is {}, so it cannot become {}", step.from, step.to)]
    State {
        /// Which.
        transaction: TransactionId,
        /// From where to where.
        #[source]
        step: IllegalStep,
    },
    /// A task lost its lease, or is gone, before its transaction could begin or go on.
    #[error("The task {task} holds no lease any more")]
    NoLease {
        /// Which.
        task: TaskId,
    },
    /// There is no such transaction.
    #[error("There is no transaction {0}")]
    NoTransaction(TransactionId),
    /// A file verb failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Why a lock set was not granted. Nothing was taken.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// Others hold it, or asked for it earlier.
    #[error("Held by others")]
    Held {
        /// What is in the way.
        conflicts: Vec<Conflict>,
    },
    /// Others still hold it at the end of the wait. The place in the queue is kept for ten seconds more.
    #[error("Still held by others at the end of the wait")]
    TimedOut {
        /// What is in the way.
        conflicts: Vec<Conflict>,
    },
    /// The wait was interrupted. No place in the queue is kept.
    #[error("The wait was interrupted")]
    Interrupted,
    /// Waiting would close a cycle.
    #[error("Waiting would be a deadlock")]
    Deadlock {
        /// The tasks of the cycle, each waiting for the next.
        cycle: Vec<TaskId>,
    },
    /// More is asked for than there is, however long one waits.
    #[error(transparent)]
    Impossible(#[from] Impossible),
    /// There is no such task.
    #[error("There is no task {task}")]
    UnknownTask {
        /// The asked-for task.
        task: TaskId,
    },
    /// A task of this name is open.
    #[error("The task {task} is open already")]
    TaskExists {
        /// The task.
        task: TaskId,
        /// Its transaction; `None` when it still waits for its first locks.
        transaction: Option<TransactionId>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a task cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// There is no such task.
    #[error("There is no such task")]
    Unknown,
    /// Its lease was taken by another.
    #[error("The lease was taken by another")]
    Lost,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a commit was not decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The token is old, or a write lock is gone. Nothing is decided.
    #[error("The locks were lost")]
    Lost,
    /// The store failed and nothing is decided, for certain.
    #[error("The decision was not made")]
    Undecided(#[source] StoreError),
    /// The store failed in a way that leaves both outcomes possible.
    #[error("Whether the decision was made is unknown")]
    Unknown(#[source] StoreError),
}

impl StoreError {
    /// Returns what kind of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Damaged(_) => Kind::Damaged,
            Self::NoLease { .. } => Kind::Lost,
            Self::Missing { .. } => Kind::Usage,
            Self::State { .. } | Self::NoTransaction(_) => Kind::Bug,
            _ => Kind::Failed,
        }
    }
}

impl LeaseError {
    /// Turns a lease that is not the task's own into the error that says so.
    pub(crate) fn unless_held(lease: Lease) -> Result<(), Self> {
        match lease {
            Lease::Held => Ok(()),
            Lease::Lost => Err(Self::Lost),
            Lease::Unknown => Err(Self::Unknown),
        }
    }
}
