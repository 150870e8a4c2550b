//! `flock` on files that are never deleted, and the room left on a disk.
//!
//! The lock belongs to the open file, so it ends with the process, however it ends, and a child does not inherit it.
//! A lock file that somebody deleted and made anew would have two holders: after locking, the file must still have its
//! name. fs2's methods are partly shadowed by newer ones of the standard library, so they are always called by their
//! full path; the way out is `std::fs::File::lock`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::disk::{DiskError, Result};

/// How often a lock file may be replaced under our hands before that is an error.
const REPLACED_MAX: usize = 16;

/// An exclusive lock, held until it is dropped.
#[must_use = "the lock is gone as soon as this is dropped"]
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Waits for the lock, making the file if it is missing.
    pub fn acquire(path: &Path) -> Result<Self> {
        let locked = Self::attempt(path, |file| fs2::FileExt::lock_exclusive(file).map(|()| true))?;
        locked.ok_or_else(|| DiskError::contended("locking", path))
    }

    /// Takes the lock if nobody holds it.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        Self::attempt(path, |file| match fs2::FileExt::try_lock_exclusive(file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => Ok(false),
            Err(error) => Err(error),
        })
    }

    fn attempt(path: &Path, lock: impl Fn(&File) -> std::io::Result<bool>) -> Result<Option<Self>> {
        for _ in 0..REPLACED_MAX {
            let opened = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(path);
            let file = opened.map_err(DiskError::of("opening the lock file", path))?;
            if !lock(&file).map_err(DiskError::of("locking", path))? {
                return Ok(None);
            }
            if has_name(&file, path)? {
                return Ok(Some(Self { _file: file }));
            }
        }
        Err(DiskError::contended("locking", path))
    }
}

fn has_name(file: &File, path: &Path) -> Result<bool> {
    let held = file.metadata().map_err(DiskError::of("looking at", path))?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DiskError::of("looking at", path)(error)),
    }
}

/// Returns the bytes that an ordinary user may still write on the file system of `path`.
pub fn available_space(path: &Path) -> Result<u64> {
    fs2::available_space(path).map_err(DiskError::of("asking for the free space of", path))
}
