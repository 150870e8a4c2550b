//! The JSON documents, as `README.md` promises them: fields are only ever added.
//!
//! Tokens are strings, moments are RFC 3339, spans are `*_ms`.

use std::collections::BTreeMap;

use mirror::coordinator::provider::variables;
use mirror::model::{
    Change, ChangeKind, Conflict, Digest, Entry, Event, LockSet, Mode, ObjectId, RepoPath, TaskId, Token,
    TransactionId,
};
use mirror::store::{HeldLock, Task, Transaction};
use serde::Serialize;
use serde_json::{Map, Value};

use super::time;

/// A lock of a task.
#[derive(Debug, Serialize)]
pub(crate) struct LockDocument {
    pub(crate) resource: String,
    pub(crate) mode: Mode,
    token: Token,
    expires_in_ms: i64,
}

/// A lock that somebody asks for or gives back.
#[derive(Debug, Serialize)]
pub(crate) struct WantDocument {
    pub(crate) resource: String,
    pub(crate) mode: Mode,
}

/// A task with its locks, as `begin`, `lock` and `renew` answer it.
#[derive(Debug, Serialize)]
pub(crate) struct TaskDocument {
    pub(crate) task: TaskId,
    transaction: Option<TransactionId>,
    state: Option<&'static str>,
    token: Token,
    branch: Option<String>,
    base: Option<ObjectId>,
    target: Option<String>,
    pub(crate) locks: Vec<LockDocument>,
    /// The variables that tell a command what the task was given.
    allocated: BTreeMap<String, String>,
}

/// A staged change.
#[derive(Debug, Serialize)]
pub(crate) struct ChangeDocument {
    pub(crate) path: String,
    pub(crate) change: ChangeKind,
    sha256: Option<Digest>,
    size: Option<u64>,
    base_sha256: Option<Digest>,
    executable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_to: Option<String>,
}

/// The staged changes of a task.
#[derive(Debug, Serialize)]
pub(crate) struct ChangesDocument {
    pub(crate) task: TaskId,
    pub(crate) transaction: TransactionId,
    pub(crate) changes: Vec<ChangeDocument>,
}

/// Somebody who holds a lock that is in the way.
#[derive(Debug, Serialize)]
pub(crate) struct ConflictDocument {
    resource: String,
    mode: Mode,
    holder: HolderDocument,
    waiting: bool,
}

#[derive(Debug, Serialize)]
struct HolderDocument {
    task: TaskId,
    host: String,
    pid: Option<u32>,
    reason: Option<String>,
    since: String,
    expires_in_ms: i64,
}

/// Something that happened.
#[derive(Debug, Serialize)]
pub(crate) struct EventDocument {
    seq: u64,
    at: String,
    event: &'static str,
    task: Option<TaskId>,
    transaction: Option<TransactionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Token>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten)]
    details: Map<String, Value>,
}

impl LockDocument {
    /// Takes a held lock; the lease is that of its task.
    pub(crate) fn new(held: &HeldLock, expires_in_ms: i64) -> Self {
        Self {
            resource: held.lock.resource.to_string(),
            mode: held.lock.mode,
            token: held.token,
            expires_in_ms,
        }
    }

    /// Takes all locks of a task.
    pub(crate) fn all(task: &Task) -> Vec<Self> {
        let locks = task.locks.iter();
        locks.map(|held| Self::new(held, task.expires_in_ms)).collect()
    }
}

impl WantDocument {
    /// Takes what a request asks for.
    pub(crate) fn all(locks: &LockSet) -> Vec<Self> {
        let wants = locks.iter().map(|lock| Self {
            resource: lock.resource.to_string(),
            mode: lock.mode,
        });
        let shares = locks.shares().map(|share| Self {
            resource: share.to_string(),
            mode: share.in_line().mode,
        });
        wants.chain(shares).collect()
    }
}

impl TaskDocument {
    /// Takes a task and its transaction, which it has unless it ended this moment.
    pub(crate) fn new(task: &Task, transaction: Option<&Transaction>) -> Self {
        Self {
            task: task.id.clone(),
            transaction: transaction.map(|transaction| transaction.id),
            state: transaction.map(|transaction| transaction.state.as_str()),
            token: task.token,
            branch: transaction.and_then(|transaction| short_branch(transaction.branch.as_deref())),
            base: transaction.and_then(|transaction| transaction.base),
            target: transaction.and_then(|transaction| short_branch(transaction.target.as_deref())),
            locks: LockDocument::all(task),
            allocated: variables(task).into_iter().collect(),
        }
    }
}

impl ChangeDocument {
    /// Takes one staged change.
    pub(crate) fn new(change: &Change) -> Self {
        Self {
            path: path(&change.path),
            change: change.kind(),
            sha256: change.post.map(|post| post.sha256()),
            size: change.post.map(|post| post.size()),
            base_sha256: change.base.map(|base| base.sha256()),
            executable: matches!(change.post, Some(Entry::File { executable: true, .. })),
            moved_from: change.moved_from.as_ref().map(path),
            moved_to: change.moved_to.as_ref().map(path),
        }
    }

    /// Takes all of them.
    pub(crate) fn all(changes: &[Change]) -> Vec<Self> {
        changes.iter().map(Self::new).collect()
    }
}

impl From<&Conflict> for ConflictDocument {
    fn from(conflict: &Conflict) -> Self {
        let holder = &conflict.holder;
        Self {
            resource: conflict.resource.to_string(),
            mode: conflict.mode,
            holder: HolderDocument {
                task: holder.task.clone(),
                host: holder.host.clone(),
                pid: holder.pid,
                reason: holder.reason.clone(),
                since: time::rfc3339(holder.since),
                expires_in_ms: holder.expires_in_ms,
            },
            waiting: conflict.waiting,
        }
    }
}

impl From<Event> for EventDocument {
    fn from(event: Event) -> Self {
        Self {
            seq: event.seq,
            at: time::rfc3339(event.at),
            event: event.kind.as_str(),
            task: event.task,
            transaction: event.transaction,
            resource: event.resource,
            token: event.token,
            reason: event.reason,
            details: event.details,
        }
    }
}

/// Shows a path in a document: as it is, or quoted the way git does it where it is no text.
pub(crate) fn path(path: &RepoPath) -> String {
    std::str::from_utf8(path.as_bytes()).map_or_else(|_| path.to_string(), str::to_owned)
}

/// Shows a branch without what every branch begins with.
pub(crate) fn short_branch(name: Option<&str>) -> Option<String> {
    name.map(|name| name.strip_prefix("refs/heads/").unwrap_or(name).to_owned())
}
