//! `mirror commit`

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use mirror::coordinator::{CommitRequest, MergeKind, Outcome, Receipt};
use mirror::model::{ObjectId, TaskId, Token, TransactionId};
use serde::Serialize;

use crate::cli::arguments::{TaskArgument, span};
use crate::cli::document::{self, ChangeDocument, short_branch};
use crate::cli::exit_code::ExitCode;
use crate::cli::observer::Narrator;
use crate::cli::output;
use crate::cli::signals::{self, Signals};
use crate::cli::text::{counted, short};
use crate::cli::{Context, arguments, child};

const EXAMPLES: &str = "\
Examples:
  mirror commit -t agent-1 -m 'parser: accept trailing commas'
  mirror commit -t agent-1 -m 'es6' --validate 'npm test'
  mirror commit -t agent-1                     apply the changes, and leave them uncommitted in git";

/// Apply what a task has staged, all of it or nothing, and give its locks back
///
/// When it answers, the result survives a crash and power loss. A refusal leaves everything as it was: the files, the
/// staged changes and the locks.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Commit {
    #[command(flatten)]
    task: TaskArgument,

    /// Record exactly these changes as a git commit with this message
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// Run this in a copy of the exact result, and commit only if it succeeds
    #[arg(long, value_name = "COMMAND")]
    validate: Option<String>,

    /// Of an optimistic task: how long to wait for those who hold what is staged, such as 5s; half a minute otherwise
    #[arg(long, value_name = "SPAN", value_parser = span)]
    wait: Option<Duration>,
}

/// The target where no branch is checked out.
pub(crate) const DETACHED: &str = "HEAD";

/// What a commit came to.
#[derive(Serialize)]
pub(super) struct Document {
    task: TaskId,
    transaction: TransactionId,
    outcome: &'static str,
    changes: Vec<ChangeDocument>,
    commit: Option<ObjectId>,
    merge: Option<&'static str>,
    branch: Option<String>,
    target: Option<String>,
    token: Token,
    quarantined: Vec<String>,
}

impl Commit {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let task = self.task.required(&context.environment)?;
        let request = CommitRequest {
            message: self.message,
            validate: arguments::validation(self.validate)?,
            wait: self.wait,
        };
        let signals = Signals::listen()?;
        let mut coordinator = context.coordinator()?;
        // Opening may take long: it clears up after others.
        signals.be_patient();
        coordinator.interrupted_by(signals.interrupter());
        coordinator.guarded_by(child::guard().context("Failed finding this program")?);
        let mut narrator = Narrator::new(context.output);
        let committed = coordinator.commit(&task, &request, &mut narrator);
        let kept = narrator.unsaid_kept();
        drop(narrator);
        let receipt = match committed {
            Ok(receipt) => receipt,
            Err(error) => return signals::refuse(context.output, signals.ended_by(), error.into(), kept),
        };
        warn_of_quarantined(context, &receipt);
        if context.output.quiet && !context.output.json {
            if let Some(commit) = receipt.commit {
                output::text(&format!("{commit}\n"))?;
            }
            return Ok(ExitCode::Done);
        }
        context.output.answer(&Document::from(&receipt), || {
            sentence(&receipt, coordinator.has_git())
        })?;
        Ok(ExitCode::Done)
    }
}

/// Tells of bytes that somebody else had written to what was committed.
pub(super) fn warn_of_quarantined(context: &Context, receipt: &Receipt) {
    for path in &receipt.quarantined {
        let kept =
            format!("Warning: somebody wrote to {path} meanwhile; those bytes are in .mirror/quarantine");
        context.output.notice(&kept);
    }
}

impl From<&Receipt> for Document {
    fn from(receipt: &Receipt) -> Self {
        Self {
            task: receipt.task.clone(),
            transaction: receipt.transaction,
            outcome: match receipt.outcome {
                Outcome::Committed => "committed",
                Outcome::Nothing => "nothing",
            },
            changes: ChangeDocument::all(&receipt.changes),
            commit: receipt.commit,
            merge: receipt.merge.map(|merge| match merge {
                MergeKind::FastForward => "fast-forward",
                MergeKind::Merge => "merge",
            }),
            branch: short_branch(receipt.branch.as_deref()),
            target: short_branch(receipt.target.as_deref()),
            token: receipt.token,
            quarantined: receipt.quarantined.iter().map(document::path).collect(),
        }
    }
}

/// Says in one line what a commit came to.
pub(super) fn sentence(receipt: &Receipt, has_git: bool) -> String {
    if receipt.outcome == Outcome::Nothing {
        return "Nothing to commit: everything that was staged is there already.\n".to_owned();
    }
    let changes = counted(receipt.changes.len(), "change");
    match (&receipt.commit, short_branch(receipt.target.as_deref())) {
        (Some(commit), Some(target)) if target == DETACHED => format!(
            "Committed {changes} on a detached HEAD as {0}\nNo branch has it: `git branch NAME {0}` keeps it.\n",
            short(commit)
        ),
        (Some(commit), Some(target)) => format!("Committed {changes} to {target} as {}\n", short(commit)),
        _ if has_git => format!("Committed {changes}, which git does not record yet.\n"),
        _ => format!("Committed {changes}.\n"),
    }
}
