//! How experiments ended, counted and shown.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::time::Instant;

use super::bench::{Ending, Violation};

/// How many experiments ended how.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    before: usize,
    after: usize,
    between: usize,
    not_reached: usize,
    violations: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, ended: &Result<Ending, Violation>) {
        let count = match ended {
            Ok(Ending::Old) => &mut self.before,
            Ok(Ending::New) => &mut self.after,
            Ok(Ending::Between) => &mut self.between,
            Ok(Ending::NotReached) => &mut self.not_reached,
            Err(_) => &mut self.violations,
        };
        *count += 1;
    }

    fn columns(self) -> [usize; 6] {
        let Self {
            before,
            after,
            between,
            not_reached,
            violations,
        } = self;
        let all = before + after + between + not_reached + violations;
        [all, before, after, between, not_reached, violations]
    }

    fn plus(self, other: Self) -> Self {
        Self {
            before: self.before + other.before,
            after: self.after + other.after,
            between: self.between + other.between,
            not_reached: self.not_reached + other.not_reached,
            violations: self.violations + other.violations,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [all, .., violations] = self.columns();
        write!(f, "{all} experiments, {violations} violations")
    }
}

/// Prints a table and answers with the exit code: success when no promise was broken.
pub(crate) fn report(tallies: &BTreeMap<String, Tally>, started: Instant) -> ExitCode {
    let mut table = comfy_table::Table::new();
    table.set_header([
        "situation",
        "experiments",
        "before",
        "after",
        "between",
        "not reached",
        "violations",
    ]);
    let sum = tallies
        .values()
        .fold(Tally::default(), |sum, tally| sum.plus(*tally));
    let rows = tallies.iter().map(|(name, tally)| (name.as_str(), tally));
    for (name, tally) in rows.chain([("all", &sum)]) {
        let numbers = tally.columns().into_iter().map(|number| number.to_string());
        table.add_row(std::iter::once(name.to_owned()).chain(numbers));
    }
    println!("{table}\n{:.0} seconds", started.elapsed().as_secs_f64());
    if sum.violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
