//! `mirror recover`

use clap::Args;
use mirror::coordinator::Recovered;
use mirror::model::TransactionId;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::document;
use crate::cli::exit_code::ExitCode;
use crate::cli::observer::Narrator;
use crate::cli::text::counted;

const EXAMPLES: &str = "\
Examples:
  mirror recover";

/// Finish or undo what a crash has left
///
/// Every command does this first, so that it is rarely needed: it is there to wait for a commit that is under way, and
/// to see what is left.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Recover {}

#[derive(Serialize)]
struct Document {
    finished: Vec<TransactionId>,
    undone: Vec<TransactionId>,
    quarantined: Vec<String>,
    pending: Vec<Pending>,
}

#[derive(Serialize)]
struct Pending {
    transaction: TransactionId,
    reason: String,
}

impl Recover {
    pub(crate) fn run(context: &Context) -> anyhow::Result<ExitCode> {
        let recovered = context
            .coordinator()?
            .recover(&mut Narrator::new(context.output))?;
        context
            .output
            .done(&Document::from(&recovered), || sentence(&recovered))?;
        Ok(if recovered.pending.is_empty() {
            ExitCode::Done
        } else {
            ExitCode::Failed
        })
    }
}

impl From<&Recovered> for Document {
    fn from(recovered: &Recovered) -> Self {
        let pending = recovered.pending.iter().map(|(transaction, reason)| Pending {
            transaction: *transaction,
            reason: reason.clone(),
        });
        Self {
            finished: recovered.finished.clone(),
            undone: recovered.undone.clone(),
            quarantined: recovered.quarantined.iter().map(document::path).collect(),
            pending: pending.collect(),
        }
    }
}

fn sentence(recovered: &Recovered) -> String {
    if recovered.is_empty() {
        return "Nothing to recover.".to_owned();
    }
    let finished = counted(recovered.finished.len(), "commit");
    let undone = counted(recovered.undone.len(), "attempt");
    format!("Finished {finished}, undid {undone}.")
}
