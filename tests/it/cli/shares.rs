//! `--port`, `--pool`, `--quota`, and what other commands say of what they gave.

use std::net::TcpListener;

use serde_json::json;

use crate::cli::{assert_left, initialised};
use crate::support::{Sandbox, at_once};

const POOLS: &str = "pools: {db: [db-1, db-2, db-3], memory: {total: 16GiB, tags: [build, shared]}}\n";

fn with_pools() -> Sandbox {
    let sandbox = initialised();
    sandbox.write(".mirror/config.yaml", POOLS);
    sandbox
}

/// Finds `count` ports in a row that nobody uses. Nobody else is given them as long as nobody asks for them by number.
fn free_ports(count: u16) -> u16 {
    let is_free = |port: u16| TcpListener::bind(("0.0.0.0", port)).is_ok();
    let start = fastrand::u16(20_000..30_000);
    (start..32_000)
        .find(|first| (*first..*first + count).all(is_free))
        .unwrap()
}

fn with_ports(count: u16) -> (Sandbox, u16) {
    let sandbox = initialised();
    let first = free_ports(count);
    let range = format!(
        "resource_manager: {{strategies: {{services: {{port_range: [{first}, {}]}}}}}}\n",
        first + count - 1
    );
    sandbox.write(".mirror/config.yaml", range);
    (sandbox, first)
}

#[test]
fn a_task_is_told_what_it_was_given() {
    let sandbox = with_pools();
    let begin = [
        "begin",
        "-t",
        "a",
        "-w",
        "README",
        "--pool",
        "db",
        "--quota",
        "memory=2GiB",
    ];
    assert_left!(sandbox.mirror(begin), @"
    $ mirror begin -t a -w README --pool db --quota memory=2GiB
    --- stdout
    Began a
      write  file:README
      write  pool:db/db-1
             quota:memory=2GiB
    Token [TOKEN], leased for [SPAN] more.
    --- exit 0
    ");
    let more = [
        "lock",
        "-t",
        "a",
        "--json",
        "--pool",
        "db",
        "--pool",
        "db",
        "--quota",
        "memory=512MiB",
    ];
    let document = sandbox.mirror(more).succeeded().json();
    assert_eq!(
        document["allocated"],
        json!({"MIRROR_POOL_DB": "db-1 db-2", "MIRROR_QUOTA_MEMORY": "536870912"})
    );
    let resources: Vec<&str> = document["locks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lock| lock["resource"].as_str().unwrap())
        .collect();
    assert_eq!(
        resources,
        [
            "file:README",
            "pool:db/db-1",
            "pool:db/db-2",
            "quota:memory=512MiB"
        ]
    );
}

#[test]
fn who_is_refused_hears_who_has_it() {
    let sandbox = with_pools();
    let begin = [
        "begin",
        "-q",
        "-t",
        "a",
        "--pool",
        "db",
        "--pool",
        "db",
        "--quota",
        "memory=9GiB",
    ];
    sandbox.mirror(begin).succeeded();
    sandbox
        .mirror([
            "begin", "-q", "-t", "b", "--pool", "db/db-3", "--quota", "memory=1",
        ])
        .succeeded();
    assert_left!(sandbox.mirror(["begin", "-t", "c", "-w", "README", "--pool", "db"]), @"
    $ mirror begin -t c -w README --pool db
    --- stderr
    Error: pool:db/db-1 is held by a, pool:db/db-2 is held by a, pool:db/db-3 is held by b
      pool:db/db-1 (write) held by a on [HOST], since [TIME], for [SPAN] more
      pool:db/db-2 (write) held by a on [HOST], since [TIME], for [SPAN] more
      pool:db/db-3 (write) held by b on [HOST], since [TIME], for [SPAN] more
    Hint: `mirror begin` and `mirror lock` wait for it with --wait 30s; `mirror status` shows all holders
    Hint: If a is gone for good: `mirror unlock --force --reason TEXT pool:db/db-1`
    --- exit 3
    ");
    let refused = sandbox
        .mirror(["begin", "-t", "c", "--quota", "memory=7GiB"])
        .exited(3);
    assert!(
        refused.stderr().contains("--reason TEXT -t a quota:memory=9GiB`"),
        "{}",
        refused.stderr()
    );
}

#[test]
fn status_and_who_show_what_is_in_use() {
    let sandbox = with_pools();
    let begin = [
        "begin",
        "-q",
        "-t",
        "a",
        "--pool",
        "db",
        "--quota",
        "memory=2GiB",
        "--reason",
        "e2e",
    ];
    sandbox.mirror(begin).succeeded();
    let shown = sandbox.mirror(["status"]).succeeded().stdout();
    assert!(
        shown.ends_with(
            "quota:memory  2GiB of 16GiB in use, 14GiB free (build, shared)\npool:db  1 of 3 in use, 2 free\n"
        ),
        "{shown}"
    );
    let resources = sandbox.mirror(["status", "--json"]).json()["resources"].clone();
    let expires = &resources[1]["holders"][0]["expires_in_ms"];
    assert_eq!(
        resources[1],
        json!({
            "name": "db", "kind": "pool", "resource": "pool:db", "total": 3, "used": 1, "free": 2, "tags": [],
            "holders": [{"task": "a", "resource": "pool:db/db-1", "reason": "e2e", "expires_in_ms": expires}],
        })
    );
    assert_left!(sandbox.mirror(["who", "pool:db", "pool:db/db-2", "quota:memory", "port:5003"]), @"
    $ mirror who pool:db pool:db/db-2 quota:memory port:5003
    --- stdout
    pool:db:
      pool:db/db-1 (write) held by a on [HOST], since [TIME], for [SPAN] more: e2e
    pool:db/db-2: nobody
    quota:memory:
      quota:memory=2GiB held by a on [HOST], since [TIME], for [SPAN] more: e2e
    port:5003: nobody
    --- exit 0
    ");
}

#[test]
fn shares_are_given_back_and_taken_by_force_by_name() {
    let sandbox = with_pools();
    let begin = |task: &str| {
        sandbox
            .mirror([
                "begin",
                "-q",
                "-t",
                task,
                "--pool",
                "db",
                "--quota",
                "memory=2GiB",
            ])
            .succeeded();
    };
    begin("a");
    begin("b");
    let document = sandbox
        .mirror(["unlock", "--json", "-t", "a", "pool:db", "quota:memory"])
        .succeeded()
        .json();
    assert_eq!(document["released"].as_array().unwrap().len(), 2);
    begin("c");
    // Two have as much of the quota: one is meant.
    sandbox
        .mirror([
            "unlock",
            "--force",
            "--reason",
            "stuck",
            "-t",
            "b",
            "quota:memory=2GiB",
        ])
        .succeeded();
    let holders = sandbox.mirror(["who", "--json", "quota:memory"]).json()[0]["holders"].clone();
    assert_eq!(holders.as_array().unwrap().len(), 1);
    assert_eq!(holders[0]["task"], "c");
}

#[test]
fn what_cannot_be_is_refused_with_what_there_is() {
    let sandbox = with_pools();
    for (words, expected) in [
        (&["--pool", "nope"][..], "There is no pool:nope, only pool:db"),
        (&["--pool", "memory"], "There is no pool:memory, only pool:db"),
        (
            &["--pool", "db/db-9"],
            "There is no pool:db/db-9, only pool:db/db-1, pool:db/db-2, pool:db/db-3",
        ),
        (&["--pool", "a b"], "Invalid pool name \"a b\""),
        (&["--pool", ""], "Invalid pool name \"\": it is empty"),
        (&["--pool", "../x"], "Invalid pool name \"..\""),
        (&["--quota", "db=1"], "There is no quota:db, only quota:memory"),
        (&["--quota", "memory"], "not NAME=AMOUNT, as in memory=2GiB"),
        (&["--quota", "memory="], "a whole number is needed"),
        (
            &["--quota", "memory=0"],
            "An amount of nothing was asked of quota:memory",
        ),
        (&["--quota", "memory=-1"], "a whole number is needed"),
        (&["--quota", "memory=17GiB"], "quota:memory is 16GiB in all"),
        (&["--quota", "memory=99999999999999999999"], "larger than 64 bits"),
        (
            &["--quota", "memory=1", "--quota", "memory=2"],
            "quota:memory is asked for twice",
        ),
        (
            &["--pool", "db", "--pool", "db", "--pool", "db", "--pool", "db"],
            "4 of pool:db were asked for, out of 3",
        ),
        (&["--port", "0"], "not a port"),
        (&["--port", "65536"], "not a port"),
        (&["-w", "pool:db"], "pool:db is only given out in shares"),
        (
            &["-w", "quota:memory=1"],
            "quota:memory=1 is only given out in shares",
        ),
        (
            &["-w", "worktree:1"],
            "worktree:1 is given out by `mirror run` alone",
        ),
        (
            &["-w", "landing:main"],
            "landing:main is given out by `mirror run` alone",
        ),
        (&["-w", "port:x"], "a number is needed"),
    ] {
        let words = ["begin", "-t", "a", "--wait", "1m"].iter().chain(words);
        let refused = sandbox.mirror(words).exited(2);
        assert!(refused.stderr().contains(expected), "{}", refused.text());
    }
    assert_eq!(sandbox.mirror(["status", "--json"]).json()["tasks"], json!([]));
}

#[test]
fn a_port_is_given_once_and_never_one_that_a_stranger_uses() {
    let (sandbox, first) = with_ports(4);
    let stranger = TcpListener::bind(("127.0.0.1", first)).unwrap();
    let everywhere = TcpListener::bind(("0.0.0.0", first + 1)).unwrap();
    let port = |task: &str| {
        let answer = sandbox
            .mirror(["begin", "--json", "-t", task, "--port"])
            .succeeded();
        answer.json()["allocated"]["MIRROR_PORT"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(port("a"), (first + 2).to_string());
    assert_eq!(port("b"), (first + 3).to_string());
    let held = sandbox.mirror(["who", "--json", "port:*"]).json();
    assert_eq!(
        held[0]["holders"].as_array().unwrap().len(),
        2,
        "no stranger's port stays held"
    );
    // What a task serves on itself is its own.
    let server = TcpListener::bind(("127.0.0.1", first + 2)).unwrap();
    sandbox.mirror(["lock", "-t", "a", "--port"]).succeeded();
    sandbox.mirror(["rollback", "-t", "b"]).succeeded();
    let last = TcpListener::bind(("127.0.0.1", first + 3)).unwrap();
    let ask = ["begin", "-t", "c", "-w", "README", "--port"];
    let refused = sandbox.mirror(ask).exited(3);
    let waits_for_a = format!("Error: port:{} is held by a", first + 2);
    assert!(refused.stderr().contains(&waits_for_a), "{}", refused.text());

    sandbox.mirror(["rollback", "-t", "a"]).succeeded();
    let refused = sandbox.mirror(ask).exited(3);
    let range = format!(
        "any of port:{first}-{} cannot be used: another program uses",
        first + 3
    );
    assert!(refused.stderr().contains(&range), "{}", refused.text());
    let by_name = first.to_string();
    let refused = sandbox
        .mirror(["begin", "-t", "c", "-w", "README", "--port", &by_name])
        .exited(3);
    assert!(refused.stderr().contains("cannot be used"), "{}", refused.text());
    // Nothing of it is left, neither the port nor the file.
    sandbox.mirror(["begin", "-t", "d", "-w", "README"]).succeeded();
    let refused = sandbox
        .mirror(["lock", "-t", "d", "-w", "src/a.rs", "--port"])
        .exited(3);
    assert!(refused.stderr().contains(&range), "{}", refused.text());
    let tasks = sandbox.mirror(["status", "--json"]).json()["tasks"].clone();
    assert_eq!(tasks.as_array().unwrap().len(), 1, "{tasks}");
    assert_eq!(tasks[0]["locks"].as_array().unwrap().len(), 1, "{tasks}");
    drop((stranger, everywhere, server, last));
    assert_eq!(port("c"), first.to_string());
}

#[test]
fn a_waiter_is_given_the_member_that_comes_free() {
    let sandbox = with_pools();
    sandbox
        .mirror([
            "begin", "-q", "-t", "a", "--pool", "db", "--pool", "db", "--pool", "db",
        ])
        .succeeded();
    let waiter = sandbox
        .mirror_program()
        .args(["begin", "-t", "b", "-w", "README", "--pool", "db", "--wait", "5m"])
        .start();
    waiter.until_stderr("a");
    let waiting = sandbox.mirror(["status", "--json"]).json()["waiters"][0].clone();
    assert_eq!(waiting["wants"][1]["resource"], "any of pool:db");
    assert_eq!(waiting["blocked_by"], json!(["a"]));
    sandbox.mirror(["unlock", "-t", "a", "pool:db/db-2"]).succeeded();
    let text = waiter.finish().succeeded().stdout();
    assert!(text.contains("write  pool:db/db-2"), "{text}");
}

#[test]
fn two_who_have_a_member_each_and_want_the_others_file_are_told_of_the_circle() {
    let sandbox = with_pools();
    for (task, file) in [("a", "README"), ("b", "src/a.rs")] {
        sandbox
            .mirror(["begin", "-q", "-t", task, "-w", file, "--pool", "db"])
            .succeeded();
    }
    let waiter = sandbox
        .mirror_program()
        .args(["lock", "-t", "a", "-w", "src/a.rs", "--wait", "5m"])
        .start();
    waiter.until_stderr("b");
    let refused = sandbox
        .mirror(["lock", "-t", "b", "-w", "README", "--wait", "5m"])
        .exited(3);
    assert!(
        refused.stderr().contains("deadlock: b waits for a waits for b"),
        "{}",
        refused.text()
    );
    // The same over the pool alone: there are three, and both want two more.
    let refused = sandbox
        .mirror([
            "lock", "-t", "b", "--pool", "db", "--pool", "db", "--pool", "db", "--wait", "5m",
        ])
        .exited(3);
    assert!(refused.stderr().contains("deadlock"), "{}", refused.text());
    sandbox.mirror(["rollback", "-t", "b"]).succeeded();
    waiter.finish().succeeded();
}

#[test]
fn less_may_be_configured_while_more_is_held() {
    let sandbox = with_pools();
    sandbox
        .mirror([
            "begin",
            "-q",
            "-t",
            "a",
            "--pool",
            "db",
            "--pool",
            "db",
            "--quota",
            "memory=12GiB",
        ])
        .succeeded();
    sandbox.write(
        ".mirror/config.yaml",
        "pools: {db: [db-3], memory: {total: 8GiB}}\n",
    );
    let resources = sandbox.mirror(["status", "--json"]).succeeded().json()["resources"].clone();
    assert_eq!(
        (&resources[0]["used"], &resources[0]["free"]),
        (&json!(12_u64 << 30), &json!(0))
    );
    sandbox
        .mirror(["begin", "-t", "b", "--quota", "memory=1"])
        .exited(3);
    sandbox.mirror(["begin", "-t", "b", "--pool", "db"]).succeeded();
    sandbox.mirror(["rollback", "-t", "a"]).succeeded();
    sandbox
        .mirror(["lock", "-t", "b", "--quota", "memory=8GiB"])
        .succeeded();
}

#[test]
fn a_hundred_processes_over_three_members_never_share_one() {
    let sandbox = with_pools();
    // A member is a directory that only its holder makes and removes: two at once would see it.
    let script = "set -e; task=$1; out=$(mirror begin -q --json -t $task --pool db --pid $$ --wait 120s); \
         db=$(printf %s \"$out\" | sed 's/.*MIRROR_POOL_DB\":\"\\([^\"]*\\)\".*/\\1/'); \
         mkdir \"in-use-$db\" || { echo \"$db twice\" >&2; exit 9; }; \
         [ \"$2\" = die ] && { rmdir \"in-use-$db\"; kill -9 $$; }; \
         rmdir \"in-use-$db\"; mirror rollback -q -t $task";
    let codes = at_once(100, |number| {
        let (task, end) = (
            format!("t-{number}"),
            if number % 5 == 0 { "die" } else { "live" },
        );
        let directory = std::path::Path::new(env!("CARGO_BIN_EXE_mirror"))
            .parent()
            .unwrap();
        let path = format!("{}:/usr/bin:/bin", directory.display());
        let finished = sandbox
            .program("sh")
            .env("PATH", path)
            .args(["-c", script, "sh", &task, end])
            .run();
        (finished.code(), finished.stderr())
    });
    for (number, (code, stderr)) in codes.into_iter().enumerate() {
        let expected = if number % 5 == 0 { None } else { Some(0) };
        assert_eq!(code, expected, "t-{number}: {stderr}");
    }
    sandbox
        .mirror([
            "begin", "-t", "last", "--pool", "db", "--pool", "db", "--pool", "db",
        ])
        .succeeded();
}
