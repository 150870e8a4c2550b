//! `check`: may these paths be written now? The same question as the git hooks ask.

use std::ffi::OsString;

use crate::coordinator::{Coordinator, Error, resolve};
use crate::model::{Conflict, Lock, LockSet, Mode, RepoPath, Resource, TaskId};

impl Coordinator {
    /// Answers what others hold that keeps `task`, or somebody without a task, from writing the typed paths.
    /// Empty means that nothing does.
    pub fn check(&mut self, typed: &[OsString], task: Option<&TaskId>) -> Result<Vec<Conflict>, Error> {
        let mut locks = LockSet::new();
        for typed in typed {
            for resource in resolve::resources(self, typed)? {
                locks.insert(Lock {
                    resource,
                    mode: Mode::Write,
                });
            }
        }
        self.in_the_way(&locks, task)
    }

    /// The same for paths that are known already, such as those of a git commit.
    pub fn check_paths(
        &mut self,
        paths: impl IntoIterator<Item = RepoPath>,
        task: Option<&TaskId>,
    ) -> Result<Vec<Conflict>, Error> {
        let fold = resolve::folds(self);
        let locks = paths.into_iter().map(|path| Lock {
            resource: Resource::File(if fold { path.folded() } else { path }),
            mode: Mode::Write,
        });
        self.in_the_way(&locks.collect(), task)
    }

    /// Whoever only waits for a path does not keep others from writing it.
    fn in_the_way(&mut self, locks: &LockSet, task: Option<&TaskId>) -> Result<Vec<Conflict>, Error> {
        let mut conflicts = self.store.conflicts(locks, task)?;
        conflicts.retain(|conflict| !conflict.waiting);
        Ok(conflicts)
    }
}
