//! What follows when a transaction is over: foreign bytes to quarantine, its branch and its directory gone.

use std::path::PathBuf;

use crate::coordinator::{Coordinator, Error, abandon, recover, task_branch};
use crate::disk::{self, contained, fault};
use crate::model::{EventKind, RepoPath, TransactionState, shown};
use crate::store::{NewEvent, Transaction};
use crate::workspace::TransactionDirectory;
use crate::workspace::manifest::Manifest;
use crate::workspace::slots::{self, Slots};

/// Looks through the slots of a done transaction for bytes that are not the ones it was to displace, keeps them in
/// quarantine with a line in the history each.
///
/// The directory with the displaced objects stays for `cleanup` to remove later.
pub(super) fn tidy(
    coordinator: &mut Coordinator,
    manifest: &Manifest,
    directory: &TransactionDirectory,
) -> Result<Vec<RepoPath>, Error> {
    let slots = Slots::open(directory.path())?;
    let quarantine = coordinator.layout.quarantine(&manifest.transaction);
    let foreign = slots::quarantine_foreign(&slots, &manifest.operations, &quarantine)?;
    for path in &foreign {
        coordinator.store.record(&NewEvent {
            task: Some(manifest.task.clone()),
            transaction: Some(manifest.transaction),
            resource: Some(format!("file:{path}")),
            reason: Some(format!("kept in {}", shown(&quarantine))),
            ..NewEvent::of(EventKind::ForeignWriteKept)
        })?;
    }
    Ok(foreign)
}

/// Drops an open transaction: its row, its locks, its branch, its directory.
pub(super) fn roll_back(coordinator: &mut Coordinator, transaction: &Transaction) -> Result<(), Error> {
    roll_back_because(coordinator, transaction, None)
}

/// The same, and the history tells why, if that is known.
pub(super) fn roll_back_because(
    coordinator: &mut Coordinator,
    transaction: &Transaction,
    why: Option<&str>,
) -> Result<(), Error> {
    debug_assert_eq!(transaction.state, TransactionState::Open);
    fault::point("rollback.begin");
    // The branch first: an open task does without it until it commits, and a branch without a row would stay for ever.
    task_branch::drop(coordinator, transaction)?;
    fault::point("rollback.branch");
    // The row before the directory: what a kill leaves of that is an orphan that cleanup removes.
    match why {
        Some(why) => coordinator.store.roll_back_because(&transaction.id, why)?,
        None => coordinator.store.roll_back(&transaction.id)?,
    }
    fault::point("rollback.row");
    let directory = coordinator.layout.transaction(&transaction.id);
    if let Err(error) = disk::remove_dir_all(directory.path()) {
        tracing::warn!(%error, "removing what was staged is left to cleanup");
    }
    Ok(())
}

/// Gives up a decided commit that is in conflict: what is in place stays, and everything else that belongs to it, the
/// staged objects and what was displaced, is kept in quarantine. Answers where.
pub(super) fn give_up(coordinator: &mut Coordinator, transaction: &Transaction) -> Result<PathBuf, Error> {
    let directory = coordinator.layout.transaction(&transaction.id);
    if let Some((manifest, _)) = recover::read_manifest(coordinator, transaction.id)? {
        abandon::release_locks(coordinator, &manifest, &directory)?;
    }
    let quarantine = coordinator.layout.quarantine(&transaction.id);
    disk::create_dir_all(&quarantine)?;
    let kept = quarantine.join("given-up");
    if contained::stat(directory.path())?.is_some() {
        disk::rename(directory.path(), &kept)?;
    }
    coordinator.store.roll_back(&transaction.id)?;
    Ok(kept)
}
