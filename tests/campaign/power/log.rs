//! The log of a block device's writes, and the states in which losing power may leave the device.
//!
//! The format is that of the Linux kernel's `dm-log-writes`: a sector that describes the log, then for each write a sector
//! that describes it and the sectors that were written.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR_BYTES: u64 = 512;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One write, flush or discard.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Where it was written, in bytes.
    offset: u64,
    data: Vec<u8>,
    flags: u64,
}

impl Entry {
    /// Tells whether everything written before is durable once this is answered.
    fn flushes(&self) -> bool {
        self.flags & FLUSH != 0
    }

    /// Tells whether its own data is durable once this is answered.
    fn is_durable(&self) -> bool {
        self.flags & FUA != 0
    }

    pub(super) fn apply(&self, image: &File) {
        image.write_all_at(&self.data, self.offset).unwrap();
    }

    /// Writes only the first half of it, in whole sectors.
    pub(super) fn apply_half(&self, image: &File) {
        let half = self.data.len() / 2;
        let sectors = half - half % usize::try_from(SECTOR_BYTES).unwrap();
        image.write_all_at(&self.data[..sectors], self.offset).unwrap();
    }
}

/// Counts the entries of a log that is still being written.
pub(super) fn count(log: &Path) -> usize {
    let mut header = [0; 32];
    File::open(log).unwrap().read_exact_at(&mut header, 0).unwrap();
    // The header comes with the first entry.
    if header == [0; 32] {
        return 0;
    }
    assert_eq!(number(&header, 0), MAGIC, "a log of writes");
    assert_eq!(number(&header, 1), 1, "its version");
    usize::try_from(number(&header, 2)).unwrap()
}

/// Reads a whole log.
pub(super) fn read(log: &Path) -> Vec<Entry> {
    let file = File::open(log).unwrap();
    let mut at = SECTOR_BYTES;
    let mut entry = || {
        let mut header = [0; 32];
        file.read_exact_at(&mut header, at).unwrap();
        let [sector, sectors, flags] = [0, 1, 2].map(|index| number(&header, index));
        at += SECTOR_BYTES;
        // What is discarded may be kept as well.
        let length = if flags & DISCARD == 0 {
            sectors * SECTOR_BYTES
        } else {
            0
        };
        let mut data = vec![0; usize::try_from(length).unwrap()];
        file.read_exact_at(&mut data, at).unwrap();
        at += length;
        Entry {
            offset: sector * SECTOR_BYTES,
            data,
            flags,
        }
    };
    (0..count(log)).map(|_| entry()).collect()
}

/// Where power is lost: before the entry of this number, and what of the writes before it is on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crash {
    pub(super) before: usize,
    pub(super) how: How,
}

/// What of the writes that nobody has flushed is on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// All of them.
    Prefix,
    /// Each with this probability in percent, chosen by a seed.
    Some { percent: u8, seed: u64 },
    /// All of them, and half of the next one.
    Torn,
}

/// Makes of an image, which holds what was there before the first entry, what a crash leaves.
pub(super) fn replay(entries: &[Entry], crash: Crash, image: &File) {
    let (done, rest) = entries.split_at(crash.before);
    let How::Some { percent, seed } = crash.how else {
        for entry in done {
            entry.apply(image);
        }
        if let (How::Torn, Some(next)) = (crash.how, rest.first()) {
            next.apply_half(image);
        }
        return;
    };
    let flushed = done.iter().rposition(Entry::flushes).unwrap_or(0);
    let mut random = fastrand::Rng::with_seed(seed);
    for (index, entry) in done.iter().enumerate() {
        // The flush itself comes before the data that it may carry.
        if index < flushed || entry.is_durable() || random.u8(..100) < percent {
            entry.apply(image);
        }
    }
}

fn number(header: &[u8; 32], index: usize) -> u64 {
    u64::from_le_bytes(header[index * 8..index * 8 + 8].try_into().unwrap())
}
