//! Why git fails, or why we refuse a repository.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::DiskError;
use crate::model::{Kind, RepoPath, shown};

/// Why something with git did not work.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// A kind of repository that cannot be handled rightly.
    #[error("This repository uses {feature}, which mirror does not support")]
    Unsupported {
        /// What it uses.
        feature: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// The repository belongs to somebody else.
    #[error("The repository {} belongs to another user", shown(path))]
    Owner {
        /// Its directory.
        path: PathBuf,
    },
    /// The user has told git no name.
    #[error("Git knows no name and email address for you")]
    NoIdentity,
    /// A name that cannot be a branch here.
    #[error("The branch {name} cannot be created: {reason}")]
    Branch {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A submodule stands where a file was expected.
    #[error("{path} is a submodule")]
    Submodule {
        /// The path.
        path: RepoPath,
    },
    /// libgit2 said no.
    #[error("Git failed while {doing}")]
    Library {
        /// What we were doing.
        doing: &'static str,
        /// What it said.
        #[source]
        source: git2::Error,
    },
    /// The git program said no.
    #[error("git {command} failed ({status}): {stderr}")]
    Program {
        /// What we ran.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// There is no git program.
    #[error("The git program could not be started")]
    NoProgram(#[source] io::Error),
    /// A file of the working tree or of git could not be read.
    #[error("Failed {doing} {}", shown(path))]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What git answered makes no sense.
    #[error("Git answered something unexpected: {0}")]
    Answer(String),
    /// A file verb failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl GitError {
    /// Returns a function that wraps an error of libgit2.
    pub(super) fn of(doing: &'static str) -> impl FnOnce(git2::Error) -> Self {
        move |source| Self::Library { doing, source }
    }

    /// Wraps a failure to open a repository.
    pub(super) fn opening(path: &Path, source: git2::Error) -> Self {
        if source.code() == git2::ErrorCode::Owner {
            return Self::Owner {
                path: path.to_owned(),
            };
        }
        Self::Library {
            doing: "opening the repository",
            source,
        }
    }

    /// Returns what kind of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unsupported { .. } | Self::NoIdentity | Self::Branch { .. } | Self::Submodule { .. } => {
                Kind::Usage
            }
            _ => Kind::Failed,
        }
    }
}
