//! What `status` and the refusals say of runs.

use serde_json::Value;

use crate::run::{assert_clean, repository, run, running};
use crate::support::Sandbox;
use crate::support::running::Running;

fn status(sandbox: &Sandbox) -> Value {
    sandbox.mirror(["status", "--json"]).succeeded().json()
}

fn task<'a>(status: &'a Value, name: &str) -> &'a Value {
    let tasks = status["tasks"].as_array().unwrap();
    let found = tasks.iter().find(|task| task["task"] == name);
    found.unwrap_or_else(|| panic!("{name}: {status}"))
}

fn line(sandbox: &Sandbox, name: &str) -> String {
    let shown = sandbox.mirror(["status"]).succeeded().stdout();
    let mut lines = shown
        .lines()
        .filter(|line| line.starts_with(&format!("{name}  ")));
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("{name}: {shown}"))
        .to_owned();
    assert_eq!(lines.next(), None, "one line each: {shown}");
    line
}

/// A run that is being validated until there is a file `go` beside the repository.
fn validating(sandbox: &Sandbox, name: &str) -> Running {
    let validate = "echo > $SEEN; until [ -e $GO ]; do sleep 0.01; done";
    let path = format!("src/{name}");
    let arguments = ["-t", name, "-w", &path, "-m", "x", "--validate", validate];
    let started = running(sandbox, &arguments, &format!("echo x > {path}"))
        .env("SEEN", sandbox.beside(&format!("seen-{name}")))
        .env("GO", sandbox.beside("go"))
        .start();
    sandbox.shell(&format!("until [ -e ../seen-{name} ]; do sleep 0.01; done"));
    started
}

#[test]
fn each_run_has_a_line_that_tells_how_far_it_is() {
    let sandbox = repository();
    let validated = validating(&sandbox, "validated");
    let arguments = ["-t", "lands", "-w", "src/b.js", "-m", "y", "--validate", "true"];
    let lands = running(&sandbox, &arguments, "echo y > src/b.js").start();
    lands.until_stderr("In line to land on main behind validated\n");
    let wait = "echo ready; until [ -e $GO ]; do sleep 0.01; done";
    let paths = [
        "-t", "works", "-w", "src/a.js", "-w", "n1", "-w", "n2", "-w", "n3",
    ];
    let works = running(&sandbox, &paths, wait)
        .env("GO", sandbox.beside("go"))
        .start();
    works.until_stdout("ready");
    let waits = running(
        &sandbox,
        &["-t", "waits", "-w", "src/a.js", "--wait", "60s"],
        "true",
    )
    .start();
    waits.until_stderr("Waiting for");

    assert!(line(&sandbox, "validated").starts_with("validated  validating, process "));
    let lands_line = line(&sandbox, "lands");
    assert!(
        lands_line.starts_with("lands  in line to land behind validated, process "),
        "{lands_line}"
    );
    let works_line = line(&sandbox, "works");
    assert!(works_line.starts_with("works  working, process "), "{works_line}");
    assert!(
        works_line.ends_with(
            "file:n1, file:n2, file:n3 and 1 more: sh -c echo ready; until [ -e $GO ]; do sleep 0.01; done"
        ),
        "{works_line}"
    );
    let waits_line = line(&sandbox, "waits");
    assert!(
        waits_line.starts_with("waits  waits for works, since ")
            && waits_line.ends_with("file:src/a.js: sh -c true"),
        "{waits_line}"
    );
    let shown = sandbox.mirror(["status"]).succeeded().stdout();
    assert_eq!(shown.lines().count(), 6, "{shown}");

    let status = status(&sandbox);
    for (name, phase) in [
        ("validated", "validating"),
        ("lands", "in-line"),
        ("works", "working"),
        ("waits", "waiting"),
    ] {
        let task = task(&status, name);
        assert_eq!(task["phase"], phase, "{task}");
        assert_eq!(task["run"], true, "{task}");
    }
    assert!(!status["tasks"].to_string().contains("landing."), "{status}");
    assert_eq!(status["waiters"][0]["task"], "lands");
    assert_eq!(
        status["waiters"][0]["blocked_by"],
        serde_json::json!(["validated"])
    );
    std::fs::write(sandbox.beside("go"), "").unwrap();
    for run in [validated, lands, works, waits] {
        run.finish().succeeded();
    }
    assert_clean(&sandbox);
}

#[test]
fn a_commit_that_is_validated_says_so_and_stays_a_task() {
    let sandbox = repository();
    sandbox
        .mirror(["begin", "-t", "by-hand", "-w", "src/a.js"])
        .succeeded();
    sandbox
        .mirror_program()
        .args(["stage", "-t", "by-hand", "src/a.js"])
        .input("staged\n")
        .run()
        .succeeded();
    let validate = "echo > $SEEN; until [ -e $GO ]; do sleep 0.01; done";
    let committing = sandbox
        .mirror_program()
        .args(["commit", "-t", "by-hand", "-m", "x", "--validate", validate])
        .env("SEEN", sandbox.beside("seen"))
        .env("GO", sandbox.beside("go"))
        .start();
    sandbox.shell("until [ -e ../seen ]; do sleep 0.01; done");
    assert!(line(&sandbox, "by-hand").starts_with("by-hand  open, validating, 1 staged, token "));
    let status = status(&sandbox);
    assert_eq!(task(&status, "by-hand")["run"], false);
    assert_eq!(task(&status, "by-hand")["phase"], "validating");
    std::fs::write(sandbox.beside("go"), "").unwrap();
    committing.finish().succeeded();
}

#[test]
fn who_was_killed_is_not_shown_as_if_alive() {
    let sandbox = repository();
    // A watcher clears nothing up: it sees what is there.
    let watcher = sandbox.mirror_program().args(["status", "--watch"]).start();
    let validated = validating(&sandbox, "validated");
    watcher.until_stdout("validated  validating");
    validated.kill();
    watcher.until_stdout("validated  dead, cleared by the next command, file:src/validated");
    let shown = sandbox.mirror(["status"]).succeeded().stdout();
    assert!(shown.starts_with("No tasks."), "{shown}");
    watcher.kill();
    std::fs::write(sandbox.beside("go"), "").unwrap();
    assert_clean(&sandbox);
}

#[test]
fn a_run_without_a_copy_is_told_so_and_how_to_wait() {
    let sandbox = repository();
    sandbox.write(".mirror/config.yaml", "run: {worktrees: {max: 2}}\n");
    let wait = "echo ready; until [ -e $GO ]; do sleep 0.01; done";
    let both = ["src/a.js", "src/b.js"].map(|path| {
        let run = running(&sandbox, &["-w", path], wait)
            .env("GO", sandbox.beside("go"))
            .start();
        run.until_stdout("ready");
        run
    });
    let refused = run(&sandbox, &["-w", "src/c.js"], "true").exited(3);
    let said = refused.stderr();
    assert!(
        said.starts_with("Error: All 2 working copies are in use\n"),
        "{said}"
    );
    assert!(
        said.contains("Hint: `mirror run --wait 10m …` waits for it"),
        "{said}"
    );
    assert!(
        said.contains("run.worktrees.max in .mirror/config.yaml, now 2"),
        "{said}"
    );
    assert!(!said.contains("unlock --force"), "{said}");
    let refused = run(
        &sandbox,
        &["-t", "late", "-w", "src/c.js", "--wait", "10ms"],
        "true",
    )
    .exited(3);
    let said = refused.stderr();
    assert!(
        said.contains("All 2 working copies are in use, still after "),
        "{said}"
    );
    assert!(
        said.contains("Hint: `mirror run --wait 10m …` waits longer"),
        "{said}"
    );
    // Of a file one is told who has it, and the same way to wait.
    let refused = run(&sandbox, &["-w", "src/a.js", "--json"], "true")
        .exited(3)
        .error_json();
    assert_eq!(refused["error"]["kind"], "held");
    let hint = refused["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("`mirror run --wait 10m …` waits for it"), "{hint}");
    assert!(
        hint.contains("mirror unlock --force --reason TEXT file:src/a.js"),
        "{hint}"
    );
    assert!(!hint.contains("begin"), "{hint}");
    std::fs::write(sandbox.beside("go"), "").unwrap();
    for run in both {
        run.finish().succeeded();
    }
    run(
        &sandbox,
        &["-t", "late", "-w", "src/c.js", "--wait", "60s"],
        "true",
    )
    .succeeded();
    assert_clean(&sandbox);
}

#[test]
fn on_a_terminal_who_is_waited_for_by_now_takes_the_place_of_who_was_before() {
    let sandbox = repository();
    sandbox
        .mirror(["begin", "-t", "one", "-w", "src/a.js"])
        .succeeded();
    let next = sandbox
        .mirror_program()
        .args(["begin", "-t", "two", "-w", "src/a.js", "--wait", "60s"])
        .start();
    next.until_stderr("Waiting for");
    let command = "exec \"$MIRROR\" begin -t three -w src/a.js --wait 60s";
    let watched = sandbox
        .program("script")
        .args(["-q", "-e", "-f", "-c", command, "/dev/null"])
        .env("MIRROR", env!("CARGO_BIN_EXE_mirror"))
        .env("TERM", "xterm")
        .start();
    watched.until_stdout("held by one");
    sandbox.mirror(["rollback", "-t", "one"]).succeeded();
    next.finish().succeeded();
    watched.until_stdout("held by two");
    sandbox.mirror(["rollback", "-t", "two"]).succeeded();
    let said = watched.finish().succeeded().stdout();
    assert!(said.contains("waiting for 0s"), "{said}");
    assert!(said.contains("write  file:src/a.js"), "{said}");
}

#[test]
fn the_history_tells_why_a_run_was_rolled_back_and_which_transaction_it_was() {
    let sandbox = repository();
    let fails = "echo x > src/a.js; exit 3";
    run(&sandbox, &["-t", "fails", "-w", "src/"], fails).exited(6);
    let arguments = ["-t", "rejected", "-w", "src/", "-m", "x", "--validate", "exit 7"];
    run(&sandbox, &arguments, "echo x > src/a.js").exited(6);
    run(
        &sandbox,
        &["-t", "outside", "-w", "src/a.js"],
        "echo x > src/b.js",
    )
    .exited(5);
    run(&sandbox, &["-t", "idle", "-w", "src/a.js"], "true").succeeded();
    let ended = running(
        &sandbox,
        &["-t", "ended", "-w", "src/"],
        "echo ready; exec tail -f /dev/null",
    )
    .start();
    ended.until_stdout("ready");
    sandbox.shell(&format!("kill -TERM {}", ended.pid()));
    ended.finish();
    let killed = running(
        &sandbox,
        &["-t", "killed", "-w", "src/"],
        "echo ready; exec tail -f /dev/null",
    )
    .start();
    killed.until_stdout("ready");
    killed.kill();
    let lost = running(
        &sandbox,
        &["-t", "lost", "-w", "src/"],
        "echo ready; exec tail -f /dev/null",
    )
    .start();
    lost.until_stdout("ready");
    sandbox
        .mirror(["unlock", "--force", "--reason", "mine", "-t", "lost"])
        .succeeded();
    lost.finish().exited(4);
    let history = sandbox.mirror(["history", "--all", "--json"]).succeeded().json();
    let text = sandbox.mirror(["history", "--all"]).succeeded().stdout();
    for (task, why) in [
        ("fails", "the command failed (exit status: 3)"),
        ("rejected", "the validation failed (exit status: 7)"),
        (
            "outside",
            "The run outside changed what it has not locked: src/b.js",
        ),
        ("idle", "it changed nothing"),
        ("ended", "interrupted by SIGTERM"),
        ("killed", "the run was killed"),
        ("lost", "its locks were lost"),
    ] {
        let mut events = history.as_array().unwrap().iter();
        let event = events
            .find(|event| event["event"] == "task.rolled_back" && event["task"] == task)
            .unwrap();
        assert_eq!(event["reason"], why);
        let transaction = event["transaction"].as_str().unwrap();
        let mut lines = text.lines().filter(|line| line.contains("task.rolled_back"));
        let line = lines.find(|line| line.contains(transaction)).unwrap();
        assert!(
            line.ends_with(&format!("{task}  {transaction}  {why}")) || line.contains(why),
            "{line}"
        );
    }
    assert_clean(&sandbox);
}

#[test]
fn kept_work_is_counted_and_can_be_taken_up_again() {
    let sandbox = repository();
    run(
        &sandbox,
        &["-t", "outside", "-w", "src/a.js"],
        "echo x > src/b.js",
    )
    .exited(5);
    let status = sandbox.mirror(["status"]).succeeded().stdout();
    assert!(
        status.ends_with("Kept work: 1, in .mirror/salvage.\n"),
        "{status}"
    );
    // As the documentation says.
    let kept = sandbox.shell("grep -l x .mirror/salvage/*/src/b.js");
    let id = kept.trim().split('/').nth(2).unwrap();
    sandbox.shell(&format!("cp -a .mirror/salvage/{id}/. ."));
    assert_eq!(sandbox.read("src/b.js"), "x\n");
    sandbox.git(["checkout", "-q", "."]);
    let from = format!(".mirror/salvage/{id}/src/b.js");
    sandbox.mirror(["begin", "-t", "again", "-w", "src/"]).succeeded();
    sandbox
        .mirror(["stage", "-t", "again", "src/b.js", "--from", &from])
        .succeeded();
    sandbox
        .mirror(["commit", "-t", "again", "-m", "the same"])
        .succeeded();
    assert_eq!(sandbox.read("src/b.js"), "x\n");
    assert_clean(&sandbox);
}

#[test]
fn a_run_that_waits_for_any_copy_alone_names_nobody() {
    let sandbox = repository();
    sandbox.write(".mirror/config.yaml", "run: {worktrees: {max: 1}}\n");
    let works = running(
        &sandbox,
        &["-w", "src/a.js"],
        "echo ready; until [ -e $GO ]; do sleep 0.01; done",
    )
    .env("GO", sandbox.beside("go"))
    .start();
    works.until_stdout("ready");
    let waits = running(
        &sandbox,
        &["-t", "waits", "-w", "src/c.js", "--wait", "60s"],
        "true",
    )
    .start();
    waits.until_stderr("Waiting for:\n  a working copy: all are in use");
    let waiting = line(&sandbox, "waits");
    assert!(
        waiting.starts_with("waits  waits for a working copy (1 of 1 in use), since "),
        "{waiting}"
    );
    std::fs::write(sandbox.beside("go"), "").unwrap();
    works.finish().succeeded();
    waits.finish().succeeded();
    assert_clean(&sandbox);
}

/// It vanished without a word.
#[test]
fn what_cannot_come_back_from_a_copy_is_said_before_the_work() {
    let sandbox = repository();
    let ran = run(
        &sandbox,
        &["-w", "ignored", "-w", "src/a.js", "-m", "x"],
        "echo x > ignored",
    )
    .succeeded();
    let said = "Git ignores ignored: what a run makes of that in its copy is not taken.";
    assert!(ran.stderr().contains(said), "{ran}");
    let ran = run(&sandbox, &["-w", "src/", "-m", "x"], "true").succeeded();
    assert!(!ran.stderr().contains("ignores"), "{ran}");
    sandbox.shell("git init -q nested");
    for refused in [
        run(&sandbox, &["-w", "nested", "-m", "x"], "echo work > nested/new"),
        run(
            &sandbox,
            &["-w", "nested/new", "-m", "x"],
            "echo work > nested/new",
        ),
        sandbox.mirror(["begin", "-t", "a", "-w", "nested/deep/new"]),
    ] {
        let refused = refused.exited(2);
        let said = "nested cannot be changed: it is a git repository of its own";
        assert!(refused.text().contains(said), "{refused}");
        assert!(refused.text().contains("mirror -C DIR"), "{refused}");
    }
    sandbox.mirror(["begin", "-t", "a", "-r", "nested"]).succeeded();
    sandbox.mirror(["lock", "-t", "a", "-w", "."]).succeeded();
    sandbox.mirror(["rollback", "-t", "a"]).succeeded();
    sandbox.shell("rm -rf nested");
    assert_clean(&sandbox);
}
