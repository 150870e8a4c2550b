//! What a store has to be able to do: two private traits behind the one handle.
//!
//! [`Backend`] is who holds what, and may be shared by machines. [`Registry`] is what this machine is committing, and
//! always stays here. Both take the moment and whatever is known of other processes as arguments and answer plain data;
//! nothing in them speaks of files, of git or of SQL. What they promise is written in `docs/store-contract.md` and
//! proven by one suite for every store.

use crate::model::{
    Change, Event, Lock, LockSet, Now, Owner, RepoPath, TaskId, Ticket, Token, TransactionId,
    TransactionState,
};
use crate::store::acquire::{Acquired, Line};
use crate::store::blocked::Blocked;
use crate::store::data::{
    Asker, Attempt, Decision, HeldLock, NewEvent, NewTransaction, Release, Steal, Transaction, Upkeep,
};
use crate::store::error::{DecideError, StoreError};
use crate::store::lease::Lease;
use crate::store::queue::Look;
use crate::store::rows::{Evidence, LockRow, TaskRow, WaiterRow};

type Result<T> = std::result::Result<T, StoreError>;

/// A task with what it holds.
pub(crate) type TaskAndLocks = (TaskRow, Vec<HeldLock>);

/// A lock with the task that holds it.
pub(crate) type LockAndTask = (LockRow, TaskRow);

/// Who was robbed of what.
pub(crate) type Stolen = Vec<TaskAndLocks>;

/// Whom to wake: their locks are inserted already.
pub(crate) type Wake = Vec<Ticket>;

/// Who holds what. Every method is one atomic act.
pub(crate) trait Backend: Send {
    /// Grants all of `wants` or nothing, in order of arrival; refuses or queues the request as `line` says.
    fn acquire(
        &mut self,
        now: &Now,
        asker: &Asker,
        wants: &LockSet,
        line: &Line,
        evidence: &Evidence,
    ) -> Result<Acquired>;
    /// Looks what a waiter would find. Only reads.
    fn look(&mut self, now: &Now, ticket: Ticket, evidence: &Evidence) -> Result<Look>;
    /// Claims what was handed to a waiter, or grants it what is free now.
    fn claim(&mut self, now: &Now, ticket: Ticket, evidence: &Evidence) -> Result<Acquired>;
    /// Ends a wait, keeping its place for a while.
    fn leave(&mut self, now: &Now, ticket: Ticket) -> Result<Acquired>;
    /// Removes a waiter if `owner`, who is known to be dead or gives up, still stands at its place.
    fn bury(&mut self, now: &Now, ticket: Ticket, owner: &Owner) -> Result<Wake>;
    /// Extends a lease.
    fn renew(&mut self, now: &Now, task: &TaskId) -> Result<Lease>;
    /// Gives locks back, at any time and any number of times.
    fn release(&mut self, now: &Now, task: &TaskId, what: &Release) -> Result<(Lease, Vec<Lock>, Wake)>;
    /// Takes leases by force.
    fn steal(&mut self, now: &Now, steal: &Steal) -> Result<(Stolen, Wake)>;
    /// Reaps every lease and every place that has ended, by its time or by what `evidence` says.
    fn reap(&mut self, now: &Now, evidence: &Evidence) -> Result<(Vec<TaskId>, Wake)>;
    /// Reads one task.
    fn task(&mut self, now: &Now, task: &TaskId) -> Result<Option<TaskAndLocks>>;
    /// Reads all tasks, by name.
    fn tasks(&mut self, now: &Now) -> Result<Vec<TaskAndLocks>>;
    /// Reads one place in the queue.
    fn waiter(&mut self, now: &Now, ticket: Ticket) -> Result<Option<WaiterRow>>;
    /// Reads the queue, each waiter with those in its way.
    fn waiters(&mut self, now: &Now) -> Result<Vec<Blocked>>;
    /// Reads every lock that conflicts with one of `wants`.
    fn conflicting(
        &mut self,
        now: &Now,
        wants: &LockSet,
        except: Option<&TaskId>,
    ) -> Result<Vec<LockAndTask>>;
}

/// What this machine is committing, and what has happened.
pub(crate) trait Registry: Send {
    fn open_transaction(&mut self, now: &Now, new: &NewTransaction) -> Result<Transaction>;
    fn transaction(&mut self, now: &Now, id: &TransactionId) -> Result<Option<Transaction>>;
    fn current_transaction(&mut self, now: &Now, task: &TaskId) -> Result<Option<Transaction>>;
    fn transactions(&mut self, now: &Now) -> Result<Vec<Transaction>>;
    /// Only those that recovery has work with; cheap when there are none.
    fn unfinished(&mut self, now: &Now) -> Result<Vec<Transaction>>;

    fn changes(&mut self, now: &Now, id: &TransactionId) -> Result<Vec<Change>>;
    /// Records and removes changes of an open transaction, and renews its task's lease in the same act. Unless that is
    /// held, nothing is recorded.
    fn edit_changes(
        &mut self,
        now: &Now,
        id: &TransactionId,
        put: &[Change],
        remove: &[RepoPath],
    ) -> Result<Lease>;

    /// Begins a commit attempt; answers the task's token.
    fn begin_commit(&mut self, now: &Now, id: &TransactionId, attempt: &Attempt) -> Result<Token>;
    /// The commit point.
    fn decide(&mut self, now: &Now, decision: &Decision<'_>) -> std::result::Result<(), DecideError>;
    /// Moves a transaction to a state that has no other consequence. `Aborting` and `Conflict` are durable.
    fn advance(&mut self, now: &Now, id: &TransactionId, to: TransactionState) -> Result<()>;
    /// Ends a transaction, done or rolled back, with its task and its locks, and serves the queue. Durable for `Done`.
    /// Doing it again changes nothing.
    fn end(
        &mut self,
        now: &Now,
        id: &TransactionId,
        to: TransactionState,
        reason: Option<&str>,
    ) -> Result<Wake>;
    /// Forgets a transaction that has ended.
    fn forget(&mut self, now: &Now, id: &TransactionId) -> Result<()>;

    fn record(&mut self, now: &Now, event: &NewEvent) -> Result<()>;
    fn events(&mut self, after: u64, limit: usize) -> Result<Vec<Event>>;
    /// The same before a place in it, the newest first.
    fn events_before(&mut self, before: u64, limit: usize) -> Result<Vec<Event>>;
    fn last_event(&mut self) -> Result<u64>;
    /// Does one bounded piece of work on the history. Answers how many lines or rows it was about.
    fn upkeep(&mut self, what: &Upkeep) -> Result<usize>;
    /// Tells how much room the history takes, nearly.
    fn history_bytes(&mut self) -> Result<u64>;
    /// A name that tells this store from any other that could be put in its place.
    fn identity(&mut self) -> Result<String>;
    /// Whether what is stored holds together; what does not, in words.
    fn check(&mut self) -> Result<Vec<String>>;
    /// Work that nobody should have to wait for, after an answer was given: a log above this length is folded.
    fn after_command(&mut self, log_bytes_max: u64) -> Result<()>;
}

/// A whole store.
pub(crate) trait Parts: Backend + Registry {
    /// Opens another handle on the same store.
    fn another(&self) -> Result<Box<dyn Parts>>;
}
