//! `mirror who`

use std::ffi::OsString;

use clap::Args;
use mirror::model::{Conflict, Mode, TaskId, Token};
use mirror::store::Holders;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::text;
use crate::cli::time;

const EXAMPLES: &str = "\
Examples:
  mirror who src/parser.rs
  mirror who src/ service:database
  mirror who port:5003 pool:db quota:memory";

/// Show who holds paths, directories, services, ports, pools or quotas
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Who {
    /// A path, a directory, a pattern, or what `status` shows, such as service:NAME, port:N, pool:NAME or quota:NAME
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<OsString>,
}

#[derive(Serialize)]
struct Document {
    resource: String,
    holders: Vec<HolderDocument>,
}

#[derive(Serialize)]
struct HolderDocument {
    task: TaskId,
    resource: String,
    mode: Mode,
    host: String,
    pid: Option<u32>,
    reason: Option<String>,
    since: String,
    expires_in_ms: i64,
    token: Token,
}

impl Who {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let answers = context.coordinator()?.who(&self.paths)?;
        let documents: Vec<Document> = answers.iter().map(Document::from).collect();
        context.output.answer(&documents, || describe(&answers))?;
        Ok(ExitCode::Done)
    }
}

impl From<&Holders> for Document {
    fn from(answer: &Holders) -> Self {
        Self {
            resource: answer.resource.to_string(),
            holders: answer.holders.iter().map(HolderDocument::from).collect(),
        }
    }
}

impl From<&Conflict> for HolderDocument {
    fn from(conflict: &Conflict) -> Self {
        let holder = &conflict.holder;
        Self {
            task: holder.task.clone(),
            resource: conflict.resource.to_string(),
            mode: conflict.mode,
            host: holder.host.clone(),
            pid: holder.pid,
            reason: holder.reason.clone(),
            since: time::rfc3339(holder.since),
            expires_in_ms: holder.expires_in_ms,
            token: holder.token,
        }
    }
}

fn describe(answers: &[Holders]) -> String {
    let lines = answers.iter().map(|answer| {
        if answer.holders.is_empty() {
            return format!("{}: nobody\n", answer.resource);
        }
        let holders = answer
            .holders
            .iter()
            .map(|holder| format!("  {}\n", text::holder(holder)));
        format!("{}:\n{}", answer.resource, holders.collect::<String>())
    });
    lines.collect()
}
