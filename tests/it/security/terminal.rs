//! What a terminal would obey is shown instead, whoever wrote it: in names, reasons, messages, patterns, and whatever git says
//! of them.

use std::fs;

use mirror::model::misleads;

use crate::support::Sandbox;
use crate::support::program::Finished;

/// Sets a title, clears the screen, turns the text around, forges a line.
const HOSTILE: &str = "x\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\r\u{8}\u{7f}y\nError: forged\n";

/// The same as a name in a directory.
fn name() -> String {
    HOSTILE.replace('/', "_")
}

fn run(sandbox: &Sandbox, arguments: &[&str]) -> Finished {
    let left = sandbox.mirror(arguments);
    super::assert_shown(&left);
    assert!(
        !left
            .stdout()
            .lines()
            .any(|line| line.starts_with("Error: forged")),
        "{left}"
    );
    assert!(
        !left
            .stderr()
            .lines()
            .any(|line| line.starts_with("Error: forged")),
        "{left}"
    );
    let with_json: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
    // Also as JSON, where it can be asked again without an effect.
    if matches!(arguments[0], "status" | "who" | "history" | "show" | "check") {
        let document = sandbox.mirror(&with_json);
        super::assert_shown(&document);
        let told = if document.stdout().is_empty() {
            document.stderr()
        } else {
            document.stdout()
        };
        let document: serde_json::Value = serde_json::from_str(&told).unwrap();
        drop(document);
    }
    left
}

/// Commands that show, refuse or do something with hostile names.
fn questions(name: &str, below: &str) -> Vec<Vec<String>> {
    let questions: &[&[&str]] = &[
        &["begin", "-t", "b", "-w", name],
        &[
            "begin", "-t", "b", "-w", name, "--wait", "10ms", "--reason", HOSTILE,
        ],
        &["check", name],
        &["check", "-t", "b", name],
        &["who", name, below, "."],
        &["status"],
        &["history", "--all"],
        &["show", "-t", "a"],
        &["stage", "-t", "a", below, "--symlink", "f"],
        &["stage", "-t", "a", name, "--symlink", "/\u{1b}[31m"],
        &["stage", "-t", "a", name, "--from", HOSTILE],
        &["stage", "-t", "a", name, "--from", name],
        &["stage", "-t", "a", "--move", "f", &format!("{name}2")],
        &["diff", "-t", "a"],
        &["diff", "-t", "a", "--color", "never"],
        &["show", "-t", "a"],
        &["unstage", "-t", "a", name],
        &["lock", "-t", "a", "-w", &format!("[{HOSTILE}")],
        &["lock", "-t", "a", "-w", &format!("{HOSTILE}*")],
        &["lock", "-t", "a", "-w", &format!("/{HOSTILE}")],
        &["begin", "-t", HOSTILE],
        &["begin", "-t", "c", "--service", HOSTILE],
        &["begin", "-t", "c", "--branch", "--into", HOSTILE],
        &["begin", "-t", "c", "--lease", HOSTILE],
        &["begin", "-t", "c", HOSTILE],
        &[HOSTILE],
        &["status", &format!("--{HOSTILE}")],
        &["-C", HOSTILE, "status"],
        &["--store", HOSTILE, "status"],
        &["renew", "-t", "a"],
        &[
            "commit",
            "-t",
            "a",
            "-m",
            HOSTILE,
            "--validate",
            "printf '\\033[31m\\007'; exit 3",
        ],
        &["unlock", "--force", "--reason", HOSTILE, name],
        &["commit", "-t", "a", "-m", HOSTILE],
        &["rollback", "-t", "a"],
        &["cleanup", "--force"],
        &["recover"],
        &["doctor"],
        &["history", "--all"],
        &["status"],
    ];
    let owned = |words: &&[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    questions.iter().map(owned).collect()
}

#[test]
fn whatever_is_shown_of_names_and_reasons_is_shown_and_not_obeyed() {
    let sandbox = Sandbox::with_files(&[("f", "one\n"), ("d/g", "two\n")]);
    let name = name();
    let below = format!("d/{name}");
    sandbox.write(&name, "one\n");
    sandbox.write(&below, "two\n");
    sandbox.commit_all(HOSTILE);
    run(&sandbox, &["init"]);
    run(
        &sandbox,
        &[
            "begin",
            "-t",
            "a",
            "-w",
            &name,
            "-w",
            "f",
            "-r",
            &below,
            "--reason",
            HOSTILE,
            "--metadata",
            "k=\u{1b}[31m",
        ],
    );
    run(&sandbox, &["lock", "-t", "a", "-w", &format!("{name}2")]);
    for asked in questions(&name, &below) {
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        run(&sandbox, &asked);
    }
    // The log is made of JSON lines alone.
    let log = sandbox.mirror(["log"]).succeeded();
    super::assert_shown(&log);
    assert!(
        log.stdout()
            .lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
    assert!(log.stdout().contains("Error: forged"));
}

#[test]
fn what_stands_in_the_way_is_shown_and_not_obeyed() {
    let sandbox = Sandbox::with_files(&[("f", "one\n")]);
    let name = name();
    sandbox.write(&name, "one\n");
    sandbox.commit_all("first");
    run(&sandbox, &["init"]);
    run(&sandbox, &["begin", "-t", "a", "-w", "."]);
    sandbox
        .mirror_program()
        .args(["stage", "-t", "a", &name])
        .input("two\n")
        .run()
        .succeeded();
    // A base that changed, what the user has staged, what git will not apply, what the merge cannot join.
    sandbox.write(&name, "three\n");
    run(&sandbox, &["diff", "-t", "a"]);
    run(&sandbox, &["commit", "-t", "a", "-m", "m"]).exited(5);
    sandbox.git(["add", "--all"]);
    run(&sandbox, &["commit", "-t", "a", "-m", "m"]).exited(5);
    let diff = format!("--- \"a/f\"\n+++ \"b/f\"\n@@ -1 +1 @@\n-{HOSTILE}+\u{1b}[31m\n");
    let patched = sandbox
        .mirror_program()
        .args(["stage", "-t", "a", "--patch", "-"])
        .input(diff)
        .run();
    super::assert_shown(&patched);
    run(&sandbox, &["rollback", "-t", "a"]);
    run(&sandbox, &["begin", "-t", "b", "-w", &name, "--branch"]);
    sandbox
        .mirror_program()
        .args(["stage", "-t", "b", &name])
        .input("theirs\n")
        .run()
        .succeeded();
    sandbox.commit_all("ours");
    run(&sandbox, &["commit", "-t", "b", "-m", "m"]).exited(5);
    run(&sandbox, &["hook", "install"]);
    sandbox.write(&name, "four\n");
    sandbox.git(["add", "--all"]);
    let refused = sandbox.try_git(["commit", "-m", HOSTILE]);
    super::assert_shown(&refused);
    assert_ne!(refused.code(), Some(0), "{refused}");
    run(&sandbox, &["hook", "uninstall"]);
}

#[test]
fn a_directory_with_such_a_name_is_shown_and_not_obeyed() {
    let sandbox = Sandbox::repository();
    let odd = sandbox.beside(&name());
    fs::create_dir(&odd).unwrap();
    for command in [
        &["status"][..],
        &["init"],
        &["begin", "-t", "a", "-w", "f"],
        &["begin", "-t", "b", "-w", "f"],
        &["hook", "status"],
        &["doctor"],
    ] {
        let left = sandbox.mirror_program().at(&odd).args(command).run();
        super::assert_shown(&left);
    }
    fs::remove_file(odd.join(".mirror/format")).unwrap();
    let left = sandbox.mirror_program().at(&odd).args(["status"]).run().exited(2);
    super::assert_shown(&left);
    assert!(
        !left
            .stderr()
            .lines()
            .any(|line| line.starts_with("Error: forged")),
        "{left}"
    );
}

#[test]
fn a_program_gets_a_diff_byte_for_byte() {
    let sandbox = Sandbox::repository();
    run(&sandbox, &["init"]);
    run(&sandbox, &["begin", "-t", "a", "-w", "f"]);
    sandbox.stage("a", "f", HOSTILE);
    let patch = sandbox.mirror(["diff", "-t", "a"]).succeeded().stdout();
    assert!(patch.chars().any(misleads));
    let applied = sandbox.program("git").args(["apply", "-"]).input(patch);
    applied.run().succeeded();
    assert_eq!(sandbox.read("f"), HOSTILE);
}

#[test]
fn a_person_gets_a_diff_that_is_safe_to_look_at() {
    let sandbox = Sandbox::repository();
    run(&sandbox, &["init"]);
    run(&sandbox, &["begin", "-t", "a", "-w", "f"]);
    sandbox.stage("a", "f", HOSTILE);
    // `script` gives the program a terminal.
    let command = format!("{} --color never diff -t a", env!("CARGO_BIN_EXE_mirror"));
    let seen = sandbox
        .program("script")
        .args(["-qec", &command, "/dev/null"])
        .run()
        .succeeded()
        .stdout();
    let seen = seen.replace("\r\n", "\n");
    assert!(seen.contains("+x\\u{1b}]0;owned"), "{seen:?}");
    assert_eq!(
        seen.chars().find(|c| misleads(*c) && *c != '\n'),
        None,
        "{seen:?}"
    );
}
