//! What can be locked, and what each resource covers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::path::{RepoPath, quoted};

/// The longest service name, in bytes.
const SERVICE_BYTES_MAX: usize = 128;

/// The name of a service, such as `database` or `database:5432`. The name alone covers all its ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

/// A text that names no resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid service name {name:?}: {reason}")]
pub struct ResourceError {
    /// What was given.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// How far down a directory lock reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Depth {
    /// The directory and everything below it.
    Recursive,
    /// The directory and its direct children.
    Children,
}

/// What can be locked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Resource {
    /// One file, which need not exist yet.
    File(RepoPath),
    /// A directory; `None` is the root of the repository.
    Directory(Option<RepoPath>, Depth),
    /// A service.
    Service(ServiceName),
}

/// How to find every lock that overlaps a resource in a table ordered by key: the keys of the same namespace to look
/// up exactly, and the range of keys below.
///
/// A store that keeps ordered keys asks these questions instead of comparing with every row; the conformance suite
/// proves the answer equal to [`overlap`](super::overlap).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Any lock with exactly this key overlaps.
    pub own: Vec<u8>,
    /// A recursive directory (or, for services, a name without port) with one of these keys overlaps.
    pub recursive_above: Vec<Vec<u8>>,
    /// A non-recursive directory with this key overlaps.
    pub children_above: Option<Vec<u8>>,
    /// Every key in `low..high` overlaps, or with `one_level` only those without a further separator.
    pub below: Option<Below>,
}

/// A range of keys below a directory or a service name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// The first key of the range.
    pub low: Vec<u8>,
    /// The first key past the range; `None` means to the end of the namespace.
    pub high: Option<Vec<u8>>,
    /// Only keys that have no `/` at or after `low.len()`.
    pub one_level: bool,
}

impl ServiceName {
    /// Checks a service name: printable, without spaces, at most 128 bytes, optionally ending in `:port`.
    pub fn new(name: impl Into<String>) -> Result<Self, ResourceError> {
        let name = name.into();
        let reason = if name.is_empty() {
            Some("it is empty")
        } else if name.len() > SERVICE_BYTES_MAX {
            Some("it is longer than 128 bytes")
        } else if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte))
        {
            Some("only letters, digits and . _ - / : @ are allowed")
        } else {
            port_fault(&name)
        };
        match reason {
            None => Ok(Self(name)),
            Some(reason) => Err(ResourceError { name, reason }),
        }
    }

    /// Returns the whole name, with the port if there is one.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn without_port(&self) -> Option<&str> {
        self.0.split_once(':').map(|(name, _)| name)
    }
}

fn port_fault(name: &str) -> Option<&'static str> {
    let (service, port) = name.split_once(':')?;
    let legal = !service.is_empty() && port.parse::<u16>().is_ok_and(|number| number > 0);
    (!legal).then_some("what follows the colon must be a port, as in database:5432")
}

impl Resource {
    /// Returns the namespace in which keys of this kind are compared. Files and directories share one.
    pub fn namespace(&self) -> &'static str {
        match self {
            Self::File(_) | Self::Directory(..) => "path",
            Self::Service(_) => "service",
        }
    }

    /// Returns the letter that tells kinds with equal keys apart: `F`, `D`, `d` or `S`.
    pub fn letter(&self) -> &'static str {
        match self {
            Self::File(_) => "F",
            Self::Directory(_, Depth::Recursive) => "D",
            Self::Directory(_, Depth::Children) => "d",
            Self::Service(_) => "S",
        }
    }

    /// Returns the key by which a store orders resources of one namespace. The root's key is empty.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::File(path) => path.as_bytes(),
            Self::Directory(path, _) => path.as_ref().map_or(b"", |path| path.as_bytes()),
            Self::Service(name) => name.0.as_bytes(),
        }
    }

    /// Puts a resource together again from what a store keeps.
    pub fn from_parts(letter: &str, key: Vec<u8>) -> Option<Self> {
        let directory = |key: Vec<u8>| {
            if key.is_empty() {
                Some(None)
            } else {
                RepoPath::new(key).ok().map(Some)
            }
        };
        match letter {
            "F" => RepoPath::new(key).ok().map(Self::File),
            "D" => directory(key).map(|path| Self::Directory(path, Depth::Recursive)),
            "d" => directory(key).map(|path| Self::Directory(path, Depth::Children)),
            "S" => ServiceName::new(String::from_utf8(key).ok()?)
                .ok()
                .map(Self::Service),
            _ => None,
        }
    }

    /// Tells whether holding `self` includes holding the file `path`.
    pub fn covers_path(&self, path: &RepoPath) -> bool {
        match self {
            Self::File(own) => own == path,
            Self::Directory(None, Depth::Recursive) => true,
            Self::Directory(None, Depth::Children) => path.parent().is_none(),
            Self::Directory(Some(own), Depth::Recursive) => own == path || path.is_below(own),
            Self::Directory(Some(own), Depth::Children) => own == path || path.parent().as_ref() == Some(own),
            Self::Service(_) => false,
        }
    }

    /// Tells whether holding `self` includes holding all of `other`: whatever overlaps `other` overlaps `self` too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Service(own), Self::Service(other)) => {
                own == other || other.without_port() == Some(&own.0)
            }
            (Self::Service(_), _) | (_, Self::Service(_)) | (Self::File(_), Self::Directory(..)) => false,
            (_, Self::File(path)) => self.covers_path(path),
            (Self::Directory(own, Depth::Children), Self::Directory(other, depth)) => {
                own == other && *depth == Depth::Children
            }
            (Self::Directory(_, Depth::Recursive), Self::Directory(other, _)) => other
                .as_ref()
                .map_or(*self == Self::Directory(None, Depth::Recursive), |path| {
                    self.covers_path(path)
                }),
        }
    }

    /// Returns the questions that find every overlapping lock in an ordered table.
    pub fn probe(&self) -> Probe {
        match self {
            Self::Service(name) => Probe {
                own: name.0.clone().into_bytes(),
                recursive_above: name
                    .without_port()
                    .map(|name| name.as_bytes().to_vec())
                    .into_iter()
                    .collect(),
                children_above: None,
                below: name.without_port().is_none().then(|| Below {
                    low: [name.0.as_bytes(), b":"].concat(),
                    high: Some([name.0.as_bytes(), b";"].concat()),
                    one_level: false,
                }),
            },
            Self::File(path) => path_probe(Some(path), None),
            Self::Directory(path, depth) => path_probe(path.as_ref(), Some(*depth)),
        }
    }
}

fn path_probe(path: Option<&RepoPath>, depth: Option<Depth>) -> Probe {
    let key = path.map(|path| path.as_bytes().to_vec()).unwrap_or_default();
    let mut recursive_above: Vec<Vec<u8>> = path
        .iter()
        .flat_map(|path| path.ancestors())
        .map(|above| above.as_bytes().to_vec())
        .collect();
    let children_above = path.map(|path| {
        path.parent()
            .map(|above| above.as_bytes().to_vec())
            .unwrap_or_default()
    });
    if path.is_some() {
        recursive_above.push(Vec::new());
    }
    let below = depth.map(|depth| match path {
        None => Below {
            low: Vec::new(),
            high: None,
            one_level: depth == Depth::Children,
        },
        Some(_) => Below {
            low: [&key[..], b"/"].concat(),
            // '0' is the byte after '/': the range holds exactly the keys that start with "key/".
            high: Some([&key[..], b"0"].concat()),
            one_level: depth == Depth::Children,
        },
    });
    Probe {
        own: key,
        recursive_above,
        children_above,
        below,
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{path}"),
            Self::Directory(path, depth) => {
                let path = path
                    .as_ref()
                    .map_or(b".".to_vec(), |path| path.as_bytes().to_vec());
                let end: &[u8] = match depth {
                    Depth::Recursive => b"/",
                    Depth::Children => b"/*",
                };
                write!(f, "dir:{}", quoted(&[&path, end].concat()))
            }
            Self::Service(name) => write!(f, "service:{}", name.0),
        }
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for ServiceName {
    type Error = ResourceError;

    fn try_from(name: String) -> Result<Self, ResourceError> {
        Self::new(name)
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}
