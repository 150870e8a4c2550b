//! Waiting until bytes are on the medium.
//!
//! A sync that failed is never repeated on the same file: the kernel has marked the pages clean, and the second call
//! would answer yes without being true.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use crate::disk::{DiskError, Result};

/// Waits until everything that was written to the file system of `descriptor` is durable, names included.
pub fn barrier(descriptor: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::syncfs(descriptor).map_err(DiskError::errno("syncing the file system of", Path::new(".")))
}

/// The same for the file system that holds `directory`.
pub fn barrier_at(directory: &Path) -> Result<()> {
    let opened = File::open(directory).map_err(DiskError::of("opening", directory))?;
    rustix::fs::syncfs(opened.as_fd()).map_err(DiskError::errno("syncing the file system of", directory))
}

/// Waits until the bytes of a file, and its length, are durable. A symlink has none of its own.
pub fn sync_path(path: &Path) -> Result<()> {
    let metadata = std::fs::symlink_metadata(path).map_err(DiskError::of("looking at", path))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(DiskError::of("syncing", path))
}

/// Like [`sync_path`]; a file that is gone has no bytes to sync.
pub fn sync_path_if_there(path: &Path) -> Result<()> {
    match sync_path(path) {
        Err(error) if error.is_not_found() => Ok(()),
        answer => answer,
    }
}

/// Waits until the names in a directory are durable.
pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(DiskError::of("syncing the directory", path))
}

/// Like [`sync_directory`]; a directory that is gone has no names to sync.
pub fn sync_directory_if_there(path: &Path) -> Result<()> {
    match sync_directory(path) {
        Err(error) if error.is_not_found() || error.kind() == std::io::ErrorKind::NotADirectory => Ok(()),
        answer => answer,
    }
}
