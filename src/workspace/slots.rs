//! The slots of one transaction: where its staged objects lie, and after the apply the objects they displaced.
//!
//! Nothing in a slot is deleted before the transaction is done. Afterwards every slot is read once more, and what is
//! not the object that was to be displaced is somebody's work: it goes to quarantine.

use std::path::{Path, PathBuf};

use crate::disk::contained::{Dir, FileKind, Parent, Stat};
use crate::disk::{self, exchange};
use crate::model::{Entry, RepoPath};
use crate::workspace::manifest::{Before, Inode, Operation, Slot};
use crate::workspace::present;

/// The directory of staged objects inside a transaction's directory.
const STAGED: &str = "s";

/// The directory of objects made for one attempt.
const MADE: &str = "m";

/// The slots of one transaction.
#[derive(Debug)]
pub struct Slots {
    directory: PathBuf,
    staged: Dir,
    made: Dir,
}

impl Slots {
    /// Opens the slots, making their directories where they are missing.
    pub fn open(transaction_directory: &Path) -> disk::Result<Self> {
        let (staged, made) = (
            transaction_directory.join(STAGED),
            transaction_directory.join(MADE),
        );
        disk::create_dir_all(&staged)?;
        disk::create_dir_all(&made)?;
        Ok(Self {
            directory: transaction_directory.to_owned(),
            staged: Dir::open(&staged)?,
            made: Dir::open(&made)?,
        })
    }

    /// Returns the directory entry of a slot.
    pub fn at(&self, slot: Slot) -> Parent {
        match slot {
            Slot::Staged(number) => self.staged.child(&number.to_string()),
            Slot::Made(number) => self.made.child(&number.to_string()),
        }
    }

    /// Returns the path of a slot, for readers that take paths.
    pub fn path(&self, slot: Slot) -> PathBuf {
        match slot {
            Slot::Staged(number) => self.directory.join(STAGED).join(number.to_string()),
            Slot::Made(number) => self.directory.join(MADE).join(number.to_string()),
        }
    }

    /// Returns the directories whose entries have to be durable before the decision.
    pub fn directories(&self) -> [PathBuf; 3] {
        [
            self.directory.clone(),
            self.directory.join(STAGED),
            self.directory.join(MADE),
        ]
    }

    /// Returns the entry of the marker that a deletion leaves when there was nothing to displace.
    pub(crate) fn absent_marker(&self, slot: Slot) -> Parent {
        match slot {
            Slot::Staged(number) => self.staged.child(&format!("{number}.absent")),
            Slot::Made(number) => self.made.child(&format!("{number}.absent")),
        }
    }

    /// Drops what an attempt made. The staged objects stay.
    pub fn drop_made(&self) -> disk::Result<()> {
        for entry in disk::list(&self.directory.join(MADE))? {
            disk::remove_any(&self.directory.join(MADE).join(entry))?;
        }
        Ok(())
    }
}

/// Moves every foreign object among the slots of an applied transaction into `quarantine`, and answers the paths they
/// belong to.
///
/// A slot is foreign unless it holds exactly what the manifest says the path held. Safe to run again: what has been
/// moved is no longer in its slot.
pub fn quarantine_foreign(
    slots: &Slots,
    operations: &[Operation],
    quarantine: &Path,
) -> disk::Result<Vec<RepoPath>> {
    let mut foreign = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        let place = slots.at(operation.slot);
        let Some(stat) = place.stat()? else { continue };
        if is_expected(&place, &stat, operation)? {
            continue;
        }
        disk::create_dir_all(quarantine)?;
        let target = Dir::open(quarantine)?.child(&index.to_string());
        exchange::rename_noreplace(&place, &target)?;
        disk::sync::sync_directory(quarantine)?;
        foreign.push(operation.path.clone());
    }
    Ok(foreign)
}

fn is_expected(place: &Parent, stat: &Stat, operation: &Operation) -> disk::Result<bool> {
    let inode = Inode::of(stat);
    if operation.staged == Some(inode) {
        // Still the staged object: the path was never exchanged, or it was and somebody renamed it back.
        return Ok(true);
    }
    match operation.pre {
        None => Ok(false),
        Some(Before { entry: None, .. }) => {
            // A directory whose tracked files were displaced one by one: whatever else is in it is foreign.
            Ok(stat.kind == FileKind::Directory && place.is_empty_tree()?)
        }
        Some(Before {
            entry: Some(before), ..
        }) => {
            let held: Option<Entry> = present::entry_of(place, stat)?;
            // The exec bit is metadata that `chmod` may change on the displaced inode; the bytes are what counts.
            Ok(held.is_some_and(|held| {
                held.is_symlink() == before.is_symlink()
                    && held.sha256() == before.sha256()
                    && held.size() == before.size()
            }))
        }
    }
}
