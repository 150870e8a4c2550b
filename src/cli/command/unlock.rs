//! `mirror unlock`

use std::ffi::OsString;

use clap::Args;
use mirror::coordinator::{ForceUnlock, Forced, Wanted, WantedKind};
use mirror::model::{LockSet, Mode, TaskId};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::arguments::TaskArgument;
use crate::cli::document::{ConflictDocument, WantDocument};
use crate::cli::error::UsageError;
use crate::cli::exit_code::ExitCode;
use crate::cli::text::counted;

const EXAMPLES: &str = "\
Examples:
  mirror unlock -t agent-1 docs/              give back one lock
  mirror unlock -t agent-1 pool:db port:5003  give back what was shared out
  mirror unlock -t agent-1                    give back all of them; what is staged stays
  mirror unlock --force --reason 'its machine is gone' src/parser.rs
  mirror unlock --force --reason 'stuck' -t agent-1";

/// Give back some or all locks of a task, or take them from it by force
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Unlock {
    #[command(flatten)]
    task: TaskArgument,

    /// What to give back; without any, everything that the task holds
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,

    /// A service to give back
    #[arg(short, long, value_name = "NAME")]
    service: Vec<String>,

    /// Take the locks from whoever holds them (with -t: only from that task); they lose what they have not committed
    #[arg(long, requires = "reason")]
    force: bool,

    /// Why, for the history
    #[arg(long, value_name = "TEXT", requires = "force")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct Released {
    task: TaskId,
    released: Vec<WantDocument>,
}

#[derive(Serialize)]
struct Stolen {
    stolen: Vec<ConflictDocument>,
    /// Runs in place that have not put back what they have changed.
    standing_still: Vec<TaskId>,
}

impl Unlock {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let wants = self.wants();
        match self.reason {
            Some(reason) if self.force => force(context, self.task.named(), wants, reason),
            _ => give_back(context, &self.task.required(&context.environment)?, &wants),
        }
    }

    fn wants(&self) -> Vec<Wanted> {
        let paths = self.paths.iter().cloned().map(WantedKind::Path);
        let services = self.service.iter().cloned().map(WantedKind::Service);
        paths
            .chain(services)
            .map(|what| Wanted {
                what,
                mode: Mode::Write,
            })
            .collect()
    }
}

fn give_back(context: &Context, task: &TaskId, wants: &[Wanted]) -> anyhow::Result<ExitCode> {
    let released = context.coordinator()?.unlock(task, wants)?;
    let document = Released {
        task: task.clone(),
        released: WantDocument::all(&LockSet::from(released.clone())),
    };
    context.output.done(&document, || {
        format!("Gave back {}.", counted(released.len(), "lock"))
    })?;
    Ok(ExitCode::Done)
}

/// The environment's task is who does it, never whom it is done to.
fn force(
    context: &Context,
    from: Option<TaskId>,
    wants: Vec<Wanted>,
    reason: String,
) -> anyhow::Result<ExitCode> {
    if from.is_none() && wants.is_empty() {
        let hint = "Name a path, as in `mirror unlock --force --reason TEXT PATH`, or a task with -t";
        return Err(UsageError::new("Nothing is named to be taken by force", hint).into());
    }
    let request = ForceUnlock {
        from,
        wants,
        by: context.environment.author(),
        reason,
    };
    let Forced { taken, still } = context.coordinator()?.force_unlock(&request)?;
    let document = Stolen {
        stolen: taken.iter().map(ConflictDocument::from).collect(),
        standing_still: still.clone(),
    };
    for task in &still {
        context.output.notice(&format!(
            "Warning: the run {task} stands still; what it has changed in the working tree is put back only when its process goes on or is killed"
        ));
    }
    context.output.done(&document, || {
        let lines = taken
            .iter()
            .map(|lock| format!("\n  {}  from {}", lock.resource, lock.holder.task));
        format!(
            "Took {} by force.{}",
            counted(taken.len(), "lock"),
            lines.collect::<String>()
        )
    })?;
    Ok(ExitCode::Done)
}
