//! Files of git's object store, made aside and moved in whole.
//!
//! A file that git finds in its object store has to be complete, whatever happens: an object with a name and no content,
//! as power loss leaves it of a file that nobody has synced, is not written again by anybody, since it is there already.
//! So each is synced before it gets its name; and what a kill leaves half made lies in the transaction's directory, never in
//! git's.

use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use git2::{Indexer, ObjectType, Oid};
use sha1::{Digest as _, Sha1};

use crate::disk::{self, sync};
use crate::git::{Git, GitError, Result};

/// What git gives its objects: nobody writes to them again.
const MODE: u32 = 0o444;

/// How many characters of an object's name are the name of its directory.
const FAN: usize = 2;

impl Git {
    /// Returns the directories whose names have to be synced for an object that has a file of its own.
    pub(super) fn directories_of(&self, id: Oid) -> [PathBuf; 2] {
        let store = self.objects_dir();
        let fan = store.join(&id.to_string()[..FAN]);
        [store, fan]
    }

    /// Returns the directories whose names have to be synced for every such object.
    pub(super) fn object_directories(&self) -> Result<Vec<PathBuf>> {
        let store = self.objects_dir();
        let names = disk::list(&store)?;
        let fans = names.iter().filter(|name| name.len() == FAN);
        let mut directories: Vec<PathBuf> = fans.map(|name| store.join(name)).collect();
        directories.push(store);
        Ok(directories)
    }
}

/// A directory of our own in which files of the object store are made.
pub(super) struct Drafts<'a> {
    directory: &'a Path,
    objects: PathBuf,
}

impl<'a> Drafts<'a> {
    /// Makes the directory, without what a killed predecessor has left there. `objects` is git's object store, on the same
    /// file system.
    pub(super) fn open(directory: &'a Path, objects: PathBuf) -> Result<Self> {
        disk::remove_dir_all(directory)?;
        disk::create_dir_all(directory)?;
        Ok(Self { directory, objects })
    }

    /// Writes one object into a file of its own. Answers the directories whose names have to be synced: the file itself
    /// need not be there any more, since git packs what it finds.
    pub(super) fn loose(
        &self,
        id: Oid,
        kind: ObjectType,
        length: u64,
        content: &mut dyn Read,
    ) -> Result<Vec<PathBuf>> {
        let name = id.to_string();
        let draft = self.directory.join(&name);
        disk::write_new_synced(&draft, MODE, &mut |file| {
            let mut encoder = ZlibEncoder::new(file, Compression::fast());
            write!(encoder, "{} {length}\0", kind.str())?;
            if io::copy(content, &mut encoder)? != length {
                return Err(io::Error::other("the file changed while it was read"));
            }
            encoder.finish().map(|_| ())
        })?;
        let directory = self.objects.join(&name[..FAN]);
        disk::create_dir_all(&directory)?;
        disk::rename(&draft, &directory.join(&name[FAN..]))?;
        Ok(vec![self.objects.clone(), directory])
    }

    /// Writes one pack of exactly these objects, none of them as a difference of another: searching for differences
    /// costs more than everything else together. Answers the directory whose names have to be synced.
    pub(super) fn pack(&self, objects: &[git2::OdbObject<'_>]) -> Result<Vec<PathBuf>> {
        let fail = || GitError::of("writing a pack");
        let stream = pack_stream(objects)?;
        let mut indexer = Indexer::new(None, self.directory, MODE, false).map_err(fail())?;
        indexer.write_all(&stream).map_err(|source| GitError::Io {
            doing: "writing a pack in",
            path: self.directory.to_owned(),
            source,
        })?;
        let checksum = indexer.commit().map_err(fail())?;
        let packs = self.objects.join("pack");
        disk::create_dir_all(&packs)?;
        let names = ["pack", "idx"].map(|extension| format!("pack-{checksum}.{extension}"));
        for name in &names {
            sync::sync_path(&self.directory.join(name))?;
        }
        // Git looks for packs by their indexes, so the index comes last.
        for name in names {
            disk::rename(&self.directory.join(&name), &packs.join(&name))?;
        }
        Ok(vec![packs])
    }
}

fn pack_stream(objects: &[git2::OdbObject<'_>]) -> Result<Vec<u8>> {
    let count = u32::try_from(objects.len()).map_err(|_| GitError::Answer("too many objects".to_owned()))?;
    let mut stream = b"PACK\x00\x00\x00\x02".to_vec();
    stream.extend_from_slice(&count.to_be_bytes());
    for object in objects {
        push_header(&mut stream, object.kind(), object.len());
        let mut encoder = ZlibEncoder::new(stream, Compression::fast());
        let deflated = encoder.write_all(object.data()).and_then(|()| encoder.finish());
        stream = deflated.map_err(|source| GitError::Io {
            doing: "deflating",
            path: PathBuf::new(),
            source,
        })?;
    }
    let checksum = Sha1::digest(&stream);
    stream.extend_from_slice(&checksum);
    Ok(stream)
}

/// Writes an entry's kind and length the way pack files have them: four bits, then seven at a time.
fn push_header(stream: &mut Vec<u8>, kind: ObjectType, length: usize) {
    let kind: u8 = match kind {
        ObjectType::Commit => 1,
        ObjectType::Tree => 2,
        ObjectType::Tag => 4,
        _ => 3,
    };
    let low = |value: usize, mask: u8| u8::try_from(value & usize::from(mask)).unwrap_or(0);
    let mut byte = (kind << 4) | low(length, 0x0f);
    let mut rest = length >> 4;
    while rest > 0 {
        stream.push(byte | 0x80);
        byte = low(rest, 0x7f);
        rest >>= 7;
    }
    stream.push(byte);
}
