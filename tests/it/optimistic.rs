//! Tasks that lock nothing before they commit.

use std::fs;

use serde_json::{Value, json};

use crate::support::Sandbox;
use crate::support::program::Finished;

fn lines(first: &str, last: &str) -> String {
    format!("{first}\n2\n3\n4\n5\n6\n7\n8\n{last}\n")
}

fn repository() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("a", &lines("1", "9")), ("b", "old\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

#[track_caller]
fn begin(sandbox: &Sandbox, task: &str, more: &[&str]) {
    sandbox
        .mirror(["begin", "-t", task, "--optimistic"].iter().chain(more))
        .succeeded();
}

#[track_caller]
fn stage(sandbox: &Sandbox, task: &str, path: &str, content: &str) {
    sandbox
        .mirror_program()
        .args(["stage", "-t", task, path])
        .input(content)
        .run()
        .succeeded();
}

fn commit(sandbox: &Sandbox, task: &str, more: &[&str]) -> Finished {
    let message = format!("by {task}");
    sandbox.mirror(["commit", "-t", task, "-m", &message].iter().chain(more))
}

fn locks(sandbox: &Sandbox) -> Value {
    let who = sandbox.mirror(["who", "a", "b", "--json"]).succeeded().json();
    who.as_array()
        .unwrap()
        .iter()
        .map(|one| one["holders"].clone())
        .collect()
}

fn nobody() -> Value {
    json!([[], []])
}

fn staged(sandbox: &Sandbox, task: &str) -> usize {
    let shown = sandbox.mirror(["show", "-t", task, "--json"]).succeeded().json();
    shown["changes"].as_array().unwrap().len()
}

#[test]
fn nothing_is_locked_before_the_commit_and_after_it() {
    let sandbox = repository();
    begin(&sandbox, "one", &["-w", "a"]);
    stage(&sandbox, "one", "a", &lines("one", "9"));
    assert_eq!(locks(&sandbox), nobody());
    sandbox.mirror(["check", "a"]).succeeded();
    commit(&sandbox, "one", &[]).succeeded();
    assert_eq!(sandbox.read("a"), lines("one", "9"));
    assert_eq!(locks(&sandbox), nobody());
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_eq!(sandbox.git(["log", "-1", "--format=%s"]), "by one");
}

#[test]
fn two_that_change_one_file_are_merged() {
    let sandbox = repository();
    begin(&sandbox, "one", &[]);
    begin(&sandbox, "two", &[]);
    stage(&sandbox, "one", "a", &lines("one", "9"));
    stage(&sandbox, "two", "a", &lines("1", "two"));
    commit(&sandbox, "one", &[]).succeeded();
    commit(&sandbox, "two", &[]).succeeded();
    assert_eq!(sandbox.read("a"), lines("one", "two"));
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_eq!(locks(&sandbox), nobody());
}

#[test]
fn what_does_not_merge_is_refused_by_name_and_kept() {
    let sandbox = repository();
    begin(&sandbox, "one", &[]);
    begin(&sandbox, "two", &[]);
    stage(&sandbox, "one", "a", &lines("one", "9"));
    stage(&sandbox, "two", "a", &lines("two", "9"));
    stage(&sandbox, "two", "b", "by two\n");
    commit(&sandbox, "one", &[]).succeeded();
    let refused = commit(&sandbox, "two", &["--json"]).exited(5).error_json();
    assert_eq!(refused["error"]["kind"], "conflict");
    assert_eq!(refused["error"]["paths"], json!(["a"]));
    assert_eq!(sandbox.read("a"), lines("one", "9"));
    assert_eq!(sandbox.read("b"), "old\n");
    assert_eq!(locks(&sandbox), nobody());
    assert_eq!(staged(&sandbox, "two"), 2);
    let branch = sandbox.git(["branch", "--list", "mirror/two/*", "--format=%(refname:short)"]);
    assert_eq!(sandbox.git(["show", &format!("{branch}:b")]), "by two");
}

#[test]
fn without_git_the_bases_have_to_match() {
    let sandbox = Sandbox::directory();
    sandbox.write("a", "old\n");
    sandbox.write("b", "old\n");
    sandbox.mirror(["init"]).succeeded();
    begin(&sandbox, "one", &[]);
    begin(&sandbox, "two", &[]);
    stage(&sandbox, "one", "a", "by one\n");
    stage(&sandbox, "two", "a", "by two\n");
    stage(&sandbox, "two", "b", "by two\n");
    sandbox.mirror(["commit", "-t", "one"]).succeeded();
    let refused = sandbox
        .mirror(["commit", "-t", "two", "--json"])
        .exited(5)
        .error_json();
    assert_eq!(refused["error"]["paths"], json!(["a"]));
    assert_eq!(
        (sandbox.read("a"), sandbox.read("b")),
        ("by one\n".into(), "old\n".into())
    );
    assert_eq!(locks(&sandbox), nobody());
    sandbox.mirror(["unstage", "-t", "two", "a"]).succeeded();
    sandbox.mirror(["commit", "-t", "two"]).succeeded();
    assert_eq!(sandbox.read("b"), "by two\n");
}

#[test]
fn without_a_branch_the_bases_have_to_match_in_git_too() {
    let sandbox = repository();
    begin(&sandbox, "one", &["--branch=never"]);
    stage(&sandbox, "one", "a", &lines("one", "9"));
    sandbox.write("a", lines("1", "user"));
    sandbox.commit_all("by the user");
    let refused = commit(&sandbox, "one", &[]).exited(5);
    assert!(
        refused
            .stderr()
            .contains("Changed since the task one staged it: a"),
        "{refused}"
    );
    assert_eq!(locks(&sandbox), nobody());
}

#[test]
fn who_locks_first_is_waited_for_or_named() {
    let sandbox = repository();
    begin(&sandbox, "one", &[]);
    stage(&sandbox, "one", "a", &lines("one", "9"));
    stage(&sandbox, "one", "b", "by one\n");
    sandbox.mirror(["begin", "-t", "careful", "-w", "b"]).succeeded();
    let refused = commit(&sandbox, "one", &["--wait", "10ms"]).exited(3);
    assert!(refused.stderr().contains("held by careful"), "{refused}");
    let who = locks(&sandbox);
    assert_eq!(who[0], json!([]), "all or none");
    let waiting = sandbox
        .mirror_program()
        .args(["commit", "-t", "one", "-m", "x"])
        .start();
    waiting.until_stderr("careful");
    sandbox.mirror(["rollback", "-t", "careful"]).succeeded();
    waiting.finish().succeeded();
    assert_eq!(sandbox.read("b"), "by one\n");
}

#[test]
fn the_locks_are_given_back_whatever_comes_of_the_commit() {
    let sandbox = repository();
    begin(&sandbox, "one", &[]);
    stage(&sandbox, "one", "a", &lines("one", "9"));
    commit(&sandbox, "one", &["--validate", "false"]).exited(6);
    assert_eq!(locks(&sandbox), nobody());
    fs::write(sandbox.path("a"), "uncommitted\n").unwrap();
    commit(&sandbox, "one", &[]).exited(5);
    assert_eq!(locks(&sandbox), nobody());
    sandbox.git(["checkout", "-q", "a"]);
    for point in ["prepare.committing", "prepare.look", "commit.decide"] {
        let message = ["commit", "-t", "one", "-m", "x"];
        let killed = sandbox
            .mirror_program()
            .args(message)
            .env("MIRROR_FAULT", format!("{point}=kill"))
            .run();
        assert_eq!(killed.code(), None, "{killed}");
        assert_eq!(locks(&sandbox), nobody(), "{point}");
        assert_eq!(staged(&sandbox, "one"), 1);
    }
    commit(&sandbox, "one", &[]).succeeded();
}

#[test]
fn the_configuration_says_which_strategy_is_meant_and_a_flag_says_otherwise() {
    let sandbox = repository();
    let configure = |files: &str| {
        let text = format!("resource_manager:\n  strategies:\n    files: {files}\n");
        sandbox.write(".mirror/config.yaml", text);
    };
    configure("{mode: optimistic, granularity: file}");
    sandbox
        .mirror(["begin", "-t", "one", "-w", "a", "-s", "database"])
        .succeeded();
    assert_eq!(locks(&sandbox), nobody());
    let shown = sandbox.mirror(["show", "-t", "one", "--json"]).succeeded().json();
    assert!(shown.to_string().contains("service:database"), "{shown}");
    sandbox
        .mirror(["begin", "-t", "two", "-w", "b", "--strategy", "pessimistic"])
        .succeeded();
    assert_eq!(locks(&sandbox)[1][0]["task"], "two");
    for granularity in ["line", "function"] {
        configure(&format!("{{granularity: {granularity}}}"));
        let refused = sandbox.mirror(["status"]).exited(2);
        assert!(refused.stderr().contains("config.yaml:3:"), "{refused}");
        assert!(refused.stderr().contains("expected \"file\""), "{refused}");
    }
}

#[test]
fn a_crowd_of_them_on_one_file_loses_nothing() {
    let sandbox = repository();
    let workers: Vec<String> = (2..=8).map(|line| format!("w{line}")).collect();
    for worker in &workers {
        begin(&sandbox, worker, &[]);
        let line = &worker[1..];
        let path = format!("own/{line}");
        stage(&sandbox, worker, "b", &format!("by {worker}\n"));
        stage(&sandbox, worker, &path, "own\n");
    }
    let running: Vec<_> = workers
        .iter()
        .map(|worker| {
            sandbox
                .mirror_program()
                .args(["commit", "-t", worker, "-m", worker])
                .start()
        })
        .collect();
    let codes: Vec<_> = running.into_iter().map(|one| one.finish().code()).collect();
    assert_eq!(
        codes.iter().filter(|code| **code == Some(0)).count(),
        1,
        "{codes:?}"
    );
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 5))), "{codes:?}");
    assert_eq!(sandbox.shell("ls own | wc -l").trim(), "1");
    assert_eq!(locks(&sandbox), nobody());
    sandbox.git(["fsck", "--strict"]);
}
