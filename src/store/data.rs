//! What goes into the store and comes out of it: plain data, the same for every store.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::{
    Conflict, Digest, EventKind, Lock, LockSet, ObjectId, Owner, Pool, RepoPath, Resource, TaskId, Token,
    TransactionId, TransactionState, WallTime,
};

/// A task to open.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// Its name.
    pub id: TaskId,
    /// Where it begins, and the process its lease is tied to.
    pub owner: Owner,
    /// Its lease, in milliseconds.
    pub ttl_ms: u64,
    /// How long a live process may hold it without a renewal, in milliseconds.
    pub max_hold_ms: u64,
    /// Why.
    pub reason: Option<String>,
    /// Anything else.
    pub metadata: Map<String, Value>,
}

/// A task as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// The fencing number of its newest grant.
    pub token: Token,
    /// Where it began.
    pub owner: Owner,
    /// Why.
    pub reason: Option<String>,
    /// Anything else.
    pub metadata: Map<String, Value>,
    /// When it began.
    pub since: WallTime,
    /// Milliseconds until its lease runs out; negative when it ran out but was not taken.
    pub expires_in_ms: i64,
    /// How it stands.
    pub standing: Standing,
    /// What it holds, by resource.
    pub locks: Vec<HeldLock>,
}

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It asked for its first locks and waits for them.
    Waiting,
    /// Its lease is its own.
    Holding,
    /// Its lease was taken by another.
    Lost,
}

/// A lock that a task holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLock {
    /// What, and in which mode.
    pub lock: Lock,
    /// The grant it came with.
    pub token: Token,
}

/// Who asks for locks.
#[derive(Debug, Clone)]
pub enum Asker {
    /// A task that the same act opens.
    New(NewTask),
    /// A task that is open.
    Task(TaskId),
}

impl Asker {
    /// Returns the name of the asking task.
    pub fn task(&self) -> &TaskId {
        match self {
            Self::New(new) => &new.id,
            Self::Task(id) => id,
        }
    }
}

/// Whether to wait for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Be refused at once.
    Never,
    /// Queue, at most this long.
    UpTo(Duration),
}

/// A successful request.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The task with all that it holds now.
    pub task: Task,
    /// What is new or stronger than before.
    pub granted: Vec<Lock>,
}

/// Which locks to give back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// All of them.
    All,
    /// These resources, in whatever mode.
    Some(Vec<Resource>),
}

/// Locks to take by force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steal {
    /// From this task only.
    pub from: Option<TaskId>,
    /// Whatever overlaps these; nothing at all means everything that `from` holds.
    pub resources: Vec<Resource>,
    /// Who does it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A place in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Who waits.
    pub task: TaskId,
    /// What for.
    pub wants: LockSet,
    /// Since when.
    pub since: WallTime,
    /// Who is in the way, holders and earlier waiters. Where they are many, some of the holders and whoever is served first.
    pub blocked_by: Vec<TaskId>,
    /// There may be more in the way than are named.
    pub and_others: bool,
    /// Nothing is in the way but that too little is left of this whole.
    pub only: Option<Pool>,
}

/// A transaction to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTransaction {
    /// Its name.
    pub id: TransactionId,
    /// Whose.
    pub task: TaskId,
    /// The full name of the task's branch, if it works on one.
    pub branch: Option<String>,
    /// The full name of the branch to land on.
    pub target: Option<String>,
    /// The commit that the branch begins from.
    pub base: Option<ObjectId>,
}

/// A transaction as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its name.
    pub id: TransactionId,
    /// Whose.
    pub task: TaskId,
    /// Where it stands.
    pub state: TransactionState,
    /// The full name of the task's branch.
    pub branch: Option<String>,
    /// The full name of the branch to land on.
    pub target: Option<String>,
    /// The commit that the branch begins from.
    pub base: Option<ObjectId>,
    /// The token of the commit attempt.
    pub token: Option<Token>,
    /// The ref that the attempt moves.
    pub reference: Option<String>,
    /// What the ref held.
    pub old: Option<ObjectId>,
    /// What it shall hold.
    pub new: Option<ObjectId>,
    /// The SHA-256 of the decided manifest.
    pub manifest: Option<Digest>,
    /// When it began.
    pub began: WallTime,
}

/// What a commit attempt is about to do to a ref.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// The ref.
    pub reference: Option<String>,
    /// What it holds.
    pub old: Option<ObjectId>,
    /// What it shall hold.
    pub new: Option<ObjectId>,
}

/// What is to be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The transaction.
    pub transaction: TransactionId,
    /// The task's token as it was when the attempt began.
    pub token: Token,
    /// The SHA-256 of the manifest.
    pub manifest: Digest,
    /// The paths that the task's write locks must cover.
    pub paths: &'a [RepoPath],
}

/// A line for the history.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
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
    /// Why.
    pub reason: Option<String>,
    /// Anything else.
    pub details: Map<String, Value>,
}

impl NewEvent {
    /// Begins a line that says only what happened.
    pub fn of(kind: EventKind) -> Self {
        Self {
            kind,
            task: None,
            transaction: None,
            resource: None,
            token: None,
            reason: None,
            details: Map::new(),
        }
    }

    /// Begins a line about a task.
    pub fn about(kind: EventKind, task: &TaskId) -> Self {
        Self {
            task: Some(task.clone()),
            ..Self::of(kind)
        }
    }
}

/// Who holds what overlaps one asked-for resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holders {
    /// What was asked for.
    pub resource: Resource,
    /// Everybody who holds something that overlaps it.
    pub holders: Vec<Conflict>,
}

/// One bounded piece of work on what is kept for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// Pack the oldest lines of the history, unless there are too few.
    Pack,
    /// Drop lines of the history that are older than a moment, looking at the oldest so many.
    Trim {
        /// The moment.
        before: WallTime,
        /// How many lines are looked at.
        lines_max: usize,
    },
    /// Drop the oldest lines of the history, because there is no room.
    DropOldest,
    /// Forget transactions that began before a moment and ended.
    Forget {
        /// The moment.
        before: WallTime,
        /// How many.
        rows_max: usize,
    },
}
