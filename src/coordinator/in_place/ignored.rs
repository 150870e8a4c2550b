//! What git ignores in the working tree is a run's own affair: what it ignored when the run began, whatever has become of the rules
//! since, and what has come later by the rules of the moment.
//!
//! A directory that git ignores is passed over as a whole, and never walked: it may hold more than everything else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::coordinator::{Coordinator, Error};
use crate::disk::contained::Root;
use crate::git::Git;
use crate::model::{FileMode, RepoPath};

/// What a run passes over.
pub(super) struct Ignored<'a> {
    /// What was ignored when the run began: directories stand for all that is in them.
    at_first: &'a BTreeSet<RepoPath>,
    /// Nothing is ignored without git.
    rules: Option<Rules>,
}

/// What git says at the moment.
struct Rules {
    git: Git,
    tracked: BTreeMap<Vec<u8>, Option<FileMode>>,
    /// What it has said of directories. While something is put back its rules may change, and what was passed over stays so.
    directories: RefCell<BTreeMap<RepoPath, bool>>,
}

impl<'a> Ignored<'a> {
    pub(super) fn new(
        coordinator: &Coordinator,
        root: &Root,
        at_first: &'a BTreeSet<RepoPath>,
    ) -> Result<Self, Error> {
        let git = match &coordinator.git {
            Some(_) => Git::open(root.path())?,
            None => None,
        };
        let rules = git.map(Rules::of).transpose()?;
        Ok(Self { at_first, rules })
    }

    /// Tells whether to pass over something that is no directory.
    pub(super) fn has_file(&self, path: &RepoPath) -> Result<bool, Error> {
        if self.was_at_first(path) {
            return Ok(true);
        }
        match &self.rules {
            Some(rules) if !rules.tracked.contains_key(path.as_bytes()) => rules.name(path, false),
            _ => Ok(false),
        }
    }

    /// Tells whether to pass over a directory, with all that is in it.
    pub(super) fn has_directory(&self, path: &RepoPath) -> Result<bool, Error> {
        if self.was_at_first(path) {
            return Ok(true);
        }
        match &self.rules {
            Some(rules) if !rules.track_below(path) => rules.name(path, true),
            _ => Ok(false),
        }
    }

    fn was_at_first(&self, path: &RepoPath) -> bool {
        !self.at_first.is_empty()
            && (self.at_first.contains(path) || path.ancestors().any(|above| self.at_first.contains(&above)))
    }
}

impl Rules {
    fn of(git: Git) -> Result<Self, Error> {
        let tracked = git.index()?.modes();
        Ok(Self {
            git,
            tracked,
            directories: RefCell::default(),
        })
    }

    /// Tells whether a path is ignored, or any directory above it: what is in an ignored directory cannot be taken out of the rules.
    fn name(&self, path: &RepoPath, is_directory: bool) -> Result<bool, Error> {
        let mut above: Vec<RepoPath> = path.ancestors().collect();
        above.reverse();
        for directory in above {
            if self.name_directory(directory)? {
                return Ok(true);
            }
        }
        if is_directory {
            self.name_directory(path.clone())
        } else {
            Ok(self.git.is_ignored(path)?)
        }
    }

    fn name_directory(&self, path: RepoPath) -> Result<bool, Error> {
        if let Some(known) = self.directories.borrow().get(&path) {
            return Ok(*known);
        }
        let is_ignored = self.git.is_ignored(&path)?;
        self.directories.borrow_mut().insert(path, is_ignored);
        Ok(is_ignored)
    }

    /// Tells whether anything in a directory is tracked.
    fn track_below(&self, directory: &RepoPath) -> bool {
        let below = [directory.as_bytes(), b"/"].concat();
        let next = self.tracked.range(below.clone()..).next();
        next.is_some_and(|(path, _)| path.starts_with(&below))
    }
}
