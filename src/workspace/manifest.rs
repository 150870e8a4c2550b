//! The redo log of one commit attempt: everything that recovery needs to carry the commit out, or to tell which
//! leftovers are ours.
//!
//! It is written and synced before the attempt touches anything that others can see, and it is believed only when its
//! length, its checksum, its format and every path in it hold. A manifest that does not is the same as none: before
//! the decision nothing visible can exist without a valid one.

use serde::{Deserialize, Serialize};

use crate::disk::contained::Stat;
use crate::model::{Digest, Entry, ObjectId, RepoPath, TaskId, Token, TransactionId, TreeEntry};

/// The first word of a manifest, with its format version.
const MAGIC: &str = "MIRR1";

/// The largest manifest that is read: far above what 100,000 files need, far below what exhausts memory.
pub const BYTES_MAX: u64 = 512 << 20;

/// The longest header line: magic, checksum and length.
const HEADER_BYTES_MAX: usize = 64;

/// One commit attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The transaction.
    pub transaction: TransactionId,
    /// Its task.
    pub task: TaskId,
    /// The task's token when the attempt began; the decision checks that it is still the newest.
    pub token: Token,
    /// The working tree that the operations belong to.
    pub root: Place,
    /// What happens to the working tree, in the order of paths.
    pub operations: Vec<Operation>,
    /// The ref that moves, if one does.
    pub reference: Option<RefUpdate>,
    /// Git's index, if the working tree has one.
    pub index: Option<IndexUpdate>,
}

/// The working tree, seen from the main one: a repository that was moved, or whose disk is mounted elsewhere after a
/// crash, still finds it. Absolute where it lies outside of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place(Vec<u8>);

/// Names one object of the file system that holds `.mirror` and the working tree, whatever it is called.
///
/// The device's number is no part of it: the same disk may have another one after a reboot, and a recovery that knew
/// none of its objects again would take every operation for done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inode(pub u64);

impl Inode {
    /// Names the object that `stat` describes.
    pub fn of(stat: &Stat) -> Self {
        Self(stat.ino)
    }
}

/// What happens to one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// The path.
    pub path: RepoPath,
    /// What it held when the attempt began; `None` means that nothing was there.
    pub pre: Option<Before>,
    /// What it shall hold; `None` deletes it.
    pub post: Option<Entry>,
    /// The slot, relative to the transaction's directory.
    pub slot: Slot,
    /// The new object as it lies in the slot. The operation is pending for as long as it lies there.
    pub staged: Option<Inode>,
    /// What the index has for the path, and shall have; equal when it has nothing to follow.
    pub before: Option<TreeEntry>,
    /// See `before`.
    pub after: Option<TreeEntry>,
}

/// What a path held when the attempt began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// Its content; `None` when it was a directory, all of whose files the same attempt deletes.
    pub entry: Option<Entry>,
    /// Which object it was.
    pub inode: Inode,
    /// When it was last written, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// When anything about it last changed, in nanoseconds since 1970.
    pub ctime_ns: i128,
}

/// Where an object lies in the transaction's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slot {
    /// `s/<n>`: staged by the task; it outlives an attempt that is given up.
    Staged(u32),
    /// `m/<n>`: made for this attempt (a merge, a deletion); it goes when the attempt is given up.
    Made(u32),
}

/// The ref that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefUpdate {
    /// `refs/heads/…`, or `HEAD` when it is detached.
    pub name: String,
    /// What it held; `None` when the branch has no commit yet.
    pub old: Option<ObjectId>,
    /// What it shall hold.
    pub new: ObjectId,
    /// Our file that becomes git's lock file for the ref, and then the ref itself.
    pub lock: Inode,
    /// The line for the reflog.
    pub message: String,
}

/// Git's index of the working tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexUpdate {
    /// Our file that becomes git's `index.lock`.
    pub lock: Inode,
    /// Where `HEAD` pointed: a ref, or `None` when it was detached.
    pub head: Option<String>,
    /// Whether entries change, or the lock only keeps others out.
    pub rewrite: bool,
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The header is missing or makes no sense.
    #[error("The manifest has no valid header")]
    Header,
    /// It was made by a newer mirror.
    #[error("The manifest has the format {0}, which this version of mirror does not know")]
    Format(String),
    /// It was cut off, or something stands behind its end.
    #[error("The manifest has {actual} bytes instead of {expected}")]
    Length {
        /// What the header promises.
        expected: u64,
        /// What is there.
        actual: u64,
    },
    /// Its bytes changed.
    #[error("The manifest's checksum does not match")]
    Checksum,
    /// Its body makes no sense, or names a path outside the repository.
    #[error("The manifest's body is invalid")]
    Body(#[source] serde_json::Error),
}

impl Manifest {
    /// Returns the bytes to write, and their SHA-256, which the decision records.
    pub fn encode(&self) -> (Vec<u8>, Digest) {
        let body = serde_json::to_vec(self).unwrap_or_else(|error| {
            unreachable!("BUG: a manifest is plain data and always serialises: {error}")
        });
        let mut bytes = format!("{MAGIC} {:08x} {}\n", crc32c::crc32c(&body), body.len()).into_bytes();
        bytes.extend_from_slice(&body);
        let digest = crate::disk::hash::digest_of(&bytes);
        (bytes, digest)
    }

    /// Reads bytes back. Never panics and never allocates more than they are long.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let end = bytes
            .iter()
            .take(HEADER_BYTES_MAX)
            .position(|byte| *byte == b'\n')
            .ok_or(ManifestError::Header)?;
        let header = std::str::from_utf8(&bytes[..end]).map_err(|_| ManifestError::Header)?;
        let [magic, checksum, length] = header.split(' ').collect::<Vec<_>>()[..] else {
            return Err(ManifestError::Header);
        };
        if magic != MAGIC {
            let ours = magic.starts_with("MIRR");
            return Err(if ours {
                ManifestError::Format(magic.to_owned())
            } else {
                ManifestError::Header
            });
        }
        let body = &bytes[end + 1..];
        let expected: u64 = length.parse().map_err(|_| ManifestError::Header)?;
        let actual = body.len() as u64;
        if expected != actual || expected > BYTES_MAX {
            return Err(ManifestError::Length { expected, actual });
        }
        if u32::from_str_radix(checksum, 16) != Ok(crc32c::crc32c(body)) {
            return Err(ManifestError::Checksum);
        }
        serde_json::from_slice(body).map_err(ManifestError::Body)
    }
}

impl Place {
    /// Keeps a path.
    pub fn new(path: &std::path::Path) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        Self(path.as_os_str().as_bytes().to_vec())
    }

    /// Returns the path.
    pub fn as_path(&self) -> &std::path::Path {
        use std::os::unix::ffi::OsStrExt as _;
        std::path::Path::new(std::ffi::OsStr::from_bytes(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Manifest {
        let digest = Digest::from_bytes([7; 32]);
        let entry = Entry::File {
            sha256: digest,
            size: 3,
            executable: true,
        };
        Manifest {
            transaction: "0190f3a4-0000-7000-8000-000000000001".parse().unwrap(),
            task: TaskId::new("agent-1").unwrap(),
            token: Token::new(17),
            root: Place::new(std::path::Path::new("/somewhere")),
            operations: vec![Operation {
                path: RepoPath::new(vec![b'a', b'/', 0xff]).unwrap(),
                pre: Some(Before {
                    entry: Some(entry),
                    inode: Inode(2),
                    mtime_ns: 5,
                    ctime_ns: 6,
                }),
                post: None,
                slot: Slot::Made(4),
                staged: None,
                before: None,
                after: None,
            }],
            reference: Some(RefUpdate {
                name: "refs/heads/main".into(),
                old: None,
                new: ObjectId::from_bytes([9; 20]),
                lock: Inode(3),
                message: "mirror: x".into(),
            }),
            index: Some(IndexUpdate {
                lock: Inode(4),
                head: None,
                rewrite: true,
            }),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let manifest = sample();
        assert_eq!(Manifest::decode(&manifest.encode().0).unwrap(), manifest);
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let (bytes, _) = sample().encode();
        for cut in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut torn = bytes.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            // The header's hexadecimal digits may change case without changing their value.
            if !torn.eq_ignore_ascii_case(&bytes) {
                assert!(Manifest::decode(&torn).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_path_that_leads_outside_is_refused_on_reading() {
        let (bytes, _) = sample().encode();
        let body = bytes.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
        let mut value: serde_json::Value = serde_json::from_slice(body).unwrap();
        for hostile in ["../x", "/etc/passwd", ".git/config", "a/../../b"] {
            value["operations"][0]["path"] = hostile.into();
            let body = serde_json::to_vec(&value).unwrap();
            let mut bytes = format!("MIRR1 {:08x} {}\n", crc32c::crc32c(&body), body.len()).into_bytes();
            bytes.extend_from_slice(&body);
            assert!(
                matches!(Manifest::decode(&bytes), Err(ManifestError::Body(_))),
                "{hostile}"
            );
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        assert!(matches!(
            Manifest::decode(b"MIRR2 00000000 0\n"),
            Err(ManifestError::Format(_))
        ));
    }

    proptest! {
        #[test]
        fn nonsense_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Manifest::decode(&bytes).is_err());
        }
    }
}
