//! Renames that never destroy anything: swap two names, or take a name only if it is free.

use std::path::Path;

use rustix::fs::{RenameFlags, renameat_with};

use crate::disk::contained::{Dir, Parent};
use crate::disk::{self, DiskError, Result};

/// Swaps two names in one atomic act. Both must exist.
pub fn exchange(a: &Parent, b: &Parent) -> Result<()> {
    rename(a, b, RenameFlags::EXCHANGE, "exchanging")
}

/// Renames, unless the new name is taken.
pub fn rename_noreplace(from: &Parent, to: &Parent) -> Result<()> {
    rename(from, to, RenameFlags::NOREPLACE, "renaming")
}

fn rename(from: &Parent, to: &Parent, flags: RenameFlags, doing: &'static str) -> Result<()> {
    renameat_with(from.directory(), from.name(), to.directory(), to.name(), flags)
        .map_err(DiskError::errno(doing, to.path()))
}

/// Finds out whether the file system of `directory` can exchange two names and refuse a taken one. Some (NFS, CIFS, some
/// FUSE) cannot, and nothing else would keep the promise.
pub fn probe(directory: &Path) -> Result<()> {
    let (left, right) = (directory.join("probe-a"), directory.join("probe-b"));
    for path in [&left, &right] {
        disk::remove_file_if_there(path)?;
        disk::write_new_file(path, b"", 0o600)?;
    }
    let opened = Dir::open(directory)?;
    let (a, b) = (opened.child("probe-a"), opened.child("probe-b"));
    let answer = exchange(&a, &b).and_then(|()| match rename_noreplace(&a, &b) {
        Err(error) if error.is_already_there() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Err(DiskError::contended("probing renames in", directory)),
    });
    disk::remove_file_if_there(&left)?;
    disk::remove_file_if_there(&right)?;
    answer
}
