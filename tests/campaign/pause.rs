//! Everything stands still before one call, as a stopped process or a machine that sleeps does, and somebody else acts.
//!
//! A thief takes the locks by force and commits to the same file: whoever wakes up then must not write over it. A neighbour has
//! nothing to do with these paths, but lands on the same branch: then both come through, each validated as it is published.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::bench::{Bench, Ending, Violation, panic_text};
use super::calls::Call;
use super::kill::shown;
use super::situation::Situation;
use super::state::{State, assert_clean};
use super::trace::Traced;
use crate::support::program::{Finished, Program};

/// What the thief changes.
const PATH: &str = "work/modified";

/// How long the thief tries at a time, in seconds: whoever stands still may hold what everybody has to pass.
const PATIENCE: &str = "1";

/// How often the thief takes the locks: whoever waits for them is served first.
const THEFTS_MAX: usize = 3;

/// How long everything stands still at most when the neighbour cannot come through before it goes on.
const STILL_MAX: Duration = Duration::from_millis(700);

/// Where somebody stands still, and who acts meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) at: u32,
    other: Other,
}

/// Who acts while somebody stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    Thief,
    /// The one of this number.
    Neighbour(usize),
}

/// Tells whether there is anything to be done while a command stands still: it changes files under locks, or gets some.
/// What has no locks merges what others did meanwhile.
pub(crate) fn is_meant(situation: &Situation) -> bool {
    let begins = ["commit", "run", "undo"];
    begins.iter().any(|begin| situation.name.starts_with(begin)) || waits(situation)
}

/// Tells whether the command waits for a lock, and changes no file.
fn waits(situation: &Situation) -> bool {
    situation.name == "lock that waits"
}

/// Lists the points of a command.
pub(crate) fn points(bench: &Bench) -> Vec<Point> {
    let calls = u32::try_from(bench.calls(Call::changes).len()).unwrap();
    let neighbours = 0..bench.situation.neighbours.len();
    let others = || std::iter::once(Other::Thief).chain(neighbours.clone().map(Other::Neighbour));
    (1..=calls)
        .flat_map(|at| others().map(move |other| Point { at, other }))
        .collect()
}

/// Stops the command before one call, and lets it go on.
pub(crate) fn once(bench: &Bench, point: Point) -> Result<Ending, Violation> {
    bench.restore();
    match point.other {
        Other::Thief => beside_thief(bench, point.at),
        Other::Neighbour(number) => beside_neighbour(bench, point.at, bench.situation.neighbours[number]),
    }
}

fn beside_thief(bench: &Bench, at: u32) -> Result<Ending, Violation> {
    let mut is_through = false;
    let paused = bench.pause(at, &mut || is_through = steal(bench, "thief"));
    let judged = panic::catch_unwind(AssertUnwindSafe(|| {
        if waits(&bench.situation) {
            judge_wait(bench, &paused, is_through)
        } else {
            judge(bench, &paused, is_through)
        }
    }));
    let judged = judged.unwrap_or_else(|payload| Err(Violation(panic_text(payload.as_ref()))));
    judged.map_err(|Violation(told)| {
        Violation(format!(
            "the other came through: {is_through}; {told}\n{}",
            shown(&paused)
        ))
    })
}

fn beside_neighbour(bench: &Bench, at: u32, arguments: &[&str]) -> Result<Ending, Violation> {
    let (paused, neighbour) = thread::scope(|scope| {
        let mut beside = None;
        let paused = bench.pause(at, &mut || {
            let (ended, is_ended) = mpsc::channel();
            let program = bench.mirror().args(arguments);
            // From a thread of its own: the tracer takes every child of this one for its own.
            beside = Some(scope.spawn(move || {
                let finished = program.run();
                ended.send(()).ok();
                finished
            }));
            is_ended.recv_timeout(STILL_MAX).ok();
        });
        (paused, beside.map(|beside| beside.join().unwrap()))
    });
    let judged = panic::catch_unwind(AssertUnwindSafe(|| {
        judge_both(bench, &paused, neighbour.as_ref())
    }));
    let judged = judged.unwrap_or_else(|payload| Err(Violation(panic_text(payload.as_ref()))));
    judged.map_err(|Violation(told)| {
        let neighbour = neighbour.map_or("did not begin".to_owned(), |neighbour| neighbour.to_string());
        Violation(format!("{told}\n{}\nthe neighbour: {neighbour}", shown(&paused)))
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
    let begins = || {
        for _ in 0..THEFTS_MAX {
            // Where nobody has it yet, there is nothing to take.
            patient(&["unlock", "--force", "--reason", "a test", PATH]).run();
            let begun = patient(&["begin", "-t", name, "-w", PATH]).run().code();
            if begun != Some(HELD) {
                return begun == Some(0);
            }
        }
        false
    };
    begins()
        && succeeds(patient(&["stage", "-t", name, PATH]).input("stolen\n"))
        && succeeds(patient(&["commit", "-t", name]))
}

/// The exit code of a command that is refused because somebody holds what it wants.
const HELD: i32 = 3;

/// Lets somebody through who was stopped by whoever stood still.
fn steal_again(bench: &Bench) {
    // What was killed on the way is in nobody's way.
    bench.mirror().args(["rollback", "-q", "-t", "thief"]).run();
    assert!(steal(bench, "thief-again"), "nobody stands still any more");
}

fn judge(bench: &Bench, paused: &Traced, is_through: bool) -> Result<Ending, Violation> {
    if paused.hung {
        return Err(Violation("it hung".to_owned()));
    }
    if !is_through {
        steal_again(bench);
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

/// A command that waits for a lock writes nothing, but whoever was told that it has the lock may. Nobody else.
fn judge_wait(bench: &Bench, paused: &Traced, is_through: bool) -> Result<Ending, Violation> {
    if paused.hung {
        return Err(Violation("it hung".to_owned()));
    }
    if !is_through {
        steal_again(bench);
    }
    let is_later = newest(bench, "agent") > newest(bench, if is_through { "thief" } else { "thief-again" });
    let stage = bench.mirror().args(["stage", "-q", "-t", "agent", PATH]);
    let is_written = stage.input("mine\n").run().code() == Some(0)
        && bench.mirror().args(["commit", "-q", "-t", "agent"]).run().code() == Some(0);
    bench.mirror().args(["rollback", "-q", "-t", "agent"]).run();
    let at = bench.situation.at;
    let found = State::of(&bench.sandbox, at);
    let content = if is_written {
        "644 mine\\n"
    } else {
        "644 stolen\\n"
    };
    let is_whole =
        found.files.get(PATH).map(String::as_str) == Some(content) && without(&found) == without(&bench.old);
    // Told that it has the lock it may write, and only then; unless the lock was taken from it.
    let is_right = if is_later {
        is_written || paused.code != Some(0)
    } else {
        !is_written
    };
    if !is_whole || !is_right {
        return Err(Violation(format!(
            "its grant is later: {is_later}, it wrote: {is_written}; found {:#?}",
            found.files
        )));
    }
    assert_clean(&bench.sandbox, at, "after both");
    Ok(match (paused.reached, is_written) {
        (false, _) => Ending::NotReached,
        (true, true) => Ending::New,
        (true, false) => Ending::Old,
    })
}

/// Both have landed, whoever was first, and nothing was published that was not validated.
fn judge_both(bench: &Bench, paused: &Traced, neighbour: Option<&Finished>) -> Result<Ending, Violation> {
    if paused.hung {
        return Err(Violation("it hung".to_owned()));
    }
    let Some(neighbour) = neighbour else {
        return Ok(Ending::NotReached);
    };
    if paused.code != Some(bench.situation.exit) || neighbour.code() != Some(0) {
        return Err(Violation("one of them was refused".to_owned()));
    }
    let at = bench.situation.at;
    let found = State::of(&bench.sandbox, at);
    let mut files = bench.new.files.clone();
    files.insert("next".to_owned(), "directory".to_owned());
    files.insert("next/door".to_owned(), "644 neighbour\\n".to_owned());
    if found.files != files || found.tasks != bench.new.tasks || found.status() != bench.new.status() {
        return Err(Violation(format!("found {found:#?}")));
    }
    let log = bench.sandbox.git(["log", "--format=%T %s"]);
    let validated = std::fs::read_to_string(bench.sandbox.path(".git/validated")).unwrap_or_default();
    let is_validated = bench
        .situation
        .arguments
        .iter()
        .any(|word| word.contains("/validated"));
    for published in log.lines() {
        let (tree, subject) = published.split_once(' ').unwrap();
        let is_meant = subject == "beside it" || (is_validated && subject == "every kind");
        if is_meant && !validated.lines().any(|seen| seen == tree) {
            return Err(Violation(format!(
                "{subject:?} was published unseen: {log}\n{validated}"
            )));
        }
    }
    if !log.lines().any(|line| line.ends_with(" beside it")) {
        return Err(Violation(format!("the neighbour's commit is gone: {log}")));
    }
    assert_clean(&bench.sandbox, at, "after both");
    Ok(if paused.reached {
        Ending::New
    } else {
        Ending::NotReached
    })
}

/// Tells whether all that the command was granted it was granted after the other: what it begins from is read after the first of
/// its grants, and one that grows has others.
fn began_after(bench: &Bench, other: &str) -> bool {
    let first = tokens(bench, "agent").into_iter().min();
    newest(bench, other).is_some() && first > newest(bench, other)
}

fn newest(bench: &Bench, task: &str) -> Option<u64> {
    tokens(bench, task).into_iter().max()
}

/// Lists the tokens of what a task was granted.
fn tokens(bench: &Bench, task: &str) -> Vec<u64> {
    let log = bench.mirror().args(["log"]).run().succeeded().stdout();
    let events = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let own = events.filter(|event| event["task"] == task);
    own.filter_map(|event| event["token"].as_str()?.parse().ok())
        .collect()
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
