//! Opens paths below a root so that nothing can lead outside it: no `..`, no symlink in any component, no other mount.
//!
//! Every path is opened anew by the kernel itself (`openat2`), never by a check on strings and never through a cached
//! "safe" prefix: a parent that somebody swaps for a symlink makes the open fail, whenever it happens.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::disk::{DiskError, Result, mounts, remove};
use crate::model::RepoPath;

/// What may be followed below the root: nothing.
pub(super) const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

pub(super) const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The root of a working tree.
#[derive(Debug, Clone)]
pub struct Root {
    descriptor: Arc<OwnedFd>,
    path: PathBuf,
    device: u64,
}

/// An opened directory: one of mirror's own, or one that was found below a root.
#[derive(Debug)]
pub struct Dir {
    descriptor: Arc<OwnedFd>,
    path: PathBuf,
}

/// One name in an opened directory. The name need not exist.
#[derive(Debug)]
pub struct Parent {
    descriptor: Arc<OwnedFd>,
    name: OsString,
    path: PathBuf,
}

/// What kind of thing has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symlink.
    Symlink,
    /// A socket, pipe or device.
    Other,
}

/// What the system says about a name, without following it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// The permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// The device.
    pub dev: u64,
    /// The number on it.
    pub ino: u64,
    /// Nanoseconds since 1970 of the last write.
    pub mtime_ns: i128,
    /// Nanoseconds since 1970 of the last change of anything.
    pub ctime_ns: i128,
    /// How many names it has.
    pub nlink: u64,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Root {
    /// Opens the root. Its own path may contain symlinks; nothing below it may.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, path, flags, Mode::empty());
        let descriptor = opened.map_err(DiskError::errno("opening the directory", path))?;
        let device = device_of(descriptor.as_fd())?;
        Ok(Self {
            descriptor: Arc::new(descriptor),
            path: path.to_owned(),
            device,
        })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the device it lies on.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Returns its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Opens the directory that contains `path`; `None` when it does not exist. A file, a symlink or another mount
    /// on the way is an error.
    pub fn parent(&self, path: &RepoPath) -> Result<Option<Parent>> {
        let whole = self.path.join(path.as_path());
        let Some(above) = path.parent() else {
            return Ok(Some(Parent::of(Arc::clone(&self.descriptor), path, whole)));
        };
        match self.open_below(above.as_bytes()) {
            Ok(descriptor) => Ok(Some(Parent::of(Arc::new(descriptor), path, whole))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(DiskError::errno("opening the directory of", &whole)(errno)),
        }
    }

    /// Opens the directory that contains `path` and looks at the name in it; `None` when nothing can be there, also
    /// because a file or a symlink stands where a directory should.
    pub fn find(&self, path: &RepoPath) -> Result<Option<(Parent, Stat)>> {
        let place = match self.parent(path) {
            Err(error) if error.is_wrong_kind() => return Ok(None),
            answer => answer?,
        };
        let Some(place) = place else { return Ok(None) };
        Ok(place.stat()?.map(|stat| (place, stat)))
    }

    /// Like [`parent`](Self::parent), but makes the missing directories, shallow first, 0777 less the umask.
    pub fn make_parents(&self, path: &RepoPath) -> Result<Parent> {
        if let Some(parent) = self.parent(path)? {
            return Ok(parent);
        }
        let mut missing: Vec<RepoPath> = path.ancestors().collect();
        missing.reverse();
        for directory in missing {
            let Some(place) = self.parent(&directory)? else {
                break;
            };
            match rustix::fs::mkdirat(&place.descriptor, &place.name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(DiskError::errno("creating the directory", &place.path)(errno)),
            }
        }
        let whole = self.path.join(path.as_path());
        self.parent(path)?
            .ok_or_else(|| DiskError::contended("creating the directory of", &whole))
    }

    /// Removes the directories above `path` that are empty, the deepest first.
    pub fn remove_empty_parents(&self, path: &RepoPath) -> Result<()> {
        for directory in path.ancestors() {
            let Ok(Some(place)) = self.parent(&directory) else {
                return Ok(());
            };
            if !place.remove_directory_if_empty()? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Removes whatever has this path, if anything, with all that is in it and lies in this mount. Any bytes are a path here: what
    /// is to go need not be of a kind that may be changed.
    pub(super) fn remove(&self, path: &[u8]) -> Result<()> {
        let whole = self.path.join(OsStr::from_bytes(path));
        let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
            None => (None, path),
            Some(slash) => (Some(&path[..slash]), &path[slash + 1..]),
        };
        let above = match above.map(|above| self.open_below(above)) {
            None => Arc::clone(&self.descriptor),
            Some(Ok(above)) => Arc::new(above),
            Some(Err(Errno::NOENT)) => return Ok(()),
            Some(Err(Errno::XDEV)) => return Err(mounts::mounted("removing", &whole)),
            Some(Err(errno)) => return Err(DiskError::errno("opening the directory of", &whole)(errno)),
        };
        remove::any(above.as_fd(), OsStr::from_bytes(name), &whole)
    }

    pub(super) fn open_below(&self, directory: &[u8]) -> rustix::io::Result<OwnedFd> {
        match rustix::fs::openat2(
            &self.descriptor,
            OsStr::from_bytes(directory),
            DIRECTORY,
            Mode::empty(),
            RESOLVE,
        ) {
            // A sandbox that knows no openat2, or a rename that raced with the walk: one component after the other, none
            // of them a link.
            Err(Errno::NOSYS | Errno::AGAIN) => self.walk_below(directory),
            answer => answer,
        }
    }

    fn walk_below(&self, directory: &[u8]) -> rustix::io::Result<OwnedFd> {
        let mut at = rustix::fs::openat(&self.descriptor, c".", DIRECTORY, Mode::empty())?;
        for component in directory.split(|byte| *byte == b'/') {
            at = mounts::enter(at.as_fd(), OsStr::from_bytes(component), DIRECTORY)?;
        }
        Ok(at)
    }
}

impl Dir {
    /// Opens a directory of mirror's own.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty());
        let descriptor = opened.map_err(DiskError::errno("opening the directory", path))?;
        Ok(Self {
            descriptor: Arc::new(descriptor),
            path: path.to_owned(),
        })
    }

    /// Names one entry.
    pub fn child(&self, name: &(impl AsRef<OsStr> + ?Sized)) -> Parent {
        let name = name.as_ref();
        Parent {
            descriptor: Arc::clone(&self.descriptor),
            name: name.into(),
            path: self.path.join(name),
        }
    }

    /// Lists the names in it, sorted.
    pub fn names(&self) -> Result<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let list = || {
            let opened = rustix::fs::openat(&self.descriptor, c".", flags, Mode::empty())?;
            let names = rustix::fs::Dir::new(opened)?
                .map(|entry| Ok(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned()));
            names.collect::<rustix::io::Result<Vec<_>>>()
        };
        let mut names = list().map_err(DiskError::errno("listing", &self.path))?;
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(names)
    }
}

impl Parent {
    fn of(descriptor: Arc<OwnedFd>, path: &RepoPath, whole: PathBuf) -> Self {
        Self {
            descriptor,
            name: OsStr::from_bytes(path.name()).to_owned(),
            path: whole,
        }
    }

    /// Returns the opened directory.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Returns the name in it.
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Returns the whole path, for messages only.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the name without following it; `None` when nothing has it.
    pub fn stat(&self) -> Result<Option<Stat>> {
        match rustix::fs::statat(&self.descriptor, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Stat::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(DiskError::errno("looking at", &self.path)(errno)),
        }
    }

    /// Removes the directory of this name. Answers whether the name is free now: not if somebody's file is in it, or
    /// something else has taken its name.
    pub fn remove_directory_if_empty(&self) -> Result<bool> {
        match rustix::fs::unlinkat(&self.descriptor, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::BUSY) => Ok(false),
            Err(errno) => Err(DiskError::errno("removing the directory", &self.path)(errno)),
        }
    }

    /// Opens the directory of this name; a link is refused.
    pub fn enter(&self) -> Result<Dir> {
        let opened = rustix::fs::openat(&self.descriptor, &self.name, DIRECTORY, Mode::empty());
        let descriptor = opened.map_err(DiskError::errno("opening the directory", &self.path))?;
        Ok(Dir {
            descriptor: Arc::new(descriptor),
            path: self.path.clone(),
        })
    }

    /// Opens the file for reading; a link is refused.
    pub fn open(&self) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = rustix::fs::openat(&self.descriptor, &self.name, flags, Mode::empty());
        opened
            .map(File::from)
            .map_err(DiskError::errno("opening", &self.path))
    }

    /// Reads the text of a symlink.
    pub fn read_link(&self) -> Result<Vec<u8>> {
        let text = rustix::fs::readlinkat(&self.descriptor, &self.name, Vec::new());
        text.map(std::ffi::CString::into_bytes)
            .map_err(DiskError::errno("reading the link", &self.path))
    }

    /// Tells whether the directory with this name holds nothing but directories.
    pub fn is_empty_tree(&self) -> Result<bool> {
        let mut inside = walkdir::WalkDir::new(&self.path).min_depth(1).into_iter();
        inside.try_fold(true, |empty, entry| {
            let entry =
                entry.map_err(|error| DiskError::of("listing", &self.path)(io::Error::from(error)))?;
            Ok(empty && entry.file_type().is_dir())
        })
    }
}

impl Stat {
    /// Tells whether its owner may execute it.
    pub fn is_executable(&self) -> bool {
        self.kind == FileKind::File && self.mode & 0o100 != 0
    }

    fn of(stat: &rustix::fs::Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Symlink,
            _ => FileKind::Other,
        };
        let ns =
            |seconds: i64, nanoseconds: u64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            dev: stat.st_dev,
            ino: stat.st_ino,
            mtime_ns: ns(stat.st_mtime, stat.st_mtime_nsec),
            ctime_ns: ns(stat.st_ctime, stat.st_ctime_nsec),
            nlink: stat.st_nlink,
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }
}

/// Looks at a path of our own or of git's, without following its last component; `None` when nothing is there.
pub fn stat(path: &Path) -> Result<Option<Stat>> {
    match rustix::fs::lstat(path) {
        Ok(stat) => Ok(Some(Stat::of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(DiskError::errno("looking at", path)(errno)),
    }
}

/// Returns the device that a descriptor lies on.
pub fn device_of(descriptor: BorrowedFd<'_>) -> Result<u64> {
    let stat = rustix::fs::fstat(descriptor);
    stat.map(|stat| stat.st_dev)
        .map_err(DiskError::errno("looking at", Path::new("a directory")))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests arrange files by hand")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).unwrap()
    }

    #[test]
    fn a_symlink_in_any_component_is_refused() {
        let sandbox = tempfile::tempdir().unwrap();
        let inside = sandbox.path().join("root");
        fs::create_dir_all(inside.join("real/deep")).unwrap();
        fs::create_dir_all(sandbox.path().join("outside")).unwrap();
        symlink("../outside", inside.join("out")).unwrap();
        symlink("real", inside.join("alias")).unwrap();
        let root = Root::open(&inside).unwrap();
        for refused in ["out/x", "alias/deep/x", "alias/x"] {
            assert!(
                root.parent(&path(refused)).unwrap_err().is_wrong_kind(),
                "{refused}"
            );
            assert!(root.make_parents(&path(refused)).is_err(), "{refused}");
        }
        assert!(root.parent(&path("real/deep/x")).unwrap().is_some());
        assert!(root.parent(&path("none/x")).unwrap().is_none());
        // The last component may be a link: it is looked at, never followed.
        let link = root.parent(&path("out")).unwrap().unwrap();
        assert_eq!(link.stat().unwrap().unwrap().kind, FileKind::Symlink);
        assert!(link.open().is_err());
        assert_eq!(link.read_link().unwrap(), b"../outside");
    }

    #[test]
    fn the_walk_without_openat2_refuses_the_same() {
        let sandbox = tempfile::tempdir().unwrap();
        fs::create_dir_all(sandbox.path().join("a/b")).unwrap();
        symlink("a", sandbox.path().join("l")).unwrap();
        let root = Root::open(sandbox.path()).unwrap();
        assert!(root.walk_below(b"a/b").is_ok());
        assert_eq!(root.walk_below(b"l/b").unwrap_err(), Errno::NOTDIR);
        assert_eq!(root.walk_below(b"a/c").unwrap_err(), Errno::NOENT);
    }

    #[test]
    fn parents_are_made_and_empty_ones_removed() {
        let sandbox = tempfile::tempdir().unwrap();
        let root = Root::open(sandbox.path()).unwrap();
        let made = root.make_parents(&path("a/b/c/file")).unwrap();
        assert!(made.stat().unwrap().is_none());
        fs::write(sandbox.path().join("a/kept"), "").unwrap();
        root.remove_empty_parents(&path("a/b/c/file")).unwrap();
        assert!(sandbox.path().join("a/kept").exists());
        assert!(!sandbox.path().join("a/b").exists());
    }

    #[test]
    fn a_repository_below_is_recognised() {
        let sandbox = tempfile::tempdir().unwrap();
        fs::create_dir_all(sandbox.path().join("sub/.git")).unwrap();
        fs::create_dir_all(sandbox.path().join("plain")).unwrap();
        let root = Root::open(sandbox.path()).unwrap();
        assert!(root.contains_repository(&path("sub")).unwrap());
        assert!(!root.contains_repository(&path("plain")).unwrap());
        assert!(!root.contains_repository(&path("missing")).unwrap());
    }

    #[test]
    fn nothing_is_written_outside_while_a_parent_is_swapped_for_a_link() {
        use crate::disk::staged;
        let sandbox = tempfile::tempdir().unwrap();
        let (inside, outside) = (sandbox.path().join("root"), sandbox.path().join("outside"));
        fs::create_dir_all(inside.join("d")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        symlink(&outside, inside.join("link")).unwrap();
        let root = Root::open(&inside).unwrap();
        let base = Dir::open(&inside).unwrap();
        std::thread::scope(|scope| {
            let swapper = scope.spawn(|| {
                for _ in 0..20_000 {
                    crate::disk::exchange::exchange(&base.child("d"), &base.child("link")).unwrap();
                }
            });
            let mut round = 0;
            while !swapper.is_finished() {
                round += 1;
                if let Ok(Some(place)) = root.parent(&path(&format!("d/f{round}"))) {
                    staged::write_new(&place, &mut io::empty(), 0o600).unwrap();
                }
            }
        });
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
