//! `mirror cleanup`

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use mirror::coordinator::{Cleaned, CleanupRequest};
use mirror::model::{TaskId, TransactionId};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::arguments::{milliseconds, span};
use crate::cli::document::{self, short_branch};
use crate::cli::exit_code::ExitCode;
use crate::cli::text::counted;

const EXAMPLES: &str = "\
Examples:
  mirror cleanup
  mirror cleanup --dry-run --older-than 0s
  mirror cleanup --force";

/// Remove what ended tasks and crashed programs have left
///
/// Nothing that somebody made is destroyed: staged changes stay with their task, and a branch stays as long as its work is
/// nowhere else. What a commit displaced, and git does not know, is kept for `mirror undo`: as it is for an hour, then packed,
/// as long and as large as `history.keep_days` and `history.max_mib` allow. Some of this happens by itself, after other
/// commands have answered.
///
/// With --older-than everything goes that is kept for looking back, and that is older: displaced files (what git did not
/// record cannot be undone any more), quarantine, and lines of the history (packed ones 1024 at a time). What is
/// staged, decided, or landed and not merged is never concerned.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Cleanup {
    /// Remove displaced files whatever their age, and working copies that nobody uses, but no quarantine and no history
    #[arg(long)]
    force: bool,

    /// Remove displaced files, quarantine and history that are at least this old, such as 10m or 7d
    #[arg(long, value_name = "SPAN", value_parser = span, conflicts_with = "force")]
    older_than: Option<Duration>,

    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Document {
    dry_run: bool,
    reaped: Vec<TaskId>,
    transactions: Vec<TransactionId>,
    kept: Vec<TransactionId>,
    dropped: Vec<TransactionId>,
    quarantines: Vec<String>,
    branches: Vec<String>,
    kept_branches: Vec<String>,
    sockets: usize,
    worktrees: Vec<u32>,
    kept_work: usize,
    events: usize,
    packed_events: usize,
    quarantined: Vec<String>,
}

impl Cleanup {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let request = CleanupRequest {
            force: self.force,
            older_than_ms: self.older_than.map(milliseconds),
            dry_run: self.dry_run,
        };
        let cleaned = context.coordinator()?.cleanup(&request)?;
        let document = document(&cleaned, self.dry_run);
        context
            .output
            .done(&document, || describe(&document, self.dry_run))?;
        Ok(ExitCode::Done)
    }
}

fn document(cleaned: &Cleaned, dry_run: bool) -> Document {
    let short = |names: &[String]| names.iter().filter_map(|name| short_branch(Some(name))).collect();
    Document {
        dry_run,
        reaped: cleaned.reaped.clone(),
        transactions: cleaned.directories.clone(),
        kept: cleaned.kept.clone(),
        dropped: cleaned.dropped.clone(),
        quarantines: cleaned.quarantines.clone(),
        branches: short(&cleaned.branches),
        kept_branches: short(&cleaned.kept_branches),
        sockets: cleaned.sockets,
        worktrees: cleaned.worktrees.clone(),
        kept_work: cleaned.kept_work,
        events: cleaned.events,
        packed_events: cleaned.packed_events,
        quarantined: cleaned.quarantined.iter().map(document::path).collect(),
    }
}

fn describe(cleaned: &Document, dry_run: bool) -> String {
    let removed = [
        (cleaned.transactions.len(), "ended transaction"),
        (cleaned.quarantines.len(), "quarantined transaction"),
        (cleaned.branches.len(), "merged task branch"),
        (cleaned.sockets, "dead socket"),
        (cleaned.worktrees.len(), "unused working copy"),
        (cleaned.kept_work, "old work of a run"),
        (cleaned.events, "old event"),
    ];
    let removed: Vec<String> = removed
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, noun)| counted(number, noun))
        .collect();
    let verb = if dry_run { "Would remove" } else { "Removed" };
    let mut text = match removed.as_slice() {
        [] if cleaned.kept.is_empty() && cleaned.dropped.is_empty() && cleaned.packed_events == 0 => {
            "Nothing to remove.\n".to_owned()
        }
        [] => String::new(),
        some => format!("{verb} {}.\n", some.join(", ")),
    };
    if !cleaned.kept.is_empty() {
        let verb = if dry_run { "would be kept" } else { "are kept" };
        let count = counted(cleaned.kept.len(), "transaction");
        let _ = writeln!(text, "The files that {count} displaced {verb} for undo.");
    }
    if !cleaned.dropped.is_empty() {
        let verb = if dry_run { "Would drop" } else { "Dropped" };
        let count = counted(cleaned.dropped.len(), "transaction");
        let _ = writeln!(
            text,
            "{verb} the files that {count} displaced: undo cannot bring them back."
        );
    }
    if cleaned.packed_events > 0 {
        let _ = writeln!(text, "Packed {}.", counted(cleaned.packed_events, "old event"));
    }
    for task in &cleaned.reaped {
        let verb = if dry_run { "would be freed" } else { "are free" };
        let _ = writeln!(text, "The locks of {task} {verb}: its lease has ended.");
    }
    for branch in &cleaned.kept_branches {
        let _ = writeln!(text, "The branch {branch} stays: its work is in no other branch.");
    }
    for path in &cleaned.quarantined {
        let _ = writeln!(text, "Foreign bytes of {path} are now in .mirror/quarantine.");
    }
    text
}
