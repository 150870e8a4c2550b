//! `mirror undo`: commits of every kind taken back, and what is refused.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::Value;

use crate::support::Sandbox;
use crate::support::program::Finished;

fn repository() -> Sandbox {
    let sandbox = Sandbox::with_files(&[
        ("a", "old\n"),
        ("b", "old\n"),
        ("d/x", "old\n"),
        ("d/y", "old\n"),
        ("user", "old\n"),
    ]);
    symlink("a", sandbox.path("link")).unwrap();
    sandbox.commit_all("link");
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

/// Begins a task with these arguments and stages a change of every kind.
#[track_caller]
fn staged(sandbox: &Sandbox, task: &str, more: &[&str]) {
    let begin = [
        "begin",
        "-t",
        task,
        "-w",
        "a",
        "-w",
        "b",
        "-w",
        "d/",
        "-w",
        "new/deep/",
        "-w",
        "link",
    ];
    sandbox.mirror(begin.iter().chain(more)).succeeded();
    let stage = sandbox.mirror_program().args(["stage", "-t", task, "a"]);
    stage.input("by the task\n").run().succeeded();
    let stage = sandbox
        .mirror_program()
        .args(["stage", "-t", task, "new/deep/file"]);
    stage.input("\0\r\nnew").run().succeeded();
    sandbox
        .mirror(["stage", "-t", task, "--chmod", "+x", "b"])
        .succeeded();
    sandbox
        .mirror(["stage", "-t", task, "--delete", "d/x"])
        .succeeded();
    sandbox
        .mirror(["stage", "-t", task, "--symlink", "b", "link"])
        .succeeded();
}

/// What git and the working tree hold, as text.
fn picture(sandbox: &Sandbox) -> String {
    sandbox.shell(
        "git rev-parse HEAD^{tree}; git status --porcelain; git ls-files -s; \
         find . -path ./.git -prune -o -path ./.mirror -prune -o -printf '%p %y %m %l\\n' | sort; \
         find . -path ./.git -prune -o -path ./.mirror -prune -o -type f -print0 | sort -z | xargs -0 sha256sum",
    )
}

fn undo(sandbox: &Sandbox, more: &[&str]) -> Finished {
    sandbox.mirror(["undo", "-t", "agent"].iter().chain(more))
}

#[track_caller]
fn assert_sound(sandbox: &Sandbox) {
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(status["tasks"], Value::Array(Vec::new()), "nothing is left open");
    let findings = sandbox.mirror(["doctor", "--json"]).succeeded().json();
    assert_eq!(findings["findings"], Value::Array(Vec::new()));
    sandbox.git(["fsck", "--strict"]);
}

#[track_caller]
fn assert_refused(sandbox: &Sandbox, more: &[&str], code: i32, words: &[&str]) -> Finished {
    let before = (sandbox.git(["rev-parse", "HEAD"]), picture(sandbox));
    let refused = undo(sandbox, more).exited(code);
    for word in words {
        assert!(refused.stderr().contains(word), "{word}: {}", refused.text());
    }
    assert_eq!(
        (sandbox.git(["rev-parse", "HEAD"]), picture(sandbox)),
        before,
        "a refusal changes nothing"
    );
    assert_eq!(
        sandbox.mirror(["status", "--json"]).json()["tasks"],
        Value::Array(Vec::new())
    );
    refused
}

#[test]
fn a_recorded_commit_is_taken_back_by_a_commit_and_so_is_the_undo() {
    let sandbox = repository();
    let old = picture(&sandbox);
    staged(&sandbox, "agent", &[]);
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "every kind\n\nand why"])
        .succeeded();
    let new = picture(&sandbox);
    let document = undo(&sandbox, &["--json"]).succeeded().json();
    assert_eq!(document["outcome"], "undone");
    assert_eq!(document["task"], "agent");
    assert_eq!(document["target"], "main");
    assert_eq!(document["changes"].as_array().unwrap().len(), 5);
    assert_eq!(picture(&sandbox), old);
    assert_eq!(sandbox.git(["log", "-1", "--format=%s"]), "Undo \"every kind\"");
    let trailer = sandbox.git([
        "log",
        "-1",
        "--format=%(trailers:key=Mirror-Transaction,valueonly)",
    ]);
    assert_eq!(trailer, document["transaction"].as_str().unwrap());
    assert_sound(&sandbox);

    let again = undo(&sandbox, &["-m", "back again", "--json"]).succeeded().json();
    assert_eq!(again["undone"], document["transaction"]);
    assert_eq!(picture(&sandbox), new);
    assert_eq!(sandbox.git(["log", "-1", "--format=%s"]), "back again");
    assert_sound(&sandbox);
}

#[test]
fn what_git_did_not_record_is_put_back_uncommitted() {
    let sandbox = repository();
    sandbox.write("a", "uncommitted work\n");
    sandbox.write("untracked", "notes\n");
    let old = picture(&sandbox);
    staged(&sandbox, "agent", &[]);
    sandbox.mirror(["commit", "-t", "agent"]).succeeded();
    let new = picture(&sandbox);
    let head = sandbox.git(["rev-parse", "HEAD"]);
    assert_refused(
        &sandbox,
        &["-m", "why"],
        2,
        &["Git did not record", "Leave -m out"],
    );
    undo(&sandbox, &[]).succeeded();
    assert_eq!(picture(&sandbox), old);
    assert_eq!(sandbox.git(["rev-parse", "HEAD"]), head);
    assert_sound(&sandbox);
    undo(&sandbox, &[]).succeeded();
    assert_eq!(picture(&sandbox), new);
    assert_sound(&sandbox);
}

#[test]
fn a_directory_without_git_can_be_undone_too() {
    let sandbox = Sandbox::directory();
    sandbox.write("a", "old\n");
    sandbox.mirror(["init"]).succeeded();
    sandbox
        .mirror(["begin", "-t", "agent", "-w", "a", "-w", "d/"])
        .succeeded();
    sandbox.stage("agent", "a", "new\n");
    sandbox.stage("agent", "d/e/f", "new\n");
    sandbox.mirror(["commit", "-t", "agent"]).succeeded();
    assert!(sandbox.exists("d/e/f"));
    undo(&sandbox, &[]).succeeded();
    assert_eq!(sandbox.read("a"), "old\n");
    assert!(!sandbox.exists("d"));
}

#[test]
fn a_file_that_took_the_place_of_a_directory_gives_it_back() {
    let sandbox = repository();
    let old = picture(&sandbox);
    for message in [&["-m", "a file"][..], &[]] {
        sandbox.mirror(["begin", "-t", "agent", "-w", "d/"]).succeeded();
        sandbox
            .mirror(["stage", "-t", "agent", "--delete", "d"])
            .succeeded();
        sandbox.stage("agent", "d", "file\n");
        sandbox
            .mirror(["commit", "-t", "agent"].iter().chain(message))
            .succeeded();
        assert_eq!(sandbox.read("d"), "file\n");
        undo(&sandbox, &[]).succeeded();
        assert_eq!(picture(&sandbox), old, "{message:?}");
    }
    assert_sound(&sandbox);
}

#[test]
fn the_difference_that_a_branch_brought_is_taken_from_its_target() {
    let sandbox = repository();
    staged(&sandbox, "agent", &["--branch"]);
    sandbox.write("user", "meanwhile\n");
    sandbox.git(["commit", "-qam", "meanwhile"]);
    let old = picture(&sandbox);
    let landed = sandbox
        .mirror(["commit", "-t", "agent", "-m", "every kind", "--json"])
        .succeeded()
        .json();
    assert_eq!(landed["merge"], "merge");
    undo(&sandbox, &[]).succeeded();
    assert_eq!(picture(&sandbox), old);
    assert_eq!(sandbox.git(["log", "-1", "--format=%s"]), "Undo \"every kind\"");
    assert_sound(&sandbox);
}

#[test]
fn a_target_that_is_not_checked_out_is_undone_there() {
    let sandbox = repository();
    sandbox.git(["branch", "other"]);
    let tree = sandbox.git(["rev-parse", "other^{tree}"]);
    staged(&sandbox, "agent", &["--into", "other"]);
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "every kind"])
        .succeeded();
    assert_ne!(sandbox.git(["rev-parse", "other^{tree}"]), tree);
    let before = picture(&sandbox);
    let document = undo(&sandbox, &["--json"]).succeeded().json();
    assert_eq!(document["target"], "other");
    assert_eq!(sandbox.git(["rev-parse", "other^{tree}"]), tree);
    assert_eq!(picture(&sandbox), before, "the working tree is not concerned");
    assert_eq!(sandbox.git(["branch", "--list", "mirror/*"]), "");
    assert_sound(&sandbox);
}

#[test]
fn what_changed_since_is_refused_by_name_and_the_rest_stays() {
    let sandbox = repository();
    staged(&sandbox, "agent", &[]);
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "every kind"])
        .succeeded();
    sandbox.mirror(["begin", "-t", "later", "-w", "a"]).succeeded();
    sandbox.stage("later", "a", "later\n");
    sandbox
        .mirror(["commit", "-t", "later", "-m", "later"])
        .succeeded();
    let refused = assert_refused(&sandbox, &["--json"], 5, &[]);
    assert_eq!(refused.error_json()["error"]["paths"], serde_json::json!(["a"]));
    assert_refused(
        &sandbox,
        &["--dry-run"],
        5,
        &["Changed again since the commit", ": a"],
    );
    sandbox.mirror(["undo", "-t", "later"]).succeeded();
    undo(&sandbox, &[]).succeeded();
    assert_eq!(sandbox.read("a"), "old\n");
}

#[test]
fn uncommitted_changes_are_in_the_way_by_name() {
    let sandbox = repository();
    staged(&sandbox, "agent", &[]);
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "every kind"])
        .succeeded();
    sandbox.write("a", "by the user\n");
    assert_refused(&sandbox, &[], 5, &["Uncommitted changes in the way: a"]);
    sandbox.git(["checkout", "-q", "a"]);
    sandbox.write("user", "elsewhere\n");
    undo(&sandbox, &[]).succeeded();
    assert_eq!(sandbox.read("user"), "elsewhere\n");

    sandbox.mirror(["begin", "-t", "agent", "-w", "a"]).succeeded();
    sandbox.stage("agent", "a", "new\n");
    sandbox.mirror(["commit", "-t", "agent"]).succeeded();
    sandbox.write("a", "by the user\n");
    assert_refused(&sandbox, &[], 5, &["Changed again since", "a"]);
}

#[test]
fn a_path_that_is_back_already_is_left_alone() {
    let sandbox = repository();
    staged(&sandbox, "agent", &[]);
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "every kind"])
        .succeeded();
    sandbox.git(["revert", "--no-edit", "HEAD"]);
    let document = undo(&sandbox, &["--json"]).succeeded().json();
    assert_eq!(document["outcome"], "nothing");
    assert_eq!(document["transaction"], Value::Null);
    assert_sound(&sandbox);
}

#[test]
fn a_dry_run_shows_what_would_be_done_and_does_nothing() {
    let sandbox = repository();
    staged(&sandbox, "agent", &[]);
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "every kind"])
        .succeeded();
    let new = (sandbox.git(["rev-parse", "HEAD"]), picture(&sandbox));
    let document = undo(&sandbox, &["--dry-run", "--json"]).succeeded().json();
    assert_eq!(document["outcome"], "would-undo");
    let kinds: Vec<(&str, &str)> = document["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            (
                change["path"].as_str().unwrap(),
                change["change"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [
            ("a", "modify"),
            ("b", "chmod"),
            ("d/x", "create"),
            ("link", "symlink"),
            ("new/deep/file", "delete")
        ]
    );
    assert_eq!((sandbox.git(["rev-parse", "HEAD"]), picture(&sandbox)), new);
    assert_sound(&sandbox);
}

#[test]
fn an_older_transaction_is_named_and_an_unknown_one_refused() {
    let sandbox = repository();
    staged(&sandbox, "agent", &[]);
    let first = sandbox
        .mirror(["commit", "-t", "agent", "-m", "first", "--json"])
        .succeeded()
        .json();
    sandbox.mirror(["begin", "-t", "agent", "-w", "user"]).succeeded();
    sandbox.stage("agent", "user", "second\n");
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "second"])
        .succeeded();
    let id = first["transaction"].as_str().unwrap();
    let said = undo(&sandbox, &[id]).succeeded().stdout();
    let commit = &first["commit"].as_str().unwrap()[..10];
    assert!(
        said.starts_with(&format!(
            "Undid 5 changes of agent ({id}, commit {commit}) on main as "
        )),
        "{said}"
    );
    assert_eq!(sandbox.read("user"), "second\n");
    assert_eq!(sandbox.read("a"), "old\n");
    let unknown = "0190f3a4-0000-7000-8000-000000000001";
    assert_refused(
        &sandbox,
        &[unknown],
        2,
        &["No transaction 0190f3a4", "mirror history -t agent"],
    );
}

/// The numbers of the files may come to mean others, as after a copy of everything.
#[test]
fn what_was_displaced_is_known_by_its_content_as_well() {
    let sandbox = repository();
    sandbox.mirror(["begin", "-t", "agent", "-w", "user"]).succeeded();
    sandbox.stage("agent", "user", "new\n");
    sandbox.mirror(["commit", "-t", "agent"]).succeeded();
    sandbox.shell(
        "slot=$(grep -rlx old .mirror/transactions) && cp -p user copy && mv user $slot && echo old > $slot && mv copy user",
    );
    undo(&sandbox, &[]).succeeded();
    assert_eq!(sandbox.read("user"), "old\n");
    assert_sound(&sandbox);
}

#[test]
fn the_beginning_of_a_name_is_enough_if_no_other_begins_like_it() {
    let sandbox = repository();
    for content in ["first\n", "second\n"] {
        sandbox.mirror(["begin", "-t", "agent", "-w", "user"]).succeeded();
        sandbox.stage("agent", "user", content);
        sandbox
            .mirror(["commit", "-t", "agent", "-m", content])
            .succeeded();
    }
    let newest = sandbox
        .mirror(["history", "-t", "agent", "--json"])
        .succeeded()
        .json();
    let mut newest = newest.as_array().unwrap().iter();
    let newest = newest.rfind(|event| event["event"] == "task.committed").unwrap()["transaction"].clone();
    let newest = newest.as_str().unwrap();
    assert_refused(
        &sandbox,
        &["0"],
        2,
        &[
            "2 committed transactions of agent begin with 0",
            &format!("`mirror undo -t agent {newest}`"),
        ],
    );
    assert_refused(
        &sandbox,
        &["what"],
        2,
        &[
            "No committed transaction of agent begins with what",
            "mirror history -t agent",
        ],
    );
    let shown = undo(&sandbox, &["--dry-run", &newest[..34]]).succeeded().stdout();
    assert!(
        shown.starts_with(&format!("Would undo {newest} with ")),
        "{shown}"
    );
    // Whose it is need not be known.
    let shown = sandbox
        .mirror(["undo", "--dry-run", &newest[..34]])
        .succeeded()
        .stdout();
    assert!(
        shown.starts_with(&format!("Would undo {newest} with ")),
        "{shown}"
    );
    let left = sandbox
        .mirror(["undo", "--dry-run", "0190f3a4-0000-7000-8000-000000000001"])
        .exited(2)
        .stderr();
    assert!(
        left.contains("No committed transaction begins with 0190f3a4"),
        "{left}"
    );
    assert!(left.contains("Run `mirror history` to see"), "{left}");
    let left = sandbox.mirror(["undo", "-t", "nobody"]).exited(2);
    assert!(
        left.stderr()
            .contains("No committed transaction of nobody is known"),
        "{left}"
    );
}

#[test]
fn what_is_not_committed_is_not_undone() {
    let sandbox = repository();
    let begun = sandbox
        .mirror(["begin", "-t", "agent", "-w", "a", "--json"])
        .succeeded()
        .json();
    let id = begun["transaction"].as_str().unwrap();
    let left = undo(&sandbox, &[id]).exited(2);
    assert!(left.stderr().contains("is open, and not committed"), "{left}");
    assert!(left.stderr().contains("mirror rollback -t agent"), "{left}");
}

#[test]
fn a_busy_task_is_undone_by_another_name_and_locks_are_respected() {
    let sandbox = repository();
    staged(&sandbox, "agent", &[]);
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "every kind"])
        .succeeded();
    sandbox.mirror(["begin", "-t", "agent", "-w", "user"]).succeeded();
    sandbox.mirror(["begin", "-t", "other", "-w", "a"]).succeeded();
    let left = undo(&sandbox, &[]).exited(3);
    assert!(left.stderr().contains("held by other"), "{left}");
    sandbox.mirror(["rollback", "-t", "other"]).succeeded();
    let document = undo(&sandbox, &["--json"]).succeeded().json();
    let by = document["task"].as_str().unwrap();
    assert!(by.starts_with("undo-"), "{by}");
    assert_eq!(sandbox.read("a"), "old\n");
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(status["tasks"].as_array().unwrap().len(), 1, "{status}");
}

#[test]
fn what_is_recorded_can_be_undone_after_cleanup_and_what_is_not_cannot() {
    let sandbox = repository();
    let old = picture(&sandbox);
    staged(&sandbox, "agent", &[]);
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "every kind"])
        .succeeded();
    sandbox.mirror(["cleanup", "--force"]).succeeded();
    undo(&sandbox, &[]).succeeded();
    assert_eq!(picture(&sandbox), old);
    staged(&sandbox, "agent", &[]);
    sandbox.mirror(["commit", "-t", "agent"]).succeeded();
    sandbox.mirror(["cleanup", "--force"]).succeeded();
    assert_refused(&sandbox, &[], 2, &["is not kept any more", "mirror begin"]);
}

#[test]
fn bytes_that_somebody_wrote_to_a_displaced_file_are_not_taken_for_the_old_ones() {
    let sandbox = repository();
    sandbox.mirror(["begin", "-t", "agent", "-w", "a"]).succeeded();
    sandbox.stage("agent", "a", "new\n");
    let open = std::fs::OpenOptions::new()
        .append(true)
        .open(sandbox.path("a"))
        .unwrap();
    sandbox.mirror(["commit", "-t", "agent"]).succeeded();
    std::io::Write::write_all(&mut &open, b"late\n").unwrap();
    assert_refused(&sandbox, &[], 2, &["is not kept any more: a"]);
}

#[test]
fn the_history_tells_what_was_undone_by_what() {
    let sandbox = repository();
    staged(&sandbox, "agent", &[]);
    let done = sandbox
        .mirror(["commit", "-t", "agent", "-m", "x", "--json"])
        .succeeded()
        .json();
    let undone = undo(&sandbox, &["--json"]).succeeded().json();
    let history = sandbox.mirror(["history", "--json"]).succeeded().json();
    let told: Vec<&Value> = history
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["event"] == "task.undone")
        .collect();
    let [told] = told.as_slice() else {
        panic!("{history}")
    };
    assert_eq!(told["task"], "agent");
    assert_eq!(told["transaction"], done["transaction"]);
    assert_eq!(told["by"], undone["transaction"]);
}

#[test]
fn what_filters_make_of_files_is_put_back_as_they_made_it() {
    let sandbox = repository();
    sandbox.write(".gitattributes", "*.txt eol=crlf\n");
    sandbox.write("note.txt", "one\r\ntwo\r\n");
    sandbox.commit_all("crlf");
    let old = picture(&sandbox);
    sandbox
        .mirror(["begin", "-t", "agent", "-w", "note.txt"])
        .succeeded();
    sandbox.stage("agent", "note.txt", "three\r\n");
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "three"])
        .succeeded();
    undo(&sandbox, &[]).succeeded();
    assert_eq!(picture(&sandbox), old);
    assert_eq!(sandbox.read("note.txt"), "one\r\ntwo\r\n");
}

#[test]
fn an_undo_that_was_killed_is_dropped_by_the_next_one() {
    for point in ["undo.begun", "undo.staged", "prepare.manifest", "commit.decide"] {
        let sandbox = repository();
        let old = picture(&sandbox);
        staged(&sandbox, "agent", &[]);
        sandbox.mirror(["commit", "-t", "agent"]).succeeded();
        let new = picture(&sandbox);
        let killed = sandbox
            .mirror_program()
            .args(["undo", "-t", "agent"])
            .env("MIRROR_FAULT", format!("{point}=kill"))
            .run();
        assert_ne!(killed.code(), Some(0), "{point}");
        assert_eq!(picture(&sandbox), new, "{point}");
        // Whoever takes its locks leaves nothing that somebody would have to decide about.
        sandbox.mirror(["begin", "-t", "other", "-w", "a"]).succeeded();
        sandbox.mirror(["rollback", "-t", "other"]).succeeded();
        sandbox.mirror(["doctor"]).succeeded();
        undo(&sandbox, &[]).succeeded();
        assert_eq!(picture(&sandbox), old, "{point}");
        assert_sound(&sandbox);
    }
}

#[test]
fn modes_beyond_the_exec_bit_come_back_as_they_were() {
    let sandbox = repository();
    let set =
        |mode| std::fs::set_permissions(sandbox.path("a"), std::fs::Permissions::from_mode(mode)).unwrap();
    set(0o640);
    sandbox.mirror(["begin", "-t", "agent", "-w", "a"]).succeeded();
    sandbox.stage("agent", "a", "new\n");
    sandbox.mirror(["commit", "-t", "agent"]).succeeded();
    undo(&sandbox, &[]).succeeded();
    let mode = std::fs::metadata(sandbox.path("a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    set(0o644);
}
