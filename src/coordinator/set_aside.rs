//! Working copies that cannot be removed: a command, or a container that it started, has left what belongs to somebody else, or
//! has mounted something. They are put aside, so that no run has to wait for whoever may remove them.

use std::io;
use std::path::{Path, PathBuf};

use crate::coordinator::{Coordinator, Error};
use crate::disk::{self, DiskError, contained};
use crate::host::unique_id;

/// The beginning of the name of what was put aside, beside the place where it was.
const PREFIX: &str = "left-";

/// Removes whatever has this name, or puts it aside.
pub(super) fn remove(tree: &Path) -> Result<(), Error> {
    let Err(error) = disk::remove_any(tree) else {
        return Ok(());
    };
    if !is_for_others(&error) {
        return Err(error.into());
    }
    put(tree).map_err(|_| error)?;
    Ok(())
}

/// Puts a working copy aside, if it is there.
pub(super) fn put(tree: &Path) -> Result<(), Error> {
    let aside = tree.with_file_name(format!("{PREFIX}{}", unique_id()));
    if contained::stat(tree)?.is_some() {
        disk::rename(tree, &aside)?;
        tracing::warn!(aside = %aside.display(), "the working copy cannot be removed and is put aside");
    }
    Ok(())
}

/// Tells whether somebody else may be able to remove it, or it may be removed when something is not mounted any more.
pub(super) fn is_for_others(error: &DiskError) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ResourceBusy | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Tries again to remove what was put aside in this directory: somebody else may be asking, or what was in the way is gone. Answers
/// what is left.
pub(super) fn remove_again(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut left = Vec::new();
    for name in disk::list(directory)? {
        if !name.to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let aside = directory.join(name);
        if let Err(error) = disk::remove_any(&aside) {
            tracing::debug!(%error, "the working copy still cannot be removed");
            left.push(aside);
        }
    }
    Ok(left)
}

impl Coordinator {
    /// Tries again to remove whatever was put aside. Answers what is left.
    pub(super) fn remove_set_aside(&self) -> Result<Vec<PathBuf>, Error> {
        let mut beside: Vec<PathBuf> = Vec::new();
        for known in self.worktrees()? {
            beside.extend(known.path.parent().map(Path::to_owned));
        }
        beside.sort();
        beside.dedup();
        let mut left = Vec::new();
        for directory in beside {
            left.extend(remove_again(&directory)?);
        }
        Ok(left)
    }
}
