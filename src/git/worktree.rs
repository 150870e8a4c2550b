//! Linked working trees for others to work in: made, reset to a commit, verified, removed.
//!
//! They are told from the user's own by their place alone. Removing one touches nothing that belongs to another:
//! `git worktree prune` is never run, since it would also forget working trees of the user's on disks that are not there.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid};

use crate::disk::contained::{self, FileKind, Stat};
use crate::disk::walk::Sweep;
use crate::disk::{self, mounts, staged, walk};
use crate::git::{Git, GitError, Head, IndexView, Result, cached_tree, object_id};
use crate::model::{FileMode, ObjectId, RepoPath};

/// What a linked working tree has to have in its directory. All else is what a command has left there: locks, merges and
/// rebases under way, notes and settings of its own.
const NEEDED: [&str; 4] = ["HEAD", "commondir", "gitdir", "index"];

/// The settings of one working tree. Git gives a new one a copy of those of the main one.
const SETTINGS: &str = "config.worktree";

/// What git says of a working tree that it is making.
const INITIALIZING: &[u8] = b"initializing";

impl Git {
    /// Adds a working tree at `path`, which must not exist, without a branch, in which nothing is checked out yet. Git reads what it
    /// remembers of all others meanwhile, and fails at one that is half made: nobody else may add one at this moment.
    pub fn add_worktree(&self, path: &Path, commit: ObjectId) -> Result<Self> {
        let mut command = self.program();
        command
            .args([
                "worktree",
                "add",
                "--quiet",
                "--no-checkout",
                "--detach",
                "--force",
            ])
            .arg(path)
            .arg(commit.to_string());
        let output = super::program::run(&mut command, b"")?;
        if !output.status.success() {
            return Err(super::program::failed(&["worktree"], &output));
        }
        Self::open(path)?.ok_or_else(|| GitError::Answer("git made no working tree".to_owned()))
    }

    /// Removes what git remembers of a working tree at `path`.
    pub fn forget_worktree(&self, path: &Path) -> Result<()> {
        let link = path.join(".git");
        for (entry, named) in self.remembered()? {
            if named == link {
                disk::remove_dir_all(&entry)?;
            }
        }
        Ok(())
    }

    /// Removes what git remembers of working trees that were never completed, of those whose roots `is_ours` accepts.
    pub fn forget_half_made(&self, is_ours: impl Fn(&Path) -> bool) -> Result<()> {
        for (entry, named) in self.remembered()? {
            // Git gets on without this file, but not with an empty one.
            let common = disk::read_if_there(&entry.join("commondir"))?.unwrap_or_default();
            if common.is_empty() && named.parent().is_some_and(&is_ours) {
                disk::remove_dir_all(&entry)?;
            }
        }
        Ok(())
    }

    /// Tells whether there is something for [`forget_nameless`](Self::forget_nameless) to remove.
    pub fn has_nameless(&self, is_ours: impl Fn(&OsStr) -> bool) -> Result<bool> {
        Ok(!self.nameless(is_ours)?.is_empty())
    }

    /// Removes what git remembers of working trees of which it does not know where they are, if it has noted nothing that was staged
    /// there, and `is_ours` accepts the name.
    pub fn forget_nameless(&self, is_ours: impl Fn(&OsStr) -> bool) -> Result<()> {
        for entry in self.nameless(is_ours)? {
            disk::remove_dir_all(&entry)?;
        }
        Ok(())
    }

    fn nameless(&self, is_ours: impl Fn(&OsStr) -> bool) -> Result<Vec<PathBuf>> {
        let mut nameless = Vec::new();
        for (entry, named) in self.remembered()? {
            let is_meant = named.as_os_str().is_empty() && entry.file_name().is_some_and(&is_ours);
            let index = contained::stat(&entry.join("index"))?;
            if is_meant && index.is_none_or(|index| index.size == 0) {
                nameless.push(entry);
            }
        }
        Ok(nameless)
    }

    /// Tells whether what git has of this linked working tree is whole: where it is, what it is at, what is staged, and nothing
    /// of anybody who was not through.
    pub fn is_whole(&self) -> Result<bool> {
        let link = self.root().join(".git");
        let is_remembered = self.remembered()?.iter().any(|(_, named)| *named == link);
        let begun = disk::read_if_there(&self.git_dir().join("locked"))?.unwrap_or_default();
        let names = disk::list(self.git_dir())?;
        let is_locked = names.iter().any(|name| name.as_bytes().ends_with(b".lock"));
        if !is_remembered || is_locked || begun.trim_ascii_end() == INITIALIZING {
            return Ok(false);
        }
        let Head::Detached { tip } = self.head()? else {
            return Ok(false);
        };
        let is_staged = contained::stat(&self.index_path())?.is_some();
        Ok(is_staged && self.has_commit(tip)? && self.index().is_ok())
    }

    /// Returns the roots of all linked working trees that git remembers, whether they are there or not.
    pub fn linked_roots(&self) -> Result<Vec<PathBuf>> {
        let remembered = self.remembered()?.into_iter();
        Ok(remembered
            .filter_map(|(_, named)| named.parent().map(Path::to_owned))
            .collect())
    }

    /// Tells whether git remembers this working tree as the linked one at `path`.
    pub fn is_linked_at(&self, path: &Path) -> bool {
        let named = disk::read_if_there(&self.git_dir().join("gitdir"));
        let link = path.join(".git");
        named.is_ok_and(|named| {
            named.is_some_and(|named| named.trim_ascii_end() == link.as_os_str().as_bytes())
        })
    }

    /// Lists what git remembers of linked working trees, each with the path of its `.git`.
    fn remembered(&self) -> Result<Vec<(PathBuf, PathBuf)>> {
        let known = self.common_dir().join("worktrees");
        let mut remembered = Vec::new();
        for name in disk::list(&known)? {
            let entry = known.join(name);
            let named = disk::read_if_there(&entry.join("gitdir"))?.unwrap_or_default();
            let named = PathBuf::from(OsStr::from_bytes(named.trim_ascii_end()));
            remembered.push((entry, named));
        }
        Ok(remembered)
    }

    /// Makes this linked working tree exactly `commit`, without a branch: nothing changed, nothing staged, nothing untracked,
    /// nothing ignored, whatever was done in it. Nobody else may be at work in it. One in which something is mounted is refused before
    /// anything is touched: git knows nothing of mounts, and writes and removes through them.
    pub fn reset_to(&self, commit: ObjectId) -> Result<()> {
        mounts::refuse("resetting", self.root())?;
        self.drop_remains()?;
        let name = commit.to_string();
        // Not by `git reset`: it deletes refs that are not there, under a lock on those of the whole repository, and
        // killed in there it leaves that lock for everybody.
        let (head, content) = (self.git_dir().join("HEAD"), format!("{name}\n"));
        if disk::read_if_there(&head)?.as_deref() != Some(content.as_bytes()) {
            staged::persist(&head, content.as_bytes(), 0o666)?;
        }
        self.run(&["read-tree", "--reset", "-u", &name], b"")?;
        if self.sweep()? {
            // Git had taken what lies behind a link for what it tracks.
            self.run(&["read-tree", "--reset", "-u", &name], b"")?;
            self.sweep()?;
        }
        match self.operation_in_progress() {
            None => Ok(()),
            Some(operation) => Err(GitError::Answer(format!(
                "a {operation} is in progress in {}",
                self.root().display()
            ))),
        }
    }

    /// Removes what a command has left in git's own directory of this working tree.
    fn drop_remains(&self) -> Result<()> {
        for name in self.remains()? {
            disk::remove_any(&self.git_dir().join(name))?;
        }
        if self.hides_changes()? {
            // Git passes over what is marked so, also when it resets.
            disk::remove_file_if_there(&self.index_path())?;
        }
        Ok(())
    }

    /// Lists what is in git's own directory of this working tree and need not be.
    fn remains(&self) -> Result<Vec<OsString>> {
        let mut remains = disk::list(self.git_dir())?;
        remains.retain(|name| !NEEDED.iter().any(|needed| name == needed));
        let settings = |of: &Path| disk::read_if_there(&of.join(SETTINGS));
        if settings(self.git_dir())? == settings(self.common_dir())? {
            remains.retain(|name| name != SETTINGS);
        }
        Ok(remains)
    }

    /// Tells whether git was told to look away from files.
    fn hides_changes(&self) -> Result<bool> {
        let is_there = contained::stat(&self.index_path())?.is_some();
        // One that cannot be read is made anew.
        Ok(is_there && self.index().map_or(true, |index| index.hides_changes()))
    }

    /// Removes everything that is not tracked. Not by `git clean`, to which a pipe or a socket is not there. Answers whether
    /// something stood where a directory of what is tracked should be.
    fn sweep(&self) -> Result<bool> {
        let tracked = self.index()?.modes();
        let holds_tracked = |directory: &[u8]| {
            let below = [directory, b"/"].concat();
            let next = tracked.range(below.clone()..).next();
            next.is_some_and(|(path, _)| path.starts_with(&below))
        };
        let is_torn = Cell::new(false);
        walk::sweep(self.root(), |path, kind| match tracked.get(path) {
            Some(Some(FileMode::Gitlink)) if kind.is_dir() => Sweep::Empty,
            Some(_) if !kind.is_dir() => Sweep::Keep,
            _ if holds_tracked(path) => {
                is_torn.set(is_torn.get() || !kind.is_dir());
                if kind.is_dir() { Sweep::Keep } else { Sweep::Remove }
            }
            _ => Sweep::Remove,
        })?;
        Ok(is_torn.get())
    }

    /// Tells whether this working tree is provably what [`reset_to`](Self::reset_to) makes of it: by the numbers of its files
    /// alone, without git. `false` proves nothing.
    pub fn is_pristine(&self, commit: ObjectId) -> Result<bool> {
        let is_there = matches!(self.head()?, Head::Detached { tip } if tip == commit);
        let staged = disk::read_if_there(&self.index_path())?;
        let staged = staged.as_deref().and_then(cached_tree::root);
        if !is_there
            || staged != Some(self.tree_id(commit)?)
            || disk::read_if_there(&self.index_lock_path())?.is_some()
            || !self.remains()?.is_empty()
            || self.hides_changes()?
            || mounts::below(self.root())?.is_some()
        {
            return Ok(false);
        }
        let index = self.index()?;
        let found = walk::below(self.root(), &mut |_| Ok::<_, GitError>(true))?;
        let is_clean = |found: &walk::Found| {
            RepoPath::new(found.path.as_slice()).is_ok_and(|path| {
                index.is_clean_stat(&path, &found.stat) || self.is_racily_clean(&index, &path, &found.stat)
            })
        };
        Ok(found.len() == index.len() && found.iter().all(is_clean))
    }

    /// Tells whether a file that git wrote in the same instant as the index holds, byte for byte, what the index says.
    fn is_racily_clean(&self, index: &IndexView, path: &RepoPath, stat: &Stat) -> bool {
        let mode = if stat.is_executable() {
            FileMode::Executable
        } else {
            FileMode::Regular
        };
        let held = || Oid::hash_file(ObjectType::Blob, self.root().join(path.as_path()));
        index.is_racy(stat)
            && stat.kind == FileKind::File
            && index.entry(path).is_some_and(|entry| {
                entry.mode == mode && held().is_ok_and(|held| object_id(held) == entry.id)
            })
    }
}
