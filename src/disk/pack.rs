//! Bytes that are kept for long, in less room: zstd with a checksum.

use std::io::{self, Read, Write};

/// Quick, and small enough: what is packed is text mostly.
const LEVEL: i32 = 3;

/// Packs bytes in memory.
pub fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    pack_into(&mut packed, &mut |writer| writer.write_all(bytes))?;
    Ok(packed)
}

/// Packs what `write` puts into it.
pub fn pack_into(
    into: &mut dyn Write,
    write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(into, LEVEL)?;
    encoder.include_checksum(true)?;
    write(&mut encoder)?;
    encoder.finish().map(drop)
}

/// Unpacks in memory. More than `bytes_max` is an error, however little room it took.
pub fn unpack(packed: &[u8], bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    unpacking(packed)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it unpacks to more than {bytes_max} bytes"),
        ));
    }
    Ok(bytes)
}

/// Unpacks while reading.
pub fn unpacking<R: Read>(packed: R) -> io::Result<impl Read> {
    zstd::stream::read::Decoder::new(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_and_damage_is_noticed() {
        let bytes: Vec<u8> = (0..100_000u32)
            .flat_map(|number| (number / 7).to_le_bytes())
            .collect();
        let packed = pack(&bytes).unwrap();
        assert!(packed.len() < bytes.len() / 2);
        assert_eq!(unpack(&packed, bytes.len() as u64).unwrap(), bytes);
        assert!(unpack(&packed, bytes.len() as u64 - 1).is_err());
        for place in [packed.len() / 3, packed.len() / 2, packed.len() - 1] {
            let mut torn = packed.clone();
            torn[place] ^= 1;
            assert!(unpack(&torn, 1 << 20).is_err(), "{place}");
            assert!(unpack(&packed[..place], 1 << 20).is_err(), "cut at {place}");
        }
    }
}
