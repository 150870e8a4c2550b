//! `lock`, `unlock`, `renew`: a task's lock set grows, shrinks, stays alive.

use std::collections::BTreeSet;
use std::ffi::OsString;

use crate::coordinator::provider::Wish;
use crate::coordinator::{Coordinator, Error, Observer, resolve};
use crate::model::{Amount, Conflict, Lock, LockSet, Mode, Resource, TaskId};
use crate::store::{Asker, Release, Steal, Task, Wait};

/// One thing to lock, as the user typed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What.
    pub what: WantedKind,
    /// Shared or exclusive.
    pub mode: Mode,
}

/// What a wanted thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedKind {
    /// A file, a directory (ends in a slash or is one) or a glob, relative to where the user stands.
    Path(OsString),
    /// A service, such as `database` or `database:5432`.
    Service(String),
    /// A port: any one, or the one of this number.
    Port(Option<u16>),
    /// A member of a pool: any one, or the one of this name.
    Pool(String, Option<String>),
    /// A part of a quota.
    Quota(String, Amount),
    /// What a registered provider gives out.
    Share(Wish),
}

/// What to add to a task's lock set.
#[derive(Debug, Clone)]
pub struct LockRequest {
    /// What is wanted. Nothing at all means: win back the write locks on what is staged.
    pub wants: Vec<Wanted>,
    /// Whether to wait for others.
    pub wait: Wait,
}

/// Whose locks to take by force, and why.
#[derive(Debug, Clone)]
pub struct ForceUnlock {
    /// Take them from this task only.
    pub from: Option<TaskId>,
    /// Take only these; nothing at all means everything that `from` holds.
    pub wants: Vec<Wanted>,
    /// Who does it, for the history.
    pub by: String,
    /// Why, for the history.
    pub reason: String,
}

/// What was taken by force.
#[derive(Debug, Clone)]
pub struct Forced {
    /// The locks, and from whom.
    pub taken: Vec<Conflict>,
    /// The runs in place among them that stand still: what they have changed in the working tree is there until their processes go on
    /// or are killed.
    pub still: Vec<TaskId>,
}

impl Coordinator {
    /// Adds to the lock set of `task`: all of it or nothing. A task whose lease was lost may win its locks back here.
    pub fn lock(
        &mut self,
        task: &TaskId,
        request: &LockRequest,
        observer: &mut dyn Observer,
    ) -> Result<Task, Error> {
        let wants = if request.wants.is_empty() {
            self.staged_paths(task)?
        } else {
            resolve::request(self, &request.wants)?
        };
        let grant = self.acquire(&Asker::Task(task.clone()), &wants, request.wait, observer)?;
        self.store.after_command();
        Ok(grant.task)
    }

    /// Gives back `wants`, or everything when nothing is named. Staged changes stay with the task.
    pub fn unlock(&mut self, task: &TaskId, wants: &[Wanted]) -> Result<Vec<Lock>, Error> {
        let what = if wants.is_empty() {
            Release::All
        } else {
            Release::Some(
                resolve::lock_set(self, wants)?
                    .iter()
                    .map(|lock| lock.resource)
                    .collect(),
            )
        };
        let released = self
            .store
            .release(task, &what)
            .map_err(|error| Error::of_lease(error, task))?;
        let resources: Vec<Resource> = released.iter().map(|lock| lock.resource.clone()).collect();
        self.providers.released(&resources);
        self.store.after_command();
        Ok(released)
    }

    /// Takes locks from their holders by force. Their tokens are dead at once, the waiters are served, and the history
    /// says who did it and why. A commit that is decided is completed instead.
    pub fn force_unlock(&mut self, request: &ForceUnlock) -> Result<Forced, Error> {
        if request.from.is_none() && request.wants.is_empty() {
            return Err(Error::Usage(
                "Name a task or a path to unlock by force".to_owned(),
            ));
        }
        let resources: Vec<Resource> = resolve::lock_set(self, &request.wants)?
            .iter()
            .map(|lock| lock.resource)
            .collect();
        let mut still = self.end_runs_in_place(request.from.as_ref(), &resources)?;
        let taken = self.store.steal(&Steal {
            from: request.from.clone(),
            resources,
            by: request.by.clone(),
            reason: request.reason.clone(),
        })?;
        // One that began to work between the look and the theft puts back what it has kept, before anybody may write.
        let tasks: BTreeSet<&TaskId> = taken.iter().map(|conflict| &conflict.holder.task).collect();
        for task in tasks {
            if still.contains(task) {
                continue;
            }
            match self.end_runs_in_place(Some(task), &[]) {
                Ok(more) => still.extend(more),
                Err(error) => tracing::warn!(%error, "a run in place may still put back what it has kept"),
            }
        }
        self.store.after_command();
        Ok(Forced { taken, still })
    }

    /// Extends the lease of `task` to its full length from now.
    pub fn renew(&mut self, task: &TaskId) -> Result<Task, Error> {
        let task = self.require_lease(task)?;
        self.store.after_command();
        Ok(task)
    }

    fn staged_paths(&mut self, task: &TaskId) -> Result<LockSet, Error> {
        let transaction = self.open_transaction(task)?;
        let changes = self.store.changes(&transaction.id)?;
        if changes.is_empty() {
            return Err(Error::Usage(
                "Name what to lock with -w, -r, -s, --port, --pool or --quota".to_owned(),
            ));
        }
        let locks = changes.into_iter().map(|change| Lock {
            resource: Resource::File(change.path),
            mode: Mode::Write,
        });
        Ok(locks.collect())
    }
}
