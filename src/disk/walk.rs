//! Lists what is in the working tree.

use std::fs::FileType;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use crate::disk::contained::{self, Root, Stat};
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

/// Something in a directory that is not a directory itself.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its path relative to the directory that was walked.
    pub path: Vec<u8>,
    /// What it is.
    pub stat: Stat,
}

/// Lists everything below `directory` that is no directory, without following links. `enter` is asked with the relative
/// path of every directory on the way. What lies in `.git` or `.mirror` at the top is left out.
pub fn below<E: From<DiskError>>(
    directory: &Path,
    enter: &mut dyn FnMut(&[u8]) -> std::result::Result<bool, E>,
) -> std::result::Result<Vec<Found>, E> {
    let mut found = Vec::new();
    let mut walk = WalkDir::new(directory).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(|error| DiskError::of("listing", directory)(io::Error::from(error)))?;
        let path = entry
            .path()
            .strip_prefix(directory)
            .unwrap_or(entry.path())
            .as_os_str()
            .as_bytes();
        let is_entered = !entry.file_type().is_dir() || (is_ours(&entry) && enter(path)?);
        if !is_entered {
            walk.skip_current_dir();
        } else if !entry.file_type().is_dir()
            && is_ours(&entry)
            && let Some(stat) = contained::stat(entry.path())?
        {
            found.push(Found {
                path: path.to_vec(),
                stat,
            });
        }
    }
    Ok(found)
}

/// What becomes of something that is swept over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// It stays; of a directory, what is in it is looked at.
    Keep,
    /// It stays, and everything in it goes.
    Empty,
    /// It goes, with everything in it.
    Remove,
}

/// Removes what `judge` says of everything below `directory`, whatever it is, without following links or touching what is mounted. It is
/// asked with the relative path, and is not asked about a `.git` at the top.
pub fn sweep(directory: &Path, judge: impl Fn(&[u8], FileType) -> Sweep) -> Result<()> {
    let root = Root::open(directory)?;
    let mut walk = WalkDir::new(directory).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(|error| DiskError::of("listing", directory)(io::Error::from(error)))?;
        let (path, kind) = (entry.path(), entry.file_type());
        let relative = path.strip_prefix(directory).unwrap_or(path).as_os_str();
        if relative == ".git" {
            if kind.is_dir() {
                walk.skip_current_dir();
            }
            continue;
        }
        let judged = judge(relative.as_bytes(), kind);
        if judged == Sweep::Keep {
            continue;
        }
        if kind.is_dir() {
            walk.skip_current_dir();
        }
        root.remove(relative.as_bytes())?;
        if judged == Sweep::Empty {
            disk::create_dir_all(path)?;
        }
    }
    Ok(())
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests arrange files by hand")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn files_and_links_are_listed_and_no_link_is_followed() {
        let sandbox = tempfile::tempdir().unwrap();
        let at = |name: &str| sandbox.path().join(name);
        for directory in ["d/e", ".git", ".mirror", "d/empty"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        for file in ["b", "d/e/f", ".git/HEAD", ".mirror/x", "a"] {
            fs::write(at(file), "").unwrap();
        }
        symlink("d", at("link")).unwrap();
        let names = |paths: Vec<RepoPath>| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            names(all_files(sandbox.path()).unwrap()),
            ["a", "b", "d/e/f", "link"]
        );
        let below = files_below(sandbox.path(), &RepoPath::new("d").unwrap()).unwrap();
        assert_eq!(names(below), ["d/e/f"]);
    }

    #[test]
    fn a_copied_tree_keeps_modes_and_links() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("d")).unwrap();
        fs::write(from.path().join("d/tool"), "#!").unwrap();
        fs::set_permissions(from.path().join("d/tool"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("/nowhere", from.path().join("link")).unwrap();
        copy_tree(from.path(), to.path()).unwrap();
        assert_eq!(
            fs::metadata(to.path().join("d/tool"))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o755
        );
        assert_eq!(
            fs::read_link(to.path().join("link")).unwrap(),
            Path::new("/nowhere")
        );
    }
}
