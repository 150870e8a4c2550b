//! Shows waits, progress and notices while a verb works.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use mirror::coordinator::Observer;
use mirror::model::{Conflict, shown};

use super::output::Output;
use super::text;

/// How often the hand of the clock moves.
const TICK: Duration = Duration::from_millis(100);

/// Prints to standard error: a bar or a moving hand on a terminal, sentences elsewhere, nothing where only the answer
/// is wanted.
pub(crate) struct Narrator {
    output: Output,
    bar: Option<ProgressBar>,
    step: String,
    /// The bar tells of a wait.
    is_waiting: bool,
    /// What was kept, and where.
    kept: Vec<String>,
}

impl Narrator {
    /// Narrates in the way that the output asks for.
    pub(crate) fn new(output: Output) -> Self {
        Self {
            output,
            bar: None,
            step: String::new(),
            is_waiting: false,
            kept: Vec::new(),
        }
    }

    /// Returns what was kept, and where, unless that was said already.
    pub(crate) fn unsaid_kept(&mut self) -> Vec<String> {
        let kept = std::mem::take(&mut self.kept);
        if self.output.quiet || self.output.json {
            kept
        } else {
            Vec::new()
        }
    }

    fn tell_kept(&mut self, what: &str, kept: &Path) {
        let said = format!("{what} is kept in {}", shown(kept));
        self.notice(&format!("{said}."));
        self.kept.push(said);
    }

    fn bar(&mut self, template: &str) -> &ProgressBar {
        self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template(template).expect("BUG: the template is a constant");
            bar.set_style(style);
            bar
        })
    }

    fn clear(&mut self) {
        self.is_waiting = false;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Narrator {
    fn waiting(&mut self, conflicts: &[Conflict]) {
        let told = text::waited_for(conflicts);
        if !self.output.shows_progress() {
            self.output.notice(&told);
            return;
        }
        if !self.is_waiting {
            self.clear();
        }
        // Who is in the way by now is shown in the place of who was before, and the clock goes on.
        let bar = self.bar("{msg}\n{spinner} waiting for {elapsed}");
        bar.set_message(text::safe(&told));
        bar.enable_steady_tick(TICK);
        self.is_waiting = true;
    }

    fn waited(&mut self) {
        self.clear();
    }

    fn progress(&mut self, step: &str, done: u64, total: u64) {
        if !self.output.shows_progress() {
            return;
        }
        if self.step != step || self.is_waiting {
            self.clear();
            step.clone_into(&mut self.step);
        }
        if total > 0 && done >= total {
            self.clear();
            return;
        }
        let bar = self.bar("{msg} {wide_bar} {pos}/{len}");
        bar.set_message(step.to_owned());
        bar.set_length(total);
        bar.set_position(done);
    }

    fn kept(&mut self, kept: &Path) {
        self.tell_kept("What it had changed", kept);
    }

    fn printed(&mut self, kept: &Path) {
        self.tell_kept("What the validation had printed", kept);
    }

    fn notice(&mut self, text: &str) {
        self.clear();
        self.output.notice(text);
    }
}

impl Drop for Narrator {
    fn drop(&mut self) {
        self.clear();
    }
}
