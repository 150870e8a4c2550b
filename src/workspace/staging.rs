//! Writes new objects aside, into the slots of a transaction, where nobody sees them before the commit.
//!
//! An object is hashed while it is written, and what was hashed is what stands in the slot: the name is taken
//! exclusively and no link is followed. It survives the death of the process; it survives power loss only from the
//! commit's first barrier on, and the hash tells afterwards what was lost.
//!
//! Only the holder of the transaction's own lock may call these.

use std::io::Read;

use crate::disk::{self, hash, staged};
use crate::model::Entry;
use crate::workspace::manifest::Slot;
use crate::workspace::present;
use crate::workspace::slots::Slots;

/// The mode of a staged file: nobody else reads what is not committed yet. The commit gives it its real one.
const MODE: u32 = 0o600;

/// Writes a file into the slot `number`.
pub fn write_file(
    slots: &Slots,
    number: u32,
    content: &mut dyn Read,
    executable: bool,
) -> disk::Result<Entry> {
    let slot = Slot::Staged(number);
    make_room(slots, slot)?;
    let (sha256, size) = staged::write_new(&slots.at(slot), content, MODE)?;
    Ok(Entry::File {
        sha256,
        size,
        executable,
    })
}

/// Makes a symlink with the text `text` in the slot `number`.
pub fn write_symlink(slots: &Slots, number: u32, text: &[u8]) -> disk::Result<Entry> {
    let slot = Slot::Staged(number);
    make_room(slots, slot)?;
    staged::symlink_new(&slots.at(slot), text)?;
    Ok(Entry::Symlink {
        sha256: hash::digest_of(text),
        size: text.len() as u64,
    })
}

/// Removes what a process left that was killed between writing an object and recording it: no change names this slot.
fn make_room(slots: &Slots, slot: Slot) -> disk::Result<()> {
    match slots.at(slot).stat()? {
        None => Ok(()),
        Some(_) => disk::remove_any(&slots.path(slot)),
    }
}

/// Removes the object in the slot `number`, if there is one.
pub fn remove(slots: &Slots, number: u32) -> disk::Result<()> {
    disk::remove_any(&slots.path(Slot::Staged(number)))
}

/// Reads the slot `number` again and tells whether it still holds exactly the bytes that were staged. The exec bit is
/// not compared: a slot never has it before the commit.
pub fn is_intact(slots: &Slots, number: u32, post: &Entry) -> disk::Result<bool> {
    let place = slots.at(Slot::Staged(number));
    let held = match place.stat()? {
        Some(stat) => present::entry_of(&place, &stat)?,
        None => None,
    };
    Ok(held.is_some_and(|held| {
        held.is_symlink() == post.is_symlink() && held.sha256() == post.sha256() && held.size() == post.size()
    }))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests arrange files by hand")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn what_is_written_is_intact_until_somebody_touches_it() {
        let sandbox = tempfile::tempdir().unwrap();
        let slots = Slots::open(sandbox.path()).unwrap();
        let file = write_file(&slots, 3, &mut &b"\0\r\n"[..], true).unwrap();
        let link = write_symlink(&slots, 4, b"../elsewhere").unwrap();
        assert!(is_intact(&slots, 3, &file).unwrap() && is_intact(&slots, 4, &link).unwrap());
        assert!(!is_intact(&slots, 4, &file).unwrap() && !is_intact(&slots, 5, &file).unwrap());
        let path = slots.path(Slot::Staged(3));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        fs::write(&path, "\0\r\r").unwrap();
        assert!(!is_intact(&slots, 3, &file).unwrap());
        remove(&slots, 3).unwrap();
        remove(&slots, 3).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_left_in_the_slot_gives_way_and_a_link_is_not_followed() {
        let sandbox = tempfile::tempdir().unwrap();
        let slots = Slots::open(sandbox.path()).unwrap();
        let outside = sandbox.path().join("outside");
        fs::write(&outside, "untouched").unwrap();
        symlink(&outside, slots.path(Slot::Staged(0))).unwrap();
        let entry = write_file(&slots, 0, &mut &b"new"[..], false).unwrap();
        assert!(is_intact(&slots, 0, &entry).unwrap());
        assert_eq!(fs::read(&outside).unwrap(), b"untouched");
    }
}
