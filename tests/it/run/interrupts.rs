//! Signals after the command of a run has ended: up to the decision they end the run, after it they count no more.

use crate::run::{assert_clean, assert_ended, repository, running, signalled};
use crate::support::Sandbox;
use crate::support::program::Finished;
use crate::support::running::Running;

const SIGNALS: [(&str, i32); 4] = [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3)];

/// A validation that goes on until there is a file `go`.
const UNTIL_GO: &str = "echo > ../../../../validating; until [ -e ../../../../go ]; do sleep 0.01; done";

/// Sends a signal and waits for the end.
fn end_by(sandbox: &Sandbox, run: Running, signal: &str) -> Finished {
    sandbox.shell(&format!("kill -{signal} {}", run.pid()));
    run.finish()
}

#[track_caller]
fn assert_interrupted(ran: &Finished, signal: i32) {
    let text = ran.text();
    assert!(text.ends_with(&format!("--- signal {signal}\n")), "{text}");
    assert!(
        text.contains("was interrupted before its commit was decided"),
        "{text}"
    );
    assert!(
        text.contains("What it had changed is kept in [SANDBOX]/root/.mirror/salvage/[UUID]."),
        "{text}"
    );
}

#[test]
fn a_signal_ends_the_wait_for_the_turn_to_land_and_the_next_one_has_it() {
    let sandbox = repository();
    let first = ["-w", "src/a.js", "-m", "first", "--validate", UNTIL_GO];
    let first = running(&sandbox, &first, "echo first > src/a.js").start();
    sandbox.shell("until [ -e validating ]; do sleep 0.01; done");
    let waiting: Vec<_> = SIGNALS
        .iter()
        .map(|(signal, _)| {
            let path = format!("src/{signal}");
            let arguments = ["-w", &path, "-m", signal, "--validate", "true"];
            let run = signalled(&sandbox, &arguments, &format!("echo {signal} > {path}")).start();
            run.until_stderr("In line to land on main behind ");
            run
        })
        .collect();
    let last = [
        "-w",
        "src/b.js",
        "-m",
        "last",
        "--validate",
        "test -z \"$(ls src/[A-Z]*)\"",
    ];
    let last = running(&sandbox, &last, "echo last > src/b.js").start();
    last.until_stderr("In line to land on main behind ");
    for ((signal, number), run) in SIGNALS.iter().zip(waiting) {
        assert_interrupted(&end_by(&sandbox, run, signal), *number);
        assert_eq!(
            sandbox
                .shell(&format!("cat .mirror/salvage/*/src/{signal}"))
                .trim(),
            *signal
        );
    }
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(status["waiters"].as_array().unwrap().len(), 1, "{status}");
    sandbox.write("go", "");
    first.finish().succeeded();
    last.finish().succeeded();
    assert_eq!(sandbox.git(["rev-list", "--count", "HEAD"]), "3");
    assert_clean(&sandbox);
}

#[test]
fn a_signal_ends_a_validation_with_all_that_it_has_started() {
    for (signal, number) in SIGNALS {
        let sandbox = repository();
        // It is asked to end; that it ends well then does not count.
        let validate = "trap 'echo > ../../../../asked; exit 0' TERM; setsid tail -f /dev/null & \
                        echo $! > ../../../../left; echo scribble > src/b.js; until [ -e never ]; do sleep 0.01; done";
        let arguments = ["-w", "src/a.js", "-m", "x", "--validate", validate];
        let going = signalled(&sandbox, &arguments, "echo finished > src/a.js").start();
        sandbox.shell("until [ -s left ]; do sleep 0.01; done");
        let next = ["-w", "src/c.js", "-m", "next", "--validate", "true"];
        let next = running(&sandbox, &next, "echo next > src/c.js").start();
        next.until_stderr("In line to land on main behind ");
        assert_interrupted(&end_by(&sandbox, going, signal), number);
        assert_ended(&sandbox, "left");
        assert!(sandbox.exists("asked"));
        // What is kept is what the command has made, not what a validation makes of it.
        assert_eq!(
            sandbox.shell("cd .mirror/salvage/*/ && find . -type f && cat src/a.js"),
            "./src/a.js\nfinished\n"
        );
        next.finish().succeeded();
        assert_eq!(sandbox.read("src/a.js"), "var a;\n");
        assert_eq!(sandbox.read("src/c.js"), "next\n");
        assert_clean(&sandbox);
    }
}

#[test]
fn a_signal_ends_the_wait_for_the_locks() {
    let sandbox = repository();
    sandbox.mirror(["begin", "-t", "other", "-w", "src/"]).succeeded();
    for (signal, number) in SIGNALS {
        let arguments = ["-t", "late", "-w", "src/a.js", "--wait", "10m", "-m", "x"];
        let run = signalled(&sandbox, &arguments, "touch ../../../../ran").start();
        run.until_stderr("Waiting for");
        let text = end_by(&sandbox, run, signal).text();
        assert!(text.ends_with(&format!("--- signal {number}\n")), "{text}");
        let says = "Error: The run late was interrupted before its commit was decided: it is rolled back, and nothing is committed\n\
                    Hint: Run the same command again\n";
        assert!(text.contains(says), "{text}");
    }
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(status["waiters"].as_array().unwrap().len(), 0, "{status}");
    sandbox.mirror(["rollback", "-t", "other"]).succeeded();
    assert!(!sandbox.exists("ran"));
    assert_clean(&sandbox);
}

#[test]
fn a_signal_before_the_command_begins_ends_the_run_and_a_second_one_at_once() {
    for arguments in [
        ["-w", "src/a.js", "-m", "x"],
        ["-w", "src/a.js", "--in-place", "-q"],
    ] {
        for point in ["run.begun", "worktree.leased", "run.kept"] {
            let is_in_place = arguments.contains(&"--in-place");
            if (point == "worktree.leased") == is_in_place
                || (point == "run.kept") != is_in_place && point != "run.begun"
            {
                continue;
            }
            let sandbox = repository();
            let start = || {
                let fault = format!("{point}=stop");
                let run = signalled(&sandbox, &arguments, "touch src/a.js ../../../../ran ran");
                let run = run.env("MIRROR_FAULT", fault).start();
                run.until_stopped();
                run
            };
            let run = start();
            sandbox.shell(&format!("kill -TERM {}", run.pid()));
            run.resume();
            let text = run.finish().text();
            assert!(text.ends_with("--- signal 15\n"), "{point}: {text}");
            assert!(
                text.contains("was interrupted before its commit was decided"),
                "{point}: {text}"
            );
            assert!(!sandbox.exists("ran"));
            assert_clean(&sandbox);
        }
    }
    // Somebody else's lock that nobody lets go of.
    let sandbox = repository();
    run_once(&sandbox);
    let lock = sandbox.path(".mirror/worktrees/1/lock");
    let hold = format!(
        "exec 9>{}; flock 9; echo held; exec tail -f /dev/null",
        lock.display()
    );
    let holder = sandbox.program("sh").args(["-c", &hold]).start();
    holder.until_stdout("held");
    let run = signalled(&sandbox, &["-t", "stuck", "-w", "src/a.js", "-m", "x"], "true").start();
    sandbox.shell(&format!(
        "until {} status | grep -q ^stuck; do sleep 0.01; done",
        env!("CARGO_BIN_EXE_mirror")
    ));
    sandbox.shell(&format!("kill -TERM {0}; while kill -TERM {0} 2>/dev/null && ! grep -q State:.Z /proc/{0}/status; do sleep 0.01; done", run.pid()));
    assert!(run.finish().text().ends_with("--- signal 15\n"));
    drop(holder.kill());
    run_once(&sandbox);
    assert_clean(&sandbox);
}

fn run_once(sandbox: &Sandbox) {
    running(sandbox, &["-w", "src/b.js", "-m", "x"], "echo x >> src/b.js")
        .run()
        .succeeded();
}

#[test]
fn with_json_or_quiet_the_error_says_where_the_work_is_kept() {
    let sandbox = repository();
    for flag in ["--json", "-q"] {
        let arguments = [flag, "-w", "src/a.js", "-m", "x", "--validate", "false"];
        let ran = running(&sandbox, &arguments, "echo finished > src/a.js")
            .run()
            .exited(6);
        let told = ran.stderr();
        assert!(told.contains("What it had changed is kept in "), "{told}");
        assert!(told.contains("/.mirror/salvage/"), "{told}");
    }
    assert_clean(&sandbox);
}

#[test]
fn a_terminal_interrupts_the_validation_and_the_run() {
    let sandbox = repository();
    let validate = "echo > ../../../../validating; exec tail -f /dev/null";
    let arguments = ["-w", "src/a.js", "-m", "x", "--validate", validate];
    let going = signalled(&sandbox, &arguments, "echo finished > src/a.js").start_group();
    sandbox.shell("until [ -e validating ]; do sleep 0.01; done");
    sandbox.shell(&format!("kill -INT -{}", going.pid()));
    let ran = going.finish();
    assert!(ran.text().ends_with("--- signal 2\n"), "{ran}");
    assert_eq!(sandbox.shell("cat .mirror/salvage/*/src/a.js"), "finished\n");
    assert_clean(&sandbox);
}

#[test]
fn a_signal_ends_the_wait_for_somebody_elses_commit() {
    let sandbox = repository();
    sandbox
        .mirror(["begin", "-t", "other", "-w", "src/b.js"])
        .succeeded();
    let stage = ["stage", "-t", "other", "src/b.js"];
    sandbox
        .mirror_program()
        .args(stage)
        .input("other\n")
        .run()
        .succeeded();
    let other = sandbox
        .mirror_program()
        .env("MIRROR_FAULT", "commit.decide=stop")
        .args(["commit", "-t", "other", "-m", "other"])
        .start();
    other.until_stopped();
    let going = signalled(
        &sandbox,
        &["-w", "src/a.js", "-m", "x"],
        "echo finished > src/a.js",
    )
    .env("MIRROR_FAULT", "run.worked=stop")
    .start();
    going.until_stopped();
    sandbox.shell(&format!("kill -TERM {}", going.pid()));
    going.resume();
    assert_interrupted(&going.finish(), 15);
    assert_eq!(sandbox.shell("cat .mirror/salvage/*/src/a.js"), "finished\n");
    other.resume();
    other.finish().succeeded();
    assert_eq!(sandbox.git(["log", "--format=%s"]), "other\nfirst");
    assert_clean(&sandbox);
}

#[test]
fn after_the_decision_a_signal_counts_no_more() {
    for (signal, _) in SIGNALS {
        let sandbox = repository();
        let arguments = ["-w", "src/a.js", "-m", "x", "--validate", "true"];
        let going = signalled(&sandbox, &arguments, "echo done > src/a.js")
            .env("MIRROR_FAULT", "commit.decided=stop")
            .start();
        going.until_stopped();
        sandbox.shell(&format!("kill -{signal} {}", going.pid()));
        going.resume();
        going.finish().succeeded();
        assert_eq!(sandbox.read("src/a.js"), "done\n");
        assert_eq!(sandbox.git(["show", "HEAD:src/a.js"]), "done");
        assert_clean(&sandbox);
    }
}

#[test]
fn a_signal_that_is_to_be_ignored_is_ignored() {
    let sandbox = repository();
    let going = sandbox
        .program("sh")
        .args([
            "-c",
            "trap '' HUP; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_mirror"),
        ])
        .args(["run", "-w", "src/a.js", "-m", "x", "--validate", UNTIL_GO])
        .args(["--", "sh", "-c", "kill -HUP $$; echo done > src/a.js"])
        .start();
    sandbox.shell("until [ -e validating ]; do sleep 0.01; done");
    sandbox.shell(&format!("kill -HUP {}", going.pid()));
    sandbox.write("go", "");
    going.finish().succeeded();
    assert_eq!(sandbox.read("src/a.js"), "done\n");
    assert_clean(&sandbox);
}

#[test]
fn locks_that_are_taken_by_force_end_a_validation_and_the_wait_for_the_turn() {
    let sandbox = repository();
    let validate = "tail -f /dev/null & echo $! > ../../../../left; wait";
    let arguments = ["-t", "slow", "-w", "src/a.js", "-m", "x", "--validate", validate];
    let slow = running(&sandbox, &arguments, "echo finished > src/a.js").start();
    sandbox.shell("until [ -s left ]; do sleep 0.01; done");
    let arguments = ["-t", "queued", "-w", "src/b.js", "-m", "x", "--validate", "true"];
    let queued = running(&sandbox, &arguments, "echo finished > src/b.js").start();
    queued.until_stderr("In line to land on main behind ");
    let force = |path: &str| {
        let unlock = ["unlock", "--force", "--reason", "mine", path];
        sandbox.mirror(unlock).succeeded();
    };
    force("src/b.js");
    let ran = queued.finish().exited(4);
    assert!(ran.stderr().contains("queued lost its locks"), "{ran}");
    force("src/a.js");
    let ran = slow.finish().exited(4);
    assert!(ran.stderr().contains("slow lost its locks"), "{ran}");
    assert_ended(&sandbox, "left");
    assert_eq!(
        sandbox.shell("cat .mirror/salvage/*/src/[ab].js"),
        "finished\nfinished\n"
    );
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    assert_clean(&sandbox);
}
