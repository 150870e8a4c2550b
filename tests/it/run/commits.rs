//! `mirror commit` ends by signals and lost locks as a run does, and leaves its task as it was.

use crate::run::{assert_clean, assert_ended, repository};
use crate::support::Sandbox;
use crate::support::program::Program;

/// A task with one staged change.
fn staged(sandbox: &Sandbox) {
    let begin = ["begin", "-t", "agent", "-w", "src/a.js"];
    sandbox.mirror(begin).succeeded();
    let stage = ["stage", "-t", "agent", "src/a.js"];
    let stage = sandbox.mirror_program().args(stage);
    stage.input("staged\n").run().succeeded();
}

/// `mirror commit`, with all signals that end it doing so, whatever has started the tests.
fn committing(sandbox: &Sandbox, arguments: &[&str]) -> Program {
    let mirror = ["--default-signal=HUP,INT,QUIT,TERM", env!("CARGO_BIN_EXE_mirror")];
    let commit = ["commit", "-t", "agent", "-m", "x"];
    sandbox.program("env").args(mirror).args(commit).args(arguments)
}

/// The root, for a validation, which runs somewhere below it.
fn marks(sandbox: &Sandbox) -> String {
    let root = sandbox.root();
    format!(
        "setsid tail -f /dev/null & echo $! > {0}/left; echo $$ > {0}/validating; exec tail -f /dev/null",
        root.display()
    )
}

#[test]
fn a_signal_ends_the_validation_and_leaves_the_task_as_it_was() {
    for (signal, number) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3)] {
        let sandbox = repository();
        staged(&sandbox);
        let validate = marks(&sandbox);
        let going = committing(&sandbox, &["--validate", &validate]).start();
        sandbox.shell("until [ -s validating ]; do sleep 0.01; done");
        sandbox.shell(&format!("kill -{signal} {}", going.pid()));
        let ran = going.finish();
        let text = ran.text();
        assert!(text.ends_with(&format!("--- signal {number}\n")), "{text}");
        let says = "The task agent was interrupted before its commit was decided: it is as it was, and nothing is committed";
        assert!(text.contains(says), "{text}");
        assert!(text.contains("Hint: Run the same command again"), "{text}");
        for file in ["left", "validating"] {
            assert_ended(&sandbox, file);
        }
        sandbox.shell("rm left validating");
        let status = sandbox.mirror(["status", "--json"]).succeeded().json();
        assert_eq!(status["tasks"][0]["staged"], 1, "{status}");
        assert_eq!(
            status["tasks"][0]["locks"].as_array().unwrap().len(),
            1,
            "{status}"
        );
        assert_eq!(sandbox.read("src/a.js"), "var a;\n");
        committing(&sandbox, &["--validate", "grep -q staged src/a.js"])
            .run()
            .succeeded();
        assert_clean(&sandbox);
    }
}

#[test]
fn a_signal_ends_the_wait_for_its_turn_and_for_whoever_works_on_the_task() {
    let sandbox = repository();
    staged(&sandbox);
    let validate = marks(&sandbox);
    let first = committing(&sandbox, &["--validate", &validate]).start();
    sandbox.shell("until [ -s validating ]; do sleep 0.01; done");
    let second = committing(&sandbox, &["--json"])
        .env("MIRROR_FAULT", "commit.begun=stop")
        .start();
    second.until_stopped();
    sandbox.shell(&format!("kill -INT {}", second.pid()));
    second.resume();
    let ran = second.finish();
    assert!(ran.text().ends_with("--- signal 2\n"), "{ran}");
    assert_eq!(ran.error_json()["error"]["kind"], "interrupted");
    sandbox.shell(&format!("kill -TERM {}", first.pid()));
    first.finish();
    sandbox.shell("rm left validating");
    sandbox.mirror(["rollback", "-t", "agent"]).succeeded();
    assert_clean(&sandbox);
}

#[test]
fn after_the_decision_a_signal_counts_no_more() {
    let sandbox = repository();
    staged(&sandbox);
    let going = committing(&sandbox, &[])
        .env("MIRROR_FAULT", "apply.exchange=stop")
        .start();
    going.until_stopped();
    let pid = going.pid();
    sandbox.shell(&format!("kill -TERM {pid}; kill -HUP {pid}; kill -INT {pid}"));
    going.resume();
    going.finish().succeeded();
    assert_eq!(sandbox.git(["show", "HEAD:src/a.js"]), "staged");
    assert_clean(&sandbox);
}

/// A validation may never end; its locks do, at the latest when somebody takes them.
#[test]
fn a_validation_ends_when_the_locks_are_lost() {
    for how in ["by force", "by time"] {
        let sandbox = repository();
        let short = "resource_manager: {lock_timeout: 1, max_hold: 1}\n";
        sandbox.write(".mirror/config.yaml", short);
        staged(&sandbox);
        let validate = marks(&sandbox);
        let going = committing(&sandbox, &["--validate", &validate]).start();
        sandbox.shell("until [ -s validating ]; do sleep 0.01; done");
        let pid = going.pid();
        if how == "by force" {
            let unlock = ["unlock", "--force", "--reason", "mine", "src/a.js"];
            sandbox.mirror(unlock).succeeded();
        } else {
            sandbox.shell(&format!("kill -STOP {pid}"));
            let begin = ["begin", "-t", "other", "-w", "src/a.js", "--wait", "60s"];
            sandbox.mirror(begin).succeeded();
            going.resume();
        }
        let ran = going.finish().exited(4);
        let text = ran.text();
        assert!(
            text.contains("Hint: `mirror lock -t agent` wins back the locks on what is staged"),
            "{text}"
        );
        for file in ["left", "validating"] {
            assert_ended(&sandbox, file);
        }
        sandbox.shell("rm left validating");
        if how == "by time" {
            sandbox.mirror(["rollback", "-t", "other"]).succeeded();
        }
        sandbox.mirror(["lock", "-t", "agent"]).succeeded();
        committing(&sandbox, &[]).run().succeeded();
        assert_clean(&sandbox);
    }
}
