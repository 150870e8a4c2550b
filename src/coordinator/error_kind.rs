//! What kind of failure an error is, and what it is about.

use crate::coordinator::Error;
use crate::model::{Conflict, Kind, RepoPath};

impl Error {
    /// Returns what kind of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotInitialised { .. }
            | Self::UnknownTask { .. }
            | Self::AlreadyOpen { .. }
            | Self::NoTransaction { .. }
            | Self::NothingStaged { .. }
            | Self::UnknownBranch { .. }
            | Self::NeedsGit { .. }
            | Self::Unchangeable { .. }
            | Self::Shut { .. }
            | Self::Patch { .. }
            | Self::Outside { .. }
            | Self::NoMatch { .. }
            | Self::Pattern { .. }
            | Self::EmptyMessage
            | Self::Usage(_)
            | Self::Path(_)
            | Self::Resource(_)
            | Self::Impossible(_)
            | Self::NotOffered { .. }
            | Self::NoPlaceForCopies { .. }
            | Self::Input { .. } => Kind::Usage,
            Self::Held { .. } | Self::HookRefused { .. } | Self::Unusable { .. } => Kind::Held,
            Self::Deadlock { .. } => Kind::Deadlock,
            Self::Lost { .. } => Kind::Lost,
            Self::Interrupted { .. } => Kind::Interrupted,
            Self::NotLocked { .. }
            | Self::BaseChanged { .. }
            | Self::Overtaken { .. }
            | Self::InTheWay { .. }
            | Self::MergeConflict { .. }
            | Self::OperationInProgress { .. }
            | Self::Unmerged { .. }
            | Self::TargetMoved { .. }
            | Self::TargetElsewhere { .. } => Kind::Conflict,
            Self::GitBusy { .. }
            | Self::Unapplied { .. }
            | Self::Space { .. }
            | Self::Disk(_)
            | Self::Provider { .. } => Kind::Failed,
            Self::Rejected { .. } | Self::ValidationFailed { .. } | Self::CommandFailed { .. } => {
                Kind::Rejected
            }
            Self::Damaged { .. } | Self::Stuck { .. } => Kind::Damaged,
            Self::Pending { .. } => Kind::Pending,
            Self::Undetermined { .. } => Kind::Unknown,
            Self::Config(error) => error.kind(),
            Self::Host(error) => error.kind(),
            Self::Hook(error) => error.kind(),
            Self::Undo(error) => error.kind(),
            Self::Run(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Git(error) => error.kind(),
            Self::Workspace(error) => error.kind(),
        }
    }

    /// Returns what is in the way, for errors that have it.
    pub fn conflicts(&self) -> &[Conflict] {
        match self {
            Self::Held { conflicts, .. } | Self::HookRefused { conflicts, .. } => conflicts,
            Self::Run(error) => error.conflicts(),
            _ => &[],
        }
    }

    /// Returns the paths concerned, for errors that have them.
    pub fn paths(&self) -> Vec<RepoPath> {
        match self {
            Self::NotLocked { paths, .. }
            | Self::BaseChanged { paths, .. }
            | Self::Overtaken { paths }
            | Self::InTheWay { paths, .. }
            | Self::Unmerged { paths }
            | Self::Damaged { paths, .. } => paths.clone(),
            Self::MergeConflict { conflicts, .. } => {
                conflicts.iter().map(|conflict| conflict.path.clone()).collect()
            }
            Self::Unchangeable { path, .. } => vec![path.clone()],
            Self::Undo(error) => error.paths().to_vec(),
            Self::Run(error) => error.paths(),
            _ => Vec::new(),
        }
    }
}
