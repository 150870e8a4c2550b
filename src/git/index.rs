//! Git's index: read to see what the user has staged, and written once per commit for exactly the committed paths.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use git2::{Index, IndexEntry, IndexTime};

use crate::disk;
use crate::disk::contained::{self, FileKind, Stat};
use crate::git::{Git, GitError, Result, oid, system_path, tree_entry};
use crate::model::{FileMode, RepoPath, TreeEntry};

/// The bits of an entry's flags that hold its stage.
const STAGE_SHIFT: u16 = 12;
const STAGE_MASK: u16 = 0x3000;

/// The bits of an entry that tell git not to look at its file.
const ASSUME_VALID: u16 = 0x8000;
const SKIP_WORKTREE: u16 = 0x4000;

/// The index as it was at one moment.
pub struct IndexView {
    index: Index,
    unmerged: Vec<RepoPath>,
    written_ns: i128,
    trusts_ctime: bool,
}

/// How the entry of one path changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexUpdate {
    /// The path.
    pub path: RepoPath,
    /// What the entry has to be for the change to happen.
    pub before: Option<TreeEntry>,
    /// What it becomes.
    pub after: Option<TreeEntry>,
}

impl Git {
    /// Reads the index of this working tree.
    pub fn index(&self) -> Result<IndexView> {
        let fail = || GitError::of("reading the index");
        let path = self.index_path();
        let written_ns = contained::stat(&path)?.map_or(i128::MAX, |stat| stat.mtime_ns);
        // One for the whole process, with the attributes that libgit2 looks up in it. It is read again whenever its
        // file has another inode, size or time; git replaces it by a rename, so it always has.
        let mut index = self.repository.index().map_err(fail())?;
        index.read(false).map_err(fail())?;
        let unmerged: BTreeSet<RepoPath> = if index.has_conflicts() {
            let conflicts = index
                .iter()
                .filter(|entry| (entry.flags & STAGE_MASK) >> STAGE_SHIFT != 0);
            conflicts
                .filter_map(|entry| RepoPath::new(entry.path).ok())
                .collect()
        } else {
            BTreeSet::new()
        };
        let config = self.repository.config().map_err(fail())?;
        let trusts_ctime = config.get_bool("core.trustctime").unwrap_or(true);
        Ok(IndexView {
            index,
            unmerged: unmerged.into_iter().collect(),
            written_ns,
            trusts_ctime,
        })
    }

    /// Returns the index of this working tree.
    pub fn index_path(&self) -> PathBuf {
        self.git_dir().join("index")
    }

    /// Returns git's lock on it.
    pub fn index_lock_path(&self) -> PathBuf {
        self.git_dir().join("index.lock")
    }

    /// Writes to `into` the index as it is at this moment with `updates` made. An entry that is no longer what the
    /// update expects is the user's and stays. Call it under the index lock; the caller syncs and renames.
    pub fn write_index(&self, into: &Path, updates: &[IndexUpdate]) -> Result<()> {
        let fail = || GitError::of("writing the index");
        let now = contained::stat(&self.index_path())?;
        if now.is_some() {
            disk::copy_file(&self.index_path(), into)?;
        }
        // The library locks what it writes like any index. Killed in there, a predecessor left its lock for good, and no
        // recovery would ever get past it.
        let mut lock = into.as_os_str().to_owned();
        lock.push(".lock");
        disk::remove_file_if_there(Path::new(&lock))?;
        let mut index = Index::open(into).map_err(fail())?;
        // To the library an index that it cannot look at is an empty one, and writing that would take everything out that
        // the user has in it.
        if disk::read_if_there(into)?.map_or(0, |bytes| entries_in(&bytes)) != index.len() {
            return Err(GitError::Answer("the index could not be read whole".to_owned()));
        }
        let fresh: Vec<bool> = updates
            .iter()
            .map(|update| entry_of(&index, &update.path) == update.before)
            .collect();
        let wanted = || {
            updates
                .iter()
                .zip(&fresh)
                .filter(|(_, fresh)| **fresh)
                .map(|(update, _)| update)
        };
        for update in wanted().filter(|update| update.after.is_none() && update.before.is_some()) {
            index.remove(update.path.as_path(), 0).map_err(fail())?;
        }
        for update in wanted() {
            let Some(after) = update.after else { continue };
            let stat = contained::stat(&self.root().join(update.path.as_path()))?;
            index
                .add(&new_entry(&update.path, after, stat.as_ref()))
                .map_err(fail())?;
        }
        let ours: BTreeSet<&[u8]> = wanted().map(|update| update.path.as_bytes()).collect();
        for entry in self.racy(&index, now.map_or(i128::MAX, |now| now.mtime_ns), &ours) {
            index.add(&entry).map_err(fail())?;
        }
        index.write().map_err(fail())
    }

    /// Returns the entries of files that may have been written after they were read, in the second in which the index was written at
    /// `written_ns`: with no size, so that git reads them again. To git such numbers prove nothing as long as the index is as old as
    /// the file, and ours is newer.
    fn racy(&self, index: &Index, written_ns: i128, ours: &BTreeSet<&[u8]>) -> Vec<IndexEntry> {
        let (written, _) = index_time(written_ns);
        let mut racy = Vec::new();
        for entry in index.iter() {
            let is_old = entry.mtime.seconds() < written || entry.file_size == 0;
            if is_old || entry.flags & STAGE_MASK != 0 || ours.contains(entry.path.as_slice()) {
                continue;
            }
            // Where nobody can look, a file in the place of its directory perhaps, git finds out by itself.
            let stat = contained::stat(&self.root().join(system_path(&entry.path)));
            let stat = stat.ok().flatten();
            let same_time =
                |time: IndexTime, ns: i128| index_time(ns) == (time.seconds(), time.nanoseconds());
            let is_read = stat.is_some_and(|stat| {
                stat.mtime_ns < written_ns
                    && same_time(entry.mtime, stat.mtime_ns)
                    && same_time(entry.ctime, stat.ctime_ns)
            });
            if !is_read {
                racy.push(IndexEntry {
                    file_size: 0,
                    ..entry
                });
            }
        }
        racy
    }
}

impl IndexView {
    /// Returns the paths that have conflict entries.
    pub fn unmerged(&self) -> &[RepoPath] {
        &self.unmerged
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Tells whether nothing is tracked.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Tells whether git was told not to look at some file.
    pub fn hides_changes(&self) -> bool {
        let is_hidden =
            |entry: IndexEntry| entry.flags & ASSUME_VALID != 0 || entry.flags_extended & SKIP_WORKTREE != 0;
        self.index.iter().any(is_hidden)
    }

    /// Returns what is tracked, each with its mode, if that is one that a file can have.
    pub fn modes(&self) -> BTreeMap<Vec<u8>, Option<FileMode>> {
        let entries = self.index.iter();
        entries
            .map(|entry| (entry.path, FileMode::from_bits(entry.mode)))
            .collect()
    }

    /// Lists the first `most` tracked paths that `concerns` accepts whose files below `root` are not proven to be what the index
    /// says, each with what that is.
    pub fn unproven(
        &self,
        root: &Path,
        concerns: impl Fn(&RepoPath) -> bool,
        most: usize,
    ) -> Result<Vec<(RepoPath, TreeEntry)>> {
        let mut unproven = Vec::new();
        for entry in self.index.iter() {
            let tracked = tree_entry(entry.mode.cast_signed(), entry.id);
            let (Ok(path), Some(tracked)) = (RepoPath::new(entry.path), tracked) else {
                continue;
            };
            if unproven.len() == most || tracked.mode == FileMode::Gitlink || !concerns(&path) {
                continue;
            }
            // Where a file stands in the place of its directory, nobody can look.
            let stat = contained::stat(&root.join(path.as_path())).unwrap_or_default();
            if stat.is_none_or(|stat| !self.is_clean_stat(&path, &stat)) {
                unproven.push((path, tracked));
            }
        }
        Ok(unproven)
    }

    /// Returns the entry of a path.
    pub fn entry(&self, path: &RepoPath) -> Option<TreeEntry> {
        entry_of(&self.index, path)
    }

    /// Tells whether a file was written in the same instant as the index, or later: then its numbers prove nothing.
    pub fn is_racy(&self, stat: &Stat) -> bool {
        stat.mtime_ns >= self.written_ns
    }

    /// Tells whether the index's numbers prove, by git's own rules, that the file has not been written since.
    pub fn is_clean_stat(&self, path: &RepoPath, stat: &Stat) -> bool {
        let Some(entry) = exact(&self.index, path) else {
            return false;
        };
        if self.is_racy(stat) {
            return false;
        }
        let executable = stat.mode & 0o100 != 0;
        let kind_matches = match FileMode::from_bits(entry.mode) {
            Some(FileMode::Regular) => stat.kind == FileKind::File && !executable,
            Some(FileMode::Executable) => stat.kind == FileKind::File && executable,
            Some(FileMode::Symlink) => stat.kind == FileKind::Symlink,
            _ => false,
        };
        let same_time = |time: IndexTime, ns: i128| index_time(ns) == (time.seconds(), time.nanoseconds());
        kind_matches
            && entry.file_size == low_bits(stat.size)
            && entry.ino == low_bits(stat.ino)
            && same_time(entry.mtime, stat.mtime_ns)
            && (!self.trusts_ctime || same_time(entry.ctime, stat.ctime_ns))
    }
}

/// Finds an entry by exactly this name: with `core.ignorecase` libgit2 answers with one that differs in case.
fn exact(index: &Index, path: &RepoPath) -> Option<IndexEntry> {
    let found = index.get_path(path.as_path(), 0)?;
    if found.path == path.as_bytes() {
        return Some(found);
    }
    index
        .iter()
        .find(|entry| entry.path == path.as_bytes() && entry.flags & STAGE_MASK == 0)
}

/// Reads from the head of an index file how many entries it has: `DIRC`, the version, the number.
fn entries_in(bytes: &[u8]) -> usize {
    let number = bytes.get(8..12).and_then(|number| number.try_into().ok());
    number.map_or(0, |number| u32::from_be_bytes(number) as usize)
}

fn entry_of(index: &Index, path: &RepoPath) -> Option<TreeEntry> {
    let entry = exact(index, path)?;
    tree_entry(entry.mode.cast_signed(), entry.id)
}

/// Makes an entry with the numbers of the file that stands there now, so that git need not read it again. Without a
/// file, or with one of another size, git finds out by itself.
fn new_entry(path: &RepoPath, after: TreeEntry, stat: Option<&Stat>) -> IndexEntry {
    let time = |ns: Option<i128>| {
        let (seconds, nanoseconds) = ns.map_or((0, 0), index_time);
        IndexTime::new(seconds, nanoseconds)
    };
    IndexEntry {
        ctime: time(stat.map(|stat| stat.ctime_ns)),
        mtime: time(stat.map(|stat| stat.mtime_ns)),
        dev: stat.map_or(0, |stat| low_bits(stat.dev)),
        ino: stat.map_or(0, |stat| low_bits(stat.ino)),
        mode: after.mode.bits(),
        uid: stat.map_or(0, |stat| stat.uid),
        gid: stat.map_or(0, |stat| stat.gid),
        file_size: stat.map_or(0, |stat| low_bits(stat.size)),
        id: oid(after.id),
        flags: 0,
        flags_extended: 0,
        path: path.as_bytes().to_vec(),
    }
}

/// The index keeps the low 32 bits of numbers.
#[expect(
    clippy::cast_possible_truncation,
    reason = "this is what the index's format says"
)]
fn low_bits(number: u64) -> u32 {
    number as u32
}

/// Splits nanoseconds since 1970 the way the index keeps them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "this is what the index's format says"
)]
fn index_time(ns: i128) -> (i32, u32) {
    (
        ns.div_euclid(1_000_000_000) as i32,
        ns.rem_euclid(1_000_000_000) as u32,
    )
}
