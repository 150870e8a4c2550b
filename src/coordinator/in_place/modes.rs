//! The permissions of directories and files, which a run in the working tree itself may have changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::coordinator::in_place::claim::Claim;
use crate::coordinator::in_place::kept::{Kept, KeptMode};
use crate::coordinator::in_place::put_back::{find, is_for_good};
use crate::coordinator::{Coordinator, Error};
use crate::disk::contained::{FileKind, Parent, Root, Stat};
use crate::disk::{DiskError, metadata, sync};
use crate::model::{RepoPath, Resource};

/// The part of a mode that says who may do what.
const PERMISSIONS: u32 = 0o7777;

/// Gives directories the permissions that they had, the highest first: they let us look at those below. Then the files.
pub(super) fn put_back(coordinator: &mut Coordinator, claim: &Claim) -> Result<(), Error> {
    let root = claim.root(coordinator)?;
    let mut tried = BTreeSet::new();
    loop {
        let (mut found, files) = chmodded(&root, claim.kept)?;
        // What git records is part of the content.
        let is_same_to_git =
            |known: &KeptMode| known.left.is_none_or(|left| left & 0o100 == known.mode & 0o100);
        found.extend(files.into_iter().filter(is_same_to_git));
        found.retain(|known| !tried.contains(&known.path));
        if found.is_empty() {
            return Ok(());
        }
        let wanted = found
            .iter()
            .map(|known| (known.path.clone(), Resource::File(known.path.clone())));
        let ours = claim.ours(coordinator, &wanted.collect())?;
        for known in found.iter().filter(|known| ours.contains(&known.path)) {
            let Some((place, stat)) = find(&root, &known.path)? else {
                continue;
            };
            let set = || give_back(&place, &stat, known);
            match set().or_else(|_| set()) {
                // It is somebody else's by now.
                Err(error) if is_for_good(&error) => {
                    tracing::warn!(%error, "permissions are left as they are");
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
    for KeptMode { path, .. } in &claim.kept.directories {
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

fn give_back(place: &Parent, now: &Stat, known: &KeptMode) -> Result<(), DiskError> {
    if now.kind == FileKind::Directory {
        return metadata::set_directory_mode(place, known.mode);
    }
    // First: it takes permissions away.
    if let Some(owner) = known.owner.filter(|owner| *owner != (now.uid, now.gid)) {
        metadata::set_owner(place, owner)?;
    }
    metadata::set_file_mode(place, known.mode)
}

/// Finds the directories, and the files, that have not the permissions that they had, the highest first. Each comes with those that
/// it has.
pub(super) fn chmodded(root: &Root, kept: &Kept) -> Result<(Vec<KeptMode>, Vec<KeptMode>), Error> {
    let differing = |known: &[KeptMode], kind: FileKind| {
        let mut found = Vec::new();
        for known in known {
            let now = find(root, &known.path)?.map(|(_, stat)| stat);
            let Some(now) = now.filter(|now| now.kind == kind) else {
                continue;
            };
            let mode = now.mode & PERMISSIONS;
            let is_same = mode == known.mode && known.owner.is_none_or(|owner| owner == (now.uid, now.gid));
            if !is_same && known.left.is_none_or(|left| left == mode) {
                found.push(KeptMode {
                    left: Some(mode),
                    ..known.clone()
                });
            }
        }
        Ok::<_, Error>(found)
    };
    Ok((
        differing(&kept.directories, FileKind::Directory)?,
        differing(&kept.files, FileKind::File)?,
    ))
}

/// Gives a file that a run has changed, and that is what it was by now, the permissions that the run has left it with: what replaces
/// it gets them. Git's own is part of the change.
pub(super) fn leave(root: &Root, file: &mut KeptMode) -> Result<(), Error> {
    let Some(left) = file.left.map(|left| left & 0o777) else {
        return Ok(());
    };
    let is_same_to_git = left & 0o100 == file.mode & 0o100;
    let left = if is_same_to_git {
        left
    } else {
        left & !0o111 | file.mode & 0o111
    };
    file.left = Some(left);
    if let Some((place, stat)) = root.find(&file.path)?
        && stat.kind == FileKind::File
        && stat.mode & PERMISSIONS != left
    {
        metadata::set_file_mode(&place, left)?;
    }
    Ok(())
}

/// Returns the permissions of a file, and its owner if the copy of it could be given to them.
pub(super) fn of_file(path: &RepoPath, stat: &Stat, copy: Option<&Stat>) -> KeptMode {
    let owner = (stat.uid, stat.gid);
    KeptMode {
        path: path.clone(),
        mode: stat.mode & PERMISSIONS,
        left: None,
        owner: copy
            .is_some_and(|copy| (copy.uid, copy.gid) == owner)
            .then_some(owner),
    }
}

/// Returns those of `paths` that are directories, with their permissions.
pub(super) fn of(root: &Root, paths: &BTreeSet<RepoPath>) -> Result<Vec<KeptMode>, Error> {
    let mut found = Vec::with_capacity(paths.len());
    for path in paths {
        if let Some((_, stat)) = root.find(path)?
            && stat.kind == FileKind::Directory
        {
            found.push(KeptMode {
                path: path.clone(),
                mode: stat.mode & PERMISSIONS,
                left: None,
                owner: None,
            });
        }
    }
    Ok(found)
}
