//! Finds the main working tree of a repository of any kind, by its files alone.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The name of git's own directory, or of the file that tells where it is.
const DOT_GIT: &str = ".git";

/// Returns the main working tree of the repository that contains `at`, or whose git directory `at` is. `None` when there
/// is no repository, or one without a main working tree. Nothing is asked of the repository itself, so that this
/// answers in every kind of repository, those too that mirror refuses.
pub fn main_root_of(at: &Path) -> Option<PathBuf> {
    if at.join("HEAD").is_file() && !at.join(DOT_GIT).exists() {
        return main_root(at, None);
    }
    let root = at
        .ancestors()
        .find(|directory| directory.join(DOT_GIT).symlink_metadata().is_ok())?;
    let dot_git = root.join(DOT_GIT);
    if dot_git.is_dir() {
        return Some(root.to_owned());
    }
    let git_directory = root.join(path_in(&dot_git, b"gitdir: ")?);
    main_root(&git_directory, Some(root))
}

/// `root` is the working tree from which the git directory was found.
fn main_root(git_directory: &Path, root: Option<&Path>) -> Option<PathBuf> {
    match path_in(&git_directory.join("commondir"), b"") {
        // A linked working tree: the main one is where git's own directory is.
        Some(common) => beside(&git_directory.join(common).canonicalize().ok()?),
        None => root
            .map(Path::to_owned)
            .or_else(|| beside(&git_directory.canonicalize().ok()?)),
    }
}

fn beside(git_directory: &Path) -> Option<PathBuf> {
    let is_inside = git_directory.file_name() == Some(OsStr::new(DOT_GIT));
    git_directory.parent().filter(|_| is_inside).map(Path::to_owned)
}

/// Reads the path that is all there is in a file of git's, after `label`.
fn path_in(file: &Path, label: &[u8]) -> Option<PathBuf> {
    let content = fs::read(file).ok()?;
    let path = content.strip_prefix(label)?.trim_ascii_end();
    Some(PathBuf::from(OsStr::from_bytes(path)))
}
