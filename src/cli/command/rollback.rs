//! `mirror rollback`

use clap::Args;
use mirror::model::{TaskId, TransactionId};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::arguments::TaskArgument;
use crate::cli::exit_code::ExitCode;
use crate::cli::text::counted;

const EXAMPLES: &str = "\
Examples:
  mirror rollback -t agent-1";

/// Drop what a task has staged, and give its locks back
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Rollback {
    #[command(flatten)]
    task: TaskArgument,
}

#[derive(Serialize)]
struct Document {
    task: TaskId,
    transaction: Option<TransactionId>,
    outcome: &'static str,
}

impl Rollback {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let task = self.task.required(&context.environment)?;
        let dropped = context.coordinator()?.rollback(&task)?;
        let document = Document {
            task: dropped.task,
            transaction: dropped.transaction,
            outcome: if dropped.transaction.is_some() {
                "rolled-back"
            } else {
                "nothing"
            },
        };
        if let Some(kept) = &dropped.kept {
            let notice = format!(
                "Warning: the commit was decided; everything of it is kept in {}",
                kept.display()
            );
            context.output.notice(&notice);
        }
        if let Some(before) = &dropped.before {
            let notice = format!(
                "Warning: what it has changed in the working tree stays; what was there before is kept in {}",
                before.display()
            );
            context.output.notice(&notice);
        }
        context.output.done(&document, || {
            let changes = counted(dropped.dropped, "staged change");
            format!("Dropped {changes} and all locks of {task}.")
        })?;
        Ok(ExitCode::Done)
    }
}
