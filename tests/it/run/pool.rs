//! Who waits for a file, and who has a working copy meanwhile.

use crate::run::{assert_clean, repository, run, running};
use crate::support::Sandbox;
use crate::support::running::Running;

/// Somebody works on `src/a.js`, and a run waits for it.
fn one_waits(sandbox: &Sandbox) -> Running {
    sandbox
        .mirror(["begin", "-t", "holder", "-w", "src/a.js"])
        .succeeded();
    let arguments = ["-t", "first", "-w", "src/a.js", "--wait", "60s", "-m", "first"];
    let first = running(sandbox, &arguments, "echo first > src/a.js").start();
    first.until_stderr("Waiting for");
    first
}

fn line_of_copies(max: u32) -> Sandbox {
    let sandbox = repository();
    sandbox.write(
        ".mirror/config.yaml",
        format!("run: {{worktrees: {{max: {max}}}}}\n"),
    );
    sandbox
}

#[test]
fn a_run_that_waits_for_a_file_keeps_nobody_from_a_copy_that_is_free() {
    let sandbox = line_of_copies(2);
    let first = one_waits(&sandbox);
    // Nobody is waited for: it is granted at once or refused.
    run(
        &sandbox,
        &["-w", "src/b.js", "-m", "second"],
        "echo second > src/b.js",
    )
    .succeeded();
    // The first waits for the holder of its file, and for no one else.
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(
        status["waiters"][0]["blocked_by"],
        serde_json::json!(["holder"]),
        "{status}"
    );
    sandbox.mirror(["rollback", "-t", "holder"]).succeeded();
    first.finish().succeeded();
    assert_eq!(sandbox.read("src/a.js"), "first\n");
    assert_eq!(sandbox.read("src/b.js"), "second\n");
    assert_clean(&sandbox);
}

#[test]
fn the_only_copy_goes_to_whoever_came_first() {
    let sandbox = line_of_copies(1);
    let first = one_waits(&sandbox);
    run(&sandbox, &["-w", "src/b.js"], "true").exited(3);
    let arguments = ["-t", "second", "-w", "src/b.js", "--wait", "60s", "-m", "second"];
    let second = running(&sandbox, &arguments, "echo second > src/b.js").start();
    second.until_stderr("a working copy");
    sandbox.mirror(["rollback", "-t", "holder"]).succeeded();
    first.finish().succeeded();
    second.finish().succeeded();
    assert_eq!(
        sandbox.git(["log", "--format=%s", "-2"]),
        "second\nfirst",
        "in order of arrival"
    );
    assert_clean(&sandbox);
}

#[test]
fn a_stream_of_later_runs_never_keeps_the_first_from_its_copy() {
    let sandbox = line_of_copies(2);
    let first = one_waits(&sandbox);
    // Of two copies one is the first's: those that come later have the other one after each other.
    let later: Vec<Running> = (0..6)
        .map(|number| {
            let path = format!("src/n{number}");
            let script = format!("echo x > {path}");
            running(&sandbox, &["-w", &path, "--wait", "60s", "-m", &path], &script).start()
        })
        .collect();
    let stuck = "echo ready; until [ -e $GO ]; do sleep 0.01; done";
    let stuck = running(&sandbox, &["-w", "src/c.js", "--wait", "60s"], stuck)
        .env("GO", sandbox.beside("go"))
        .start();
    stuck.until_stdout("ready");
    run(&sandbox, &["-w", "src/b.js"], "true").exited(3);
    // While a copy is in use for as long as it pleases, the first needs its file and nothing else.
    sandbox.mirror(["rollback", "-t", "holder"]).succeeded();
    first.finish().succeeded();
    std::fs::write(sandbox.beside("go"), "").unwrap();
    stuck.finish().succeeded();
    for run in later {
        run.finish().succeeded();
    }
    assert_eq!(sandbox.read("src/a.js"), "first\n");
    assert_clean(&sandbox);
}

#[test]
fn a_run_that_waits_keeps_nobody_from_a_member_of_a_pool_either() {
    let sandbox = repository();
    sandbox.write(".mirror/config.yaml", "pools: {db: [db-1, db-2]}\n");
    sandbox
        .mirror(["begin", "-t", "holder", "-w", "src/a.js"])
        .succeeded();
    let first = sandbox
        .mirror_program()
        .args([
            "begin", "-t", "first", "-w", "src/a.js", "--pool", "db", "--wait", "60s",
        ])
        .start();
    first.until_stderr("Waiting for");
    let second = sandbox
        .mirror([
            "begin", "-t", "second", "-w", "src/b.js", "--pool", "db", "--json",
        ])
        .succeeded()
        .json();
    assert_eq!(second["allocated"]["MIRROR_POOL_DB"], "db-2", "{second}");
    sandbox
        .mirror(["begin", "-t", "third", "-w", "src/c.js", "--pool", "db"])
        .exited(3);
    sandbox.mirror(["rollback", "-t", "holder"]).succeeded();
    first.finish().succeeded();
    let who = sandbox.mirror(["who", "pool:db/db-1"]).succeeded().stdout();
    assert!(who.contains("first"), "{who}");
}
