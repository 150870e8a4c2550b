//! The queue before a branch: whoever validates lands alone, in the order of arrival.
//!
//! A validation holds for the tree that it saw. Were several to validate at once, the first to land would make the others
//! validate again, and again; so each takes its turn first. The turn is a lock like any other: it is handed on by the store,
//! and that of the dead is taken.

use std::time::Duration;

use crate::coordinator::{Coordinator, Error, Observer};
use crate::git::Head;
use crate::model::{Lock, LockSet, Mode, RefName, Resource, TaskId};
use crate::store::{Asker, Release, Transaction, Wait};

/// How long a landing waits for those before it. Each of them is alive, or is passed over.
const WAIT_MAX: Duration = Duration::from_hours(24);

impl Coordinator {
    /// Waits until nobody else is landing where `transaction` will. Answers what to give back; nothing without git.
    pub(super) fn take_turn(
        &mut self,
        transaction: &Transaction,
        observer: &mut dyn Observer,
    ) -> Result<Option<Resource>, Error> {
        let Some(git) = &self.git else {
            return Ok(None);
        };
        let target = match (&transaction.target, git.head()?) {
            (Some(target), _) => target.clone(),
            (None, Head::Branch { name, .. }) => name,
            (None, Head::Detached { .. }) => "HEAD".to_owned(),
        };
        let resource = Resource::Landing(RefName::new(target)?);
        let wants: LockSet = [Lock {
            resource: resource.clone(),
            mode: Mode::Write,
        }]
        .into_iter()
        .collect();
        let asker = Asker::Task(transaction.task.clone());
        self.acquire(&asker, &wants, Wait::UpTo(WAIT_MAX), observer)?;
        Ok(Some(resource))
    }

    /// Lets the next one land. At best effort: a turn that stays ends with the task.
    pub(super) fn give_turn_back(&mut self, task: &TaskId, turn: Resource) {
        if let Err(error) = self.store.release(task, &Release::Some(vec![turn])) {
            tracing::warn!(?error, "the turn to land ends with the task");
        }
    }
}
