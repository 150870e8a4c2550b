//! Carries a decided commit out: working tree, ref, index, barrier, done. Forward only, by whoever comes first.
//!
//! The process that decided runs it at once; recovery runs the same lines after a crash. Every step asks whether it is
//! already done and may run any number of times.

use crate::coordinator::git_lock::BUSY_WAIT_MAX;
use crate::coordinator::{Coordinator, Error, git_lock, task_branch};
use crate::disk::contained::Root;
use crate::disk::{self, fault, sync};
use crate::git::Git;
use crate::model::ObjectId;
use crate::workspace::TransactionDirectory;
use crate::workspace::apply;
use crate::workspace::barrier::Barrier;
use crate::workspace::manifest::{Manifest, RefUpdate};
use crate::workspace::slots::Slots;

/// Brings working tree, ref and index to NEW, durably, lets go of git's locks, and marks the transaction done.
///
/// When it returns, NEW survives power loss and the task's locks are free.
pub(super) fn carry_out(
    coordinator: &mut Coordinator,
    root: &Root,
    manifest: &Manifest,
    directory: &TransactionDirectory,
) -> Result<(), Error> {
    let git = coordinator.git_of(manifest)?;
    let slots = Slots::open(directory.path())?;
    if !manifest.operations.is_empty() {
        let epoch = coordinator.layout.epoch();
        epoch.begin()?;
        apply::apply(root, &slots, &manifest.operations)?;
        epoch.end()?;
    }
    fault::point("carry-out.applied");
    if let (Some(reference), Some(git)) = (&manifest.reference, &git) {
        move_reference(git, reference, directory)?;
    }
    fault::point("carry-out.ref-moved");
    if let Some(git) = &git {
        write_index(git, manifest, directory)?;
    }
    fault::check("carry-out.barrier").map_err(disk::injected)?;
    second_barrier(root, manifest, directory, &slots, git.as_ref())?;
    fault::point("carry-out.durable");
    // DONE comes after the unlink: a done transaction whose lock file came back after power loss would block git.
    if let (Some(index), Some(git)) = (&manifest.index, &git) {
        git_lock::release(&directory.index_lock(), index.lock, &git.index_lock_path())?;
    }
    fault::point("carry-out.unlocked");
    // Before DONE as well, or a kill in between would leave a branch that nobody looks for. Its work is in the target.
    if let Some(transaction) = coordinator.store.transaction(&manifest.transaction)? {
        task_branch::drop(coordinator, &transaction)?;
    }
    fault::point("carry-out.branch");
    coordinator.store.finish(&manifest.transaction)?;
    fault::point("carry-out.done");
    Ok(())
}

/// Moves the ref by renaming our lock file over it, as git itself does.
fn move_reference(git: &Git, reference: &RefUpdate, directory: &TransactionDirectory) -> Result<(), Error> {
    let file = git.ref_file(&reference.name)?;
    let tip = git.tip(&reference.name)?;
    if contains_new(git, reference, tip)? {
        return git_lock::release(&directory.ref_lock(), reference.lock, &file.lock);
    }
    if tip != reference.old {
        let reason = format!("{} was moved by somebody else", reference.name);
        return Err(Error::Stuck {
            transaction: None,
            reason,
        });
    }
    fault::check("carry-out.ref-lock").map_err(disk::injected)?;
    // Power loss may have undone the link that was made before the decision.
    git_lock::take(&directory.ref_lock(), reference.lock, &file.lock, BUSY_WAIT_MAX)?;
    git.append_reflog(&reference.name, reference.old, reference.new, &reference.message)?;
    fault::check("carry-out.ref").map_err(disk::injected)?;
    disk::rename(&file.lock, &file.loose)?;
    Ok(())
}

/// Tells whether the ref holds the new value, or something that was built on it.
fn contains_new(git: &Git, reference: &RefUpdate, tip: Option<ObjectId>) -> Result<bool, Error> {
    match tip {
        Some(tip) => Ok(tip == reference.new || git.is_ancestor(reference.new, tip)?),
        None => Ok(false),
    }
}

/// Tells whether the ref is where the commit left or will leave it.
pub(super) fn is_old_or_new(git: &Git, reference: &RefUpdate) -> Result<bool, Error> {
    let tip = git.tip(&reference.name)?;
    Ok(tip == reference.old || contains_new(git, reference, tip)?)
}

/// Lets the index follow, under our index lock and from the index as it is at this moment.
fn write_index(git: &Git, manifest: &Manifest, directory: &TransactionDirectory) -> Result<(), Error> {
    let Some(index) = manifest.index.as_ref().filter(|index| index.rewrite) else {
        return Ok(());
    };
    git_lock::take(
        &directory.index_lock(),
        index.lock,
        &git.index_lock_path(),
        BUSY_WAIT_MAX,
    )?;
    let updates = manifest
        .operations
        .iter()
        .map(|operation| crate::git::IndexUpdate {
            path: operation.path.clone(),
            before: operation.before,
            after: operation.after,
        });
    let new_index = directory.index();
    disk::remove_file_if_there(&new_index)?;
    git.write_index(&new_index, &updates.collect::<Vec<_>>())?;
    fault::check("carry-out.index").map_err(disk::injected)?;
    sync::sync_path(&new_index)?;
    disk::rename(&new_index, &git.index_path())?;
    Ok(())
}

fn second_barrier(
    root: &Root,
    manifest: &Manifest,
    directory: &TransactionDirectory,
    slots: &Slots,
    git: Option<&Git>,
) -> Result<(), Error> {
    let mut barrier = Barrier::new(root.fd(), manifest.operations.len());
    slots
        .directories()
        .into_iter()
        .for_each(|path| barrier.directory(path));
    barrier.directory(directory.path().to_owned());
    barrier.directory(root.path().to_owned());
    for operation in &manifest.operations {
        operation
            .path
            .ancestors()
            .for_each(|above| barrier.directory(root.path().join(above.as_path())));
    }
    if let Some(git) = git {
        barrier.directory(git.git_dir().to_owned());
        if let Some(reference) = &manifest.reference {
            git.durable_paths(&reference.name)
                .into_iter()
                .for_each(|path| barrier.any(path));
        }
    }
    Ok(barrier.wait()?)
}
