//! What a working copy held when it was handed to whoever works in it: what differs from that afterwards is their work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::coordinator::Error;
use crate::disk::contained::{FileKind, Root, Stat};
use crate::disk::walk;
use crate::git::{Git, IndexView};
use crate::model::RepoPath;

/// What a working copy held at first.
pub struct Origin {
    held: Held,
    /// What was put into it beside the files: links and copies that a build needs.
    furnished: BTreeSet<RepoPath>,
}

enum Held {
    /// A linked working tree of git's: everything that its index names.
    Tree { git: Git, index: IndexView },
    /// A copy of a directory: the numbers of every file there and here.
    Copy(BTreeMap<RepoPath, Copied>),
}

/// The numbers of one copied file.
struct Copied {
    original: Stat,
    copy: Stat,
}

impl Origin {
    /// Notes what a linked working tree holds that git has just made exactly a commit.
    pub(super) fn of_tree(git: Git, furnished: BTreeSet<RepoPath>) -> Result<Self, Error> {
        let index = git.index()?;
        Ok(Self {
            held: Held::Tree { git, index },
            furnished,
        })
    }

    /// Notes what a copy of `original` holds that was made a moment ago.
    pub(super) fn of_copy(original: &Root, copy: &Path) -> Result<Self, Error> {
        let copy = Root::open(copy)?;
        let mut held = BTreeMap::new();
        for path in walk::all_files(copy.path())? {
            if let (Some((_, original)), Some((_, copy))) = (original.find(&path)?, copy.find(&path)?) {
                held.insert(path, Copied { original, copy });
            }
        }
        Ok(Self {
            held: Held::Copy(held),
            furnished: BTreeSet::new(),
        })
    }

    /// Returns whose rules say what is ignored in it.
    pub(super) fn rules(&self) -> Option<&Git> {
        match &self.held {
            Held::Tree { git, .. } => Some(git),
            Held::Copy(_) => None,
        }
    }

    /// Tells whether a path was put there for a build, and is nobody's work.
    pub(super) fn is_furnished(&self, path: &RepoPath) -> bool {
        self.furnished.contains(path) || path.ancestors().any(|above| self.furnished.contains(&above))
    }

    /// Tells whether the numbers of a file prove that it was not written since. `false` proves nothing.
    pub(super) fn is_untouched(&self, path: &RepoPath, stat: &Stat) -> bool {
        match &self.held {
            Held::Tree { index, .. } => index.is_clean_stat(path, stat),
            Held::Copy(held) => held.get(path).is_some_and(|held| is_same(&held.copy, stat)),
        }
    }

    /// Tells whether it held something at this path.
    pub(super) fn had(&self, path: &RepoPath) -> bool {
        match &self.held {
            Held::Tree { index, .. } => index.entry(path).is_some(),
            Held::Copy(held) => held.contains_key(path),
        }
    }

    /// Tells whether it held something below this directory, as far as git does not know that.
    pub(super) fn had_below(&self, directory: &RepoPath) -> bool {
        match &self.held {
            Held::Tree { .. } => false,
            Held::Copy(held) => held.keys().any(|path| path.is_below(directory)),
        }
    }

    /// Finds which of `paths` others have written since, where the copy was made from: what the copy holds did not begin
    /// from what is there now.
    pub(super) fn overtaken(&self, original: &Root, paths: &[RepoPath]) -> Result<Vec<RepoPath>, Error> {
        let Held::Copy(held) = &self.held else {
            // Git knows what it began from.
            return Ok(Vec::new());
        };
        let mut overtaken = Vec::new();
        for path in paths {
            let now = original.find(path)?.map(|(_, stat)| stat);
            let then = held.get(path).map(|held| held.original);
            let is_as_it_was = match (now, then) {
                (Some(now), Some(then)) => is_same(&now, &then),
                (
                    None
                    | Some(Stat {
                        kind: FileKind::Directory,
                        ..
                    }),
                    None,
                ) => true,
                _ => false,
            };
            if !is_as_it_was {
                overtaken.push(path.clone());
            }
        }
        Ok(overtaken)
    }
}

/// A file that is written has another time of change afterwards, whatever else is set back.
fn is_same(a: &Stat, b: &Stat) -> bool {
    (a.dev, a.ino, a.size, a.mode, a.mtime_ns, a.ctime_ns)
        == (b.dev, b.ino, b.size, b.mode, b.mtime_ns, b.ctime_ns)
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Origin")
    }
}
