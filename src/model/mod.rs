//! The words of mirror as types: no I/O, no clock, no randomness.
//!
//! Everything above speaks in these words and in no others. What two parts of mirror have to agree on
//! (which paths are legal, when two locks conflict, which states a transaction may pass through) is written
//! here once, as pure functions.

mod amount;
mod change;
mod digest;
mod event;
mod id;
mod interrupter;
mod kind;
mod lock;
mod name;
mod object;
mod owner;
mod path;
mod probe;
mod resource;
mod share;
mod task;
mod time;

pub use amount::{Amount, ParseAmountError};
pub use change::{Change, ChangeKind, Entry};
pub use digest::{Digest, ParseDigestError};
pub use event::{Event, EventKind, UNDOES};
pub use id::{ParseIdError, TaskId, Ticket, TransactionId};
pub use interrupter::{Interrupter, Listening};
pub use kind::Kind;
pub use lock::{Conflict, Holder, Lock, LockSet, Mode, ParseTokenError, Token, conflict, overlap};
pub use name::{MemberName, PoolName, RefName, ResourceError, ServiceName};
pub use object::{FileMode, ObjectId, ParseObjectIdError, TreeEntry};
pub use owner::{Owner, Process, Verdict};
pub use path::{PathError, RepoPath, misleads, shown};
pub use probe::{Below, Probe};
pub use resource::{Depth, Pool, Resource};
pub use share::{AnyOf, Candidates, Impossible, Share};
pub use task::{IllegalStep, TransactionState};
pub use time::{BootId, Now, WallTime};
