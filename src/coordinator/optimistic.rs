//! The optimistic strategy: no file is locked before the commit.
//!
//! The commit takes the write locks of exactly the staged paths for its own duration, all of them or none, in the queue like
//! everybody else. From there it is an ordinary commit: the bases have to match, or the task's branch has to merge, and the
//! decision checks the token and the locks. Whatever comes of it, the locks are given back. Only a kill between the grant and
//! the first step of the commit leaves them to the lease.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::Strategy;
use crate::coordinator::{Coordinator, Error, Observer, resolve};
use crate::git::{Git, Head};
use crate::model::{Change, Kind, Lock, LockSet, Mode, Resource, TaskId};
use crate::store::{Asker, Release, Task, Transaction, Wait};

/// The key in a task's metadata that says so.
const KEY: &str = "mirror.strategy";

/// How long a commit waits for others at most, unless it is told otherwise.
const WAIT: Duration = Duration::from_secs(30);

/// Tells whether a task locks its files only when it commits.
pub(super) fn is_optimistic(task: &Task) -> bool {
    task.metadata.get(KEY).and_then(Value::as_str) == Some(Strategy::Optimistic.as_str())
}

/// Notes in the metadata of a task that it is one of these.
pub(super) fn mark(metadata: &mut Map<String, Value>) {
    metadata.insert(KEY.to_owned(), Strategy::Optimistic.as_str().into());
}

/// Leaves out the locks that such a task does without.
pub(super) fn without_files(locks: &LockSet) -> LockSet {
    let is_file = |lock: &Lock| matches!(lock.resource, Resource::File(_) | Resource::Directory(..));
    locks.iter().filter(|lock| !is_file(lock)).collect()
}

/// Tells whether there is a commit that a branch could begin from, and a branch to land on.
pub(super) fn can_branch(git: &Git) -> Result<bool, Error> {
    Ok(matches!(git.head()?, Head::Branch { tip: Some(_), .. }))
}

impl Coordinator {
    /// Takes the locks of a commit and answers them.
    pub(super) fn lock_staged(
        &mut self,
        task: &TaskId,
        transaction: &Transaction,
        wait: Option<Duration>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Resource>, Error> {
        let resources = self.staged_files(transaction)?;
        let wants: LockSet = resources
            .iter()
            .map(|resource| Lock {
                resource: resource.clone(),
                mode: Mode::Write,
            })
            .collect();
        if !resources.is_empty() {
            let wait = Wait::UpTo(wait.unwrap_or(WAIT));
            drop(self.acquire(&Asker::Task(task.clone()), &wants, wait, observer)?);
        }
        Ok(resources)
    }

    /// Gives them back after a commit that came to nothing. What is decided, or may be, recovery ends.
    pub(super) fn let_go(&mut self, task: &TaskId, resources: Vec<Resource>, error: &Error) {
        if resources.is_empty() || matches!(error.kind(), Kind::Pending | Kind::Unknown) {
            return;
        }
        if let Err(error) = self.store.release(task, &Release::Some(resources)) {
            tracing::warn!(%error, "giving the locks of the commit back is left to the lease");
        }
    }

    /// Gives the locks back that a dead commit has left.
    pub(super) fn let_go_of_dead(&mut self, transaction: &Transaction) -> Result<(), Error> {
        let Some(task) = self.store.task(&transaction.task)? else {
            return Ok(());
        };
        if is_optimistic(&task) {
            let resources = self.staged_files(transaction)?;
            // Locks that are gone already are what is wanted.
            drop(self.store.release(&task.id, &Release::Some(resources)));
        }
        Ok(())
    }

    fn staged_files(&mut self, transaction: &Transaction) -> Result<Vec<Resource>, Error> {
        let fold = resolve::folds(self);
        let file = |change: Change| Resource::File(if fold { change.path.folded() } else { change.path });
        Ok(self
            .store
            .changes(&transaction.id)?
            .into_iter()
            .map(file)
            .collect())
    }
}
