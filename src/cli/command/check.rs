//! `mirror check`

use std::ffi::OsString;

use clap::Args;
use mirror::coordinator::Error;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::arguments::TaskArgument;
use crate::cli::document::ConflictDocument;
use crate::cli::exit_code::ExitCode;

const EXAMPLES: &str = "\
Examples:
  mirror check src/parser.rs && $EDITOR src/parser.rs
  mirror check -t agent-1 src/";

/// Tell whether paths may be written now: exit code 0 if so, 3 if others hold them
///
/// The git hooks ask the same question. What the named task holds itself is not in its way.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Check {
    #[command(flatten)]
    task: TaskArgument,

    /// A path, a directory, a pattern, or service:NAME
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<OsString>,
}

#[derive(Serialize)]
struct Document {
    conflicts: Vec<ConflictDocument>,
}

impl Check {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let task = self.task.given(&context.environment)?;
        let conflicts = context.coordinator()?.check(&self.paths, task.as_ref())?;
        if !conflicts.is_empty() {
            return Err(Error::Held {
                conflicts,
                waited: None,
            }
            .into());
        }
        let document = Document {
            conflicts: Vec::new(),
        };
        context
            .output
            .done(&document, || "Nobody else holds them.".to_owned())?;
        Ok(ExitCode::Done)
    }
}
