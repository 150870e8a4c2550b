//! `mirror who` and `mirror check`

use serde_json::json;

use crate::cli::{assert_left, initialised};

#[test]
fn holders_are_shown_for_each_asked_path_in_order() {
    let sandbox = initialised();
    sandbox
        .mirror(["begin", "-t", "a", "-r", "src/", "--reason", "reading"])
        .succeeded();
    sandbox
        .mirror(["begin", "-t", "b", "-r", "src/a.rs", "-s", "db:1"])
        .succeeded();
    let words = ["who", "src/a.rs", "README", "src/ui/", "service:db"];
    assert_left!(sandbox.mirror(words), @"
    $ mirror who src/a.rs README src/ui/ service:db
    --- stdout
    file:src/a.rs:
      dir:src/ (read) held by a on [HOST], since [TIME], for [SPAN] more: reading
      file:src/a.rs (read) held by b on [HOST], since [TIME], for [SPAN] more
    file:README: nobody
    dir:src/ui/:
      dir:src/ (read) held by a on [HOST], since [TIME], for [SPAN] more: reading
    service:db:
      service:db:1 (write) held by b on [HOST], since [TIME], for [SPAN] more
    --- exit 0
    ");
}

#[test]
fn the_document_is_the_promised_one() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-w", "README"]).succeeded();
    let document = sandbox
        .mirror(["who", "--json", "README", "src/a.rs"])
        .succeeded()
        .json();
    let holder = &document[0]["holders"][0];
    assert_eq!(
        document,
        json!([
            {
                "resource": "file:README",
                "holders": [{
                    "task": "a",
                    "resource": "file:README",
                    "mode": "write",
                    "host": holder["host"],
                    "pid": null,
                    "reason": null,
                    "since": holder["since"],
                    "expires_in_ms": holder["expires_in_ms"],
                    "token": holder["token"],
                }],
            },
            {"resource": "file:src/a.rs", "holders": []},
        ])
    );
    assert!(holder["token"].is_string() && holder["expires_in_ms"].is_i64());
}

#[test]
fn a_pattern_asks_about_each_file() {
    let sandbox = initialised();
    let document = sandbox
        .mirror(["who", "--json", "src/**/*.ts"])
        .succeeded()
        .json();
    assert_eq!(document.as_array().unwrap().len(), 2);
}

#[test]
fn what_others_hold_may_not_be_written() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-r", "src/"]).succeeded();
    assert_left!(sandbox.mirror(["check", "README", "src/a.rs"]), @"
    $ mirror check README src/a.rs
    --- stderr
    Error: dir:src/ is held by a
      dir:src/ (read) held by a on [HOST], since [TIME], for [SPAN] more
    Hint: `mirror begin` and `mirror lock` wait for it with --wait 30s; `mirror status` shows all holders
    Hint: If a is gone for good: `mirror unlock --force --reason TEXT dir:src/`
    --- exit 3
    ");
    let left = sandbox.mirror(["check", "--json", "src/a.rs"]).exited(3);
    assert_eq!(left.error_json()["error"]["conflicts"][0]["resource"], "dir:src/");
    assert_eq!(left.stdout(), "");
}

#[test]
fn what_nobody_else_holds_may_be_written() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-w", "src/"]).succeeded();
    assert_left!(sandbox.mirror(["check", "README"]), @"
    $ mirror check README
    --- stdout
    Nobody else holds them.
    --- exit 0
    ");
    sandbox.mirror(["check", "-t", "a", "src/a.rs"]).succeeded();
    sandbox.mirror(["check", "src/a.rs"]).exited(3);
    let own = sandbox
        .mirror_program()
        .args(["check", "--json", "src/"])
        .env("MIRROR_TASK", "a");
    assert_eq!(own.run().succeeded().json(), json!({"conflicts": []}));
}

#[test]
fn whoever_only_waits_is_in_nobodys_way() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-w", "README"]).succeeded();
    let waiting = sandbox
        .mirror_program()
        .args([
            "begin", "-t", "b", "-w", "README", "-w", "src/a.rs", "--wait", "60s",
        ])
        .start();
    waiting.until_stderr("Waiting for:");
    sandbox.mirror(["check", "src/a.rs"]).succeeded();
    waiting.kill();
}
