//! `mirror doctor`

use std::fmt::Write as _;

use clap::Args;
use mirror::coordinator::Finding;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::observer::Narrator;
use crate::cli::text::counted;

const EXAMPLES: &str = "\
Examples:
  mirror doctor
  mirror doctor --repair";

/// Check everything that a crash or a foreign hand could have broken: exit code 7 if something is left to mend
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {
    /// Mend what can be mended without a choice
    #[arg(long)]
    repair: bool,
}

#[derive(Serialize)]
struct Document {
    findings: Vec<FindingDocument>,
}

#[derive(Serialize)]
struct FindingDocument {
    check: &'static str,
    message: String,
    hint: Option<String>,
    repaired: bool,
}

impl Doctor {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let findings = context
            .coordinator()?
            .doctor(self.repair, &mut Narrator::new(context.output))?;
        let document = Document {
            findings: findings.iter().map(FindingDocument::from).collect(),
        };
        context.output.answer(&document, || describe(&findings))?;
        let is_well = findings.iter().all(|finding| finding.repaired);
        Ok(if is_well {
            ExitCode::Done
        } else {
            ExitCode::Damaged
        })
    }
}

impl From<&Finding> for FindingDocument {
    fn from(finding: &Finding) -> Self {
        Self {
            check: finding.check,
            message: finding.message.clone(),
            hint: finding.hint.clone(),
            repaired: finding.repaired,
        }
    }
}

fn describe(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Everything is as it should be.\n".to_owned();
    }
    let mut text = String::new();
    for finding in findings {
        let repaired = if finding.repaired { " (mended)" } else { "" };
        let _ = writeln!(text, "{}: {}{repaired}", finding.check, finding.message);
        if let Some(hint) = &finding.hint {
            let _ = writeln!(text, "  Hint: {hint}");
        }
    }
    let left = findings.iter().filter(|finding| !finding.repaired).count();
    let _ = writeln!(text, "{} left to mend.", counted(left, "finding"));
    text
}
