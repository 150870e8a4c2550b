//! `mirror history`

use std::time::Duration;

use clap::Args;
use mirror::coordinator::HistoryFilter;
use mirror::model::{Event, TaskId};

use crate::cli::Context;
use crate::cli::arguments::span;
use crate::cli::document::EventDocument;
use crate::cli::exit_code::ExitCode;
use crate::cli::output::{self, Array};
use crate::cli::text::{columns, plain};
use crate::cli::time;

const EXAMPLES: &str = "\
Examples:
  mirror history
  mirror history -t agent-1 --all
  mirror history --since 2h --json";

/// Show what happened, the oldest first
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct History {
    /// Only what this task did
    #[arg(short, long, value_name = "ID")]
    task: Option<TaskId>,

    /// Only what happened in this last span of time, such as 30m or 2d
    #[arg(long, value_name = "SPAN", value_parser = span)]
    since: Option<Duration>,

    /// Only the newest so many events
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 50)]
    newest: usize,

    /// Everything that is kept
    #[arg(long, conflicts_with = "newest")]
    all: bool,
}

impl History {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let filter = HistoryFilter {
            task: self.task,
            since: self.since.map(|span| time::before(context.host.now().wall, span)),
            newest: (!self.all).then_some(self.newest),
        };
        let mut coordinator = context.coordinator()?;
        let mut history = coordinator.history(filter)?;
        let mut array = Array::default();
        let mut is_empty = true;
        loop {
            let events = coordinator.history_page(&mut history)?;
            if events.is_empty() {
                break;
            }
            is_empty = false;
            if context.output.json {
                array.print(events.into_iter().map(EventDocument::from))?;
            } else {
                output::text(&describe(&events))?;
            }
        }
        if context.output.json {
            array.end()?;
        } else if is_empty {
            output::text("Nothing has happened.\n")?;
        }
        Ok(ExitCode::Done)
    }
}

fn describe(events: &[Event]) -> String {
    let rows = events.iter().map(|event| {
        let task = event.task.as_ref().map(ToString::to_string).unwrap_or_default();
        let why = event.reason.as_deref().map(plain).unwrap_or_default();
        [
            time::local(event.at),
            event.kind.to_string(),
            task,
            what(event),
            why,
        ]
    });
    columns(rows)
}

/// Says what an event is about: a resource, a transaction, or both.
fn what(event: &Event) -> String {
    let transaction = event.transaction.as_ref().map(ToString::to_string);
    let named = [transaction, event.resource.clone()];
    named.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
