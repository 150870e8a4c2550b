//! `undo`: takes a committed transaction back, as a transaction of its own.
//!
//! It goes the same way as every other change: locks, stage, commit. So what the commit promises holds for it as well, and an
//! undo can be undone. What a kill leaves before the decision is an open task that holds nothing back: the next undo of
//! that task drops it.

use serde_json::{Map, Value};

use crate::config::Strategy;
use crate::coordinator::ground::Ground;
use crate::coordinator::reversal::Reversal;
use crate::coordinator::undo_error::UndoError;
use crate::coordinator::{
    BeginRequest, Begun, BranchChoice, CommitRequest, Coordinator, Error, Observer, Outcome, Receipt,
    resolve, settle,
};
use crate::disk::fault;
use crate::host::unique_id;
use crate::model::{
    Change, Kind, Lock, LockSet, Mode, ObjectId, Resource, TaskId, TransactionId, TransactionState, UNDOES,
    Verdict,
};
use crate::store::{Transaction, Wait};

/// What to take back.
#[derive(Debug, Clone)]
pub struct UndoRequest {
    /// Whose transaction.
    pub task: TaskId,
    /// Which; `None` means the newest one that the task has committed.
    pub transaction: Option<TransactionId>,
    /// The message, where git recorded what is taken back; `None` says `Undo` and its title.
    pub message: Option<String>,
    /// Whether to wait for others who hold the paths.
    pub wait: Wait,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl UndoRequest {
    /// Asks for the newest transaction of a task, without waiting.
    pub fn newest(task: TaskId) -> Self {
        Self {
            task,
            transaction: None,
            message: None,
            wait: Wait::Never,
            dry_run: false,
        }
    }
}

/// What an undo came to.
#[derive(Debug, Clone)]
pub struct Undone {
    /// The transaction that was taken back.
    pub undone: TransactionId,
    /// The commit that git recorded of it, if any.
    pub recorded: Option<ObjectId>,
    /// The changes that put its paths back.
    pub changes: Vec<Change>,
    /// The commit that did it; `None` when it was only asked for what would be done, or when there was nothing to do.
    pub receipt: Option<Receipt>,
}

impl Coordinator {
    /// Takes a committed transaction back: every path that it changed holds again what it held before, or nothing is
    /// changed at all. Refused where a path is no longer as the transaction left it.
    pub fn undo(&mut self, request: &UndoRequest, observer: &mut dyn Observer) -> Result<Undone, Error> {
        self.refuse_inside_copy()?;
        let transaction = self.committed(request)?;
        self.drop_interrupted(&request.task)?;
        let mut reversal = Reversal::of(self, &transaction)?;
        if request.message.is_some() && reversal.commit().is_none() {
            let transaction = transaction.id;
            return Err(UndoError::Unrecorded { transaction }.into());
        }
        let recorded = reversal.commit().map(|(_, commit)| commit);
        let target = self.target_of(&reversal, transaction.id)?;
        let base = match (&target, &self.git) {
            (Some(target), Some(git)) => git.tip(target)?,
            _ => None,
        };
        reversal.refuse_changed(self, base)?;
        let is_done = reversal.paths().is_empty();
        if request.dry_run || is_done {
            return Ok(Undone {
                undone: transaction.id,
                recorded,
                changes: reversal.changes(self)?,
                receipt: None,
            });
        }
        let begun = self.begin_undo(request, &transaction, &reversal, target, observer)?;
        let receipt = self.carry_undo_out(&begun, request, &transaction, observer);
        match receipt {
            Ok(receipt) => Ok(Undone {
                undone: transaction.id,
                recorded,
                changes: receipt.changes.clone(),
                receipt: Some(receipt),
            }),
            Err(error) => {
                self.give_undo_up(&begun, &error);
                Err(error)
            }
        }
    }

    /// Finds the committed transaction whose name begins like this, of `task` or of anybody. Answers whose it is.
    pub fn committed_as(
        &mut self,
        task: Option<&TaskId>,
        named: &str,
    ) -> Result<(TaskId, TransactionId), Error> {
        if let (Some(task), Ok(whole)) = (task, named.parse()) {
            return Ok((task.clone(), whole));
        }
        let beginning = named.to_ascii_lowercase();
        let mut found = self.store.transactions()?;
        found.retain(|found| {
            let is_its = task.is_none_or(|task| found.task == *task);
            let is_done = is_its && found.state == TransactionState::Done;
            is_done && !beginning.is_empty() && found.id.to_string().starts_with(&beginning)
        });
        match found.as_slice() {
            [one] => Ok((one.task.clone(), one.id)),
            several => Err(UndoError::Unnamed {
                task: task.cloned(),
                named: named.to_owned(),
                found: several.iter().map(|found| found.id).collect(),
            }
            .into()),
        }
    }

    /// Finds the transaction that is meant.
    fn committed(&mut self, request: &UndoRequest) -> Result<Transaction, Error> {
        let unknown = || UndoError::Unknown {
            task: request.task.clone(),
            transaction: request.transaction,
        };
        let found = match &request.transaction {
            Some(id) => self
                .store
                .transaction(id)?
                .filter(|found| found.task == request.task),
            None => self
                .store
                .transactions()?
                .into_iter()
                .rfind(|found| found.task == request.task && found.state == TransactionState::Done),
        };
        let found = found.ok_or_else(unknown)?;
        if found.state == TransactionState::Done {
            return Ok(found);
        }
        Err(UndoError::NotCommitted {
            task: found.task,
            transaction: found.id,
            state: found.state,
        }
        .into())
    }

    /// An undo that was killed before its decision has left a task of this name and a copy of what it was about to put back.
    pub(super) fn drop_interrupted(&mut self, task: &TaskId) -> Result<(), Error> {
        let Some(left) = self.store.task(task)? else {
            return Ok(());
        };
        if !left.metadata.contains_key(UNDOES) || self.host.verdict(&left.owner) != Verdict::Dead {
            return Ok(());
        }
        match self.store.current_transaction(task)? {
            Some(transaction) if transaction.state == TransactionState::Open => {
                let _own = self.hold(&transaction.id)?;
                settle::roll_back(self, &transaction)
            }
            Some(_) => Ok(()),
            None => self.rollback(task).map(drop),
        }
    }

    /// Names the branch to land on, where that is not the one that is checked out here.
    fn target_of(&self, reversal: &Reversal, transaction: TransactionId) -> Result<Option<String>, Error> {
        let (Some((reference, _)), Some(git)) = (reversal.commit(), &self.git) else {
            return Ok(None);
        };
        if reversal.is_checked_out(git)? {
            return Ok(None);
        }
        if reference == "HEAD" {
            return Err(UndoError::Detached { transaction }.into());
        }
        Ok(Some(reference.to_owned()))
    }

    fn begin_undo(
        &mut self,
        request: &UndoRequest,
        transaction: &Transaction,
        reversal: &Reversal,
        target: Option<String>,
        observer: &mut dyn Observer,
    ) -> Result<Begun, Error> {
        let fold = resolve::folds(self);
        let paths = reversal.paths().into_iter();
        let locks: LockSet = paths
            .map(|path| Lock {
                resource: Resource::File(if fold { path.folded() } else { path }),
                mode: Mode::Write,
            })
            .collect();
        let is_free = self.store.task(&request.task)?.is_none();
        let undoes = Value::String(transaction.id.to_string());
        let wanted = BeginRequest {
            wait: request.wait,
            // Whoever dies over it holds nobody up.
            pid: Some(std::process::id()),
            reason: Some(format!("undo of {}", transaction.id)),
            metadata: Map::from_iter([(UNDOES.to_owned(), undoes)]),
            branch: BranchChoice::Never,
            strategy: Some(Strategy::Pessimistic),
            into: target,
            ..BeginRequest::writing(if is_free { request.task.clone() } else { made_up() }, [""; 0])
        };
        let begun = self.begin_with(&wanted, &locks, observer)?;
        fault::point("undo.begun");
        Ok(begun)
    }

    fn carry_undo_out(
        &mut self,
        begun: &Begun,
        request: &UndoRequest,
        undone: &Transaction,
        observer: &mut dyn Observer,
    ) -> Result<Receipt, Error> {
        let task = &begun.task.id;
        // Before the locks were ours, others may have changed what was looked at.
        let mut reversal = Reversal::of(self, undone)?;
        reversal.refuse_changed(self, begun.transaction.base)?;
        {
            let (_own, transaction) = self.hold_open(task)?;
            let slots = self.slots(&transaction.id)?;
            let ground = Ground::new(self, &transaction, &slots, Vec::new());
            let edit = reversal.stage(&ground)?;
            self.record_edit(task, &transaction, &slots, edit)?;
        }
        fault::point("undo.staged");
        let message = match (reversal.commit(), &self.git) {
            (Some((_, commit)), Some(git)) => {
                let title = || Ok::<_, Error>(format!("Undo \"{}\"", git.title(commit)?));
                Some(request.message.clone().map_or_else(title, Ok)?)
            }
            _ => None,
        };
        let commit = CommitRequest {
            message,
            ..CommitRequest::default()
        };
        match self.commit(task, &commit, observer) {
            // What is to be put back is there already.
            Err(Error::NothingStaged { .. }) => self.end_empty(begun),
            settled => settled,
        }
    }

    fn end_empty(&mut self, begun: &Begun) -> Result<Receipt, Error> {
        settle::roll_back(self, &begun.transaction)?;
        Ok(Receipt {
            task: begun.task.id.clone(),
            transaction: begun.transaction.id,
            outcome: Outcome::Nothing,
            changes: Vec::new(),
            commit: None,
            merge: None,
            branch: None,
            target: None,
            token: begun.task.token,
            quarantined: Vec::new(),
        })
    }

    /// A refused undo leaves nothing behind. What is decided, or may be, is for recovery.
    fn give_undo_up(&mut self, begun: &Begun, error: &Error) {
        if matches!(error.kind(), Kind::Pending | Kind::Unknown | Kind::Lost) {
            return;
        }
        if let Err(error) = self.rollback(&begun.task.id) {
            tracing::warn!(%error, "giving the undo up is left to its lease");
        }
    }
}

/// The name of the task is taken while somebody works under it.
fn made_up() -> TaskId {
    let id = unique_id().simple().to_string();
    let random = &id[id.len() - 8..];
    TaskId::new(format!("undo-{random}")).expect("BUG: letters, digits and a dash always make a task id")
}
