//! Who is told while a verb works: the library itself never prints.

use std::path::Path;

use crate::model::{Conflict, shown};

/// Told about waits, progress and things worth a word. Every method may be left as it is.
pub trait Observer {
    /// The request has to wait for `conflicts`. Called once per change of what is in the way.
    fn waiting(&mut self, conflicts: &[Conflict]) {
        let _ = conflicts;
    }

    /// The wait is over, whatever came of it.
    fn waited(&mut self) {}

    /// `done` of `total` parts of `step` are finished.
    fn progress(&mut self, step: &str, done: u64, total: u64) {
        let _ = (step, done, total);
    }

    /// What a run had changed was kept at `kept`.
    fn kept(&mut self, kept: &Path) {
        self.notice(&format!("What it had changed is kept in {}.", shown(kept)));
    }

    /// What an interrupted validation had printed was kept at `kept`.
    fn printed(&mut self, kept: &Path) {
        self.notice(&format!(
            "What the validation had printed is kept in {}.",
            shown(kept)
        ));
    }

    /// Something that the user should know although the verb goes on.
    fn notice(&mut self, text: &str) {
        let _ = text;
    }
}

/// Hears everything and says nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {}
