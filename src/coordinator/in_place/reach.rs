//! Looks at a tree that a command has worked in: it may have left directories into which nobody can look, and others may have made
//! some there that are not ours to open.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use crate::coordinator::Error;
use crate::coordinator::in_place::ignored::Ignored;
use crate::coordinator::in_place::is_kept_kind;
use crate::disk::contained::{self, FileKind, Root};
use crate::disk::{self, DiskError, metadata};
use crate::model::{Depth, RepoPath, Resource};

/// What an owner needs to look into a directory.
const LOOK: u32 = 0o500;

/// What an owner needs to change what is in a directory.
const CHANGE: u32 = 0o700;

/// What can be seen of a tree.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// What is no directory.
    pub(super) files: BTreeSet<RepoPath>,
    /// The directories, with their permissions.
    pub(super) directories: BTreeMap<RepoPath, u32>,
}

impl Reach {
    /// Looks at what `locks` cover: files and symlinks, and directories. What nobody can look into is passed over, and so is what git
    /// ignores.
    pub(super) fn of(root: &Root, locks: &[Resource], ignored: &Ignored) -> Result<Self, Error> {
        let mut reach = Self::default();
        for lock in locks {
            match lock {
                Resource::File(path) => {
                    // What lies in a directory that has the name of a locked file is not covered.
                    reach.directories.extend(Self::below(root, path)?.directories);
                    let found = seen(|| root.find(path))?.flatten();
                    if found.is_some_and(|(_, stat)| is_kept_kind(stat.kind)) && !ignored.has_file(path)? {
                        reach.files.insert(path.clone());
                    }
                }
                Resource::Directory(above, depth) => {
                    let is_ignored = match above {
                        Some(above) => ignored.has_directory(above)?,
                        None => false,
                    };
                    if !is_ignored {
                        reach.walk(root, above.as_ref(), *depth == Depth::Recursive, Some(ignored))?;
                    }
                }
                _ => {}
            }
        }
        Ok(reach)
    }

    /// Looks at all that is in one directory, if it is one. The directory itself is part of it.
    pub(super) fn below(root: &Root, directory: &RepoPath) -> Result<Self, Error> {
        let mut reach = Self::default();
        if let Some(Some((_, stat))) = looked_at(|| root.find(directory))?
            && stat.kind == FileKind::Directory
        {
            reach.directories.insert(directory.clone(), stat.mode);
            reach.walk(root, Some(directory), true, None)?;
        }
        Ok(reach)
    }

    /// Returns the directories that this process cannot look into as it is.
    pub(super) fn shut(&self) -> impl Iterator<Item = (&RepoPath, u32)> {
        let modes = self.directories.iter().map(|(path, mode)| (path, *mode));
        modes.filter(|(_, mode)| mode & LOOK != LOOK)
    }

    fn walk(
        &mut self,
        root: &Root,
        from: Option<&RepoPath>,
        is_deep: bool,
        ignored: Option<&Ignored>,
    ) -> Result<(), Error> {
        let mut ahead = vec![from.cloned()];
        while let Some(at) = ahead.pop() {
            let above = match &at {
                Some(at) => root.path().join(at.as_path()),
                None => root.path().to_owned(),
            };
            let Some(above_stat) = seen(|| contained::stat(&above))?.flatten() else {
                continue;
            };
            if above_stat.kind != FileKind::Directory {
                continue;
            }
            for name in seen(|| disk::list(&above))?.unwrap_or_default() {
                let path = match &at {
                    Some(at) => at.join(name.as_encoded_bytes()),
                    None => RepoPath::new(name.as_encoded_bytes()),
                };
                // As to git, what is its own or ours, or has no legal path, is not there.
                let is_ours = name != ".git" && name != ".mirror";
                let (true, Ok(path)) = (is_ours, path) else {
                    continue;
                };
                let Some(stat) = seen(|| contained::stat(&above.join(&name)))?.flatten() else {
                    continue;
                };
                let is_directory = stat.kind == FileKind::Directory;
                let is_passed_over = match ignored {
                    Some(ignored) if is_directory => ignored.has_directory(&path)?,
                    Some(ignored) => !is_kept_kind(stat.kind) || ignored.has_file(&path)?,
                    None => false,
                };
                if is_passed_over {
                    continue;
                }
                if !is_directory {
                    self.files.insert(path);
                    continue;
                }
                if is_deep {
                    ahead.push(Some(path.clone()));
                }
                self.directories.insert(path, stat.mode);
            }
        }
        Ok(())
    }
}

/// Looks again where we may not look: what is passed over is not put back.
pub(super) fn looked_at<T>(look: impl Fn() -> Result<T, DiskError>) -> Result<Option<T>, Error> {
    let is_hidden = |error: &DiskError| error.kind() == ErrorKind::PermissionDenied;
    match look() {
        Err(error) if is_hidden(&error) => match look() {
            Err(error) if is_hidden(&error) => Ok(None),
            answer => Ok(Some(answer?)),
        },
        answer => Ok(Some(answer?)),
    }
}

/// Passes over what we may not look at, or what has become something else meanwhile.
fn seen<T>(look: impl Fn() -> Result<T, DiskError>) -> Result<Option<T>, Error> {
    match looked_at(look) {
        Err(Error::Disk(error)) if error.is_wrong_kind() || error.is_not_found() => Ok(None),
        answer => answer,
    }
}

/// Lets this process change what is in a directory. At best effort: what is not ours stays as it is, and whoever needs it fails.
pub(super) fn open(root: &Root, directory: &RepoPath) {
    if let Ok(Some((place, stat))) = root.find(directory)
        && stat.kind == FileKind::Directory
        && stat.mode & CHANGE != CHANGE
        && let Err(error) = metadata::set_directory_mode(&place, stat.mode | CHANGE)
    {
        tracing::debug!(%error, "a directory stays shut");
    }
}

/// Does something at `path`. Where permissions are in its way, it is tried once more with the directories open that `locks` cover.
pub(super) fn with_open<T>(
    root: &Root,
    locks: &[Resource],
    path: &RepoPath,
    act: impl Fn() -> Result<T, Error>,
) -> Result<T, Error> {
    match act() {
        Err(Error::Disk(error)) if error.is_denied() => {
            let mut around: Vec<RepoPath> = path.ancestors().collect();
            around.reverse();
            around.push(path.clone());
            let is_covered = |path: &RepoPath| locks.iter().any(|lock| is_at_or_below(path, lock));
            for directory in around.iter().filter(|path| is_covered(path)) {
                open(root, directory);
            }
            for directory in Reach::below(root, path)?.directories.keys() {
                open(root, directory);
            }
            act()
        }
        answer => answer,
    }
}

/// Tells whether `path` is covered, or lies in what has taken the place of something that is.
fn is_at_or_below(path: &RepoPath, lock: &Resource) -> bool {
    lock.covers_path(path) || matches!(lock, Resource::File(file) if path.is_below(file))
}
