//! `status`: who holds what, who waits for whom, and what is unfinished.

use std::path::PathBuf;

use crate::coordinator::provider::Stock;
use crate::coordinator::{Coordinator, Error, Worktree};
use crate::model::{Pool, Resource, TaskId, TransactionId};
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
    /// What is shared out by number, and how much of it is left.
    pub resources: Vec<Utilisation>,
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

/// How much of something that is shared out is in use.
#[derive(Debug, Clone)]
pub struct Utilisation {
    /// What people call it.
    pub name: String,
    /// What kind of provider gives it out.
    pub kind: String,
    /// The whole.
    pub pool: Pool,
    /// How many members there are, or how much in all.
    pub total: u64,
    /// How much of it is held. Where less is configured now than was given out, that is more than the total.
    pub used: u64,
    /// Words of the user's own.
    pub tags: Vec<String>,
    /// Who holds it.
    pub holders: Vec<ShareHolder>,
}

/// Who holds a share.
#[derive(Debug, Clone)]
pub struct ShareHolder {
    /// The task.
    pub task: TaskId,
    /// What it holds.
    pub resource: Resource,
    /// Why.
    pub reason: Option<String>,
    /// Milliseconds until its lease runs out.
    pub expires_in_ms: i64,
}

impl Utilisation {
    /// Returns how much is left.
    pub fn free(&self) -> u64 {
        self.total.saturating_sub(self.used)
    }
}

fn utilisation((kind, stock): (String, Stock), tasks: &[TaskStatus]) -> Utilisation {
    let mut holders = Vec::new();
    let mut used: u64 = 0;
    for TaskStatus { task, .. } in tasks {
        for held in &task.locks {
            let resource = &held.lock.resource;
            if resource.pool().as_ref() != Some(&stock.pool) {
                continue;
            }
            used = used.saturating_add(match resource {
                Resource::Quota { amount, .. } => amount.get(),
                _ => 1,
            });
            holders.push(ShareHolder {
                task: task.id.clone(),
                resource: resource.clone(),
                reason: task.reason.clone(),
                expires_in_ms: task.expires_in_ms,
            });
        }
    }
    Utilisation {
        name: stock.name,
        kind,
        pool: stock.pool,
        total: stock.total,
        used,
        tags: stock.tags,
        holders,
    }
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
        let stock = self.providers.stock().into_iter();
        let resources = stock.map(|stock| utilisation(stock, &tasks)).collect();
        Ok(Status {
            resources,
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
