//! The kinds of failure that a user can tell apart.

use serde::Serialize;

/// What kind of failure an error is. Every error of the library answers with one of these, and the command line
/// turns it into the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The system failed (I/O, permissions, a store out of reach). Nothing changed.
    Failed,
    /// The commit is decided; something kept it from being applied, and recovery will complete it.
    Pending,
    /// Nobody can say yet whether the commit is decided; recovery will settle it.
    Unknown,
    /// Bad arguments, a bad path, an unknown task.
    Usage,
    /// Others hold what was asked for, or the wait ran out.
    Held,
    /// Waiting would close a cycle.
    Deadlock,
    /// The lease was taken by another, or the token is old.
    Lost,
    /// A base changed, a merge conflict, user changes in the way, a change outside the lock set.
    Conflict,
    /// The command or the validation failed; everything was rolled back.
    Rejected,
    /// Somebody interrupted before the commit was decided.
    Interrupted,
    /// A checksum does not match or the state is corrupt.
    Damaged,
    /// Our own fault.
    Bug,
}

impl Kind {
    /// All kinds, in the order of the exit table.
    pub const ALL: [Self; 12] = [
        Self::Failed,
        Self::Pending,
        Self::Unknown,
        Self::Usage,
        Self::Held,
        Self::Deadlock,
        Self::Lost,
        Self::Conflict,
        Self::Rejected,
        Self::Interrupted,
        Self::Damaged,
        Self::Bug,
    ];

    /// Returns the word that error documents carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
            Self::Usage => "usage",
            Self::Held => "held",
            Self::Deadlock => "deadlock",
            Self::Lost => "lost",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Interrupted => "interrupted",
            Self::Damaged => "damaged",
            Self::Bug => "bug",
        }
    }
}
