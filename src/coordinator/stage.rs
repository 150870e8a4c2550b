//! `stage`: takes changes in. Their bytes are written aside and hashed, and recorded with what the paths held before.
//!
//! Nothing that anybody else can see is touched. A request is all or nothing: its paths are known and locked before the
//! first byte is written, and its changes are recorded in one act. What a kill leaves before that act are objects that
//! nobody names, in the transaction's own directory.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::rc::Rc;

use crate::coordinator::draft::{Draft, Edit};
use crate::coordinator::ground::Ground;
use crate::coordinator::origin::Origin;
use crate::coordinator::stage_step::{Step, perform, prepare};
use crate::coordinator::{Coordinator, Error, Observer, optimistic, resolve};
use crate::disk::lock::{FileLock, available_space};
use crate::disk::{self, fault};
use crate::model::{Change, Lock, LockSet, Mode, RepoPath, Resource, TaskId, TransactionId};
use crate::store::{Asker, Release, Transaction, Wait};
use crate::workspace::slots::Slots;

/// What to stage.
#[derive(Debug)]
pub struct StageRequest {
    /// The changes: all of them or none. Each sees what was staged before the request, and no two name the same path.
    pub what: Vec<StageWhat>,
    /// Whether to take the write locks that the task does not hold yet. Nobody is waited for.
    pub lock: bool,
}

/// One thing to stage. Paths are as they were typed, relative to where the user stands.
pub enum StageWhat {
    /// The content of a file. A symlink is staged as a symlink.
    File {
        /// What to change.
        path: OsString,
        /// Where the content is.
        from: PathBuf,
        /// The exec bit; `None` sets it when `from` or the path has it.
        executable: Option<bool>,
    },
    /// These bytes.
    Bytes {
        /// What to change.
        path: OsString,
        /// The content, read to its end.
        content: Box<dyn Read>,
        /// The exec bit; `None` keeps the one that the path has.
        executable: Option<bool>,
    },
    /// A symlink.
    Symlink {
        /// What to change.
        path: OsString,
        /// Its text, which is never followed.
        target: OsString,
    },
    /// Nothing: the path goes away. A directory stands for all files below it.
    Delete {
        /// What to delete.
        path: OsString,
    },
    /// What another path holds now, which goes away. A directory stands for all files below it.
    Move {
        /// From where.
        from: OsString,
        /// To where; a directory that exists takes it in under its own name.
        to: OsString,
    },
    /// The exec bit alone.
    Chmod {
        /// What to change.
        path: OsString,
        /// The bit.
        executable: bool,
    },
    /// What a unified diff makes of the paths that it names. It applies to what the task sees.
    Patch {
        /// The diff, with git's extensions.
        diff: Vec<u8>,
    },
    /// What a directory holds, compared with what the task sees.
    ///
    /// What git ignores is neither taken in nor deleted, and what git does not track is not deleted.
    Tree {
        /// The directory: a copy of the whole working tree.
        dir: PathBuf,
    },
    /// What a working copy holds, compared with what it held when it was handed over.
    WorkingCopy {
        /// The copy.
        dir: PathBuf,
        /// What it held at first.
        origin: Rc<Origin>,
    },
}

/// What a request came to.
#[derive(Debug, Clone)]
pub struct Staged {
    /// The transaction.
    pub transaction: TransactionId,
    /// What the named paths are staged as, by path. What changes nothing is left out.
    pub changes: Vec<Change>,
}

impl Coordinator {
    /// Stages changes for `task`. They survive the death of any process when this returns.
    pub fn stage(
        &mut self,
        task: &TaskId,
        mut request: StageRequest,
        observer: &mut dyn Observer,
    ) -> Result<Staged, Error> {
        let (_own, transaction) = self.hold_open(task)?;
        let slots = self.slots(&transaction.id)?;
        let prepared = self.prepare(&transaction, &slots, &request, observer)?;
        let granted = self.secure(task, &prepared, request.lock, observer)?;
        let steps = if granted.is_empty() {
            prepared
        } else {
            // Before the locks were ours, others may have changed what was looked at.
            drop(prepared);
            self.prepare(&transaction, &slots, &request, observer)?
        };
        let outcome = self.stage_locked(task, &transaction, &slots, steps, &mut request.what, observer);
        if outcome.is_err() && !granted.is_empty() {
            // At best effort: a refused request leaves nothing behind.
            let granted = granted.into_iter().map(|lock| lock.resource).collect();
            drop(self.store.release(task, &Release::Some(granted)));
        }
        // The log is not folded here: that syncs, and would drag along what was staged. The commit does it.
        self.store.after_staging();
        outcome
    }

    /// Takes the lock of the task's transaction, which keeps other processes from staging into it or ending it.
    pub(super) fn hold_open(&mut self, task: &TaskId) -> Result<(FileLock, Transaction), Error> {
        let named = self.open_transaction(task)?;
        let own = self.hold(&named.id)?;
        // It may have ended, and another have begun, while we waited for the other process.
        let transaction = self.open_transaction(task)?;
        if transaction.id == named.id {
            Ok((own, transaction))
        } else {
            Err(Error::NoTransaction { task: task.clone() })
        }
    }

    fn prepare(
        &mut self,
        transaction: &Transaction,
        slots: &Slots,
        request: &StageRequest,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Step>, Error> {
        let scratch = self.layout.transaction(&transaction.id).patching();
        let staged = self.store.changes(&transaction.id)?;
        let ground = Ground::new(self, transaction, slots, staged);
        let mut steps = Vec::with_capacity(request.what.len());
        for (index, what) in request.what.iter().enumerate() {
            steps.push(prepare(
                self,
                &ground,
                what,
                &scratch.join(index.to_string()),
                observer,
            )?);
        }
        Ok(steps)
    }

    /// Makes sure that the task's write locks cover every path, and answers which had to be taken.
    fn secure(
        &mut self,
        task: &TaskId,
        steps: &[Step],
        lock: bool,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Lock>, Error> {
        let missing = self.unlocked(task, steps)?;
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        if !lock {
            return Err(Error::NotLocked {
                task: task.clone(),
                paths: missing,
            });
        }
        let fold = resolve::folds(self);
        let wants: LockSet = missing
            .into_iter()
            .map(|path| if fold { path.folded() } else { path })
            .map(|path| Lock {
                resource: Resource::File(path),
                mode: Mode::Write,
            })
            .collect();
        let grant = self.acquire(&Asker::Task(task.clone()), &wants, Wait::Never, observer)?;
        Ok(grant.granted)
    }

    /// Renews the lease and returns the paths that the task's write locks do not cover, if it needs any.
    fn unlocked(&mut self, task: &TaskId, steps: &[Step]) -> Result<Vec<RepoPath>, Error> {
        let task = self.require_lease(task)?;
        if optimistic::is_optimistic(&task) {
            return Ok(Vec::new());
        }
        let held: LockSet = task.locks.into_iter().map(|held| held.lock).collect();
        let fold = resolve::folds(self);
        let is_held = |path: &RepoPath| held.covers_write(&if fold { path.folded() } else { path.clone() });
        let paths: BTreeSet<RepoPath> = steps.iter().flat_map(Step::paths).collect();
        Ok(paths.into_iter().filter(|path| !is_held(path)).collect())
    }

    fn stage_locked(
        &mut self,
        task: &TaskId,
        transaction: &Transaction,
        slots: &Slots,
        steps: Vec<Step>,
        what: &mut [StageWhat],
        observer: &mut dyn Observer,
    ) -> Result<Staged, Error> {
        // A second preparation may have found more than the first one.
        let missing = self.unlocked(task, &steps)?;
        if !missing.is_empty() {
            return Err(Error::NotLocked {
                task: task.clone(),
                paths: missing,
            });
        }
        self.require_space(&steps)?;
        let staged = self.store.changes(&transaction.id)?;
        let ground = Ground::new(self, transaction, slots, staged);
        let mut draft = Draft::new(&ground);
        let total = steps.len() as u64;
        for (done, (step, what)) in steps.into_iter().zip(what).enumerate() {
            observer.progress("stage", done as u64, total);
            perform(&ground, &mut draft, step, what)?;
        }
        let edit = draft.finish()?;
        fault::check("stage.written").map_err(disk::injected)?;
        self.record_edit(task, transaction, slots, edit)
    }

    /// Records the outcome of staging or unstaging in one act, and removes the objects that nobody names any more.
    pub(super) fn record_edit(
        &mut self,
        task: &TaskId,
        transaction: &Transaction,
        slots: &Slots,
        edit: Edit,
    ) -> Result<Staged, Error> {
        if !edit.is_empty() {
            let recorded = self.store.edit_changes(&transaction.id, &edit.put, &edit.remove);
            if let Err(error) = recorded {
                edit.discard(slots);
                return Err(Error::of_lease(error, task));
            }
        }
        fault::point("stage.recorded");
        edit.settle(slots);
        Ok(Staged {
            transaction: transaction.id,
            changes: edit.changes,
        })
    }

    fn require_space(&self, steps: &[Step]) -> Result<(), Error> {
        let needed = steps.iter().map(Step::bytes).sum();
        let available = available_space(self.layout.directory())?;
        if needed <= available {
            return Ok(());
        }
        Err(Error::Space {
            at: self.layout.directory().to_owned(),
            needed,
            available,
        })
    }
}

impl std::fmt::Debug for StageWhat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, from, .. } => write!(f, "File({} from {})", path.display(), from.display()),
            Self::Bytes { path, .. } => write!(f, "Bytes({})", path.display()),
            Self::Symlink { path, target } => {
                write!(f, "Symlink({} to {})", path.display(), target.display())
            }
            Self::Delete { path } => write!(f, "Delete({})", path.display()),
            Self::Move { from, to } => write!(f, "Move({} to {})", from.display(), to.display()),
            Self::Chmod { path, executable } => write!(f, "Chmod({}, {executable})", path.display()),
            Self::Patch { diff } => write!(f, "Patch({} bytes)", diff.len()),
            Self::Tree { dir } => write!(f, "Tree({})", dir.display()),
            Self::WorkingCopy { dir, .. } => write!(f, "WorkingCopy({})", dir.display()),
        }
    }
}
