//! The queue before a branch: whoever validates lands alone, in the order of arrival.
//!
//! A validation holds for the tree that it saw. Were several to validate at once, the first to land would make the others
//! validate again, and again; so each takes its turn first. The turn is a lock like any other, handed on by the store; but it
//! belongs to the process that validates, not to the task, which may outlive it by a whole lease.

use std::time::Duration;

use serde_json::Map;

use crate::coordinator::running::Mark;
use crate::coordinator::{Coordinator, Error, Leash, Observer};
use crate::git::Head;
use crate::model::{Conflict, Lock, LockSet, Mode, RefName, Resource, TaskId, TransactionId};
use crate::store::{Asker, LeaseError, NewTask, Release, Transaction, Wait};

/// How long a landing waits for those before it. Each of them is alive, or is passed over.
const WAIT_MAX: Duration = Duration::from_hours(24);

/// What the name of whoever holds a turn begins with; the transaction follows.
pub(super) const PREFIX: &str = "landing.";

/// What the reason of whoever holds a turn begins with; the task that lands follows.
const REASON: &str = "validating the commit of ";

/// Tells of those before in the line as the tasks that they are: a turn's own name and time mean nothing to anybody.
struct InLine<'a>(&'a mut dyn Observer);

impl Observer for InLine<'_> {
    fn waiting(&mut self, conflicts: &[Conflict]) {
        let mut named = conflicts.to_vec();
        for holder in named.iter_mut().map(|conflict| &mut conflict.holder) {
            let task = holder
                .reason
                .as_deref()
                .and_then(|reason| reason.strip_prefix(REASON));
            if let Some(Ok(task)) = task.map(TaskId::new) {
                (holder.task, holder.reason) = (task, None);
            }
        }
        self.0.waiting(&named);
    }

    fn waited(&mut self) {
        self.0.waited();
    }
}

/// The turn to land.
#[must_use = "the next one waits for it"]
#[derive(Debug)]
pub(super) struct Turn {
    /// Who holds it.
    id: TaskId,
    /// Tells others that this process lives.
    mark: Mark,
}

impl Coordinator {
    /// Waits until nobody else is landing where `transaction` will, for as long as its locks are held. Answers who holds the turn; nobody
    /// without git.
    pub(super) fn take_turn(
        &mut self,
        transaction: &Transaction,
        leash: &Leash,
        observer: &mut dyn Observer,
    ) -> Result<Option<Turn>, Error> {
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
            reason: Some(format!("{REASON}{}", transaction.task)),
            metadata: Map::new(),
        };
        let id = holder.id.clone();
        let mark = self.mark(&id)?;
        let wants: LockSet = [turn].into_iter().collect();
        let interrupters = [self.interrupter(), leash.interrupter()];
        let wait = Wait::UpTo(WAIT_MAX);
        let granted = self.acquire_unless(
            &interrupters,
            &Asker::New(holder),
            &wants,
            wait,
            &mut InLine(observer),
        );
        let turn = Turn { id, mark };
        if let Err(error) = granted {
            self.give_turn_back(turn);
            return Err(match error {
                Error::Interrupted { .. } => leash.reason(&transaction.task),
                other => other,
            });
        }
        Ok(Some(turn))
    }

    /// Lets the next one land. At best effort: a turn ends with its process, and whoever finds its mark clears it up.
    pub(super) fn give_turn_back(&mut self, turn: Turn) {
        match self.forget_turn(&turn.id) {
            Ok(()) => turn.mark.remove(),
            Err(error) => tracing::warn!(%error, "the turn to land ends with this process"),
        }
    }

    /// Frees a turn, if it is not free yet.
    pub(super) fn forget_turn(&mut self, holder: &TaskId) -> Result<(), Error> {
        match self.store.release(holder, &Release::All) {
            Ok(_) | Err(LeaseError::Lost | LeaseError::Unknown) => Ok(()),
            Err(LeaseError::Store(error)) => Err(error.into()),
        }
    }
}

fn holder_of(transaction: &TransactionId) -> TaskId {
    TaskId::new(format!("{PREFIX}{transaction}")).expect("BUG: a word and a uuid make a task id")
}
