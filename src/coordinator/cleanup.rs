//! `cleanup`: removes what ended transactions, dead waiters and ended leases leave.
//!
//! Nothing that somebody made is destroyed: what a task has staged stays, a branch stays for as long as its work is in no
//! other branch, and the slots of a done transaction are searched for foreign bytes once more before they go. What it
//! displaced, unless git knows it, stays for undo in a file of its own.

use crate::coordinator::{Coordinator, Error, in_place, left_branches, recover, settle, upkeep, validate};
use crate::disk::{self, contained, fault, lock::FileLock};
use crate::model::{RepoPath, TaskId, TransactionId, TransactionState, Verdict};
use crate::store::{Release, Standing, Transaction};
use crate::workspace::manifest::{BYTES_MAX, Manifest};
use crate::workspace::slots::Slots;
use crate::workspace::{TransactionDirectory, kept};

/// How long the displaced objects of a done transaction are kept unless the user says otherwise, in milliseconds. A program
/// that still has a displaced file open may write to it for a while; its bytes are found when the directory goes.
const KEEP_MS: u64 = 60 * 60 * 1000;

/// How many directories a commit collects at its end: enough to keep up, too few to be felt.
const COLLECTED_PER_COMMIT: usize = 4;

/// With more directories than this, commits do not leave any of them for later.
const DIRECTORIES_MANY: usize = 256;

/// What to clean.
#[derive(Debug, Clone, Copy, Default)]
pub struct CleanupRequest {
    /// Also what would be kept for a while longer.
    pub force: bool,
    /// Drop everything that is kept for looking back and for undo, and is at least this old, in milliseconds: displaced files,
    /// quarantine, history. `None` keeps it for as long as the configuration says.
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
    /// Those of them whose displaced files are kept in one file each.
    pub kept: Vec<TransactionId>,
    /// Transactions whose displaced files are kept no more.
    pub dropped: Vec<TransactionId>,
    /// Directories of the quarantine that are gone.
    pub quarantines: Vec<String>,
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
    /// Lines of the history that were too old, or for which there was no room.
    pub events: usize,
    /// Lines of the history that are packed now.
    pub packed_events: usize,
    /// Paths with foreign bytes, now in quarantine.
    pub quarantined: Vec<RepoPath>,
}

impl Coordinator {
    /// Cleans up. Safe at any time, and to repeat.
    pub fn cleanup(&mut self, request: &CleanupRequest) -> Result<Cleaned, Error> {
        let _commit_lock = self.lock_commits()?;
        let mut cleaned = Cleaned::default();
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
            let held = self.held_beside_paths()?;
            self.providers.clean_up(&held)?;
        }
        let extent = Extent {
            keep_ms: if request.force {
                0
            } else {
                request.older_than_ms.unwrap_or(KEEP_MS)
            },
            limit: usize::MAX,
            dry_run: request.dry_run,
            displaced: if request.force || request.older_than_ms.is_some() {
                Displaced::Drop
            } else {
                Displaced::Keep
            },
        };
        directories(self, &extent, &mut cleaned)?;
        upkeep::all(self, request, &mut cleaned)?;
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
        directories(
            self,
            &Extent::some(COLLECTED_PER_COMMIT, Displaced::Leave),
            &mut cleaned,
        )?;
        Ok(cleaned.quarantined)
    }
}

/// Which directories are collected, and how.
pub(super) struct Extent {
    keep_ms: u64,
    limit: usize,
    dry_run: bool,
    displaced: Displaced,
}

/// What becomes of displaced files that git does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Displaced {
    /// They go into one file, and the directory goes.
    Keep,
    /// They go with the directory.
    Drop,
    /// The directory stays for somebody who has the time, unless there are too many.
    Leave,
}

impl Extent {
    /// A few directories that are old enough.
    pub(super) fn some(limit: usize, displaced: Displaced) -> Self {
        Self {
            keep_ms: KEEP_MS,
            limit,
            dry_run: false,
            displaced,
        }
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
        let directory = coordinator.layout.transaction(&transaction.id);
        // Whoever was killed in between has a row and no directory yet.
        disk::create_dir_all(directory.path())?;
        let Some(_own) = FileLock::try_acquire(&directory.own_lock())? else {
            continue;
        };
        // One that works in place puts back what it has changed first, when it goes on or somebody finds it dead.
        let is_empty = coordinator.store.changes(&transaction.id)?.is_empty()
            && !in_place::is_kept(coordinator, &transaction.id)?;
        if is_empty && transaction.state == TransactionState::Open {
            settle::roll_back_because(coordinator, &transaction, Some("its locks were lost"))?;
            if !cleaned.reaped.contains(&task.id) {
                cleaned.reaped.push(task.id);
            }
        }
    }
    Ok(())
}

pub(super) fn directories(
    coordinator: &mut Coordinator,
    extent: &Extent,
    cleaned: &mut Cleaned,
) -> Result<(), Error> {
    let ids = coordinator.layout.transaction_ids()?;
    let leaves = extent.displaced == Displaced::Leave && ids.len() <= DIRECTORIES_MANY;
    for id in ids {
        if cleaned.directories.len() >= extent.limit {
            break;
        }
        let row = coordinator.store.transaction(&id)?;
        if !has_ended(row.as_ref()) || !is_old(coordinator, &id, extent.keep_ms)? {
            continue;
        }
        // What git recorded it can give back.
        let done = row.as_ref().filter(|row| row.state == TransactionState::Done);
        let is_only_here = done.is_some_and(|row| row.new.is_none());
        if is_only_here && leaves {
            continue;
        }
        let directory = coordinator.layout.transaction(&id);
        // Whoever works on it at this moment knows better.
        let Some(_own) = FileLock::try_acquire(&directory.own_lock())? else {
            continue;
        };
        // Whole, or not at all: what was displaced is taken out of it first.
        if !extent.dry_run && !validate::remove_left(&directory)?.is_empty() {
            continue;
        }
        let keeps = is_only_here && extent.displaced != Displaced::Drop;
        if !extent.dry_run {
            if done.is_some()
                && let Some((manifest, _)) = recover::read_manifest(coordinator, id)?
            {
                cleaned
                    .quarantined
                    .extend(settle::tidy(coordinator, &manifest, &directory)?);
                if keeps {
                    keep(coordinator, &manifest, &directory)?;
                }
            }
            fault::point("cleanup.kept");
            disk::remove_dir_all(directory.path())?;
            fault::point("cleanup.removed");
            if row.is_some() {
                coordinator.store.forget(&id)?;
            }
        }
        match (is_only_here, keeps) {
            (true, true) => cleaned.kept.push(id),
            (true, false) => cleaned.dropped.push(id),
            (false, _) => {}
        }
        cleaned.directories.push(id);
    }
    Ok(())
}

/// Keeps what a transaction displaced in a file of its own, so that it can be undone when its directory is gone.
fn keep(
    coordinator: &Coordinator,
    manifest: &Manifest,
    directory: &TransactionDirectory,
) -> Result<(), Error> {
    // As it was decided, byte for byte.
    let Some(bytes) = disk::read_bounded(&directory.manifest(), BYTES_MAX)? else {
        return Ok(());
    };
    let slots = Slots::open(directory.path())?;
    let is_packed = coordinator.config.compression;
    let id = &manifest.transaction;
    Ok(kept::keep(
        &coordinator.layout,
        id,
        &bytes,
        &manifest.operations,
        &slots,
        is_packed,
    )?)
}

/// A directory without a row is an orphan: the row is made first and goes last.
pub(super) fn has_ended(row: Option<&Transaction>) -> bool {
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
    for left in left_branches::list(coordinator)? {
        if !left.is_merged {
            cleaned.kept_branches.push(left.name);
            continue;
        }
        if let (Some(git), false) = (&coordinator.git, dry_run) {
            git.delete_branch(&left.name, left.tip)?;
        }
        cleaned.branches.push(left.name);
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
    for name in disk::list(&coordinator.layout.salvages())? {
        let path = coordinator.layout.salvages().join(&name);
        let age_ms = contained::stat(&path)?.map_or(0, |stat| {
            i128::from(coordinator.host.now().wall.ms) - stat.mtime_ns / 1_000_000
        });
        if age_ms < keep_ms {
            continue;
        }
        if !request.dry_run {
            disk::remove_any(&path)?;
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
