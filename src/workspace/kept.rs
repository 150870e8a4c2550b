//! What a transaction displaced when it was carried out, for as long as that is kept: first in its slots, later in one file.
//!
//! The file is written aside, synced and renamed before the directory with the slots goes, so there is always one of them. It
//! holds the manifest and, in the order of its operations, the objects that were displaced. Nothing in it is believed: the
//! registry names the manifest's SHA-256, and the manifest names that of each object.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::disk::contained::FileKind;
use crate::disk::{self, DiskError, pack, sync};
use crate::model::{Entry, TransactionId};
use crate::workspace::manifest::{BYTES_MAX, Before, Inode, Operation};
use crate::workspace::slots::Slots;
use crate::workspace::{Layout, WorkspaceError, present};

/// The first line of a file whose rest is as it is, and of one whose rest is packed.
const PLAIN: &[u8; 9] = b"MIRRK1 p\n";
const PACKED: &[u8; 9] = b"MIRRK1 z\n";

/// Stands where another object could begin.
const END: u64 = u64::MAX;

/// An object that a path held before. Whether it is still the same only its hash tells: whoever had it open may have written
/// to it.
pub enum Kept<'a> {
    /// A file.
    File(Box<dyn Read + 'a>),
    /// A symlink, with its text.
    Symlink(Vec<u8>),
}

impl Layout {
    /// Returns the directory of what is kept of transactions whose directory is gone.
    pub fn kept(&self) -> PathBuf {
        self.directory.join("kept")
    }

    /// Returns the file that keeps what `transaction` displaced.
    pub fn kept_file(&self, transaction: &TransactionId) -> PathBuf {
        self.kept().join(transaction.to_string())
    }

    /// Lists the transactions that have such a file, the oldest first.
    pub fn kept_ids(&self) -> Result<Vec<TransactionId>, WorkspaceError> {
        let names = disk::list(&self.kept())?;
        Ok(names
            .iter()
            .filter_map(|name| name.to_str()?.parse().ok())
            .collect())
    }
}

/// Opens what the path of an operation held before, as long as it lies in its slot. `None` when it does not.
pub fn open_slot(slots: &Slots, operation: &Operation) -> disk::Result<Option<Kept<'static>>> {
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
    // What was never exchanged displaced nothing. The number alone does not tell: the whole directory may have been copied since, and
    // another file have got it.
    let may_be_new = operation.staged == Some(Inode::of(&stat));
    if may_be_new && present::entry_of(&place, &stat)? == operation.post {
        return Ok(None);
    }
    Ok(match (stat.kind, before) {
        (FileKind::File, Entry::File { .. }) => Some(Kept::File(Box::new(place.open()?))),
        (FileKind::Symlink, Entry::Symlink { .. }) => Some(Kept::Symlink(place.read_link()?)),
        _ => None,
    })
}

/// Writes everything that is kept of a transaction into one file. Durable when it returns.
pub fn keep(
    layout: &Layout,
    transaction: &TransactionId,
    manifest: &[u8],
    operations: &[Operation],
    slots: &Slots,
    is_packed: bool,
) -> disk::Result<()> {
    let directory = slots.directories()[0].clone();
    let since = std::fs::metadata(&directory).and_then(|metadata| metadata.modified());
    let since = since.map_err(DiskError::of("looking at", &directory))?;
    disk::create_private_dir(&layout.kept())?;
    let file = layout.kept_file(transaction);
    let aside = layout.kept().join(format!("{transaction}.new"));
    // A process that was killed may have left it.
    disk::remove_file_if_there(&aside)?;
    let mut write = |into: &mut dyn Write| write_all(into, manifest, operations, slots);
    disk::write_new_synced(&aside, 0o600, &mut |file| {
        file.write_all(if is_packed { PACKED } else { PLAIN })?;
        if is_packed {
            pack::pack_into(file, &mut write)?;
        } else {
            write(file)?;
        }
        // It is as old as what it keeps.
        file.set_modified(since)
    })?;
    disk::rename(&aside, &file)?;
    sync::sync_directory(&layout.kept())
}

fn write_all(
    into: &mut dyn Write,
    manifest: &[u8],
    operations: &[Operation],
    slots: &Slots,
) -> io::Result<()> {
    into.write_all(&(manifest.len() as u64).to_le_bytes())?;
    into.write_all(manifest)?;
    for (index, operation) in (0_u64..).zip(operations) {
        let Some(Before {
            entry: Some(before), ..
        }) = operation.pre
        else {
            continue;
        };
        let Some(kept) = open_slot(slots, operation).map_err(io::Error::other)? else {
            continue;
        };
        into.write_all(&index.to_le_bytes())?;
        into.write_all(&before.size().to_le_bytes())?;
        let mut content: Box<dyn Read> = match kept {
            Kept::File(content) => content,
            Kept::Symlink(text) => Box::new(io::Cursor::new(text)),
        };
        // Somebody may write to it at this moment: the number of bytes is fixed, and the hash tells.
        let written = io::copy(&mut content.by_ref().take(before.size()), into)?;
        io::copy(&mut io::repeat(0).take(before.size() - written), into)?;
    }
    into.write_all(&END.to_le_bytes())
}

/// A file that keeps what a transaction displaced, being read from its beginning.
pub struct KeptFile {
    path: PathBuf,
    manifest: Vec<u8>,
    rest: Box<dyn Read>,
    /// The object that comes next: whose it is, and how much of it is unread.
    next: Option<(u64, u64)>,
}

impl KeptFile {
    /// Opens the file; `None` when there is none.
    pub fn open(layout: &Layout, transaction: &TransactionId) -> disk::Result<Option<Self>> {
        let path = layout.kept_file(transaction);
        let fail = || DiskError::of("reading", &path);
        let file = match disk::open_regular(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail()(error)),
        };
        let (manifest, rest) = begin(file).map_err(fail())?;
        Ok(Some(Self {
            path,
            manifest,
            rest,
            next: None,
        }))
    }

    /// Returns the bytes of the manifest.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// Returns what the path of the operation numbered `index` held before; `None` when it was not kept. Operations are
    /// asked for in their order.
    pub fn object(&mut self, index: u64, operation: &Operation) -> disk::Result<Option<Kept<'_>>> {
        let path = self.path.clone();
        let fail = |source| DiskError::of("reading", &path)(source);
        loop {
            let (found, left) = match self.next {
                Some(next) => next,
                None => self.header().map_err(fail)?,
            };
            self.next = Some((found, left));
            if found > index {
                return Ok(None);
            }
            if found == index {
                break;
            }
            io::copy(&mut (&mut self.rest).take(left), &mut io::sink()).map_err(fail)?;
            self.next = None;
        }
        let left = self.next.take().map_or(0, |(_, left)| left);
        let content = (&mut self.rest).take(left);
        Ok(match operation.pre.and_then(|before| before.entry) {
            Some(Entry::Symlink { .. }) => {
                let mut text = Vec::new();
                content
                    .take(TEXT_BYTES_MAX)
                    .read_to_end(&mut text)
                    .map_err(fail)?;
                Some(Kept::Symlink(text))
            }
            Some(Entry::File { .. }) => Some(Kept::File(Box::new(content))),
            None => None,
        })
    }

    fn header(&mut self) -> io::Result<(u64, u64)> {
        let index = number(&mut self.rest)?;
        let size = if index == END { 0 } else { number(&mut self.rest)? };
        Ok((index, size))
    }
}

/// The longest text of a symlink that Linux knows.
const TEXT_BYTES_MAX: u64 = 4096;

fn begin(file: File) -> io::Result<(Vec<u8>, Box<dyn Read>)> {
    let mut file = BufReader::new(file);
    let mut magic = [0; PLAIN.len()];
    file.read_exact(&mut magic)?;
    let mut rest: Box<dyn Read> = match &magic {
        PLAIN => Box::new(file),
        PACKED => Box::new(pack::unpacking(file)?),
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is of a kind that this version does not know",
            ));
        }
    };
    let length = number(&mut rest)?;
    if length > BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its manifest is too long",
        ));
    }
    let mut manifest = Vec::new();
    (&mut rest).take(length).read_to_end(&mut manifest)?;
    Ok((manifest, rest))
}

fn number(from: &mut dyn Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Tells how much room a file takes; 0 when there is none.
pub fn file_bytes(path: &Path) -> disk::Result<u64> {
    Ok(disk::contained::stat(path)?.map_or(0, |stat| stat.size))
}
