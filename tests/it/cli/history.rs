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
    [TIME]  task.began         a  [UUID]
    [TIME]  task.rolled_back   a  [UUID]
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

/// Adds events by hand, and one among them that cannot be read.
fn long_history(sandbox: &Sandbox, before: u32, behind: u32) {
    let registry = rusqlite::Connection::open(sandbox.path(".mirror/registry.db")).unwrap();
    let add = |kind: &str, count: u32| {
        let insert = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
             INSERT INTO event (at, kind, task) SELECT 1, ?1, 'agent-' || (i % 7) FROM n";
        registry.execute(insert, (kind, count)).unwrap();
    };
    add("task.began", before);
    add("unreadable", 1);
    add("task.began", behind);
}

#[test]
fn the_newest_are_found_from_the_end_however_long_the_history_is() {
    let sandbox = initialised();
    long_history(&sandbox, 0, 4000);
    assert_eq!(events(&sandbox, &["-n", "60"]).len(), 60);
    assert_eq!(events(&sandbox, &["-n", "200", "-t", "agent-3"]).len(), 200);
    assert_eq!(events(&sandbox, &["-n", "0"]), Vec::<Value>::new());
    assert_eq!(sandbox.mirror(["history", "--all"]).code(), Some(7));
}

#[test]
fn a_long_history_is_printed_while_it_is_read() {
    let sandbox = initialised();
    long_history(&sandbox, 2500, 0);
    for words in [["history", "--all"].as_slice(), &["history", "--all", "--json"]] {
        let broken = sandbox.mirror(words);
        assert_eq!(broken.code(), Some(7));
        assert!(broken.stdout().matches("task.began").count() > 1000);
    }
}

#[test]
fn a_long_history_is_the_same_in_parts() {
    let sandbox = initialised();
    long_history(&sandbox, 4500, 0);
    let registry = rusqlite::Connection::open(sandbox.path(".mirror/registry.db")).unwrap();
    registry
        .execute("DELETE FROM event WHERE kind = 'unreadable'", [])
        .unwrap();
    let all = events(&sandbox, &["--all"]);
    assert!(all.len() > 4500);
    assert_eq!(events(&sandbox, &["-n", "3333"]), all[all.len() - 3333..]);
    assert_eq!(events(&sandbox, &["-n", "1000000"]), all);
    let of_one: Vec<Value> = all
        .iter()
        .filter(|event| event["task"] == "agent-3")
        .cloned()
        .collect();
    assert_eq!(events(&sandbox, &["--all", "-t", "agent-3"]), of_one);
    let text = sandbox.mirror(["history", "--all"]).succeeded().stdout();
    assert_eq!(text.lines().count(), all.len());
}

#[test]
fn cleanup_removes_all_old_lines_of_a_long_history() {
    let sandbox = initialised();
    long_history(&sandbox, 20_000, 0);
    sandbox
        .mirror(["begin", "-t", "young", "-w", "README"])
        .succeeded();
    sandbox.mirror(["cleanup"]).succeeded();
    let left = events(&sandbox, &["--all"]);
    assert!(left.iter().any(|event| event["task"] == "young"));
    assert!(left.iter().all(|event| event["task"] != "agent-3"));
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
