//! `mirror undo`

use std::time::Duration;

use clap::Args;
use mirror::coordinator::{Receipt, UndoRequest, Undone};
use mirror::model::{ObjectId, TaskId, Token, TransactionId};
use mirror::store::Wait;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::arguments::{TaskArgument, span};
use crate::cli::command::commit::DETACHED;
use crate::cli::document::{ChangeDocument, short_branch};
use crate::cli::exit_code::ExitCode;
use crate::cli::observer::Narrator;
use crate::cli::output;
use crate::cli::text::{self, counted, short};

const EXAMPLES: &str = "\
Examples:
  mirror undo -t agent-1                       what agent-1 committed last
  mirror undo -t agent-1 --dry-run
  mirror undo 0199b3c2                         what anybody committed, as `mirror history` shows it
  mirror undo -t agent-1 0199b3c2-6e1d-7c40-8a52-3f1d6b0e9a77 -m 'parser: back to one comma'";

/// Take back what a task has committed: its own paths, all of them or none
///
/// What git recorded as a commit is taken back by another commit on the same branch; what a branch brought to its target is
/// taken from the target again. What git did not record is put back in the working tree, for as long as the displaced
/// files are kept, as `mirror cleanup --help` says. A path that has changed since is refused by name. An undo is a commit
/// itself, and the last one of its task: undoing twice is a redo. For the commit before that, name its transaction.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Undo {
    #[command(flatten)]
    task: TaskArgument,

    /// The transaction, or the first digits of it, as `mirror history` shows it; without it, the one that the task has committed last
    #[arg(value_name = "TRANSACTION")]
    transaction: Option<String>,

    /// The message of the commit that takes it back, instead of `Undo` with the title of what is undone
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// Wait this long for others who hold the paths, such as 30s
    #[arg(long, value_name = "SPAN", value_parser = span)]
    wait: Option<Duration>,

    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Document {
    /// Who did it: the task itself, unless it was busy.
    task: TaskId,
    undone: TransactionId,
    outcome: &'static str,
    transaction: Option<TransactionId>,
    changes: Vec<ChangeDocument>,
    commit: Option<ObjectId>,
    branch: Option<String>,
    target: Option<String>,
    token: Option<Token>,
    dry_run: bool,
}

impl Undo {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let mut coordinator = context.coordinator()?;
        let (task, transaction) = match self.transaction.as_deref() {
            Some(named) => {
                let task = self.task.given(&context.environment)?;
                let (task, transaction) = coordinator.committed_as(task.as_ref(), named)?;
                (task, Some(transaction))
            }
            None => (self.task.required(&context.environment)?, None),
        };
        let request = UndoRequest {
            task,
            transaction,
            message: self.message,
            wait: self.wait.map_or(Wait::Never, Wait::UpTo),
            dry_run: self.dry_run,
        };
        let undone = coordinator.undo(&request, &mut Narrator::new(context.output))?;
        let receipt = undone.receipt.as_ref();
        for path in receipt.map(|receipt| &receipt.quarantined).into_iter().flatten() {
            let kept =
                format!("Warning: somebody wrote to {path} meanwhile; those bytes are in .mirror/quarantine");
            context.output.notice(&kept);
        }
        if context.output.quiet && !context.output.json {
            if let Some(commit) = receipt.and_then(|receipt| receipt.commit) {
                output::text(&format!("{commit}\n"))?;
            }
            return Ok(ExitCode::Done);
        }
        let document = Document::new(&request, &undone);
        context
            .output
            .answer(&document, || sentence(&request, &undone, coordinator.has_git()))?;
        Ok(ExitCode::Done)
    }
}

impl Document {
    fn new(request: &UndoRequest, undone: &Undone) -> Self {
        let receipt = undone.receipt.as_ref();
        let name = |of: fn(&Receipt) -> Option<&str>| short_branch(receipt.and_then(of));
        Self {
            task: receipt.map_or_else(|| request.task.clone(), |receipt| receipt.task.clone()),
            undone: undone.undone,
            outcome: match (undone.changes.is_empty(), request.dry_run) {
                (true, _) => "nothing",
                (false, true) => "would-undo",
                (false, false) => "undone",
            },
            transaction: receipt.map(|receipt| receipt.transaction),
            changes: ChangeDocument::all(&undone.changes),
            commit: receipt.and_then(|receipt| receipt.commit),
            branch: name(|receipt| receipt.branch.as_deref()),
            target: name(|receipt| receipt.target.as_deref()),
            token: receipt.map(|receipt| receipt.token),
            dry_run: request.dry_run,
        }
    }
}

fn on(target: &str) -> &str {
    if target == DETACHED {
        "a detached HEAD"
    } else {
        target
    }
}

fn sentence(request: &UndoRequest, undone: &Undone, has_git: bool) -> String {
    if undone.changes.is_empty() {
        return "Nothing to undo: every path holds what it held before.\n".to_owned();
    }
    let changes = counted(undone.changes.len(), "change");
    if request.dry_run {
        return format!(
            "Would undo {} with {changes}:\n{}",
            undone.undone,
            text::changes(&undone.changes)
        );
    }
    let recorded = undone
        .recorded
        .as_ref()
        .map(|commit| format!(", commit {}", short(commit)));
    let what = format!(
        "{changes} of {} ({}{})",
        request.task,
        undone.undone,
        recorded.unwrap_or_default()
    );
    let commit = undone.receipt.as_ref().and_then(|receipt| receipt.commit);
    let target = undone
        .receipt
        .as_ref()
        .and_then(|receipt| short_branch(receipt.target.as_deref()));
    match (commit, target) {
        (Some(commit), Some(target)) => format!("Undid {what} on {} as {}\n", on(&target), short(&commit)),
        _ if has_git => format!("Undid {what}, which git does not record.\n"),
        _ => format!("Undid {what}.\n"),
    }
}
