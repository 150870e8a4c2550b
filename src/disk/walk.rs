//! Lists what is in the working tree.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use crate::disk::{self, DiskError, Result};
use crate::model::RepoPath;

/// Lists every file and symlink below `directory`, sorted, without following links. What lies in `.git` or `.mirror` is
/// left out, and so is what has no legal path.
pub fn files_below(root: &Path, directory: &RepoPath) -> Result<Vec<RepoPath>> {
    files(root, &root.join(directory.as_path()))
}

/// Lists every file and symlink of a whole tree.
pub fn all_files(root: &Path) -> Result<Vec<RepoPath>> {
    files(root, root)
}

fn files(root: &Path, from: &Path) -> Result<Vec<RepoPath>> {
    let mut paths = Vec::new();
    for entry in WalkDir::new(from).min_depth(1).into_iter().filter_entry(is_ours) {
        let entry = entry.map_err(|error| DiskError::of("listing", from)(io::Error::from(error)))?;
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if !entry.file_type().is_dir()
            && let Ok(path) = RepoPath::new(relative.as_os_str().as_bytes())
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Tells whether an entry is the user's: not `.git` and not `.mirror`, at any depth.
fn is_ours(entry: &DirEntry) -> bool {
    entry.depth() == 0 || !matches!(entry.file_name().as_bytes(), b".git" | b".mirror")
}

/// Copies a whole tree except `.git` and `.mirror`: files with their permissions, symlinks as symlinks.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for entry in WalkDir::new(from).min_depth(1).into_iter().filter_entry(is_ours) {
        let entry = entry.map_err(|error| DiskError::of("listing", from)(io::Error::from(error)))?;
        let target = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        let kind = entry.file_type();
        if kind.is_dir() {
            disk::create_dir_all(&target)?;
        } else if kind.is_symlink() {
            disk::copy_symlink(entry.path(), &target)?;
        } else if kind.is_file() {
            disk::copy_file(entry.path(), &target)?;
        }
    }
    Ok(())
}
