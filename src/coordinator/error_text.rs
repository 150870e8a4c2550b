//! Lists of what is concerned, short enough for a message.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use crate::git::MergeConflict;
use crate::model::{Conflict, RepoPath, TaskId, shown};
use crate::store::CONFLICTS_MAX;

/// How many paths or conflicts a message names before it counts the rest.
const NAMED_MAX: usize = 5;

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let total = names.len();
    let mut text = names.take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    if total > NAMED_MAX {
        text = format!("{text} and {} more", total - NAMED_MAX);
    }
    text
}

/// Says what went wrong in one line, down to the first cause.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub(super) fn path_list(paths: &[RepoPath]) -> String {
    listed(paths.iter().map(ToString::to_string))
}

pub(super) fn merge_list(conflicts: &[MergeConflict]) -> String {
    listed(conflicts.iter().map(|conflict| conflict.path.to_string()))
}

pub(super) fn cycle_text(cycle: &[TaskId]) -> String {
    let again = cycle.first().map(ToString::to_string);
    cycle
        .iter()
        .map(ToString::to_string)
        .chain(again)
        .collect::<Vec<_>>()
        .join(" waits for ")
}

pub(super) fn held_text(conflicts: &[Conflict], waited: Option<Duration>) -> String {
    let total = conflicts.len();
    let names = conflicts.iter().map(|conflict| {
        let act = if conflict.waiting {
            "is waited for by"
        } else {
            "is held by"
        };
        format!("{} {act} {}", conflict.resource, conflict.holder.task)
    });
    let text = if total < CONFLICTS_MAX {
        listed(names)
    } else {
        // Nobody has counted the rest.
        names.take(NAMED_MAX).collect::<Vec<_>>().join(", ") + " and more"
    };
    still(text, waited)
}

/// Says of a run what is in its way: which working copies others have means nothing to anybody.
pub(super) fn run_held_text(conflicts: &[Conflict], waited: Option<Duration>, copies: Option<u32>) -> String {
    let Some(copies) = copies else {
        return held_text(conflicts, waited);
    };
    let all = if copies == 1 {
        "The only working copy is in use".to_owned()
    } else {
        format!("All {copies} working copies are in use")
    };
    let is_kept = conflicts.iter().any(|conflict| conflict.waiting);
    let kept = if is_kept {
        " or set aside for runs that came earlier"
    } else {
        ""
    };
    still(format!("{all}{kept}"), waited)
}

fn still(text: String, waited: Option<Duration>) -> String {
    match waited {
        None => text,
        Some(waited) => format!("{text}, still after {:.1} s", waited.as_secs_f64()),
    }
}

/// Says where a program was looked for.
pub(super) fn places_text(places: &[PathBuf]) -> String {
    match places {
        [] => " in any directory of PATH".to_owned(),
        places => format!(": there is no {}", listed(places.iter().map(shown))),
    }
}

/// Lists what there is instead.
pub(super) fn processes_text(pids: &[u32]) -> String {
    let shown: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let word = if pids.len() == 1 { "process" } else { "processes" };
    format!("{word} {}", shown.join(", "))
}

pub(super) fn known_text(known: &[String]) -> String {
    if known.is_empty() {
        String::new()
    } else {
        format!(", only {}", known.join(", "))
    }
}

/// What a command printed, on lines of its own.
pub(super) fn printed_text(output: &str, left_out: u64) -> String {
    let printed = output.trim_end().trim_start_matches('\n');
    match (printed, left_out) {
        ("", _) => String::new(),
        (printed, 0) => format!("\n{printed}"),
        (printed, _) => format!("\n[{left_out} bytes before this are left out]\n{printed}"),
    }
}
