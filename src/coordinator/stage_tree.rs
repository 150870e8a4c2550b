//! `stage --tree`: every difference between a directory and what the task sees.
//!
//! The directory is taken for a copy of the whole working tree. In a repository, what git ignores is neither taken in
//! nor deleted, and what git does not track is not deleted either: it may be missing from the copy for a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;

use crate::coordinator::ground::{Ground, Held};
use crate::coordinator::origin::Origin;
use crate::coordinator::stage_step::Adoption;
use crate::coordinator::{Error, Observer};
use crate::disk::DiskError;
use crate::disk::contained::{FileKind, Root, Stat};
use crate::disk::holder::Holder;
use crate::disk::walk::{self, Found};
use crate::git::Source;
use crate::model::{Entry, FileMode, RepoPath, TreeEntry};
use crate::workspace::present;

/// The size of one read while two files are compared.
const COMPARED_BYTES: usize = 16 * 1024;

/// A comparison under way.
struct Comparison<'a> {
    ground: &'a Ground<'a>,
    copy: Root,
    tracked: BTreeMap<RepoPath, TreeEntry>,
    /// What belongs to others below this one, in both directories.
    nested: BTreeMap<RepoPath, Holder>,
    /// Sockets, pipes and devices in a working copy.
    special: BTreeSet<RepoPath>,
    /// What has to be asked of git, since a branch's base is not on disk.
    asked: Vec<(RepoPath, TreeEntry, Stat)>,
    differing: BTreeSet<RepoPath>,
    bytes: u64,
    /// What the directory held at first, where that is known.
    origin: Option<&'a Origin>,
}

/// Compares `directory` with what the task sees.
///
/// Where it is known what the directory held at first, only what differs from that counts: everything else may have changed
/// on the other side.
pub(super) fn prepare(
    ground: &Ground,
    directory: &Path,
    origin: Option<&Origin>,
    observer: &mut dyn Observer,
) -> Result<Adoption, Error> {
    let fail = |source| Error::Input {
        path: directory.to_owned(),
        source,
    };
    let directory = directory.canonicalize().map_err(fail)?;
    if !directory.is_dir() {
        return Err(fail(io::ErrorKind::NotADirectory.into()));
    }
    let mut comparison = Comparison {
        ground,
        copy: Root::open(&directory)?,
        tracked: ground.tracked()?,
        nested: BTreeMap::new(),
        special: BTreeSet::new(),
        asked: Vec::new(),
        differing: BTreeSet::new(),
        bytes: 0,
        origin,
    };
    let found = walk::below(&directory, &mut |path| comparison.enter(path))?;
    let mut there = BTreeSet::new();
    for found in found {
        if let Some(path) = comparison.take(&found)? {
            comparison.compare(&path, &found.stat)?;
            there.insert(path);
        }
    }
    comparison.compare_recorded()?;
    comparison.delete_missing(&there)?;
    for (nested, holder) in &comparison.nested {
        observer.notice(&format!("{nested} is {} and was passed over.", named(*holder)));
    }
    for special in &comparison.special {
        observer.notice(&format!(
            "{special} is a socket, pipe or device and was passed over."
        ));
    }
    let Comparison {
        copy,
        differing,
        bytes,
        ..
    } = comparison;
    Ok(Adoption {
        from: copy,
        paths: differing.into_iter().collect(),
        moves: Vec::new(),
        bytes,
        _scratch: None,
    })
}

/// Names what a directory is whose files belong to others.
fn named(holder: Holder) -> &'static str {
    match holder {
        Holder::Tree => "a directory like any other",
        Holder::Repository => "a git repository of its own",
        Holder::Mount => "a mounted file system",
    }
}

impl Comparison<'_> {
    /// Tells whether to look into a directory of the copy.
    fn enter(&mut self, path: &[u8]) -> Result<bool, Error> {
        let path = RepoPath::new(path)?;
        if self
            .tracked
            .get(&path)
            .is_some_and(|entry| entry.mode == FileMode::Gitlink)
        {
            return Ok(false);
        }
        if self.origin.is_some_and(|origin| origin.is_furnished(&path)) {
            return Ok(false);
        }
        let holder = self.copy.holder(&path)?;
        if holder != Holder::Tree {
            // What was in there before is looked at all the same, whatever a command has made of the directory.
            if let Some(origin) = self.origin
                && (origin.had_below(&path) || self.holds_known(&path))
            {
                return Ok(true);
            }
            if self.origin.is_none() && self.ground.root.holder(&path)? == Holder::Tree {
                let reason = format!("it is {}", named(holder));
                return Err(Error::Unchangeable { path, reason });
            }
            self.nested.insert(path, holder);
            return Ok(false);
        }
        Ok(self.holds_known(&path) || !self.is_ignored(&path)?)
    }

    /// Asks the rules of the directory itself, where it is a working tree.
    fn is_ignored(&self, path: &RepoPath) -> Result<bool, Error> {
        match self.origin.and_then(Origin::rules) {
            Some(git) => Ok(git.is_ignored(path)?),
            None => self.ground.is_ignored(path),
        }
    }

    /// Tells whether something below a directory is tracked or staged.
    fn holds_known(&self, directory: &RepoPath) -> bool {
        let next = |path: &RepoPath| path.is_below(directory);
        let Ok(first) = directory.join(b"\x01") else {
            return true;
        };
        // Names that sort before the first printable character are as good as none; asking git about them is only slower.
        self.tracked
            .range(&first..)
            .next()
            .is_some_and(|(path, _)| next(path))
            || self
                .ground
                .staged
                .range(&first..)
                .next()
                .is_some_and(|(path, _)| next(path))
    }

    /// Returns the path of something found, unless it is to be passed over.
    fn take(&mut self, found: &Found) -> Result<Option<RepoPath>, Error> {
        let path = RepoPath::new(found.path.clone())?;
        let is_known = self.tracked.contains_key(&path) || self.ground.staged.contains_key(&path);
        let is_furnished = self.origin.is_some_and(|origin| origin.is_furnished(&path));
        if is_furnished || !is_known && self.is_ignored(&path)? {
            return Ok(None);
        }
        if found.stat.kind == FileKind::Other {
            if self.origin.is_some() {
                // As to git, it is not there.
                self.special.insert(path);
                return Ok(None);
            }
            return Err(Error::Unchangeable {
                path,
                reason: "it is a socket, pipe or device".to_owned(),
            });
        }
        Ok(Some(path))
    }

    /// Compares one path of the copy, or puts the question to git off.
    fn compare(&mut self, path: &RepoPath, copied: &Stat) -> Result<(), Error> {
        if self
            .origin
            .is_some_and(|origin| origin.is_untouched(path, copied))
        {
            return Ok(());
        }
        let differs = match (
            self.ground.staged.get(path),
            self.ground.branch(),
            self.tracked.get(path),
        ) {
            (Some(change), ..) => change.post != self.entry_in_copy(path)?,
            (None, Some(_), Some(recorded)) => {
                self.asked.push((path.clone(), *recorded, *copied));
                false
            }
            (None, Some(_), None) => true,
            (None, None, _) => !self.is_same_as_present(path, copied)?,
        };
        if differs {
            self.differ(path.clone(), copied.size);
        }
        Ok(())
    }

    fn differ(&mut self, path: RepoPath, bytes: u64) {
        self.bytes += bytes;
        self.differing.insert(path);
    }

    fn entry_in_copy(&self, path: &RepoPath) -> Result<Option<Entry>, Error> {
        match self.copy.find(path)? {
            Some((place, stat)) => Ok(present::entry_of(&place, &stat)?),
            None => Ok(None),
        }
    }

    fn is_same_as_present(&self, path: &RepoPath, copied: &Stat) -> Result<bool, Error> {
        let Some((here, present)) = self.ground.root.find(path)? else {
            return Ok(false);
        };
        if (present.kind, present.is_executable()) != (copied.kind, copied.is_executable()) {
            return Ok(false);
        }
        if (present.dev, present.ino) == (copied.dev, copied.ino) {
            return Ok(true);
        }
        if present.size != copied.size {
            return Ok(false);
        }
        let Some((there, _)) = self.copy.find(path)? else {
            return Ok(false);
        };
        if present.kind == FileKind::Symlink {
            return Ok(here.read_link()? == there.read_link()?);
        }
        let same = is_same_content(&mut here.open()?, &mut there.open()?);
        Ok(same.map_err(DiskError::of("comparing", there.path()))?)
    }

    /// Asks git what it would store for the paths whose base is recorded and not on disk.
    fn compare_recorded(&mut self) -> Result<(), Error> {
        let Some((git, _)) = self.ground.branch() else {
            return Ok(());
        };
        let asked = std::mem::take(&mut self.asked);
        let (mut sources, modes) = (Vec::with_capacity(asked.len()), git.modes());
        for (path, recorded, stat) in &asked {
            let source = match self.copy.find(path)? {
                Some((place, stat)) if stat.kind == FileKind::Symlink => Source::Symlink(place.read_link()?),
                _ => Source::File(self.copy.path().join(path.as_path())),
            };
            let is_executable = modes.is_executable(stat.is_executable(), Some(*recorded));
            sources.push((path.clone(), source, is_executable));
        }
        let stored = git.stored_as(&sources)?;
        for ((path, recorded, stat), stored) in asked.into_iter().zip(stored) {
            if stored != recorded {
                self.differ(path, stat.size);
            }
        }
        Ok(())
    }

    /// Adds what the task sees and the copy lacks.
    fn delete_missing(&mut self, there: &BTreeSet<RepoPath>) -> Result<(), Error> {
        let staged = self.ground.staged.values().filter(|change| change.post.is_some());
        let mut known: BTreeSet<RepoPath> = staged.map(|change| change.path.clone()).collect();
        if self.ground.git.is_some() {
            let files = self
                .tracked
                .iter()
                .filter(|(_, entry)| entry.mode != FileMode::Gitlink);
            known.extend(files.map(|(path, _)| path.clone()));
        } else {
            known.extend(walk::all_files(self.ground.root.path())?);
        }
        if let Some(origin) = self.origin {
            known.retain(|path| origin.had(path) && !origin.is_furnished(path));
        }
        for path in known.difference(there) {
            let is_nested = path.ancestors().any(|above| self.nested.contains_key(&above));
            if !is_nested && matches!(self.ground.held(path)?, Held::File { .. } | Held::Symlink(_)) {
                self.differing.insert(path.clone());
            }
        }
        Ok(())
    }
}

/// Compares two readers byte by byte, up to the first difference.
fn is_same_content(a: &mut dyn Read, b: &mut dyn Read) -> io::Result<bool> {
    let (mut left, mut right) = ([0; COMPARED_BYTES], [0; COMPARED_BYTES]);
    loop {
        let count = read_full(a, &mut left)?;
        if count != read_full(b, &mut right)? || left[..count] != right[..count] {
            return Ok(false);
        }
        if count < COMPARED_BYTES {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the reader has ended.
fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match reader.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(read) => count += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
