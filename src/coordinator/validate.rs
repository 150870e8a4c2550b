//! Runs the user's check on a copy of exactly what a commit would publish, before the decision.

use std::error;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::coordinator::plan::Plan;
use crate::coordinator::worktrees::Leased;
use crate::coordinator::{Coordinator, Error, Observer, furnish, provider};
use crate::disk::{self, walk};
use crate::model::Entry;

/// How much of the end of the command's output an error carries, in bytes.
const OUTPUT_BYTES_MAX: usize = 8 * 1024;

/// What has to succeed before a commit is decided.
#[derive(Clone)]
pub enum Validation<'a> {
    /// A command, run with `sh -c` in a copy of the result.
    Command(String),
    /// A function of this program, which is given the path of that copy.
    Check(Check<'a>),
}

/// Looks at the copy of a result, and tells what it finds wrong.
type Check<'a> = Arc<dyn Fn(&Path) -> Result<(), Box<dyn error::Error + Send + Sync>> + Send + Sync + 'a>;

impl fmt::Debug for Validation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => f.debug_tuple("Command").field(command).finish(),
            Self::Check(_) => f.write_str("Check"),
        }
    }
}

/// Validates a copy of the result, and refuses when that fails. The copy is gone afterwards.
pub(super) fn validate(
    coordinator: &Coordinator,
    plan: &Plan,
    validation: &Validation,
    leased: Option<&Leased>,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    if let (Some(leased), Some(reference)) = (leased, &plan.landing.reference) {
        observer.progress("validate", 0, 1);
        let copy = coordinator.reset_leased(leased, reference.new)?;
        let outcome = ask(plan, validation, &copy);
        observer.progress("validate", 1, 1);
        return outcome;
    }
    // Another place each time: a git that outlived a killed predecessor may still be writing to the last one, which goes
    // with the transaction's directory.
    let scratch = disk::scratch_dir(plan.order.directory.path(), "validation-")?;
    let copy = scratch.path().join("tree");
    disk::create_dir_all(&copy)?;
    observer.progress("validate", 0, 1);
    let outcome = copy_result(coordinator, plan, &copy).and_then(|()| ask(plan, validation, &copy));
    observer.progress("validate", 1, 1);
    outcome
}

fn copy_result(coordinator: &Coordinator, plan: &Plan, copy: &Path) -> Result<(), Error> {
    if let (Some(git), Some(reference)) = (&coordinator.git, &plan.landing.reference) {
        git.export(reference.new, copy)?;
        furnish::furnish(&coordinator.config, &coordinator.root, copy)?;
        return Ok(());
    }
    // Without a commit the result is the directory as it is, with the changes in place.
    walk::copy_tree(coordinator.root.path(), copy)?;
    for operation in &plan.operations {
        let target = copy.join(operation.path.as_path());
        disk::remove_any(&target)?;
        let Some(post) = operation.post else { continue };
        let slot = plan.order.slots.path(operation.slot);
        if let Some(parent) = target.parent() {
            disk::create_dir_all(parent)?;
        }
        match post {
            Entry::File { .. } => disk::copy_file(&slot, &target)?,
            Entry::Symlink { .. } => disk::copy_symlink(&slot, &target)?,
        }
    }
    Ok(())
}

fn ask(plan: &Plan, validation: &Validation, copy: &Path) -> Result<(), Error> {
    match validation {
        Validation::Command(command) => run(plan, command, copy),
        Validation::Check(check) => check(copy).map_err(|cause| Error::ValidationFailed { cause }),
    }
}

fn run(plan: &Plan, command: &str, copy: &Path) -> Result<(), Error> {
    let fail = |source| Error::Input {
        path: "sh".into(),
        source,
    };
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(copy)
        .env("MIRROR_TASK", plan.order.task.id.as_str())
        .env("MIRROR_TRANSACTION", plan.order.transaction.id.to_string())
        .env("MIRROR_TOKEN", plan.order.task.token.to_string())
        .env("MIRROR_ROOT", copy)
        .envs(provider::variables(&plan.order.task))
        .stdin(Stdio::null())
        .output()
        .map_err(fail)?;
    if output.status.success() {
        return Ok(());
    }
    let mut text = output.stdout;
    text.extend_from_slice(&output.stderr);
    let tail = &text[text.len().saturating_sub(OUTPUT_BYTES_MAX)..];
    Err(Error::Rejected {
        command: command.to_owned(),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(tail).into_owned(),
    })
}
