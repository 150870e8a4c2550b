//! `mirror begin`

use serde_json::json;

use crate::cli::{assert_left, initialised};

#[test]
fn a_task_begins_with_its_locks() {
    let sandbox = initialised();
    let words = [
        "begin", "-t", "agent-1", "-w", "src/a.rs", "-w", "new/", "-r", "README", "-s", "database",
    ];
    assert_left!(sandbox.mirror(words), @"
    $ mirror begin -t agent-1 -w src/a.rs -w new/ -r README -s database
    --- stdout
    Began agent-1
      read   file:README
      write  file:src/a.rs
      write  dir:new/
      write  service:database
    Token [TOKEN], leased for [SPAN] more.
    --- exit 0
    ");
}

#[test]
fn the_document_is_the_promised_one() {
    let sandbox = initialised();
    let document = sandbox
        .mirror(["begin", "--json", "-t", "agent-1", "-w", "README"])
        .succeeded()
        .json();
    let token = document["token"].as_str().unwrap();
    token.parse::<u64>().unwrap();
    let left = document["locks"][0]["expires_in_ms"].as_u64().unwrap();
    assert!((1..=300_000).contains(&left), "{left}");
    assert_eq!(
        document,
        json!({
            "task": "agent-1",
            "transaction": document["transaction"],
            "state": "open",
            "token": token,
            "branch": null,
            "base": null,
            "target": null,
            "locks": [{"resource": "file:README", "mode": "write", "token": token, "expires_in_ms": left}],
            "allocated": {},
        })
    );
    assert_eq!(document["transaction"].as_str().unwrap().len(), 36);
}

#[test]
fn a_name_is_made_up_when_none_is_given() {
    let sandbox = initialised();
    assert_left!(sandbox.mirror(["begin", "-w", "README"]), @"
    $ mirror begin -w README
    --- stdout
    Began task-[RANDOM]
      write  file:README
    Token [TOKEN], leased for [SPAN] more.
    --- stderr
    Hint: name it in later commands: `-t task-[RANDOM]`, or `export MIRROR_TASK=task-[RANDOM]` once
    --- exit 0
    ");
}

#[test]
fn quietly_only_the_name_is_printed() {
    let sandbox = initialised();
    let name = sandbox
        .mirror(["begin", "-q", "-w", "README"])
        .succeeded()
        .stdout();
    let name = name.trim_end();
    sandbox.mirror(["renew", "-t", name]).succeeded();
    let again = sandbox
        .mirror_program()
        .args(["begin", "-q"])
        .env("MIRROR_TASK", "from-env")
        .run();
    assert_eq!(again.succeeded().stdout(), "from-env\n");
}

#[test]
fn what_others_hold_is_refused_with_who_since_until_and_why() {
    let sandbox = initialised();
    sandbox
        .mirror(["begin", "-t", "first", "-w", "src/", "--reason", "moving it all"])
        .succeeded();
    assert_left!(sandbox.mirror(["begin", "-t", "second", "-w", "src/a.rs", "-w", "README"]), @"
    $ mirror begin -t second -w src/a.rs -w README
    --- stderr
    Error: dir:src/ is held by first
      dir:src/ (write) held by first on [HOST], since [TIME], for [SPAN] more: moving it all
    Hint: `mirror begin` and `mirror lock` wait for it with --wait 30s; `mirror status` shows all holders
    Hint: If first is gone for good: `mirror unlock --force --reason TEXT dir:src/`
    --- exit 3
    ");
    let left = sandbox
        .mirror(["--json", "begin", "-t", "second", "-w", "src/a.rs"])
        .exited(3);
    assert_eq!(left.stdout(), "");
    let error = &left.error_json()["error"];
    let holder = &error["conflicts"][0]["holder"];
    assert_eq!(error["kind"], "held");
    assert_eq!(
        error["conflicts"],
        json!([{
            "resource": "dir:src/",
            "mode": "write",
            "waiting": false,
            "holder": {
                "task": "first",
                "host": holder["host"],
                "pid": null,
                "reason": "moving it all",
                "since": holder["since"],
                "expires_in_ms": holder["expires_in_ms"],
            },
        }])
    );
    assert!(holder["since"].as_str().unwrap().ends_with('Z'));
    // All or none: nothing of the refused task is left.
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(status["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(status["waiters"], json!([]));
}

#[test]
fn a_wait_that_runs_out_says_so() {
    let sandbox = initialised();
    sandbox
        .mirror(["begin", "-t", "first", "-w", "README"])
        .succeeded();
    let left = sandbox
        .mirror(["begin", "-t", "second", "-r", "README", "--wait", "50ms"])
        .exited(3);
    assert!(
        left.stderr()
            .contains("Waiting for:\n  file:README (write) held by first"),
        "{left}"
    );
    assert!(left.stderr().contains("still after 0."), "{left}");
    assert!(left.stderr().contains("Hint: Ask again"), "{left}");
}

#[test]
fn a_waiter_is_served_when_the_holder_lets_go() {
    let sandbox = initialised();
    sandbox
        .mirror(["begin", "-t", "first", "-w", "README"])
        .succeeded();
    let words = ["begin", "-t", "second", "-w", "README", "--wait", "60s"];
    let waiting = sandbox.mirror_program().args(words).start();
    waiting.until_stderr("Waiting for:");
    sandbox.mirror(["unlock", "-t", "first"]).succeeded();
    assert_left!(waiting.finish().succeeded(), @"
    $ mirror begin -t second -w README --wait 60s
    --- stdout
    Began second
      write  file:README
    Token [TOKEN], leased for [SPAN] more.
    --- stderr
    Waiting for:
      file:README (write) held by first on [HOST], since [TIME], for [SPAN] more
    --- exit 0
    ");
}

#[test]
fn a_task_that_is_open_is_not_opened_again() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-w", "README"]).succeeded();
    assert_left!(sandbox.mirror(["begin", "-t", "a", "-w", "src/"]), @"
    $ mirror begin -t a -w src/
    --- stderr
    Error: The task a is already open
    Hint: Add locks with `mirror lock -t a -w PATH`, drop it with `mirror rollback -t a`, or choose another name
    --- exit 2
    ");
}

#[test]
fn reason_metadata_and_lease_are_kept() {
    let sandbox = initialised();
    let words = [
        "begin",
        "-t",
        "a",
        "--reason",
        "why not",
        "--meta",
        "ticket=12",
        "--meta",
        "url=x=y",
        "--lease",
        "10m",
    ];
    sandbox.mirror(words).succeeded();
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    let task = &status["tasks"][0];
    assert_eq!(task["reason"], "why not");
    assert_eq!(task["metadata"], json!({"ticket": "12", "url": "x=y"}));
    assert!(task["expires_in_ms"].as_i64().unwrap() > 300_000);
}

#[test]
fn a_lease_tied_to_a_dead_process_is_free_at_once() {
    let sandbox = initialised();
    let holder = sandbox.program("tail").args(["-f", "/dev/null"]).start();
    let pid = holder.pid().to_string();
    sandbox
        .mirror(["begin", "-t", "first", "-w", "README", "--pid", &pid])
        .succeeded();
    let refused = sandbox
        .mirror(["begin", "-t", "second", "-w", "README"])
        .exited(3);
    assert!(refused.stderr().contains(&format!("process {pid}")), "{refused}");
    holder.kill();
    sandbox
        .mirror(["begin", "-t", "second", "-w", "README"])
        .succeeded();
}

#[test]
fn a_process_that_is_not_there_is_refused() {
    let sandbox = initialised();
    let left = sandbox
        .mirror(["begin", "-t", "a", "-w", "README", "--pid", "4194303"])
        .exited(2);
    assert!(left.stderr().contains("There is no process 4194303"), "{left}");
}

#[test]
fn a_branch_of_its_own_is_named() {
    let sandbox = initialised();
    let tip = sandbox.git(["rev-parse", "HEAD"]);
    let document = sandbox
        .mirror(["begin", "--json", "-t", "a", "--branch"])
        .succeeded()
        .json();
    let transaction = document["transaction"].as_str().unwrap();
    assert_eq!(document["branch"], format!("mirror/a/{transaction}"));
    assert_eq!(document["target"], "main");
    assert_eq!(document["base"], tip);
    assert_left!(sandbox.mirror(["begin", "-t", "b", "--branch=always"]), @"
    $ mirror begin -t b --branch=always
    --- stdout
    Began b
    Token [TOKEN], leased for [SPAN] more.
    Its changes go to the branch mirror/b/[UUID], and from there into main.
    --- exit 0
    ");
}

#[test]
fn a_branch_to_land_on_has_to_exist() {
    let sandbox = initialised();
    assert_left!(sandbox.mirror(["begin", "-t", "a", "--into", "nowhere"]), @"
    $ mirror begin -t a --into nowhere
    --- stderr
    Error: There is no branch nowhere with a commit
    Hint: Run `git branch` to see all branches
    --- exit 2
    ");
}

#[test]
fn a_branch_is_not_for_plain_directories() {
    let sandbox = crate::support::Sandbox::directory();
    sandbox.mirror(["init"]).succeeded();
    assert_left!(sandbox.mirror(["begin", "-t", "a", "--branch"]), @"
    $ mirror begin -t a --branch
    --- stderr
    Error: A branch needs a git repository, and this directory is none
    Hint: Run `git init` first, or leave that option out
    --- exit 2
    ");
}
