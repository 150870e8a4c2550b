//! Visits every named fault point of a command: killed there, and once more with the recovery killed as well.

use std::fs;

use super::backup::Backup;
use super::situation::Situation;
use super::state::{State, assert_clean};
use crate::support::Sandbox;
use crate::support::program::Finished;

/// A command in a repository that is prepared for it.
pub(crate) struct Scenario {
    prepare: fn() -> Sandbox,
    arguments: &'static [&'static str],
    at: &'static str,
}

/// A passage of a fault point: `name@2` is the second.
type Passage = String;

impl Scenario {
    pub(crate) fn new(situation: Situation) -> Self {
        let Situation {
            prepare,
            arguments,
            at,
            ..
        } = situation;
        Self {
            prepare,
            arguments,
            at,
        }
    }

    /// Kills the command at every point that it passes, lets the next command recover, and compares with the state
    /// before and the state after. Then the same with the recovery killed at every kind of point that it passes.
    pub(crate) fn visit(&self) {
        let sandbox = (self.prepare)();
        let backup = Backup::of(&sandbox);
        let old = State::of(&sandbox, self.at);
        let passages = self.list(&sandbox, self.arguments);
        let new = State::of(&sandbox, self.at);
        assert_ne!(old, new, "the command changes something");
        assert_clean(&sandbox, self.at, "without any crash");
        assert!(!passages.is_empty(), "the command passes fault points");
        for passage in &passages {
            backup.restore(&sandbox);
            let recovery = self.crash(&sandbox, passage, None, &old, &new);
            for again in first_and_last_of_each(&recovery) {
                backup.restore(&sandbox);
                self.crash(&sandbox, passage, Some(&again), &old, &new);
            }
        }
    }

    /// Lets the system refuse at every point where it can, and asks the same question; the answer of the command has to
    /// agree with what is there.
    pub(crate) fn refuse(&self, errno: &str) {
        let sandbox = (self.prepare)();
        let backup = Backup::of(&sandbox);
        let old = State::of(&sandbox, self.at);
        let passages = self.list(&sandbox, self.arguments);
        let new = State::of(&sandbox, self.at);
        let mut refused = 0;
        for passage in passages.iter().filter(|passage| can_fail(passage)) {
            let when = format!("{errno} at {passage}");
            backup.restore(&sandbox);
            let failed = self.run(&sandbox, self.arguments, &format!("{passage}=error:{errno}"));
            let found = State::of(&sandbox, self.at);
            if failed.code() == Some(0) {
                assert_eq!(found, new, "{when}: done, it says");
            } else {
                // A decided commit is pending, and the next command, which looked just now, has completed it.
                let expected = match failed.error_json()["error"]["kind"].as_str() {
                    Some("failed") => &old,
                    Some("pending") => &new,
                    _ => panic!("{when}: {}", failed.text()),
                };
                assert_eq!(found, *expected, "{when}: {}", failed.text());
            }
            assert_clean(&sandbox, self.at, &when);
            refused += usize::from(failed.code() != Some(0));
        }
        assert!(refused > 0, "{errno} was met");
    }

    /// Kills the command at one point, and the recovery at another if one is given; then everything has to be whole.
    /// Returns the points that the recovery passes.
    fn crash(
        &self,
        sandbox: &Sandbox,
        at: &Passage,
        again: Option<&Passage>,
        old: &State,
        new: &State,
    ) -> Vec<Passage> {
        let when = format!("killed at {at}, recovery at {again:?}");
        let killed = self.run(sandbox, self.arguments, &format!("{at}=kill"));
        assert_eq!(killed.code(), None, "{when}: {}", killed.text());
        let passages = if let Some(again) = again {
            let killed = self.run(sandbox, &["recover"], &format!("{again}=kill"));
            assert_eq!(killed.code(), None, "{when}: {}", killed.text());
            Vec::new()
        } else {
            self.list(sandbox, &["recover"])
        };
        let found = State::of(sandbox, self.at);
        assert!(
            found == *old || found == *new,
            "{when}: neither old nor new\n{found:#?}\nold: {old:#?}\nnew: {new:#?}"
        );
        assert_clean(sandbox, self.at, &when);
        if found == *old {
            let repeated = self.program(sandbox, self.arguments).run();
            assert_eq!(repeated.code(), Some(0), "{when}: {}", repeated.text());
            assert_eq!(State::of(sandbox, self.at), *new, "{when}: repeated");
        }
        passages
    }

    /// Runs a command to its end and returns the points that it passed.
    fn list(&self, sandbox: &Sandbox, arguments: &[&str]) -> Vec<Passage> {
        let list = sandbox.beside("passed");
        drop(fs::remove_file(&list));
        let finished = self.run(sandbox, arguments, &format!("list:{}", list.display()));
        finished.succeeded();
        let names = fs::read_to_string(&list).unwrap_or_default();
        let names: Vec<&str> = names.lines().collect();
        let passage = |(index, name): (usize, &&str)| {
            let number = names[..=index].iter().filter(|passed| *passed == name).count();
            format!("{name}@{number}")
        };
        names.iter().enumerate().map(passage).collect()
    }

    fn run(&self, sandbox: &Sandbox, arguments: &[&str], fault: &str) -> Finished {
        self.program(sandbox, arguments).env("MIRROR_FAULT", fault).run()
    }

    fn program(&self, sandbox: &Sandbox, arguments: &[&str]) -> crate::support::program::Program {
        let program = sandbox.mirror_program().at(sandbox.path(self.at));
        program.args(["--json"]).args(arguments)
    }
}

/// The points that stand before an operation which can fail.
fn can_fail(passage: &Passage) -> bool {
    let points = [
        "apply.delete",
        "apply.place",
        "carry-out.barrier",
        "carry-out.index",
        "carry-out.ref",
        "carry-out.ref-lock",
        "prepare.barrier",
        "prepare.index-lock",
        "prepare.look",
        "prepare.manifest",
        "prepare.planned",
        "prepare.ref-lock",
        "stage.written",
    ];
    points.contains(&passage.split('@').next().unwrap())
}

/// Of the points that are passed again and again, the first and the last passage.
fn first_and_last_of_each(passages: &[Passage]) -> Vec<Passage> {
    let name = |passage: &Passage| passage.split('@').next().unwrap().to_owned();
    let is_chosen = |index: &usize| {
        let own = name(&passages[*index]);
        passages[*index].ends_with("@1") || passages[index + 1..].iter().all(|later| name(later) != own)
    };
    let chosen: Vec<usize> = (0..passages.len()).filter(is_chosen).collect();
    chosen.into_iter().map(|index| passages[index].clone()).collect()
}
