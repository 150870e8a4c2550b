//! Finishes or undoes what a crash left. Every command begins with it.
//!
//! The whole decision is one question: does the registry say `decided`? If so, the commit is carried out, whatever is
//! already done of it. If not, the attempt is durably given up first and its leftovers are removed after, so that no
//! decision that still stands in a log can come to life over a cleaned-up attempt. It runs under the commit lock, so
//! two recoveries follow one another and the second finds nothing; it may be killed anywhere and run again.

use std::mem;

use crate::coordinator::carry_out::{carry_out, is_old_or_new};
use crate::coordinator::error_text::with_causes;
use crate::coordinator::{Coordinator, Error, Observer, abandon, settle, task_branch};
use crate::disk::contained::{self, FileKind, Root};
use crate::disk::{self, fault, hash, staged};
use crate::model::{Digest, EventKind, RepoPath, TransactionId, TransactionState};
use crate::store::{NewEvent, Transaction};
use crate::workspace::TransactionDirectory;
use crate::workspace::manifest::{BYTES_MAX, Manifest, ManifestError};

/// What a recovery did.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// Decided commits that were completed.
    pub finished: Vec<TransactionId>,
    /// Attempts that were given up; their tasks and staged changes stay.
    pub undone: Vec<TransactionId>,
    /// Paths with foreign bytes, now in quarantine.
    pub quarantined: Vec<RepoPath>,
    /// Decided commits that still cannot be completed, and why.
    pub pending: Vec<(TransactionId, String)>,
}

impl Recovered {
    /// Tells whether there was nothing to do.
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty()
            && self.undone.is_empty()
            && self.pending.is_empty()
            && self.quarantined.is_empty()
    }
}

impl Coordinator {
    /// Waits for whoever commits at this moment, then recovers whatever is unfinished. What opening the repository has
    /// recovered already is part of the answer.
    pub fn recover(&mut self, observer: &mut dyn Observer) -> Result<Recovered, Error> {
        let _commit_lock = self.lock_commits()?;
        let mut rest = under_lock(self, observer)?;
        retry_conflicts(self, &mut rest)?;
        rest.undone.extend(self.bury_dead_runs(observer)?);
        let mut recovered = mem::take(&mut self.recovered);
        recovered.finished.extend(&rest.finished);
        recovered.undone.extend(rest.undone);
        recovered.quarantined.extend(rest.quarantined);
        // What was pending a moment ago has been tried again, unless it is for a human now.
        let settled = |id: &TransactionId| {
            rest.finished.contains(id) || rest.pending.iter().any(|(other, _)| other == id)
        };
        recovered.pending.retain(|(id, _)| !settled(id));
        recovered.pending.extend(rest.pending);
        Ok(recovered)
    }

    /// The beginning of every command: recovers if there is anything to recover and nobody alive is at it.
    pub(super) fn recover_if_needed(&mut self, observer: &mut dyn Observer) -> Result<Recovered, Error> {
        let mut recovered = if self.store.unfinished()?.is_empty() && !self.is_first_of_boot()? {
            Recovered::default()
        } else if let Some(_commit_lock) = self.try_lock_commits()? {
            under_lock(self, observer)?
        } else {
            // Busy means that somebody alive commits, or recovers, at this moment.
            Recovered::default()
        };
        recovered.undone.extend(self.bury_dead_runs(observer)?);
        Ok(recovered)
    }

    /// Refuses while an earlier commit is decided that cannot be applied: git's lock on the index is its own until then.
    pub(super) fn refuse_unapplied(&mut self, pending: &[(TransactionId, String)]) -> Result<(), Error> {
        for (id, reason) in pending {
            let row = self.store.transaction(id)?;
            let decided = row.filter(|row| row.state == TransactionState::Decided && self.git.is_some());
            if let Some(Transaction { task, .. }) = decided {
                let (transaction, reason) = (*id, reason.clone());
                return Err(Error::Unapplied {
                    task,
                    transaction,
                    reason,
                });
            }
        }
        Ok(())
    }

    /// Tells whether no recovery of this boot has looked at every transaction directory yet.
    fn is_first_of_boot(&self) -> Result<bool, Error> {
        let boot = self.host.now().boot;
        Ok(disk::read_if_there(&self.layout.boot())?.is_none_or(|seen| seen != boot.as_str().as_bytes()))
    }
}

/// What a commit does once it has the commit lock: nobody alive is at an attempt now, so whatever is left is dead.
pub(super) fn finish_predecessors(
    coordinator: &mut Coordinator,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    if coordinator.store.unfinished()?.is_empty() {
        return Ok(());
    }
    let recovered = under_lock(coordinator, observer)?;
    coordinator.refuse_unapplied(&recovered.pending)
}

fn under_lock(coordinator: &mut Coordinator, observer: &mut dyn Observer) -> Result<Recovered, Error> {
    let first_of_boot = coordinator.is_first_of_boot()?;
    let mut recovered = Recovered::default();
    for transaction in candidates(coordinator, first_of_boot)? {
        observer.progress("recover", recovered.finished.len() as u64, 0);
        one(coordinator, &transaction, &mut recovered)?;
        fault::point("recover.one");
    }
    if first_of_boot {
        note_boot(coordinator)?;
    }
    for (transaction, reason) in &recovered.pending {
        observer.notice(&format!(
            "The commit {transaction} is decided, but applying it is pending: {reason}."
        ));
    }
    for path in &recovered.quarantined {
        observer.notice(&format!(
            "Foreign bytes at {path} were kept in .mirror/quarantine."
        ));
    }
    Ok(recovered)
}

/// Clears up what power loss has left beside transactions, and notes that this was done in this boot. At best effort, since
/// nobody's work depends on it: what fails is tried again by the next command.
fn note_boot(coordinator: &mut Coordinator) -> Result<(), Error> {
    if let Err(error) = coordinator.clear_up_after_power_loss() {
        tracing::warn!(%error, "clearing up after a loss of power is left to the next command");
        return Ok(());
    }
    let boot = coordinator.host.now().boot;
    Ok(staged::persist(
        &coordinator.layout.boot(),
        boot.as_str().as_bytes(),
        0o600,
    )?)
}

/// Unfinished rows; after a reboot also every directory with a manifest, since the row `committing` may have been lost
/// with the power while the links that came after it were not.
fn candidates(coordinator: &mut Coordinator, first_of_boot: bool) -> Result<Vec<Transaction>, Error> {
    let mut transactions = coordinator.store.unfinished()?;
    if first_of_boot {
        for id in coordinator.layout.transaction_ids()? {
            let is_new = transactions.iter().all(|transaction| transaction.id != id);
            let has_manifest = coordinator.layout.transaction(&id).manifest().exists();
            if is_new
                && has_manifest
                && let Some(transaction) = coordinator.store.transaction(&id)?
            {
                transactions.push(transaction);
            }
        }
    }
    Ok(transactions)
}

fn one(
    coordinator: &mut Coordinator,
    transaction: &Transaction,
    recovered: &mut Recovered,
) -> Result<(), Error> {
    let directory = coordinator.layout.transaction(&transaction.id);
    let manifest = read_manifest(coordinator, transaction.id)?;
    match transaction.state {
        TransactionState::Open | TransactionState::Committing | TransactionState::Aborting => {
            undo(
                coordinator,
                transaction,
                manifest.as_ref().map(|(manifest, _)| manifest),
                &directory,
            )?;
            recovered.undone.push(transaction.id);
        }
        TransactionState::Decided => {
            let Some(manifest) = manifest.filter(|(_, digest)| Some(*digest) == transaction.manifest) else {
                let reason = "its manifest is missing or damaged".to_owned();
                return Err(Error::Stuck {
                    transaction: Some(transaction.id),
                    reason,
                });
            };
            finish(coordinator, &manifest.0, &directory, recovered)?;
        }
        TransactionState::Done | TransactionState::RolledBack => {
            // Power loss may bring back names that were removed before the row became `done`: git's locks, the branch.
            if let Some((manifest, _)) = manifest {
                abandon::release_locks(coordinator, &manifest, &directory)?;
            }
            task_branch::drop(coordinator, transaction)?;
        }
        // Published by the store that asked for it; or left for a human.
        TransactionState::Landed | TransactionState::Conflict => {}
    }
    Ok(())
}

fn undo(
    coordinator: &mut Coordinator,
    transaction: &Transaction,
    manifest: Option<&Manifest>,
    directory: &TransactionDirectory,
) -> Result<(), Error> {
    if transaction.state == TransactionState::Committing {
        // Durable first: it buries any frames of a decision that nobody can see yet.
        coordinator.store.abort(&transaction.id)?;
        fault::point("recover.aborting");
    }
    task_branch::release(coordinator, transaction, directory)?;
    if let Some(manifest) = manifest {
        abandon::release_locks(coordinator, manifest, directory)?;
        fault::point("recover.unlocked");
    }
    abandon::remove_files(directory)?;
    fault::point("recover.removed");
    coordinator.let_go_of_dead(transaction)?;
    if transaction.state != TransactionState::Open {
        coordinator.store.reopen(&transaction.id)?;
    }
    note(coordinator, transaction.id, "undone")
}

fn finish(
    coordinator: &mut Coordinator,
    manifest: &Manifest,
    directory: &TransactionDirectory,
    recovered: &mut Recovered,
) -> Result<(), Error> {
    let root = Root::open(&coordinator.root_of(manifest))?;
    let outcome = match forced_elsewhere(coordinator, manifest)? {
        None => carry_out(coordinator, &root, manifest, directory),
        Some(reason) => Err(Error::Stuck {
            transaction: Some(manifest.transaction),
            reason,
        }),
    };
    match outcome {
        Ok(()) => {
            recovered.finished.push(manifest.transaction);
            recovered
                .quarantined
                .extend(settle::tidy(coordinator, manifest, directory)?);
            note(coordinator, manifest.transaction, "finished")
        }
        Err(Error::Stuck { reason, .. }) => {
            coordinator.store.to_conflict(&manifest.transaction)?;
            fault::point("recover.conflict");
            // Nothing more happens by itself: the user needs git for the way out.
            abandon::release_locks(coordinator, manifest, directory)?;
            recovered.pending.push((manifest.transaction, reason));
            Ok(())
        }
        Err(error) => {
            recovered
                .pending
                .push((manifest.transaction, with_causes(&error)));
            Ok(())
        }
    }
}

/// Completes commits that somebody's force had stopped, if the target and `HEAD` are back where they were.
fn retry_conflicts(coordinator: &mut Coordinator, recovered: &mut Recovered) -> Result<(), Error> {
    for transaction in coordinator.store.transactions()? {
        if transaction.state != TransactionState::Conflict {
            continue;
        }
        let directory = coordinator.layout.transaction(&transaction.id);
        let manifest = read_manifest(coordinator, transaction.id)?
            .filter(|(_, digest)| Some(*digest) == transaction.manifest);
        let Some((manifest, _)) = manifest else { continue };
        // A recovery that was killed may have left them.
        abandon::release_locks(coordinator, &manifest, &directory)?;
        match forced_elsewhere(coordinator, &manifest)? {
            None => finish(coordinator, &manifest, &directory, recovered)?,
            Some(reason) => recovered.pending.push((transaction.id, reason)),
        }
    }
    Ok(())
}

/// Tells whether somebody moved the target or `HEAD` between the crash and now, so that applying the rest would mix two
/// histories.
fn forced_elsewhere(coordinator: &Coordinator, manifest: &Manifest) -> Result<Option<String>, Error> {
    let Some(git) = coordinator.git_of(manifest)? else {
        return Ok(None);
    };
    if let Some(reference) = &manifest.reference {
        if !git.has_commit(reference.new)? {
            // A ref must never be moved to what is not there.
            return Ok(Some(format!("git has pruned its commit {}", reference.new)));
        }
        if !is_old_or_new(&git, reference)? {
            return Ok(Some(format!("{} was moved by somebody else", reference.name)));
        }
    }
    let Some(index) = &manifest.index else {
        return Ok(None);
    };
    let head = git.head()?.branch().map(str::to_owned);
    Ok((head != index.head).then(|| "another branch was checked out".to_owned()))
}

fn note(coordinator: &mut Coordinator, transaction: TransactionId, how: &str) -> Result<(), Error> {
    Ok(coordinator.store.record(&NewEvent {
        transaction: Some(transaction),
        reason: Some(how.to_owned()),
        ..NewEvent::of(EventKind::TaskRecovered)
    })?)
}

/// Reads the manifest of a transaction. One that is missing, does not hold together, or speaks of another transaction or
/// of a directory that is no working tree of this repository is none: whoever wrote it, it was not this commit.
pub(super) fn read_manifest(
    coordinator: &Coordinator,
    transaction: TransactionId,
) -> Result<Option<(Manifest, Digest)>, Error> {
    let path = coordinator.layout.transaction(&transaction).manifest();
    if contained::stat(&path)?.is_none_or(|stat| stat.kind != FileKind::File || stat.size > BYTES_MAX) {
        return Ok(None);
    }
    let Some(bytes) = disk::read_bounded(&path, BYTES_MAX)? else {
        return Ok(None);
    };
    match Manifest::decode(&bytes) {
        Ok(manifest) if manifest.transaction == transaction && coordinator.owns(&manifest)? => {
            Ok(Some((manifest, hash::digest_of(&bytes))))
        }
        // A newer mirror is at work here: what it left it has to clear up itself.
        Err(error @ ManifestError::Format(_)) => Err(Error::Stuck {
            transaction: Some(transaction),
            reason: error.to_string(),
        }),
        _ => Ok(None),
    }
}
