//! Runs in the working tree itself whose locks go while they stand still, in every way that a lock can go: what others have made of
//! it since stays, and nothing of what was there before is lost.

use crate::run::{assert_clean, running};
use crate::support::Sandbox;
use crate::support::program::Finished;
use crate::support::running::Running;

/// A repository whose locks go after a second, even those of processes that live.
fn repository() -> Sandbox {
    let sandbox = super::repository();
    sandbox.write(
        ".mirror/config.yaml",
        "resource_manager: {lock_timeout: 1, max_hold: 1}\n",
    );
    sandbox.write("src/mine", "mine, untracked\n");
    sandbox
}

const ARGUMENTS: [&str; 5] = ["--in-place", "-t", "still", "-w", "src/"];

/// Changes everything, and goes on until it is told to end, or until there is a file `go`.
const HALF: &str = "for f in a.js c.js d.js mine; do echo half > src/$f; done; echo ready; \
                    until [ -e go ]; do sleep 0.01; done; exit 1";

fn stop(run: &Running) {
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(run.pid().cast_signed()).unwrap(),
        rustix::process::Signal::STOP,
    )
    .unwrap();
}

fn begin(sandbox: &Sandbox, task: &str, path: &str) {
    let begin = ["begin", "-t", task, "-w", path, "--lease", "1h", "--wait", "60s"];
    sandbox.mirror(begin).succeeded();
}

/// Commits one file as somebody else who has waited for the locks.
fn commit(sandbox: &Sandbox, path: &str, how: &[&str]) {
    begin(sandbox, "other", path);
    let stage = ["stage", "-t", "other", path];
    let stage = sandbox.mirror_program().args(stage);
    stage.input("of the other\n").run().succeeded();
    let commit = ["commit", "-t", "other"].iter().chain(how);
    sandbox.mirror(commit).succeeded();
}

/// Others commit two files, one of them only to the tree, and one goes on working.
fn others_go_on(sandbox: &Sandbox) {
    commit(sandbox, "src/b.js", &["-m", "other"]);
    commit(sandbox, "src/a.js", &[]);
    begin(sandbox, "holder", "src/c.js");
}

/// What others have, stays; what nobody has, is what it was; what was there before is kept.
#[track_caller]
fn assert_theirs_stays(sandbox: &Sandbox, told: &Finished) {
    assert_eq!(sandbox.read("src/a.js"), "of the other\n", "{told}");
    assert_eq!(sandbox.read("src/b.js"), "of the other\n", "{told}");
    assert_eq!(sandbox.read("src/c.js"), "half\n", "{told}");
    assert_eq!(sandbox.read("src/mine"), "mine, untracked\n", "{told}");
    assert!(!sandbox.exists("src/d.js"), "{told}");
    assert_eq!(
        sandbox.shell("cd .mirror/salvage/*.before; find . -type f | sort; cat src/a.js src/b.js src/c.js"),
        "./src/a.js\n./src/b.js\n./src/c.js\nvar a;\nvar b;\nvar c;\n"
    );
    let text = told.text();
    let kept = "What was there before the run is kept in [SANDBOX]/root/.mirror/salvage/[UUID].before.";
    assert!(text.contains(kept), "{text}");
    let left = "Others hold this by now or have committed it since, so it is left as it is: src/a.js, src/b.js, src/c.js.";
    assert!(text.contains(left), "{text}");
    sandbox.mirror(["rollback", "-t", "holder"]).succeeded();
    assert_clean(sandbox);
}

#[test]
fn one_that_goes_on_leaves_what_others_have_made_since() {
    let sandbox = repository();
    let going = running(&sandbox, &ARGUMENTS, HALF).start();
    going.until_stdout("ready");
    stop(&going);
    others_go_on(&sandbox);
    // It stands still, and has not lost what it keeps.
    sandbox.mirror(["cleanup"]).succeeded();
    going.resume();
    let ran = going.finish().exited(4);
    assert_theirs_stays(&sandbox, &ran);
}

#[test]
fn one_whose_command_ended_well_meanwhile_leaves_it_as_well() {
    let sandbox = repository();
    let work = "for f in a.js c.js d.js mine; do echo half > src/$f; done";
    let going = running(&sandbox, &ARGUMENTS, work)
        .env("MIRROR_FAULT", "run.worked=stop")
        .start();
    going.until_stopped();
    others_go_on(&sandbox);
    going.resume();
    let ran = going.finish().exited(4);
    assert_theirs_stays(&sandbox, &ran);
}

#[test]
fn recovery_decides_the_same_way() {
    let sandbox = repository();
    let going = running(&sandbox, &ARGUMENTS, HALF).start();
    going.until_stdout("ready");
    stop(&going);
    others_go_on(&sandbox);
    going.kill();
    let told = sandbox.mirror(["status"]).succeeded();
    assert_theirs_stays(&sandbox, &told);
}

/// Between the list of what is kept and the last look at the locks.
#[test]
fn one_that_is_killed_before_it_has_begun_to_work_writes_over_nothing() {
    let sandbox = repository();
    let going = running(&sandbox, &ARGUMENTS, "true")
        .env("MIRROR_FAULT", "run.kept=stop")
        .start();
    going.until_stopped();
    commit(&sandbox, "src/a.js", &["-m", "other"]);
    going.kill();
    let told = sandbox.mirror(["status"]).succeeded();
    assert_eq!(sandbox.read("src/a.js"), "of the other\n", "{told}");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "?? src/mine");
    assert_eq!(sandbox.shell("cat .mirror/salvage/*.before/src/a.js"), "var a;\n");
    assert_clean(&sandbox);
}

#[test]
fn one_that_stands_still_while_it_puts_back_writes_over_nothing() {
    let sandbox = repository();
    let work = "for f in a.js b.js mine; do echo half > src/$f; done; exit 1";
    let going = running(&sandbox, &ARGUMENTS, work)
        .env("MIRROR_FAULT", "run.out=stop")
        .start();
    going.until_stopped();
    assert!(!sandbox.exists("src/a.js"));
    commit(&sandbox, "src/a.js", &[]);
    going.resume();
    going.finish().exited(6);
    let told = sandbox.mirror(["status"]).succeeded();
    assert_eq!(sandbox.read("src/a.js"), "of the other\n", "{told}");
    assert_eq!(sandbox.read("src/b.js"), "var b;\n");
    assert_eq!(sandbox.read("src/mine"), "mine, untracked\n");
    assert_eq!(sandbox.shell("cat .mirror/salvage/*.before/src/a.js"), "var a;\n");
    assert_clean(&sandbox);
}

#[test]
fn what_git_alone_has_committed_stays_too() {
    let sandbox = repository();
    let going = running(&sandbox, &ARGUMENTS, HALF).start();
    going.until_stdout("ready");
    stop(&going);
    // Somebody takes the locks, and lets go of them again.
    begin(&sandbox, "other", "src/a.js");
    sandbox.write("src/a.js", "by hand\n");
    sandbox.git(["commit", "-q", "-m", "by hand", "src/a.js"]);
    sandbox.mirror(["rollback", "-t", "other"]).succeeded();
    going.resume();
    let ran = going.finish().exited(4);
    assert_eq!(sandbox.read("src/a.js"), "by hand\n", "{ran}");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "?? src/mine");
    assert_eq!(sandbox.read("src/mine"), "mine, untracked\n");
    assert_clean(&sandbox);
}

#[test]
fn what_was_given_back_under_it_stays_as_well() {
    let sandbox = super::repository();
    let going = running(
        &sandbox,
        &ARGUMENTS,
        "echo half > src/a.js; echo ready; until [ -e go ]; do sleep 0.01; done; exit 1",
    )
    .start();
    going.until_stdout("ready");
    sandbox.mirror(["unlock", "-t", "still"]).succeeded();
    commit(&sandbox, "src/b.js", &["-m", "other"]);
    sandbox.write("go", "");
    going.finish();
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    assert_eq!(sandbox.read("src/b.js"), "of the other\n");
    sandbox.shell("rm go");
    assert_clean(&sandbox);
}

#[test]
fn rolled_back_by_name_it_puts_everything_back_first() {
    let sandbox = super::repository();
    sandbox.write("src/mine", "mine, untracked\n");
    let going = running(&sandbox, &ARGUMENTS, HALF).start();
    going.until_stdout("ready");
    sandbox.mirror(["rollback", "-t", "still"]).succeeded();
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    assert_eq!(sandbox.read("src/mine"), "mine, untracked\n");
    assert!(!going.finish().text().contains("--- exit 0"));
    assert_clean(&sandbox);
}
