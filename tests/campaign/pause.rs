//! Everything stands still before one call, as a stopped process or a machine that sleeps does; somebody else takes the
//! locks by force and commits to the same file. Whoever wakes up then must not write over it.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};

use serde_json::Value;

use super::bench::{Bench, Ending, Violation, panic_text};
use super::kill::shown;
use super::situation::Situation;
use super::state::{State, assert_clean};
use super::trace::Traced;
use crate::support::program::Program;

/// What the other changes.
const PATH: &str = "work/modified";

/// How long the other tries at a time, in seconds: whoever stands still may hold what everybody has to pass.
const PATIENCE: &str = "1";

/// Tells whether a task with locks changes files. One without locks merges what others did meanwhile.
pub(crate) fn is_meant(situation: &Situation) -> bool {
    situation.name.starts_with("commit") || situation.name.starts_with("run")
}

/// Stops the command before one call, and lets it go on.
pub(crate) fn once(bench: &Bench, at: u32) -> Result<Ending, Violation> {
    bench.restore();
    let mut is_through = false;
    let paused = bench.pause(at, &mut || is_through = steal(bench, "thief"));
    let judged = panic::catch_unwind(AssertUnwindSafe(|| judge(bench, &paused, is_through)));
    let judged = judged.unwrap_or_else(|payload| Err(Violation(panic_text(payload.as_ref()))));
    judged.map_err(|Violation(told)| {
        Violation(format!(
            "the other came through: {is_through}; {told}\n{}",
            shown(&paused)
        ))
    })
}

/// Takes the locks by force and commits. Answers whether all of that went through.
fn steal(bench: &Bench, name: &str) -> bool {
    let mirror = env!("CARGO_BIN_EXE_mirror");
    let patient = |arguments: &[&str]| -> Program {
        let timeout = bench
            .sandbox
            .program("timeout")
            .at(bench.sandbox.path(bench.situation.at));
        timeout
            .args(["-s", "KILL", PATIENCE, mirror, "-q"])
            .args(arguments)
    };
    let succeeds = |program: Program| program.run().code() == Some(0);
    // Where nobody has it yet, there is nothing to take.
    patient(&["unlock", "--force", "--reason", "a test", PATH]).run();
    succeeds(patient(&["begin", "-t", name, "-w", PATH]))
        && succeeds(patient(&["stage", "-t", name, PATH]).input("stolen\n"))
        && succeeds(patient(&["commit", "-t", name]))
}

fn judge(bench: &Bench, paused: &Traced, is_through: bool) -> Result<Ending, Violation> {
    if paused.hung {
        return Err(Violation("it hung".to_owned()));
    }
    if !is_through {
        // What was killed on the way is in nobody's way.
        bench.mirror().args(["rollback", "-q", "-t", "thief"]).run();
        assert!(steal(bench, "thief-again"), "nobody stands still any more");
    }
    // What the robbed had staged is still theirs.
    bench.mirror().args(["rollback", "-q", "-t", "agent"]).run();
    let at = bench.situation.at;
    let found = State::of(&bench.sandbox, at);
    if paused.code == Some(0) && began_after(bench, "thief") {
        // A run that stood still before it had its locks: it began from what the other had committed.
        assert_clean(&bench.sandbox, at, "after both");
        if found.files == bench.new.files {
            return Ok(Ending::New);
        }
        return Err(Violation(format!("found {:#?}", found.files)));
    }
    if found.files.get(PATH).map(String::as_str) != Some("644 stolen\\n") {
        return Err(Violation(format!("{PATH} is {:?}", found.files.get(PATH))));
    }
    let is_new = without(&found) == without(&bench.new);
    let is_old = without(&found) == without(&bench.old);
    if !is_new && (paused.code == Some(bench.situation.exit) || !is_old) {
        return Err(Violation(format!("found {:#?}", found.files)));
    }
    assert_clean(&bench.sandbox, at, "after both");
    Ok(match (paused.reached, is_new) {
        (false, _) => Ending::NotReached,
        (true, true) => Ending::New,
        (true, false) => Ending::Old,
    })
}

/// Tells whether the last grant of the command is newer than all of the other's.
fn began_after(bench: &Bench, other: &str) -> bool {
    let log = bench.mirror().args(["log"]).run().succeeded().stdout();
    let events: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let newest = |task: &str| {
        let own = events.iter().filter(|event| event["task"] == task);
        own.filter_map(|event| event["token"].as_str()?.parse::<u64>().ok())
            .max()
    };
    newest(other).is_some() && newest("agent") > newest(other)
}

/// The files, without the one that both change.
fn without(state: &State) -> BTreeMap<&str, &str> {
    let others = state
        .files
        .iter()
        .filter(|(path, _)| path.as_str() != PATH && path.as_str() != "work");
    others
        .map(|(path, what)| (path.as_str(), what.as_str()))
        .collect()
}
