//! What a directory lies on, and whose it is.

use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::disk::{DiskError, Result};

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsKind {
    /// Works: local, with atomic exchange of names.
    Local,
    /// Works, but orders a directory's sync against nothing else.
    Btrfs,
    /// Shared by machines: neither SQLite's log nor flock mean the same there.
    Network(&'static str),
}

/// The magic numbers of file systems that several machines may share (`statfs(2)`).
const NETWORK: [(u32, &str); 8] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x517b, "SMB"),
    (0x0102_1997, "9p"),
    (0x0bd0_0bd0, "Lustre"),
    (0x00c3_6400, "Ceph"),
    (0x0161_1970, "GFS2"),
];

const BTRFS: u32 = 0x9123_683e;

/// Asks what `path` lies on.
pub fn kind(path: &Path) -> Result<FsKind> {
    let answer = rustix::fs::statfs(path).map_err(DiskError::errno("asking for the file system of", path))?;
    Ok(named(answer.f_type))
}

/// Tells whether a descriptor lies on btrfs. When the system does not say, the answer is the careful one.
pub fn is_btrfs(descriptor: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(descriptor).map_or(true, |answer| named(answer.f_type) == FsKind::Btrfs)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "magic numbers are 32 bits wide"
)]
fn named(magic: rustix::fs::FsWord) -> FsKind {
    let magic = magic as u32;
    if magic == BTRFS {
        return FsKind::Btrfs;
    }
    NETWORK
        .iter()
        .find(|(number, _)| *number == magic)
        .map_or(FsKind::Local, |(_, name)| FsKind::Network(name))
}

/// Returns the user that this process acts as.
pub fn current_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_file_systems_are_known_by_name() {
        assert_eq!(named(0x6969), FsKind::Network("NFS"));
        assert_eq!(named(0xff53_4d42), FsKind::Network("CIFS"));
        // As a system with 32-bit words shows it.
        assert_eq!(
            named(i64::from(0xff53_4d42_u32.cast_signed())),
            FsKind::Network("CIFS")
        );
        assert_eq!(named(0x9123_683e), FsKind::Btrfs);
        assert_eq!(named(0xef53), FsKind::Local);
        assert_eq!(kind(Path::new("/proc")).unwrap(), FsKind::Local);
    }
}
