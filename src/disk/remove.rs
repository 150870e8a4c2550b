//! Removes directories with everything in them, and nothing of what is mounted there, whatever others mount or change meanwhile.
//!
//! Every directory is opened from the opened one above it, where the kernel refuses to go into another mount, and names are removed
//! from opened directories only: what was looked at is what is emptied. Whatever is mounted in a name space of its own is not seen
//! from here, and not reached either: with its directory the kernel takes the mount away, not what is in it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::disk::contained::DIRECTORY;
use crate::disk::{DiskError, Result, metadata, mounts};

/// What may be followed on the way into a directory: nothing.
const RESOLVE: ResolveFlags = ResolveFlags::NO_XDEV
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

const LISTED: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Removes whatever has this path, if anything. Its own path may contain links.
pub(super) fn path(path: &Path) -> Result<()> {
    let Some(name) = path.file_name() else {
        let nameless = io::Error::new(io::ErrorKind::InvalidInput, "it has no name");
        return Err(DiskError::of("removing", path)(nameless));
    };
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, above, flags, Mode::empty()) {
        Ok(above) => any(above.as_fd(), name, path),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(DiskError::errno("opening the directory", above)(errno)),
    }
}

/// Removes whatever has this name in an opened directory, if anything. `path` is for messages only.
pub(super) fn any(above: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
    match open(above, name) {
        Ok(opened) => directory(above, name, opened, path),
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            gone(rustix::fs::unlinkat(above, name, AtFlags::empty())).map_err(failed(path))
        }
        Err(errno) => Err(failed(path)(errno)),
    }
}

/// Removes a directory that was opened.
fn directory(above: BorrowedFd<'_>, name: &OsStr, opened: OwnedFd, path: &Path) -> Result<()> {
    metadata::let_owner_in(opened.as_fd());
    let mut entries = Dir::new(opened).map_err(failed(path))?;
    while let Some(entry) = entries.read() {
        let entry = entry.map_err(failed(path))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let here = entries.fd().map_err(failed(path))?;
        match entry.file_type() {
            FileType::Directory | FileType::Unknown => any(here, name, &path.join(name))?,
            _ => gone(rustix::fs::unlinkat(here, name, AtFlags::empty()))
                .map_err(|errno| failed(&path.join(name))(errno))?,
        }
    }
    gone(rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR)).map_err(failed(path))
}

/// Opens a directory to list it. One that not even its owner may list is opened to the owner first.
fn open(above: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    match enter(above, name, LISTED) {
        Err(Errno::ACCESS) => {
            let shut = enter(above, name, DIRECTORY)?;
            metadata::let_owner_in(shut.as_fd());
            rustix::fs::openat(&shut, c".", LISTED, Mode::empty())
        }
        answer => answer,
    }
}

fn enter(above: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::openat2(above, name, flags, Mode::empty(), RESOLVE) {
        // A sandbox that knows no openat2.
        Err(Errno::NOSYS) => mounts::enter(above, name, flags),
        answer => answer,
    }
}

/// Somebody else may have been quicker.
fn gone(answer: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match answer {
        Err(Errno::NOENT) => Ok(()),
        answer => answer,
    }
}

fn failed(path: &Path) -> impl FnOnce(Errno) -> DiskError {
    move |errno| match errno {
        Errno::XDEV | Errno::BUSY => mounts::mounted("removing", path),
        errno => DiskError::errno("removing", path)(errno),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests arrange files by hand")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn shut(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn whatever_has_the_name_goes_and_links_are_not_followed() {
        let sandbox = tempfile::tempdir().unwrap();
        let at = |name: &str| sandbox.path().join(name);
        fs::create_dir_all(at("kept/inside")).unwrap();
        fs::create_dir_all(at("tree/a/b")).unwrap();
        fs::write(at("tree/a/b/file"), "").unwrap();
        symlink("../../kept", at("tree/a/link")).unwrap();
        symlink("kept", at("link")).unwrap();
        fs::write(at("file"), "").unwrap();
        for name in ["tree", "link", "file", "none", "none/at/all"] {
            path(&at(name)).unwrap();
        }
        let left = fs::read_dir(sandbox.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["kept"]);
        assert!(at("kept/inside").exists());
    }

    #[test]
    fn what_its_owner_has_shut_is_opened() {
        let sandbox = tempfile::tempdir().unwrap();
        let tree = sandbox.path().join("tree");
        for (name, mode) in [
            ("none", 0),
            ("listed", 0o400),
            ("entered", 0o100),
            ("read", 0o500),
        ] {
            fs::create_dir_all(tree.join(name).join("deep")).unwrap();
            fs::write(tree.join(name).join("file"), "").unwrap();
            shut(&tree.join(name), mode);
        }
        shut(&tree, 0);
        path(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn the_way_in_without_openat2_refuses_links_and_other_mounts() {
        let sandbox = tempfile::tempdir().unwrap();
        fs::create_dir(sandbox.path().join("d")).unwrap();
        symlink("d", sandbox.path().join("l")).unwrap();
        let at = |path: &Path| rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()).unwrap();
        let here = at(sandbox.path());
        let into = |above: &OwnedFd, name: &str| mounts::enter(above.as_fd(), OsStr::new(name), LISTED);
        assert!(into(&here, "d").is_ok());
        assert_eq!(into(&here, "l").unwrap_err(), Errno::NOTDIR);
        assert_eq!(into(&at(Path::new("/")), "proc").unwrap_err(), Errno::XDEV);
    }
}
