//! The rows that the lock rules are written on: what both engines keep, and the questions that the rules ask of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::{
    Change, Lock, LockSet, Now, Owner, RepoPath, Resource, TaskId, Ticket, Token, TransactionId, Verdict,
    WallTime,
};
use crate::store::data::{HeldLock, NewEvent, Transaction};
use crate::store::error::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

/// A task's row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskRow {
    pub(crate) id: TaskId,
    /// Zero until the first grant.
    pub(crate) token: Token,
    pub(crate) owner: Owner,
    pub(crate) ttl_ns: i64,
    pub(crate) max_hold_ns: i64,
    /// On the clock of `owner.boot`.
    pub(crate) renewed_ns: i64,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) since: WallTime,
    /// Its lease was taken by another. The row stays, so that its verbs hear of it.
    pub(crate) lost: bool,
}

/// A lock of some task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockRow {
    pub(crate) task: TaskId,
    pub(crate) lock: Lock,
    pub(crate) token: Token,
}

/// A place in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaiterRow {
    /// The order of arrival.
    pub(crate) seq: u64,
    pub(crate) ticket: Ticket,
    pub(crate) task: TaskId,
    pub(crate) wants: LockSet,
    /// The process that waits.
    pub(crate) owner: Owner,
    pub(crate) since: WallTime,
    pub(crate) phase: Phase,
    /// When the place ends if nobody moves it on, on the clock of `owner.boot`. No place is kept for ever: its waiter may
    /// have died where nobody can see it.
    pub(crate) until_ns: i64,
}

/// How far a place in the queue has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Somebody waits.
    Waiting,
    /// The asker's time ran out; the place is kept in case it asks again.
    Away,
    /// The locks are inserted under this token and belong to the waiter if it claims them in time.
    Granted {
        token: Token,
        /// What the task held for reading before, or another part of the same quota: all that it keeps if the grant is
        /// taken back.
        before: Vec<Resource>,
        /// The asker was away when its turn came: that its process ended says nothing.
        absent: bool,
    },
}

/// From which end of the queue places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    First,
    Last,
}

/// A part of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Only places behind this one.
    pub(crate) after: u64,
    /// Only places before this one.
    pub(crate) before: u64,
    /// At most so many.
    pub(crate) limit: usize,
    /// If there are more, those nearest to this end.
    pub(crate) from: End,
}

/// Whose life is in question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The process that a lease is tied to.
    Lease(TaskId),
    /// The process that waits at a place in the queue.
    Place(u64),
}

/// What was found out about owners outside the act. It counts only while the subject still has the same owner.
pub(crate) type Evidence = BTreeMap<Subject, (Owner, Verdict)>;

/// Owners whose life would decide: to be asked outside the act.
pub(crate) type Questions = BTreeMap<Subject, Owner>;

/// How durable one act has to be when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives kill -9, and with power loss may be undone together with everything after it.
    Normal,
    /// Survives power loss, with everything before it.
    Full,
}

/// The rows of one store, inside one atomic act.
pub(crate) trait Rows {
    /// The moment of the act.
    fn now(&self) -> &Now;
    /// Gives out a token larger than any before.
    fn next_token(&mut self) -> Result<Token>;

    fn task(&mut self, id: &TaskId) -> Result<Option<TaskRow>>;
    /// All tasks, by name.
    fn tasks(&mut self) -> Result<Vec<TaskRow>>;
    fn put_task(&mut self, row: &TaskRow) -> Result<()>;
    /// Notes a renewal: nothing else of the row changes.
    fn touch_task(&mut self, id: &TaskId, renewed_ns: i64) -> Result<()>;
    fn delete_task(&mut self, id: &TaskId) -> Result<()>;

    /// What a task holds, in the order of resources.
    fn locks_of(&mut self, task: &TaskId) -> Result<Vec<HeldLock>>;
    /// Holds a resource in this mode under this token, whether it was held before or not.
    fn put_lock(&mut self, task: &TaskId, lock: &Lock, token: Token) -> Result<()>;
    fn delete_lock(&mut self, task: &TaskId, resource: &Resource) -> Result<()>;
    fn delete_locks_of(&mut self, task: &TaskId) -> Result<()>;
    /// The locks of others that conflict with one of `wants`, each once. With `limit`, any that many of them.
    fn conflicting(
        &mut self,
        wants: &LockSet,
        except: Option<&TaskId>,
        limit: Option<usize>,
    ) -> Result<Vec<LockRow>>;

    fn has_waiters(&mut self) -> Result<bool>;
    /// The whole queue, in order of arrival.
    fn waiters(&mut self) -> Result<Vec<WaiterRow>>;
    fn waiter(&mut self, ticket: Ticket) -> Result<Option<WaiterRow>>;
    fn waiter_at(&mut self, seq: u64) -> Result<Option<WaiterRow>>;
    /// The places of one task, in order of arrival.
    fn waiters_of(&mut self, task: &TaskId) -> Result<Vec<WaiterRow>>;
    /// The places of one part of the queue that still wait and whose request conflicts with one of `wants`, whosever they
    /// are, in order of arrival.
    fn conflicting_places(&mut self, wants: &LockSet, part: Part) -> Result<Vec<u64>>;
    /// Puts a waiter at the end of the queue; `row.seq` is not read.
    fn queue(&mut self, row: &WaiterRow) -> Result<()>;
    /// Changes a waiter's ticket, owner, phase and end; its place and its request stay.
    fn update_waiter(&mut self, row: &WaiterRow) -> Result<()>;
    fn delete_waiter(&mut self, row: &WaiterRow) -> Result<()>;

    fn transaction(&mut self, id: &TransactionId) -> Result<Option<Transaction>>;
    /// All that are known, the oldest first.
    fn transactions(&mut self) -> Result<Vec<Transaction>>;
    /// The transaction of a task that is neither done nor rolled back.
    fn current_transaction(&mut self, task: &TaskId) -> Result<Option<Transaction>>;
    fn put_transaction(&mut self, row: &Transaction) -> Result<()>;
    fn delete_transaction(&mut self, id: &TransactionId) -> Result<()>;

    /// The changes of a transaction, by path.
    fn changes(&mut self, transaction: &TransactionId) -> Result<Vec<Change>>;
    fn put_change(&mut self, transaction: &TransactionId, change: &Change) -> Result<()>;
    fn delete_change(&mut self, transaction: &TransactionId, path: &RepoPath) -> Result<()>;
    fn delete_changes(&mut self, transaction: &TransactionId) -> Result<()>;

    /// Writes a line of the history.
    fn event(&mut self, event: &NewEvent) -> Result<()>;
}

impl WaiterRow {
    /// Tells whether the place has ended by its time.
    pub(crate) fn is_over(&self, now: &Now) -> bool {
        self.owner.boot != now.boot || self.until_ns <= now.boottime_ns
    }

    /// Tells whether the request still waits for its turn.
    pub(crate) fn is_queued(&self) -> bool {
        !matches!(self.phase, Phase::Granted { .. })
    }

    /// Tells whether a process is believed to listen, so that its death ends the place.
    pub(crate) fn is_attended(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Granted { absent: false, .. })
    }
}

impl Part {
    /// The first `limit` places before `before`.
    pub(crate) fn first(limit: usize, before: u64) -> Self {
        Self {
            after: 0,
            before,
            limit,
            from: End::First,
        }
    }
}
