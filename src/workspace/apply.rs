//! Carries the decided operations of one transaction out in the working tree. Forward only.
//!
//! It may run again at any time, by anybody, after a crash at any line, and ends in the same state: an operation is
//! pending exactly as long as its slot still holds the staged inode (a deletion: as long as its slot is empty). The
//! content of the path is never asked, since a user may have edited it after it was applied, and doing the operation
//! again would put the old bytes back.
//!
//! Nothing is overwritten and nothing is deleted: whatever stood at a path lies in the operation's slot afterwards,
//! also when somebody wrote it a moment ago. There is no sync in here; the caller has a barrier before and after.

use crate::disk::contained::Root;
use crate::disk::{self, exchange, fault, staged};
use crate::workspace::manifest::{Inode, Operation};
use crate::workspace::slots::Slots;

/// Applies all operations.
pub fn apply(root: &Root, slots: &Slots, operations: &[Operation]) -> disk::Result<()> {
    // Deepest first, so that a directory is empty before something else takes its name.
    for operation in operations
        .iter()
        .rev()
        .filter(|operation| operation.post.is_none())
    {
        fault::check("apply.delete").map_err(disk::injected)?;
        delete(root, slots, operation)?;
    }
    for operation in operations.iter().filter(|operation| operation.post.is_some()) {
        fault::check("apply.place").map_err(disk::injected)?;
        place(root, slots, operation)?;
    }
    fault::point("apply.parents");
    for operation in operations
        .iter()
        .rev()
        .filter(|operation| operation.post.is_none())
    {
        root.remove_empty_parents(&operation.path)?;
    }
    Ok(())
}

fn delete(root: &Root, slots: &Slots, operation: &Operation) -> disk::Result<()> {
    let slot = slots.at(operation.slot);
    let marker = slots.absent_marker(operation.slot);
    if slot.stat()?.is_some() || marker.stat()?.is_some() {
        return Ok(());
    }
    let moved = match root.parent(&operation.path)? {
        None => false,
        Some(path) => exchange::rename_noreplace(&path, &slot)
            .map(|()| true)
            .or_else(absent(false))?,
    };
    if !moved {
        // Somebody deleted it first. Without a mark a second run would delete what they put there later.
        staged::write_new(&marker, &mut std::io::empty(), 0o600)?;
    }
    Ok(())
}

fn place(root: &Root, slots: &Slots, operation: &Operation) -> disk::Result<()> {
    let slot = slots.at(operation.slot);
    let lies_in_slot = slot.stat()?.map(|stat| Inode::of(&stat));
    if lies_in_slot.is_none() || lies_in_slot != operation.staged {
        return Ok(());
    }
    let path = root.make_parents(&operation.path)?;
    // A create finds the name taken, a replace finds it gone: somebody was faster, and the other call is the right
    // one. Two rounds settle any single foreign act; more rounds mean that somebody fights for the name.
    for _ in 0..PLACE_ROUNDS_MAX {
        let attempt = fault::check("apply.exchange").map_err(disk::injected);
        let exchanged = match attempt.and_then(|()| exchange::exchange(&slot, &path)) {
            // overlayfs does not move a directory of a lower layer. An empty one holds nothing to keep: it is removed, and
            // a kill before the file takes its name leaves the staged object in its slot, to be placed by the next run.
            Err(error) if error.is_across_layers() && path.remove_directory_if_empty()? => Ok(false),
            answer => answer.map(|()| true).or_else(absent(false)),
        };
        if exchanged? {
            return Ok(());
        }
        if exchange::rename_noreplace(&slot, &path)
            .map(|()| true)
            .or_else(taken(false))?
        {
            return Ok(());
        }
    }
    Err(disk::DiskError::contended(
        "putting a file in place",
        operation.path.as_path(),
    ))
}

/// How often a name may appear and vanish under our hands before the apply is left pending.
const PLACE_ROUNDS_MAX: usize = 64;

fn absent<T>(answer: T) -> impl FnOnce(disk::DiskError) -> disk::Result<T> {
    move |error| {
        if error.is_not_found() {
            Ok(answer)
        } else {
            Err(error)
        }
    }
}

fn taken<T>(answer: T) -> impl FnOnce(disk::DiskError) -> disk::Result<T> {
    move |error| {
        if error.is_already_there() {
            Ok(answer)
        } else {
            Err(error)
        }
    }
}
