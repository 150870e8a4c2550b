//! The queue before a branch: whoever validates lands alone, in the order of arrival.
//!
//! A validation holds for the tree that it saw. Were several to validate at once, the first to land would make the others
//! validate again, and again; so each takes its turn first. The turn is a lock like any other, handed on by the store; but it
//! belongs to the process that validates, not to the task, which may outlive it by a whole lease.

use std::time::Duration;

use serde_json::Map;

use crate::coordinator::{Coordinator, Error, Observer};
use crate::git::Head;
use crate::model::{Lock, LockSet, Mode, RefName, Resource, TaskId, TransactionId};
use crate::store::{Asker, LeaseError, NewTask, Release, Standing, Task, Transaction, Wait};

/// How long a landing waits for those before it. Each of them is alive, or is passed over.
const WAIT_MAX: Duration = Duration::from_hours(24);

/// What the name of whoever holds a turn begins with; the transaction follows.
const PREFIX: &str = "landing.";

impl Coordinator {
    /// Waits until nobody else is landing where `transaction` will. Answers who holds the turn; nobody without git.
    pub(super) fn take_turn(
        &mut self,
        transaction: &Transaction,
        observer: &mut dyn Observer,
    ) -> Result<Option<TaskId>, Error> {
        let Some(git) = &self.git else {
            return Ok(None);
        };
        let target = match (&transaction.target, git.head()?) {
            (Some(target), _) => target.clone(),
            (None, Head::Branch { name, .. }) => name,
            (None, Head::Detached { .. }) => "HEAD".to_owned(),
        };
        let turn = Lock {
            resource: Resource::Landing(RefName::new(target)?),
            mode: Mode::Write,
        };
        let holder = NewTask {
            id: holder_of(&transaction.id),
            owner: self.host.owner(Some(std::process::id()))?,
            ttl_ms: self.config.lock_timeout_ms,
            max_hold_ms: self.config.max_hold_ms,
            reason: Some(format!("validating the commit of {}", transaction.task)),
            metadata: Map::new(),
        };
        let id = holder.id.clone();
        let wants: LockSet = [turn].into_iter().collect();
        self.acquire(&Asker::New(holder), &wants, Wait::UpTo(WAIT_MAX), observer)?;
        self.forget_lost_turns()?;
        Ok(Some(id))
    }

    /// Forgets the turns that were taken from the dead: nobody comes back for them.
    fn forget_lost_turns(&mut self) -> Result<(), Error> {
        let tasks = self.store.tasks()?.into_iter();
        let is_lost = |task: &Task| task.standing == Standing::Lost && task.id.as_str().starts_with(PREFIX);
        for lost in tasks.filter(is_lost) {
            self.give_turn_back(&lost.id);
        }
        Ok(())
    }

    /// Lets the next one land. At best effort: a turn ends with its process.
    pub(super) fn give_turn_back(&mut self, holder: &TaskId) {
        match self.store.release(holder, &Release::All) {
            Ok(_) | Err(LeaseError::Lost | LeaseError::Unknown) => {}
            Err(LeaseError::Store(error)) => {
                tracing::warn!(%error, "the turn to land ends with this process");
            }
        }
    }
}

fn holder_of(transaction: &TransactionId) -> TaskId {
    TaskId::new(format!("{PREFIX}{transaction}")).expect("BUG: a word and a uuid make a task id")
}
