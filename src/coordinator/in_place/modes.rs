//! The permissions of directories, which a run in the working tree itself may have changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::coordinator::in_place::claim::Claim;
use crate::coordinator::in_place::kept::{Kept, KeptDirectory};
use crate::coordinator::in_place::put_back::{find, is_for_good};
use crate::coordinator::{Coordinator, Error};
use crate::disk::contained::{FileKind, Root};
use crate::disk::{metadata, sync};
use crate::model::{RepoPath, Resource};

/// The part of a mode that says who may do what.
const PERMISSIONS: u32 = 0o7777;

/// Gives directories the permissions that they had, the highest first: they let us look at those below.
pub(super) fn put_back(coordinator: &mut Coordinator, claim: &Claim) -> Result<(), Error> {
    let root = claim.root(coordinator)?;
    let mut tried = BTreeSet::new();
    loop {
        let mut found = chmodded(&root, claim.kept)?;
        found.retain(|known| !tried.contains(&known.path));
        if found.is_empty() {
            return Ok(());
        }
        let wanted = found
            .iter()
            .map(|known| (known.path.clone(), Resource::File(known.path.clone())));
        let ours = claim.ours(coordinator, &wanted.collect())?;
        for known in found.iter().filter(|known| ours.contains(&known.path)) {
            let Some((place, _)) = find(&root, &known.path)? else {
                continue;
            };
            let set = || metadata::set_directory_mode(&place, known.mode);
            match set().or_else(|_| set()) {
                // It is somebody else's by now.
                Err(error) if is_for_good(&error) => {
                    tracing::warn!(%error, "the permissions of a directory are left as they are");
                }
                answer => answer?,
            }
        }
        tried.extend(found.into_iter().map(|known| known.path));
    }
}

/// Makes the directories anew that are gone, even though nothing was in them.
pub(super) fn make_missing(coordinator: &mut Coordinator, claim: &Claim) -> Result<(), Error> {
    let root = claim.root(coordinator)?;
    let mut gone = BTreeMap::new();
    for KeptDirectory { path, .. } in &claim.kept.directories {
        if find(&root, path)?.is_none() {
            gone.insert(path.clone(), Resource::File(path.clone()));
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    for path in claim.ours(coordinator, &gone)? {
        match root.make_parents(&path.join(b"in it")?) {
            // Something that was left stands in its place.
            Err(error) if error.is_wrong_kind() || is_for_good(&error) => {}
            answer => drop(answer?),
        }
    }
    Ok(sync::barrier(root.fd())?)
}

/// Finds the directories that have not the permissions that they had, the highest first. Each comes with those that it has.
pub(super) fn chmodded(root: &Root, kept: &Kept) -> Result<Vec<KeptDirectory>, Error> {
    let mut found = Vec::new();
    for known in &kept.directories {
        let now = find(root, &known.path)?.map(|(_, stat)| stat);
        let Some(now) = now.filter(|now| now.kind == FileKind::Directory) else {
            continue;
        };
        let now = now.mode & PERMISSIONS;
        if now != known.mode && known.left.is_none_or(|left| left == now) {
            found.push(KeptDirectory {
                left: Some(now),
                ..known.clone()
            });
        }
    }
    Ok(found)
}

/// Returns those of `paths` that are directories, with their permissions.
pub(super) fn of(root: &Root, paths: &BTreeSet<RepoPath>) -> Result<Vec<KeptDirectory>, Error> {
    let mut found = Vec::with_capacity(paths.len());
    for path in paths {
        if let Some((_, stat)) = root.find(path)?
            && stat.kind == FileKind::Directory
        {
            found.push(KeptDirectory {
                path: path.clone(),
                mode: stat.mode & PERMISSIONS,
                left: None,
            });
        }
    }
    Ok(found)
}
