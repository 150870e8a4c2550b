//! Changes that are being staged: written aside one by one, recorded all at once or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use crate::coordinator::Error;
use crate::coordinator::ground::Ground;
use crate::git::Git;
use crate::model::{Change, Entry, RepoPath};
use crate::workspace::slots::Slots;
use crate::workspace::staging;

/// Changes on their way in. What it wrote goes when it is dropped unfinished.
pub(super) struct Draft<'a> {
    ground: &'a Ground<'a>,
    wishes: BTreeMap<RepoPath, Wish>,
    /// The slots that it has filled, or was about to fill.
    slots: Range<u32>,
    is_finished: bool,
}

/// What a path shall hold.
struct Wish {
    post: Option<Entry>,
    slot: u32,
    moved_from: Option<RepoPath>,
}

/// What has to be recorded, and what becomes of the objects then.
#[must_use = "nothing is staged before it is recorded"]
#[derive(Debug)]
pub(super) struct Edit {
    /// The rows to write.
    pub(super) put: Vec<Change>,
    /// The rows to remove.
    pub(super) remove: Vec<RepoPath>,
    /// The changes that were asked for, by path, without those that change nothing.
    pub(super) changes: Vec<Change>,
    /// Objects that only the new rows name.
    written: Range<u32>,
    /// Objects that no row names once these rows are written.
    obsolete: Vec<u32>,
}

impl<'a> Draft<'a> {
    /// Begins with nothing.
    pub(super) fn new(ground: &'a Ground<'a>) -> Self {
        let last = ground.staged.values().map(|change| change.slot).max();
        let first = last.map_or(0, |last| last + 1);
        Self {
            ground,
            wishes: BTreeMap::new(),
            slots: first..first,
            is_finished: false,
        }
    }

    /// Writes a file aside. `source` is what to name when `content` cannot be read.
    pub(super) fn put_file(
        &mut self,
        path: &RepoPath,
        content: &mut dyn Read,
        executable: bool,
        source: &Path,
    ) -> Result<(), Error> {
        let slot = self.claim(path)?;
        let mut content = Watched {
            reader: content,
            failure: None,
        };
        let written = staging::write_file(self.ground.slots, slot, &mut content, executable);
        let entry = written.map_err(|error| match content.failure {
            Some(failure) => Error::Input {
                path: source.to_owned(),
                source: failure,
            },
            None => error.into(),
        })?;
        self.wish(path, slot, Some(entry));
        Ok(())
    }

    /// Writes a symlink aside.
    pub(super) fn put_symlink(&mut self, path: &RepoPath, text: &[u8]) -> Result<(), Error> {
        if path.has_gitmodules() {
            return Err(Error::Unchangeable {
                path: path.clone(),
                reason: "git refuses a symlink that stands for .gitmodules".to_owned(),
            });
        }
        let slot = self.claim(path)?;
        let entry = staging::write_symlink(self.ground.slots, slot, text)?;
        self.wish(path, slot, Some(entry));
        Ok(())
    }

    /// Lets the path go away.
    pub(super) fn delete(&mut self, path: &RepoPath) -> Result<(), Error> {
        if self.wishes.get(path).is_some_and(|wish| wish.post.is_none()) {
            return Ok(());
        }
        let slot = self.claim(path)?;
        self.wish(path, slot, None);
        Ok(())
    }

    /// Notes that what `path` shall hold comes from `source`.
    pub(super) fn came_from(&mut self, path: &RepoPath, source: &RepoPath) {
        // What exists only as staged came from somewhere else itself, or from nowhere.
        let origin = match self.ground.staged.get(source) {
            Some(change) if change.base.is_none() => change.moved_from.clone(),
            _ => Some(source.clone()),
        };
        if let Some(wish) = self.wishes.get_mut(path) {
            wish.moved_from = origin;
        }
    }

    fn claim(&mut self, path: &RepoPath) -> Result<u32, Error> {
        if self.wishes.contains_key(path) {
            return Err(Error::Usage(format!("{path} is named twice")));
        }
        let slot = self.slots.end;
        self.slots.end += 1;
        Ok(slot)
    }

    fn wish(&mut self, path: &RepoPath, slot: u32, post: Option<Entry>) {
        let before = self.ground.staged.get(path);
        let moved_from = before.and_then(|change| change.moved_from.clone());
        self.wishes.insert(
            path.clone(),
            Wish {
                post,
                slot,
                moved_from,
            },
        );
    }

    /// Looks at what the paths held before, refuses what cannot be, and answers what to record.
    pub(super) fn finish(mut self) -> Result<Edit, Error> {
        let paths: Vec<RepoPath> = self.wishes.keys().cloned().collect();
        let bases = self.ground.bases(&paths, &self.deleted())?;
        let mut after = self.ground.staged.clone();
        for ((path, wish), base) in self.wishes.iter().zip(bases) {
            // The first base stays, however often the path is staged again.
            let base = self.ground.staged.get(path).map_or(base, |before| before.base);
            if wish.post == base {
                after.remove(path);
                continue;
            }
            let change = Change {
                path: path.clone(),
                post: wish.post,
                base,
                slot: wish.slot,
                moved_from: wish.moved_from.clone(),
                moved_to: None,
            };
            after.insert(path.clone(), change);
        }
        refuse_overlap(&after)?;
        if self.ground.git.is_some_and(Git::ignore_case) {
            refuse_same_folded(&after)?;
        }
        self.is_finished = true;
        Ok(Edit::between(
            &self.ground.staged,
            after,
            &paths,
            self.slots.clone(),
        ))
    }

    /// Returns what is staged to go away, this draft included.
    fn deleted(&self) -> BTreeSet<RepoPath> {
        let recorded = self.ground.staged.values().filter(|change| change.post.is_none());
        let kept = recorded
            .map(|change| &change.path)
            .filter(|path| !self.wishes.contains_key(path));
        let wished = self
            .wishes
            .iter()
            .filter(|(_, wish)| wish.post.is_none())
            .map(|(path, _)| path);
        kept.chain(wished).cloned().collect()
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            discard(self.ground.slots, self.slots.clone());
        }
    }
}

impl Edit {
    /// Compares what is staged with what shall be staged. `asked` are the paths to answer for, `written` the slots that
    /// only new rows name.
    pub(super) fn between(
        before: &BTreeMap<RepoPath, Change>,
        mut after: BTreeMap<RepoPath, Change>,
        asked: &[RepoPath],
        written: Range<u32>,
    ) -> Self {
        join_moves(&mut after);
        let named: BTreeSet<u32> = after.values().map(|change| change.slot).collect();
        let recorded = before.values().map(|change| change.slot);
        let obsolete = recorded
            .chain(written.clone())
            .filter(|slot| !named.contains(slot))
            .collect();
        Self {
            put: after
                .values()
                .filter(|change| before.get(&change.path) != Some(change))
                .cloned()
                .collect(),
            remove: before
                .keys()
                .filter(|path| !after.contains_key(path))
                .cloned()
                .collect(),
            changes: asked.iter().filter_map(|path| after.get(path)).cloned().collect(),
            written,
            obsolete,
        }
    }

    /// Tells whether there is nothing to record.
    pub(super) fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }

    /// Removes what was written, because it could not be recorded.
    pub(super) fn discard(&self, slots: &Slots) {
        discard(slots, self.written.clone());
    }

    /// Removes what no row names any more, now that the rows are written.
    pub(super) fn settle(&self, slots: &Slots) {
        discard(slots, self.obsolete.iter().copied());
    }
}

/// At best effort: an object that nobody names gives way when its slot is used again, and goes with the directory.
fn discard(slots: &Slots, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        drop(staging::remove(slots, number));
    }
}

/// Joins the two ends of every move. Where a path came from is what was recorded; where it went follows, and a move
/// whose other end is no deletion any more has become two changes.
fn join_moves(changes: &mut BTreeMap<RepoPath, Change>) {
    let is_deleted = |path: &RepoPath| changes.get(path).is_some_and(|change| change.post.is_none());
    let arrived = changes.values().filter(|change| change.post.is_some());
    let arrivals: BTreeMap<RepoPath, RepoPath> = arrived
        .filter_map(|change| Some((change.moved_from.clone()?, change.path.clone())))
        .filter(|(source, _)| is_deleted(source))
        .collect();
    for change in changes.values_mut() {
        change.moved_to = arrivals.get(&change.path).cloned();
        change.moved_from = change
            .moved_from
            .take()
            .filter(|source| arrivals.get(source) == Some(&change.path));
    }
}

/// Refuses a file that is to lie below another file.
fn refuse_overlap(changes: &BTreeMap<RepoPath, Change>) -> Result<(), Error> {
    let is_file = |path: &RepoPath| changes.get(path).is_some_and(|change| change.post.is_some());
    for path in changes.keys().filter(|path| is_file(path)) {
        if let Some(above) = path.ancestors().find(|above| is_file(above)) {
            return Err(Error::Unchangeable {
                path: path.clone(),
                reason: format!("{above} is staged as a file"),
            });
        }
    }
    Ok(())
}

/// Refuses two files whose names are one name where case does not count: the second would be put over the first.
fn refuse_same_folded(changes: &BTreeMap<RepoPath, Change>) -> Result<(), Error> {
    let mut seen: BTreeMap<RepoPath, &RepoPath> = BTreeMap::new();
    for change in changes.values().filter(|change| change.post.is_some()) {
        if let Some(other) = seen.insert(change.path.folded(), &change.path) {
            return Err(Error::Unchangeable {
                path: change.path.clone(),
                reason: format!("{other} is staged, and core.ignorecase makes them one name"),
            });
        }
    }
    Ok(())
}

/// Remembers whether reading failed, so that the failure is not taken for one of writing.
struct Watched<'a> {
    reader: &'a mut dyn Read,
    failure: Option<io::Error>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failure = Some(io::Error::new(error.kind(), error.to_string()));
            }
        })
    }
}
