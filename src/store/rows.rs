//! The rows that the lock rules are written on, and the two engines' common shape.

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
    pub(crate) token: Token,
    pub(crate) owner: Owner,
    pub(crate) ttl_ns: i64,
    pub(crate) max_hold_ns: i64,
    /// On the clock of `owner.boot`.
    pub(crate) renewed_ns: i64,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) since: WallTime,
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
}

/// How far a place in the queue has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Somebody waits.
    Waiting,
    /// The asker's time ran out; the place is kept until this moment in case it asks again.
    Away { until_ns: i64 },
    /// The locks are inserted under this token and belong to the waiter if it claims them until this moment.
    Granted { token: Token, until_ns: i64 },
}

/// How durable one act has to be when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives kill -9, and with power loss may be undone together with everything after it.
    Normal,
    /// Survives power loss, with everything before it.
    Full,
}

/// What was found out about owners outside the act, by grant. It counts only while the grant is still the same.
pub(crate) type Evidence = BTreeMap<(TaskId, Token), Verdict>;

/// The rows of one store, inside one atomic act.
pub(crate) trait Rows {
    /// The moment of the act.
    fn now(&self) -> &Now;
    /// Gives out a token larger than any before.
    fn next_token(&mut self) -> Result<Token>;

    fn task(&mut self, id: &TaskId) -> Result<Option<TaskRow>>;
    fn tasks(&mut self) -> Result<Vec<TaskRow>>;
    fn put_task(&mut self, row: &TaskRow) -> Result<()>;
    /// Notes a renewal: nothing else of the row changes.
    fn touch_task(&mut self, id: &TaskId, renewed_ns: i64) -> Result<()>;
    fn delete_task(&mut self, id: &TaskId) -> Result<()>;

    fn locks_of(&mut self, task: &TaskId) -> Result<Vec<HeldLock>>;
    fn put_lock(&mut self, task: &TaskId, lock: &Lock, token: Token) -> Result<()>;
    fn delete_lock(&mut self, task: &TaskId, resource: &Resource) -> Result<()>;
    fn delete_locks_of(&mut self, task: &TaskId) -> Result<()>;
    /// Every lock of others that overlaps one of `wants`, whatever the modes.
    fn overlapping(&mut self, wants: &LockSet, except: Option<&TaskId>) -> Result<Vec<LockRow>>;

    fn has_waiters(&mut self) -> Result<bool>;
    fn waiters(&mut self) -> Result<Vec<WaiterRow>>;
    fn waiter(&mut self, ticket: Ticket) -> Result<Option<WaiterRow>>;
    fn waiter_of(&mut self, task: &TaskId) -> Result<Option<WaiterRow>>;
    /// Every waiter whose request overlaps one of `wants`, whatever the modes, in order of arrival.
    fn waiters_overlapping(&mut self, wants: &LockSet) -> Result<Vec<WaiterRow>>;
    /// Puts a waiter at the end of the queue.
    fn queue(&mut self, row: &WaiterRow) -> Result<()>;
    /// Changes a waiter's ticket, owner and phase; its place stays.
    fn update_waiter(&mut self, row: &WaiterRow) -> Result<()>;
    fn delete_waiter(&mut self, row: &WaiterRow) -> Result<()>;

    fn transaction(&mut self, id: &TransactionId) -> Result<Option<Transaction>>;
    fn transactions(&mut self) -> Result<Vec<Transaction>>;
    /// The transaction of a task that is neither done nor rolled back.
    fn current_transaction(&mut self, task: &TaskId) -> Result<Option<Transaction>>;
    fn put_transaction(&mut self, row: &Transaction) -> Result<()>;
    fn delete_transaction(&mut self, id: &TransactionId) -> Result<()>;

    fn changes(&mut self, transaction: &TransactionId) -> Result<Vec<Change>>;
    fn put_change(&mut self, transaction: &TransactionId, change: &Change) -> Result<()>;
    fn delete_change(&mut self, transaction: &TransactionId, path: &RepoPath) -> Result<()>;
    fn delete_changes(&mut self, transaction: &TransactionId) -> Result<()>;

    fn event(&mut self, event: &NewEvent) -> Result<()>;
}
