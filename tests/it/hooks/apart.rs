//! Repositories whose git directory is not `.git` in the working tree: the locks have to be looked for where they are.

use super::{assert_refused, git};
use crate::support::{Awkward, Sandbox};

/// A working tree whose git directory is `apart.git` beside it, with hooks, in which `agent` holds `held`.
fn apart() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("held", "old\n"), ("free", "old\n")]);
    sandbox.git(["init", "--quiet", "--separate-git-dir", "../apart.git"]);
    sandbox.mirror(["init"]).succeeded();
    sandbox.mirror(["hook", "install"]).succeeded();
    sandbox.mirror(["begin", "-t", "agent", "-w", "held"]).succeeded();
    sandbox
}

#[test]
fn with_a_separate_git_directory_the_working_tree_is_where_the_user_works() {
    let sandbox = apart();
    assert!(sandbox.exists(".mirror") && !sandbox.beside(".mirror").exists());
    sandbox.write("held", "mine\n");
    assert_refused(
        &git(&sandbox, &["commit", "-am", "x"]).run(),
        &["file:held", "held by agent"],
    );
    sandbox.git(["restore", "held"]);
    let stage = sandbox.mirror_program().args(["stage", "-t", "agent", "held"]);
    stage.input("theirs\n").run().succeeded();
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "theirs"])
        .succeeded();
    assert_eq!(sandbox.read("held"), "theirs\n");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert!(!sandbox.beside("held").exists());
}

#[test]
fn a_linked_worktree_that_does_not_lead_to_the_main_one_is_refused_until_it_does() {
    let sandbox = apart();
    sandbox.git(["worktree", "add", "--quiet", "../linked", "-b", "other"]);
    let linked = sandbox.beside("linked");
    let refused = sandbox.mirror_program().args(["who", "held"]).at(&linked).run();
    assert_refused(
        &refused.exited(2),
        &["a git directory apart", "git config core.worktree"],
    );
    sandbox.shell("git config core.worktree \"$(git rev-parse --show-toplevel)\"");
    std::fs::write(linked.join("held"), "mine\n").unwrap();
    assert_refused(
        &git(&sandbox, &["commit", "-am", "x"]).at(&linked).run(),
        &["file:held", "held by agent"],
    );
}

#[test]
fn a_submodule_and_its_linked_worktrees_share_the_locks_of_the_submodule() {
    let sandbox = Awkward::Submodule.build();
    let submodule = sandbox.path("sub");
    let linked = sandbox.beside("linked");
    let mirror = |arguments: &[&str]| {
        let program = sandbox.mirror_program().args(arguments);
        program.at(&submodule).run().succeeded()
    };
    mirror(&["init"]);
    mirror(&["hook", "install"]);
    mirror(&["begin", "-t", "agent", "-w", "held"]);
    let add = [
        "worktree",
        "add",
        "--quiet",
        "-b",
        "other",
        linked.to_str().unwrap(),
    ];
    sandbox.program("git").args(add).at(&submodule).run().succeeded();
    for directory in [&submodule, &linked] {
        std::fs::write(directory.join("held"), "mine\n").unwrap();
        git(&sandbox, &["add", "held"]).at(directory).run().succeeded();
        let commit = git(&sandbox, &["-c", "user.name=Test", "commit", "-m", "x"]).at(directory);
        assert_refused(&commit.run(), &["file:held", "held by agent"]);
    }
}

#[test]
fn the_commit_of_a_submodule_is_a_path_like_any_other() {
    let sandbox = Awkward::Submodule.build();
    sandbox.mirror(["init"]).succeeded();
    sandbox.mirror(["hook", "install"]).succeeded();
    sandbox.mirror(["begin", "-t", "agent", "-w", "sub"]).succeeded();
    sandbox.shell("cd sub; git commit -q --allow-empty -m more");
    assert_refused(
        &git(&sandbox, &["commit", "-am", "x"]).run(),
        &["sub", "held by agent"],
    );
}

#[test]
fn a_working_tree_without_git_in_it_is_refused_by_name() {
    let sandbox = Sandbox::repository();
    std::fs::create_dir(sandbox.beside("elsewhere")).unwrap();
    sandbox.git([
        "config",
        "core.worktree",
        sandbox.beside("elsewhere").to_str().unwrap(),
    ]);
    let refused = sandbox.mirror(["init"]).exited(2);
    assert_refused(&refused, &["a working tree without .git in it", "core.worktree"]);
    assert!(!sandbox.beside("elsewhere/.mirror").exists() && !sandbox.exists(".mirror"));
}
