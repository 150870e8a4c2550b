//! Renames that never destroy anything: swap two names, or take a name only if it is free.

use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

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

/// Moves something out of the tree to a path of our own, unless that is taken.
pub fn move_noreplace(from: &Parent, to: &Path) -> Result<()> {
    renameat_with(from.directory(), from.name(), CWD, to, RenameFlags::NOREPLACE)
        .map_err(DiskError::errno("renaming", from.path()))
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests arrange files by hand")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn any_two_kinds_of_names_are_swapped_as_they_are() {
        let sandbox = tempfile::tempdir().unwrap();
        let at = |name: &str| sandbox.path().join(name);
        fs::write(at("file"), "bytes").unwrap();
        symlink("nowhere", at("link")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let directory = Dir::open(sandbox.path()).unwrap();
        exchange(&directory.child("file"), &directory.child("link")).unwrap();
        assert_eq!(fs::read_link(at("file")).unwrap(), Path::new("nowhere"));
        exchange(&directory.child("link"), &directory.child("directory")).unwrap();
        assert_eq!(fs::read(at("directory")).unwrap(), b"bytes");
        assert!(at("link").is_dir());
    }

    #[test]
    fn a_missing_and_a_taken_name_are_told_apart_and_nothing_happens() {
        let sandbox = tempfile::tempdir().unwrap();
        fs::write(sandbox.path().join("a"), "a").unwrap();
        fs::write(sandbox.path().join("b"), "b").unwrap();
        let directory = Dir::open(sandbox.path()).unwrap();
        let (a, b, none) = (
            directory.child("a"),
            directory.child("b"),
            directory.child("none"),
        );
        assert!(exchange(&a, &none).unwrap_err().is_not_found());
        assert!(exchange(&none, &a).unwrap_err().is_not_found());
        assert!(rename_noreplace(&none, &a).unwrap_err().is_not_found());
        assert!(rename_noreplace(&a, &b).unwrap_err().is_already_there());
        assert_eq!(fs::read(sandbox.path().join("b")).unwrap(), b"b");
        rename_noreplace(&a, &none).unwrap();
        assert_eq!(fs::read(sandbox.path().join("none")).unwrap(), b"a");
    }

    #[test]
    fn a_local_file_system_passes_the_probe_and_keeps_nothing_of_it() {
        let sandbox = tempfile::tempdir().unwrap();
        // As a killed probe leaves it.
        fs::write(sandbox.path().join("probe-a"), "").unwrap();
        probe(sandbox.path()).unwrap();
        assert_eq!(fs::read_dir(sandbox.path()).unwrap().count(), 0);
    }
}
