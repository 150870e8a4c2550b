//! What a loss of power leaves of runs, and that the first command of the next boot clears it up.

use std::os::unix::fs::MetadataExt as _;

use crate::run::{assert_clean, repository, run, running};
use crate::support::Sandbox;

const ENTRY: &str = ".git/worktrees/mirror-1";
const TREE: &str = ".mirror/worktrees/1/mirror-1";

/// A name such as mirror gives to a task's own branch.
const BRANCH: &str = "mirror/agent/019a0000-0000-7000-8000-000000000001";

/// A repository whose pool has a working copy that waits for the next run.
fn with_copy() -> Sandbox {
    let sandbox = repository();
    run(&sandbox, &["-w", "src/", "-m", "x"], "echo x > src/a.js").succeeded();
    sandbox
}

fn trees(sandbox: &Sandbox) -> usize {
    let listed = sandbox.git(["worktree", "list", "--porcelain"]);
    listed.matches("worktree ").count()
}

fn branches(sandbox: &Sandbox) -> String {
    sandbox.git(["for-each-ref", "--format=%(refname:short)", "refs/heads/"])
}

#[test]
fn a_working_copy_that_lost_power_left_half_made_is_gone_after_the_first_command() {
    for damage in [
        format!("touch {ENTRY}/HEAD.lock"),
        format!("touch {ENTRY}/index.lock"),
        format!("printf initializing > {ENTRY}/locked"),
        format!("rm {ENTRY}/HEAD"),
        format!(": > {ENTRY}/HEAD"),
        format!("rm {ENTRY}/commondir"),
        format!(": > {ENTRY}/commondir"),
        format!("rm {ENTRY}/index"),
        format!(": > {ENTRY}/index"),
        format!("truncate -s 20 {ENTRY}/index"),
        format!("rm {ENTRY}/gitdir {ENTRY}/index {TREE}/.git"),
        format!(": > {ENTRY}/gitdir; : > {ENTRY}/index"),
        format!("rm -r {ENTRY}"),
        format!("rm -r {ENTRY}; mkdir {ENTRY}"),
        format!("rm -r {TREE}"),
        "rm -r .mirror/worktrees/1".to_owned(),
        format!("rm -r .mirror/worktrees/1; rm {ENTRY}/index; touch {ENTRY}/HEAD.lock"),
        "rm .mirror/worktrees/1/state".to_owned(),
        ": > .mirror/worktrees/1/state".to_owned(),
        "printf '{\"state\":\"created\",\"transaction\":null}' > .mirror/worktrees/1/state".to_owned(),
        "printf '{\"state\":\"in-use\",\"transaction\":\"019a0000-0000-7000-8000-000000000001\"}' > .mirror/worktrees/1/state"
            .to_owned(),
        "printf '{\"state\":\"disposed\",\"transaction\":null}' > .mirror/worktrees/1/state".to_owned(),
    ] {
        let sandbox = with_copy();
        sandbox.shell(&damage);
        let sandbox = sandbox.rebooted();
        let status = sandbox.mirror(["status", "--json"]).succeeded().json();
        for worktree in status["worktrees"].as_array().unwrap() {
            assert_eq!(worktree["state"], "disposed", "{damage}: {status}");
        }
        assert_eq!(trees(&sandbox), 1, "{damage}");
        assert!(!sandbox.exists(TREE), "{damage}");
        assert_eq!(sandbox.shell("ls .git/worktrees 2>/dev/null || true"), "", "{damage}");
        run(&sandbox, &["-w", "src/", "-m", "y"], "cat src/a.js src/a.js > src/b.js").succeeded();
        assert_eq!(sandbox.read("src/b.js"), "x\nx\n", "{damage}");
        assert_eq!(trees(&sandbox), 2, "{damage}");
        assert_clean(&sandbox);
    }
}

#[test]
fn a_working_copy_that_is_whole_stays_for_the_next_run() {
    let sandbox = with_copy();
    let inode = |sandbox: &Sandbox| sandbox.path(TREE).metadata().unwrap().ino();
    let before = inode(&sandbox);
    let sandbox = sandbox.rebooted();
    sandbox.mirror(["status"]).succeeded();
    run(&sandbox, &["-w", "src/", "-m", "y"], "echo y > src/a.js").succeeded();
    assert_eq!(inode(&sandbox), before);
    assert_clean(&sandbox);
}

#[test]
fn a_working_copy_outside_of_the_repository_is_found_as_well() {
    let sandbox = repository();
    sandbox.write(".mirror/config.yaml", "run: {worktrees: {dir: ../copies}}\n");
    run(&sandbox, &["-w", "src/", "-m", "x"], "echo x > src/a.js").succeeded();
    sandbox.shell(&format!("rm .mirror/worktrees/1/state; touch {ENTRY}/HEAD.lock"));
    let sandbox = sandbox.rebooted();
    sandbox.mirror(["status"]).succeeded();
    assert_eq!(trees(&sandbox), 1);
    assert_eq!(sandbox.shell("find ../copies -name 'mirror-[0-9]*'"), "");
    run(&sandbox, &["-w", "src/", "-m", "y"], "echo y > src/a.js").succeeded();
    assert_clean(&sandbox);
}

#[test]
fn without_git_a_copy_that_a_run_was_at_work_in_goes_too() {
    let sandbox = Sandbox::directory();
    sandbox.write("a", "a\n");
    sandbox.mirror(["init"]).succeeded();
    run(&sandbox, &["-w", "b"], "cp a b").succeeded();
    sandbox.shell(&format!(
        "mkdir {TREE}; touch {TREE}/a; printf '{{\"state\":\"in-use\",\"transaction\":null}}' > .mirror/worktrees/1/state"
    ));
    let sandbox = sandbox.rebooted();
    sandbox.mirror(["status"]).succeeded();
    assert!(!sandbox.exists(TREE));
    run(&sandbox, &["-w", "b"], "cp a b; echo b >> b").succeeded();
}

#[test]
fn whoever_is_at_work_already_keeps_the_copy() {
    let sandbox = repository();
    let script = "echo x > src/a.js; echo ready; until [ -e $GO ]; do sleep 0.01; done";
    let working = running(&sandbox, &["-w", "src/", "-m", "x"], script)
        .env("GO", sandbox.beside("go"))
        .start();
    working.until_stdout("ready");
    // As if the run had begun while another command was about to clear up.
    sandbox.shell("rm .mirror/boot");
    sandbox.mirror(["status"]).succeeded();
    std::fs::write(sandbox.beside("go"), "").unwrap();
    working.finish().succeeded();
    assert_eq!(sandbox.read("src/a.js"), "x\n");
    assert_clean(&sandbox);
}

#[test]
fn working_trees_of_the_users_own_stay_whatever_became_of_them() {
    let sandbox = with_copy();
    sandbox.shell(
        "git worktree add -q ../mirror-7; git worktree add -q ../theirs
        touch .git/worktrees/mirror-7/HEAD.lock; rm .git/worktrees/theirs/gitdir
        git worktree add -q ../mirror-8; : > .git/worktrees/mirror-8/gitdir",
    );
    let sandbox = sandbox.rebooted();
    sandbox.mirror(["status"]).succeeded();
    assert!(sandbox.exists(".git/worktrees/mirror-7/HEAD.lock"));
    assert!(sandbox.exists(".git/worktrees/theirs/HEAD"));
    // Git does not know where it is, but there is something staged in it.
    assert!(sandbox.exists(".git/worktrees/mirror-8/index"));
    assert!(sandbox.exists(TREE));
}

#[test]
fn a_branch_of_a_task_that_nobody_knows_goes_unless_it_holds_work() {
    let sandbox = repository();
    sandbox.git(["branch", BRANCH]);
    let sandbox = sandbox.rebooted();
    sandbox.mirror(["status"]).succeeded();
    assert_eq!(branches(&sandbox), "main");
    assert!(!sandbox.exists(".git/refs/heads/mirror"));
    // Only the first command of a boot knows that nobody is about to open a task of this name.
    sandbox.git(["branch", BRANCH]);
    sandbox.mirror(["status"]).succeeded();
    assert!(branches(&sandbox).contains(BRANCH));
}

#[test]
fn a_branch_from_another_target_goes_as_well() {
    let sandbox = repository();
    sandbox.shell(&format!(
        "git switch -q -c release; echo r > r; git add r; git commit -q -m r; git branch {BRANCH}; git switch -q main"
    ));
    let sandbox = sandbox.rebooted();
    sandbox.mirror(["status"]).succeeded();
    assert_eq!(branches(&sandbox), "main\nrelease");
}

#[test]
fn branches_with_work_of_open_tasks_and_of_the_user_stay() {
    let sandbox = repository();
    sandbox
        .mirror(["begin", "-t", "open", "-w", "src/a.js", "--branch"])
        .succeeded();
    let other = BRANCH.replace("01", "02");
    let checked_out = BRANCH.replace("01", "03");
    let linked = BRANCH.replace("01", "04");
    sandbox.shell(&format!(
        "git switch -q -c {BRANCH}; echo w > w; git add w; git commit -q -m w; git switch -q main
        git branch mirror/topic; git branch mirror/no-uuid/at-all; git branch {other}
        git worktree add -q -b {linked} ../linked; git switch -q -c {checked_out}"
    ));
    let before = branches(&sandbox);
    let sandbox = sandbox.rebooted();
    sandbox.mirror(["status"]).succeeded();
    let expected: Vec<&str> = before.lines().filter(|name| *name != other).collect();
    assert_eq!(branches(&sandbox), expected.join("\n"));
    assert!(before.contains(&other));
}

#[test]
fn a_recovery_that_is_killed_on_the_way_is_completed_by_the_next_command() {
    for point in ["recover.copy", "recover.branch"] {
        let sandbox = with_copy();
        sandbox.shell(&format!("touch {ENTRY}/HEAD.lock; git branch {BRANCH}"));
        sandbox.git(["branch", &BRANCH.replace("01", "02")]);
        let sandbox = sandbox.rebooted();
        let killed = sandbox
            .mirror_program()
            .args(["status"])
            .env("MIRROR_FAULT", format!("{point}=kill"));
        assert_eq!(killed.run().code(), None, "{point}");
        sandbox.mirror(["status"]).succeeded();
        assert_eq!(branches(&sandbox), "main", "{point}");
        assert_eq!(trees(&sandbox), 1, "{point}");
        run(&sandbox, &["-w", "src/", "-m", "y"], "echo y > src/a.js").succeeded();
        assert_clean(&sandbox);
    }
}
