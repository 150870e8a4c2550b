//! Who stands behind a lease, and what can be said about whether it still lives.

use serde::{Deserialize, Serialize};

use super::time::BootId;

/// Where a task was begun, and the process its lease is tied to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The machine's name, for people.
    pub host: String,
    /// The boot in which the task began.
    pub boot: BootId,
    /// The process that keeps the lease alive, if one was named.
    pub process: Option<Process>,
}

/// A process, named so that a later one with the same number is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// The number, meaningful only inside its namespace.
    pub pid: u32,
    /// The inode of the pid namespace.
    pub pid_namespace: u64,
    /// The inode of the time namespace, which shifts start times.
    pub time_namespace: u64,
    /// Field 22 of `/proc/<pid>/stat`, in clock ticks since boot.
    pub start_ticks: u64,
}

/// What an observer can say about an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The process runs: the lease holds without renewals, up to `max_hold`.
    Alive,
    /// The process is gone, or the machine was started again: the lease may be reaped at once.
    Dead,
    /// Nobody can tell from here: the lease holds until its time runs out. Unknown is not dead.
    Unknown,
}
