//! A run on one line, so that many of them stay readable: how far it is, whom it waits for, what it works on.

use mirror::coordinator::{Phase, Status as State, TaskStatus, WorktreeState};
use mirror::model::{Pool, Resource, TaskId, TransactionState};
use mirror::store::{Standing, Waiter};

use super::text::plain;
use super::time;

/// How many resources a line names before it counts the rest.
const NAMED_MAX: usize = 3;

/// How much of what a run is for, mostly its command, fits on its line.
const REASON_CHARS_MAX: usize = 60;

/// Describes a run that has its locks.
pub(crate) fn going(state: &State, status: &TaskStatus, phase: Phase) -> String {
    let task = &status.task;
    // Which copy it has says nothing about its work.
    let work = task.locks.iter().map(|held| &held.lock.resource);
    let work = work.filter(|resource| !matches!(resource, Resource::Worktree(_)));
    let about = about(status, work.map(ToString::to_string).collect());
    if status.is_dead {
        let state = status.transaction.as_ref().map(|transaction| transaction.state);
        let what = if state == Some(TransactionState::Decided) {
            "decided, but not applied yet (`mirror recover`)"
        } else {
            "dead, cleared by the next command"
        };
        return format!("{}  {what}, {about}\n", task.id);
    }
    if task.standing == Standing::Lost {
        return format!("{}  lost its locks, {about}\n", task.id);
    }
    let process = task
        .owner
        .process
        .map(|process| format!(", process {}", process.pid));
    format!(
        "{}  {}{}, since {}, {about}\n",
        task.id,
        how_far(state, status, phase),
        process.unwrap_or_default(),
        time::local(task.since),
    )
}

/// Describes a run that waits for its locks.
pub(crate) fn waiting(state: &State, status: &TaskStatus, waiter: &Waiter) -> String {
    // That every run waits for a working copy as well says nothing about it.
    let locks = waiter.wants.iter().map(|lock| lock.resource.to_string());
    let shares = waiter.wants.shares();
    let shares = shares.filter(|share| share.pool() != Pool::Worktrees);
    let wants = locks.chain(shares.map(ToString::to_string));
    let whom = match waiter.only {
        Some(Pool::Worktrees) => working_copy(state),
        _ => blockers(waiter),
    };
    format!(
        "{}  waits for {whom}, since {}, {}\n",
        waiter.task,
        time::local(waiter.since),
        about(status, wants.collect())
    )
}

/// Says of a run that waits for a working copy alone how many there are: who has them is no help.
fn working_copy(state: &State) -> String {
    let copies = state.worktrees.iter();
    let in_use = copies
        .filter(|worktree| worktree.state == WorktreeState::InUse)
        .count();
    format!("a working copy ({in_use} of {} in use)", state.worktrees_max)
}

/// Names the first of those in the way of a waiter.
pub(crate) fn blockers(waiter: &Waiter) -> String {
    let total = waiter.blocked_by.len();
    let names: Vec<&str> = waiter.blocked_by.iter().map(TaskId::as_str).collect();
    let first = names[..total.min(NAMED_MAX)].join(", ");
    match (waiter.and_others, total > NAMED_MAX) {
        (true, _) => format!("{first} and others"),
        (false, true) => format!("{first} and {} more", total - NAMED_MAX),
        (false, false) => first,
    }
}

/// Says how far a task is that has its locks.
pub(crate) fn how_far(state: &State, status: &TaskStatus, phase: Phase) -> String {
    let task = &status.task.id;
    let waiter = state.waiters.iter().find(|waiter| waiter.task == *task);
    match phase {
        Phase::Waiting => "waiting".to_owned(),
        Phase::Working => match waiter {
            // It asks for more on the way.
            Some(waiter) => format!("working, waits for {}", blockers(waiter)),
            None => "working".to_owned(),
        },
        Phase::InLine => match waiter {
            Some(waiter) if !waiter.blocked_by.is_empty() => {
                format!("in line to land behind {}", blockers(waiter))
            }
            _ => "in line to land".to_owned(),
        },
        Phase::Validating => "validating".to_owned(),
        Phase::Landing => "landing".to_owned(),
    }
}

fn about(status: &TaskStatus, work: Vec<String>) -> String {
    let total = work.len();
    let mut text = work.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    if total > NAMED_MAX {
        text = format!("{text} and {} more", total - NAMED_MAX);
    }
    let Some(reason) = &status.task.reason else {
        return text;
    };
    let mut letters = reason.chars();
    let mut shown: String = letters.by_ref().take(REASON_CHARS_MAX).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    format!("{text}: {}", plain(&shown))
}
