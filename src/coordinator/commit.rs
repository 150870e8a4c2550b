//! `commit`: the straight line prepare → decide → apply → finish.
//!
//! Each step consumes the value before it, so none can be left out or done twice. Before the decision a failure
//! leaves OLD, the staged changes and the locks. After it there is only forward: a failure answers `pending`, keeps
//! the locks, and the next command of anybody completes it.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::coordinator::carry_out::carry_out;
use crate::coordinator::heartbeat::Heartbeat;
use crate::coordinator::leased::Leased;
use crate::coordinator::prepare::{Preparation, Prepared, prepare};
use crate::coordinator::validate::Validation;
use crate::coordinator::{Coordinator, Error, Leash, MergeKind, Observer, abandon, optimistic, settle};
use crate::disk::fault;
use crate::disk::lock::FileLock;
use crate::model::{Change, ObjectId, RepoPath, TaskId, Token, TransactionId};
use crate::store::{DecideError, Decision, Task, Transaction};
use crate::workspace::TransactionDirectory;
use crate::workspace::manifest::Manifest;

/// What to commit and how.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest<'a> {
    /// The message: git records the changes as a commit. Without it they stay uncommitted (unless the task has a
    /// branch, whose commit then gets a plain message).
    pub message: Option<String>,
    /// What must succeed on a copy of the exact result.
    pub validate: Option<Validation<'a>>,
    /// How long an optimistic task waits for those who hold what it has staged; `None` is half a minute.
    pub wait: Option<Duration>,
}

impl<'a> CommitRequest<'a> {
    /// Asks for a git commit with this message.
    pub fn recorded(message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            ..Self::default()
        }
    }

    /// Asks for the changes in the working tree, without a git commit.
    pub fn unrecorded() -> Self {
        Self::default()
    }

    /// Commits only if this command, run by `sh -c` in a copy of the exact result, succeeds.
    #[must_use]
    pub fn validated_by_command(self, command: impl Into<String>) -> Self {
        let validate = Some(Validation::Command(command.into()));
        Self { validate, ..self }
    }

    /// Commits only if `check`, which is given the path of a copy of the exact result, finds nothing wrong. It is asked again
    /// whenever the target has moved meanwhile; if it panics, nothing is committed.
    #[must_use]
    pub fn validated_by<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        self,
        check: impl Fn(&Path) -> Result<(), E> + Send + Sync + 'a,
    ) -> Self {
        let check = move |result: &Path| check(result).map_err(Into::into);
        let validate = Some(Validation::Check(Arc::new(check)));
        Self { validate, ..self }
    }
}

impl From<&str> for CommitRequest<'_> {
    /// The text is the message.
    fn from(message: &str) -> Self {
        Self::recorded(message)
    }
}

impl From<String> for CommitRequest<'_> {
    /// The text is the message.
    fn from(message: String) -> Self {
        Self::recorded(message)
    }
}

/// What a commit came to. When it exists, what it says survives power loss.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The task, which no longer exists.
    pub task: TaskId,
    /// The transaction.
    pub transaction: TransactionId,
    /// Whether anything changed.
    pub outcome: Outcome,
    /// The changes.
    pub changes: Vec<Change>,
    /// The commit that the target now points to.
    pub commit: Option<ObjectId>,
    /// How a branch was merged.
    pub merge: Option<MergeKind>,
    /// The task's branch, which is gone again.
    pub branch: Option<String>,
    /// The ref that moved.
    pub target: Option<String>,
    /// The fencing number under which it was decided.
    pub token: Token,
    /// Paths where somebody else's bytes were found while applying; they are in quarantine.
    pub quarantined: Vec<RepoPath>,
}

/// Whether a commit changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The changes are in.
    Committed,
    /// Every staged change was there already; the locks are free again.
    Nothing,
}

/// What stands behind a commit before it is decided.
#[derive(Debug, Clone, Default)]
pub(super) struct Backing<'a> {
    /// The working copy of the task, in which what is validated can be made.
    pub(super) leased: Option<&'a Leased>,
    /// The lease that its locks are held by, where something keeps it alive.
    pub(super) leash: Leash,
}

/// A decided commit: nothing can undo it, and nothing of it is visible yet.
#[must_use = "a decided commit is carried out at once"]
struct Decided {
    prepared: Prepared,
}

/// A commit that is in the working tree and in git, durably.
#[must_use = "the receipt is what the user waits for"]
struct Landed {
    manifest: Manifest,
    directory: TransactionDirectory,
    receipt: Receipt,
    _commit_lock: FileLock,
}

impl Coordinator {
    /// Commits what `task` staged, all of it or nothing, and gives its locks back.
    ///
    /// When it returns a receipt, the result survives power loss.
    pub fn commit(
        &mut self,
        task: &TaskId,
        request: &CommitRequest,
        observer: &mut dyn Observer,
    ) -> Result<Receipt, Error> {
        self.refuse_inside_copy()?;
        self.refuse_running(task)?;
        self.commit_in(task, request, None, observer)
    }

    /// Commits what `task` staged, a run with what stands behind it.
    pub(super) fn commit_in(
        &mut self,
        task: &TaskId,
        request: &CommitRequest,
        backing: Option<Backing>,
        observer: &mut dyn Observer,
    ) -> Result<Receipt, Error> {
        self.refuse_interrupted(task)?;
        self.refuse_unrecordable(request)?;
        let transaction = self.open_transaction(task)?;
        let row = self.require_lease(task)?;
        fault::point("commit.begun");
        // Nobody stages into, drops or commits the same transaction meanwhile.
        let _own = self.hold_for(task, &transaction.id)?;
        let taken = if optimistic::is_optimistic(&row) {
            self.lock_staged(task, &transaction, request.wait, observer)?
        } else {
            Vec::new()
        };
        fault::point("commit.locked");
        let outcome = self.commit_locked(&transaction, request, backing, observer);
        if let Err(error) = &outcome {
            self.let_go(task, taken, error);
        }
        outcome
    }

    /// Refuses a message that no commit can have.
    pub(super) fn refuse_unrecordable(&self, request: &CommitRequest) -> Result<(), Error> {
        match (&request.message, &self.git) {
            (Some(message), _) if message.trim().is_empty() => Err(Error::EmptyMessage),
            (Some(_), None) => Err(Error::NeedsGit {
                what: "Recording a commit (-m)",
            }),
            (Some(_), Some(git)) => Ok(git.require_identity()?),
            (None, _) => Ok(()),
        }
    }

    /// Commits under the locks of the task. What is to be validated waits for its turn.
    fn commit_locked(
        &mut self,
        transaction: &Transaction,
        request: &CommitRequest,
        backing: Option<Backing>,
        observer: &mut dyn Observer,
    ) -> Result<Receipt, Error> {
        let task = &transaction.task;
        if request.validate.is_none() {
            return self.land(task, request, &backing.unwrap_or_default(), observer);
        }
        // A run keeps its lease alive anyway.
        let heartbeat = match &backing {
            Some(_) => None,
            None => Some(self.heartbeat(task)?),
        };
        let backing = backing.unwrap_or_else(|| Backing {
            leased: None,
            leash: heartbeat.as_ref().map(Heartbeat::leash).unwrap_or_default(),
        });
        let turn = self.take_turn(transaction, &backing.leash, observer)?;
        // A validation may be a function of others, which panics, in a process that lives on: it must not keep the turn.
        let caught = panic::catch_unwind(AssertUnwindSafe(|| self.land(task, request, &backing, observer)));
        if let Some(turn) = turn {
            self.give_turn_back(turn);
        }
        caught.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    /// prepare → decide → apply → finish.
    fn land(
        &mut self,
        task: &TaskId,
        request: &CommitRequest,
        backing: &Backing,
        observer: &mut dyn Observer,
    ) -> Result<Receipt, Error> {
        let given_back = self.releasable(task)?;
        let receipt = match prepare(self, task, request, backing, observer)? {
            Preparation::Nothing(plan) => self.commit_nothing(*plan)?,
            Preparation::Prepared(prepared) => {
                let decided = prepared.decide(self)?;
                let landed = decided.apply(self)?;
                landed.finish(self, observer)
            }
        };
        self.providers.released(&given_back);
        Ok(receipt)
    }

    fn commit_nothing(&mut self, plan: crate::coordinator::plan::Plan) -> Result<Receipt, Error> {
        let (task, transaction) = (plan.order.task, plan.order.transaction);
        settle::roll_back_because(self, &transaction, Some("there was nothing to commit"))?;
        Ok(Receipt::nothing(&task, &transaction))
    }
}

impl Receipt {
    /// Says that there was nothing to commit.
    pub(super) fn nothing(task: &Task, transaction: &Transaction) -> Self {
        Self {
            task: task.id.clone(),
            transaction: transaction.id,
            outcome: Outcome::Nothing,
            changes: Vec::new(),
            commit: None,
            merge: None,
            branch: transaction.branch.clone(),
            target: transaction.target.clone(),
            token: task.token,
            quarantined: Vec::new(),
        }
    }
}

impl Prepared {
    /// Decides: one durable transaction checks the token and the locks and makes the commit happen.
    fn decide(self, coordinator: &mut Coordinator) -> Result<Decided, Error> {
        let paths: Vec<RepoPath> = self
            .manifest
            .operations
            .iter()
            .map(|operation| operation.path.clone())
            .collect();
        let staged: Vec<RepoPath> = self.plan.order.paths();
        let decision = Decision {
            transaction: self.manifest.transaction,
            token: self.manifest.token,
            manifest: self.digest,
            paths: if paths.is_empty() { &staged } else { &paths },
        };
        fault::point("commit.decide");
        if let Err(interrupted) = coordinator.refuse_interrupted(&self.manifest.task) {
            return Err(self.abandon(coordinator, interrupted));
        }
        match coordinator.store.decide(&decision) {
            Ok(()) => {
                fault::point("commit.decided");
                Ok(Decided { prepared: self })
            }
            Err(DecideError::Lost) => {
                let lost = Error::Lost {
                    task: self.manifest.task.clone(),
                };
                Err(self.abandon(coordinator, lost))
            }
            Err(DecideError::Undecided(cause)) => Err(self.abandon(coordinator, cause.into())),
            // Nothing may be touched: whether the decision stands is for recovery to find out.
            Err(DecideError::Unknown(cause)) => Err(Error::Undetermined {
                transaction: self.manifest.transaction,
                cause,
            }),
        }
    }

    fn abandon(&self, coordinator: &mut Coordinator, why: Error) -> Error {
        abandon::attempt(coordinator, &self.manifest, &self.directory, why)
    }
}

impl Decided {
    /// Carries the commit out. From here no failure undoes it.
    fn apply(self, coordinator: &mut Coordinator) -> Result<Landed, Error> {
        let Prepared {
            plan,
            manifest,
            directory,
            commit_lock,
            ..
        } = self.prepared;
        let root = coordinator.root.clone();
        carry_out(coordinator, &root, &manifest, &directory).map_err(|cause| Error::Pending {
            transaction: manifest.transaction,
            cause: Box::new(cause),
        })?;
        let receipt = Receipt {
            task: plan.order.task.id,
            transaction: manifest.transaction,
            outcome: Outcome::Committed,
            changes: plan.order.changes,
            commit: plan.landing.reference.as_ref().map(|reference| reference.new),
            merge: plan.landing.merge,
            branch: plan.order.transaction.branch,
            target: plan.landing.reference.map(|reference| reference.name),
            token: manifest.token,
            quarantined: Vec::new(),
        };
        Ok(Landed {
            manifest,
            directory,
            receipt,
            _commit_lock: commit_lock,
        })
    }
}

impl Landed {
    /// Lets the next commit in, looks for foreign bytes among what was displaced, and tidies up.
    ///
    /// Nothing in here can take the commit back, so a failure is a notice and `cleanup` repeats it.
    fn finish(self, coordinator: &mut Coordinator, observer: &mut dyn Observer) -> Receipt {
        let Self {
            manifest,
            directory,
            mut receipt,
            _commit_lock: commit_lock,
        } = self;
        drop(commit_lock);
        match settle::tidy(coordinator, &manifest, &directory) {
            Ok(quarantined) => receipt.quarantined = quarantined,
            Err(error) => observer.notice(&format!(
                "Tidying up after the commit is left to cleanup: {error}."
            )),
        }
        match coordinator.collect_some() {
            Ok(quarantined) => receipt.quarantined.extend(quarantined),
            Err(error) => observer.notice(&format!(
                "Collecting old transactions is left to cleanup: {error}."
            )),
        }
        coordinator.store.after_command();
        receipt
    }
}
