//! Staged changes: what a path shall hold, and what it held when the task first staged it.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::path::RepoPath;

/// What a path holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Entry {
    /// A regular file.
    File {
        /// The SHA-256 of its bytes as they are in the working tree.
        sha256: Digest,
        /// Its length in bytes.
        size: u64,
        /// Whether its owner may execute it; the only part of the mode that git knows.
        executable: bool,
    },
    /// A symlink. Its text is data and is never followed.
    Symlink {
        /// The SHA-256 of its text.
        sha256: Digest,
        /// The length of its text in bytes.
        size: u64,
    },
}

/// How a change looks to people. What shall happen follows from `base` and `post` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The path did not exist.
    Create,
    /// The content differs.
    Modify,
    /// The path goes away.
    Delete,
    /// Only the exec bit differs.
    Chmod,
    /// The path becomes a symlink, or its text differs.
    Symlink,
    /// The path is where a moved file arrives, or (with `moved_to`) from where it leaves.
    Move,
}

/// One staged change of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: RepoPath,
    /// What it shall hold; `None` deletes it.
    pub post: Option<Entry>,
    /// What it held when the task first staged it; `None` means it did not exist.
    pub base: Option<Entry>,
    /// The number of the slot that holds the new object. Deletions have one too: the displaced object goes there.
    pub slot: u32,
    /// Where the content came from, when the user said it was a move.
    pub moved_from: Option<RepoPath>,
    /// Where the content went, when the user said it was a move.
    pub moved_to: Option<RepoPath>,
}

impl Entry {
    /// Returns the SHA-256 of the content.
    pub fn sha256(&self) -> Digest {
        match self {
            Self::File { sha256, .. } | Self::Symlink { sha256, .. } => *sha256,
        }
    }

    /// Returns the length of the content in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } | Self::Symlink { size, .. } => *size,
        }
    }

    /// Tells whether this is a file that its owner may execute.
    pub fn is_executable(&self) -> bool {
        matches!(self, Self::File { executable: true, .. })
    }

    /// Tells whether this is a symlink.
    pub fn is_symlink(&self) -> bool {
        matches!(self, Self::Symlink { .. })
    }
}

impl Change {
    /// Returns how the change looks to people.
    pub fn kind(&self) -> ChangeKind {
        if self.moved_from.is_some() || self.moved_to.is_some() {
            return ChangeKind::Move;
        }
        match (&self.base, &self.post) {
            (_, None) => ChangeKind::Delete,
            (_, Some(Entry::Symlink { .. })) => ChangeKind::Symlink,
            (None, Some(_)) => ChangeKind::Create,
            (Some(Entry::File { sha256: before, .. }), Some(Entry::File { sha256: after, .. }))
                if before == after =>
            {
                ChangeKind::Chmod
            }
            (Some(_), Some(_)) => ChangeKind::Modify,
        }
    }

    /// Tells whether carrying the change out would change nothing.
    pub fn is_empty(&self) -> bool {
        self.base == self.post
    }
}

impl ChangeKind {
    /// Returns the word that people and documents see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Modify => "modify",
            Self::Delete => "delete",
            Self::Chmod => "chmod",
            Self::Symlink => "symlink",
            Self::Move => "move",
        }
    }
}
