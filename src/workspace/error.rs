//! Why `.mirror` cannot be used.

use std::path::PathBuf;

use crate::disk::DiskError;
use crate::model::{Kind, shown};

/// Why `.mirror` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// It is not safely ours.
    #[error("Refusing to use {}: {reason}", shown(path))]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Others than its owner may write to it.
    #[error("Refusing to use {}: others may write to it", shown(path))]
    Shared {
        /// The directory.
        path: PathBuf,
    },
    /// It lies on a disk that several machines may share.
    #[error("{} lies on a network file system ({kind})", shown(path))]
    Network {
        /// The root.
        path: PathBuf,
        /// Which file system.
        kind: &'static str,
    },
    /// The file system cannot swap two names in one act.
    #[error("The file system of {} cannot exchange two names atomically", shown(path))]
    Exchange {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: DiskError,
    },
    /// `init` was interrupted.
    #[error("{} is not complete: its making was interrupted", shown(path))]
    Incomplete {
        /// The directory.
        path: PathBuf,
    },
    /// It was made by a newer version.
    #[error(
        "{} has the format {format:?}, which this version of mirror does not know",
        shown(path)
    )]
    Format {
        /// The directory.
        path: PathBuf,
        /// What it says.
        format: String,
    },
    /// The file system failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl WorkspaceError {
    /// Returns what kind of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Incomplete { .. } => Kind::Usage,
            _ => Kind::Failed,
        }
    }
}
