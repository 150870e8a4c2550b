//! Git's names for content, as plain data: what a manifest keeps and what merges compare.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a git object (SHA-1; repositories with another hash are refused by name).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectId([u8; 20]);

/// A text that is not forty hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid object id {0:?}: not 40 hexadecimal digits")]
pub struct ParseObjectIdError(String);

/// The modes that git knows for something that is not a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FileMode {
    /// 100644.
    Regular,
    /// 100755.
    Executable,
    /// 120000.
    Symlink,
    /// 160000: a submodule, which mirror never touches.
    Gitlink,
}

/// What a git tree says about one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TreeEntry {
    /// The mode.
    pub mode: FileMode,
    /// The blob (or, for a gitlink, the commit).
    pub id: ObjectId,
}

impl ObjectId {
    /// The name that git uses for "no object".
    pub const ZERO: Self = Self([0; 20]);

    /// Wraps the twenty bytes.
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Returns the twenty bytes.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl FileMode {
    /// Returns the number that git stores.
    pub fn bits(self) -> u32 {
        match self {
            Self::Regular => 0o100_644,
            Self::Executable => 0o100_755,
            Self::Symlink => 0o120_000,
            Self::Gitlink => 0o160_000,
        }
    }

    /// Reads the number that git stores; `None` for a directory or nonsense. Old group-writable files (100664) count
    /// as regular, as they do for git.
    pub fn from_bits(bits: u32) -> Option<Self> {
        match bits {
            0o120_000 => Some(Self::Symlink),
            0o160_000 => Some(Self::Gitlink),
            file if file & 0o170_000 == 0o100_000 => Some(if file & 0o100 == 0 {
                Self::Regular
            } else {
                Self::Executable
            }),
            _ => None,
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = ParseObjectIdError;

    fn from_str(text: &str) -> Result<Self, ParseObjectIdError> {
        let fail = || ParseObjectIdError(text.chars().take(80).collect());
        if text.len() != 40 || !text.is_ascii() {
            return Err(fail());
        }
        let mut bytes = [0; 20];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| fail())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for ObjectId {
    type Error = ParseObjectIdError;

    fn try_from(text: String) -> Result<Self, ParseObjectIdError> {
        text.parse()
    }
}

impl From<ObjectId> for String {
    fn from(id: ObjectId) -> Self {
        id.to_string()
    }
}
