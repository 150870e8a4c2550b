//! Repositories that a command has made in the working tree: git takes what lies in their directories for theirs.

use std::collections::BTreeSet;
use std::path::Path;

use crate::coordinator::in_place::claim::Claim;
use crate::coordinator::in_place::ignored::Ignored;
use crate::coordinator::in_place::kept::KeptMode;
use crate::coordinator::in_place::put_back;
use crate::coordinator::in_place::reach::{self, Reach};
use crate::coordinator::{Coordinator, Error, move_out};
use crate::disk::contained::Root;
use crate::disk::fault;
use crate::model::{Depth, RepoPath, Resource};

/// What makes a directory a repository.
const GIT: &str = ".git";

/// Returns those of `directories` that are repositories of their own.
pub(super) fn among(root: &Root, directories: &[KeptMode]) -> Result<BTreeSet<RepoPath>, Error> {
    let mut found = BTreeSet::new();
    for KeptMode { path, .. } in directories {
        if is_repository(root, path)? {
            found.insert(path.clone());
        }
    }
    Ok(found)
}

/// Moves to `out` what makes directories repositories that were none, where all that is in them is the run's.
pub(super) fn move_new(coordinator: &mut Coordinator, claim: &Claim, out: &Path) -> Result<(), Error> {
    let Some(were) = &claim.kept.repositories else {
        return Ok(());
    };
    let (root, locks) = (claim.root(coordinator)?, &claim.kept.locks);
    let ignored = Ignored::new(coordinator, &root, &claim.kept.ignored)?;
    for path in Reach::of(&root, locks, &ignored)?.directories.into_keys() {
        if were.contains(&path) || !is_repository(&root, &path)? {
            continue;
        }
        let whole = Resource::Directory(Some(path.clone()), Depth::Recursive);
        if claim.is_held_whole(coordinator, &whole)? {
            let moved = reach::with_open(&root, locks, &path, || match root.find(&path)? {
                Some((place, _)) => {
                    let git = place.enter()?.child(GIT);
                    fault::point("run.found");
                    move_out::move_below(&git, out, &path.as_path().join(GIT))
                }
                None => Ok(()),
            });
            match moved {
                Err(Error::Disk(error)) if put_back::is_for_good(&error) => {
                    tracing::warn!(%error, "a repository that the run has made is left");
                }
                answer => answer?,
            }
        }
    }
    Ok(())
}

fn is_repository(root: &Root, path: &RepoPath) -> Result<bool, Error> {
    Ok(reach::looked_at(|| root.contains_repository(path))?.unwrap_or(false))
}
