//! Writes new objects aside, so that nobody sees them before they are whole.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::disk::contained::Parent;
use crate::disk::{DiskError, Result, hash, metadata, sync};
use crate::model::Digest;

/// Writes a new file, hashing while writing. Refuses a taken name, a link included. The umask applies. Not synced.
pub fn write_new(place: &Parent, content: &mut dyn Read, mode: u32) -> Result<(Digest, u64)> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(place.directory(), place.name(), flags, Mode::from_raw_mode(mode));
    let mut file = File::from(opened.map_err(DiskError::errno("creating", place.path()))?);
    hash::copy_hashed(content, &mut file).map_err(DiskError::of("writing", place.path()))
}

/// Copies a file with its owner, permissions and attributes, as far as this user may set them. Refuses a taken name. Not synced.
pub fn copy_new(from: &Parent, to: &Parent) -> Result<()> {
    let fail = || DiskError::of("copying to", to.path());
    let mut old = from.open()?;
    let found = old.metadata().map_err(fail())?;
    if !found.is_file() {
        let other = io::Error::other("it is no regular file any more");
        return Err(DiskError::of("copying", from.path())(other));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(to.directory(), to.name(), flags, Mode::from_raw_mode(0o600));
    let mut new = File::from(opened.map_err(DiskError::errno("creating", to.path()))?);
    io::copy(&mut old, &mut new).map_err(fail())?;
    metadata::copy(&old, &new)?;
    metadata::set_mode(&new, found.permissions().mode() & 0o7777)
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests arrange files by hand")]
mod tests {
    use super::*;
    use crate::disk::contained::Dir;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_written_is_hashed_and_counted() {
        let sandbox = tempfile::tempdir().unwrap();
        let directory = Dir::open(sandbox.path()).unwrap();
        let large = vec![7; 300_000];
        for (name, content) in [("empty", &b""[..]), ("binary", b"\0\r\n\xff"), ("large", &large)] {
            let answer = write_new(&directory.child(name), &mut { content }, 0o600).unwrap();
            assert_eq!(answer, (hash::digest_of(content), content.len() as u64));
            assert_eq!(fs::read(sandbox.path().join(name)).unwrap(), content);
        }
    }

    #[test]
    fn a_taken_name_is_refused_be_it_a_link_to_nowhere() {
        let sandbox = tempfile::tempdir().unwrap();
        symlink("elsewhere", sandbox.path().join("link")).unwrap();
        let place = Dir::open(sandbox.path()).unwrap().child("link");
        assert!(
            write_new(&place, &mut &b"x"[..], 0o600)
                .unwrap_err()
                .is_already_there()
        );
        assert!(symlink_new(&place, b"x").unwrap_err().is_already_there());
        assert!(!sandbox.path().join("elsewhere").exists());
        assert_eq!(place.read_link().unwrap(), b"elsewhere");
    }

    #[test]
    fn persisting_replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let sandbox = tempfile::tempdir().unwrap();
        let path = sandbox.path().join("file");
        fs::write(&path, "something longer").unwrap();
        persist(&path, b"new", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(sandbox.path()).unwrap().count(), 1);
    }
}
