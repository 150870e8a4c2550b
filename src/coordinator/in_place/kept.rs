//! What a run in the working tree itself has kept aside before it began to work.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::coordinator::{Coordinator, Error};
use crate::disk::{self, staged};
use crate::model::{ObjectId, RepoPath, Resource, TaskId, Token, TransactionId, shown};

/// What was there when the run began. It stands for itself: whoever puts it back has nothing else to go by.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The working tree, seen from the main one.
    pub(super) root: PathBuf,
    /// What the run may write.
    pub(super) locks: Vec<Resource>,
    /// The fencing number of its grant: whoever has a newer one had the locks after it.
    pub(super) token: Token,
    /// What was checked out.
    pub(super) head: Option<ObjectId>,
    /// The paths that were there; the copy of each is named after its place in here.
    pub(super) paths: Vec<RepoPath>,
    /// The directories that were there.
    pub(super) directories: Vec<KeptMode>,
    /// The files among `paths`, where whoever kept it knew their permissions.
    #[serde(default)]
    pub(super) files: Vec<KeptMode>,
    /// The directories that were repositories of their own, where whoever kept it knew.
    #[serde(default)]
    pub(super) repositories: Option<BTreeSet<RepoPath>>,
    /// What git ignored; a directory stands for all that is in it. None of it is the run's, whatever the rules say by the time that
    /// it ends.
    #[serde(default)]
    pub(super) ignored: BTreeSet<RepoPath>,
}

/// The permissions of a directory or a file that was there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptMode {
    pub(super) path: RepoPath,
    pub(super) mode: u32,
    /// The permissions that a run has left it with that ended well. Whatever else it has by now is not the run's.
    pub(super) left: Option<u32>,
    /// The user and the group that a file belongs to, if we may give it to them.
    #[serde(default)]
    pub(super) owner: Option<(u32, u32)>,
}

/// Where a run's pre-images lie.
pub(super) struct Aside {
    /// The copies, and the list of them.
    pub(super) kept: PathBuf,
    /// What was taken out of the tree.
    pub(super) taken: PathBuf,
}

impl Aside {
    pub(super) fn of(coordinator: &Coordinator, transaction: &TransactionId) -> Self {
        let directory = coordinator.layout.transaction(transaction);
        Self {
            kept: directory.path().join("kept"),
            taken: directory.path().join("taken"),
        }
    }

    /// The list is written last: without it nothing was kept, and the run had not begun to work.
    pub(super) fn list(&self) -> PathBuf {
        self.kept.join("list")
    }

    /// The list of the directories that are not as they were, once everything else is.
    pub(super) fn directories(&self) -> PathBuf {
        self.kept.join("directories")
    }

    /// The tasks that have got what the run had locked while it lived.
    fn overtakers(&self) -> PathBuf {
        self.kept.join("overtakers")
    }

    pub(super) fn read(list: &Path) -> Result<Option<Kept>, Error> {
        let Some(bytes) = disk::read_if_there(list)? else {
            return Ok(None);
        };
        let kept = serde_json::from_slice(&bytes).map_err(|error| Error::Stuck {
            transaction: None,
            reason: format!("{} is damaged: {error}", shown(list)),
        })?;
        Ok(Some(kept))
    }
}

impl Kept {
    pub(super) fn write(&self, list: &Path) -> Result<(), Error> {
        let bytes = serde_json::to_vec(self).map_err(|_| {
            Error::Usage("The name of the working tree is not UTF-8: a run cannot work in place".to_owned())
        })?;
        Ok(staged::persist(list, &bytes, 0o600)?)
    }
}

/// Notes that a task was granted what a run has locked that lives. No lease outlives a boot, so it need not be durable.
pub(in crate::coordinator) fn note_overtaker(
    coordinator: &Coordinator,
    run: &TransactionId,
    task: &TaskId,
) -> Result<(), Error> {
    let path = Aside::of(coordinator, run).overtakers();
    match disk::append(&path, format!("{task}\n").as_bytes()) {
        // It has put everything back meanwhile.
        Err(error) if error.is_not_found() => Ok(()),
        noted => Ok(noted?),
    }
}

/// Lists them.
pub(super) fn overtakers(coordinator: &Coordinator, run: &TransactionId) -> Result<BTreeSet<TaskId>, Error> {
    let noted = disk::read_if_there(&Aside::of(coordinator, run).overtakers())?.unwrap_or_default();
    let lines = String::from_utf8_lossy(&noted);
    Ok(lines.lines().filter_map(|line| TaskId::new(line).ok()).collect())
}
