//! Makes what a run in the working tree itself may have changed what it was before, as far as that is its own to do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::coordinator::error_text::with_causes;
use crate::coordinator::in_place;
use crate::coordinator::in_place::claim::Claim;
use crate::coordinator::in_place::committed::Committed;
use crate::coordinator::in_place::ignored::Ignored;
use crate::coordinator::in_place::kept::{Aside, Kept};
use crate::coordinator::in_place::reach::{self, Reach};
use crate::coordinator::{Coordinator, Error, move_out};
use crate::disk::contained::{self, FileKind, Parent, Root, Stat};
use crate::disk::{self, DiskError, exchange, fault, sync};
use crate::model::{Depth, RepoPath, Resource, shown};
use crate::store::Transaction;
use crate::workspace::present;

/// What came of putting back.
pub(super) struct Restored {
    /// The paths that differed, and are what they were.
    pub(super) changed: Vec<RepoPath>,
    /// Those that differ still, since they are not the run's to put back.
    pub(super) left: Vec<RepoPath>,
    /// Those that differ still, since it cannot be done, and why.
    pub(super) stuck: Vec<(RepoPath, String)>,
    /// Where is kept what these held, if they held anything.
    pub(super) before: Option<PathBuf>,
    /// What git has committed since, which stays.
    pub(super) committed: Committed,
}

/// Makes every covered path what it was; moves what is there instead to `out`. What cannot be moved or put back is left, and is in
/// nobody else's way; on a failure that may pass, the rest is put back all the same.
pub(super) fn restore(
    coordinator: &mut Coordinator,
    claim: &Claim,
    aside: &Aside,
    out: &Path,
) -> Result<Restored, Error> {
    let (root, locks) = (&claim.root(coordinator)?, &claim.kept.locks);
    let ignored = &Ignored::new(coordinator, root, &claim.kept.ignored)?;
    open_shut(coordinator, claim, root, ignored)?;
    let (mut paths, mut was_there) = differing(root, aside, claim.kept, ignored)?;
    let committed = Committed::among(coordinator, claim, root, &paths)?;
    committed.replace(root, aside, &mut was_there)?;
    paths.retain(|path| !committed.paths.contains(path));
    let wanted = wanted(coordinator, claim, root, &paths)?;
    fault::point("run.put-back.begin");
    let mut ours = claim.ours(coordinator, &wanted)?;
    let mut failures = Failures::default();
    // What is in the way of a directory, and what lies in a directory that is in the way, goes out first.
    for (path, resource) in wanted.iter().rev() {
        // Once more: between any two steps this process may stand still for as long as it takes to lose everything.
        let is_ours = ours.contains(path) && claim.is_still(coordinator, path, resource)?;
        let is_out = is_ours
            && failures.judge(path, require_copy(path, was_there.get(path)))
            && failures.judge(
                path,
                reach::with_open(root, locks, path, || move_out(root, path, resource, out)),
            )
            && !stands(root, path);
        if !is_out {
            ours.remove(path);
        }
    }
    fault::point("run.out");
    // What stays in the way of a directory is in the way of all that was in it.
    let stays: BTreeSet<&RepoPath> = wanted.keys().filter(|path| !ours.contains(path)).collect();
    ours.retain(|path| {
        !was_there.contains_key(path) || !path.ancestors().any(|above| stays.contains(&above))
    });
    for path in &ours.clone() {
        let put = || match was_there.get(path) {
            Some(copy) => bring_back(root, path, copy, &aside.kept.join("draft")),
            // A directory that was made for it.
            None => Ok(root.remove_empty_parents(path)?),
        };
        if !failures.judge(path, reach::with_open(root, locks, path, put)) {
            ours.remove(path);
        }
    }
    let Failures { stuck, passing } = failures;
    let rest: Vec<RepoPath> = wanted.into_keys().filter(|path| !ours.contains(path)).collect();
    if rest.is_empty() {
        remove_new_directories(root, claim.kept, ignored)?;
    }
    if !ours.is_empty() {
        // The copies are all there is of it, and they go with the transaction.
        sync::barrier(root.fd())?;
    }
    if let Some(error) = passing {
        return Err(error);
    }
    let before = keep_before(coordinator, claim.transaction, &rest, &was_there)?;
    let is_left = |path: &RepoPath| stuck.iter().all(|(other, _)| other != path);
    Ok(Restored {
        changed: ours.into_iter().collect(),
        left: rest.into_iter().filter(is_left).collect(),
        stuck,
        before,
        committed,
    })
}

/// What could not be done.
#[derive(Default)]
struct Failures {
    /// What will not be any better next time.
    stuck: Vec<(RepoPath, String)>,
    /// The first of those that may.
    passing: Option<Error>,
}

impl Failures {
    /// Tells whether something was done to a path.
    fn judge(&mut self, path: &RepoPath, answer: Result<(), Error>) -> bool {
        let Err(error) = answer else { return true };
        match error {
            Error::Unchangeable { reason, .. } => self.stuck.push((path.clone(), reason)),
            Error::Disk(ref disk) if is_for_good(disk) => {
                self.stuck.push((path.clone(), with_causes(&error)));
            }
            error => self.passing = self.passing.take().or(Some(error)),
        }
        false
    }
}

/// Tells whether the same act fails again: it is not allowed to us, or the name is that of a mounted file system.
pub(super) fn is_for_good(error: &DiskError) -> bool {
    use std::io::ErrorKind::{CrossesDevices, PermissionDenied, ResourceBusy};
    matches!(error.kind(), PermissionDenied | CrossesDevices | ResourceBusy)
}

/// Refuses to move away what could not be replaced by what was there.
fn require_copy(path: &RepoPath, copy: Option<&PathBuf>) -> Result<(), Error> {
    match copy {
        Some(copy) if contained::stat(copy)?.is_none() => Err(Error::Unchangeable {
            path: path.clone(),
            reason: format!("the copy of what was there, {}, is gone", shown(copy)),
        }),
        _ => Ok(()),
    }
}

/// Tells whether something that is not ours to move still has the name.
fn stands(root: &Root, path: &RepoPath) -> bool {
    matches!(root.find(path), Ok(Some(_)))
}

/// Finds what has to be nobody else's before each path is put back. A directory that has taken the place of a file goes as a whole only
/// where all that may be in it is the run's; otherwise what is in it goes one by one, and it stays while anything of others is in it.
fn wanted(
    coordinator: &mut Coordinator,
    claim: &Claim,
    root: &Root,
    paths: &BTreeSet<RepoPath>,
) -> Result<BTreeMap<RepoPath, Resource>, Error> {
    let mut wanted = BTreeMap::new();
    for path in paths {
        let mut resource = Resource::File(path.clone());
        if is_directory(root, path)? {
            let whole = Resource::Directory(Some(path.clone()), Depth::Recursive);
            if claim.is_held_whole(coordinator, &whole)? {
                resource = whole;
            } else {
                let inside = Reach::below(root, path)?.files.into_iter();
                wanted.extend(inside.map(|path| (path.clone(), Resource::File(path))));
            }
        }
        wanted.insert(path.clone(), resource);
    }
    Ok(wanted)
}

/// Finds what lies in directories that have taken the place of locked files.
pub(super) fn not_locked(root: &Root, kept: &Kept) -> Result<Vec<RepoPath>, Error> {
    let mut found = BTreeSet::new();
    for lock in &kept.locks {
        if let Resource::File(path) = lock {
            let inside = Reach::below(root, path)?.files.into_iter();
            found.extend(inside.filter(|path| !kept.locks.iter().any(|lock| lock.covers_path(path))));
        }
    }
    Ok(found.into_iter().collect())
}

/// Opens the directories that it made and let nobody look into.
fn open_shut(
    coordinator: &mut Coordinator,
    claim: &Claim,
    root: &Root,
    ignored: &Ignored,
) -> Result<(), Error> {
    let kept = claim.kept;
    let mut tried: BTreeSet<RepoPath> = kept.directories.iter().map(|known| known.path.clone()).collect();
    loop {
        let shut = Reach::of(root, &kept.locks, ignored)?;
        let shut = shut.shut().filter(|(path, _)| !tried.contains(*path));
        let shut: BTreeMap<RepoPath, Resource> = shut
            .map(|(path, _)| (path.clone(), Resource::File(path.clone())))
            .collect();
        if shut.is_empty() {
            return Ok(());
        }
        for path in claim.ours(coordinator, &shut)? {
            reach::open(root, &path);
        }
        tried.extend(shut.into_keys());
    }
}

/// Finds the paths that are not what they were, and the copies of all that were there.
fn differing(
    root: &Root,
    aside: &Aside,
    kept: &Kept,
    ignored: &Ignored,
) -> Result<(BTreeSet<RepoPath>, BTreeMap<RepoPath, PathBuf>), Error> {
    let mut all = Reach::of(root, &kept.locks, ignored)?.files;
    all.extend(kept.paths.iter().cloned());
    let was_there = copies(aside, kept);
    let mut differing = in_the_way(root, was_there.keys())?;
    for path in all {
        if !is_as_kept(root, &path, was_there.get(&path).map(PathBuf::as_path))? {
            differing.insert(path);
        }
    }
    Ok((differing, was_there))
}

/// Returns where the copy of each path is that was there.
pub(super) fn copies(aside: &Aside, kept: &Kept) -> BTreeMap<RepoPath, PathBuf> {
    let numbered = kept.paths.iter().enumerate();
    numbered
        .map(|(number, path)| (path.clone(), aside.kept.join(number.to_string())))
        .collect()
}

/// Removes the directories that were not there, the deepest first.
fn remove_new_directories(root: &Root, kept: &Kept, ignored: &Ignored) -> Result<(), Error> {
    let were: BTreeSet<&RepoPath> = kept.directories.iter().map(|known| &known.path).collect();
    for directory in Reach::of(root, &kept.locks, ignored)?
        .directories
        .into_keys()
        .rev()
    {
        if were.contains(&directory) {
            continue;
        }
        let removed = reach::with_open(root, &kept.locks, &directory, || {
            if let Some((place, _)) = root.find(&directory)? {
                place.remove_directory_if_empty()?;
            }
            Ok(())
        });
        match removed {
            Err(Error::Disk(error)) if is_for_good(&error) => {}
            answer => answer?,
        }
    }
    Ok(())
}

/// Keeps what was there before at paths that stay as they are: the copies go with the transaction.
pub(super) fn keep_before<'a>(
    coordinator: &Coordinator,
    transaction: &Transaction,
    left: impl IntoIterator<Item = &'a RepoPath>,
    was_there: &BTreeMap<RepoPath, PathBuf>,
) -> Result<Option<PathBuf>, Error> {
    let before = coordinator.layout.salvage_before(&transaction.id);
    let copies = left
        .into_iter()
        .filter_map(|path| Some((path, was_there.get(path)?)));
    let mut is_any = false;
    for (path, copy) in copies {
        let place = move_out::own(copy)?;
        let Some(stat) = place.stat()? else { continue };
        let target = before.join(path.as_path());
        disk::create_private_dir(&coordinator.layout.salvages())?;
        if let Some(above) = target.parent() {
            disk::create_dir_all(above)?;
        }
        in_place::copy(&place, &stat, &move_out::own(&target)?)?;
        is_any = true;
    }
    if !is_any {
        return Ok(None);
    }
    sync::barrier_at(&before)?;
    Ok(Some(before))
}

/// Finds what stands where a directory of one of `paths` was.
fn in_the_way<'a>(
    root: &Root,
    paths: impl Iterator<Item = &'a RepoPath>,
) -> Result<BTreeSet<RepoPath>, Error> {
    let above: BTreeSet<RepoPath> = paths.flat_map(RepoPath::ancestors).collect();
    let mut found = BTreeSet::new();
    for directory in above {
        if !is_directory(root, &directory)? && find(root, &directory)?.is_some() {
            found.insert(directory);
        }
    }
    Ok(found)
}

pub(super) fn is_directory(root: &Root, path: &RepoPath) -> Result<bool, Error> {
    let found = find(root, path)?;
    Ok(found.is_some_and(|(_, stat)| stat.kind == FileKind::Directory))
}

/// Looks at a path. Where we may not, nothing is there.
pub(super) fn find(root: &Root, path: &RepoPath) -> Result<Option<(Parent, Stat)>, Error> {
    Ok(reach::looked_at(|| root.find(path))?.flatten())
}

/// Tells whether a path holds what it held. Where we may not look, it does not.
fn is_as_kept(root: &Root, path: &RepoPath, kept: Option<&Path>) -> Result<bool, Error> {
    let present = root
        .find(path)
        .map_err(Error::from)
        .and_then(|found| match found {
            Some((place, stat)) => Ok(present::entry_of(&place, &stat)?),
            None => Ok(None),
        });
    let present = match present {
        Err(Error::Disk(error)) if is_for_good(&error) => return Ok(false),
        answer => answer?,
    };
    let Some(kept) = kept else {
        return Ok(present.is_none());
    };
    let place = move_out::own(kept)?;
    let was = match place.stat()? {
        Some(stat) => present::entry_of(&place, &stat)?,
        None => None,
    };
    Ok(present == was && present.is_some())
}

/// Moves what is at `path`, if anything, to the same path below `out`. A directory that is not ours as a whole is only removed, and
/// stays if anything is in it.
fn move_out(root: &Root, path: &RepoPath, resource: &Resource, out: &Path) -> Result<(), Error> {
    let Some((place, stat)) = root.find(path)? else {
        return Ok(());
    };
    if stat.kind == FileKind::Directory {
        if !matches!(resource, Resource::Directory(..)) {
            for below in Reach::below(root, path)?.directories.into_keys().rev() {
                if let Some((place, _)) = root.find(&below)? {
                    place.remove_directory_if_empty()?;
                }
            }
            return Ok(());
        }
        if place.remove_directory_if_empty()? {
            return Ok(());
        }
    }
    fault::point("run.found");
    move_out::move_below(&place, out, path.as_path())
}

/// Puts a copy of the pre-image where it was. Whoever has made something there in the meantime keeps it: the next recovery
/// moves it out first.
fn bring_back(root: &Root, path: &RepoPath, kept: &Path, draft: &Path) -> Result<(), Error> {
    let (kept, draft) = (move_out::own(kept)?, move_out::own(draft)?);
    let stat = kept
        .stat()?
        .ok_or_else(|| DiskError::contended("copying", kept.path()))?;
    in_place::copy(&kept, &stat, &draft)?;
    Ok(exchange::rename_noreplace(&draft, &root.make_parents(path)?)?)
}
