//! Lock sets that reach into another repository: nothing in there is ours to commit.

use std::collections::BTreeSet;

use crate::coordinator::{Coordinator, Error};
use crate::model::{LockSet, Mode, RepoPath, Resource};

/// Refuses write locks on what lies in a submodule or another repository below this one: nothing of it could be committed. The place of
/// the submodule itself can be locked: which commit it holds is a change like any other, for git.
pub(super) fn refuse_inside(coordinator: &Coordinator, locks: &LockSet) -> Result<(), Error> {
    let around = places(locks).iter().flat_map(RepoPath::ancestors).collect();
    refuse_repositories(coordinator, &around)
}

/// Refuses a lock set of which a run can change nothing at a place: what lies there belongs to another repository, and would come to
/// nothing without a word.
pub(super) fn refuse_unchangeable(coordinator: &Coordinator, locks: &LockSet) -> Result<(), Error> {
    refuse_repositories(coordinator, &places(locks))
}

/// Returns the files and directories that are locked for writing.
fn places(locks: &LockSet) -> BTreeSet<RepoPath> {
    let written = locks.iter().filter(|lock| lock.mode == Mode::Write);
    let paths = written.filter_map(|lock| match lock.resource {
        Resource::File(path) | Resource::Directory(Some(path), _) => Some(path),
        _ => None,
    });
    paths.collect()
}

fn refuse_repositories(coordinator: &Coordinator, paths: &BTreeSet<RepoPath>) -> Result<(), Error> {
    if coordinator.git.is_none() {
        return Ok(());
    }
    for path in paths {
        match coordinator.root.contains_repository(path) {
            Ok(true) => {
                let (path, reason) = (path.clone(), "it is a git repository of its own".to_owned());
                return Err(Error::Unchangeable { path, reason });
            }
            // A name to come may lie anywhere.
            Err(error) if !error.is_denied() => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
