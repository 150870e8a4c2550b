//! The epoch: a counter that is odd while a transaction is being applied to the working tree.
//!
//! A reader that wants several files of one state reads an even epoch, then the files, then the same epoch.

use std::path::PathBuf;

use crate::disk;

/// `.mirror/epoch`: eight bytes, little endian.
#[derive(Debug, Clone)]
pub struct Epoch(PathBuf);

impl Epoch {
    /// Names the file.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Returns the counter; 0 before the first apply.
    pub fn read(&self) -> disk::Result<u64> {
        let bytes = disk::read_if_there(&self.0)?.unwrap_or_default();
        Ok(<[u8; 8]>::try_from(bytes).map_or(0, u64::from_le_bytes))
    }

    /// Makes the counter odd; a crash may have left it so.
    pub fn begin(&self) -> disk::Result<()> {
        let epoch = self.read()?;
        self.write(if epoch % 2 == 0 {
            epoch.wrapping_add(1)
        } else {
            epoch
        })
    }

    /// Makes the counter even, and larger than any that a reader saw.
    pub fn end(&self) -> disk::Result<()> {
        let epoch = self.read()?;
        self.write(if epoch % 2 == 1 {
            epoch.wrapping_add(1)
        } else {
            epoch
        })
    }

    /// Eight bytes in one write: a reader sees the old or the new number. It need not survive power loss.
    fn write(&self, epoch: u64) -> disk::Result<()> {
        disk::overwrite(&self.0, &epoch.to_le_bytes())
    }
}
