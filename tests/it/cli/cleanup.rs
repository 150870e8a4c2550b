//! `mirror cleanup` and `mirror doctor`

use serde_json::json;

use crate::cli::{assert_left, initialised};

#[test]
fn there_may_be_nothing_to_remove() {
    let sandbox = initialised();
    assert_left!(sandbox.mirror(["cleanup"]), @"
    $ mirror cleanup
    --- stdout
    Nothing to remove.
    --- exit 0
    ");
    let document = sandbox.mirror(["cleanup", "--json"]).succeeded().json();
    assert_eq!(
        document,
        json!({
            "dry_run": false,
            "reaped": [],
            "transactions": [],
            "kept": [],
            "dropped": [],
            "quarantines": [],
            "branches": [],
            "kept_branches": [],
            "sockets": 0,
            "worktrees": [],
            "kept_work": 0,
            "events": 0,
            "packed_events": 0,
            "quarantined": [],
        })
    );
}

#[test]
fn what_ended_tasks_leave_is_removed() {
    let sandbox = initialised();
    let holder = sandbox.program("tail").args(["-f", "/dev/null"]).start();
    let pid = holder.pid().to_string();
    sandbox
        .mirror(["begin", "-t", "dead", "-w", "README", "--pid", &pid])
        .succeeded();
    sandbox.mirror(["begin", "-t", "alive", "-w", "src/"]).succeeded();
    holder.kill();
    assert_left!(sandbox.mirror(["cleanup", "--dry-run", "--force"]), @"
    $ mirror cleanup --dry-run --force
    --- stdout
    Nothing to remove.
    --- exit 0
    ");
    assert_left!(sandbox.mirror(["cleanup", "--force"]), @"
    $ mirror cleanup --force
    --- stdout
    Nothing to remove.
    The locks of dead are free: its lease has ended.
    --- exit 0
    ");
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    let names: Vec<_> = status["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| &task["task"])
        .collect();
    assert!(names.contains(&&json!("alive")), "{status}");
}

#[test]
fn a_sound_repository_has_nothing_to_mend() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-w", "README"]).succeeded();
    assert_left!(sandbox.mirror(["doctor"]), @"
    $ mirror doctor
    --- stdout
    Everything is as it should be.
    --- exit 0
    ");
    assert_left!(sandbox.mirror(["doctor", "--json"]), @r#"
    $ mirror doctor --json
    --- stdout
    {"findings":[]}
    --- exit 0
    "#);
}

#[test]
fn what_is_left_to_mend_is_told_with_what_to_type() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-w", "README"]).succeeded();
    let stage = sandbox.mirror_program().args(["stage", "-t", "a", "README"]);
    stage.input("work that must not vanish\n").run().succeeded();
    sandbox
        .mirror(["unlock", "--force", "--reason", "x", "README"])
        .succeeded();
    assert_left!(sandbox.mirror(["doctor"]), @"
    $ mirror doctor
    --- stdout
    locks: The task a lost its locks, and has staged changes (1)
      Hint: mirror lock -t a, or: mirror rollback -t a
    1 finding left to mend.
    --- exit 7
    ");
    let document = sandbox.mirror(["doctor", "--json"]).exited(7).json();
    assert_eq!(
        (
            &document["findings"][0]["check"],
            &document["findings"][0]["repaired"]
        ),
        (&json!("locks"), &json!(false))
    );
}
