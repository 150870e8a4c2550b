//! SHA-256 of what is read and written.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::disk::{DiskError, Result};
use crate::model::Digest;

/// The size of one read: large enough that the system calls do not count, small enough for the stack's neighbours.
const BUFFER_BYTES: usize = 128 * 1024;

/// Hashes bytes in memory.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// Hashes a file from where it stands, and counts its bytes.
pub fn hash_file(file: &File) -> Result<(Digest, u64)> {
    hash_reader(&mut &*file).map_err(DiskError::of("reading", Path::new("a file of the working tree")))
}

/// Hashes everything that `reader` gives, and counts it.
pub fn hash_reader(reader: &mut dyn Read) -> io::Result<(Digest, u64)> {
    copy_hashed(reader, &mut io::sink())
}

/// Copies everything from `reader` to `writer`, hashing and counting it on the way.
pub fn copy_hashed(reader: &mut dyn Read, writer: &mut dyn Write) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut size = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok((Digest::from_bytes(hasher.finalize().into()), size)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..count]);
        writer.write_all(&buffer[..count])?;
        size += count as u64;
    }
}
