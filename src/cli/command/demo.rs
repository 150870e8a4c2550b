//! `mirror demo`

use std::path::PathBuf;

use clap::Args;
use mirror::disk;
use mirror::host::unique_id;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::demo::{Scene, play, work};
use crate::cli::error::Report;
use crate::cli::exit_code::ExitCode;
use crate::cli::output;

const EXAMPLES: &str = "\
Examples:
  mirror demo
  mirror demo --repo .                         on a clone of this repository, which itself is not touched
  mirror demo --keep                           and look at the result";

/// Watch eight workers change one repository at once, and see it proven that nothing was torn or lost
///
/// The play happens in a scratch repository in the system's temporary directory, or in a clone of yours. Workers are
/// real processes: they collide and wait, one is killed in the middle of its commit, one is refused by the git hook,
/// one runs into a merge conflict. At the end tree, index, refs, history and locks are checked one against the other.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Demo {
    /// Play on a clone of this repository
    #[arg(long, value_name = "PATH")]
    repo: Option<PathBuf>,

    /// Leave the repository of the play behind
    #[arg(long)]
    keep: bool,

    /// Be one of the workers in the repository that --repo names
    #[arg(long, value_name = "NAME", hide = true, requires = "repo")]
    worker: Option<String>,
}

#[derive(Serialize)]
struct Document {
    holds: bool,
    directory: Option<String>,
    lines: Vec<String>,
}

impl Demo {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let original = self
            .repo
            .map(|path| context.directory().map(|here| here.join(path)));
        let original = original.transpose()?;
        if let (Some(name), Some(root)) = (&self.worker, &original) {
            work(name, &Scene::at(root), &context.host)?;
            return Ok(ExitCode::Done);
        }
        let root = std::env::temp_dir().join(format!("mirror-demo-{}", unique_id()));
        let _cleared_up = ClearUp {
            root: (!self.keep).then(|| root.clone()),
        };
        let scene = Scene::build(&root, original.as_deref(), &context.host)?;
        let mut lines = Vec::new();
        let output = context.output;
        let holds = play(&scene, &context.host, &mut |line| {
            if output.json {
                lines.push(line.to_owned());
            } else {
                // A reader who went away learns the outcome from the exit code.
                drop(output::text(&format!("{line}\n")));
            }
        })?;
        let kept = self.keep.then(|| root.display().to_string());
        if output.json {
            output::line(&Document {
                holds,
                directory: kept.clone(),
                lines,
            })?;
        }
        if let Some(kept) = kept {
            output.notice(&format!("Kept: {kept}"));
        }
        if holds {
            return Ok(ExitCode::Done);
        }
        Ok(Report::of_bug("The proof does not hold: see above".to_owned()).tell(output.json))
    }
}

/// Removes the repository of the play, also when the play was broken off by an error.
struct ClearUp {
    root: Option<PathBuf>,
}

impl Drop for ClearUp {
    fn drop(&mut self) {
        if let Some(root) = &self.root {
            // Whatever stays is in the directory for temporary files.
            drop(disk::remove_dir_all(root));
        }
    }
}
