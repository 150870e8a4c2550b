//! Git's own lock files, taken with an identity that is known before they exist.
//!
//! Git locks the index and every ref by a file `<name>.lock`. After a kill such a file stays for good, and nobody can
//! tell whose it is. Ours are hard links to files that lie in the transaction's directory and whose inodes stand in
//! the manifest: what has that inode is ours and may be removed by recovery, and nothing else ever is.

use std::path::Path;
use std::time::Duration;

use crate::coordinator::Error;
use crate::coordinator::backoff::Backoff;
use crate::disk::{self, contained};
use crate::workspace::manifest::Inode;

/// How long to wait for a git command of the user to finish, with every try together.
pub(super) const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);

/// Makes a file of ours that is to become a lock of git, and answers its identity. Not synced.
pub(super) fn new_file(path: &Path, content: &[u8]) -> Result<Inode, Error> {
    disk::remove_file_if_there(path)?;
    disk::write_new_file(path, content, 0o644)?;
    let stat = contained::stat(path)?.unwrap_or_else(|| {
        unreachable!(
            "BUG: {} was made a line above in a directory of ours",
            path.display()
        )
    });
    Ok(Inode::of(&stat))
}

/// Takes the lock file `lock` by linking `ours` to it. Waits for another git process to let go, no longer than `wait`.
pub(super) fn take(ours: &Path, inode: Inode, lock: &Path, wait: Duration) -> Result<(), Error> {
    let mut goes_on = Backoff::until(wait);
    loop {
        match disk::hard_link(ours, lock) {
            Ok(()) => return Ok(()),
            Err(error) if error.is_already_there() => {}
            Err(error) => return Err(error.into()),
        }
        if is_ours(ours, inode, lock)? {
            return Ok(());
        }
        if !goes_on() {
            return Err(Error::GitBusy {
                path: lock.to_owned(),
            });
        }
    }
}

/// Tells whether the lock file is ours: the same object as our file, which is still the one of the manifest.
///
/// The second half matters. An inode number is free again as soon as our file is gone, and git's next lock file may
/// get it.
fn is_ours(ours: &Path, inode: Inode, lock: &Path) -> Result<bool, Error> {
    let (Some(ours), Some(lock)) = (contained::stat(ours)?, contained::stat(lock)?) else {
        return Ok(false);
    };
    Ok(Inode::of(&ours) == inode && (ours.dev, ours.ino) == (lock.dev, lock.ino))
}

/// Removes the lock file if it is ours.
pub(super) fn release(ours: &Path, inode: Inode, lock: &Path) -> Result<(), Error> {
    if is_ours(ours, inode, lock)? {
        disk::remove_file(lock)?;
    }
    Ok(())
}
