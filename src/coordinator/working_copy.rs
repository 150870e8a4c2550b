//! What a run hands to whoever works for it: where that is, as whom, and with what.

use std::path::PathBuf;

use crate::coordinator::Why;
use crate::coordinator::heartbeat::Leash;
use crate::coordinator::worktrees::TRANSACTION_VARIABLE;
use crate::host::stray;
use crate::model::{Resource, TaskId, Token, TransactionId};

/// Where a run works, and as whom.
#[derive(Debug, Clone)]
pub struct WorkingCopy {
    /// The root of what it may change.
    pub root: PathBuf,
    /// The task.
    pub task: TaskId,
    /// Its transaction.
    pub transaction: TransactionId,
    /// The fencing number of its grant.
    pub token: Token,
    /// What the task holds.
    pub resources: Vec<Resource>,
    /// The variables that tell what it was given of what is shared out: ports, members of pools, parts of quotas.
    pub given: Vec<(String, String)>,
    /// Tells when the locks are lost.
    pub leash: Leash,
    /// Takes down for the history why the work fails.
    pub why: Why,
}

impl WorkingCopy {
    /// Returns the variables by which a program that works here knows as whom.
    pub fn variables(&self) -> Vec<(String, String)> {
        let own = [
            ("MIRROR_TASK", self.task.to_string()),
            ("MIRROR_TRANSACTION", self.transaction.to_string()),
            ("MIRROR_TOKEN", self.token.to_string()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        own.into_iter().chain(self.given.iter().cloned()).collect()
    }

    /// Tells whether any process of the run goes on that was told these variables.
    pub fn is_worked_in(&self) -> bool {
        !stray::with_variable(TRANSACTION_VARIABLE, &self.transaction.to_string()).is_empty()
    }
}
