//! The hooks of a repository that others push to: real pushes from real clones, `--no-verify` included.

use crate::support::Sandbox;
use crate::support::program::{Finished, Program};

use super::{assert_refused, git};

/// A repository in which `agent` holds `held`, with a hook for those who push, and a clone of it at `../clone`.
fn server(install: &[&str]) -> Sandbox {
    let sandbox = Sandbox::with_files(&[("held", "old\n"), ("free", "old\n")]);
    sandbox.git(["config", "receive.denyCurrentBranch", "ignore"]);
    sandbox.git(["config", "receive.advertisePushOptions", "true"]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
        .mirror(["hook", "install"].iter().chain(install))
        .succeeded();
    sandbox
        .mirror([
            "begin",
            "-t",
            "agent",
            "-w",
            "held",
            "--reason",
            "trailing commas",
        ])
        .succeeded();
    let url = format!("file://{}", sandbox.root().display());
    sandbox.git(["clone", "-q", &url, "../clone"]);
    sandbox
}

fn in_clone(sandbox: &Sandbox, arguments: &[&str]) -> Program {
    git(sandbox, arguments).at(sandbox.beside("clone"))
}

/// Commits a change of `path` in the clone.
fn change(sandbox: &Sandbox, path: &str) {
    std::fs::write(sandbox.beside("clone").join(path), format!("new {path}\n")).unwrap();
    in_clone(sandbox, &["add", "--all"]).run().succeeded();
    in_clone(sandbox, &["commit", "-q", "-m", path]).run().succeeded();
}

fn push(sandbox: &Sandbox, arguments: &[&str]) -> Finished {
    let all: Vec<&str> = ["push"].iter().chain(arguments).copied().collect();
    in_clone(sandbox, &all).run()
}

const BOTH: [&str; 2] = ["--server=pre-receive", "--server=update"];

#[test]
fn what_another_holds_is_refused_whatever_the_pusher_skips() {
    for install in BOTH {
        let sandbox = server(&[install]);
        change(&sandbox, "free");
        push(&sandbox, &["-q", "origin", "main"]).succeeded();
        change(&sandbox, "held");
        let tip = sandbox.git(["rev-parse", "main"]);
        for arguments in [&["origin", "main"][..], &["--no-verify", "origin", "main"]] {
            let refused = push(&sandbox, arguments);
            assert_refused(&refused, &["file:held", "agent", "trailing commas", "Hint:"]);
        }
        assert_eq!(sandbox.git(["rev-parse", "main"]), tip, "{install}");
        sandbox.mirror(["rollback", "-t", "agent"]).succeeded();
        push(&sandbox, &["-q", "origin", "main"]).succeeded();
    }
}

#[test]
fn new_branches_tags_and_both_names_of_a_rename_count() {
    for install in BOTH {
        let sandbox = server(&[install]);
        in_clone(&sandbox, &["mv", "held", "moved"]).run().succeeded();
        in_clone(&sandbox, &["commit", "-q", "-m", "moved"])
            .run()
            .succeeded();
        in_clone(&sandbox, &["tag", "-a", "-m", "tag", "v1"])
            .run()
            .succeeded();
        for refspec in ["main:refs/heads/side", "v1"] {
            assert_refused(&push(&sandbox, &["origin", refspec]), &["file:held"]);
        }
        assert_eq!(sandbox.git(["branch", "--list", "side"]), "", "{install}");
    }
}

#[test]
fn a_branch_that_is_forced_loses_nothing_that_another_holds() {
    for install in BOTH {
        let sandbox = server(&[install]);
        sandbox.mirror(["rollback", "-t", "agent"]).succeeded();
        change(&sandbox, "held");
        push(&sandbox, &["-q", "origin", "main:side"]).succeeded();
        sandbox.mirror(["begin", "-t", "agent", "-w", "held"]).succeeded();
        let forced = push(&sandbox, &["--force", "origin", "main~:side"]);
        assert_refused(&forced, &["file:held"]);
        // What is on the server already is refused where the working tree is to follow.
        assert_refused(&push(&sandbox, &["origin", "main"]), &["file:held"]);
        // A branch may go.
        push(&sandbox, &["-q", "origin", ":side"]).succeeded();
    }
}

#[test]
fn pre_receive_refuses_the_whole_push_and_update_one_ref() {
    for (install, lands) in [("--server=pre-receive", false), ("--server=update", true)] {
        let sandbox = server(&[install]);
        change(&sandbox, "free");
        in_clone(&sandbox, &["branch", "fine"]).run().succeeded();
        change(&sandbox, "held");
        assert_refused(&push(&sandbox, &["origin", "fine", "main"]), &["file:held"]);
        let fine = !sandbox.git(["branch", "--list", "fine"]).is_empty();
        assert_eq!(fine, lands, "{install}");
    }
}

#[test]
fn the_pusher_says_who_it_is_by_a_variable_or_an_option() {
    for (option, is_bypass) in [("mirror-task=agent", false), ("mirror-bypass=1", true)] {
        let sandbox = server(&["--server"]);
        change(&sandbox, "held");
        push(&sandbox, &["-q", "--no-verify", "-o", option, "origin", "main"]).succeeded();
        let history = sandbox.mirror(["history", "--all"]).succeeded().stdout();
        assert_eq!(history.contains("hook.bypassed"), is_bypass, "{history}");
    }
    for install in BOTH {
        let sandbox = server(&[install]);
        change(&sandbox, "held");
        let own = in_clone(&sandbox, &["push", "-q", "origin", "main"]);
        own.env("MIRROR_TASK", "agent").run().succeeded();
    }
}

#[test]
fn warnings_reach_the_pusher_and_are_recorded() {
    let sandbox = server(&["--server"]);
    sandbox.write(".mirror/config.yaml", "hooks:\n  mode: warn\n");
    change(&sandbox, "held");
    let warned = push(&sandbox, &["origin", "main"]).succeeded();
    assert!(warned.stderr().contains("file:held"), "{warned}");
    let history = sandbox.mirror(["history", "--all"]).succeeded().stdout();
    assert!(history.contains("hook.bypassed"), "{history}");
}

#[test]
fn it_stands_beside_a_hook_that_reads_the_same_lines_and_comes_out_without_a_trace() {
    let sandbox = server(&[]);
    let own = "#!/bin/sh\ncat > received\n";
    sandbox.write_executable(".git/hooks/pre-receive", own);
    sandbox.mirror(["hook", "install", "--server"]).succeeded();
    sandbox.mirror(["hook", "install", "--server"]).succeeded();
    change(&sandbox, "free");
    push(&sandbox, &["-q", "origin", "main"]).succeeded();
    assert!(sandbox.read(".git/received").ends_with(" refs/heads/main\n"));
    let status = sandbox.mirror(["hook", "status"]).succeeded().stdout();
    assert!(
        status.contains("pre-receive") && !status.contains("update"),
        "{status}"
    );
    sandbox.mirror(["hook", "uninstall"]).succeeded();
    assert_eq!(sandbox.read(".git/hooks/pre-receive"), own);
}

#[test]
fn without_mirror_a_push_passes_and_with_a_broken_one_it_does_not() {
    let sandbox = server(&["--server"]);
    change(&sandbox, "free");
    std::fs::rename(sandbox.path(".mirror"), sandbox.beside("away")).unwrap();
    push(&sandbox, &["-q", "origin", "main"]).succeeded();
    std::fs::rename(sandbox.beside("away"), sandbox.path(".mirror")).unwrap();
    std::fs::remove_file(sandbox.path(".mirror/registry.db")).unwrap();
    change(&sandbox, "held");
    assert_ne!(push(&sandbox, &["origin", "main"]).code(), Some(0));
}
