//! `mirror show`

use clap::Args;
use mirror::coordinator::Shown;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::arguments::TaskArgument;
use crate::cli::document::{ChangeDocument, TaskDocument};
use crate::cli::exit_code::ExitCode;
use crate::cli::text::{self, counted};

const EXAMPLES: &str = "\
Examples:
  mirror show -t agent-1
  mirror show -t agent-1 --json | jq -r '.changes[].path'";

/// Show a task: its locks, its lease, its branch and what it has staged
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Show {
    #[command(flatten)]
    task: TaskArgument,
}

#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    task: TaskDocument,
    changes: Vec<ChangeDocument>,
    validation_output: Option<String>,
}

impl Show {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let task = self.task.required(&context.environment)?;
        let shown = context.coordinator()?.show(&task)?;
        let document = Document {
            task: TaskDocument::new(&shown.task, Some(&shown.transaction)),
            changes: ChangeDocument::all(&shown.changes),
            validation_output: shown.printed.as_ref().map(|path| path.display().to_string()),
        };
        context.output.answer(&document, || describe(&shown))?;
        Ok(ExitCode::Done)
    }
}

fn describe(shown: &Shown) -> String {
    let locks = counted(shown.task.locks.len(), "lock");
    let task = text::task(&shown.task, Some(&shown.transaction));
    let staged = if shown.changes.is_empty() {
        "Nothing is staged.\n".to_owned()
    } else {
        let changes = counted(shown.changes.len(), "staged change");
        format!("{changes}:\n{}", text::changes(&shown.changes))
    };
    let printed = shown.printed.as_ref().map(text::printed);
    format!(
        "{} with {locks}:\n{task}{staged}{}",
        shown.task.id,
        printed.unwrap_or_default()
    )
}
