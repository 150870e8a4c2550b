//! Other people's hooks beside ours, with the binary and with git as a user runs them.

use super::layouts::{self, everything, hook};
use super::{assert_refused, git};
use crate::support::Sandbox;

/// Lets a task hold `held`.
fn set_up(sandbox: &Sandbox) {
    sandbox.mirror(["init"]).succeeded();
    sandbox.mirror(["begin", "-t", "agent", "-w", "held"]).succeeded();
}

fn ran(sandbox: &Sandbox) -> String {
    if sandbox.exists("ran") {
        sandbox.read("ran")
    } else {
        String::new()
    }
}

#[test]
fn hooks_that_were_there_run_once_where_ours_passes_and_come_back_untouched() {
    for layout in layouts::ALL {
        let sandbox = Sandbox::with_files(&[("held", "old\n"), ("README", "old\n")]);
        set_up(&sandbox);
        (layout.make)(&sandbox);
        let before = everything(&sandbox);
        sandbox.mirror(["hook", "install"]).succeeded();
        sandbox.mirror(["hook", "install"]).succeeded();
        sandbox.mirror(["hook", "uninstall"]).succeeded();
        assert_eq!(everything(&sandbox), before, "{}", layout.name);

        sandbox.mirror(["hook", "install"]).succeeded();
        sandbox.write("README", "new\n");
        git(&sandbox, &["commit", "-am", "x"]).run().succeeded();
        assert_eq!(ran(&sandbox), layout.ran, "{}", layout.name);
        sandbox.write("held", "new\n");
        let refused = git(&sandbox, &["commit", "-am", "y"]).run();
        assert_refused(&refused, &["file:held", "held by agent"]);
        assert_eq!(ran(&sandbox), layout.ran, "{}: ours is asked first", layout.name);
        let holder = git(&sandbox, &["commit", "-am", "y"]).env("MIRROR_TASK", "agent");
        holder.run().succeeded();
        assert_eq!(ran(&sandbox), layout.ran.repeat(2), "{}", layout.name);
    }
}

#[test]
fn a_hook_that_was_there_still_refuses_for_its_own_reasons() {
    for script in [
        "#!/bin/sh\necho 'not on a Friday' >&2\nexit 7\n",
        "#!/usr/bin/env perl\nprint STDERR qq(not on a Friday\\n);\nexit 7;\n",
    ] {
        let sandbox = Sandbox::with_files(&[("held", "old\n"), ("free", "old\n")]);
        set_up(&sandbox);
        hook(&sandbox, script);
        sandbox.mirror(["hook", "install"]).succeeded();
        sandbox.write("free", "new\n");
        assert_refused(
            &git(&sandbox, &["commit", "-am", "x"]).run(),
            &["not on a Friday"],
        );
    }
}

#[test]
fn a_pre_push_hook_that_was_there_reads_what_git_sends_it() {
    let sandbox = Sandbox::with_files(&[("held", "old\n")]);
    set_up(&sandbox);
    sandbox.shell("git init -q --bare ../upstream; git remote add origin ../upstream");
    sandbox.write_executable(
        ".git/hooks/pre-push",
        "#!/bin/sh\n{ echo \"$1\"; cat; } > pushed\n",
    );
    sandbox.mirror(["hook", "install"]).succeeded();
    let push = git(&sandbox, &["push", "--quiet", "origin", "main"]);
    push.env("MIRROR_TASK", "agent").run().succeeded();
    let head = sandbox.git(["rev-parse", "HEAD"]);
    let zero = "0".repeat(40);
    assert_eq!(
        sandbox.read("pushed"),
        format!("origin\nrefs/heads/main {head} refs/heads/main {zero}\n")
    );
}

#[test]
fn hooks_of_the_user_are_shared_never_written_and_may_ask_by_themselves() {
    let sandbox = Sandbox::with_files(&[("held", "old\n")]);
    set_up(&sandbox);
    let shared = sandbox.beside("shared");
    std::fs::create_dir(&shared).unwrap();
    let global = ["config", "--global", "core.hooksPath", shared.to_str().unwrap()];
    sandbox.git(global);
    for act in ["install", "uninstall", "status"] {
        let refused = sandbox.mirror(["hook", act]).exited(2);
        assert_refused(&refused, &["core.hooksPath", "global", "mirror hook run NAME"]);
    }
    assert_eq!(std::fs::read_dir(&shared).unwrap().count(), 0);

    let hook = shared.join("pre-commit");
    std::fs::write(&hook, "#!/bin/sh\nmirror hook run pre-commit \"$@\" || exit $?\n").unwrap();
    layouts::set_mode(&hook, 0o755);
    sandbox.write("held", "new\n");
    assert_refused(&git(&sandbox, &["commit", "-am", "x"]).run(), &["file:held"]);
    // A repository that nobody has set up knows of no locks.
    sandbox.shell("git init -q ../other");
    let commit = git(&sandbox, &["commit", "--allow-empty", "-m", "x"]);
    commit.at(sandbox.beside("other")).run().succeeded();
}
