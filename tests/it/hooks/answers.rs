//! The hooks as git calls them: real commits, merges, patches and pushes by somebody who holds no lock.

use super::{assert_refused, git};
use crate::support::Sandbox;

/// A repository with hooks in which the task `agent` holds `held` and `dir/`.
fn repository() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("held", "old\n"), ("dir/a", "old\n"), ("free", "old\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox.mirror(["hook", "install"]).succeeded();
    let begin = ["begin", "-t", "agent", "-w", "held", "-w", "dir/"];
    sandbox.mirror(begin).succeeded();
    sandbox
}

#[test]
fn a_commit_of_what_another_holds_is_refused_with_all_that_one_needs_to_know() {
    let sandbox = repository();
    sandbox.write("held", "mine\n");
    sandbox.git(["add", "held"]);
    let refused = git(&sandbox, &["commit", "-m", "x"]).run();
    let words = [
        "file:held",
        "held by agent on",
        "since",
        "MIRROR_TASK=agent",
        "MIRROR_BYPASS=1",
    ];
    assert_refused(&refused, &words);
    assert_eq!(sandbox.git(["log", "--oneline"]).lines().count(), 1);
    // Nobody else's work is in the way of what is free.
    sandbox.git(["restore", "--staged", "--worktree", "held"]);
    sandbox.write("free", "mine\n");
    git(&sandbox, &["commit", "-am", "x"]).run().succeeded();
    let history = sandbox.mirror(["history"]).succeeded();
    assert!(history.stdout().contains("hook.refused"), "{}", history.text());
}

#[test]
fn the_holder_passes_and_so_does_whoever_insists() {
    let sandbox = repository();
    sandbox.write("dir/new", "mine\n");
    sandbox.git(["add", "."]);
    assert_refused(&git(&sandbox, &["commit", "-m", "x"]).run(), &["dir:dir/"]);
    git(&sandbox, &["commit", "-m", "x"])
        .env("MIRROR_TASK", "agent")
        .run()
        .succeeded();
    sandbox.write("held", "insists\n");
    let passed = git(&sandbox, &["commit", "-am", "y"])
        .env("MIRROR_BYPASS", "1")
        .run()
        .succeeded();
    assert!(passed.stderr().contains("Warning"), "{}", passed.text());
    let history = sandbox.mirror(["history"]).succeeded();
    assert!(history.stdout().contains("hook.bypassed"), "{}", history.text());
    sandbox.write("held", "again\n");
    git(&sandbox, &["commit", "-am", "z", "--no-verify"])
        .run()
        .succeeded();
}

#[test]
fn the_index_that_git_prepares_counts_and_not_the_one_that_lies_there() {
    let sandbox = repository();
    sandbox.write("held", "mine\n");
    sandbox.write("free", "mine\n");
    assert_refused(&git(&sandbox, &["commit", "-am", "all"]).run(), &["file:held"]);
    assert_refused(
        &git(&sandbox, &["commit", "-m", "one", "held"]).run(),
        &["file:held"],
    );
    sandbox.git(["add", "held"]);
    git(&sandbox, &["commit", "-m", "the other", "free"])
        .run()
        .succeeded();
    assert_refused(
        &git(&sandbox, &["commit", "-m", "the rest"]).run(),
        &["file:held"],
    );
}

#[test]
fn both_names_of_a_rename_count_and_so_does_a_change_of_mode() {
    let sandbox = repository();
    sandbox.git(["mv", "held", "elsewhere"]);
    assert_refused(&git(&sandbox, &["commit", "-m", "away"]).run(), &["file:held"]);
    sandbox.git(["reset", "--quiet", "--hard"]);
    sandbox.git(["mv", "free", "dir/free"]);
    assert_refused(&git(&sandbox, &["commit", "-m", "into"]).run(), &["dir:dir/"]);
    sandbox.git(["reset", "--quiet", "--hard"]);
    sandbox.shell("chmod +x held");
    assert_refused(&git(&sandbox, &["commit", "-am", "mode"]).run(), &["file:held"]);
}

#[test]
fn a_merge_that_brings_what_another_holds_is_refused() {
    let sandbox = repository();
    sandbox.git(["switch", "--quiet", "-c", "side"]);
    sandbox.write("held", "from the side\n");
    git(&sandbox, &["commit", "-am", "side", "--no-verify"])
        .run()
        .succeeded();
    sandbox.git(["switch", "--quiet", "main"]);
    sandbox.write("free", "main\n");
    git(&sandbox, &["commit", "-am", "main"]).run().succeeded();
    assert_refused(
        &git(&sandbox, &["merge", "side", "-m", "merge"]).run(),
        &["file:held"],
    );
    sandbox.git(["merge", "--abort"]);
    git(&sandbox, &["merge", "side", "-m", "merge"])
        .env("MIRROR_TASK", "agent")
        .run()
        .succeeded();
}

#[test]
fn a_mailed_patch_to_what_another_holds_is_refused() {
    let sandbox = repository();
    sandbox.write("held", "patched\n");
    git(&sandbox, &["commit", "-am", "patched", "--no-verify"])
        .run()
        .succeeded();
    let patch = sandbox.git(["format-patch", "--stdout", "-1"]);
    sandbox.git(["reset", "--quiet", "--hard", "HEAD~"]);
    assert_refused(
        &git(&sandbox, &["am"]).input(format!("{patch}\n")).run(),
        &["file:held"],
    );
    sandbox.git(["am", "--abort"]);
    git(&sandbox, &["am"])
        .env("MIRROR_TASK", "agent")
        .input(format!("{patch}\n"))
        .run()
        .succeeded();
}

#[test]
fn a_push_of_what_another_holds_is_refused() {
    let sandbox = repository();
    sandbox.shell("git init -q --bare ../upstream; git remote add origin ../upstream");
    git(&sandbox, &["push", "--quiet", "--no-verify", "origin", "main"])
        .run()
        .succeeded();
    sandbox.write("free", "pushed\n");
    git(&sandbox, &["commit", "-am", "free"]).run().succeeded();
    git(&sandbox, &["push", "--quiet", "origin", "main"])
        .run()
        .succeeded();
    sandbox.write("held", "pushed\n");
    git(&sandbox, &["commit", "-am", "held", "--no-verify"])
        .run()
        .succeeded();
    assert_refused(&git(&sandbox, &["push", "origin", "main"]).run(), &["file:held"]);
    git(&sandbox, &["push", "--quiet", "origin", "main"])
        .env("MIRROR_TASK", "agent")
        .run()
        .succeeded();
    // What the other side has already goes to another name, and a name that goes brings nothing.
    for refspec in ["main:other", ":other"] {
        git(&sandbox, &["push", "--quiet", "origin", refspec])
            .run()
            .succeeded();
    }
}

#[test]
fn a_merge_that_stopped_in_a_conflict_is_refused_when_it_is_concluded() {
    let sandbox = repository();
    for (branch, text) in [("side", "from the side\n"), ("main", "from main\n")] {
        if branch == "side" {
            sandbox.git(["switch", "--quiet", "-c", branch]);
        } else {
            sandbox.git(["switch", "--quiet", branch]);
        }
        sandbox.write("held", text);
        sandbox.git(["commit", "--quiet", "--no-verify", "-am", branch]);
    }
    assert_ne!(git(&sandbox, &["merge", "side"]).run().code(), Some(0));
    sandbox.write("held", "from both\n");
    sandbox.git(["add", "held"]);
    assert_refused(&git(&sandbox, &["commit", "--no-edit"]).run(), &["file:held"]);
    // To keep what the current commit has changes nothing here.
    sandbox.git(["restore", "--source", "main", "--staged", "--worktree", "held"]);
    git(&sandbox, &["commit", "--no-edit"]).run().succeeded();
}

#[test]
fn the_first_commit_of_all_is_checked_too() {
    let sandbox = Sandbox::unborn();
    sandbox.mirror(["init"]).succeeded();
    sandbox.mirror(["hook", "install"]).succeeded();
    sandbox.mirror(["begin", "-t", "agent", "-w", "held"]).succeeded();
    sandbox.write("held", "mine\n");
    sandbox.write("free", "mine\n");
    sandbox.git(["add", "."]);
    assert_refused(&git(&sandbox, &["commit", "-m", "first"]).run(), &["file:held"]);
    sandbox.git(["rm", "--quiet", "--cached", "held"]);
    git(&sandbox, &["commit", "-m", "first"]).run().succeeded();
}

#[test]
fn what_git_asks_nobody_about_is_refused_when_it_is_pushed() {
    let sandbox = repository();
    sandbox.shell("git init -q --bare ../upstream; git remote add origin ../upstream");
    git(&sandbox, &["push", "--quiet", "--no-verify", "origin", "main"])
        .run()
        .succeeded();
    sandbox.git(["switch", "--quiet", "-c", "side"]);
    sandbox.write("held", "from the side\n");
    sandbox.git(["commit", "--quiet", "--no-verify", "-am", "side"]);
    sandbox.git(["switch", "--quiet", "main"]);
    let unasked: [&[&str]; 3] = [
        &["merge", "--ff-only", "side"],
        &["cherry-pick", "side"],
        &["rebase", "side"],
    ];
    for command in unasked {
        sandbox.git(["reset", "--quiet", "--hard", "origin/main"]);
        if command[0] != "merge" {
            // Something of main's own, so that neither of them is a fast-forward.
            sandbox.git(["commit", "--quiet", "--no-verify", "--allow-empty", "-m", "main"]);
        }
        git(&sandbox, command).run().succeeded();
        assert_eq!(sandbox.read("held"), "from the side\n", "{command:?}");
        assert_refused(&git(&sandbox, &["push", "origin", "main"]).run(), &["file:held"]);
    }
    sandbox.git(["push", "--quiet", "--no-verify", "origin", "side"]);
    git(&sandbox, &["revert", "--no-edit", "side"]).run().succeeded();
    assert_refused(&git(&sandbox, &["push", "origin", "main"]).run(), &["file:held"]);
}

#[test]
fn in_a_linked_worktree_the_same_locks_count() {
    let sandbox = repository();
    sandbox.git(["worktree", "add", "--quiet", "../linked", "-b", "other"]);
    let linked = sandbox.beside("linked");
    std::fs::write(linked.join("held"), "mine\n").unwrap();
    let commit = git(&sandbox, &["commit", "-am", "x"]).at(&linked);
    assert_refused(&commit.run(), &["file:held"]);
    let commit = git(&sandbox, &["commit", "-am", "x"])
        .at(&linked)
        .env("MIRROR_TASK", "agent");
    commit.run().succeeded();
}

#[test]
fn a_warning_is_only_a_warning_where_the_repository_says_so() {
    let sandbox = repository();
    sandbox.write(".mirror/config.yaml", "hooks:\n  mode: warn\n");
    sandbox.write("held", "mine\n");
    let passed = git(&sandbox, &["commit", "-am", "x"]).run().succeeded();
    assert!(
        passed.stderr().contains("Warning: file:held"),
        "{}",
        passed.text()
    );
}

#[test]
fn a_repository_that_nobody_set_up_passes_and_one_whose_registry_is_gone_does_not() {
    let sandbox = repository();
    sandbox.write("free", "mine\n");
    sandbox.shell("mv .mirror/registry.db ../registry.db");
    let refused = git(&sandbox, &["commit", "-am", "x"]).run();
    assert_refused(&refused, &["Error", "Hint"]);
    sandbox.shell("rm -r .mirror");
    git(&sandbox, &["commit", "-am", "x"]).run().succeeded();
    // Without the program a managed repository refuses, and any other passes.
    sandbox.write("free", "yours\n");
    sandbox
        .program("git")
        .args(["commit", "-am", "y"])
        .run()
        .succeeded();
    sandbox.mirror(["init"]).succeeded();
    sandbox.write("free", "ours\n");
    let refused = sandbox.program("git").args(["commit", "-am", "z"]).run();
    assert_refused(&refused, &["mirror is not in PATH", "--no-verify"]);
}

#[test]
fn a_dead_worker_refuses_nobody() {
    let sandbox = repository();
    let worker = sandbox.program("sleep").args(["1000"]).start();
    let pid = worker.pid().to_string();
    sandbox
        .mirror(["begin", "-t", "worker", "-w", "free", "--pid", &pid])
        .succeeded();
    sandbox.write("free", "mine\n");
    assert_refused(&git(&sandbox, &["commit", "-am", "x"]).run(), &["file:free"]);
    worker.kill();
    git(&sandbox, &["commit", "-am", "x"]).run().succeeded();
}
