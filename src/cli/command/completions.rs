//! `mirror completions`

use clap::Args;
use clap_complete::Shell;

use crate::cli::exit_code::ExitCode;
use crate::cli::{definition, output};

const EXAMPLES: &str = "\
Examples:
  mirror completions bash > ~/.local/share/bash-completion/completions/mirror
  mirror completions fish > ~/.config/fish/completions/mirror.fish";

/// Print a script that completes commands and options in a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut definition(), "mirror", &mut script);
        output::raw(&script)?;
        Ok(ExitCode::Done)
    }
}
