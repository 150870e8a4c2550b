//! Makes staged objects ready to stand where the old ones stand: verified once more, and given the old one's metadata.

use crate::coordinator::Error;
use crate::coordinator::look::Seen;
use crate::coordinator::plan::Order;
use crate::disk::contained::{FileKind, Parent, Root, Stat};
use crate::disk::metadata;
use crate::model::{Entry, RepoPath};
use crate::workspace::manifest::{Inode, Operation, Slot};
use crate::workspace::present;
use crate::workspace::slots::Slots;

/// Reads every staged object again and compares it with what was recorded when it was staged.
pub(super) fn verify(order: &Order) -> Result<(), Error> {
    let mut damaged: Vec<RepoPath> = Vec::new();
    for change in &order.changes {
        let Some(post) = change.post else { continue };
        let place = order.slots.at(Slot::Staged(change.slot));
        let held = match place.stat()? {
            Some(stat) => present::entry_of(&place, &stat)?,
            None => None,
        };
        if !held.is_some_and(|held| same_content(&held, &post)) {
            damaged.push(change.path.clone());
        }
    }
    if damaged.is_empty() {
        return Ok(());
    }
    Err(Error::Damaged {
        task: order.task.id.clone(),
        what: "What was staged",
        paths: damaged,
    })
}

/// Compares content; the exec bit of a staged object is set only by [`metadata()`].
fn same_content(held: &Entry, post: &Entry) -> bool {
    held.is_symlink() == post.is_symlink() && held.sha256() == post.sha256() && held.size() == post.size()
}

/// Gives every new object the mode, owner and attributes of the one it replaces, with the exec bit that was asked for,
/// and notes its inode.
pub(super) fn metadata(
    slots: &Slots,
    root: &Root,
    operations: &mut [Operation],
    seen: &[Seen],
) -> Result<(), Error> {
    for (operation, seen) in operations.iter_mut().zip(seen) {
        let Some(post) = operation.post else { continue };
        let slot = slots.at(operation.slot);
        if let Entry::File { executable, .. } = post {
            dress(&slot, root, seen, executable)?;
        }
        let stat = slot.stat()?.ok_or_else(|| Error::Unchangeable {
            path: operation.path.clone(),
            reason: "its staged object vanished".to_owned(),
        })?;
        operation.staged = Some(Inode::of(&stat));
    }
    Ok(())
}

fn dress(slot: &Parent, root: &Root, seen: &Seen, executable: bool) -> Result<(), Error> {
    let staged = slot.open()?;
    let old = seen
        .present
        .stat
        .as_ref()
        .filter(|stat| stat.kind == FileKind::File);
    let Some(old) = old else {
        metadata::set_mode(&staged, metadata::fresh_mode(executable))?;
        return Ok(());
    };
    let Some(place) = root.parent(&seen.path)? else {
        return Ok(());
    };
    metadata::copy(&place.open()?, &staged)?;
    metadata::set_mode(&staged, with_exec_bit(old, executable))?;
    // Build tools compare times: what is new must look newer, also when the clock of the old file ran ahead.
    metadata::make_newer(&staged, old.mtime_ns)?;
    Ok(())
}

/// Returns the old mode with git's exec bit: everybody who may read may also execute, or nobody.
fn with_exec_bit(old: &Stat, executable: bool) -> u32 {
    let bits = old.mode & 0o777;
    match (executable, bits & 0o100 != 0) {
        (true, true) | (false, false) => bits,
        (true, false) => bits | ((bits & 0o444) >> 2),
        (false, true) => bits & !0o111,
    }
}
