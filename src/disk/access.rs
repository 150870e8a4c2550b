//! Whether this process may put something else in the place of a file, without trying.

use std::path::PathBuf;

use rustix::fs::{Access, AtFlags, Mode, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::disk::contained::{Parent, Root};
use crate::disk::{DiskError, Result, mounts};
use crate::model::RepoPath;

/// The marks of what may not be changed by anybody, or may only grow.
const FIXED: StatxAttributes = StatxAttributes::IMMUTABLE.union(StatxAttributes::APPEND);

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

/// Why nobody may put something else in the place of a name that is there, or take it away, whatever the directory allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fixed {
    /// It is marked so (`chattr`), or may only grow. Its whole path, for a message.
    Marked(PathBuf),
    /// Something is mounted there.
    Mounted,
}

/// Tells whether what has this name stays there, if anything has it.
pub fn fixed(root: &Root, path: &RepoPath) -> Result<Option<Fixed>> {
    let place = match root.parent(path) {
        Err(error) if error.is_wrong_kind() => return Ok(None),
        answer => answer?,
    };
    let Some(place) = place else { return Ok(None) };
    let fail = || DiskError::errno("looking at", place.path());
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let found = match rustix::fs::statx(place.directory(), place.name(), flags, StatxFlags::MODE) {
        Err(Errno::NOENT) => return Ok(None),
        answer => answer.map_err(fail())?,
    };
    if found.stx_attributes.intersects(FIXED) {
        return Ok(Some(Fixed::Marked(place.path().to_owned())));
    }
    let is_mounted = mounts::of_name(place.directory(), place.name()).map_err(fail())?
        != mounts::of(place.directory()).map_err(fail())?;
    Ok(is_mounted.then_some(Fixed::Mounted))
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
    if found.stx_attributes.intersects(FIXED) {
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
