//! Real processes at one registry: killed while they hold, killed while they wait.

use std::time::Duration;

use crate::support::Sandbox;

fn repository() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("a", "a\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

#[test]
fn a_waiter_is_served_when_the_process_behind_the_lock_is_killed() {
    let sandbox = repository();
    let holder = sandbox.program("sleep").args(["1000"]).start();
    let pid = holder.pid().to_string();
    sandbox
        .mirror(["begin", "-t", "holder", "-w", "a", "--pid", &pid])
        .succeeded();
    let waiter = sandbox
        .mirror_program()
        .args(["begin", "-t", "waiter", "-w", "a", "--wait", "5m"])
        .start();
    waiter.until_stderr("holder");
    let killed = mirror::host::Stopwatch::start();
    holder.kill();
    waiter.finish().succeeded();
    assert!(
        killed.elapsed() < Duration::from_mins(1),
        "it need not wait for the lease of five minutes"
    );
    assert_eq!(
        sandbox.mirror(["who", "a", "--json"]).json()[0]["holders"][0]["task"],
        "waiter"
    );
}

#[test]
fn a_killed_waiter_is_passed_over() {
    let sandbox = repository();
    sandbox.mirror(["begin", "-t", "holder", "-w", "a"]).succeeded();
    let wait = |name: &str| {
        let running = sandbox
            .mirror_program()
            .args(["begin", "-t", name, "-w", "a", "--wait", "5m"])
            .start();
        running.until_stderr("holder");
        running
    };
    let (first, second) = (wait("first"), wait("second"));
    first.kill();
    sandbox.mirror(["rollback", "-t", "holder"]).succeeded();
    second.finish().succeeded();
    assert_eq!(
        sandbox.mirror(["who", "a", "--json"]).json()[0]["holders"][0]["task"],
        "second"
    );
}

#[test]
fn crowds_that_are_killed_at_random_leave_no_lock_behind() {
    let sandbox = repository();
    let script =
        "while :; do mirror begin -q -t $1 -w a --pid $$ --wait 10s && mirror rollback -q -t $1; done";
    let workers: Vec<_> = (0..6)
        .map(|number| {
            let directory = std::path::Path::new(env!("CARGO_BIN_EXE_mirror"))
                .parent()
                .unwrap();
            let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
            let name = format!("worker-{number}");
            let program = sandbox.program("sh").env("PATH", path);
            program.args(["-c", script, "sh", &name]).start()
        })
        .collect();
    // Everybody has had the lock once before anybody dies.
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < workers.len() {
        let holders = sandbox.mirror(["who", "a", "--json"]).json();
        let holders = holders[0]["holders"].as_array().unwrap().clone();
        seen.extend(holders.iter().map(|holder| holder["task"].to_string()));
    }
    for worker in workers {
        worker.kill();
    }
    sandbox
        .mirror(["begin", "-t", "last", "-w", "a", "--wait", "30s"])
        .succeeded();
    sandbox.mirror(["rollback", "-t", "last"]).succeeded();
    sandbox.mirror(["cleanup"]).succeeded();
    let status = sandbox.mirror(["status", "--json"]).json();
    assert_eq!(status["tasks"], serde_json::json!([]));
    assert_eq!(status["waiters"], serde_json::json!([]));
    sandbox.mirror(["doctor"]).succeeded();
}

#[test]
fn the_log_of_the_registry_stays_short_when_no_two_commands_overlap() {
    let sandbox = repository();
    for number in 0..40 {
        let name = format!("agent-{number}");
        sandbox
            .mirror(["begin", "-q", "-t", &name, "-w", "a"])
            .succeeded();
        sandbox.mirror(["rollback", "-q", "-t", &name]).succeeded();
    }
    // Whoever opens the registry first reads all of it.
    let length = std::fs::metadata(sandbox.path(".mirror/registry.db-wal"))
        .unwrap()
        .len();
    assert!(length < 1 << 20, "{length} bytes");
}
