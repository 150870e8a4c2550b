//! Gives a commit attempt up before its decision: nothing visible has happened, and nothing stays of it.

use crate::coordinator::{Coordinator, Error, git_lock, task_branch};
use crate::disk::{self, fault};
use crate::model::TransactionId;
use crate::store::Transaction;
use crate::workspace::TransactionDirectory;
use crate::workspace::manifest::Manifest;
use crate::workspace::slots::Slots;

/// Gives up an attempt that has a manifest and perhaps locks of git. Answers the error to report: `why`, or what went
/// wrong while cleaning up, in which case the row stays as it is and recovery ends what this began.
pub(super) fn attempt(
    coordinator: &mut Coordinator,
    manifest: &Manifest,
    directory: &TransactionDirectory,
    why: Error,
) -> Error {
    match clean_up(coordinator, manifest, directory) {
        Ok(()) => why,
        Err(worse) => {
            tracing::warn!(error = %worse, "giving the attempt up is left to recovery");
            why
        }
    }
}

/// Gives up an attempt that had no manifest yet, so that no lock of git can exist.
pub(super) fn before_locks(
    coordinator: &mut Coordinator,
    transaction: &TransactionId,
    directory: &TransactionDirectory,
    why: Error,
) -> Error {
    let cleaned = remove_files(directory).and_then(|()| Ok(coordinator.store.reopen(transaction)?));
    if let Err(worse) = cleaned {
        tracing::warn!(error = %worse, "giving the attempt up is left to recovery");
    }
    why
}

/// Ends an attempt that was about nothing but the task's branch.
pub(super) fn reopen(
    coordinator: &mut Coordinator,
    transaction: &Transaction,
    directory: &TransactionDirectory,
) {
    let cleaned = task_branch::release(coordinator, transaction, directory)
        .and_then(|()| remove_files(directory))
        .and_then(|()| Ok(coordinator.store.reopen(&transaction.id)?));
    if let Err(worse) = cleaned {
        tracing::warn!(error = %worse, "giving the attempt up is left to recovery");
    }
}

/// Removes git's locks where they are ours, then the attempt's files, then opens the transaction again.
fn clean_up(
    coordinator: &mut Coordinator,
    manifest: &Manifest,
    directory: &TransactionDirectory,
) -> Result<(), Error> {
    release_locks(coordinator, manifest, directory)?;
    fault::point("abandon.unlocked");
    remove_files(directory)?;
    fault::point("abandon.removed");
    coordinator.store.reopen(&manifest.transaction)?;
    Ok(())
}

/// Removes git's locks where they are ours.
pub(super) fn release_locks(
    coordinator: &Coordinator,
    manifest: &Manifest,
    directory: &TransactionDirectory,
) -> Result<(), Error> {
    let Some(git) = coordinator.git_of(manifest)? else {
        return Ok(());
    };
    if let Some(reference) = &manifest.reference {
        git_lock::release(
            &directory.ref_lock(),
            reference.lock,
            &git.ref_file(&reference.name)?.lock,
        )?;
    }
    fault::point("abandon.ref-unlocked");
    if let Some(index) = &manifest.index {
        git_lock::release(&directory.index_lock(), index.lock, &git.index_lock_path())?;
    }
    Ok(())
}

/// Removes the attempt's files. Our halves of git's locks go only after the locks themselves, or nobody could tell any
/// more whose locks they are; the manifest goes last for the same reason.
pub(super) fn remove_files(directory: &TransactionDirectory) -> Result<(), Error> {
    disk::remove_file_if_there(&directory.index())?;
    disk::remove_file_if_there(&directory.branch())?;
    disk::remove_dir_all(&directory.pack())?;
    disk::remove_file_if_there(&directory.ref_lock())?;
    disk::remove_file_if_there(&directory.index_lock())?;
    Slots::open(directory.path())?.drop_made()?;
    disk::remove_file_if_there(&directory.manifest())?;
    Ok(())
}
