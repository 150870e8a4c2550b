//! Why a run comes to nothing, in a few words, for the history.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::coordinator::{Coordinator, Error, RunError, RunRefusal};
use crate::model::Kind;

/// How many characters of a reason the history keeps.
const CHARS_MAX: usize = 300;

/// Why a run comes to nothing. Whoever knows it best says it first.
#[derive(Debug, Clone, Default)]
pub struct Why(Arc<Mutex<Option<String>>>);

impl Why {
    /// Says why, unless that was said already. The work knows better than the run why it fails.
    pub fn say(&self, why: impl Into<String>) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.get_or_insert_with(|| why.into().chars().take(CHARS_MAX).collect());
    }

    /// Returns what was said.
    pub(super) fn said(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Coordinator {
    /// Notes why a run comes to nothing, if it does.
    pub(super) fn note_why<T, E>(&self, why: &Why, ended: &thread::Result<Result<T, RunError<E>>>) {
        match ended {
            Ok(Ok(_)) => {}
            Ok(Err(RunError::Refused(error)))
                if self.interrupter.is_interrupted() && error.kind() == Kind::Failed =>
            {
                why.say("interrupted");
            }
            Ok(Err(RunError::Refused(error))) => why.say(in_short(error)),
            Ok(Err(RunError::Work(_))) => why.say("the work failed"),
            Err(_) => why.say("the work or the validation panicked"),
        }
    }
}

fn in_short(error: &Error) -> String {
    match error {
        Error::Rejected { status, .. } => format!("the validation failed ({status})"),
        Error::ValidationFailed { .. } => "the validation failed".to_owned(),
        Error::Interrupted { .. } | Error::Run(RunRefusal::Interrupted { .. }) => "interrupted".to_owned(),
        Error::Lost { .. } | Error::Run(RunRefusal::Lost { .. }) => "its locks were lost".to_owned(),
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}
