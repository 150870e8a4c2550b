//! `mirror renew`

use clap::Args;

use crate::cli::Context;
use crate::cli::arguments::TaskArgument;
use crate::cli::document::TaskDocument;
use crate::cli::exit_code::ExitCode;
use crate::cli::time;

const EXAMPLES: &str = "\
Examples:
  mirror renew -t agent-1
  while sleep 60; do mirror renew -q -t agent-1 || break; done";

/// Extend the lease of a task to its full length; every other command of the task does so too
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Renew {
    #[command(flatten)]
    task: TaskArgument,
}

impl Renew {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let id = self.task.required(&context.environment)?;
        let mut coordinator = context.coordinator()?;
        let task = coordinator.renew(&id)?;
        let transaction = coordinator.transaction_of(&id)?;
        context
            .output
            .done(&TaskDocument::new(&task, transaction.as_ref()), || {
                format!("{id} keeps its locks {}.", time::lease(task.expires_in_ms))
            })?;
        Ok(ExitCode::Done)
    }
}
