//! The directory of one transaction: the only place that knows the names in it.

use std::path::{Path, PathBuf};

use crate::model::TransactionId;

/// `.mirror/transactions/<uuid>/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionDirectory(PathBuf);

impl TransactionDirectory {
    /// Names the directory of `transaction` below `transactions`.
    pub fn new(transactions: &Path, transaction: &TransactionId) -> Self {
        Self(transactions.join(transaction.to_string()))
    }

    /// Returns the directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The redo log of a commit attempt; it exists only during one and until the directory goes.
    pub fn manifest(&self) -> PathBuf {
        self.0.join("manifest")
    }

    /// The index that will become git's.
    pub fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    /// Our half of git's `index.lock`.
    pub fn index_lock(&self) -> PathBuf {
        self.0.join("index-lock")
    }

    /// Our half of the ref's lock file; it holds the new value and becomes the ref.
    pub fn ref_lock(&self) -> PathBuf {
        self.0.join("ref-lock")
    }

    /// What becomes the file of the task's own branch.
    pub fn branch(&self) -> PathBuf {
        self.0.join("branch")
    }

    /// Where new objects are packed before git's object store gets the pack.
    pub fn pack(&self) -> PathBuf {
        self.0.join("pack")
    }

    /// The lock that keeps two processes from working on the same transaction at once. It is never replaced, and goes
    /// only with the directory.
    pub fn own_lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Where a diff is applied before its outcome is staged.
    pub fn patching(&self) -> PathBuf {
        self.0.join("patching")
    }
}
