//! Directories below the root whose files are not the tree's own.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::disk::contained::{RESOLVE, Root};
use crate::disk::{DiskError, Result};
use crate::model::RepoPath;

/// To whom the files in a directory belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// To the tree that it lies in; or there is no such directory.
    Tree,
    /// To a repository of its own.
    Repository,
    /// To whatever is mounted there, or above it.
    Mount,
}

impl Root {
    /// Tells whether the directory holds a `.git`, so that its files belong to another repository.
    pub fn contains_repository(&self, directory: &RepoPath) -> Result<bool> {
        Ok(self.holder(directory)? == Holder::Repository)
    }

    /// Tells to whom the files in a directory belong.
    pub fn holder(&self, directory: &RepoPath) -> Result<Holder> {
        let git = [directory.as_bytes(), b"/.git"].concat();
        let name = OsStr::from_bytes(&git);
        match rustix::fs::openat2(self.fd(), name, OFlags::PATH, Mode::empty(), RESOLVE) {
            Ok(_) | Err(Errno::LOOP) => Ok(Holder::Repository),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(Holder::Tree),
            // It may be the `.git` itself that is mounted.
            Err(Errno::XDEV) if self.open_below(directory.as_bytes()).is_ok() => Ok(Holder::Repository),
            Err(Errno::XDEV) => Ok(Holder::Mount),
            Err(errno) => Err(DiskError::errno(
                "looking into",
                &self.path().join(directory.as_path()),
            )(errno)),
        }
    }
}
