//! `cleanup`: removes what ended transactions, dead waiters and ended leases leave.
//!
//! Nothing that somebody made is destroyed: what a task has staged stays, a branch stays for as long as its work is in no
//! other branch, and the slots of a done transaction are searched for foreign bytes once more before they go.

use crate::coordinator::{Coordinator, Error, recover, settle};
use crate::disk::{self, contained, lock::FileLock};
use crate::model::{RepoPath, TaskId, TransactionId, TransactionState, Verdict};
use crate::store::{Release, Standing, Transaction};

/// How long the displaced objects of a done transaction are kept unless the user says otherwise, in milliseconds. A program
/// that still has a displaced file open may write to it for a while; its bytes are found when the directory goes.
const KEEP_MS: u64 = 60 * 60 * 1000;

/// How many directories a commit collects at its end: enough to keep up, too few to be felt.
const COLLECTED_PER_COMMIT: usize = 4;

/// The beginning of the full name of every task's own branch.
const BRANCHES: &str = "refs/heads/mirror/";

/// What to clean.
#[derive(Debug, Clone, Copy, Default)]
pub struct CleanupRequest {
    /// Also what would be kept for a while longer.
    pub force: bool,
    /// How old something has to be, in milliseconds; `None` is an hour.
    pub older_than_ms: Option<u64>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was cleaned, or would be.
#[derive(Debug, Clone, Default)]
pub struct Cleaned {
    /// Tasks whose lease had ended; their locks are free.
    pub reaped: Vec<TaskId>,
    /// Transactions whose directory is gone.
    pub directories: Vec<TransactionId>,
    /// Branches that are gone.
    pub branches: Vec<String>,
    /// Branches that stay, because their work is in no other branch.
    pub kept_branches: Vec<String>,
    /// Sockets of waiters that are no more.
    pub sockets: usize,
    /// Working copies of the pool that are gone.
    pub worktrees: Vec<u32>,
    /// Kept works of runs that are gone.
    pub kept_work: usize,
    /// Lines of the history that were too old.
    pub events: usize,
    /// Paths with foreign bytes, now in quarantine.
    pub quarantined: Vec<RepoPath>,
}

impl Coordinator {
    /// Cleans up. Safe at any time, and to repeat.
    pub fn cleanup(&mut self, request: &CleanupRequest) -> Result<Cleaned, Error> {
        let _commit_lock = self.lock_commits()?;
        let mut cleaned = Cleaned::default();
        let now = self.host.now();
        if request.dry_run {
            let ended = self
                .store
                .tasks()?
                .into_iter()
                .filter(|task| task.expires_in_ms < 0);
            cleaned.reaped = ended.map(|task| task.id).collect();
        } else {
            cleaned.reaped = self.store.reap()?;
            end_lost(self, &mut cleaned)?;
            let day_ms = 24 * 60 * 60 * 1000;
            let keep_ms = i64::from(self.config.keep_days) * day_ms;
            cleaned.events = self.store.trim_events(now.wall.ms - keep_ms)?;
        }
        let keep_ms = if request.force {
            0
        } else {
            request.older_than_ms.unwrap_or(KEEP_MS)
        };
        directories(self, keep_ms, usize::MAX, request.dry_run, &mut cleaned)?;
        branches(self, request.dry_run, &mut cleaned)?;
        sockets(self, request.dry_run, &mut cleaned)?;
        let kept = if request.force {
            self.config.worktrees_min
        } else {
            self.config.worktrees_max
        };
        kept_work(self, request, &mut cleaned)?;
        cleaned.worktrees = self.dispose_worktrees(kept, request.dry_run)?;
        self.store.after_command();
        Ok(cleaned)
    }

    /// Collects a few directories of transactions that were done long ago. Called at the end of a commit.
    pub(super) fn collect_some(&mut self) -> Result<Vec<RepoPath>, Error> {
        let mut cleaned = Cleaned::default();
        directories(self, KEEP_MS, COLLECTED_PER_COMMIT, false, &mut cleaned)?;
        Ok(cleaned.quarantined)
    }
}

/// Ends tasks that lost their lease, have nothing staged, and whose owner does not come back.
fn end_lost(coordinator: &mut Coordinator, cleaned: &mut Cleaned) -> Result<(), Error> {
    for task in coordinator.store.tasks()? {
        let is_gone = task.expires_in_ms < 0 || coordinator.host.verdict(&task.owner) == Verdict::Dead;
        if task.standing != Standing::Lost || !is_gone {
            continue;
        }
        let Some(transaction) = coordinator.store.current_transaction(&task.id)? else {
            // The answer is that it lost everything, which is known.
            drop(coordinator.store.release(&task.id, &Release::All));
            continue;
        };
        let Some(_own) = FileLock::try_acquire(&coordinator.layout.transaction(&transaction.id).own_lock())?
        else {
            continue;
        };
        let is_empty = coordinator.store.changes(&transaction.id)?.is_empty();
        if is_empty && transaction.state == TransactionState::Open {
            settle::roll_back(coordinator, &transaction)?;
            if !cleaned.reaped.contains(&task.id) {
                cleaned.reaped.push(task.id);
            }
        }
    }
    Ok(())
}

fn directories(
    coordinator: &mut Coordinator,
    keep_ms: u64,
    limit: usize,
    dry_run: bool,
    cleaned: &mut Cleaned,
) -> Result<(), Error> {
    for id in coordinator.layout.transaction_ids()? {
        if cleaned.directories.len() >= limit {
            break;
        }
        let row = coordinator.store.transaction(&id)?;
        if !has_ended(row.as_ref()) || !is_old(coordinator, &id, keep_ms)? {
            continue;
        }
        let directory = coordinator.layout.transaction(&id);
        // Whoever works on it at this moment knows better.
        let Some(_own) = FileLock::try_acquire(&directory.own_lock())? else {
            continue;
        };
        if !dry_run {
            if row
                .as_ref()
                .is_some_and(|row| row.state == TransactionState::Done)
                && let Some((manifest, _)) = recover::read_manifest(coordinator, id)?
            {
                cleaned
                    .quarantined
                    .extend(settle::tidy(coordinator, &manifest, &directory)?);
            }
            disk::remove_dir_all(directory.path())?;
            if row.is_some() {
                coordinator.store.forget(&id)?;
            }
        }
        cleaned.directories.push(id);
    }
    Ok(())
}

/// A directory without a row is an orphan: the row is made first and goes last.
fn has_ended(row: Option<&Transaction>) -> bool {
    row.is_none_or(|row| matches!(row.state, TransactionState::Done | TransactionState::RolledBack))
}

fn is_old(coordinator: &Coordinator, id: &TransactionId, keep_ms: u64) -> Result<bool, Error> {
    if keep_ms == 0 {
        return Ok(true);
    }
    let Some(stat) = contained::stat(coordinator.layout.transaction(id).path())? else {
        return Ok(true);
    };
    let age_ms = i128::from(coordinator.host.now().wall.ms) - stat.mtime_ns / 1_000_000;
    Ok(age_ms >= i128::from(keep_ms))
}

fn branches(coordinator: &mut Coordinator, dry_run: bool, cleaned: &mut Cleaned) -> Result<(), Error> {
    let Some(git) = &coordinator.git else {
        return Ok(());
    };
    let head = match git.head()? {
        crate::git::Head::Branch { tip, .. } => tip,
        crate::git::Head::Detached { tip } => Some(tip),
    };
    for (name, tip) in git.branches(BRANCHES)? {
        let id = name
            .rsplit('/')
            .next()
            .and_then(|id| id.parse::<TransactionId>().ok());
        let row = match id {
            Some(id) => coordinator.store.transaction(&id)?,
            None => None,
        };
        if row.as_ref().is_some_and(|row| !has_ended(Some(row))) {
            continue;
        }
        let target = row.and_then(|row| row.target);
        let target = target
            .map(|target| git.tip(&target))
            .transpose()?
            .flatten()
            .or(head);
        let is_merged = match target {
            Some(target) => git.is_ancestor(tip, target)?,
            None => false,
        };
        if !is_merged {
            cleaned.kept_branches.push(name);
            continue;
        }
        if !dry_run {
            git.delete_branch(&name, tip)?;
        }
        cleaned.branches.push(name);
    }
    Ok(())
}

/// Removes the work of runs that was kept aside and that nobody has asked for in all the time that the history is kept.
fn kept_work(
    coordinator: &Coordinator,
    request: &CleanupRequest,
    cleaned: &mut Cleaned,
) -> Result<(), Error> {
    let keep_ms = i128::from(coordinator.config.keep_days) * 24 * 60 * 60 * 1000;
    for name in disk::list(&coordinator.layout.all_kept())? {
        let path = coordinator.layout.all_kept().join(&name);
        let age_ms = contained::stat(&path)?.map_or(0, |stat| {
            i128::from(coordinator.host.now().wall.ms) - stat.mtime_ns / 1_000_000
        });
        if age_ms < keep_ms {
            continue;
        }
        if !request.dry_run {
            disk::remove_dir_all(&path)?;
        }
        cleaned.kept_work += 1;
    }
    Ok(())
}

fn sockets(coordinator: &mut Coordinator, dry_run: bool, cleaned: &mut Cleaned) -> Result<(), Error> {
    let directory = coordinator.layout.wake();
    // Names first: a socket that is made meanwhile is not in the list, and one whose ticket is queued later stays.
    let names = disk::list(&directory)?;
    let alive: Vec<String> = coordinator
        .store
        .tickets()?
        .iter()
        .map(ToString::to_string)
        .collect();
    for name in names {
        let path = directory.join(&name);
        let is_recent = contained::stat(&path)?.is_some_and(|stat| {
            i128::from(coordinator.host.now().wall.ms) - stat.mtime_ns / 1_000_000 < RECENT_MS
        });
        if is_recent || alive.iter().any(|ticket| name.to_str() == Some(ticket)) {
            continue;
        }
        if !dry_run {
            disk::remove_file_if_there(&path)?;
        }
        cleaned.sockets += 1;
    }
    Ok(())
}

/// A waiter listens before it is queued; its socket is left alone for that long, in milliseconds.
const RECENT_MS: i128 = 60_000;
