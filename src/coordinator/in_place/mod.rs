//! Runs that work in the working tree itself: what their write locks cover is kept aside first, and put back.
//!
//! Even a run that ends well gets its commit the usual way: what it changed is taken out of the tree, what was there is put
//! back, and the commit brings the changes in, all of them or none. So a kill at any instant leaves what was there before,
//! as soon as the next command has put it back. Files that git ignores are the run's own affair: they are neither kept nor
//! taken.

mod claim;
mod committed;
mod ignored;
mod kept;
mod modes;
mod put_back;
mod reach;
mod repositories;
mod survey;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

pub(super) use claim::Who;
pub(super) use kept::note_overtaker;

use claim::Claim;
use ignored::Ignored;
use kept::{Aside, Kept, KeptMode};
use put_back::Restored;
use survey::Survey;

use crate::coordinator::error_text::path_list;
use crate::coordinator::{Begun, Coordinator, Error, Observer, StageRequest, StageWhat, move_out};
use crate::disk::contained::{self, Dir, FileKind, Parent, Root, Stat};
use crate::disk::{self, fault, staged, sync};
use crate::git::Git;
use crate::model::{Change, Lock, Mode, RepoPath, Resource, TransactionId, overlap, shown};
use crate::store::Transaction;

/// Keeps a copy of everything that the write locks of a run cover, durably, before it begins to work.
pub(super) fn keep(coordinator: &Coordinator, begun: &Begun) -> Result<(), Error> {
    let aside = Aside::of(coordinator, &begun.transaction.id);
    disk::create_dir_all(&aside.kept)?;
    let locks: Vec<Resource> = begun
        .task
        .locks
        .iter()
        .filter(|held| held.lock.mode == Mode::Write)
        .map(|held| held.lock.resource.clone())
        .collect();
    let root = &coordinator.root;
    let nothing = BTreeSet::new();
    let survey = Survey::of(root, &locks, &Ignored::new(coordinator, root, &nothing)?)?;
    let directories = survey.modes(root)?;
    let paths: Vec<RepoPath> = survey.files.into_iter().collect();
    let files = copy_all(root, &paths, &aside.kept)?;
    let kept = Kept {
        root: coordinator.seen_from_main_root().to_owned(),
        token: begun.task.token,
        head: coordinator
            .git
            .as_ref()
            .map(Git::head)
            .transpose()?
            .and_then(|head| head.tip()),
        repositories: Some(repositories::among(root, &directories)?),
        directories,
        files,
        ignored: survey.ignored,
        locks,
        paths,
    };
    sync::barrier_at(&aside.kept)?;
    kept.write(&aside.list())?;
    // The directory has to survive as well, or nobody would look for the list.
    sync::sync_directory(coordinator.layout.transaction(&begun.transaction.id).path())?;
    sync::sync_directory(&coordinator.layout.transactions())?;
    fault::point("run.kept");
    Ok(())
}

/// Forgets what was kept: nothing of it is to be put back.
pub(super) fn forget(coordinator: &Coordinator, transaction: &TransactionId) -> Result<(), Error> {
    Ok(disk::remove_file_if_there(
        &Aside::of(coordinator, transaction).list(),
    )?)
}

/// Takes out of the tree what a run has changed, puts back what was there, and stages the changes.
pub(super) fn take(
    coordinator: &mut Coordinator,
    begun: &Begun,
    observer: &mut dyn Observer,
) -> Result<Vec<Change>, Error> {
    // It may have stood still for so long that others have the locks by now, and work there.
    coordinator.require_lease(&begun.task.id)?;
    let aside = Aside::of(coordinator, &begun.transaction.id);
    let taken = aside.taken.clone();
    let Some(mut kept) = Aside::read(&aside.list())? else {
        return Ok(Vec::new());
    };
    let (who, transaction) = (Who::Working, &begun.transaction);
    let root = Claim::new(who, transaction, &kept).root(coordinator)?;
    let not_locked = put_back::not_locked(&root, &kept)?;
    if !not_locked.is_empty() {
        let (task, paths) = (begun.task.id.clone(), not_locked);
        return Err(Error::NotLocked { task, paths });
    }
    let (directories, mut files) = modes::chmodded(&root, &kept)?;
    let restored = put_back::restore(coordinator, &Claim::new(who, transaction, &kept), &aside, &taken)?;
    if let Some(told) = restored.committed.told() {
        observer.notice(&told);
    }
    let changed = all_of(restored, begun)?;
    fault::point("run.taken");
    // Those that it removed were made anew. The others keep the permissions that it gave them, unless it comes to nothing.
    let is_chmodded = |known: &KeptMode| directories.iter().any(|found| found.path == known.path);
    kept.directories.retain(|known| !is_chmodded(known));
    kept.files.clear();
    modes::put_back(coordinator, &Claim::new(who, transaction, &kept))?;
    let changed_set: BTreeSet<&RepoPath> = changed.iter().collect();
    for file in files.iter_mut().filter(|file| changed_set.contains(&file.path)) {
        modes::leave(&root, file)?;
    }
    (kept.directories, kept.files) = (directories, files);
    kept.write(&aside.directories())?;
    // Everything is back: whatever others write there from now on is not the run's.
    disk::remove_file_if_there(&aside.list())?;
    let mut what = Vec::with_capacity(changed.len());
    for path in changed {
        let from = taken.join(path.as_path());
        let path = coordinator.root.path().join(path.as_path()).into_os_string();
        let is_there = match contained::stat(&from) {
            // It made a file of the directory that this was in.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => false,
            answer => answer?.is_some_and(|stat| is_kept_kind(stat.kind)),
        };
        what.push(if is_there {
            StageWhat::File {
                path,
                from,
                executable: None,
            }
        } else {
            StageWhat::Delete { path }
        });
    }
    let stage = StageRequest { what, lock: false };
    Ok(coordinator.stage(&begun.task.id, stage, observer)?.changes)
}

/// Returns the paths that were put back, if nothing is left in the tree of what a run has changed.
fn all_of(restored: Restored, begun: &Begun) -> Result<Vec<RepoPath>, Error> {
    if !restored.left.is_empty() {
        let task = begun.task.id.clone();
        return Err(Error::Lost { task });
    }
    match restored.stuck.into_iter().next() {
        Some((path, reason)) => Err(Error::Unchangeable { path, reason }),
        None => Ok(restored.changed),
    }
}

/// Puts back what was there before a run that has come to nothing. What is there instead is kept, since nobody can tell what the
/// run wrote from what others wrote meanwhile. Where others have the locks by now, or have committed since, what is there is theirs
/// and stays: then what was there before is kept, and `observer` told where. Answers where the rest is, if it is anything. Doing it
/// again changes nothing.
pub(super) fn put_back(
    coordinator: &mut Coordinator,
    who: Who,
    transaction: &Transaction,
    observer: &mut dyn Observer,
) -> Result<Option<PathBuf>, Error> {
    let aside = Aside::of(coordinator, &transaction.id);
    let out = coordinator.layout.salvage(&transaction.id);
    if let Some(kept) = Aside::read(&aside.list())? {
        let claim = &Claim::new(who, transaction, &kept);
        // First: nobody may be able to look into a directory.
        modes::put_back(coordinator, claim)?;
        repositories::move_new(coordinator, claim, &out)?;
        let mut restored = put_back::restore(coordinator, claim, &aside, &out)?;
        // The command may have committed what was nowhere else.
        let (stays, copies) = (restored.committed.all(), put_back::copies(&aside, &kept));
        let before = put_back::keep_before(coordinator, transaction, &stays, &copies)?;
        restored.before = restored.before.or(before);
        tell_of_left(&restored, observer);
        modes::make_missing(coordinator, claim)?;
    }
    for list in [aside.list(), aside.directories()] {
        // Last: what was missing was made anew.
        if let Some(kept) = Aside::read(&list)? {
            modes::put_back(coordinator, &Claim::new(who, transaction, &kept))?;
        }
    }
    Ok(contained::stat(&out)?.is_some().then_some(out))
}

/// Says what was not put back.
fn tell_of_left(restored: &Restored, observer: &mut dyn Observer) {
    if let Some(told) = restored.committed.told() {
        observer.notice(&told);
    }
    if !restored.left.is_empty() {
        let left = path_list(&restored.left);
        observer.notice(&format!(
            "Others hold this by now or have committed it since, so it is left as it is: {left}."
        ));
    }
    for (path, reason) in &restored.stuck {
        observer.notice(&format!(
            "This cannot be put back, so it is left as it is: {path} ({reason})."
        ));
    }
    if let Some(before) = &restored.before {
        observer.notice(&format!(
            "What was there before the run is kept in {}.",
            shown(before)
        ));
    }
}

/// Keeps what was taken out of the tree of a run whose commit comes to nothing. Answers where that is, if it is anything.
pub(super) fn salvage(
    coordinator: &Coordinator,
    transaction: &Transaction,
) -> Result<Option<PathBuf>, Error> {
    let taken = Aside::of(coordinator, &transaction.id).taken;
    if contained::stat(&taken)?.is_none() {
        return Ok(None);
    }
    let kept = coordinator.layout.salvage(&transaction.id);
    disk::create_private_dir(&coordinator.layout.salvages())?;
    move_out::merge(&move_out::own(&taken)?, &kept)?;
    Ok(Some(kept))
}

/// Gives up putting back what was there before a run: the copies would go with its transaction, so they are kept. Answers where, if
/// there are any.
pub(super) fn give_up(
    coordinator: &Coordinator,
    transaction: &Transaction,
) -> Result<Option<PathBuf>, Error> {
    let aside = Aside::of(coordinator, &transaction.id);
    let before = coordinator.layout.salvage_before(&transaction.id);
    match Aside::read(&aside.list()) {
        Ok(None) => return Ok(None),
        Ok(Some(kept)) => {
            let copies = Dir::open(&aside.kept)?;
            for (number, path) in kept.paths.iter().enumerate() {
                let copy = copies.child(&number.to_string());
                if copy.stat()?.is_some() {
                    move_out::move_below(&copy, &before, path.as_path())?;
                }
            }
        }
        // Nobody knows which copy is whose.
        Err(_) => move_out::merge(&move_out::own(&aside.kept)?, &before)?,
    }
    let is_any = contained::stat(&before)?.is_some();
    if is_any {
        sync::barrier_at(&before)?;
    }
    disk::remove_file_if_there(&aside.list())?;
    Ok(is_any.then_some(before))
}

/// Tells whether the pre-images of a transaction are kept.
pub(super) fn is_kept(coordinator: &Coordinator, transaction: &TransactionId) -> Result<bool, Error> {
    Ok(contained::stat(&Aside::of(coordinator, transaction).list())?.is_some())
}

/// Tells whether a run in place may have changed anything that `locks` cover. Where that is not known any more, it may.
pub(super) fn reaches(coordinator: &Coordinator, transaction: &TransactionId, locks: &[Lock]) -> bool {
    let aside = Aside::of(coordinator, transaction);
    Aside::read(&aside.list()).map_or(true, |kept| {
        let own = kept.map(|kept| kept.locks).unwrap_or_default();
        own.iter()
            .any(|own| locks.iter().any(|lock| overlap(own, &lock.resource)))
    })
}

/// Pipes and sockets are nobody's work: as to git, they are not there.
fn is_kept_kind(kind: FileKind) -> bool {
    matches!(kind, FileKind::File | FileKind::Symlink)
}

/// Copies the files at `paths`, each to its number, and answers their permissions.
fn copy_all(root: &Root, paths: &[RepoPath], aside: &Path) -> Result<Vec<KeptMode>, Error> {
    let aside = Dir::open(aside)?;
    let mut files = Vec::with_capacity(paths.len());
    for (number, path) in paths.iter().enumerate() {
        let (copied, found) = (aside.child(&number.to_string()), root.find(path)?);
        let Some((place, stat)) = found.filter(|(_, stat)| is_kept_kind(stat.kind)) else {
            return Err(Error::Usage(format!(
                "{path} is neither a file nor a symlink: it cannot be kept while a run works in place"
            )));
        };
        copy(&place, &stat, &copied)?;
        if stat.kind == FileKind::File {
            files.push(modes::of_file(path, &stat, copied.stat()?.as_ref()));
        }
    }
    Ok(files)
}

/// Copies a file, with all that it carries, or a symlink.
pub(super) fn copy(from: &Parent, stat: &Stat, to: &Parent) -> Result<(), Error> {
    disk::remove_any(to.path())?;
    match stat.kind {
        FileKind::Symlink => Ok(staged::symlink_new(to, &from.read_link()?)?),
        _ => Ok(staged::copy_new(from, to)?),
    }
}
