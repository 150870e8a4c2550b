//! The task's own branch: made by `begin`, left at the task's work when a merge conflicts, removed at the end.
//!
//! It is named after a uuid, so nobody else moves it. But git itself may pack it at any time, and holds its lock while it
//! does; so moving it takes git's lock, with an identity like all of ours, and only while the row says `committing`,
//! since that is what recovery looks at.

use std::path::Path;

use crate::coordinator::{Coordinator, Error, Observer, abandon, git_lock, recover};
use crate::disk::lock::FileLock;
use crate::disk::{self, contained, fault, sync};
use crate::git::Git;
use crate::model::ObjectId;
use crate::store::{Attempt, Transaction};
use crate::workspace::TransactionDirectory;
use crate::workspace::manifest::Inode;

/// Makes the branch at `tip`, durably. There is no such name yet, so there is nothing to lock.
pub(super) fn create(
    git: &Git,
    directory: &TransactionDirectory,
    branch: &str,
    tip: ObjectId,
) -> Result<(), Error> {
    write_draft(&directory.branch(), tip)?;
    git.create_branch(branch, &directory.branch())?;
    disk::remove_file(&directory.branch())?;
    Ok(())
}

/// Leaves the branch at `work`, durably, for a human to merge.
///
/// `early_lock` is the commit lock, where the caller has it already.
pub(super) fn keep_work(
    coordinator: &mut Coordinator,
    transaction: &Transaction,
    work: ObjectId,
    early_lock: Option<FileLock>,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    let (Some(branch), Some(_)) = (&transaction.branch, &coordinator.git) else {
        return Ok(());
    };
    let _commit_lock = match early_lock {
        Some(lock) => lock,
        None => coordinator.lock_commits_for(&transaction.task)?,
    };
    recover::finish_predecessors(coordinator, observer)?;
    let attempt = Attempt {
        reference: None,
        old: None,
        new: None,
    };
    coordinator.store.begin_commit(&transaction.id, &attempt)?;
    fault::point("branch.committing");
    let directory = coordinator.layout.transaction(&transaction.id);
    let moved = move_to(coordinator, &directory, branch, work);
    abandon::reopen(coordinator, transaction, &directory);
    moved
}

fn move_to(
    coordinator: &Coordinator,
    directory: &TransactionDirectory,
    branch: &str,
    work: ObjectId,
) -> Result<(), Error> {
    let Some(git) = &coordinator.git else {
        return Ok(());
    };
    if git.tip(branch)? == Some(work) {
        return Ok(());
    }
    let draft = directory.branch();
    let inode = write_draft(&draft, work)?;
    let file = git.ref_file(branch)?;
    git_lock::take(&draft, inode, &file.lock, git_lock::BUSY_WAIT_MAX)?;
    fault::point("branch.locked");
    disk::rename(&file.lock, &file.loose)?;
    for path in git.durable_paths(branch) {
        sync::sync_path(&path)?;
    }
    Ok(())
}

/// Lets go of git's lock on the branch, if a crash left it to us.
pub(super) fn release(
    coordinator: &Coordinator,
    transaction: &Transaction,
    directory: &TransactionDirectory,
) -> Result<(), Error> {
    let (Some(git), Some(branch)) = (&coordinator.git, &transaction.branch) else {
        return Ok(());
    };
    let draft = directory.branch();
    if let Some(stat) = contained::stat(&draft)? {
        let inode = Inode::of(&stat);
        git_lock::release(&draft, inode, &git.ref_file(branch)?.lock)?;
    }
    Ok(())
}

/// Removes the branch of a transaction, if it has one. Doing it again is harmless.
pub(super) fn drop(coordinator: &Coordinator, transaction: &Transaction) -> Result<(), Error> {
    let (Some(git), Some(branch)) = (&coordinator.git, &transaction.branch) else {
        return Ok(());
    };
    if let Some(tip) = git.tip(branch)? {
        git.delete_branch(branch, tip)?;
    }
    Ok(())
}

fn write_draft(draft: &Path, tip: ObjectId) -> Result<Inode, Error> {
    let inode = git_lock::new_file(draft, format!("{tip}\n").as_bytes())?;
    sync::sync_path(draft)?;
    Ok(inode)
}
