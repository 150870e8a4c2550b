//! What happened, as the history tells it.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::id::{TaskId, TransactionId};
use super::lock::Token;
use super::time::WallTime;

/// The key in a task's metadata under which an undo names the transaction that it takes back.
pub const UNDOES: &str = "mirror.undoes";

/// One line of the history, written in the same act as what it tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place in the history: larger than that of every earlier event.
    pub seq: u64,
    /// When, on the wall clock.
    pub at: WallTime,
    /// What.
    pub kind: EventKind,
    /// Which task.
    pub task: Option<TaskId>,
    /// Which transaction.
    pub transaction: Option<TransactionId>,
    /// Which resource, in its display form.
    pub resource: Option<String>,
    /// Which grant.
    pub token: Option<Token>,
    /// Why, in the words of whoever did it.
    pub reason: Option<String>,
    /// Anything else worth keeping.
    pub details: Map<String, Value>,
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])+ $variant:ident = $word:literal),+ $(,)?) => {
        /// What can happen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $($(#[$doc])+ $variant,)+
        }

        impl EventKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the word that the history shows.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

event_kinds! {
    /// A task opened a transaction.
    TaskBegan = "task.began",
    /// A transaction was committed.
    TaskCommitted = "task.committed",
    /// A transaction was dropped.
    TaskRolledBack = "task.rolled_back",
    /// A transaction that a crash left was finished or undone.
    TaskRecovered = "task.recovered",
    /// A committed transaction was taken back by a later one.
    TaskUndone = "task.undone",
    /// The decision: from here a commit only goes forward.
    TaskDecided = "task.decided",
    /// A commit attempt was given up before its decision.
    TaskAborted = "task.aborted",
    /// A grant.
    ResourceLocked = "resource.locked",
    /// Given back.
    ResourceUnlocked = "resource.unlocked",
    /// The lease was extended by `renew`.
    ResourceRenewed = "resource.renewed",
    /// A lease that ran out, or whose owner died, was reaped.
    ResourceExpired = "resource.expired",
    /// `unlock --force`: taken from its holder by somebody else, with a reason.
    ResourceStolen = "resource.stolen",
    /// A request joined the queue.
    ResourceWaited = "resource.waited",
    /// A request was refused.
    ResourceContended = "resource.contended",
    /// A wait ran out of time.
    ResourceTimedOut = "resource.timed_out",
    /// A change was staged.
    ChangeStaged = "change.staged",
    /// A staged change was taken back.
    ChangeUnstaged = "change.unstaged",
    /// A git hook refused.
    HookRefused = "hook.refused",
    /// A git hook was told to let something pass.
    HookBypassed = "hook.bypassed",
    /// A place in the queue was given up before its turn came.
    ResourceGivenUp = "resource.given_up",
    /// A wait that would have closed a cycle was refused.
    DeadlockFound = "deadlock.found",
    /// Foreign bytes were found while applying, and kept.
    ForeignWriteKept = "workspace.quarantined",
    /// A working copy of the pool was made.
    WorktreeCreated = "worktree.created",
    /// A working copy was handed to a run.
    WorktreeLeased = "worktree.leased",
    /// A working copy came back and waits for the next run.
    WorktreeReturned = "worktree.returned",
    /// A working copy came back and could not be reset.
    WorktreeFailed = "worktree.failed",
    /// A working copy was removed.
    WorktreeDisposed = "worktree.disposed",
    /// A new boot was noticed and the tokens were raised.
    StoreRebooted = "store.rebooted",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str() == text)
            .ok_or(())
    }
}
