//! A situation made ready for experiments: run once without a fault, then as often as needed with one.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use serde_json::Value;
use tempfile::TempDir;

use super::backup::Backup;
use super::calls::Call;
use super::situation::Situation;
use super::state::{State, assert_clean};
use super::trace::{self, Fault, Seen, Traced};
use crate::support::Sandbox;
use crate::support::program::Program;

/// A situation with what is there before and after its command.
pub(crate) struct Bench {
    pub(crate) situation: Situation,
    pub(crate) sandbox: Sandbox,
    backup: Backup,
    scratch: TempDir,
    pub(crate) old: State,
    pub(crate) new: State,
    /// Whether what a fault left stays as it is, for somebody to look at.
    keep: bool,
}

/// How an experiment ended that broke no promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The state before, and the same command then gave the state after.
    Old,
    /// The state after.
    New,
    /// Some of the steps of a command that promises no more, and the same command then gave the state after.
    Between,
    /// The call at which something was to happen did not come.
    NotReached,
}

/// A promise that was broken.
#[derive(Debug, Clone)]
pub(crate) struct Violation(pub(crate) String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What has to be there after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Before or after, whichever.
    Either,
    Before,
    After,
}

impl Bench {
    pub(crate) fn new(situation: Situation) -> Self {
        let sandbox = situation.repository();
        let backup = Backup::of(&sandbox);
        let old = State::of(&sandbox, situation.at);
        backup.restore(&sandbox);
        let program = sandbox.mirror_program().at(sandbox.path(situation.at));
        program.args(situation.arguments).run().exited(situation.exit);
        let new = State::of(&sandbox, situation.at);
        assert_clean(&sandbox, situation.at, "without any fault");
        let scratch = tempfile::tempdir().unwrap();
        Self {
            situation,
            sandbox,
            backup,
            scratch,
            old,
            new,
            keep: false,
        }
    }

    /// Leaves what a fault left as it is: looking at it with mirror would recover it.
    pub(crate) fn keeping(self, keep: bool) -> Self {
        Self { keep, ..self }
    }

    /// Lists the calls that count when nothing happens.
    pub(crate) fn calls(&self, counts: fn(&Call) -> bool) -> Vec<Seen> {
        self.list(counts, Fault::None)
    }

    /// Finds the calls of a name that are about a file whose path ends so. Calls are numbered from 1.
    pub(crate) fn find(&self, counts: fn(&Call) -> bool, name: &str, ending: &str) -> Vec<u32> {
        let calls = self.named_calls(counts);
        let is_meant =
            |seen: &Seen| seen.call.name == name && seen.files[0].to_string_lossy().ends_with(ending);
        let meant = calls.iter().zip(1..).filter(|(seen, _)| is_meant(seen));
        meant.map(|(_, number)| number).collect()
    }

    /// Lists the calls that count with their files.
    pub(crate) fn named_calls(&self, counts: fn(&Call) -> bool) -> Vec<Seen> {
        self.list(counts, Fault::Name)
    }

    fn list(&self, counts: fn(&Call) -> bool, fault: Fault) -> Vec<Seen> {
        self.restore();
        let traced = self.trace(self.situation.arguments, counts, fault);
        assert_eq!(
            traced.code,
            Some(self.situation.exit),
            "{}: {traced:?}",
            self.situation.name
        );
        traced.calls
    }

    /// Makes everything as it was before the command.
    pub(crate) fn restore(&self) {
        self.backup.restore(&self.sandbox);
    }

    /// Runs mirror under the tracer.
    pub(crate) fn trace(&self, arguments: &[&str], counts: fn(&Call) -> bool, fault: Fault) -> Traced {
        let program = self.mirror().args(["--json"]).args(arguments);
        trace::run(program.as_ref(), self.scratch.path(), counts, fault)
    }

    /// Runs the situation's command up to a call, lets somebody else have a turn, and then go on.
    pub(crate) fn pause(&self, at: u32, meanwhile: &mut dyn FnMut()) -> Traced {
        let program = self.mirror().args(["--json"]).args(self.situation.arguments);
        let (scratch, fault) = (self.scratch.path(), Fault::Pause(at));
        trace::run_beside(program.as_ref(), scratch, Call::changes, fault, meanwhile)
    }

    /// Returns mirror where the situation's command is run.
    pub(crate) fn mirror(&self) -> Program {
        let at = self.sandbox.path(self.situation.at);
        self.sandbox.mirror_program().at(at)
    }

    /// Looks at everything there is after a fault. Whatever recovery has to be done, the looking does it: it is "the
    /// next command".
    pub(crate) fn judge(&self, expected: Expected, thorough: bool) -> Result<Ending, Violation> {
        if self.keep {
            return Err(Violation(format!(
                "not judged; left in {}",
                self.sandbox.beside("").display()
            )));
        }
        let judged = panic::catch_unwind(AssertUnwindSafe(|| self.judge_or_panic(expected, thorough)));
        judged.unwrap_or_else(|payload| Err(Violation(panic_text(payload.as_ref()))))
    }

    fn judge_or_panic(&self, expected: Expected, thorough: bool) -> Result<Ending, Violation> {
        let Situation {
            arguments, at, exit, ..
        } = self.situation;
        let found = State::of(&self.sandbox, at);
        let is_old = found == self.old && expected != Expected::After;
        let is_new = found == self.new && expected != Expected::Before;
        if !is_old && !is_new && !self.is_between(&found, expected) {
            let Self { old, new, .. } = self;
            return Err(Violation(format!(
                "expected {expected:?}, found\n{found:#?}\nbefore: {old:#?}\nafter: {new:#?}"
            )));
        }
        assert_clean(&self.sandbox, at, "after recovery");
        if thorough {
            self.recover_again(&found);
        }
        if is_new {
            if thorough {
                self.work_goes_on();
            }
            return Ok(Ending::New);
        }
        let run = |arguments: &[&str]| {
            let program = self.sandbox.mirror_program().at(self.sandbox.path(at));
            program.args(arguments).run()
        };
        let mut repeated = run(arguments);
        if let Some(retreat) = self.situation.retreat
            && repeated.code() != Some(exit)
        {
            run(retreat).succeeded();
            repeated = run(arguments);
        }
        assert_eq!(repeated.code(), Some(exit), "the same command again: {repeated}");
        let after = State::of(&self.sandbox, at);
        assert_eq!(after, self.new, "the same command again");
        Ok(if is_old { Ending::Old } else { Ending::Between })
    }

    /// Tells whether a command that goes in steps is at one of them: nothing of the user's has changed.
    fn is_between(&self, found: &State, expected: Expected) -> bool {
        self.situation.in_steps && expected != Expected::After && found.files == self.old.files
    }

    /// A second recovery changes nothing.
    fn recover_again(&self, found: &State) {
        let at = self.situation.at;
        let recover = self
            .sandbox
            .mirror_program()
            .at(self.sandbox.path(at))
            .args(["--json", "recover"]);
        if self.sandbox.exists(".mirror") {
            let recovered = recover.run();
            // A repository that was never set up completely has nothing to recover either.
            if recovered.code() == Some(0) {
                let report = recovered.json();
                let is_nothing = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
                assert!(
                    report.as_object().unwrap().values().all(is_nothing),
                    "recovered twice: {report}"
                );
            }
        }
        assert_eq!(State::of(&self.sandbox, at), *found, "after a second recovery");
    }

    /// Another task gets a newer token than all before it, and its commit goes through.
    fn work_goes_on(&self) {
        if !self.sandbox.exists(".mirror/format") {
            return;
        }
        let mirror = |arguments: &[&str]| {
            let program = self
                .sandbox
                .mirror_program()
                .at(self.sandbox.path(self.situation.at));
            program
                .args(["--json"])
                .args(arguments)
                .input("next\n")
                .run()
                .succeeded()
                .json()
        };
        let events = mirror(&["history", "--all"]);
        let newest = tokens(&events).max().unwrap_or(0);
        let begun = mirror(&["begin", "-t", "next", "-w", "next/file"]);
        let token = tokens(&begun).max().unwrap();
        assert!(token > newest, "the token {token} after {newest}");
        mirror(&["stage", "-t", "next", "next/file"]);
        mirror(&["commit", "-t", "next"]);
        assert!(self.sandbox.path(self.situation.at).join("next/file").exists());
    }
}

/// Finds every number that is called a token.
fn tokens(document: &Value) -> Box<dyn Iterator<Item = u64> + '_> {
    match document {
        Value::Array(values) => Box::new(values.iter().flat_map(tokens)),
        Value::Object(fields) => Box::new(fields.iter().flat_map(|(name, value)| {
            let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
            let own = number.filter(|_| name == "token");
            own.into_iter().chain(tokens(value))
        })),
        _ => Box::new(std::iter::empty()),
    }
}

pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a text").to_owned()
}
