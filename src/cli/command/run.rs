//! `mirror run`

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use mirror::coordinator::{
    BeginRequest, BranchChoice, CommitRequest, Outcome, Ran, RunError, RunPlace, RunRequest, Validation,
    WorkingCopy,
};
use mirror::model::TaskId;
use serde::Serialize;
use serde_json::Map;

use crate::cli::arguments::LockArguments;
use crate::cli::child::{self, Ended, Order};
use crate::cli::command::begin::{BranchWhen, make_up_a_name};
use crate::cli::command::commit;
use crate::cli::error::UsageError;
use crate::cli::exit_code::ExitCode;
use crate::cli::observer::Narrator;
use crate::cli::output;
use crate::cli::signals::{self, Signals};
use crate::cli::{Context, arguments};

const EXAMPLES: &str = "\
Examples:
  mirror run -w 'src/**/*.js' -m 'es6' -- npx lebab --replace src --transform arrow
  mirror run -t agent-2 -w src/ --wait 10m --validate 'npm test' -m 'es6' -- ./codemod.sh
  mirror run -t agent-3 -w docs/ -- sed -i s/colour/color/g docs/guide.md";

const WAIT: &str = "Wait this long for the locks and for a working copy, such as 30s or 5m; for its turn to land a run waits as long as that takes";

/// Run a command as a task: lock, work in a copy, validate, commit what it changed, release; or roll everything back
///
/// The command runs in a working copy of its own, at the newest commit of the branch that is checked out; without -m it also
/// finds there what is not committed yet. What it changes has to lie inside the lock set. `MIRROR_TASK`, `MIRROR_TRANSACTION`,
/// `MIRROR_TOKEN` and `MIRROR_ROOT` tell it as whom and where it works. When it fails, or is interrupted, or the locks are lost,
/// nothing of it stays, and nothing of it goes on running.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("wait", |wait| wait.help(WAIT)))]
pub(crate) struct Run {
    /// The name of the task; without it, one is made up
    #[arg(short, long, value_name = "ID")]
    task: Option<TaskId>,

    #[command(flatten)]
    locks: LockArguments,

    /// Record exactly what it changed as a git commit with this message; else git does not record it yet
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// Run this in a copy of the exact result, and commit only if it succeeds
    #[arg(long, value_name = "COMMAND")]
    validate: Option<String>,

    /// Why, for those who find the locks in their way; without it, the command
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Lock what it changes outside the lock set, too, if nobody else has it
    #[arg(long, conflicts_with = "in_place")]
    grow: bool,

    /// Work in the working tree itself, for what cannot be copied; what the locks cover is put back if it fails
    #[arg(long)]
    in_place: bool,

    /// Work on a branch of the task's own, and merge it when committing
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "always", conflicts_with = "in_place")]
    branch: Option<BranchWhen>,

    /// Merge into this branch instead of the one that is checked out (implies --branch)
    #[arg(long, value_name = "BRANCH", conflicts_with = "in_place")]
    into: Option<String>,

    /// The command
    #[arg(last = true, required = true, num_args = 1.., value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    commit: commit::Document,
    command: CommandDocument,
}

#[derive(Serialize)]
struct CommandDocument {
    status: i32,
    ms: u64,
}

impl Run {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        self.refuse_nameless()?;
        let validate = arguments::validation(self.validate.clone())?;
        let directory = context.directory()?;
        let signals = Signals::listen()?;
        let mut coordinator = context.coordinator()?;
        coordinator.interrupted_by(signals.interrupter());
        coordinator.guarded_by(child::guard().context("Failed finding this program")?);
        let below = below(&directory, coordinator.root());
        let shown = self.shown();
        let request = self.request(&shown, validate);
        let order = Order {
            words: &self.command,
            below: &below,
            directory: &directory,
            keeps_output: context.output.json,
        };
        let mut narrator = Narrator::new(context.output);
        let work = |copy: &WorkingCopy| {
            let ended = child::run(&order, copy, &signals);
            ended.inspect_err(|unwell| copy.why.say(unwell.in_short()))
        };
        let ran = coordinator.run(&request, work, &mut narrator);
        let kept = narrator.unsaid_kept();
        drop(narrator);
        let (error, signal) = match ran {
            Ok(ran) => return answer(context, &ran, coordinator.has_git()),
            Err(RunError::Refused(error)) => (error.into(), signals.ended_by()),
            Err(RunError::Work(unwell)) => unwell.report(shown, &request.begin.task),
        };
        signals::refuse(context.output, signal, error, kept)
    }

    fn request(&self, shown: &str, validate: Option<Validation<'static>>) -> RunRequest<'static> {
        RunRequest {
            begin: BeginRequest {
                // Not the one in MIRROR_TASK: that is whoever started us, and has a task already.
                task: self.task.clone().unwrap_or_else(make_up_a_name),
                wants: self.locks.wants(),
                wait: self.locks.wait(),
                ttl_ms: None,
                pid: None,
                reason: Some(self.reason.clone().unwrap_or_else(|| shown.to_owned())),
                metadata: Map::new(),
                branch: self.branch.map_or(BranchChoice::Configured, Into::into),
                into: self.into.clone(),
                strategy: None,
            },
            commit: CommitRequest {
                message: self.message.clone(),
                validate,
                wait: None,
            },
            grow: self.grow,
            place: if self.in_place {
                RunPlace::InPlace
            } else {
                RunPlace::Copy
            },
        }
    }

    /// Refuses a command without a name before anything is locked for it.
    fn refuse_nameless(&self) -> Result<(), UsageError> {
        let program = self.command.first().map(|word| word.to_string_lossy());
        match program {
            Some(program) if program.trim().is_empty() => Err(UsageError::new(
                "The command is empty",
                "Name a program, as in `mirror run -w PATH -- ./codemod.sh`; a variable in it is perhaps not set",
            )),
            _ => Ok(()),
        }
    }

    /// Returns the command as people would read it.
    fn shown(&self) -> String {
        let words: Vec<_> = self.command.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }
}

/// Where the user stands below the root; the root itself for whoever stands elsewhere.
fn below(directory: &std::path::Path, root: &std::path::Path) -> PathBuf {
    directory
        .strip_prefix(root)
        .map_or_else(|_| PathBuf::new(), ToOwned::to_owned)
}

fn answer(context: &Context, ran: &Ran<Ended>, has_git: bool) -> anyhow::Result<ExitCode> {
    let Ran { value, receipt } = ran;
    commit::warn_of_quarantined(context, receipt);
    if context.output.quiet && !context.output.json {
        if let Some(commit) = receipt.commit {
            output::text(&format!("{commit}\n"))?;
        }
        return Ok(ExitCode::Done);
    }
    let document = Document {
        commit: commit::Document::from(receipt),
        command: CommandDocument {
            status: value.status.code().unwrap_or_default(),
            ms: arguments::milliseconds(value.took),
        },
    };
    context.output.answer(&document, || match receipt.outcome {
        Outcome::Nothing => "The command changed nothing.\n".to_owned(),
        Outcome::Committed => commit::sentence(receipt, has_git),
    })?;
    Ok(ExitCode::Done)
}
