//! `mirror history` and `mirror log`

use serde_json::Value;

use crate::cli::{assert_left, initialised};
use crate::support::Sandbox;

fn events(sandbox: &Sandbox, words: &[&str]) -> Vec<Value> {
    let words = ["history", "--json"].iter().chain(words);
    let document = sandbox.mirror(words).succeeded().json();
    document.as_array().unwrap().clone()
}

fn names(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect()
}

#[test]
fn what_happened_is_shown_the_oldest_first() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-w", "README"]).succeeded();
    sandbox.mirror(["rollback", "-t", "a"]).succeeded();
    assert_left!(sandbox.mirror(["history", "-t", "a"]), @"
    $ mirror history -t a
    --- stdout
    [TIME]  resource.locked    a  file:README
    [TIME]  task.began         a
    [TIME]  task.rolled_back   a
    [TIME]  resource.unlocked  a  file:README
    --- exit 0
    ");
    let events = events(&sandbox, &["-t", "a"]);
    let names = names(&events);
    let place = |name: &str| names.iter().position(|found| *found == name).unwrap();
    assert!(place("resource.locked") < place("task.rolled_back"), "{names:?}");
    assert!(place("task.began") < place("task.rolled_back"), "{names:?}");
    assert!(
        events
            .iter()
            .all(|event| event["task"] == "a" && event["at"].as_str().unwrap().ends_with('Z'))
    );
}

#[test]
fn the_newest_events_of_the_last_time_are_kept() {
    let sandbox = initialised();
    for task in ["a", "b"] {
        sandbox.mirror(["begin", "-t", task, "-w", task]).succeeded();
    }
    let all = events(&sandbox, &["--all"]);
    assert_eq!(events(&sandbox, &["-n", "1"]), all[all.len() - 1..]);
    assert_eq!(events(&sandbox, &["--since", "1h"]), all);
    assert_eq!(events(&sandbox, &["--since", "0s"]), Vec::<Value>::new());
}

#[test]
fn without_events_it_says_so() {
    let sandbox = initialised();
    assert_left!(sandbox.mirror(["history", "-t", "nobody"]), @"
    $ mirror history -t nobody
    --- stdout
    Nothing has happened.
    --- exit 0
    ");
}

#[test]
fn the_log_is_one_document_a_line() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-w", "README"]).succeeded();
    let log = sandbox.mirror(["log"]).succeeded().stdout();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, events(&sandbox, &["--all"]));
    let last = lines.last().unwrap()["seq"].as_u64().unwrap();
    let rest = sandbox
        .mirror(["log", "--after", &(last - 1).to_string()])
        .succeeded()
        .stdout();
    assert_eq!(rest.lines().count(), 1);
}

#[test]
fn a_follower_hears_events_as_they_happen_and_ends_with_its_reader() {
    let sandbox = initialised();
    sandbox
        .mirror(["begin", "-t", "before", "-w", "README"])
        .succeeded();
    let follower = sandbox
        .mirror_program()
        .args(["log", "-f", "--after", "0"])
        .start();
    follower.until_stdout("\"before\"");
    sandbox.mirror(["begin", "-t", "after", "-w", "src/"]).succeeded();
    follower.until_stdout("\"after\"");
    let heard = follower.kill();
    assert!(
        heard
            .stdout()
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    let script = "\"$0\" log -f --after 0 | head -n 1";
    sandbox
        .program("bash")
        .args(["-o", "pipefail", "-c", script, env!("CARGO_BIN_EXE_mirror")])
        .run()
        .succeeded();
}
