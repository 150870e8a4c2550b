//! What a transaction displaced that git did not record: found where it is kept, compared with what is there now, put back.

use std::collections::BTreeSet;

use crate::coordinator::draft::Draft;
use crate::coordinator::look::{self, Seen};
use crate::coordinator::undo_error::UndoError;
use crate::coordinator::{Coordinator, Error, recover};
use crate::disk::contained::Root;
use crate::disk::hash;
use crate::model::{Digest, Entry, RepoPath};
use crate::store::Transaction;
use crate::workspace::kept::{self, Kept, KeptFile};
use crate::workspace::manifest::{Manifest, Operation};
use crate::workspace::slots::Slots;

/// Operations with their numbers in the manifest.
pub(super) type Numbered = Vec<(u64, Operation)>;

/// Where the displaced objects lie.
pub(super) enum Keeping {
    Slots(Slots),
    File(KeptFile),
}

/// Finds out what a transaction did that git did not record.
pub(super) fn find(
    coordinator: &Coordinator,
    transaction: &Transaction,
) -> Result<(Numbered, Keeping), Error> {
    let Some((manifest, at)) = find_kept(coordinator, transaction)? else {
        return Err(UndoError::NotKept {
            transaction: transaction.id,
            paths: Vec::new(),
        }
        .into());
    };
    let root = coordinator.root_of(&manifest);
    if root.canonicalize().ok().as_deref() != Some(coordinator.root.path()) {
        return Err(UndoError::Elsewhere {
            transaction: transaction.id,
            path: root,
        }
        .into());
    }
    let is_change = |(_, operation): &(u64, Operation)| operation.post != held_before(operation);
    Ok(((0..).zip(manifest.operations).filter(is_change).collect(), at))
}

/// Finds the manifest that was decided, and what was displaced, in the transaction's directory or in the file that was made
/// of it.
fn find_kept(
    coordinator: &Coordinator,
    transaction: &Transaction,
) -> Result<Option<(Manifest, Keeping)>, Error> {
    let is_decided = |digest: Digest| Some(digest) == transaction.manifest;
    if let Some((manifest, digest)) = recover::read_manifest(coordinator, transaction.id)?
        && is_decided(digest)
    {
        return Ok(Some((
            manifest,
            Keeping::Slots(coordinator.slots(&transaction.id)?),
        )));
    }
    let Some(file) = KeptFile::open(&coordinator.layout, &transaction.id)? else {
        return Ok(None);
    };
    let manifest = Manifest::decode(file.manifest()).ok();
    let manifest = manifest.filter(|_| is_decided(hash::digest_of(file.manifest())));
    Ok(manifest.map(|manifest| (manifest, Keeping::File(file))))
}

/// What the path held before. A directory that gave way counts as nothing: its files are paths of their own.
pub(super) fn held_before(operation: &Operation) -> Option<Entry> {
    operation.pre.and_then(|before| before.entry)
}

/// Names the paths that hold neither what the operations left nor what was there before; drops those that are done.
pub(super) fn changed(root: &Root, operations: &mut Numbered) -> Result<Vec<RepoPath>, Error> {
    let paths: Vec<RepoPath> = operations
        .iter()
        .map(|(_, operation)| operation.path.clone())
        .collect();
    let goes = operations
        .iter()
        .filter(|(_, operation)| held_before(operation).is_none());
    let goes: BTreeSet<RepoPath> = goes.map(|(_, operation)| operation.path.clone()).collect();
    let mut seen = look::look(root, &paths, &goes)?
        .into_iter()
        .map(|seen: Seen| seen.present.entry());
    let mut changed = Vec::new();
    operations.retain(|(_, operation)| {
        let now = seen.next().flatten();
        if now != operation.post && now != held_before(operation) {
            changed.push(operation.path.clone());
        }
        now != held_before(operation)
    });
    Ok(changed)
}

/// Answers whether the object is still kept.
pub(super) fn stage(
    root: &Root,
    at: &mut Keeping,
    (number, operation): (u64, &Operation),
    draft: &mut Draft,
) -> Result<bool, Error> {
    let path = &operation.path;
    let Some(before) = held_before(operation) else {
        draft.delete(path)?;
        return Ok(true);
    };
    let found = match at {
        Keeping::Slots(slots) => kept::open_slot(slots, operation)?,
        Keeping::File(file) => file.object(number, operation)?,
    };
    match found {
        None => return Ok(false),
        Some(Kept::Symlink(text)) => draft.put_symlink(path, &text)?,
        Some(Kept::File(mut content)) => {
            let source = root.path().join(path.as_path());
            draft.put_file(path, content.as_mut(), before.is_executable(), &source)?;
        }
    }
    Ok(true)
}
