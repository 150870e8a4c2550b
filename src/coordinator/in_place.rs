//! Runs that work in the working tree itself: what their write locks cover is kept aside first, and put back.
//!
//! Even a run that ends well gets its commit the usual way: what it changed is taken out of the tree, what was there is put
//! back, and the commit brings the changes in, all of them or none. So a kill at any instant leaves what was there before,
//! as soon as the next command has put it back. Files that git ignores are the run's own affair: they are neither kept nor
//! taken.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::coordinator::{Begun, Coordinator, Error, Observer, StageRequest, StageWhat};
use crate::disk::contained::{self, Dir, FileKind, Parent, Root};
use crate::disk::{self, exchange, fault, staged, sync, walk};
use crate::git::Git;
use crate::model::{Change, Mode, RepoPath, Resource, TransactionId, shown};
use crate::store::Transaction;
use crate::workspace::present;

/// What was there when the run began. It stands for itself: whoever puts it back has nothing else to go by.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The working tree, seen from the main one.
    root: PathBuf,
    /// What the run may write.
    locks: Vec<Resource>,
    /// The paths that were there; the copy of each is named after its place in here.
    paths: Vec<RepoPath>,
    /// The directories that were there.
    directories: BTreeSet<RepoPath>,
}

/// Where a run's pre-images lie.
struct Aside {
    /// The copies, and the list of them.
    kept: PathBuf,
    /// What was taken out of the tree.
    taken: PathBuf,
}

impl Aside {
    fn of(coordinator: &Coordinator, transaction: &TransactionId) -> Self {
        let directory = coordinator.layout.transaction(transaction);
        Self {
            kept: directory.path().join("kept"),
            taken: directory.path().join("taken"),
        }
    }

    /// The list is written last: without it nothing was kept, and the run had not begun to work.
    fn list(&self) -> PathBuf {
        self.kept.join("list")
    }

    fn read(&self) -> Result<Option<Kept>, Error> {
        let Some(bytes) = disk::read_if_there(&self.list())? else {
            return Ok(None);
        };
        let kept = serde_json::from_slice(&bytes).map_err(|error| Error::Stuck {
            transaction: None,
            reason: format!("{} is damaged: {error}", shown(self.list())),
        })?;
        Ok(Some(kept))
    }
}

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
    let paths = covered(coordinator, &coordinator.root, &locks)?;
    for (number, path) in paths.iter().enumerate() {
        let original = coordinator.root.path().join(path.as_path());
        copy(&original, &aside.kept.join(number.to_string()))?;
    }
    let kept = Kept {
        root: coordinator.seen_from_main_root().to_owned(),
        directories: directories(&coordinator.root, &locks)?,
        locks,
        paths,
    };
    let list = serde_json::to_vec(&kept).map_err(|_| {
        Error::Usage("The name of the working tree is not UTF-8: a run cannot work in place".to_owned())
    })?;
    sync::barrier_at(&aside.kept)?;
    staged::persist(&aside.list(), &list, 0o600)?;
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
    let aside = Aside::of(coordinator, &begun.transaction.id);
    let taken = aside.taken.clone();
    let changed = restore(coordinator, &aside, &taken)?;
    fault::point("run.taken");
    // Everything is back: whatever others write there from now on is not the run's.
    disk::remove_file_if_there(&aside.list())?;
    let mut what = Vec::with_capacity(changed.len());
    for path in changed {
        let from = taken.join(path.as_path());
        let path = coordinator.root.path().join(path.as_path()).into_os_string();
        let is_there = match contained::stat(&from) {
            // It made a file of the directory that this was in.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => false,
            answer => answer?.is_some(),
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

/// Puts back what was there before a run that has come to nothing. What is there instead is kept, since nobody can tell what the
/// run wrote from what others wrote meanwhile. Answers where that is, if it is anything. Doing it again changes nothing.
pub(super) fn put_back(
    coordinator: &Coordinator,
    transaction: &Transaction,
) -> Result<Option<PathBuf>, Error> {
    let aside = Aside::of(coordinator, &transaction.id);
    let out = coordinator.layout.salvage(&transaction.id);
    restore(coordinator, &aside, &out)?;
    Ok(contained::stat(&out)?.is_some().then_some(out))
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
    disk::rename(&taken, &kept)?;
    Ok(Some(kept))
}

/// Tells whether the pre-images of a transaction are kept.
pub(super) fn is_kept(coordinator: &Coordinator, transaction: &TransactionId) -> Result<bool, Error> {
    Ok(contained::stat(&Aside::of(coordinator, transaction).list())?.is_some())
}

/// Makes every covered path what it was; moves what is there instead to `out`. Answers the paths that differed.
fn restore(coordinator: &Coordinator, aside: &Aside, out: &Path) -> Result<Vec<RepoPath>, Error> {
    let Some(Kept {
        root,
        locks,
        paths,
        directories: were,
    }) = aside.read()?
    else {
        return Ok(Vec::new());
    };
    let root = &Root::open(&coordinator.layout.root().join(root))?;
    let mut all: BTreeSet<RepoPath> = covered(coordinator, root, &locks)?.into_iter().collect();
    all.extend(paths.iter().cloned());
    let kept: BTreeMap<RepoPath, PathBuf> = paths
        .into_iter()
        .enumerate()
        .map(|(number, path)| (path, aside.kept.join(number.to_string())))
        .collect();
    let mut differing = in_the_way(root, kept.keys())?;
    for path in all {
        if !is_as_kept(root, &path, kept.get(&path).map(PathBuf::as_path))? {
            differing.insert(path);
        }
    }
    // What is in the way of a directory, and what lies in a directory that is in the way, goes out first.
    for path in differing.iter().rev() {
        move_out(root, path, out)?;
    }
    fault::point("run.out");
    for path in &differing {
        if let Some(copy) = kept.get(path) {
            bring_back(root, path, copy, &aside.kept.join("draft"))?;
        } else {
            // A directory that was made for it.
            root.remove_empty_parents(path)?;
        }
    }
    // The deepest first.
    for directory in directories(root, &locks)?.into_iter().rev() {
        if !were.contains(&directory)
            && let Some((place, _)) = root.find(&directory)?
        {
            place.remove_directory_if_empty()?;
        }
    }
    if !differing.is_empty() {
        // The copies are all there is of it, and they go with the transaction.
        sync::barrier(root.fd())?;
    }
    Ok(differing.into_iter().collect())
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

fn is_directory(root: &Root, path: &RepoPath) -> Result<bool, Error> {
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
    copy(kept, draft)?;
    let draft = place_of(draft)?;
    Ok(exchange::rename_noreplace(&draft, &root.make_parents(path)?)?)
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    disk::remove_any(to)?;
    match contained::stat(from)?.map(|stat| stat.kind) {
        Some(FileKind::Symlink) => Ok(disk::copy_symlink(from, to)?),
        Some(FileKind::File) => Ok(disk::copy_file(from, to)?),
        _ => Err(Error::Usage(format!(
            "{} is neither a file nor a symlink: it cannot be kept while a run works in place",
            shown(from)
        ))),
    }
}

/// Lists the directories below those that are locked.
fn directories(root: &Root, locks: &[Resource]) -> Result<BTreeSet<RepoPath>, Error> {
    let mut found = BTreeSet::new();
    for resource in locks {
        let Resource::Directory(above, _) = resource else {
            continue;
        };
        let from = above.as_ref().map_or_else(
            || root.path().to_owned(),
            |above| root.path().join(above.as_path()),
        );
        if contained::stat(&from)?.is_none_or(|stat| stat.kind != FileKind::Directory) {
            continue;
        }
        walk::below(&from, &mut |below| {
            let path = match above {
                Some(above) => above.join(below),
                None => RepoPath::new(below),
            };
            found.extend(path.ok());
            Ok::<_, Error>(true)
        })?;
    }
    Ok(found)
}

/// Lists the files that `locks` cover, without those that git ignores.
fn covered(coordinator: &Coordinator, root: &Root, locks: &[Resource]) -> Result<Vec<RepoPath>, Error> {
    let mut files = BTreeSet::new();
    for resource in locks {
        let found = match resource {
            Resource::File(path) => vec![path.clone()],
            Resource::Directory(None, _) => walk::all_files(root.path())?,
            // The command may have removed it, or put something else in its place.
            Resource::Directory(Some(path), _) if is_directory(root, path)? => {
                walk::files_below(root.path(), path)?
            }
            _ => Vec::new(),
        };
        files.extend(found.into_iter().filter(|path| resource.covers_path(path)));
    }
    let git = match &coordinator.git {
        Some(_) => Git::open(root.path())?,
        None => None,
    };
    let index = git.as_ref().map(Git::index).transpose()?;
    let mut ours = Vec::new();
    for path in files {
        let is_file = match root.find(&path) {
            Ok(found) => found.is_some_and(|(_, stat)| stat.kind != FileKind::Directory),
            Err(error) if error.is_wrong_kind() => false,
            Err(error) => return Err(error.into()),
        };
        let is_tracked = index.as_ref().is_some_and(|index| index.entry(&path).is_some());
        let is_ignored = match &git {
            Some(git) if !is_tracked => git.is_ignored(&path)?,
            _ => false,
        };
        if is_file && !is_ignored {
            ours.push(path);
        }
    }
    Ok(ours)
}
