//! Makes what a run in the working tree itself may have changed what it was before, as far as that is its own to do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::coordinator::in_place::{self, Aside, Kept, KeptDirectory};
use crate::coordinator::whose::{self, Who};
use crate::coordinator::{Coordinator, Error};
use crate::disk::contained::{Dir, FileKind, Parent, Root};
use crate::disk::{self, exchange, fault, metadata, sync};
use crate::model::{Depth, RepoPath, Resource};
use crate::store::Transaction;
use crate::workspace::present;

/// The part of a mode that says who may do what.
pub(super) const PERMISSIONS: u32 = 0o7777;

/// What came of putting back.
pub(super) struct Restored {
    /// The paths that differed, and are what they were.
    pub(super) changed: Vec<RepoPath>,
    /// Those that differ still, since they are not the run's to put back.
    pub(super) left: Vec<RepoPath>,
    /// Where is kept what these held, if they held anything.
    pub(super) before: Option<PathBuf>,
}

/// Makes every covered path what it was; moves what is there instead to `out`.
pub(super) fn restore(
    coordinator: &mut Coordinator,
    who: Who,
    transaction: &Transaction,
    aside: &Aside,
    kept: &Kept,
    out: &Path,
) -> Result<Restored, Error> {
    let root = &root_of(coordinator, kept)?;
    let (paths, was_there) = differing(coordinator, root, aside, kept)?;
    let wanted = paths
        .iter()
        .map(|path| Ok((path.clone(), resource_of(root, path)?)));
    let wanted: BTreeMap<RepoPath, Resource> = wanted.collect::<Result<_, Error>>()?;
    let mut ours = whose::ours(coordinator, who, transaction, kept, &wanted)?;
    // What is in the way of a directory, and what lies in a directory that is in the way, goes out first.
    for path in paths.iter().rev() {
        // Once more: between any two steps this process may stand still for as long as it takes to lose everything.
        if ours.contains(path) && !whose::is_still(coordinator, who, transaction, kept, path, &wanted[path])?
        {
            ours.remove(path);
        }
        if ours.contains(path) {
            move_out(root, path, out)?;
        }
    }
    fault::point("run.out");
    for path in &ours {
        if let Some(copy) = was_there.get(path) {
            bring_back(root, path, copy, &aside.kept.join("draft"))?;
        } else {
            // A directory that was made for it.
            root.remove_empty_parents(path)?;
        }
    }
    let left: Vec<RepoPath> = paths.into_iter().filter(|path| !ours.contains(path)).collect();
    if left.is_empty() {
        remove_new_directories(root, kept)?;
    }
    let before = keep_before(coordinator, transaction, &left, &was_there)?;
    if !ours.is_empty() {
        // The copies are all there is of it, and they go with the transaction.
        sync::barrier(root.fd())?;
    }
    let changed = ours.into_iter().collect();
    Ok(Restored {
        changed,
        left,
        before,
    })
}

fn root_of(coordinator: &Coordinator, kept: &Kept) -> Result<Root, Error> {
    Ok(Root::open(&coordinator.layout.root().join(&kept.root))?)
}

/// Finds the paths that are not what they were, and the copies of all that were there.
fn differing(
    coordinator: &Coordinator,
    root: &Root,
    aside: &Aside,
    kept: &Kept,
) -> Result<(BTreeSet<RepoPath>, BTreeMap<RepoPath, PathBuf>), Error> {
    let mut all: BTreeSet<RepoPath> = in_place::covered(coordinator, root, &kept.locks)?
        .into_iter()
        .collect();
    all.extend(kept.paths.iter().cloned());
    let numbered = kept.paths.iter().enumerate();
    let was_there: BTreeMap<RepoPath, PathBuf> = numbered
        .map(|(number, path)| (path.clone(), aside.kept.join(number.to_string())))
        .collect();
    let mut differing = in_the_way(root, was_there.keys())?;
    for path in all {
        if !is_as_kept(root, &path, was_there.get(&path).map(PathBuf::as_path))? {
            differing.insert(path);
        }
    }
    Ok((differing, was_there))
}

/// Returns what has to be nobody else's before what is at `path` may be moved: a directory goes with all that is in it.
fn resource_of(root: &Root, path: &RepoPath) -> Result<Resource, Error> {
    Ok(if is_directory(root, path)? {
        Resource::Directory(Some(path.clone()), Depth::Recursive)
    } else {
        Resource::File(path.clone())
    })
}

/// Removes the directories that were not there, the deepest first.
fn remove_new_directories(root: &Root, kept: &Kept) -> Result<(), Error> {
    let were: BTreeSet<&RepoPath> = kept.directories.iter().map(|known| &known.path).collect();
    for directory in in_place::directories(root, &kept.locks)?.into_iter().rev() {
        if !were.contains(&directory)
            && let Some((place, _)) = root.find(&directory)?
        {
            place.remove_directory_if_empty()?;
        }
    }
    Ok(())
}

/// Keeps what was there before at paths that stay as they are: the copies go with the transaction.
fn keep_before(
    coordinator: &Coordinator,
    transaction: &Transaction,
    left: &[RepoPath],
    was_there: &BTreeMap<RepoPath, PathBuf>,
) -> Result<Option<PathBuf>, Error> {
    let before = coordinator.layout.salvage_before(&transaction.id);
    let copies = left.iter().filter_map(|path| Some((path, was_there.get(path)?)));
    let mut is_any = false;
    for (path, copy) in copies {
        let target = before.join(path.as_path());
        disk::create_private_dir(&coordinator.layout.salvages())?;
        if let Some(above) = target.parent() {
            disk::create_dir_all(above)?;
        }
        in_place::copy(copy, &target)?;
        is_any = true;
    }
    if !is_any {
        return Ok(None);
    }
    sync::barrier_at(&before)?;
    Ok(Some(before))
}

/// Gives directories the permissions that they had.
pub(super) fn modes(
    coordinator: &mut Coordinator,
    who: Who,
    transaction: &Transaction,
    kept: &Kept,
) -> Result<(), Error> {
    let found = chmodded(coordinator, kept)?;
    if found.is_empty() {
        return Ok(());
    }
    let wanted = found
        .iter()
        .map(|known| (known.path.clone(), Resource::File(known.path.clone())));
    let ours = whose::ours(coordinator, who, transaction, kept, &wanted.collect())?;
    let root = root_of(coordinator, kept)?;
    for known in found.iter().filter(|known| ours.contains(&known.path)) {
        if let Some((place, _)) = root.find(&known.path)? {
            metadata::set_directory_mode(&place, known.mode)?;
        }
    }
    Ok(())
}

/// Finds the directories that have not the permissions that they had, the highest first. Each comes with those that it has.
pub(super) fn chmodded(coordinator: &Coordinator, kept: &Kept) -> Result<Vec<KeptDirectory>, Error> {
    let root = root_of(coordinator, kept)?;
    let mut found = Vec::new();
    for known in &kept.directories {
        let now = root.find(&known.path)?.map(|(_, stat)| stat);
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

/// Finds what stands where a directory of one of `paths` was.
fn in_the_way<'a>(
    root: &Root,
    paths: impl Iterator<Item = &'a RepoPath>,
) -> Result<BTreeSet<RepoPath>, Error> {
    let above: BTreeSet<RepoPath> = paths.flat_map(RepoPath::ancestors).collect();
    let mut found = BTreeSet::new();
    for directory in above {
        if !is_directory(root, &directory)? && root.find(&directory)?.is_some() {
            found.insert(directory);
        }
    }
    Ok(found)
}

pub(super) fn is_directory(root: &Root, path: &RepoPath) -> Result<bool, Error> {
    let found = root.find(path)?;
    Ok(found.is_some_and(|(_, stat)| stat.kind == FileKind::Directory))
}

fn is_as_kept(root: &Root, path: &RepoPath, kept: Option<&Path>) -> Result<bool, Error> {
    let present = match root.find(path) {
        Ok(Some((place, stat))) => present::entry_of(&place, &stat)?,
        Ok(None) => None,
        // A file or a link stands where its directory was.
        Err(error) if error.is_wrong_kind() => None,
        Err(error) => return Err(error.into()),
    };
    let Some(kept) = kept else {
        return Ok(present.is_none());
    };
    let place = place_of(kept)?;
    let was = match place.stat()? {
        Some(stat) => present::entry_of(&place, &stat)?,
        None => None,
    };
    Ok(present == was && present.is_some())
}

/// Opens the place of one of our own files.
fn place_of(path: &Path) -> Result<Parent, Error> {
    let (above, name) = (
        path.parent().unwrap_or(path),
        path.file_name().unwrap_or_default(),
    );
    Ok(Dir::open(above)?.child(&name.to_string_lossy()))
}

/// Moves what is at `path`, if anything, to the same path below `out`.
fn move_out(root: &Root, path: &RepoPath, out: &Path) -> Result<(), Error> {
    let found = match root.find(path) {
        Ok(found) => found,
        Err(error) if error.is_wrong_kind() => None,
        Err(error) => return Err(error.into()),
    };
    let Some((place, stat)) = found else {
        return Ok(());
    };
    if stat.kind == FileKind::Directory && place.remove_directory_if_empty()? {
        return Ok(());
    }
    let target = out.join(path.as_path());
    if let Some(above) = target.parent() {
        disk::create_dir_all(above)?;
    }
    disk::remove_any(&target)?;
    Ok(disk::rename(place.path(), &target)?)
}

/// Puts a copy of the pre-image where it was. Whoever has made something there in the meantime keeps it: the next recovery
/// moves it out first.
fn bring_back(root: &Root, path: &RepoPath, kept: &Path, draft: &Path) -> Result<(), Error> {
    in_place::copy(kept, draft)?;
    let draft = place_of(draft)?;
    Ok(exchange::rename_noreplace(&draft, &root.make_parents(path)?)?)
}
