//! `mirror init`

use std::sync::Arc;

use clap::Args;
use mirror::config::Layer;
use mirror::coordinator::{Coordinator, InitOptions};
use mirror::git::hooks::HookName;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit_code::ExitCode;

const EXAMPLES: &str = "\
Examples:
  mirror init            set up .mirror in this repository
  mirror init --hooks    and let git refuse commits of what others hold
  mirror -C DIR init     set up a directory that is no git repository";

/// Set up .mirror in this repository; doing it again is harmless
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Init {
    /// Install the git hooks, too: see `mirror help hook`
    #[arg(long)]
    hooks: bool,
}

#[derive(Serialize)]
struct Document {
    root: String,
    directory: String,
    created: bool,
    git: bool,
}

impl Init {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        // Settings that make no sense shall be known before anything is set up for them.
        context.settings()?.with_repository(Layer::default())?;
        let made = Coordinator::init(
            &context.directory()?,
            &InitOptions::default(),
            Arc::clone(&context.host),
        )?;
        if self.hooks {
            context.coordinator()?.hook_install(&HookName::OF_A_WORKER)?;
        }
        let document = Document {
            root: made.root.display().to_string(),
            directory: made.directory.display().to_string(),
            created: made.created,
            git: made.git,
        };
        context.output.done(&document, || {
            let verb = if made.created {
                "Initialised"
            } else {
                "Already initialised:"
            };
            let hooks = if self.hooks {
                "; the git hooks are in place"
            } else {
                ""
            };
            format!("{verb} {}{hooks}", made.directory.display())
        })?;
        if made.created {
            context
                .output
                .notice("Hint: open a task with `mirror begin -t NAME -w PATH`");
        }
        Ok(ExitCode::Done)
    }
}
