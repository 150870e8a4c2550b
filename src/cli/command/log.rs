//! `mirror log`

use std::time::Duration;

use clap::Args;

use crate::cli::Context;
use crate::cli::document::EventDocument;
use crate::cli::exit_code::ExitCode;
use crate::cli::output;

const EXAMPLES: &str = "\
Examples:
  mirror log
  mirror log -f | jq -r 'select(.event == \"resource.stolen\")'
  mirror log -f --after 1200                   go on after the event numbered 1200";

/// How often a follower looks.
const INTERVAL: Duration = Duration::from_millis(200);

/// How many events are read at once.
const PAGE: usize = 1000;

/// Print events as JSON, one on each line
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Log {
    /// Go on as events happen; without --after, only with those still to come
    #[arg(short, long)]
    follow: bool,

    /// Begin after the event with this number
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
}

impl Log {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let mut coordinator = context.coordinator()?;
        let mut seq = match self.after {
            Some(seq) => seq,
            None if self.follow => coordinator.last_event()?,
            None => 0,
        };
        loop {
            let events = coordinator.events_after(seq, PAGE)?;
            let is_last = events.len() < PAGE;
            for event in events {
                seq = event.seq;
                output::line(&EventDocument::from(event))?;
            }
            if is_last && !self.follow {
                return Ok(ExitCode::Done);
            }
            if is_last {
                output::pause(INTERVAL)?;
            }
        }
    }
}
