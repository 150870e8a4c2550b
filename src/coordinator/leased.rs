//! A working copy that is a run's own, and whether it is still the one that the run was given: a command may do with it what it
//! likes, and what stands in its place afterwards may be anything.

use std::io;
use std::rc::Rc;

use crate::coordinator::origin::Origin;
use crate::coordinator::worktree_place::Place;
use crate::coordinator::{Error, RunRefusal};
use crate::disk::contained::{self, FileKind, Stat};
use crate::disk::lock::FileLock;
use crate::disk::{self, DiskError};
use crate::model::{ObjectId, TransactionId};

/// A working copy that is a run's own.
#[must_use = "a leased working copy is given back"]
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) place: Place,
    /// What it held when it was handed over.
    pub(super) origin: Rc<Origin>,
    pub(super) transaction: TransactionId,
    pub(super) base: Option<ObjectId>,
    /// The directory that was handed over.
    pub(super) given: Option<Stat>,
    pub(super) _lock: FileLock,
}

impl Leased {
    /// Refuses to take anything out of what is no longer the directory that was handed over: a link may lead to the user's own
    /// files.
    pub(super) fn refuse_replaced(&self) -> Result<(), Error> {
        let tree = self.place.tree();
        let refuse = |what: &str| {
            let (path, what) = (tree.clone(), what.to_owned());
            Err(RunRefusal::CopyReplaced { path, what }.into())
        };
        let number = |stat: Option<Stat>| stat.map(|stat| (stat.dev, stat.ino));
        match contained::stat(&tree)? {
            None => refuse("is gone"),
            Some(now) if now.kind == FileKind::Symlink => refuse("is a link by now"),
            Some(now) if now.kind != FileKind::Directory => refuse("is no directory any more"),
            Some(now) if number(Some(now)) != number(self.given) => refuse("is another directory by now"),
            Some(_) => Ok(disk::list(&tree)
                .map(drop)
                .map_err(|error| self.unreadable(error))?),
        }
    }

    /// Says of what cannot be read in the copy that the command has left it so.
    pub(super) fn unreadable(&self, error: impl Into<Error>) -> Error {
        let error = error.into();
        match &error {
            Error::Disk(found) if self.is_shut(found) => RunRefusal::CopyReplaced {
                path: found.path().to_owned(),
                what: "cannot be read".to_owned(),
            }
            .into(),
            _ => error,
        }
    }

    fn is_shut(&self, error: &DiskError) -> bool {
        error.kind() == io::ErrorKind::PermissionDenied && error.path().starts_with(self.place.tree())
    }
}
