//! `flock` on files that are never deleted, and the room left on a disk.
//!
//! The lock belongs to the open file, so it ends with the process, however it ends, and a child does not inherit it.
//! A lock file that somebody deleted and made anew would have two holders: after locking, the file must still have its
//! name. fs2's methods are partly shadowed by newer ones of the standard library, so they are always called by their
//! full path; the way out is `std::fs::File::lock`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::disk::{DiskError, Result};

/// How often a lock file may be replaced under our hands before that is an error.
const REPLACED_MAX: usize = 16;

/// An exclusive lock, held until it is dropped.
#[must_use = "the lock is gone as soon as this is dropped"]
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Waits for the lock, making the file if it is missing.
    pub fn acquire(path: &Path) -> Result<Self> {
        let locked = Self::attempt(path, |file| fs2::FileExt::lock_exclusive(file).map(|()| true))?;
        locked.ok_or_else(|| DiskError::contended("locking", path))
    }

    /// Takes the lock if nobody holds it.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        Self::attempt(path, try_lock)
    }

    fn attempt(path: &Path, lock: impl Fn(&File) -> std::io::Result<bool>) -> Result<Option<Self>> {
        for _ in 0..REPLACED_MAX {
            let file = open(path)?;
            if !lock(&file).map_err(DiskError::of("locking", path))? {
                return Ok(None);
            }
            if has_name(&file, path)? {
                return Ok(Some(Self { _file: file }));
            }
        }
        Err(DiskError::contended("locking", path))
    }
}

/// A lock file that its owner passes again and again, and so keeps open. What it guards stays right without it, so it is
/// not asked whether the file still has its name.
#[derive(Debug)]
pub struct Door {
    file: File,
    path: PathBuf,
}

/// The lock of a door, held until it is dropped.
#[must_use = "the door is open again as soon as this is dropped"]
#[derive(Debug)]
pub struct Inside<'a>(&'a Door);

impl Door {
    /// Opens the file, making it if it is missing.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open(path)?;
        let path = path.to_owned();
        Ok(Self { file, path })
    }

    /// Waits for the lock.
    pub fn enter(&self) -> Result<Inside<'_>> {
        fs2::FileExt::lock_exclusive(&self.file).map_err(DiskError::of("locking", &self.path))?;
        Ok(Inside(self))
    }

    /// Takes the lock if nobody holds it.
    pub fn try_enter(&self) -> Result<Option<Inside<'_>>> {
        match try_lock(&self.file) {
            Ok(true) => Ok(Some(Inside(self))),
            Ok(false) => Ok(None),
            Err(error) => Err(DiskError::of("locking", &self.path)(error)),
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // Letting go of a lock that is held does not fail; closing the file would do it, too.
        drop(fs2::FileExt::unlock(&self.0.file));
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(DiskError::of("opening the lock file", path))
}

fn try_lock(file: &File) -> std::io::Result<bool> {
    match fs2::FileExt::try_lock_exclusive(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == fs2::lock_contended_error().kind() => Ok(false),
        Err(error) => Err(error),
    }
}

fn has_name(file: &File, path: &Path) -> Result<bool> {
    let held = file.metadata().map_err(DiskError::of("looking at", path))?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DiskError::of("looking at", path)(error)),
    }
}

/// Returns the bytes that an ordinary user may still write on the file system of `path`.
pub fn available_space(path: &Path) -> Result<u64> {
    fs2::available_space(path).map_err(DiskError::of("asking for the free space of", path))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests arrange files by hand")]
mod tests {
    use super::*;
    use std::fs;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    /// When a test gives up waiting for the kernel.
    const DEADLINE: Duration = Duration::from_mins(1);

    /// Waits until somebody waits for the lock on `path`.
    fn until_waited_for(path: &Path) {
        let inode = format!(":{} ", fs::metadata(path).unwrap().ino());
        let began = Instant::now();
        let waiting = |line: &str| line.contains("->") && line.contains(&inode);
        while !fs::read_to_string("/proc/locks").unwrap().lines().any(waiting) {
            assert!(began.elapsed() < DEADLINE, "nobody waits");
            std::thread::yield_now();
        }
    }

    #[test]
    fn one_holder_at_a_time_until_it_is_dropped() {
        let sandbox = tempfile::tempdir().unwrap();
        let path = sandbox.path().join("lock");
        let held = FileLock::acquire(&path).unwrap();
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        drop(held);
        assert!(FileLock::try_acquire(&path).unwrap().is_some());
        assert!(path.exists());
    }

    #[test]
    fn a_child_does_not_inherit_the_lock() {
        let sandbox = tempfile::tempdir().unwrap();
        let path = sandbox.path().join("lock");
        let held = FileLock::acquire(&path).unwrap();
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        drop(held);
        // The kernel lets the parent go on a moment before it closes the child's copy.
        let began = Instant::now();
        while FileLock::try_acquire(&path).unwrap().is_none() {
            assert!(began.elapsed() < DEADLINE, "the child holds the lock");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_waiter_whose_file_lost_its_name_locks_the_file_that_has_it_now() {
        let sandbox = tempfile::tempdir().unwrap();
        let path = sandbox.path().join("lock");
        let first = FileLock::acquire(&path).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| FileLock::acquire(&path).unwrap());
            until_waited_for(&path);
            fs::remove_file(&path).unwrap();
            let second = FileLock::try_acquire(&path).unwrap().unwrap();
            drop(first);
            // The waiter got the nameless file, saw it, and waits again: for the one that second holds.
            until_waited_for(&path);
            assert!(!waiter.is_finished());
            drop(second);
            let _third = waiter.join().unwrap();
            assert!(FileLock::try_acquire(&path).unwrap().is_none());
        });
    }

    #[test]
    fn there_is_room_on_the_disk_of_the_tests() {
        assert!(available_space(Path::new("/")).unwrap() > 0);
        assert!(available_space(Path::new("/does/not/exist")).is_err());
    }

    #[test]
    fn a_door_lets_one_in_at_a_time_and_the_next_one_after() {
        let sandbox = tempfile::tempdir().unwrap();
        let path = sandbox.path().join("door");
        let (one, other) = (Door::open(&path).unwrap(), Door::open(&path).unwrap());
        let inside = one.enter().unwrap();
        assert!(other.try_enter().unwrap().is_none());
        drop(inside);
        let inside = other.try_enter().unwrap();
        assert!(inside.is_some() && one.try_enter().unwrap().is_none());
    }
}
