//! Why a run comes to nothing. Its task is gone by then, so nothing that could be done to a task helps.

use std::path::PathBuf;
use std::time::Duration;

use crate::coordinator::Error;
use crate::coordinator::error_text::{
    held_text, merge_list, path_list, places_text, processes_text, run_held_text,
};
use crate::git::MergeConflict;
use crate::model::{Conflict, Kind, Pool, RepoPath, Resource, TaskId, TransactionId, shown};

/// Why a run comes to nothing. It is rolled back.
#[derive(Debug, thiserror::Error)]
pub enum RunRefusal {
    /// Others hold what it asked for.
    #[error("{}", run_held_text(conflicts, *waited, *copies))]
    Held {
        /// What is in the way.
        conflicts: Vec<Conflict>,
        /// How long it waited before its time ran out; `None` when it did not wait.
        waited: Option<Duration>,
        /// How many working copies there may be, if only they are in the way.
        copies: Option<u32>,
    },
    /// Others hold what it has changed outside its lock set.
    #[error("What it has changed on the way, {}", held_text(conflicts, None))]
    GrowthHeld {
        /// What is in the way.
        conflicts: Vec<Conflict>,
    },
    /// Others have its locks, or somebody has rolled its task back.
    #[error(
        "The run {task} lost its locks: they were taken by force or given back under it, or their time ran out; it is rolled back"
    )]
    Lost {
        /// The task.
        task: TaskId,
    },
    /// Somebody interrupted it before its commit was decided.
    #[error(
        "The run {task} was interrupted before its commit was decided: it is rolled back, and nothing is committed"
    )]
    Interrupted {
        /// The task.
        task: TaskId,
    },
    /// It changed what it has not locked.
    #[error("The run {task} changed what it has not locked: {}", path_list(paths))]
    OutsideLockSet {
        /// The task.
        task: TaskId,
        /// The paths.
        paths: Vec<RepoPath>,
    },
    /// The working tree does not hold what it began from.
    #[error(
        "Changed in the working tree, before or while it was worked on in a copy: {}",
        path_list(paths)
    )]
    Overtaken {
        /// The paths.
        paths: Vec<RepoPath>,
    },
    /// Others have committed what it did not begin from.
    #[error("Others have committed to it since this run began: {}", path_list(paths))]
    CommittedSince {
        /// The paths.
        paths: Vec<RepoPath>,
    },
    /// Something else is checked out than what it began from.
    #[error(
        "What is checked out has changed since this run began, and with it: {}",
        path_list(paths)
    )]
    SwitchedSince {
        /// The paths.
        paths: Vec<RepoPath>,
    },
    /// The target moved, and both sides changed the same thing.
    #[error("Merging the changes into {target} conflicts in {}", merge_list(conflicts))]
    MergeConflict {
        /// The target.
        target: String,
        /// What conflicts.
        conflicts: Vec<MergeConflict>,
    },
    /// What would be committed from inside the working copy of a run would be on no branch.
    #[error(
        "{} is the working copy of a run: what is changed in it is committed when its command ends",
        shown(path)
    )]
    Inside {
        /// The working copy.
        path: PathBuf,
        /// Where the repository itself is.
        root: PathBuf,
    },
    /// A run commits by itself.
    #[error("{task} is a run that goes on: what it has changed is committed when its command ends")]
    GoesOn {
        /// The task.
        task: TaskId,
    },
    /// What a killed run in the working tree itself has changed is there still.
    #[error("What the killed run {task} has changed in the working tree is not put back yet: {reason}")]
    NotPutBack {
        /// Its task.
        task: TaskId,
        /// Why not.
        reason: String,
    },
    /// The work failed, and what it has changed in the working tree itself is there still.
    #[error(
        "The work of the run {task} failed, and what it has changed in the working tree is not put back yet: {reason}"
    )]
    NotRolledBack {
        /// The task.
        task: TaskId,
        /// Why not.
        reason: String,
    },
    /// A run in the working tree itself that is to end, and stands still.
    #[error(
        "The run {task} stands still: its locks are given back, but what it has changed in the working tree is put back only when its process goes on or is killed"
    )]
    StandsStill {
        /// The task.
        task: TaskId,
    },
    /// Something that was started will not end, not even by `KILL`.
    #[error("What {transaction} has started cannot be ended: {}", processes_text(pids))]
    Unstoppable {
        /// What it was started for.
        transaction: TransactionId,
        /// The processes.
        pids: Vec<u32>,
    },
    /// There is no such program.
    #[error(
        "The program {program} was not found{}; the run is rolled back",
        places_text(places)
    )]
    NotFound {
        /// What was asked for.
        program: String,
        /// Where it was looked for; nowhere but in the directories of `PATH` if nothing is named.
        places: Vec<PathBuf>,
    },
    /// The command left nothing that its changes could be taken from.
    #[error(
        "The command has not left the working copy in its place: {} {what}; it is rolled back",
        shown(path)
    )]
    CopyReplaced {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl RunRefusal {
    /// Returns what kind of failure this is.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Held { .. }
            | Self::GrowthHeld { .. }
            | Self::NotPutBack { .. }
            | Self::StandsStill { .. } => Kind::Held,
            Self::Lost { .. } => Kind::Lost,
            Self::Interrupted { .. } => Kind::Interrupted,
            Self::OutsideLockSet { .. }
            | Self::Overtaken { .. }
            | Self::CommittedSince { .. }
            | Self::SwitchedSince { .. }
            | Self::MergeConflict { .. } => Kind::Conflict,
            Self::NotFound { .. } | Self::CopyReplaced { .. } | Self::NotRolledBack { .. } => Kind::Rejected,
            Self::Unstoppable { .. } => Kind::Failed,
            Self::Inside { .. } | Self::GoesOn { .. } => Kind::Usage,
        }
    }

    /// Returns what is in the way, if anything is.
    pub(super) fn conflicts(&self) -> &[Conflict] {
        match self {
            Self::Held { conflicts, .. } | Self::GrowthHeld { conflicts } => conflicts,
            _ => &[],
        }
    }

    /// Returns the paths concerned.
    pub(super) fn paths(&self) -> Vec<RepoPath> {
        match self {
            Self::OutsideLockSet { paths, .. }
            | Self::Overtaken { paths }
            | Self::CommittedSince { paths }
            | Self::SwitchedSince { paths } => paths.clone(),
            Self::MergeConflict { conflicts, .. } => {
                conflicts.iter().map(|conflict| conflict.path.clone()).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Error {
    /// Says of a run what is said of a task that begins. `copies` is how many working copies there may be.
    pub(super) fn of_beginning(self, copies: u32) -> Self {
        let (conflicts, waited) = match self {
            Self::Held { conflicts, waited } => (conflicts, waited),
            other => return other.of_run(),
        };
        let is_copy = |conflict: &Conflict| {
            let resource = &conflict.resource;
            *resource == Resource::Pool(Pool::Worktrees) || resource.pool() == Some(Pool::Worktrees)
        };
        let only_copies = !conflicts.is_empty() && conflicts.iter().all(is_copy);
        let copies = only_copies.then_some(copies);
        RunRefusal::Held {
            conflicts,
            waited,
            copies,
        }
        .into()
    }

    /// Says of a run what is said of staging and committing by hand.
    pub(super) fn of_work(self) -> Self {
        match self {
            Self::NotLocked { task, paths } => RunRefusal::OutsideLockSet { task, paths }.into(),
            Self::BaseChanged { paths, .. } => RunRefusal::Overtaken { paths }.into(),
            Self::Held { conflicts, .. } => RunRefusal::GrowthHeld { conflicts }.into(),
            Self::MergeConflict {
                target, conflicts, ..
            } => RunRefusal::MergeConflict { target, conflicts }.into(),
            // It was rolled back by name.
            Self::UnknownTask { task } | Self::NoTransaction { task } => RunRefusal::Lost { task }.into(),
            other => other.of_run(),
        }
    }

    /// Says of a run what is said of a task that goes on.
    pub(super) fn of_run(self) -> Self {
        match self {
            Self::Lost { task } => RunRefusal::Lost { task }.into(),
            Self::Interrupted { task } => RunRefusal::Interrupted { task }.into(),
            other => other,
        }
    }
}
