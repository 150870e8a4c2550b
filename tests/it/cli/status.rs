//! `mirror status`

use serde_json::json;

use crate::cli::{assert_left, initialised};

#[test]
fn without_tasks_it_says_so() {
    let sandbox = initialised();
    assert_left!(sandbox.mirror(["status"]), @"
    $ mirror status
    --- stdout
    No tasks.
    --- exit 0
    ");
    assert_left!(sandbox.mirror(["status", "--json"]), @r#"
    $ mirror status --json
    --- stdout
    {"root":"[SANDBOX]/root","store":"sqlite","tasks":[],"waiters":[],"resources":[{"name":"5000-6000","kind":"port","resource":"port:*","total":1001,"used":0,"free":1001,"tags":[],"holders":[]}],"unfinished":[],"worktrees":[],"kept_work":0}
    --- exit 0
    "#);
}

#[test]
fn tasks_locks_and_waiters_are_shown() {
    let sandbox = initialised();
    sandbox
        .mirror([
            "begin",
            "-t",
            "a",
            "-w",
            "README",
            "-r",
            "src/",
            "--reason",
            "for a while",
        ])
        .succeeded();
    sandbox.mirror(["begin", "-t", "b", "-w", "new"]).succeeded();
    let waiting = sandbox
        .mirror_program()
        .args(["begin", "-t", "c", "-w", "README", "--wait", "60s"])
        .start();
    waiting.until_stderr("Waiting for:");
    assert_left!(sandbox.mirror(["status"]), @"
    $ mirror status
    --- stdout
    a  open, 0 staged, token [TOKEN], on [HOST], since [TIME], for [SPAN] more
      for a while
      write  file:README
      read   dir:src/
    b  open, 0 staged, token [TOKEN], on [HOST], since [TIME], for [SPAN] more
      write  file:new
    c  waits for a since [TIME]
      write  file:README
    --- exit 0
    ");
    assert_left!(sandbox.mirror(["status", "--json"]), @r#"
    $ mirror status --json
    --- stdout
    {"root":"[SANDBOX]/root","store":"sqlite","tasks":[{"task":"a","transaction":"[UUID]","state":"open","run":false,"phase":null,"validation_output":null,"dead":false,"token":"[TOKEN]","locks":[{"resource":"file:README","mode":"write","token":"[TOKEN]","expires_in_ms":[MS]},{"resource":"dir:src/","mode":"read","token":"[TOKEN]","expires_in_ms":[MS]}],"staged":0,"host":"[HOST]","pid":null,"reason":"for a while","metadata":{},"since":"[TIME]","expires_in_ms":[MS]},{"task":"b","transaction":"[UUID]","state":"open","run":false,"phase":null,"validation_output":null,"dead":false,"token":"[TOKEN]","locks":[{"resource":"file:new","mode":"write","token":"[TOKEN]","expires_in_ms":[MS]}],"staged":0,"host":"[HOST]","pid":null,"reason":null,"metadata":{},"since":"[TIME]","expires_in_ms":[MS]},{"task":"c","transaction":null,"state":"waiting","run":false,"phase":null,"validation_output":null,"dead":false,"token":"[TOKEN]","locks":[],"staged":0,"host":"[HOST]","pid":null,"reason":null,"metadata":{},"since":"[TIME]","expires_in_ms":[MS]}],"waiters":[{"task":"c","wants":[{"resource":"file:README","mode":"write"}],"since":"[TIME]","blocked_by":["a"],"and_others":false}],"resources":[{"name":"5000-6000","kind":"port","resource":"port:*","total":1001,"used":0,"free":1001,"tags":[],"holders":[]}],"unfinished":[],"worktrees":[],"kept_work":0}
    --- exit 0
    "#);
    waiting.kill();
}

#[test]
fn the_document_is_the_promised_one() {
    let sandbox = initialised();
    sandbox
        .mirror(["begin", "-t", "a", "-w", "README", "--meta", "k=v"])
        .succeeded();
    let document = sandbox.mirror(["status", "--json"]).succeeded().json();
    let task = &document["tasks"][0];
    let lock = &task["locks"][0];
    assert_eq!(
        document,
        json!({
            "root": sandbox.root().to_str().unwrap(),
            "store": "sqlite",
            "tasks": [{
                "task": "a",
                "transaction": task["transaction"],
                "state": "open",
                "run": false,
                "phase": null,
                "validation_output": null,
                "dead": false,
                "token": task["token"],
                "locks": [{
                    "resource": "file:README",
                    "mode": "write",
                    "token": task["token"],
                    "expires_in_ms": lock["expires_in_ms"],
                }],
                "staged": 0,
                "host": task["host"],
                "pid": null,
                "reason": null,
                "metadata": {"k": "v"},
                "since": task["since"],
                "expires_in_ms": task["expires_in_ms"],
            }],
            "waiters": [],
            "resources": [{
                "name": "5000-6000", "kind": "port", "resource": "port:*", "total": 1001, "used": 0, "free": 1001,
                "tags": [], "holders": [],
            }],
            "unfinished": [],
            "worktrees": [],
            "kept_work": 0,
        })
    );
    assert!(task["token"].is_string() && task["since"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn control_characters_in_a_reason_are_shown_and_not_obeyed() {
    let sandbox = initialised();
    sandbox
        .mirror(["begin", "-t", "a", "-w", "README", "--reason", "\u{1b}[2Jgone"])
        .succeeded();
    let left = sandbox.mirror(["status"]).succeeded();
    assert!(
        left.stdout().contains("\\u{1b}[2Jgone") && !left.stdout().contains('\u{1b}'),
        "{left}"
    );
}

#[test]
fn a_watcher_sees_every_change_and_ends_with_its_reader() {
    let sandbox = initialised();
    let watcher = sandbox.mirror_program().args(["status", "--watch"]).start();
    watcher.until_stdout("No tasks.");
    sandbox.mirror(["begin", "-t", "a", "-w", "README"]).succeeded();
    watcher.until_stdout("write  file:README");
    watcher.kill();
    let script = "\"$0\" status --watch --json | head -n 1";
    let first = sandbox
        .program("bash")
        .args(["-o", "pipefail", "-c", script, env!("CARGO_BIN_EXE_mirror")])
        .run();
    assert_eq!(first.succeeded().json()["tasks"][0]["task"], "a");
}

#[test]
fn of_many_locks_the_first_are_listed_and_the_rest_is_counted() {
    let sandbox = initialised();
    let names: Vec<String> = (100..405).map(|number| format!("f{number}")).collect();
    let writes = names.iter().flat_map(|name| ["-w", name]);
    sandbox
        .mirror(["begin", "-t", "many"].into_iter().chain(writes.clone()))
        .succeeded();
    let waiting = ["begin", "-t", "waits", "--wait", "60s"]
        .into_iter()
        .chain(writes);
    let waiting = sandbox.mirror_program().args(waiting).start();
    waiting.until_stderr("Waiting for:");
    let status = sandbox.mirror(["status"]).succeeded().stdout();
    assert_eq!(status.lines().count(), 2 * 22, "{status}");
    assert!(
        status.contains("  and 285 more: `mirror show -t many` lists them all\n"),
        "{status}"
    );
    assert!(status.ends_with("  and 285 more\n"), "{status}");
    waiting.kill();
    let shown = sandbox.mirror(["show", "-t", "many"]).succeeded().stdout();
    assert_eq!(shown.matches("write  file:").count(), 305, "{shown}");
    // A refusal has not counted them.
    let refused = sandbox
        .mirror(["begin", "-t", "late", "-w", "."])
        .exited(3)
        .stderr();
    let first = refused.lines().next().unwrap();
    assert!(first.ends_with("file:f104 is held by many and more"), "{first}");
}
