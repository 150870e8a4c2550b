//! What a path of the working tree holds at this moment.

use crate::disk::contained::{FileKind, Parent, Root, Stat};
use crate::disk::{self, hash};
use crate::model::{Entry, RepoPath};
use crate::workspace::manifest::{Before, Inode};

/// What one path holds.
#[derive(Debug)]
pub struct Present {
    /// Its content and identity; `None` when nothing is there.
    pub before: Option<Before>,
    /// What the system says about it.
    pub stat: Option<Stat>,
}

/// Bits of a mode that mark a file which must not be replaced by a copy.
const SPECIAL_BITS: u32 = 0o6000;

/// Looks at `path` without following any link.
///
/// A containing directory that is a file or a symlink is an error; one that does not exist means the path does not
/// either.
pub fn look(root: &Root, path: &RepoPath) -> disk::Result<Present> {
    let Some(place) = root.parent(path)? else {
        return Ok(Present::nothing());
    };
    let Some(stat) = place.stat()? else {
        return Ok(Present::nothing());
    };
    let entry = entry_of(&place, &stat)?;
    let before = Before {
        entry,
        inode: Inode::of(&stat),
        mtime_ns: stat.mtime_ns,
        ctime_ns: stat.ctime_ns,
    };
    Ok(Present {
        before: Some(before),
        stat: Some(stat),
    })
}

/// Reads the content of what lies at `place`; `None` for a directory or a special file.
pub fn entry_of(place: &Parent, stat: &Stat) -> disk::Result<Option<Entry>> {
    match stat.kind {
        FileKind::File => {
            let (sha256, size) = hash::hash_file(&place.open()?)?;
            Ok(Some(Entry::File {
                sha256,
                size,
                executable: stat.mode & 0o100 != 0,
            }))
        }
        FileKind::Symlink => {
            let text = place.read_link()?;
            Ok(Some(Entry::Symlink {
                sha256: hash::digest_of(&text),
                size: text.len() as u64,
            }))
        }
        FileKind::Directory | FileKind::Other => Ok(None),
    }
}

impl Present {
    /// Describes a path where nothing is.
    pub fn nothing() -> Self {
        Self {
            before: None,
            stat: None,
        }
    }

    /// Returns the content, if the path holds a file or a symlink.
    pub fn entry(&self) -> Option<Entry> {
        self.before.and_then(|before| before.entry)
    }

    /// Tells whether a directory stands there.
    pub fn is_directory(&self) -> bool {
        self.stat
            .as_ref()
            .is_some_and(|stat| stat.kind == FileKind::Directory)
    }

    /// Returns why this object must not be replaced or removed, if so.
    pub fn fault(&self, device: u64) -> Option<&'static str> {
        let stat = self.stat.as_ref()?;
        match stat.kind {
            FileKind::Other => Some("it is a socket, pipe or device"),
            FileKind::File if stat.mode & SPECIAL_BITS != 0 => Some("it is setuid or setgid"),
            _ if stat.dev != device => Some("it lies on another file system"),
            _ => None,
        }
    }

    /// Tells by its numbers alone whether the path still holds the object that `before` describes, unwritten.
    pub fn is_untouched(stat: Option<&Stat>, before: Option<&Before>) -> bool {
        match (stat, before) {
            (None, None) => true,
            (Some(stat), Some(before)) => {
                Inode::of(stat) == before.inode
                    && stat.mtime_ns == before.mtime_ns
                    && stat.ctime_ns == before.ctime_ns
            }
            _ => false,
        }
    }
}
