//! Names of tasks, transactions and places in the queue.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest task id, in bytes.
const TASK_ID_BYTES_MAX: usize = 64;

/// The name of one worker's unit of work, such as `agent-1`.
///
/// It matches `[A-Za-z0-9][A-Za-z0-9._-]{0,63}` and is valid as a component of a git ref, so that
/// `mirror/<id>/<uuid>` always names a branch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// The text is no task id.
    #[error("Invalid task id {text:?}: {reason}")]
    Task {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The text is no transaction id.
    #[error("Invalid transaction id {text:?}: not a uuid")]
    Transaction {
        /// What was given.
        text: String,
    },
}

impl TaskId {
    /// Checks `text` against the rule for task ids.
    pub fn new(text: impl Into<String>) -> Result<Self, ParseIdError> {
        let text = text.into();
        match Self::fault(&text) {
            None => Ok(Self(text)),
            Some(reason) => Err(ParseIdError::Task { text, reason }),
        }
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn fault(text: &str) -> Option<&'static str> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric) {
            return Some("it must start with a letter or a digit");
        }
        if text.len() > TASK_ID_BYTES_MAX {
            return Some("it is longer than 64 characters");
        }
        if !text.bytes().all(legal) {
            return Some("only letters, digits, '.', '_' and '-' are allowed");
        }
        // Git refuses these in a ref, and the task's branch is named after it.
        if text.contains("..") || text.ends_with('.') || text.to_ascii_lowercase().ends_with(".lock") {
            return Some("it must not contain '..' nor end in '.' or '.lock'");
        }
        None
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TaskId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::new(text)
    }
}

impl TryFrom<String> for TaskId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, ParseIdError> {
        Self::new(text)
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> Self {
        id.0
    }
}

/// The name of one begin..commit of a task: a uuid of version 7, so that they sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransactionId(Uuid);

impl TransactionId {
    /// Wraps a uuid that the caller made.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Returns the sixteen bytes, as they are stored.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads the sixteen bytes back.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TransactionId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| ParseIdError::Transaction {
                text: text.to_owned(),
            })
    }
}

/// A place in the queue. It also names the socket on which its waiter listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(Uuid);

impl Ticket {
    /// Wraps a uuid that the caller made.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Returns the sixteen bytes, as they are stored.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads the sixteen bytes back.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_are_valid_ref_components() {
        for good in ["a", "agent-1", "A.b_c-9", &"x".repeat(64)] {
            assert!(TaskId::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            ".a",
            "a..b",
            "a.",
            "a.lock",
            "a.LOCK",
            "a b",
            "a/b",
            "é",
            "a\n",
            &"x".repeat(65),
        ] {
            assert!(TaskId::new(bad).is_err(), "{bad}");
        }
    }
}
