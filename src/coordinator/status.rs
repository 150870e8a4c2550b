//! `status`: who holds what, who waits for whom, and what is unfinished.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use serde::Serialize;

use crate::coordinator::provider::Stock;
use crate::coordinator::{Coordinator, Error, Worktree, landing};
use crate::disk::{self, contained};
use crate::model::{Pool, Resource, TaskId, TransactionId, TransactionState, Verdict};
use crate::store::{Standing, Task, Transaction, Waiter};

/// Everything that is going on in one repository.
#[derive(Debug, Clone)]
pub struct Status {
    /// The working tree that the caller stands in.
    pub root: PathBuf,
    /// All tasks, in the order of their names. Whoever has a turn to land is the task that lands.
    pub tasks: Vec<TaskStatus>,
    /// Who waits, first come first.
    pub waiters: Vec<Waiter>,
    /// The working copies of the pool.
    pub worktrees: Vec<Worktree>,
    /// How many working copies there may be.
    pub worktrees_max: u32,
    /// What is shared out by number, and how much of it is left.
    pub resources: Vec<Utilisation>,
    /// How many runs have left finished work that is kept in `.mirror/salvage`.
    pub kept_work: usize,
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
    /// It is a run.
    pub is_run: bool,
    /// How far it is, if it is a run or about to land.
    pub phase: Option<Phase>,
    /// Where its validation prints to, if one goes on.
    pub printed: Option<PathBuf>,
    /// The process that it is tied to has ended. The next command clears a run up; others lose their locks to whoever asks.
    pub is_dead: bool,
}

/// How far a run is, or whoever lands after a validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It waits for its locks.
    Waiting,
    /// Its command works.
    Working,
    /// It waits until those before it have landed.
    InLine,
    /// Its result is being validated.
    Validating,
    /// It is being committed.
    Landing,
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

/// The turns to land: whoever has one or waits for one stands for a transaction.
#[derive(Debug, Default)]
struct Turns {
    /// The task that each stands for.
    names: BTreeMap<TaskId, TaskId>,
    /// Those whose process lives: whether it is their turn.
    alive: BTreeMap<TransactionId, bool>,
}

impl Turns {
    /// Puts the tasks that are about to land in the place of their turns.
    fn named(&self, mut waiters: Vec<Waiter>) -> Vec<Waiter> {
        let name = |id: &TaskId| self.names.get(id).unwrap_or(id).clone();
        waiters.retain(|waiter| {
            landed_by(&waiter.task).is_none_or(|transaction| {
                self.names.contains_key(&waiter.task) && self.alive.contains_key(&transaction)
            })
        });
        for waiter in &mut waiters {
            waiter.task = name(&waiter.task);
            let by: BTreeSet<TaskId> = waiter.blocked_by.iter().map(name).collect();
            waiter.blocked_by = by.into_iter().collect();
        }
        waiters
    }
}

/// Returns the transaction that a turn to land stands for; `None` for any other task.
fn landed_by(id: &TaskId) -> Option<TransactionId> {
    id.as_str().strip_prefix(landing::PREFIX)?.parse().ok()
}

impl Coordinator {
    /// Reads who holds what. Nothing is locked for it, so what it tells may be history a moment later.
    pub fn status(&mut self) -> Result<Status, Error> {
        let mut turns = Turns::default();
        let (landings, others): (Vec<Task>, Vec<Task>) = self
            .store
            .tasks()?
            .into_iter()
            .partition(|task| landed_by(&task.id).is_some());
        for turn in &landings {
            let is_dead = turn.standing == Standing::Lost || self.is_dead(turn);
            if let Some(transaction) = landed_by(&turn.id).filter(|_| !is_dead) {
                turns
                    .alive
                    .insert(transaction, turn.standing == Standing::Holding);
            }
        }
        let runs = self.marked_tasks()?;
        let mut tasks = Vec::new();
        for task in others {
            let status = self.task_status(task, &turns, &runs)?;
            for turn in &landings {
                let of = status.transaction.as_ref().map(|transaction| transaction.id);
                if of.is_some() && of == landed_by(&turn.id) {
                    turns.names.insert(turn.id.clone(), status.task.id.clone());
                }
            }
            tasks.push(status);
        }
        tasks.sort_by(|a, b| a.task.id.cmp(&b.task.id));
        let stock = self.providers.stock().into_iter();
        let resources = stock.map(|stock| utilisation(stock, &tasks)).collect();
        let mut waiters = turns.named(self.store.waiters()?);
        // The queue passes over the dead.
        let dead = tasks.iter().filter(|status| status.is_dead);
        let dead: BTreeSet<&TaskId> = dead.map(|status| &status.task.id).collect();
        waiters.retain(|waiter| !dead.contains(&waiter.task));
        Ok(Status {
            resources,
            root: self.root.path().to_owned(),
            tasks,
            waiters,
            worktrees: self.worktrees()?,
            worktrees_max: self.config.worktrees_max,
            kept_work: self.kept_work()?,
            unfinished: self
                .store
                .unfinished()?
                .iter()
                .map(|transaction| transaction.id)
                .collect(),
        })
    }

    fn task_status(
        &mut self,
        task: Task,
        turns: &Turns,
        runs: &BTreeSet<TaskId>,
    ) -> Result<TaskStatus, Error> {
        let transaction = self.store.current_transaction(&task.id)?;
        let staged = match &transaction {
            Some(transaction) => self.store.changes(&transaction.id)?.len(),
            None => 0,
        };
        let is_marked = match &transaction {
            Some(transaction) => contained::stat(&self.layout.run(&transaction.id))?.is_some(),
            None => true,
        };
        let is_run = runs.contains(&task.id) && is_marked;
        let turn = transaction
            .as_ref()
            .and_then(|transaction| turns.alive.get(&transaction.id));
        let state = transaction.as_ref().map(|transaction| transaction.state);
        let phase = phase(is_run, state, turn.copied(), task.standing);
        let printed = match &transaction {
            Some(transaction) if phase == Some(Phase::Validating) => self.being_printed(&transaction.id)?,
            _ => None,
        };
        Ok(TaskStatus {
            phase,
            printed,
            is_dead: self.is_dead(&task),
            is_run,
            task,
            transaction,
            staged,
        })
    }

    /// Counts what is kept under the name of its transaction alone: the rest belongs to one of these, or is no work.
    fn kept_work(&self) -> Result<usize, Error> {
        let names = disk::list(&self.layout.salvages())?;
        let is_work = |name: &OsString| {
            let name = name.to_str();
            name.is_some_and(|name| name.parse::<TransactionId>().is_ok())
        };
        Ok(names.iter().filter(|name| is_work(name)).count())
    }

    pub(super) fn is_dead(&self, task: &Task) -> bool {
        self.host.verdict(&task.owner) == Verdict::Dead
    }
}

/// Tells how far a run is, or whoever validates. `has_turn` says whether it lands or waits in line for that.
fn phase(
    is_run: bool,
    state: Option<TransactionState>,
    has_turn: Option<bool>,
    standing: Standing,
) -> Option<Phase> {
    match (state, has_turn) {
        (None, _) if is_run && standing == Standing::Waiting => Some(Phase::Waiting),
        (Some(TransactionState::Committing | TransactionState::Decided), _) if is_run => Some(Phase::Landing),
        (Some(TransactionState::Open), Some(true)) => Some(Phase::Validating),
        (Some(TransactionState::Open), Some(false)) => Some(Phase::InLine),
        (None | Some(TransactionState::Open), None) if is_run => Some(Phase::Working),
        _ => None,
    }
}
