//! Writes new objects aside, so that nobody sees them before they are whole.

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::disk::contained::Parent;
use crate::disk::{DiskError, Result, hash, sync};
use crate::model::Digest;

/// Writes a new file, hashing while writing. Refuses a taken name, a link included. The umask applies. Not synced.
pub fn write_new(place: &Parent, content: &mut dyn Read, mode: u32) -> Result<(Digest, u64)> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(place.directory(), place.name(), flags, Mode::from_raw_mode(mode));
    let mut file = File::from(opened.map_err(DiskError::errno("creating", place.path()))?);
    hash::copy_hashed(content, &mut file).map_err(DiskError::of("writing", place.path()))
}

/// Makes a new symlink with exactly this text. Refuses a taken name. Not synced.
pub fn symlink_new(place: &Parent, text: &[u8]) -> Result<()> {
    rustix::fs::symlinkat(text, place.directory(), place.name())
        .map_err(DiskError::errno("creating the link", place.path()))
}

/// Replaces a small file whole: written aside, synced, renamed, its directory synced. Durable when it returns.
pub fn persist(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let fail = || DiskError::of("writing", path);
    let mut aside = tempfile::NamedTempFile::new_in(directory).map_err(fail())?;
    aside.write_all(bytes).map_err(fail())?;
    aside
        .as_file()
        .set_permissions(std::fs::Permissions::from_mode(mode))
        .map_err(fail())?;
    aside.as_file().sync_all().map_err(fail())?;
    aside.persist(path).map_err(|error| fail()(error.error))?;
    sync::sync_directory(directory)
}
