//! `mirror lock`

use clap::Args;
use mirror::coordinator::LockRequest;

use crate::cli::Context;
use crate::cli::arguments::{LockArguments, TaskArgument};
use crate::cli::document::TaskDocument;
use crate::cli::exit_code::ExitCode;
use crate::cli::observer::Narrator;
use crate::cli::text;

const EXAMPLES: &str = "\
Examples:
  mirror lock -t agent-1 -w src/lexer.rs
  mirror lock -t agent-1 -r docs/ --wait 1m
  mirror lock -t agent-1                       win back what a lost task has staged";

/// Add to the locks of a task: all that is asked for, or none
///
/// What the task holds already may be asked for again: that renews the lease, and a read lock becomes a write lock when
/// nobody else reads. Without anything to lock, it takes write locks on everything that the task has staged.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Lock {
    #[command(flatten)]
    task: TaskArgument,

    #[command(flatten)]
    locks: LockArguments,
}

impl Lock {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let id = self.task.required(&context.environment)?;
        let mut coordinator = context.coordinator()?;
        let request = LockRequest {
            wants: self.locks.wants(),
            wait: self.locks.wait(),
        };
        // Read first: whoever is told that this failed must not hold the locks.
        let transaction = coordinator.transaction_of(&id)?;
        let task = coordinator.lock(&id, &request, &mut Narrator::new(context.output))?;
        context
            .output
            .done(&TaskDocument::new(&task, transaction.as_ref()), || {
                format!("{id} holds\n{}", text::task(&task, transaction.as_ref()))
            })?;
        Ok(ExitCode::Done)
    }
}
