//! `status`: who holds what, who waits for whom, and what is unfinished.

use std::path::PathBuf;

use crate::coordinator::{Coordinator, Error, Worktree};
use crate::model::TransactionId;
use crate::store::{Task, Transaction, Waiter};

/// Everything that is going on in one repository.
#[derive(Debug, Clone)]
pub struct Status {
    /// The working tree that the caller stands in.
    pub root: PathBuf,
    /// All tasks, in the order of their names.
    pub tasks: Vec<TaskStatus>,
    /// Who waits, first come first.
    pub waiters: Vec<Waiter>,
    /// The working copies of the pool.
    pub worktrees: Vec<Worktree>,
    /// Transactions that recovery has still to finish or to undo.
    pub unfinished: Vec<TransactionId>,
}

/// One task.
#[derive(Debug, Clone)]
pub struct TaskStatus {
    /// The task with its locks.
    pub task: Task,
    /// Its transaction, unless it has none yet.
    pub transaction: Option<Transaction>,
    /// How many changes it has staged.
    pub staged: usize,
}

impl Coordinator {
    /// Reads who holds what. Nothing is locked for it, so what it tells may be history a moment later.
    pub fn status(&mut self) -> Result<Status, Error> {
        let mut tasks = Vec::new();
        for task in self.store.tasks()? {
            let transaction = self.store.current_transaction(&task.id)?;
            let staged = match &transaction {
                Some(transaction) => self.store.changes(&transaction.id)?.len(),
                None => 0,
            };
            tasks.push(TaskStatus {
                task,
                transaction,
                staged,
            });
        }
        tasks.sort_by(|a, b| a.task.id.cmp(&b.task.id));
        Ok(Status {
            root: self.root.path().to_owned(),
            tasks,
            waiters: self.store.waiters()?,
            worktrees: self.worktrees()?,
            unfinished: self
                .store
                .unfinished()?
                .iter()
                .map(|transaction| transaction.id)
                .collect(),
        })
    }
}
