//! What a validation prints: the end of it in an error, all of it in a file.
//!
//! While it goes on, that file is among those of its transaction. What is worth reading afterwards moves to
//! `.mirror/salvage/<transaction>.validation`, not durably.

use std::path::{Path, PathBuf};

use crate::coordinator::{Coordinator, Error};
use crate::disk::{self, contained};
use crate::model::TransactionId;

/// What the names of the directories begin with that validations have for themselves.
pub(super) const SCRATCH_PREFIX: &str = "validation-";

/// The name of the file in there.
pub(super) const FILE: &str = "printed";

/// How much of the end an error carries, in bytes.
const END_BYTES_MAX: u64 = 8 * 1024;

/// What a validation that failed has printed.
pub(super) struct Printed {
    /// The end of it, from the beginning of a line on.
    pub(super) end: String,
    /// How many bytes before that are left out.
    pub(super) left_out: u64,
    /// Where all of it is kept, if any of it is left out.
    pub(super) kept: Option<PathBuf>,
}

impl Coordinator {
    /// Finds where a validation prints to that goes on.
    pub(super) fn being_printed(&self, transaction: &TransactionId) -> Result<Option<PathBuf>, Error> {
        let directory = self.layout.transaction(transaction);
        let mut newest = None;
        for name in disk::list(directory.path())? {
            if !name.to_string_lossy().starts_with(SCRATCH_PREFIX) {
                continue;
            }
            // One that was killed may have left another.
            let path = directory.path().join(name).join(FILE);
            if let Some(stat) = contained::stat(&path)? {
                newest = newest.max(Some((stat.mtime_ns, path)));
            }
        }
        Ok(newest.map(|(_, path)| path))
    }

    /// Reads what a validation that failed has printed, and keeps all of it if that is too much for a message.
    pub(super) fn printed(&self, transaction: &TransactionId, file: &Path) -> Result<Printed, Error> {
        let length = contained::stat(file)?.map_or(0, |stat| stat.size);
        let tail = disk::read_tail(file, END_BYTES_MAX)?;
        let end = if length > tail.len() as u64 {
            from_a_line(&tail)
        } else {
            &tail
        };
        let left_out = length.saturating_sub(end.len() as u64);
        let kept = if left_out == 0 {
            None
        } else {
            self.keep_printed(transaction, file)?
        };
        Ok(Printed {
            end: String::from_utf8_lossy(end).into_owned(),
            left_out,
            kept,
        })
    }

    /// Keeps what a validation has printed, if that is anything. Answers where.
    pub(super) fn keep_printed(
        &self,
        transaction: &TransactionId,
        file: &Path,
    ) -> Result<Option<PathBuf>, Error> {
        if contained::stat(file)?.is_none_or(|stat| stat.size == 0) {
            return Ok(None);
        }
        let kept = self.layout.salvage_printed(transaction);
        disk::create_private_dir(&self.layout.salvages())?;
        disk::rename(file, &kept)?;
        Ok(Some(kept))
    }
}

/// Returns what follows the first end of a line: what is before it has lost its beginning. Of a single line nobody loses the end.
fn from_a_line(tail: &[u8]) -> &[u8] {
    let line_end = tail.iter().position(|byte| *byte == b'\n');
    match line_end {
        Some(line_end) if line_end + 1 < tail.len() => &tail[line_end + 1..],
        _ => tail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_begins_with_a_line() {
        assert_eq!(from_a_line(b"st\nnext\n"), b"next\n");
        assert_eq!(from_a_line(b"all one line\n"), b"all one line\n");
        assert_eq!(from_a_line(b"all one line"), b"all one line");
    }
}
