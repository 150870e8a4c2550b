//! One point in time after which everything written before it survives power loss.
//!
//! A large attempt calls `syncfs` once per file system, which also waits for what others have written. A small one
//! syncs its own files and directories instead, except on btrfs, where syncing a directory does not order it against
//! a rename in another one.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::disk::{self, contained, filesystem, sync};

/// Up to this many files are synced one by one; above it, one `syncfs` is cheaper (measured at about ten).
const SMALL_FILES_MAX: usize = 8;

/// Collects what has to be durable, then waits for it once.
#[derive(Debug)]
pub struct Barrier<'a> {
    working_tree: BorrowedFd<'a>,
    is_small: bool,
    files: BTreeSet<PathBuf>,
    directories: BTreeSet<PathBuf>,
}

impl<'a> Barrier<'a> {
    /// Begins to collect for an attempt of `operations` operations in the file system of `working_tree`.
    pub fn new(working_tree: BorrowedFd<'a>, operations: usize) -> Self {
        let is_small = operations <= SMALL_FILES_MAX && !filesystem::is_btrfs(working_tree);
        Self {
            working_tree,
            is_small,
            files: BTreeSet::new(),
            directories: BTreeSet::new(),
        }
    }

    /// Adds a file; a symlink has no bytes of its own to sync and is covered by its directory.
    pub fn file(&mut self, path: PathBuf) {
        self.files.insert(path);
    }

    /// Adds a directory's entries.
    pub fn directory(&mut self, path: PathBuf) {
        self.directories.insert(path);
    }

    /// Adds a path of either kind.
    pub fn any(&mut self, path: PathBuf) {
        if path.is_dir() {
            self.directory(path);
        } else {
            self.file(path);
        }
    }

    /// Waits until everything is durable. A failure is final: the kernel has marked the pages clean, so trying again
    /// would succeed without being true.
    pub fn wait(self) -> disk::Result<()> {
        if self.is_small {
            for file in &self.files {
                // Git may have packed a ref meanwhile; what it packs it has synced.
                sync::sync_path_if_there(file)?;
            }
            for directory in &self.directories {
                sync::sync_directory_if_there(directory)?;
            }
            return Ok(());
        }
        sync::barrier(self.working_tree)?;
        self.other_file_systems()?
            .iter()
            .try_for_each(|path| sync::barrier_at(path))
    }

    /// Returns one directory of every other file system that something lies on, for example git's when the working
    /// tree is mounted apart.
    fn other_file_systems(&self) -> disk::Result<Vec<PathBuf>> {
        let mut known = BTreeSet::from([contained::device_of(self.working_tree)?]);
        let mut others = Vec::new();
        let parents = self
            .files
            .iter()
            .filter_map(|file| file.parent().map(Path::to_owned));
        for directory in self.directories.iter().cloned().chain(parents) {
            if let Some(stat) = contained::stat(&directory)?
                && known.insert(stat.dev)
            {
                others.push(directory);
            }
        }
        Ok(others)
    }
}
