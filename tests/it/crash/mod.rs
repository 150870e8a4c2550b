//! kill -9 at every named point of a command, then whatever command comes next, then the question: the old state or the
//! new one, whole?

mod state;
mod visit;

use crate::support::{Awkward, Sandbox};
use visit::Scenario;

/// Begins a task and stages every kind of change below `work/`.
fn stage_every_kind(sandbox: &Sandbox, more: &[&str]) {
    let begin = ["begin", "-t", "agent", "-w", "work/"];
    sandbox.mirror(begin.iter().chain(more)).succeeded();
    sandbox.shell(
        "cp -a . ../copy; cd ../copy; rm -rf .git .mirror; cd work
        echo changed > modified; rm deleted; mkdir -p deep/er; echo new > deep/er/created; chmod +x mode
        rm -r was-directory; echo file > was-directory; rm was-file; mkdir was-file; echo below > was-file/below
        mv one swap; mv two one; mv swap two; ln -sfn elsewhere link; : > empty; printf '\\000\\001' > binary",
    );
    let copy = sandbox.beside("copy");
    sandbox
        .mirror(["stage", "-t", "agent", "--tree", copy.to_str().unwrap()])
        .succeeded();
}

const FILES: &[(&str, &str)] = &[
    ("work/modified", "old\n"),
    ("work/deleted", "old\n"),
    ("work/mode", "#!/bin/sh\n"),
    ("work/was-directory/a", "a\n"),
    ("work/was-directory/b", "b\n"),
    ("work/was-file", "file\n"),
    ("work/one", "one\n"),
    ("work/two", "two\n"),
    ("work/link", "will be a link\n"),
    ("other", "untouched\n"),
];

fn repository() -> Sandbox {
    let sandbox = Sandbox::with_files(FILES);
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

fn directory() -> Sandbox {
    let sandbox = Sandbox::directory();
    for (path, content) in FILES {
        sandbox.write(path, content);
    }
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

#[test]
fn a_commit_without_a_message() {
    let prepare = || {
        let sandbox = repository();
        stage_every_kind(&sandbox, &[]);
        sandbox
    };
    Scenario::new(&prepare, &["commit", "-t", "agent"]).visit();
}

#[test]
fn a_commit_in_a_directory_without_git() {
    let prepare = || {
        let sandbox = directory();
        stage_every_kind(&sandbox, &[]);
        sandbox
    };
    Scenario::new(&prepare, &["commit", "-t", "agent"]).visit();
}

#[test]
fn a_commit_with_a_message() {
    let prepare = || {
        let sandbox = repository();
        // What the user is at, elsewhere.
        sandbox.write("other", "being edited\n");
        sandbox.write("staged", "to be committed\n");
        sandbox.git(["add", "staged"]);
        sandbox.write("untracked", "notes\n");
        stage_every_kind(&sandbox, &[]);
        sandbox
    };
    Scenario::new(&prepare, &["commit", "-t", "agent", "-m", "every kind"]).visit();
}

#[test]
fn a_commit_on_a_branch_that_is_fast_forwarded() {
    let prepare = || {
        let sandbox = repository();
        stage_every_kind(&sandbox, &["--branch"]);
        sandbox
    };
    Scenario::new(&prepare, &["commit", "-t", "agent", "-m", "every kind"]).visit();
}

#[test]
fn a_commit_on_a_branch_that_is_merged() {
    let prepare = || {
        let sandbox = repository();
        stage_every_kind(&sandbox, &["--branch"]);
        sandbox.write("other", "moved on\n");
        sandbox.commit_all("the target moves");
        sandbox
    };
    Scenario::new(&prepare, &["commit", "-t", "agent", "-m", "every kind"]).visit();
}

#[test]
fn a_commit_onto_a_target_that_is_not_checked_out() {
    let prepare = || {
        let sandbox = repository();
        sandbox.git(["switch", "-q", "-c", "elsewhere"]);
        stage_every_kind(&sandbox, &["--branch", "--into", "main"]);
        sandbox
    };
    Scenario::new(&prepare, &["commit", "-t", "agent", "-m", "every kind"]).visit();
}

#[test]
fn the_first_commit_of_all() {
    let prepare = || {
        let sandbox = Sandbox::unborn();
        sandbox.mirror(["init"]).succeeded();
        sandbox.mirror(["begin", "-t", "agent", "-w", "a"]).succeeded();
        let stage = sandbox.mirror_program().args(["stage", "-t", "agent", "a"]);
        stage.input("first\n").run().succeeded();
        sandbox
    };
    Scenario::new(&prepare, &["commit", "-t", "agent", "-m", "first"]).visit();
}

#[test]
fn a_commit_on_a_detached_head() {
    let prepare = || {
        let sandbox = repository();
        sandbox.git(["switch", "-q", "--detach"]);
        stage_every_kind(&sandbox, &[]);
        sandbox
    };
    Scenario::new(&prepare, &["commit", "-t", "agent", "-m", "every kind"]).visit();
}

#[test]
fn a_commit_in_a_linked_worktree() {
    let prepare = || {
        let sandbox = Awkward::LinkedWorktree.build();
        sandbox.mirror(["init"]).succeeded();
        let linked = sandbox.beside("linked");
        let mirror = |arguments: &[&str]| sandbox.mirror_program().at(&linked).args(arguments);
        mirror(&["begin", "-t", "agent", "-w", "a", "-w", "new/"])
            .run()
            .succeeded();
        let staged = mirror(&["stage", "-t", "agent", "a"]).input("from the worktree\n");
        staged.run().succeeded();
        mirror(&["stage", "-t", "agent", "new/b"])
            .input("b\n")
            .run()
            .succeeded();
        sandbox
    };
    let arguments = ["commit", "-t", "agent", "-m", "in the worktree"];
    Scenario::new(&prepare, &arguments).at("../linked").visit();
}

#[test]
fn a_rollback() {
    let prepare = || {
        let sandbox = repository();
        stage_every_kind(&sandbox, &["--branch"]);
        sandbox
    };
    Scenario::new(&prepare, &["rollback", "-t", "agent"]).visit();
}

#[test]
fn staging() {
    let prepare = || {
        let sandbox = repository();
        sandbox
            .mirror(["begin", "-t", "agent", "-w", "work/"])
            .succeeded();
        sandbox
    };
    let stage = [
        "stage", "-t", "agent", "work/new", "--from", "other", "--delete", "work/one",
    ];
    Scenario::new(&prepare, &stage).visit();
}

#[test]
fn a_full_or_failing_disk_at_any_point_of_a_commit() {
    let prepare = || {
        let sandbox = repository();
        stage_every_kind(&sandbox, &["--branch"]);
        sandbox
    };
    for errno in ["ENOSPC", "EIO", "EACCES"] {
        Scenario::new(&prepare, &["commit", "-t", "agent", "-m", "every kind"]).refuse(errno);
    }
}

#[test]
fn a_full_disk_while_staging() {
    let prepare = || {
        let sandbox = repository();
        sandbox
            .mirror(["begin", "-t", "agent", "-w", "work/"])
            .succeeded();
        sandbox
    };
    Scenario::new(&prepare, &["stage", "-t", "agent", "work/new", "--from", "other"]).refuse("ENOSPC");
}
