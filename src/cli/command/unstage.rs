//! `mirror unstage`

use std::ffi::OsString;

use clap::Args;

use crate::cli::Context;
use crate::cli::arguments::TaskArgument;
use crate::cli::document::{ChangeDocument, ChangesDocument};
use crate::cli::exit_code::ExitCode;
use crate::cli::text::counted;

const EXAMPLES: &str = "\
Examples:
  mirror unstage -t agent-1 src/parser.rs
  mirror unstage -t agent-1                    everything";

/// Take staged changes back; the locks stay
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Unstage {
    #[command(flatten)]
    task: TaskArgument,

    /// A path or a directory; without any, everything is taken back
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
}

impl Unstage {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let task = self.task.required(&context.environment)?;
        let unstaged = context.coordinator()?.unstage(&task, &self.paths)?;
        let document = ChangesDocument {
            task: task.clone(),
            transaction: unstaged.transaction,
            changes: ChangeDocument::all(&unstaged.changes),
        };
        context.output.done(&document, || {
            let changes = counted(unstaged.changes.len(), "staged change");
            format!("Took back {changes} of {task}.")
        })?;
        Ok(ExitCode::Done)
    }
}
