//! What is mounted where, as this process sees it. Other processes may see other mounts (`mount_namespaces(7)`).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::disk::{DiskError, Result};

/// Where the kernel lists what this process sees: `proc_pid_mountinfo(5)`.
const LIST: &str = "/proc/self/mountinfo";

/// Which mount something lies in. The device alone does not tell: a part of a file system may be mounted in another part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its number; 0 where the kernel does not tell.
    number: u64,
    device: (u32, u32),
}

/// Returns the mount in which an opened file or directory lies.
pub(super) fn of(opened: impl AsFd) -> rustix::io::Result<Mount> {
    at(opened.as_fd(), OsStr::new(""), AtFlags::EMPTY_PATH)
}

/// Returns the mount in which a name of an opened directory lies: another one than the directory's when something is mounted there.
pub(super) fn of_name(above: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Mount> {
    at(above, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)
}

fn at(directory: BorrowedFd<'_>, name: &OsStr, flags: AtFlags) -> rustix::io::Result<Mount> {
    let found = rustix::fs::statx(directory, name, flags, StatxFlags::MNT_ID)?;
    let is_told = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
    Ok(Mount {
        number: if is_told { found.stx_mnt_id } else { 0 },
        device: (found.stx_dev_major, found.stx_dev_minor),
    })
}

/// Opens a directory by its name in an opened one, unless it is a link or something is mounted there: for kernels and sandboxes that have
/// no `openat2`.
pub(super) fn enter(above: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let opened = rustix::fs::openat(above, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
    if of(&opened)? == of(above)? {
        Ok(opened)
    } else {
        Err(Errno::XDEV)
    }
}

/// Refuses when something is mounted at `directory` or below it: programs that know nothing of that write and remove through it.
pub fn refuse(doing: &'static str, directory: &Path) -> Result<()> {
    match below(directory)? {
        None => Ok(()),
        Some(path) => Err(mounted(doing, &path)),
    }
}

/// Returns where something is mounted at `directory` or below it.
pub fn below(directory: &Path) -> Result<Option<PathBuf>> {
    let whole = directory
        .canonicalize()
        .map_err(DiskError::of("looking at", directory))?;
    let list = std::fs::read(LIST).map_err(DiskError::of("reading", Path::new(LIST)))?;
    let mut listed = list.split(|byte| *byte == b'\n').filter_map(Listed::read);
    Ok(listed
        .find(|listed| listed.path.starts_with(&whole) && !listed.is_hidden())
        .map(|listed| listed.path))
}

/// Says that something is mounted where nothing may be.
pub(super) fn mounted(doing: &'static str, path: &Path) -> DiskError {
    let mounted = io::Error::new(io::ErrorKind::ResourceBusy, "something is mounted there");
    DiskError::of(doing, path)(mounted)
}

/// A line of the list.
#[derive(Debug, PartialEq)]
struct Listed {
    number: u64,
    path: PathBuf,
}

impl Listed {
    fn read(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let path = unescaped(fields.nth(3)?);
        Some(Self { number, path })
    }

    /// Tells whether what is mounted there is not what one finds there: another mount lies on top, or above.
    fn is_hidden(&self) -> bool {
        match of_name(CWD, self.path.as_os_str()) {
            Ok(found) => found.number != 0 && found.number != self.number,
            Err(errno) => matches!(errno, Errno::NOENT | Errno::NOTDIR),
        }
    }
}

/// Undoes what the kernel does to blanks, tabs, line ends and backslashes: three octal digits behind a backslash.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) if byte == b'\\' => {
                bytes.push(escaped);
                rest = &behind[3..];
            }
            _ => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_is_read_whatever_bytes_are_in_it() {
        let line = b"36 35 98:0 /sub /mnt/a\\040b\\134c\xff rw,noatime master:1 - ext3 /dev/root rw";
        let path = PathBuf::from(OsString::from_vec(b"/mnt/a b\\c\xff".to_vec()));
        assert_eq!(Listed::read(line), Some(Listed { number: 36, path }));
        assert_eq!(Listed::read(b""), None);
    }

    #[test]
    fn what_is_mounted_is_found_from_above_and_at_its_place() {
        let proc = Path::new("/proc");
        assert_eq!(below(proc).unwrap().as_deref(), Some(proc));
        assert!(below(Path::new("/")).unwrap().is_some());
        let sandbox = tempfile::tempdir().unwrap();
        assert_eq!(below(sandbox.path()).unwrap(), None);
        assert!(refuse("resetting", sandbox.path()).is_ok());
    }
}
