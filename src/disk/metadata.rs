//! What a file carries besides its bytes: mode, owner, access lists, extended attributes, times.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use crate::disk::contained::Parent;
use crate::disk::{DiskError, Result};

/// The longest list of attribute names, and the longest attribute, that Linux allows, in bytes.
const XATTR_BYTES_MAX: usize = 64 * 1024;

/// How much newer a replacing file looks than one whose time lies in the future, in nanoseconds: one tick of the
/// coarsest clock among the supported file systems.
const TICK_NS: i128 = 10_000_000;

const FILE: &str = "a staged file";

/// Sets the permission bits.
pub fn set_mode(file: &File, mode: u32) -> Result<()> {
    let now = file
        .metadata()
        .map_err(DiskError::of("looking at", Path::new(FILE)))?;
    if now.mode() & 0o7777 == mode {
        return Ok(());
    }
    file.set_permissions(std::fs::Permissions::from_mode(mode))
        .map_err(DiskError::of("setting the mode of", Path::new(FILE)))
}

/// Sets the permission bits of a directory that may not even be listed. No link is followed.
pub fn set_directory_mode(place: &Parent, mode: u32) -> Result<()> {
    set_mode_of(place, OFlags::DIRECTORY, mode)
}

/// Sets the permission bits of a file that may not even be read. No link is followed.
pub fn set_file_mode(place: &Parent, mode: u32) -> Result<()> {
    set_mode_of(place, OFlags::empty(), mode)
}

fn set_mode_of(place: &Parent, kind: OFlags, mode: u32) -> Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
    let opened = rustix::fs::openat(place.directory(), place.name(), flags, Mode::empty());
    let opened = opened.map_err(DiskError::errno("opening", place.path()))?;
    set_opened_mode(opened.as_fd(), mode).map_err(DiskError::of("setting the mode of", place.path()))
}

/// Gives a file, or a link itself, to an owner and a group.
pub fn set_owner(place: &Parent, (owner, group): (u32, u32)) -> Result<()> {
    let (owner, group) = (rustix::fs::Uid::from_raw(owner), rustix::fs::Gid::from_raw(group));
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(place.directory(), place.name(), Some(owner), Some(group), flags)
        .map_err(DiskError::errno("setting the owner of", place.path()))
}

/// Lets the owner list and change an opened directory. At best effort: what is not ours stays shut.
pub(super) fn let_owner_in(directory: BorrowedFd<'_>) {
    let Ok(found) = rustix::fs::fstat(directory) else {
        return;
    };
    if found.st_mode & 0o700 != 0o700 {
        drop(set_opened_mode(directory, found.st_mode & 0o7777 | 0o700));
    }
}

/// Sets the permission bits of what was opened, if only to name it.
fn set_opened_mode(opened: BorrowedFd<'_>, mode: u32) -> std::io::Result<()> {
    let descriptor = format!("/proc/self/fd/{}", opened.as_raw_fd());
    std::fs::set_permissions(descriptor, std::fs::Permissions::from_mode(mode))
}

/// Returns the mode that a new file gets: 0666 or 0777 less the umask.
pub fn fresh_mode(executable: bool) -> u32 {
    let mode = if executable { 0o777 } else { 0o666 };
    mode & !umask()
}

/// Reads the umask from the kernel's description of this process: asking by `umask(2)` would change it for a moment for
/// all threads.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok())
        .unwrap_or(0o022)
}

/// Copies owner, group, access lists and extended attributes from `old` to `new`. What the caller is not allowed to
/// set stays as a new file would have it, as it does when an editor saves.
pub fn copy(old: &File, new: &File) -> Result<()> {
    let fail = || DiskError::of("copying the attributes to", Path::new(FILE));
    let (before, after) = (old.metadata().map_err(fail())?, new.metadata().map_err(fail())?);
    if (before.uid(), before.gid()) != (after.uid(), after.gid()) {
        let owner = rustix::fs::Uid::from_raw(before.uid());
        let group = rustix::fs::Gid::from_raw(before.gid());
        permitted(
            rustix::fs::fchown(new, Some(owner), Some(group)).or_else(|errno| match errno {
                Errno::PERM => rustix::fs::fchown(new, None, Some(group)),
                other => Err(other),
            }),
        )?;
    }
    copy_attributes(old, new)
}

fn copy_attributes(old: &File, new: &File) -> Result<()> {
    let mut names = vec![0; XATTR_BYTES_MAX];
    let length = match rustix::fs::flistxattr(old, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(errno) => {
            return Err(DiskError::errno("reading the attributes of", Path::new(FILE))(
                errno,
            ));
        }
    };
    let mut value = Vec::new();
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        value.resize(XATTR_BYTES_MAX, 0);
        match rustix::fs::fgetxattr(old, name, value.as_mut_slice()) {
            Ok(length) => {
                permitted(rustix::fs::fsetxattr(
                    new,
                    name,
                    &value[..length],
                    XattrFlags::empty(),
                ))?;
            }
            Err(Errno::NODATA) => {}
            Err(errno) => permitted(Err(errno))?,
        }
    }
    Ok(())
}

fn permitted(answer: rustix::io::Result<()>) -> Result<()> {
    match answer {
        Ok(()) | Err(Errno::PERM | Errno::ACCESS | Errno::NOTSUP) => Ok(()),
        Err(errno) => Err(DiskError::errno("copying the attributes to", Path::new(FILE))(
            errno,
        )),
    }
}

/// Makes sure that `file` looks newer than something last written at `old_mtime_ns`.
pub fn make_newer(file: &File, old_mtime_ns: i128) -> Result<()> {
    let metadata = file
        .metadata()
        .map_err(DiskError::of("looking at", Path::new(FILE)))?;
    let own = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    if own > old_mtime_ns {
        return Ok(());
    }
    let newer = old_mtime_ns + TICK_NS;
    let time = Timespec {
        tv_sec: i64::try_from(newer.div_euclid(1_000_000_000)).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(newer.rem_euclid(1_000_000_000)).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::futimens(file, &times).map_err(DiskError::errno("setting the time of", Path::new(FILE)))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests arrange files by hand")]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn two_files(sandbox: &Path) -> (File, File) {
        std::fs::write(sandbox.join("old"), "").unwrap();
        std::fs::write(sandbox.join("new"), "").unwrap();
        let open = |name| {
            File::options()
                .read(true)
                .write(true)
                .open(sandbox.join(name))
                .unwrap()
        };
        (open("old"), open("new"))
    }

    #[test]
    fn attributes_of_the_user_go_along() {
        let sandbox = tempfile::tempdir().unwrap();
        let (old, new) = two_files(sandbox.path());
        rustix::fs::fsetxattr(&old, "user.note", b"kept", XattrFlags::empty()).unwrap();
        copy(&old, &new).unwrap();
        let mut value = [0; 8];
        let length = rustix::fs::fgetxattr(&new, "user.note", value.as_mut_slice()).unwrap();
        assert_eq!(&value[..length], b"kept");
    }

    #[test]
    fn the_mode_is_set_exactly_whatever_the_umask_says() {
        let sandbox = tempfile::tempdir().unwrap();
        let (file, _) = two_files(sandbox.path());
        for mode in [0o777, 0o600, 0o666] {
            set_mode(&file, mode).unwrap();
            assert_eq!(file.metadata().unwrap().mode() & 0o7777, mode);
        }
        assert_eq!(fresh_mode(true) & !0o111, fresh_mode(false));
    }

    #[test]
    fn a_file_looks_newer_than_one_from_the_future() {
        let sandbox = tempfile::tempdir().unwrap();
        let (old, new) = two_files(sandbox.path());
        let future = old.metadata().unwrap().modified().unwrap() + Duration::from_hours(1);
        old.set_modified(future).unwrap();
        let since = future.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        make_newer(&new, i128::try_from(since.as_nanos()).unwrap()).unwrap();
        assert!(new.metadata().unwrap().modified().unwrap() > future);
        let before = new.metadata().unwrap().modified().unwrap();
        make_newer(&new, 0).unwrap();
        assert_eq!(new.metadata().unwrap().modified().unwrap(), before);
    }
}
