//! `show`: a task as it stands, with what it has staged.

use std::path::PathBuf;

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
    /// Where its validation prints to, if one goes on.
    pub printed: Option<PathBuf>,
}

impl Coordinator {
    /// Shows a task. Nothing changes, not even its lease.
    pub fn show(&mut self, task: &TaskId) -> Result<Shown, Error> {
        let transaction = self.open_transaction(task)?;
        let changes = self.store.changes(&transaction.id)?;
        let known = self.status()?.tasks.into_iter();
        let printed = known
            .filter(|known| known.task.id == *task)
            .find_map(|known| known.printed);
        let task = self
            .store
            .task(task)?
            .ok_or_else(|| Error::UnknownTask { task: task.clone() })?;
        Ok(Shown {
            task,
            transaction,
            changes,
            printed,
        })
    }
}
