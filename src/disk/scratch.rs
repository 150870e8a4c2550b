//! A directory to work in for a while, which is gone afterwards with everything in it, but for what is mounted there.

use std::path::{Path, PathBuf};

use crate::disk::{self, DiskError, Result};

/// A directory with a name of its own. It is removed on drop, at best effort: where that fails it stays, and the log says so.
#[derive(Debug)]
#[must_use = "the directory is gone with its guard"]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one in `parent`, for its owner only.
    pub fn make(parent: &Path, prefix: &str) -> Result<Self> {
        // Theirs would be removed with whatever somebody has mounted in it.
        let made = tempfile::Builder::new()
            .prefix(prefix)
            .disable_cleanup(true)
            .tempdir_in(parent);
        let made = made.map_err(DiskError::of("making a directory in", parent))?;
        Ok(Self {
            path: made.path().to_owned(),
        })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = disk::remove_any(&self.path) {
            tracing::warn!(%error, left = %self.path.display(), "a scratch directory cannot be removed and is left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_with_its_guard_and_each_has_a_name_of_its_own() {
        let sandbox = tempfile::tempdir().unwrap();
        let (one, other) = (
            Scratch::make(sandbox.path(), "some-").unwrap(),
            Scratch::make(sandbox.path(), "some-").unwrap(),
        );
        assert_ne!(one.path(), other.path());
        disk::create_dir_all(&one.path().join("a/b")).unwrap();
        drop(one);
        assert_eq!(
            disk::list(sandbox.path()).unwrap(),
            [other.path().file_name().unwrap()]
        );
    }
}
