//! Names of what is no file: services, pools and their members, refs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::path::quoted;

/// The longest name of a service or of a member of a pool, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// The longest name of a pool or a quota, in bytes.
const POOL_BYTES_MAX: usize = 64;

/// A text that names no resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid {what} {name:?}: {reason}")]
pub struct ResourceError {
    /// What it should have been.
    pub what: &'static str,
    /// What was given.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The name of a service, such as `database` or `database:5432`. The name alone covers all its ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

/// The name of a pool or of a quota, such as `db` or `memory`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PoolName(String);

/// The name of one member of a pool, such as `db-2` or `localhost:5433/test`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemberName(String);

/// The full name of a ref, such as `refs/heads/main`: bytes, as git has them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct RefName(Vec<u8>);

impl ServiceName {
    /// Checks a service name: printable, without spaces, at most 128 bytes, optionally ending in `:port`.
    pub fn new(name: impl Into<String>) -> Result<Self, ResourceError> {
        let name = name.into();
        match plain_fault(&name).or_else(|| port_fault(&name)) {
            None => Ok(Self(name)),
            Some(reason) => Err(ResourceError {
                what: "service name",
                name,
                reason,
            }),
        }
    }

    /// Returns the whole name, with the port if there is one.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the service that this is a port of.
    pub(super) fn without_port(&self) -> Option<Self> {
        self.0.split_once(':').map(|(name, _)| Self(name.to_owned()))
    }
}

fn plain_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > NAME_BYTES_MAX {
        Some("it is longer than 128 bytes")
    } else if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte))
    {
        Some("only letters, digits and . _ - / : @ are allowed")
    } else {
        None
    }
}

fn port_fault(name: &str) -> Option<&'static str> {
    let (service, port) = name.split_once(':')?;
    let legal = !service.is_empty() && port.parse::<u16>().is_ok_and(|number| number > 0);
    (!legal).then_some("what follows the colon must be a port, as in database:5432")
}

impl PoolName {
    /// Checks the name of a pool: a letter or digit, then letters, digits and `. _ -`, at most 64 bytes.
    pub fn new(name: impl Into<String>) -> Result<Self, ResourceError> {
        let name = name.into();
        let reason = if name.is_empty() {
            "it is empty"
        } else if name.len() > POOL_BYTES_MAX {
            "it is longer than 64 bytes"
        } else if !name.starts_with(|first: char| first.is_ascii_alphanumeric())
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        {
            "only letters, digits and . _ - are allowed, the first a letter or digit"
        } else {
            return Ok(Self(name));
        };
        Err(ResourceError {
            what: "pool name",
            name,
            reason,
        })
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PoolName {
    /// Returns the name as it stands in the name of a variable: `TEST_DB` for `test-db`.
    pub fn in_variable(&self) -> String {
        let upper = self.0.to_ascii_uppercase();
        upper.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
    }
}

impl MemberName {
    /// Checks the name of a member: letters, digits and `. _ - / : @`, at most 128 bytes.
    pub fn new(name: impl Into<String>) -> Result<Self, ResourceError> {
        let name = name.into();
        match plain_fault(&name) {
            None => Ok(Self(name)),
            Some(reason) => Err(ResourceError {
                what: "member of a pool",
                name,
                reason,
            }),
        }
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RefName {
    /// Checks the full name of a ref. Whether there is such a ref, and all the finer rules, are git's.
    pub fn new(name: impl Into<Vec<u8>>) -> Result<Self, ResourceError> {
        let name = name.into();
        let reason = if !name.starts_with(b"refs/") || name.ends_with(b"/") {
            "a full name is needed, such as refs/heads/main"
        } else if name
            .iter()
            .any(|byte| *byte <= b' ' || *byte == 0x7f || b"~^:?*[\\".contains(byte))
        {
            "git allows no spaces, no control characters and none of ~ ^ : ? * [ \\"
        } else {
            return Ok(Self(name));
        };
        Err(ResourceError {
            what: "ref name",
            name: String::from_utf8_lossy(&name).into_owned(),
            reason,
        })
    }

    /// Reads a name as [`fmt::Display`] shows it: a branch may be called by its short name.
    pub fn from_shown(shown: &[u8]) -> Result<Self, ResourceError> {
        if shown.starts_with(b"refs/") {
            Self::new(shown)
        } else {
            Self::new([b"refs/heads/", shown].concat())
        }
    }

    /// Returns the full name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RefName {
    /// A branch is shown by its short name, unless that looks like a full one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.0.strip_prefix(b"refs/heads/");
        let short = short.filter(|short| !short.starts_with(b"refs/"));
        f.write_str(&quoted(short.unwrap_or(&self.0)))
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.0))
    }
}

impl TryFrom<Vec<u8>> for RefName {
    type Error = ResourceError;

    fn try_from(name: Vec<u8>) -> Result<Self, ResourceError> {
        Self::new(name)
    }
}

impl From<RefName> for Vec<u8> {
    fn from(name: RefName) -> Self {
        name.0
    }
}

/// Names that are kept and shown as the text they are.
macro_rules! text {
    ($($name:ident)+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ResourceError;

            fn try_from(name: String) -> Result<Self, ResourceError> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    )+};
}

text! { ServiceName PoolName MemberName }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_a_name_that_fits_into_a_key_and_a_variable() {
        for good in ["db", "test-db.2", "0", "A_b"] {
            assert!(PoolName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-db", ".db", "a/b", "a b", "a=b", "é", "a\n", &"x".repeat(65)] {
            assert!(PoolName::new(bad).is_err(), "{bad:?}");
        }
        assert!(MemberName::new("localhost:5433/test").is_ok());
        for bad in ["", "a b", "a=b", "\u{202e}x", &"x".repeat(129)] {
            assert!(MemberName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_ref_is_shown_as_people_type_it_and_read_back() {
        for (full, shown) in [
            ("refs/heads/main", "main"),
            ("refs/heads/a/b", "a/b"),
            ("refs/heads/refs/heads/x", "refs/heads/refs/heads/x"),
            ("refs/remotes/origin/main", "refs/remotes/origin/main"),
        ] {
            let name = RefName::new(full).unwrap();
            assert_eq!(name.to_string(), shown);
            assert_eq!(RefName::from_shown(shown.as_bytes()).unwrap(), name);
        }
        assert!(RefName::new(b"refs/heads/\xff\xfe".to_vec()).is_ok());
        assert!(RefName::new(format!("refs/heads/{}", "x".repeat(4000))).is_ok());
        for bad in ["main", "refs/heads/", "refs/heads/a b", "refs/heads/a\n"] {
            assert!(RefName::new(bad).is_err(), "{bad:?}");
        }
    }
}
