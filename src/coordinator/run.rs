//! `run`: the whole cycle around a piece of work: lock, hand out a working copy, let it work, take what it changed, validate,
//! commit, release; or roll everything back.
//!
//! The work is a function here and a command on the command line. While it goes on the lease is renewed. Whatever way it
//! fails, nothing of it stays: not a changed file, not a lock, not a process. What it had finished before the commit was
//! refused is kept aside.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::rc::Rc;

use crate::config::Strategy;
use crate::coordinator::begin::Start;
use crate::coordinator::commit::Backing;
use crate::coordinator::error_text::with_causes;
use crate::coordinator::heartbeat::Heartbeat;
use crate::coordinator::in_place::Who;
use crate::coordinator::leased::Leased;
use crate::coordinator::running::Mark;
use crate::coordinator::start_commit::tell_before_work;
use crate::coordinator::working_copy::WorkingCopy;
use crate::coordinator::{
    BeginRequest, Begun, CommitRequest, Coordinator, Error, Observer, Outcome, Receipt, RunRefusal,
    StageRequest, StageWhat, Why, in_place, nested, provider, resolve, settle,
};
use crate::disk::fault;
use crate::host::unique_id;
use crate::model::{Resource, TaskId, TransactionId, TransactionState};
use crate::store::Task;

/// What to run, and what becomes of it.
#[derive(Debug, Clone)]
pub struct RunRequest<'a> {
    /// The task. Its lease is tied to this process.
    pub begin: BeginRequest,
    /// How what it changes is committed.
    pub commit: CommitRequest<'a>,
    /// Take the write locks on what it changed outside the lock set, instead of refusing it. Nobody is waited for.
    pub grow: bool,
    /// Where it works.
    pub place: RunPlace,
}

/// Where a run works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RunPlace {
    /// In a working copy of its own.
    #[default]
    Copy,
    /// In the working tree itself. What its write locks cover is kept, and put back unless the commit is decided.
    InPlace,
}

/// A run that has ended well.
#[derive(Debug, Clone)]
pub struct Ran<T> {
    /// What the work answered.
    pub value: T,
    /// What its commit came to.
    pub receipt: Receipt,
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E> {
    /// It was refused, or failed, before or after the work.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The work itself failed. It is rolled back.
    #[error("The work failed")]
    Work(#[source] E),
}

/// A run with its locks, and everything that has to be given back.
pub(super) struct Running {
    pub(super) begun: Begun,
    mark: Mark,
    heartbeat: Heartbeat,
    pub(super) leased: Option<Leased>,
    /// Whether somebody was told where its work is kept.
    pub(super) is_kept: bool,
    why: Why,
}

impl Coordinator {
    /// Runs `work` as a task: with its lock set, in a place of its own, and commits what it changed; or rolls everything back.
    /// When it returns a receipt, the result survives power loss.
    pub fn run<T, E>(
        &mut self,
        request: &RunRequest,
        work: impl FnOnce(&WorkingCopy) -> Result<T, E>,
        observer: &mut dyn Observer,
    ) -> Result<Ran<T>, RunError<E>> {
        let task = &request.begin.task;
        let begun = self.begin_run(request, observer);
        let mut running = begun.map_err(|error| self.interrupted_instead(task, error.of_run()))?;
        // The work and a validation are code of others, which may panic.
        let caught = panic::catch_unwind(AssertUnwindSafe(|| {
            self.run_begun(request, &mut running, work, observer)
        }));
        self.note_why(&running.why, &caught);
        let undone = self.end_run(running, matches!(caught, Ok(Ok(_))), observer);
        self.store.after_command();
        let ran = caught.unwrap_or_else(|panic| panic::resume_unwind(panic));
        ran.map_err(|error| match error {
            RunError::Refused(error) => RunError::Refused(self.interrupted_instead(task, error)),
            // Nobody may be told that it is rolled back.
            work @ RunError::Work(_) => undone.map_or_else(RunError::Refused, |()| work),
        })
    }

    fn begin_run(&mut self, request: &RunRequest, observer: &mut dyn Observer) -> Result<Running, Error> {
        self.refuse_interrupted(&request.begin.task)?;
        // Before anything is done in vain.
        self.refuse_inside_copy()?;
        let pending = self.recovered.pending.clone();
        self.refuse_unapplied(&pending)?;
        self.refuse_unrecordable(&request.commit)?;
        let id = TransactionId::from_uuid(unique_id());
        let mark = self.mark_run(id, &request.begin.task)?;
        let asked = BeginRequest {
            pid: Some(std::process::id()),
            // What a command changes is known when it has ended: only locks tell which part of it is its own.
            strategy: Some(Strategy::Pessimistic),
            ..request.begin.clone()
        };
        let start = match request.place {
            RunPlace::Copy => Start::Copy {
                recorded: request.commit.message.is_some(),
            },
            RunPlace::InPlace => Start::Ground,
        };
        let begun = resolve::request(self, &asked.wants).and_then(|locks| {
            nested::refuse_unchangeable(self, &locks)?;
            self.begin_as(id, &asked, &locks, start, observer)
        });
        let begun = match begun {
            Ok(begun) => begun,
            Err(error) => {
                if self.has_nothing(id, &request.begin.task) {
                    mark.remove();
                }
                return Err(error.of_beginning(self.config.worktrees_max));
            }
        };
        fault::point("run.begun");
        if request.place == RunPlace::Copy {
            let is_recorded = request.commit.message.is_some();
            if let Err(error) = tell_before_work(self, &begun.task, is_recorded, observer) {
                tracing::warn!(%error, "whether anything is in the way is not known");
            }
        }
        let heartbeat = self.heartbeat(&begun.task.id)?;
        Ok(Running {
            begun,
            mark,
            heartbeat,
            leased: None,
            is_kept: false,
            why: Why::default(),
        })
    }

    /// Tells whether a run that did not begin has left nothing; what cannot be told is left to recovery, which finds the mark.
    fn has_nothing(&mut self, id: TransactionId, task: &TaskId) -> bool {
        let is_unopened = matches!(self.store.transaction(&id), Ok(None));
        let is_ours = |task: Task| {
            task.owner
                .process
                .is_some_and(|owner| owner.pid == std::process::id())
        };
        let known = self.store.task(task);
        is_unopened && known.is_ok_and(|known| !known.is_some_and(is_ours))
    }

    /// place → work → stage → commit.
    fn run_begun<T, E>(
        &mut self,
        request: &RunRequest,
        running: &mut Running,
        work: impl FnOnce(&WorkingCopy) -> Result<T, E>,
        observer: &mut dyn Observer,
    ) -> Result<Ran<T>, RunError<E>> {
        let root = self.take_place(request.place, running).map_err(Error::of_run)?;
        self.refuse_interrupted(&request.begin.task)
            .map_err(Error::of_run)?;
        let copy = running.working_copy(root);
        let worked = work(&copy);
        fault::point("run.worked");
        let value = worked.map_err(RunError::Work)?;
        let task = &running.begun.task.id;
        if copy.leash.is_lost() {
            return Err(Error::from(RunRefusal::Lost { task: task.clone() }).into());
        }
        let receipt = self
            .stage_work(request, running, observer)
            .and_then(|is_empty| self.commit_work(request, running, is_empty, observer))
            .map_err(|error| {
                let base = running.begun.transaction.base;
                let error = self.committed_instead(error.of_work(), base);
                self.keep_work(running, error, observer)
            })?;
        Ok(Ran { value, receipt })
    }

    /// Prepares where the run works, and answers its root.
    fn take_place(&mut self, place: RunPlace, running: &mut Running) -> Result<PathBuf, Error> {
        if place == RunPlace::InPlace {
            in_place::keep(self, &running.begun)?;
            let Begun { task, transaction } = &running.begun;
            // Whoever took the locks before all was kept has not waited for it to be put back: what is there is theirs.
            if let Err(lost) = self.require_lease(&task.id) {
                in_place::forget(self, &transaction.id)?;
                return Err(lost);
            }
            return Ok(self.root.path().to_owned());
        }
        let number = running
            .begun
            .task
            .locks
            .iter()
            .find_map(|held| match held.lock.resource {
                Resource::Worktree(number) => Some(number),
                _ => None,
            })
            .unwrap_or_else(|| unreachable!("BUG: a run in a copy asks for one with its locks"));
        let leased = self.lease_worktree(number, &running.begun.transaction)?;
        let root = leased.place.tree();
        running.leased = Some(leased);
        Ok(root)
    }

    /// Stages what the work changed. Answers whether that is nothing.
    fn stage_work(
        &mut self,
        request: &RunRequest,
        running: &Running,
        observer: &mut dyn Observer,
    ) -> Result<bool, Error> {
        let task = &running.begun.task.id;
        let staged = match &running.leased {
            Some(leased) => {
                leased.refuse_replaced()?;
                let what = StageWhat::WorkingCopy {
                    dir: leased.place.tree(),
                    origin: Rc::clone(&leased.origin),
                };
                let stage = StageRequest {
                    what: vec![what],
                    lock: request.grow,
                };
                let staged = self.stage(task, stage, observer);
                staged.map_err(|error| leased.unreadable(error))?.changes
            }
            None => in_place::take(self, &running.begun, observer)?,
        };
        fault::point("run.staged");
        Ok(staged.is_empty())
    }

    fn commit_work(
        &mut self,
        request: &RunRequest,
        running: &Running,
        is_empty: bool,
        observer: &mut dyn Observer,
    ) -> Result<Receipt, Error> {
        let Begun { task, transaction } = &running.begun;
        if is_empty {
            let transaction = self.open_transaction(&task.id)?;
            settle::roll_back_because(self, &transaction, Some("it changed nothing"))?;
            return Ok(Receipt::nothing(task, &transaction));
        }
        let backing = Backing {
            leased: running.leased.as_ref(),
            leash: running.heartbeat.leash(),
        };
        let receipt = self.commit_in(&task.id, &request.commit, Some(backing), observer)?;
        debug_assert!(receipt.outcome == Outcome::Nothing || receipt.transaction == transaction.id);
        Ok(receipt)
    }

    /// Gives back what a run has: what is not committed is dropped. Fails if what it did in the working tree itself is left to recovery.
    fn end_run(&mut self, running: Running, is_over: bool, observer: &mut dyn Observer) -> Result<(), Error> {
        let given_up = if is_over {
            Ok(true)
        } else {
            self.give_up_run(&running, observer)
        };
        let is_clear = matches!(given_up, Ok(true))
            && (running.leased.is_some() || !self.has_copy(&running.begun.transaction));
        let Running {
            mark,
            heartbeat,
            leased,
            ..
        } = running;
        drop(heartbeat);
        if let Some(leased) = leased {
            self.return_worktree(&leased);
        }
        if is_clear {
            mark.remove();
        }
        // Left in its place and free, the mark tells recovery that there is something to clear up.
        given_up.map(|_| ())
    }

    /// Rolls a run back, if it has not been decided and nobody is to look at it. Best effort: what fails here is what a kill would
    /// leave, and recovery knows that.
    ///
    /// Answers whether nothing is left of it. Fails if something of it is in the working tree itself.
    fn give_up_run(&mut self, running: &Running, observer: &mut dyn Observer) -> Result<bool, Error> {
        let error = match self.drop_run(running, observer) {
            Ok(is_clear) => return Ok(is_clear),
            Err(error) => error,
        };
        tracing::warn!(%error, "rolling the run back is left to recovery");
        let Begun { task, transaction } = &running.begun;
        if !in_place::is_kept(self, &transaction.id).unwrap_or(false) {
            return Ok(false);
        }
        let (task, reason) = (task.id.clone(), with_causes(&error));
        observer.notice(&format!(
            "The next command tries again to put back what the run {task} has changed in the working tree."
        ));
        Err(RunRefusal::NotRolledBack { task, reason }.into())
    }

    fn drop_run(&mut self, running: &Running, observer: &mut dyn Observer) -> Result<bool, Error> {
        use TransactionState::{Aborting, Committing, Decided, Open};
        let Some(transaction) = self.store.transaction(&running.begun.transaction.id)? else {
            return Ok(true);
        };
        match transaction.state {
            Open => {
                let kept = in_place::put_back(self, Who::Failing, &transaction, observer)?;
                settle::roll_back_because(self, &transaction, running.why.said().as_deref())?;
                if let (Some(kept), false) = (kept, running.is_kept) {
                    observer.kept(&kept);
                }
                Ok(true)
            }
            // Undoing the attempt failed as well. Recovery opens it again, and has to find the mark then.
            Committing | Aborting | Decided => Ok(false),
            _ => Ok(true),
        }
    }
}

impl Running {
    fn working_copy(&self, root: PathBuf) -> WorkingCopy {
        let Begun { task, transaction } = &self.begun;
        WorkingCopy {
            root,
            task: task.id.clone(),
            transaction: transaction.id,
            token: task.token,
            resources: task.locks.iter().map(|held| held.lock.resource.clone()).collect(),
            given: provider::variables(task),
            leash: self.heartbeat.leash(),
            why: self.why.clone(),
        }
    }
}
