//! What is there before a run in the working tree itself begins to work.

use std::collections::BTreeSet;

use crate::coordinator::Error;
use crate::coordinator::in_place::ignored::Ignored;
use crate::coordinator::in_place::kept::KeptMode;
use crate::coordinator::in_place::{is_kept_kind, modes, put_back};
use crate::disk::contained::Root;
use crate::disk::walk;
use crate::model::{Depth, RepoPath, Resource};

/// What locks cover. What cannot be looked at cannot be kept, so it is an error.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The files and symlinks, without those that git ignores.
    pub(super) files: BTreeSet<RepoPath>,
    /// The directories, without those that git ignores.
    pub(super) directories: BTreeSet<RepoPath>,
    /// What git ignores: a directory stands for all that is in it.
    pub(super) ignored: BTreeSet<RepoPath>,
}

impl Survey {
    /// Looks at what `locks` cover.
    pub(super) fn of(root: &Root, locks: &[Resource], ignored: &Ignored) -> Result<Self, Error> {
        let mut survey = Self::default();
        for lock in locks {
            match lock {
                Resource::File(path) => {
                    let found = root.find(path)?.map(|(_, stat)| stat.kind);
                    if found.is_some_and(is_kept_kind) {
                        survey.add_file(path.clone(), ignored)?;
                    }
                }
                Resource::Directory(above, depth) => {
                    let is_there = match above {
                        Some(above) => put_back::is_directory(root, above)?,
                        None => true,
                    };
                    let is_entered = match above {
                        Some(above) if is_there => survey.enter(above.clone(), ignored)?,
                        _ => is_there,
                    };
                    if is_entered {
                        survey.walk(root, above.as_ref(), *depth, ignored)?;
                    }
                }
                _ => {}
            }
        }
        Ok(survey)
    }

    /// Returns the directories with their permissions.
    pub(super) fn modes(&self, root: &Root) -> Result<Vec<KeptMode>, Error> {
        modes::of(root, &self.directories)
    }

    fn walk(
        &mut self,
        root: &Root,
        above: Option<&RepoPath>,
        depth: Depth,
        ignored: &Ignored,
    ) -> Result<(), Error> {
        let from = above.map_or_else(
            || root.path().to_owned(),
            |above| root.path().join(above.as_path()),
        );
        // What has no legal path is not there, as to git.
        let path_of = |below: &[u8]| match above {
            Some(above) => above.join(below).ok(),
            None => RepoPath::new(below).ok(),
        };
        let found = walk::below(&from, &mut |below| match path_of(below) {
            Some(path) => Ok::<_, Error>(self.enter(path, ignored)? && depth == Depth::Recursive),
            None => Ok(false),
        })?;
        for found in found.into_iter().filter(|found| is_kept_kind(found.stat.kind)) {
            if let Some(path) = path_of(&found.path) {
                self.add_file(path, ignored)?;
            }
        }
        Ok(())
    }

    /// Tells whether to look into a directory.
    fn enter(&mut self, path: RepoPath, ignored: &Ignored) -> Result<bool, Error> {
        if ignored.has_directory(&path)? {
            self.ignored.insert(path);
            return Ok(false);
        }
        self.directories.insert(path);
        Ok(true)
    }

    fn add_file(&mut self, path: RepoPath, ignored: &Ignored) -> Result<(), Error> {
        if ignored.has_file(&path)? {
            self.ignored.insert(path);
        } else {
            self.files.insert(path);
        }
        Ok(())
    }
}
