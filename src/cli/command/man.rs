//! `mirror man`

use clap::Args;
use clap_mangen::Man as Page;

use crate::cli::error::UsageError;
use crate::cli::exit_code::ExitCode;
use crate::cli::{definition, output};

const EXAMPLES: &str = "\
Examples:
  mirror man | man -l -
  mirror man begin > mirror-begin.1";

/// Print a manual page
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Man {
    /// The command that it is about; without one, mirror as a whole
    command: Option<String>,
}

impl Man {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut whole = definition().disable_help_subcommand(true);
        whole.build();
        let about = match &self.command {
            None => whole,
            Some(name) => whole
                .find_subcommand(name)
                .cloned()
                .ok_or_else(|| unknown(name))?,
        };
        let mut page = Vec::new();
        Page::new(about).render(&mut page)?;
        output::raw(&page)?;
        Ok(ExitCode::Done)
    }
}

fn unknown(name: &str) -> UsageError {
    UsageError::new(
        format!("There is no command {name}"),
        "Run `mirror --help` to see them all",
    )
}
