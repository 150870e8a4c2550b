//! Runs the user's check on a copy of exactly what a commit would publish, before the decision.

use std::error;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::coordinator::commit::Backing;
use crate::coordinator::guarded::{self, Ended};
use crate::coordinator::plan::Plan;
use crate::coordinator::{Coordinator, Error, Guard, Leash, Observer, furnish, printed, provider, set_aside};
use crate::disk::scratch::Scratch;
use crate::disk::{self, walk};
use crate::model::{Entry, Interrupter};
use crate::workspace::TransactionDirectory;

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

/// A validation that is about to begin.
struct Question<'a> {
    plan: &'a Plan,
    validation: &'a Validation<'a>,
    leash: &'a Leash,
    /// A directory of its own.
    scratch: &'a Path,
}

/// Validates a copy of the result, and refuses when that fails, or is interrupted. The copy is gone afterwards, but for what cannot be
/// removed, and nothing that a command has started goes on.
pub(super) fn validate(
    coordinator: &Coordinator,
    plan: &Plan,
    validation: &Validation,
    backing: &Backing,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    // Another place each time: a git that outlived a killed predecessor may still be writing to the last one, which goes
    // with the transaction's directory.
    let scratch = Scratch::make(plan.order.directory.path(), printed::SCRATCH_PREFIX)?;
    let question = Question {
        plan,
        validation,
        leash: &backing.leash,
        scratch: scratch.path(),
    };
    observer.progress("validate", 0, 1);
    let outcome = if let (Some(leased), Some(reference)) = (backing.leased, &plan.landing.reference) {
        let copy = coordinator.reset_leased(leased, reference.new)?;
        question.ask(coordinator, &copy, observer)
    } else {
        let copy = scratch.path().join("tree");
        disk::create_dir_all(&copy)?;
        copy_result(coordinator, plan, &copy).and_then(|()| question.ask(coordinator, &copy, observer))
    };
    observer.progress("validate", 1, 1);
    outcome
}

/// Removes the directories that validations have left with a transaction that is over: killed, or with something in them that they could
/// not remove. Answers which of them stay.
pub(super) fn remove_left(directory: &TransactionDirectory) -> Result<Vec<PathBuf>, Error> {
    let mut left = Vec::new();
    for name in disk::list(directory.path())? {
        if !name.to_string_lossy().starts_with(printed::SCRATCH_PREFIX) {
            continue;
        }
        let scratch = directory.path().join(name);
        match disk::remove_any(&scratch) {
            Err(error) if set_aside::is_for_others(&error) => {
                tracing::debug!(%error, "what a validation has left still cannot be removed");
                left.push(scratch);
            }
            answer => answer?,
        }
    }
    Ok(left)
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

impl Question<'_> {
    fn ask(&self, coordinator: &Coordinator, copy: &Path, observer: &mut dyn Observer) -> Result<(), Error> {
        let interrupters = [coordinator.interrupter(), self.leash.interrupter()];
        let outcome = match self.validation {
            Validation::Command(command) => self.run(coordinator, command, copy, &interrupters),
            Validation::Check(check) => check(copy).map_err(|cause| Error::ValidationFailed { cause }),
        };
        // A terminal interrupts whoever is in front of it, and a function may ask: then it has not failed by itself.
        if outcome.is_err() && interrupters.iter().any(Interrupter::is_interrupted) {
            self.keep_printed(coordinator, &outcome, observer);
            return Err(self.leash.reason(&self.plan.order.task.id));
        }
        outcome
    }

    fn run(
        &self,
        coordinator: &Coordinator,
        command: &str,
        copy: &Path,
        interrupters: &[Interrupter],
    ) -> Result<(), Error> {
        // A file, since a pipe ends only when the last one has closed it who was given it. What is written to both ends of it stays in
        // order.
        let file = self.scratch.join(printed::FILE);
        let order = guarded::Order {
            command,
            directory: copy,
            transaction: self.plan.order.transaction.id,
            variables: self.variables(copy),
            output: disk::create_log(&file)?,
            interrupters,
        };
        let status = match guarded::run(coordinator.guard.as_ref(), order)? {
            Ended::Alone(status) if status.success() => return Ok(()),
            Ended::Alone(status) => status.to_string(),
            Ended::Unguarded(status) => Guard::killed(status),
            Ended::Interrupted => return Err(self.leash.reason(&self.plan.order.task.id)),
        };
        let printed = coordinator.printed(&self.plan.order.transaction.id, &file)?;
        Err(Error::Rejected {
            command: command.to_owned(),
            status,
            output: printed.end,
            left_out: printed.left_out,
            kept: printed.kept,
        })
    }

    /// Keeps what a command had printed that was interrupted, and says where. At best effort: it ends either way.
    fn keep_printed(
        &self,
        coordinator: &Coordinator,
        outcome: &Result<(), Error>,
        observer: &mut dyn Observer,
    ) {
        let kept = if let Err(Error::Rejected { kept: Some(kept), .. }) = outcome {
            Ok(Some(kept.clone()))
        } else {
            let file = self.scratch.join(printed::FILE);
            coordinator.keep_printed(&self.plan.order.transaction.id, &file)
        };
        match kept {
            Ok(Some(kept)) => observer.printed(&kept),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "what the validation had printed is not kept"),
        }
    }

    /// Tells a command as whom and where it runs.
    fn variables(&self, copy: &Path) -> Vec<(String, OsString)> {
        let (task, transaction) = (&self.plan.order.task, &self.plan.order.transaction);
        let own = [
            ("MIRROR_TASK", task.id.to_string().into()),
            ("MIRROR_TRANSACTION", transaction.id.to_string().into()),
            ("MIRROR_TOKEN", task.token.to_string().into()),
            ("MIRROR_ROOT", copy.as_os_str().to_owned()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        let given = provider::variables(task).into_iter();
        own.chain(given.map(|(name, value)| (name, value.into())))
            .collect()
    }
}
