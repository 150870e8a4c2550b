//! What a transaction displaced when it was carried out, for as long as that is kept.

use std::io::Read;

use crate::disk::{self, contained::FileKind};
use crate::model::Entry;
use crate::workspace::manifest::{Before, Inode, Operation};
use crate::workspace::slots::Slots;

/// An object that a path held before. Whether it is still the same only its hash tells: whoever had it open may have written
/// to it.
pub enum Kept {
    /// A file.
    File(Box<dyn Read>),
    /// A symlink, with its text.
    Symlink(Vec<u8>),
}

/// Opens what the path of an operation held before. `None` when it is not kept any more.
pub fn open(slots: &Slots, operation: &Operation) -> disk::Result<Option<Kept>> {
    let Some(Before {
        entry: Some(before), ..
    }) = &operation.pre
    else {
        return Ok(None);
    };
    let place = slots.at(operation.slot);
    let Some(stat) = place.stat()? else {
        return Ok(None);
    };
    // What was never exchanged displaced nothing.
    if operation.staged == Some(Inode::of(&stat)) {
        return Ok(None);
    }
    Ok(match (stat.kind, before) {
        (FileKind::File, Entry::File { .. }) => Some(Kept::File(Box::new(place.open()?))),
        (FileKind::Symlink, Entry::Symlink { .. }) => Some(Kept::Symlink(place.read_link()?)),
        _ => None,
    })
}
