//! Whether this process may put something else in the place of a file, without trying.

use std::path::PathBuf;

use rustix::fs::{Access, AtFlags, Mode, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::disk::contained::{Parent, Root};
use crate::disk::{DiskError, Result};
use crate::model::RepoPath;

/// What this process may do in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    /// Make, replace and remove names.
    All,
    /// Replace and remove only what is its own, as in `/tmp`.
    Own,
    /// Nothing. The directory, for a message.
    None(PathBuf),
}

/// Tells what this process may do where `path` is, or would be: in the nearest directory above it that is there. A network file
/// system may refuse all the same.
pub fn rights_above(root: &Root, path: &RepoPath) -> Result<Rights> {
    let mut at = Some(path.clone());
    while let Some(path) = at {
        match root.parent(&path) {
            Ok(Some(place)) => return rights(root, &place),
            Ok(None) => at = path.parent(),
            Err(error) if error.is_wrong_kind() => at = path.parent(),
            Err(error) => return Err(error),
        }
    }
    Ok(Rights::All)
}

fn rights(root: &Root, place: &Parent) -> Result<Rights> {
    let directory = place.path().parent().unwrap_or(root.path());
    let none = || Ok(Rights::None(directory.to_owned()));
    let access = Access::WRITE_OK | Access::EXEC_OK;
    match rustix::fs::accessat(place.directory(), c".", access, AtFlags::EACCESS) {
        Ok(()) => {}
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => return none(),
        Err(errno) => return Err(DiskError::errno("looking at", directory)(errno)),
    }
    let flags = StatxFlags::MODE | StatxFlags::UID;
    let found = rustix::fs::statx(place.directory(), c".", AtFlags::empty(), flags)
        .map_err(DiskError::errno("looking at", directory))?;
    // What is marked so may not be changed by anybody, or only grow.
    let fixed = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    if found.stx_attributes.intersects(fixed) {
        return none();
    }
    let is_sticky = Mode::from_raw_mode(found.stx_mode.into()).contains(Mode::SVTX);
    Ok(if is_sticky && is_anothers(found.stx_uid) {
        Rights::Own
    } else {
        Rights::All
    })
}

/// Tells whether something belongs to somebody else, whose it stays in a directory where only owners may remove.
pub fn is_anothers(owner: u32) -> bool {
    let own = geteuid();
    !own.is_root() && owner != own.as_raw()
}
