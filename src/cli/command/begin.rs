//! `mirror begin`

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use clap::{Args, ValueEnum};
use mirror::config::Strategy;
use mirror::coordinator::{BeginRequest, BranchChoice};
use mirror::model::TaskId;
use serde_json::Value;

use crate::cli::Context;
use crate::cli::arguments::{LockArguments, TaskArgument, milliseconds, span};
use crate::cli::document::TaskDocument;
use crate::cli::exit_code::ExitCode;
use crate::cli::observer::Narrator;
use crate::cli::output;
use crate::cli::text;

const EXAMPLES: &str = "\
Examples:
  mirror begin -t agent-1 -w src/parser.rs -w src/ast/ -r docs/ --wait 30s
  mirror begin -t agent-2 -w 'src/**/*.js' --reason 'move to modules'
  mirror begin -t agent-3 -s database --pid $PPID
  mirror begin -t agent-4 --optimistic         locks are taken by the commit alone
  mirror begin -t agent-4 -w src/ --port --pool db --quota memory=2GiB --wait 1m
  export MIRROR_TASK=$(mirror begin -q -w src/ui/)";

/// Open a task and take its locks: all of them, or none
///
/// A path that ends in a slash, or that is a directory, locks the directory. A pattern locks the files that match it
/// today; for files yet to come, lock the directory. A name that does not exist yet may be locked too.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Begin {
    #[command(flatten)]
    task: TaskArgument,

    #[command(flatten)]
    locks: LockArguments,

    /// Why, for those who find the locks in their way
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Something else to remember about the task; may be repeated
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,

    /// Tie the locks to a process: held while it lives, free once it is dead
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// How long the locks outlive the task's last command, such as 5m; the configuration says how long otherwise
    #[arg(long, value_name = "SPAN", value_parser = span)]
    lease: Option<Duration>,

    /// Work on a branch of the task's own, and merge it when committing
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    branch: Option<BranchWhen>,

    /// Merge into this branch instead of the one that is checked out (implies --branch)
    #[arg(long, value_name = "BRANCH")]
    into: Option<String>,

    /// Lock no file before the commit, which then locks what is staged; short for --strategy optimistic
    #[arg(long, conflicts_with = "strategy")]
    optimistic: bool,

    /// When files are locked; the configuration says so otherwise
    #[arg(long, value_name = "STRATEGY")]
    strategy: Option<StrategyName>,
}

/// When files are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StrategyName {
    /// Before they are changed
    Pessimistic,
    /// When they are committed. What others have changed meanwhile is merged, or refused by name
    Optimistic,
}

/// When a task works on a branch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum BranchWhen {
    /// On the target itself, whatever the configuration says
    Never,
    /// On a branch, if a locked file has uncommitted changes
    Dirty,
    /// On a branch
    Always,
}

impl From<BranchWhen> for BranchChoice {
    fn from(when: BranchWhen) -> Self {
        match when {
            BranchWhen::Never => Self::Never,
            BranchWhen::Dirty => Self::Dirty,
            BranchWhen::Always => Self::Always,
        }
    }
}

impl Begin {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let given = self.task.given(&context.environment)?;
        let made_up = given.is_none();
        let mut coordinator = context.coordinator()?;
        let branch = self.branch.map_or(BranchChoice::Configured, Into::into);
        let named = self.strategy.map(|name| match name {
            StrategyName::Pessimistic => Strategy::Pessimistic,
            StrategyName::Optimistic => Strategy::Optimistic,
        });
        let request = BeginRequest {
            task: given.unwrap_or_else(make_up_a_name),
            wants: self.locks.wants(),
            wait: self.locks.wait(),
            ttl_ms: self.lease.map(milliseconds),
            pid: self.pid,
            reason: self.reason,
            metadata: self
                .metadata
                .into_iter()
                .map(|(key, value)| (key, Value::String(value)))
                .collect(),
            branch,
            into: self.into,
            strategy: self.optimistic.then_some(Strategy::Optimistic).or(named),
        };
        let begun = coordinator.begin(&request, &mut Narrator::new(context.output))?;
        let document = TaskDocument::new(&begun.task, Some(&begun.transaction));
        if context.output.quiet && !context.output.json {
            output::text(&format!("{}\n", begun.task.id))?;
            return Ok(ExitCode::Done);
        }
        context.output.answer(&document, || {
            format!(
                "Began {}\n{}",
                begun.task.id,
                text::task(&begun.task, Some(&begun.transaction))
            )
        })?;
        if made_up {
            let id = &begun.task.id;
            let hint =
                format!("Hint: name it in later commands: `-t {id}`, or `export MIRROR_TASK={id}` once");
            context.output.notice(&hint);
        }
        Ok(ExitCode::Done)
    }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("not of the form KEY=VALUE")?;
    if key.is_empty() {
        return Err("the key is empty");
    }
    if key.starts_with("mirror.") {
        return Err("keys that begin with mirror. are mirror's own");
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// The standard library seeds each of its hashers at random.
pub(super) fn make_up_a_name() -> TaskId {
    let random = RandomState::new().hash_one(std::process::id());
    TaskId::new(format!("task-{:08x}", random >> 32))
        .expect("BUG: letters, digits and a dash always make a task id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_pairs_and_made_up_names_differ() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("a").is_err());
        assert!(pair("=a").is_err());
        assert!(pair("mirror.undoes=x").is_err());
        assert_ne!(make_up_a_name(), make_up_a_name());
    }
}
