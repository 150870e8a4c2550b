//! Finds the main working tree of a repository of any kind, by its files alone.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use git2::Config;

use crate::disk::contained::{self, FileKind};
use crate::git::Result;

/// The name of git's own directory, or of the file that tells where it is.
const DOT_GIT: &str = ".git";

/// Returns the main working tree of the repository that contains `at`, or whose git directory `at` is. `None` when there
/// is no repository, or one without a main working tree, or one whose git directory does not tell where that is. Nothing
/// is asked of the repository itself, so that this answers in every kind of repository, those too that mirror refuses.
pub fn main_root_of(at: &Path) -> Option<PathBuf> {
    if at.join("HEAD").is_file() && !at.join(DOT_GIT).exists() {
        return main_root(at, None);
    }
    let root = at.ancestors().find(|directory| is_root(directory))?;
    let dot_git = root.join(DOT_GIT);
    if dot_git.is_dir() {
        return Some(root.to_owned());
    }
    let git_directory = root.join(path_in(&dot_git, b"gitdir: ")?);
    main_root(&git_directory, Some(root))
}

/// Looks for a `.git` in a directory or above that is a repository. An error where one may be and cannot be seen.
pub(super) fn refuse_hidden(directory: &Path) -> Result<Option<PathBuf>> {
    for above in directory.ancestors() {
        let dot_git = above.join(DOT_GIT);
        let is_repository = match contained::stat(&dot_git)?.map(|stat| stat.kind) {
            None | Some(FileKind::Other) => false,
            Some(FileKind::Directory) => contained::stat(&dot_git.join("HEAD"))?.is_some(),
            Some(FileKind::File | FileKind::Symlink) => true,
        };
        if is_repository {
            return Ok(Some(dot_git));
        }
    }
    Ok(None)
}

/// Tells whether a directory is a working tree: whether it has git's directory in it, or what leads to that.
pub(super) fn is_root(directory: &Path) -> bool {
    directory.join(DOT_GIT).symlink_metadata().is_ok()
}

/// `root` is the working tree from which the git directory was found.
fn main_root(git_directory: &Path, root: Option<&Path>) -> Option<PathBuf> {
    match path_in(&git_directory.join("commondir"), b"") {
        // A linked working tree: the main one is where git's own directory is, or where that says.
        Some(common) => beside(&git_directory.join(common).canonicalize().ok()?),
        None => root
            .map(Path::to_owned)
            .or_else(|| beside(&git_directory.canonicalize().ok()?)),
    }
}

fn beside(git_directory: &Path) -> Option<PathBuf> {
    if git_directory.file_name() == Some(OsStr::new(DOT_GIT)) {
        return git_directory.parent().map(Path::to_owned);
    }
    // That of a submodule lies in the repository around it, and its configuration leads back.
    let config = Config::open(&git_directory.join("config")).ok()?;
    let root = git_directory.join(config.get_path("core.worktree").ok()?);
    root.canonicalize().ok().filter(|root| is_root(root))
}

/// Reads the path that is all there is in a file of git's, after `label`.
fn path_in(file: &Path, label: &[u8]) -> Option<PathBuf> {
    let content = fs::read(file).ok()?;
    let path = content.strip_prefix(label)?.trim_ascii_end();
    Some(PathBuf::from(OsStr::from_bytes(path)))
}
