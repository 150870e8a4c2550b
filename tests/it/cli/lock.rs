//! `mirror lock`, `mirror unlock` and `mirror renew`

use serde_json::json;

use crate::cli::{assert_left, initialised};

#[test]
fn a_lock_set_grows() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-r", "README"]).succeeded();
    assert_left!(sandbox.mirror(["lock", "-t", "a", "-w", "README", "-w", "src/a.rs"]), @"
    $ mirror lock -t a -w README -w src/a.rs
    --- stdout
    a holds
      write  file:README
      write  file:src/a.rs
    Token [TOKEN], leased for [SPAN] more.
    --- exit 0
    ");
    let document = sandbox
        .mirror(["lock", "--json", "-t", "a", "-s", "database"])
        .succeeded()
        .json();
    assert_eq!(document["state"], "open");
    assert_eq!(document["locks"].as_array().unwrap().len(), 3);
}

#[test]
fn a_lock_that_others_hold_is_refused_and_nothing_is_taken() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-w", "README"]).succeeded();
    sandbox.mirror(["begin", "-t", "b"]).succeeded();
    sandbox
        .mirror(["lock", "-t", "b", "-w", "src/a.rs", "-w", "README"])
        .exited(3);
    let who = sandbox.mirror(["who", "--json", "src/a.rs"]).succeeded().json();
    assert_eq!(who, json!([{"resource": "file:src/a.rs", "holders": []}]));
}

#[test]
fn a_wait_that_would_close_a_cycle_names_it() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-w", "README"]).succeeded();
    sandbox.mirror(["begin", "-t", "b", "-w", "src/a.rs"]).succeeded();
    let waiting = sandbox
        .mirror_program()
        .args(["lock", "-t", "a", "-w", "src/a.rs", "--wait", "60s"])
        .start();
    waiting.until_stderr("Waiting for:");
    assert_left!(sandbox.mirror(["lock", "-t", "b", "-w", "README", "--wait", "60s"]), @"
    $ mirror lock -t b -w README --wait 60s
    --- stderr
    Error: Waiting would be a deadlock: b waits for a waits for b
    Hint: Give something back first with `mirror unlock`, or commit or roll back, and ask again
    --- exit 3
    ");
    sandbox.mirror(["unlock", "-t", "b"]).succeeded();
    waiting.finish().succeeded();
}

#[test]
fn an_unknown_task_is_refused() {
    let sandbox = initialised();
    assert_left!(sandbox.mirror(["lock", "-t", "nobody", "-w", "README"]), @"
    $ mirror lock -t nobody -w README
    --- stderr
    Error: There is no task nobody
    Hint: Run `mirror status` to see all tasks, or `mirror begin -t nobody -w PATH` to open this one
    --- exit 2
    ");
}

#[test]
fn some_or_all_locks_are_given_back() {
    let sandbox = initialised();
    sandbox
        .mirror(["begin", "-t", "a", "-w", "README", "-w", "src/", "-s", "db"])
        .succeeded();
    assert_left!(sandbox.mirror(["unlock", "-t", "a", "src/"]), @"
    $ mirror unlock -t a src/
    --- stdout
    Gave back 1 lock.
    --- exit 0
    ");
    let document = sandbox.mirror(["unlock", "--json", "-t", "a"]).succeeded().json();
    let released = json!([
        {"resource": "file:README", "mode": "write"},
        {"resource": "service:db", "mode": "write"},
    ]);
    assert_eq!(document, json!({"task": "a", "released": released}));
    sandbox.mirror(["begin", "-t", "b", "-w", "."]).succeeded();
}

#[test]
fn locks_are_taken_by_force_with_a_reason() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-w", "README"]).succeeded();
    assert_left!(sandbox.mirror(["unlock", "--force", "README"]), @"
    $ mirror unlock --force README
    --- stderr
    Error: The following required arguments were not provided:
        --reason <TEXT>
    Hint: Usage: mirror unlock --force --reason <TEXT> <PATH>...
    --- exit 2
    ");
    let thief = sandbox
        .mirror_program()
        .args(["unlock", "--force", "--reason", "it hangs", "README"])
        .env("MIRROR_TASK", "b");
    assert_left!(thief.run(), @"
    $ mirror unlock --force --reason it hangs README
    --- stdout
    Took 1 lock by force.
      file:README  from a
    --- exit 0
    ");
    assert_left!(sandbox.mirror(["renew", "-t", "a"]), @"
    $ mirror renew -t a
    --- stderr
    Error: The task a lost its locks: its lease ran out and was taken, or was taken by force
    Hint: `mirror lock -t a` wins back the locks on what is staged, which is still there; with -w PATH those on PATH
    --- exit 4
    ");
    let history = sandbox.mirror(["history", "--json"]).succeeded().json();
    let stolen = history
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["event"] == "resource.stolen")
        .unwrap();
    assert_eq!(stolen["reason"], "by b: it hangs");
}

#[test]
fn force_needs_to_be_told_what_to_take() {
    let sandbox = initialised();
    assert_left!(sandbox.mirror(["unlock", "--force", "--reason", "x"]), @"
    $ mirror unlock --force --reason x
    --- stderr
    Error: Nothing is named to be taken by force
    Hint: Name a path, as in `mirror unlock --force --reason TEXT PATH`, or a task with -t
    --- exit 2
    ");
}

#[test]
fn everything_of_one_task_is_taken_by_force() {
    let sandbox = initialised();
    sandbox
        .mirror(["begin", "-t", "a", "-w", "README", "-r", "src/"])
        .succeeded();
    let document = sandbox
        .mirror(["unlock", "--json", "--force", "--reason", "x", "-t", "a"])
        .succeeded()
        .json();
    let taken: Vec<_> = document["stolen"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lock| &lock["resource"])
        .collect();
    assert_eq!(taken, ["file:README", "dir:src/"]);
}

#[test]
fn a_lease_is_renewed() {
    let sandbox = initialised();
    sandbox
        .mirror(["begin", "-t", "a", "-w", "README", "--lease", "5m"])
        .succeeded();
    assert_left!(sandbox.mirror(["renew", "-t", "a"]), @"
    $ mirror renew -t a
    --- stdout
    a keeps its locks for [SPAN] more.
    --- exit 0
    ");
    let document = sandbox.mirror(["renew", "--json", "-t", "a"]).succeeded().json();
    assert!(document["locks"][0]["expires_in_ms"].as_u64().unwrap() > 290_000);
    let quiet = sandbox.mirror(["renew", "-q", "-t", "a"]).succeeded();
    assert_eq!(quiet.stdout(), "");
}

#[test]
fn an_unknown_task_cannot_be_renewed() {
    let sandbox = initialised();
    assert_left!(sandbox.mirror(["renew", "-t", "nobody"]), @"
    $ mirror renew -t nobody
    --- stderr
    Error: There is no task nobody
    Hint: Run `mirror status` to see all tasks, or `mirror begin -t nobody -w PATH` to open this one
    --- exit 2
    ");
}
