//! Tells the user's own work from what git has recorded, for exactly the paths that a commit would write.

use crate::coordinator::look::Seen;
use crate::coordinator::{Coordinator, Error, recover};
use crate::git::{Git, IndexView, Source};
use crate::model::{Entry, RepoPath, TreeEntry};
use crate::workspace::manifest::Operation;

/// Refuses when a path has staged, uncommitted or untracked work of the user: anything but what the tip records. Answers
/// what the index has for each path.
///
/// That is what the tip records, but for one case. Git reads the index before it locks it: a commit of the user's that
/// began before one of ours writes back the entries that ours has replaced. Nobody staged those.
pub(super) fn refuse_user_changes(
    coordinator: &Coordinator,
    git: &Git,
    seen: &[Seen],
    recorded: &[Option<TreeEntry>],
) -> Result<Vec<Option<TreeEntry>>, Error> {
    let index = git.index()?;
    let mut indexed = recorded.to_vec();
    for (seen, entry) in seen.iter().zip(&mut indexed) {
        let has = index.entry(&seen.path);
        if has != *entry && was_replaced_by_us(coordinator, &seen.path, has)? {
            *entry = has;
        }
    }
    refuse_staged(&index, seen.iter().map(|seen| &seen.path), &indexed)?;
    let mut questionable = Vec::new();
    let (mut changed, mut untracked) = (Vec::new(), Vec::new());
    for (seen, recorded) in seen.iter().zip(recorded) {
        match (seen.present.entry(), recorded) {
            (None, None) => {}
            (None, Some(_)) => changed.push(seen.path.clone()),
            (Some(_), None) => untracked.push(seen.path.clone()),
            (Some(_), Some(_)) if is_unwritten(&index, seen) => {}
            (Some(entry), Some(recorded)) => questionable.push((seen, entry, *recorded)),
        }
    }
    let modes = git.modes();
    let sources: Vec<(RepoPath, Source, bool)> = questionable
        .iter()
        .map(|(seen, entry, recorded)| {
            let source = source(git, seen, entry)?;
            let is_executable = modes.is_executable(entry.is_executable(), Some(*recorded));
            Ok((seen.path.clone(), source, is_executable))
        })
        .collect::<Result<_, Error>>()?;
    let stored = git.stored_as(&sources)?;
    let differs = questionable
        .iter()
        .zip(stored)
        .filter(|((_, _, recorded), stored)| stored != recorded);
    changed.extend(differs.map(|((seen, ..), _)| seen.path.clone()));
    changed.sort();
    if !changed.is_empty() {
        return Err(Error::InTheWay {
            what: "Uncommitted changes",
            paths: changed,
        });
    }
    if !untracked.is_empty() {
        return Err(Error::InTheWay {
            what: "Untracked files",
            paths: untracked,
        });
    }
    Ok(indexed)
}

/// Tells whether a commit of ours, of those whose records are still kept, has replaced this entry.
fn was_replaced_by_us(
    coordinator: &Coordinator,
    path: &RepoPath,
    entry: Option<TreeEntry>,
) -> Result<bool, Error> {
    for transaction in coordinator.layout.transaction_ids()? {
        let Some((manifest, _)) = recover::read_manifest(coordinator, transaction)? else {
            continue;
        };
        let replaces = |operation: &Operation| {
            operation.path == *path && operation.before == entry && operation.after != entry
        };
        if manifest.operations.iter().any(replaces) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses when the index says something else than the tip about one of the paths, or has conflicts.
pub(super) fn refuse_staged<'a>(
    index: &IndexView,
    paths: impl Iterator<Item = &'a RepoPath>,
    recorded: &[Option<TreeEntry>],
) -> Result<(), Error> {
    if !index.unmerged().is_empty() {
        return Err(Error::Unmerged {
            paths: index.unmerged().to_vec(),
        });
    }
    let staged: Vec<RepoPath> = paths
        .zip(recorded)
        .filter(|(path, recorded)| index.entry(path) != **recorded)
        .map(|(path, _)| path.clone())
        .collect();
    if staged.is_empty() {
        Ok(())
    } else {
        Err(Error::InTheWay {
            what: "Staged changes",
            paths: staged,
        })
    }
}

/// Trusts the index's numbers as git does: same size, times and inode, and not written in the index's own instant.
fn is_unwritten(index: &IndexView, seen: &Seen) -> bool {
    seen.present
        .stat
        .as_ref()
        .is_some_and(|stat| index.is_clean_stat(&seen.path, stat))
}

fn source(git: &Git, seen: &Seen, entry: &Entry) -> Result<Source, Error> {
    let path = git.root().join(seen.path.as_path());
    if !entry.is_symlink() {
        return Ok(Source::File(path));
    }
    let text = std::fs::read_link(&path).map_err(|source| Error::Input { path, source })?;
    Ok(Source::Symlink(std::os::unix::ffi::OsStringExt::into_vec(
        text.into_os_string(),
    )))
}
