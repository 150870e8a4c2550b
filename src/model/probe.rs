//! How to find in an ordered table what overlaps a resource.

use super::path::RepoPath;
use super::resource::{Depth, Pool, Resource};

/// How to find every lock that overlaps a resource in a table ordered by key: the keys of the same namespace to look
/// up exactly, and the range of keys below.
///
/// A store that keeps ordered keys asks these questions instead of comparing with every row; the conformance suite
/// proves the answer equal to [`overlap`](super::overlap).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Any lock with exactly this key overlaps.
    pub own: Vec<u8>,
    /// A whole (a recursive directory, a service without port, a pool) with one of these keys overlaps.
    pub whole_above: Vec<Vec<u8>>,
    /// The letter of such wholes.
    pub whole_letter: &'static str,
    /// A non-recursive directory with this key overlaps.
    pub children_above: Option<Vec<u8>>,
    /// Every key in `low..high` overlaps, or with `one_level` only those without a further separator.
    pub below: Option<Below>,
}

/// A range of keys below a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// The first key of the range.
    pub low: Vec<u8>,
    /// The first key past the range; `None` means to the end of the namespace.
    pub high: Option<Vec<u8>>,
    /// Only keys that have no `/` at or after `low.len()`.
    pub one_level: bool,
}

impl Resource {
    /// Returns the questions that find every overlapping lock in an ordered table.
    pub fn probe(&self) -> Probe {
        match self {
            Self::File(path) => path_probe(Some(path), None),
            Self::Directory(path, depth) => path_probe(path.as_ref(), Some(*depth)),
            named => named_probe(named),
        }
    }
}

fn named_probe(resource: &Resource) -> Probe {
    let whole = resource.whole();
    let below = match resource {
        Resource::Service(name) if whole.is_none() => Some(parts_of(name.as_str(), b':')),
        Resource::Pool(Pool::Members(name)) => Some(parts_of(name.as_str(), b'/')),
        // The parts of a quota differ in nothing but their amounts.
        Resource::Pool(Pool::Quota(name)) | Resource::Quota { quota: name, .. } => {
            Some(parts_of(name.as_str(), b'='))
        }
        Resource::Pool(Pool::Ports | Pool::Worktrees) => Some(Below {
            low: Vec::new(),
            high: None,
            one_level: false,
        }),
        _ => None,
    };
    Probe {
        own: resource.key().into_owned(),
        whole_letter: whole.as_ref().map_or("S", Resource::letter),
        whole_above: whole.map(|whole| whole.key().into_owned()).into_iter().collect(),
        children_above: None,
        below,
    }
}

/// The keys that begin with a name and a separator.
fn parts_of(name: &str, separator: u8) -> Below {
    Below {
        low: [name.as_bytes(), &[separator]].concat(),
        high: Some([name.as_bytes(), &[separator + 1]].concat()),
        one_level: false,
    }
}

fn path_probe(path: Option<&RepoPath>, depth: Option<Depth>) -> Probe {
    let key = path.map(|path| path.as_bytes().to_vec()).unwrap_or_default();
    let mut whole_above: Vec<Vec<u8>> = path
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
        whole_above.push(Vec::new());
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
        whole_above,
        whole_letter: "D",
        children_above,
        below,
    }
}
