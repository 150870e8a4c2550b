//! Visits every fault point of a command: killed there, and once more with the recovery killed as well.

use std::fs;

use super::state::{State, assert_clean};
use crate::support::Sandbox;
use crate::support::program::Finished;

/// A command in a repository that is prepared for it.
pub(super) struct Scenario<'a> {
    prepare: &'a dyn Fn() -> Sandbox,
    arguments: &'a [&'a str],
    at: &'a str,
}

/// A passage of a fault point: `name@2` is the second.
type Passage = String;

impl<'a> Scenario<'a> {
    pub(super) fn new(prepare: &'a dyn Fn() -> Sandbox, arguments: &'a [&'a str]) -> Self {
        let at = ".";
        Self {
            prepare,
            arguments,
            at,
        }
    }

    /// Runs the command in another directory than the sandbox's root.
    pub(super) fn at(self, at: &'a str) -> Self {
        Self { at, ..self }
    }

    /// Kills the command at every point that it passes, lets the next command recover, and compares with the state
    /// before and the state after. Then the same with the recovery killed at every point that it passes.
    pub(super) fn visit(&self) {
        let sandbox = (self.prepare)();
        let old = State::of(&sandbox, self.at);
        let passages = self.list(&sandbox, self.arguments);
        let new = State::of(&sandbox, self.at);
        assert_ne!(old, new, "the command changes something");
        assert_clean(&sandbox, self.at, "without any crash");
        assert!(!passages.is_empty(), "the command passes fault points");
        for passage in &passages {
            let recovery = self.crash(passage, None, &old, &new);
            for again in &recovery {
                self.crash(passage, Some(again), &old, &new);
            }
        }
    }

    /// Kills the command at one point, and the recovery at another if one is given; then everything has to be whole.
    /// Returns the points that the recovery passes.
    fn crash(&self, at: &Passage, again: Option<&Passage>, old: &State, new: &State) -> Vec<Passage> {
        let when = format!("killed at {at}, recovery at {again:?}");
        let sandbox = (self.prepare)();
        let killed = self.run(&sandbox, self.arguments, &format!("{at}=kill"));
        assert_eq!(killed.code(), None, "{when}: {}", killed.text());
        let passages = if let Some(again) = again {
            let killed = self.run(&sandbox, &["recover"], &format!("{again}=kill"));
            assert_eq!(killed.code(), None, "{when}: {}", killed.text());
            Vec::new()
        } else {
            self.list(&sandbox, &["recover"])
        };
        let found = State::of(&sandbox, self.at);
        assert!(
            found == *old || found == *new,
            "{when}: neither old nor new\n{found:#?}\nold: {old:#?}\nnew: {new:#?}"
        );
        assert_clean(&sandbox, self.at, &when);
        if found == *old {
            let repeated = self.program(&sandbox, self.arguments).run();
            assert_eq!(repeated.code(), Some(0), "{when}: {}", repeated.text());
            assert_eq!(State::of(&sandbox, self.at), *new, "{when}: repeated");
            assert_clean(&sandbox, self.at, &when);
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
        sandbox.mirror_program().at(sandbox.path(self.at)).args(arguments)
    }
}
