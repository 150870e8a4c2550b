//! What can be locked, and what each resource covers.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::amount::Amount;
use super::name::{MemberName, PoolName, RefName, ServiceName};
use super::path::{RepoPath, quoted};

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
    /// One member of a pool.
    Member {
        /// The pool.
        pool: PoolName,
        /// Which of its members.
        member: MemberName,
    },
    /// A port of this machine.
    Port(u16),
    /// A pooled working copy.
    Worktree(u32),
    /// A part of a quota. Parts of one quota overlap, but are held beside each other, in the mode `read`, as long as
    /// they add up to no more than the whole.
    Quota {
        /// The quota.
        quota: PoolName,
        /// How much of it.
        amount: Amount,
    },
    /// The right to validate and to land on a branch.
    Landing(RefName),
    /// A whole from which shares are given out. It covers all of them, and is never given out itself.
    Pool(Pool),
}

/// A whole from which shares are given out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Pool {
    /// Names that are as good as each other.
    Members(PoolName),
    /// The ports of this machine.
    Ports,
    /// The pooled working copies.
    Worktrees,
    /// A total that is shared out by amount.
    Quota(PoolName),
}

impl Resource {
    /// Returns the namespace in which keys of this kind are compared. Files and directories share one, and so do a pool
    /// and its shares.
    pub fn namespace(&self) -> &'static str {
        match self {
            Self::File(_) | Self::Directory(..) => "path",
            Self::Service(_) => "service",
            Self::Member { .. } | Self::Pool(Pool::Members(_)) => "pool",
            Self::Port(_) | Self::Pool(Pool::Ports) => "port",
            Self::Worktree(_) | Self::Pool(Pool::Worktrees) => "worktree",
            Self::Quota { .. } | Self::Pool(Pool::Quota(_)) => "quota",
            Self::Landing(_) => "landing",
        }
    }

    /// Returns the letter that tells kinds with equal keys apart: `F`, `D`, `d`, `S`, `L`, those of shares in capitals and
    /// those of their wholes in small letters.
    pub fn letter(&self) -> &'static str {
        match self {
            Self::File(_) => "F",
            Self::Directory(_, Depth::Recursive) => "D",
            Self::Directory(_, Depth::Children) => "d",
            Self::Service(_) => "S",
            Self::Landing(_) => "L",
            Self::Member { .. } => "M",
            Self::Port(_) => "P",
            Self::Worktree(_) => "W",
            Self::Quota { .. } => "Q",
            Self::Pool(Pool::Members(_)) => "m",
            Self::Pool(Pool::Ports) => "p",
            Self::Pool(Pool::Worktrees) => "w",
            Self::Pool(Pool::Quota(_)) => "q",
        }
    }

    /// Returns the key by which a store orders resources of one namespace. The key of a whole that has no name (the root,
    /// all ports, all working copies) is empty.
    pub fn key(&self) -> Cow<'_, [u8]> {
        match self {
            Self::File(path) => path.as_bytes().into(),
            Self::Directory(path, _) => path.as_ref().map_or(b"".as_slice(), RepoPath::as_bytes).into(),
            Self::Service(name) => name.as_str().as_bytes().into(),
            Self::Landing(name) => name.as_bytes().into(),
            Self::Member { pool, member } => format!("{pool}/{member}").into_bytes().into(),
            Self::Quota { quota, amount } => format!("{quota}={}", amount.get()).into_bytes().into(),
            // As many digits as the largest has: then they are in order.
            Self::Port(number) => format!("{number:05}").into_bytes().into(),
            Self::Worktree(number) => format!("{number:010}").into_bytes().into(),
            Self::Pool(Pool::Members(name) | Pool::Quota(name)) => name.as_str().as_bytes().into(),
            Self::Pool(Pool::Ports | Pool::Worktrees) => b"".as_slice().into(),
        }
    }

    /// Puts a resource together again from what a store keeps.
    pub fn from_parts(letter: &str, key: Vec<u8>) -> Option<Self> {
        match letter {
            "F" => return RepoPath::new(key).ok().map(Self::File),
            "D" | "d" if key.is_empty() => return Some(Self::Directory(None, depth(letter))),
            "D" | "d" => {
                let path = RepoPath::new(key).ok()?;
                return Some(Self::Directory(Some(path), depth(letter)));
            }
            "L" => return RefName::new(key).ok().map(Self::Landing),
            _ => {}
        }
        let text = String::from_utf8(key).ok()?;
        match letter {
            "S" => ServiceName::new(text).ok().map(Self::Service),
            "M" => {
                let (pool, member) = text.split_once('/')?;
                Some(Self::Member {
                    pool: PoolName::new(pool).ok()?,
                    member: MemberName::new(member).ok()?,
                })
            }
            "Q" => {
                let (quota, amount) = text.split_once('=')?;
                Some(Self::Quota {
                    quota: PoolName::new(quota).ok()?,
                    amount: Amount::new(amount.parse().ok()?),
                })
            }
            "P" => text.parse().ok().map(Self::Port),
            "W" => text.parse().ok().map(Self::Worktree),
            "m" => PoolName::new(text).ok().map(Pool::Members).map(Self::Pool),
            "q" => PoolName::new(text).ok().map(Pool::Quota).map(Self::Pool),
            "p" if text.is_empty() => Some(Self::Pool(Pool::Ports)),
            "w" if text.is_empty() => Some(Self::Pool(Pool::Worktrees)),
            _ => None,
        }
    }

    /// Returns the whole of which this is a share.
    pub fn pool(&self) -> Option<Pool> {
        match self {
            Self::Member { pool, .. } => Some(Pool::Members(pool.clone())),
            Self::Port(_) => Some(Pool::Ports),
            Self::Worktree(_) => Some(Pool::Worktrees),
            Self::Quota { quota, .. } => Some(Pool::Quota(quota.clone())),
            _ => None,
        }
    }

    /// Tells whether a task that is given `self` has no `other` beside it any more: of a quota it has one part.
    pub fn replaces(&self, other: &Self) -> bool {
        let of_quota = matches!(self, Self::Quota { .. }) && self.pool() == other.pool();
        self == other || of_quota
    }

    /// Returns the smallest resource above this one that covers it. Paths have more than one.
    pub(super) fn whole(&self) -> Option<Self> {
        match self {
            Self::Service(name) => name.without_port().map(Self::Service),
            other => other.pool().map(Self::Pool),
        }
    }

    /// Tells whether this is a path: only for those a commit checks the token of a lock.
    pub fn is_path(&self) -> bool {
        matches!(self, Self::File(_) | Self::Directory(..))
    }

    /// Tells whether whoever lost it by time may still be using it without noticing. What mirror itself does on paths and
    /// on branches is checked against the token when it counts; nobody else asks for tokens.
    pub fn is_unfenced(&self) -> bool {
        !self.is_path() && !matches!(self, Self::Landing(_))
    }

    /// Tells whether holding `self` includes holding the file `path`.
    pub fn covers_path(&self, path: &RepoPath) -> bool {
        match self {
            Self::File(own) => own == path,
            Self::Directory(None, Depth::Recursive) => true,
            Self::Directory(None, Depth::Children) => path.parent().is_none(),
            Self::Directory(Some(own), Depth::Recursive) => own == path || path.is_below(own),
            Self::Directory(Some(own), Depth::Children) => own == path || path.parent().as_ref() == Some(own),
            _ => false,
        }
    }

    /// Tells whether holding `self` includes holding all of `other`: whatever overlaps `other` overlaps `self` too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(own, Depth::Children), Self::Directory(other, depth)) => {
                own == other && *depth == Depth::Children
            }
            (Self::Directory(_, Depth::Recursive), Self::Directory(other, _)) => other
                .as_ref()
                .map_or(*self == Self::Directory(None, Depth::Recursive), |path| {
                    self.covers_path(path)
                }),
            (_, Self::File(path)) => self.covers_path(path),
            (
                Self::Quota { quota, amount },
                Self::Quota {
                    quota: of,
                    amount: less,
                },
            ) => quota == of && amount >= less,
            _ => self == other || other.whole().as_ref() == Some(self),
        }
    }
}

fn depth(letter: &str) -> Depth {
    if letter == "D" {
        Depth::Recursive
    } else {
        Depth::Children
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
            Self::Service(name) => write!(f, "service:{name}"),
            Self::Member { pool, member } => write!(f, "pool:{pool}/{member}"),
            Self::Port(number) => write!(f, "port:{number}"),
            Self::Worktree(number) => write!(f, "worktree:{number}"),
            Self::Quota { quota, amount } => write!(f, "quota:{quota}={amount}"),
            Self::Landing(name) => write!(f, "landing:{name}"),
            Self::Pool(pool) => pool.fmt(f),
        }
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Members(name) => write!(f, "pool:{name}"),
            Self::Ports => f.write_str("port:*"),
            Self::Worktrees => f.write_str("worktree:*"),
            Self::Quota(name) => write!(f, "quota:{name}"),
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
