//! `mirror hook`

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Read as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use mirror::coordinator::{HookAnswer, HookRequest};
use mirror::git;
use mirror::git::hooks::{HookName, HookReport, HookState, Hooks};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::arguments::TaskArgument;
use crate::cli::document::ConflictDocument;
use crate::cli::exit_code::ExitCode;
use crate::cli::text;

const EXAMPLES: &str = "\
Examples:
  mirror hook install
  mirror hook status
  mirror hook install --server                 in the repository that others push to
  MIRROR_TASK=agent-1 git commit               what agent-1 holds is not in the way of agent-1
  MIRROR_BYPASS=1 git commit                   passes all the same, and the history says so
  mirror hook uninstall";

/// Let git refuse commits and pushes that change what others hold
///
/// Hooks that are there already keep running. Uninstalling gives back the files as they were, byte for byte.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Hook {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Put the hooks in place, beside those that are there; doing it again changes nothing
    Install(Install),
    /// Take the hooks out again
    Uninstall,
    /// Tell what stands in the place of each hook
    Status,
    /// Answer git: exit code 3 when others hold what it is about to record
    Run(Run),
}

/// Which hooks.
#[derive(Debug, Args)]
struct Install {
    /// The hook of a repository that others push to, which `--no-verify` does not pass: `pre-receive` refuses the whole
    /// push, `update` only the refs concerned
    #[arg(long, value_name = "HOOK", num_args = 0..=1, require_equals = true, default_missing_value = "pre-receive")]
    #[arg(value_parser = ["pre-receive", "update"])]
    server: Option<String>,
}

/// What git tells a hook.
#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    task: TaskArgument,

    /// The hook
    #[arg(value_name = "NAME")]
    hook: HookName,

    /// What git tells the hook
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

#[derive(Serialize)]
struct Document {
    directory: String,
    hooks: Vec<HookDocument>,
}

#[derive(Serialize)]
struct HookDocument {
    hook: &'static str,
    path: String,
    state: &'static str,
    beside: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_aside: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    passes: bool,
    conflicts: Vec<ConflictDocument>,
}

impl Hook {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.act {
            Act::Install(install) => {
                let names = install.names()?;
                let hooks = context.coordinator()?.hook_install(&names)?;
                let document = Document::new(&hooks, &hooks.states()?);
                let directory = hooks.directory().display();
                context.output.done(&document, || {
                    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                    let names = match names.split_last() {
                        Some((last, others)) if !others.is_empty() => {
                            format!("{} and {last}", others.join(", "))
                        }
                        _ => names.concat(),
                    };
                    format!("Installed {names} in {directory}.")
                })?;
                if let Some(tool) = hooks.rewritten_by() {
                    let notice = format!(
                        "Hint: {tool} writes these hooks anew whenever it is installed: run `mirror hook install` after it"
                    );
                    context.output.notice(&notice);
                }
            }
            Act::Uninstall => {
                let hooks = context.coordinator()?.hook_uninstall()?;
                let document = Document::new(&hooks, &hooks.states()?);
                context
                    .output
                    .done(&document, || "The hooks are as they were before.".to_owned())?;
            }
            Act::Status => {
                let (hooks, reports) = context.coordinator()?.hook_status()?;
                let document = Document::new(&hooks, &reports);
                context.output.answer(&document, || describe(&reports))?;
            }
            Act::Run(run) => run.answer(context)?,
        }
        Ok(ExitCode::Done)
    }
}

impl Install {
    fn names(&self) -> anyhow::Result<Vec<HookName>> {
        match &self.server {
            None => Ok(HookName::OF_A_WORKER.to_vec()),
            Some(name) => Ok(vec![name.parse()?]),
        }
    }
}

impl Run {
    fn answer(self, context: &Context) -> anyhow::Result<()> {
        let directory = context.directory()?;
        // A repository that nobody has set up pays nothing for hooks that many repositories share.
        if git::main_root_of(&directory).is_none_or(|root| !root.join(".mirror").exists()) {
            return Ok(());
        }
        let mut input = String::new();
        if matches!(self.hook, HookName::PrePush | HookName::PreReceive) {
            let read = std::io::stdin().lock().read_to_string(&mut input);
            read.context("Failed reading what git is about to push")?;
        }
        let words = self.arguments.into_iter();
        let request = HookRequest {
            hook: self.hook,
            task: self.task.given(&context.environment)?,
            bypass: context.environment.bypass,
            index: context.environment.index.clone(),
            quarantine: context.environment.quarantine.clone(),
            arguments: words.map(|word| word.to_string_lossy().into_owned()).collect(),
            input,
        };
        let conflicts = match context.coordinator()?.hook_run(&request)? {
            HookAnswer::Pass => Vec::new(),
            HookAnswer::PassAnyway(conflicts) => conflicts,
        };
        for conflict in &conflicts {
            context
                .output
                .notice(&format!("Warning: {}", text::holder(conflict)));
        }
        if context.output.json {
            crate::cli::output::line(&Answer {
                passes: true,
                conflicts: conflicts.iter().map(ConflictDocument::from).collect(),
            })?;
        }
        Ok(())
    }
}

impl Document {
    fn new(hooks: &Hooks, reports: &[HookReport]) -> Self {
        Self {
            directory: hooks.directory().display().to_string(),
            hooks: reports.iter().map(HookDocument::from).collect(),
        }
    }
}

impl From<&HookReport> for HookDocument {
    fn from(report: &HookReport) -> Self {
        Self {
            hook: report.hook.as_str(),
            path: report.path.display().to_string(),
            state: word(report.state),
            beside: report.beside,
            left_aside: report.left_aside.as_ref().map(|path| path.display().to_string()),
        }
    }
}

fn word(state: HookState) -> &'static str {
    match state {
        HookState::Absent => "absent",
        HookState::Foreign => "foreign",
        HookState::Installed => "installed",
        HookState::Outdated => "outdated",
        HookState::Disabled => "disabled",
        HookState::Damaged => "damaged",
    }
}

fn describe(reports: &[HookReport]) -> String {
    let mut text = String::new();
    for report in reports {
        let beside = if report.beside && report.state != HookState::Foreign {
            ", beside another hook"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "{:<16}  {}{beside}  {}",
            report.hook.as_str(),
            word(report.state),
            report.path.display()
        );
        if let Some(kept) = &report.left_aside {
            let _ = writeln!(text, "{:<16}  no longer called: {}", "", kept.display());
        }
    }
    if reports.iter().any(|report| report.state != HookState::Installed) {
        text += "Run `mirror hook install` to put them in place.\n";
    }
    text
}
