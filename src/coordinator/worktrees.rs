//! The pool of working copies that runs work in.
//!
//! In a git repository each is a linked working tree of git's without a branch, kept when its run is over: the next one
//! resets it instead of making it anew. Without git it is a copy of the directory, made for each run.
//! Who may use which is a lock in the store, taken with the rest of a run's lock set; the file lock in here only tells whether
//! the run that has it still lives. A working copy in use with a free file lock is what a crash left.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::coordinator::ground::Ground;
use crate::coordinator::leased::Leased;
use crate::coordinator::origin::Origin;
use crate::coordinator::worktree_place::Place;
use crate::coordinator::{Coordinator, Error, Observer, RunRefusal, furnish, set_aside, stage_tree};
use crate::disk::contained::{self, FileKind};
use crate::disk::lock::FileLock;
use crate::disk::{self, fault, walk};
use crate::host::stray;
use crate::model::{Candidates, EventKind, LockSet, ObjectId, Share, TransactionId};
use crate::store::{NewEvent, Transaction};

/// The variable by which the processes of a run are known.
pub(super) const TRANSACTION_VARIABLE: &str = "MIRROR_TRANSACTION";

/// How a working copy of the pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorktreeState {
    /// It is being made.
    Created,
    /// It waits for the next run.
    Idle,
    /// A run works in it.
    InUse,
    /// It could not be reset; the next run that gets it makes it anew.
    Failed,
    /// It is gone.
    Disposed,
}

/// A working copy of the pool.
#[derive(Debug, Clone)]
pub struct Worktree {
    /// Its number.
    pub number: u32,
    /// How it stands.
    pub state: WorktreeState,
    /// Whose it is, while it is in use.
    pub transaction: Option<TransactionId>,
    /// Where it is.
    pub path: PathBuf,
}

impl Coordinator {
    /// Lists the working copies of the pool.
    pub fn worktrees(&self) -> Result<Vec<Worktree>, Error> {
        let mut found = Vec::new();
        for name in disk::list(&self.layout.worktrees())? {
            let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let place = self.place(number)?;
            let Some(record) = place.read()? else { continue };
            found.push(Worktree {
                number,
                state: record.state,
                transaction: record.transaction,
                path: place.tree(),
            });
        }
        found.sort_by_key(|worktree| worktree.number);
        Ok(found)
    }

    /// Adds any working copy of the pool to what a run asks for.
    pub(super) fn with_worktree(&self, locks: &LockSet) -> Result<LockSet, Error> {
        // Refused before anything is locked: a place where there can be none.
        self.pool_directory()?;
        let mut asked = locks.clone();
        let numbers = (1..=self.config.worktrees_max).collect();
        asked.share(Share::any(Candidates::Worktrees(numbers)));
        Ok(asked)
    }

    /// Makes the working copy `number` exactly what `transaction` begins from, and hands it over.
    pub(super) fn lease_worktree(&mut self, number: u32, transaction: &Transaction) -> Result<Leased, Error> {
        let lock = self.lock_place(number)?;
        let place = self.place(number)?;
        let record = place.read()?;
        if let Some(left) = record.as_ref().and_then(|record| record.transaction) {
            // Whoever worked in it is dead, but what they started need not be.
            if let Err(error) = stop_strays(&left) {
                tracing::warn!(%error, "the working copy is left to them");
                set_aside::put(&place.tree())?;
            }
        }
        let (place, is_there) = self.settled(place)?;
        if let Some(beside) = place.tree().parent() {
            set_aside::remove_again(beside)?;
        }
        place.write(WorktreeState::InUse, Some(transaction.id))?;
        fault::point("worktree.in-use");
        let is_idle = is_there && record.is_some_and(|record| record.state == WorktreeState::Idle);
        let handed = self.hand_over(&place, transaction, is_idle);
        // Once more: somebody may have found the directory empty, and removed it.
        let handed = handed.and_then(|origin| self.claim_pool().map(|()| origin));
        let origin = match handed {
            Ok(origin) => origin,
            Err(error) => {
                self.remove_failed(&place);
                return Err(error);
            }
        };
        fault::point("worktree.leased");
        self.tell(EventKind::WorktreeLeased, transaction, number)?;
        Ok(Leased {
            given: contained::stat(&place.tree())?,
            place,
            origin: Rc::new(origin),
            transaction: transaction.id,
            base: transaction.base,
            _lock: lock,
        })
    }

    /// Takes the lock of a place, which the process has for as long as it works there.
    fn lock_place(&self, number: u32) -> Result<FileLock, Error> {
        self.make_place(number)?;
        Ok(FileLock::acquire(&self.place(number)?.lock())?)
    }

    /// Takes the lock of a place unless somebody works there.
    pub(super) fn try_lock_place(&self, number: u32) -> Result<Option<FileLock>, Error> {
        self.make_place(number)?;
        Ok(FileLock::try_acquire(&self.place(number)?.lock())?)
    }

    fn make_place(&self, number: u32) -> Result<(), Error> {
        let directory = self.layout.worktrees().join(number.to_string());
        disk::create_private_dir(&self.layout.worktrees())?;
        disk::create_private_dir(&directory)?;
        Ok(())
    }

    /// Makes the working copy what the transaction begins from, and notes what it holds.
    fn hand_over(
        &mut self,
        place: &Place,
        transaction: &Transaction,
        is_idle: bool,
    ) -> Result<Origin, Error> {
        let (Some(git), Some(base)) = (&self.git, transaction.base) else {
            set_aside::remove(&place.tree())?;
            disk::create_private_dir(&place.tree())?;
            walk::copy_tree(self.root.path(), &place.tree())?;
            return Origin::of_copy(&self.root, &place.tree());
        };
        let (tree, is_new) = self.linked_tree(git, &place.tree(), base, is_idle)?;
        let furnished = furnish::furnish(&self.config, &self.root, tree.root())?;
        if is_new {
            self.tell(EventKind::WorktreeCreated, transaction, place.number)?;
        }
        Origin::of_tree(tree, furnished)
    }

    /// Tells whether a working copy may still be noted down as that of a transaction: it could be neither made nor removed.
    pub(super) fn has_copy(&self, transaction: &Transaction) -> bool {
        let is_its = |known: &Worktree| known.transaction == Some(transaction.id);
        self.worktrees().map_or(true, |known| known.iter().any(is_its))
    }

    /// Leaves nothing of a working copy that could not be made. At best effort: where it fails, recovery tries again.
    fn remove_failed(&self, place: &Place) {
        let noted = self
            .remove_tree(place)
            .and_then(|()| place.write(WorktreeState::Failed, None));
        if let Err(error) = noted {
            tracing::warn!(%error, number = place.number, "the working copy is left to the next run");
        }
    }

    /// Takes a working copy back: nothing runs in it any more, and nothing of its run is left in it.
    ///
    /// The run is over and has told so: what goes wrong here is written down for the next one, which makes it anew.
    pub(super) fn return_worktree(&mut self, leased: &Leased) {
        let place = &leased.place;
        let cleared = stop_strays(&leased.transaction)
            .or_else(|error| {
                tracing::warn!(%error, "the working copy is left to them");
                set_aside::put(&place.tree())
            })
            .and_then(|()| self.clear(place, leased.base));
        let state = match &cleared {
            Ok(state) => *state,
            Err(error) => {
                tracing::warn!(%error, number = place.number, "the working copy is made anew by the next run");
                WorktreeState::Failed
            }
        };
        let told = place.write(state, None).and_then(|()| {
            let event = NewEvent {
                transaction: Some(leased.transaction),
                resource: Some(format!("worktree:{}", place.number)),
                ..NewEvent::of(state_event(state))
            };
            Ok(self.store.record(&event)?)
        });
        if let Err(error) = told {
            tracing::warn!(%error, "what became of the working copy is not written down");
        }
    }

    /// Makes a working copy what the next run begins from, unless others land before that.
    fn clear(&self, place: &Place, base: Option<ObjectId>) -> Result<WorktreeState, Error> {
        let tree = place.tree();
        // What the directory around it was replaced by may be anybody's.
        let is_there = contained::stat(&tree)?.is_some() && self.is_own(place)?;
        if let (Some(git), Some(base), true) = (&self.git, base, is_there) {
            self.linked_tree(git, &tree, git.head()?.tip().unwrap_or(base), false)?;
            return Ok(WorktreeState::Idle);
        }
        self.remove_tree(place)?;
        Ok(WorktreeState::Disposed)
    }

    /// Keeps what differs in a leased working copy from what it held at first. Answers where.
    pub(super) fn keep_changed(
        &mut self,
        leased: &Leased,
        transaction: &Transaction,
        observer: &mut dyn Observer,
    ) -> Result<Option<PathBuf>, Error> {
        leased.refuse_replaced()?;
        let tree = leased.place.tree();
        let slots = self.slots(&transaction.id)?;
        let ground = Ground::new(self, transaction, &slots, Vec::new());
        let adoption = stage_tree::prepare(&ground, &tree, Some(&leased.origin), observer)?;
        let kept = self.layout.salvage(&transaction.id);
        for path in &adoption.paths {
            let (from, to) = (tree.join(path.as_path()), kept.join(path.as_path()));
            let kind = contained::stat(&from)?.map(|stat| stat.kind);
            if let Some(above) = to.parent() {
                disk::create_dir_all(above)?;
            }
            match kind {
                Some(FileKind::File) => disk::copy_file(&from, &to)?,
                Some(FileKind::Symlink) => disk::copy_symlink(&from, &to)?,
                _ => {}
            }
        }
        Ok((!adoption.paths.is_empty()).then_some(kept))
    }

    /// Makes a leased working copy exactly `commit`, with what a build needs beside it.
    pub(super) fn reset_leased(&self, leased: &Leased, commit: ObjectId) -> Result<PathBuf, Error> {
        let git = self.git.as_ref().ok_or(Error::NeedsGit { what: "A commit" })?;
        stop_strays(&leased.transaction)?;
        let (tree, _) = self.linked_tree(git, &leased.place.tree(), commit, false)?;
        furnish::furnish(&self.config, &self.root, tree.root())?;
        Ok(leased.place.tree())
    }

    /// Leaves the working copy of a killed run to processes that cannot be ended: the next run that gets its place has a new one.
    pub(super) fn leave_worktrees(&self, transaction: &TransactionId) -> Result<(), Error> {
        for worktree in self.worktrees()? {
            if worktree.transaction == Some(*transaction) {
                set_aside::put(&worktree.path)?;
            }
        }
        Ok(())
    }

    /// Takes back what a killed run worked in.
    pub(super) fn reclaim_worktrees(&mut self, transaction: &Transaction) -> Result<(), Error> {
        for worktree in self.worktrees()? {
            if worktree.transaction != Some(transaction.id) {
                continue;
            }
            let place = self.place(worktree.number)?;
            let Some(_lock) = FileLock::try_acquire(&place.lock())? else {
                continue;
            };
            let cleared = self.clear(&place, transaction.base).unwrap_or_else(|error| {
                tracing::warn!(%error, number = place.number, "the working copy is made anew by the next run");
                WorktreeState::Failed
            });
            place.write(cleared, None)?;
            self.tell(state_event(cleared), transaction, place.number)?;
        }
        Ok(())
    }

    /// Removes the working copies that nobody uses: those beyond the first `keep`, and those that lie elsewhere than the
    /// settings say by now. Answers their numbers.
    pub(super) fn dispose_worktrees(&mut self, keep: u32, dry_run: bool) -> Result<Vec<u32>, Error> {
        let mut disposed = Vec::new();
        let elsewhere: Vec<u32> = self
            .worktrees_elsewhere()?
            .iter()
            .map(|known| known.number)
            .collect();
        for worktree in self.worktrees()? {
            let is_kept = worktree.number <= keep && !elsewhere.contains(&worktree.number);
            if is_kept || worktree.state == WorktreeState::Disposed {
                continue;
            }
            let is_gone = if dry_run {
                FileLock::try_acquire(&self.place(worktree.number)?.lock())?.is_some()
            } else {
                self.dispose_worktree(&worktree)?
            };
            if is_gone {
                disposed.push(worktree.number);
            }
        }
        if !dry_run {
            for aside in self.remove_set_aside()? {
                tracing::warn!(aside = %aside.display(), "the working copy still cannot be removed");
            }
            self.remove_empty_pool()?;
        }
        Ok(disposed)
    }

    /// Lists the working copies that lie elsewhere than the settings say.
    pub(super) fn worktrees_elsewhere(&self) -> Result<Vec<Worktree>, Error> {
        let mut known = self.worktrees()?;
        known.retain(|known| {
            let wanted = self.wanted_tree(known.number);
            known.state != WorktreeState::Disposed && wanted.is_ok_and(|wanted| wanted != known.path)
        });
        Ok(known)
    }

    /// Removes a working copy unless somebody uses it. Answers whether it is gone.
    pub(super) fn dispose_worktree(&mut self, worktree: &Worktree) -> Result<bool, Error> {
        let place = self.place(worktree.number)?;
        let Some(_lock) = FileLock::try_acquire(&place.lock())? else {
            return Ok(false);
        };
        if let Some(left) = worktree.transaction {
            stop_strays(&left)?;
        }
        self.remove_tree(&place)?;
        place.write(WorktreeState::Disposed, None)?;
        self.remove_left_directory(&place)?;
        self.store.record(&NewEvent {
            resource: Some(format!("worktree:{}", worktree.number)),
            ..NewEvent::of(EventKind::WorktreeDisposed)
        })?;
        Ok(true)
    }

    fn tell(&mut self, kind: EventKind, transaction: &Transaction, number: u32) -> Result<(), Error> {
        Ok(self.store.record(&NewEvent {
            transaction: Some(transaction.id),
            resource: Some(format!("worktree:{number}")),
            ..NewEvent::about(kind, &transaction.task)
        })?)
    }
}

/// Returns what the history says of a working copy that has come back.
fn state_event(state: WorktreeState) -> EventKind {
    match state {
        WorktreeState::Failed => EventKind::WorktreeFailed,
        WorktreeState::Disposed => EventKind::WorktreeDisposed,
        WorktreeState::Created | WorktreeState::Idle | WorktreeState::InUse => EventKind::WorktreeReturned,
    }
}

/// Ends whatever a run has left running.
pub(super) fn stop_strays(transaction: &TransactionId) -> Result<(), Error> {
    let value = transaction.to_string();
    let find = || stray::with_variable(TRANSACTION_VARIABLE, &value);
    refuse_left(transaction, stray::stop(find, stray::GRACE))
}

/// Refuses to go on where processes that a run or a validation has left cannot be ended.
pub(super) fn refuse_left(transaction: &TransactionId, pids: BTreeSet<u32>) -> Result<(), Error> {
    if pids.is_empty() {
        return Ok(());
    }
    let (transaction, pids) = (*transaction, pids.into_iter().collect());
    Err(RunRefusal::Unstoppable { transaction, pids }.into())
}
