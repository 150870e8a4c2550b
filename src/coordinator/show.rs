//! `show`: a task as it stands, with what it has staged.

use crate::coordinator::{Coordinator, Error};
use crate::model::{Change, TaskId};
use crate::store::{Task, Transaction};

/// A task as it stands.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The task with its locks.
    pub task: Task,
    /// Its transaction.
    pub transaction: Transaction,
    /// What is staged, by path.
    pub changes: Vec<Change>,
}

impl Coordinator {
    /// Shows a task. Nothing changes, not even its lease.
    pub fn show(&mut self, task: &TaskId) -> Result<Shown, Error> {
        let transaction = self.open_transaction(task)?;
        let changes = self.store.changes(&transaction.id)?;
        let task = self
            .store
            .task(task)?
            .ok_or_else(|| Error::UnknownTask { task: task.clone() })?;
        Ok(Shown {
            task,
            transaction,
            changes,
        })
    }
}
