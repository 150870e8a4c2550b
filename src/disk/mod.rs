//! Durable file verbs: the only place that writes, renames, links and removes files.
//!
//! Every verb names the path it worked on in its error. None of them syncs unless its name says so: when something
//! becomes durable is decided by the caller, who has one barrier for many files.
#![expect(clippy::disallowed_methods, reason = "this is where raw file writes live")]

pub mod access;
pub mod contained;
mod error;
pub mod exchange;
pub mod expand;
pub mod fault;
pub mod filesystem;
pub mod hash;
pub mod holder;
pub mod lock;
pub mod metadata;
pub mod mounts;
pub mod pack;
mod remove;
pub mod scratch;
pub mod staged;
pub mod sync;
pub mod wake;
pub mod walk;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

pub use error::{DiskError, injected};

/// What every verb answers.
pub type Result<T> = std::result::Result<T, DiskError>;

/// Reads a whole file; `None` when there is none.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    if_there(fs::read(path), "reading", path)
}

/// Reads a file that somebody may have put there to exhaust us; `None` when there is none, an error when it is longer
/// than `bytes_max`.
pub fn read_bounded(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>> {
    let fail = || DiskError::of("reading", path);
    let Some(file) = if_there(fs::File::open(path), "reading", path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(fail())?;
    if bytes.len() as u64 > bytes_max {
        let reason = format!("it is longer than {bytes_max} bytes");
        return Err(fail()(io::Error::new(io::ErrorKind::FileTooLarge, reason)));
    }
    Ok(Some(bytes))
}

/// Reads the end of a file, at most so many bytes of it.
pub fn read_tail(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let read = || {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(io::SeekFrom::Start(length.saturating_sub(bytes_max)))?;
        let mut bytes = Vec::new();
        file.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(DiskError::of("reading", path))
}

/// Opens a file that a user named, to be read. What was a file a moment ago and has become a link, a pipe or a device is
/// refused, and nothing is waited for.
pub fn open_regular(path: &Path) -> io::Result<fs::File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no regular file any more"))
    }
}

/// Writes a new file with exactly `bytes`; refuses when the name is taken. Not synced.
pub fn write_new_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .map_err(DiskError::of("creating", path))
}

/// Makes a file of what `write` puts into it. Its content is durable when this returns, its name is not.
pub fn write_new_synced(
    path: &Path,
    mode: u32,
    write: &mut dyn FnMut(&mut File) -> io::Result<()>,
) -> Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    file.and_then(|mut file| write(&mut file).and_then(|()| file.sync_all()))
        .map_err(DiskError::of("creating", path))
}

/// Makes an empty file for what programs print. Whoever is given it writes to its end.
pub fn create_log(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.map_err(DiskError::of("creating", path))
}

/// Replaces the first bytes of a file in place, in one write, making the file if it is missing. Not synced.
pub fn overwrite(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    file.and_then(|file| file.write_all_at(bytes, 0))
        .map_err(DiskError::of("writing", path))
}

/// Appends `bytes` in one write, making the file if it is missing. Not synced.
pub fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o666)
        .open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .map_err(DiskError::of("appending to", path))
}

/// Makes a directory and what is missing above it, 0777 less the umask.
pub fn create_dir_all(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(DiskError::of("creating the directory", path))
}

/// Makes one directory that only its owner may enter; `false` when it is there already.
pub fn create_private_dir(path: &Path) -> Result<bool> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(DiskError::of("creating the directory", path)(error)),
    }
}

/// Lists the names in a directory, sorted; none when the directory is missing.
pub fn list(path: &Path) -> Result<Vec<OsString>> {
    let Some(entries) = if_there(fs::read_dir(path), "listing", path)? else {
        return Ok(Vec::new());
    };
    let names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>();
    let mut names = names.map_err(DiskError::of("listing", path))?;
    names.sort();
    Ok(names)
}

/// Renames within one file system, over whatever file has the new name.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(DiskError::of("renaming to", to))
}

/// Gives a file a second name; refuses when that is taken.
pub fn hard_link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to).map_err(DiskError::of("linking", to))
}

/// Removes a file.
pub fn remove_file(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(DiskError::of("removing", path))
}

/// Removes a file if there is one.
pub fn remove_file_if_there(path: &Path) -> Result<()> {
    if_there(fs::remove_file(path), "removing", path).map(|_| ())
}

/// Removes an empty directory; `false` when it is missing or not empty.
pub fn remove_dir_if_empty(path: &Path) -> Result<bool> {
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(DiskError::of("removing the directory", path)(error)),
    }
}

/// Removes a directory and everything in it, if it is there. Links in it are removed, not followed. A directory that was made
/// unreadable, or read-only, is opened first; where something is mounted, it and what is above it stay.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    let found = if_there(fs::symlink_metadata(path), "looking at", path)?;
    if found.is_some_and(|found| found.is_file()) {
        let file = io::ErrorKind::NotADirectory.into();
        return Err(DiskError::of("removing the directory", path)(file));
    }
    remove::path(path)
}

/// Removes whatever has this name, if anything: of a directory, as [`remove_dir_all`] does.
pub fn remove_any(path: &Path) -> Result<()> {
    remove::path(path)
}

/// Copies a file with its permissions.
pub fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(|_| ())
        .map_err(DiskError::of("copying to", to))
}

/// Makes a symlink with this text; refuses when something has the name.
pub fn symlink(text: &Path, at: &Path) -> Result<()> {
    std::os::unix::fs::symlink(text, at).map_err(DiskError::of("linking", at))
}

/// Copies a symlink as a symlink.
pub fn copy_symlink(from: &Path, to: &Path) -> Result<()> {
    let text = fs::read_link(from).map_err(DiskError::of("reading the link", from))?;
    symlink(&text, to)
}

fn if_there<T>(answer: io::Result<T>, doing: &'static str, path: &Path) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiskError::of(doing, path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_what_was_written_last_by_whoever() {
        let sandbox = tempfile::tempdir().unwrap();
        let path = sandbox.path().join("log");
        let mut one = create_log(&path).unwrap();
        let mut other = OpenOptions::new().append(true).open(&path).unwrap();
        one.write_all(b"one").unwrap();
        other.write_all(b"other").unwrap();
        one.write_all(b"again").unwrap();
        assert_eq!(read_tail(&path, 7).unwrap(), b"eragain");
        assert_eq!(read_tail(&path, 100).unwrap(), b"oneotheragain");
        assert!(create_log(&path).is_err());
    }
}
