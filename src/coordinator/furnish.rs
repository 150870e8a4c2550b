//! What a working copy gets beside the files that git tracks, since a build or a test needs it: `run.link` and `run.copy`.
//!
//! A link leads to the original, so what is written through it is written there: good for what is only read, such as
//! `node_modules`. A copy is the working copy's own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::coordinator::Error;
use crate::disk::contained::{self, FileKind, Root};
use crate::disk::{self, expand, walk};
use crate::model::RepoPath;

/// Puts what the configuration names into the working copy at `into`. A name that git tracks there is left as it is, and one
/// that does not exist in the original is passed over. Answers the paths.
pub(super) fn furnish(config: &Config, from: &Root, into: &Path) -> Result<BTreeSet<RepoPath>, Error> {
    let into = Root::open(into)?;
    let mut furnished = BTreeSet::new();
    for pattern in &config.run_link {
        for path in expand::names(from.path(), pattern)? {
            if let Some(target) = room(&into, &path)? {
                disk::symlink(&from.path().join(path.as_path()), &target)?;
                furnished.insert(path);
            }
        }
    }
    for pattern in &config.run_copy {
        for path in expand::names(from.path(), pattern)? {
            if let Some(target) = room(&into, &path)?
                && copy(&from.path().join(path.as_path()), &target)?
            {
                furnished.insert(path);
            }
        }
    }
    Ok(furnished)
}

/// Makes the directories above, none of which may be a link; `None` when something has the name already.
fn room(into: &Root, path: &RepoPath) -> Result<Option<PathBuf>, Error> {
    let place = into.make_parents(path)?;
    Ok(place.stat()?.is_none().then(|| place.path().to_owned()))
}

/// Copies whatever it is; `false` for what cannot be copied.
fn copy(original: &Path, target: &Path) -> Result<bool, Error> {
    match contained::stat(original)?.map(|stat| stat.kind) {
        Some(FileKind::Directory) => {
            disk::create_dir_all(target)?;
            walk::copy_tree(original, target)?;
        }
        Some(FileKind::File) => disk::copy_file(original, target)?,
        Some(FileKind::Symlink) => disk::copy_symlink(original, target)?,
        Some(FileKind::Other) | None => return Ok(false),
    }
    Ok(true)
}
