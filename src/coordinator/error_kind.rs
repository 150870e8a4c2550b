//! What kind of failure an error is, and what it is about.

use crate::coordinator::Error;
use crate::model::{Conflict, Kind, Pool, RepoPath, Resource};

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
            | Self::Patch { .. }
            | Self::Outside { .. }
            | Self::NoMatch { .. }
            | Self::Pattern { .. }
            | Self::Usage(_)
            | Self::Path(_)
            | Self::Resource(_)
            | Self::Impossible(_)
            | Self::NotOffered { .. }
            | Self::NoPlaceForCopies { .. }
            | Self::Input { .. } => Kind::Usage,
            Self::Held { .. } | Self::RunHeld { .. } | Self::HookRefused { .. } | Self::Unusable { .. } => {
                Kind::Held
            }
            Self::Deadlock { .. } => Kind::Deadlock,
            Self::Lost { .. } => Kind::Lost,
            Self::Interrupted { .. } => Kind::Interrupted,
            Self::NotLocked { .. }
            | Self::OutsideLockSet { .. }
            | Self::BaseChanged { .. }
            | Self::Overtaken { .. }
            | Self::RunOvertaken { .. }
            | Self::InTheWay { .. }
            | Self::MergeConflict { .. }
            | Self::OperationInProgress { .. }
            | Self::Unmerged { .. }
            | Self::TargetMoved { .. }
            | Self::TargetElsewhere { .. } => Kind::Conflict,
            Self::GitBusy { .. } | Self::Space { .. } | Self::Disk(_) | Self::Provider { .. } => Kind::Failed,
            Self::Rejected { .. }
            | Self::ValidationFailed { .. }
            | Self::CommandFailed { .. }
            | Self::CopyReplaced { .. } => Kind::Rejected,
            Self::Damaged { .. } | Self::Stuck { .. } => Kind::Damaged,
            Self::Pending { .. } => Kind::Pending,
            Self::Undetermined { .. } => Kind::Unknown,
            Self::Config(error) => error.kind(),
            Self::Host(error) => error.kind(),
            Self::Hook(error) => error.kind(),
            Self::Undo(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Git(error) => error.kind(),
            Self::Workspace(error) => error.kind(),
        }
    }

    /// Says of a run what is said of a task that begins. `copies` is how many working copies there may be.
    pub(super) fn of_beginning(self, copies: u32) -> Self {
        let Self::Held { conflicts, waited } = self else {
            return self;
        };
        let is_copy = |conflict: &Conflict| {
            let resource = &conflict.resource;
            *resource == Resource::Pool(Pool::Worktrees) || resource.pool() == Some(Pool::Worktrees)
        };
        let only_copies = !conflicts.is_empty() && conflicts.iter().all(is_copy);
        Self::RunHeld {
            conflicts,
            waited,
            copies: only_copies.then_some(copies),
        }
    }

    /// Returns what is in the way, for errors that have it.
    pub fn conflicts(&self) -> &[Conflict] {
        match self {
            Self::Held { conflicts, .. }
            | Self::RunHeld { conflicts, .. }
            | Self::HookRefused { conflicts, .. } => conflicts,
            _ => &[],
        }
    }

    /// Returns the paths concerned, for errors that have them.
    pub fn paths(&self) -> Vec<RepoPath> {
        match self {
            Self::NotLocked { paths, .. }
            | Self::OutsideLockSet { paths, .. }
            | Self::BaseChanged { paths, .. }
            | Self::Overtaken { paths }
            | Self::RunOvertaken { paths }
            | Self::InTheWay { paths, .. }
            | Self::Unmerged { paths }
            | Self::Damaged { paths, .. } => paths.clone(),
            Self::MergeConflict { conflicts, .. } => {
                conflicts.iter().map(|conflict| conflict.path.clone()).collect()
            }
            Self::Unchangeable { path, .. } => vec![path.clone()],
            Self::Undo(error) => error.paths().to_vec(),
            _ => Vec::new(),
        }
    }
}
