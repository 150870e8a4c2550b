//! Runs in the working tree itself.

use crate::run::{assert_clean, repository, run, running};

#[test]
fn what_it_changes_is_committed_like_any_other() {
    let sandbox = repository();
    let script = "pwd; echo x > src/a.js; rm src/b.js; mkdir src/d; echo n > src/d/n";
    let ran = run(&sandbox, &["--in-place", "-w", "src/", "-m", "x"], script).succeeded();
    assert!(
        ran.stdout()
            .starts_with(&format!("{}\n", sandbox.root().display())),
        "{}",
        ran.stdout()
    );
    assert_eq!(
        sandbox.git(["show", "--name-only", "--format="]).trim(),
        "src/a.js\nsrc/b.js\nsrc/d/n"
    );
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_clean(&sandbox);
    run(&sandbox, &["--in-place", "-w", "src/"], "echo y > src/c.js").succeeded();
    assert_eq!(sandbox.git(["status", "--porcelain"]), " M src/c.js");
    assert_clean(&sandbox);
}

#[test]
fn what_was_there_is_put_back_when_it_fails() {
    let sandbox = repository();
    sandbox.write("src/untracked", "mine\n");
    sandbox.write("src/c.js", "edited\n");
    let script = "echo x > src/a.js; rm -r src/b.js src/untracked; ln -s nowhere src/b.js; mkdir src/new; echo n > src/new/n; echo z > src/c.js; exit 1";
    run(&sandbox, &["--in-place", "-w", "src/", "-m", "x"], script).exited(6);
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    assert_eq!(sandbox.read("src/b.js"), "var b;\n");
    assert_eq!(sandbox.read("src/untracked"), "mine\n");
    assert_eq!(sandbox.read("src/c.js"), "edited\n");
    assert!(!sandbox.exists("src/new/n"));
    assert_eq!(sandbox.shell("cat .mirror/salvage/*/src/new/n"), "n\n");
    assert_clean(&sandbox);
}

#[test]
fn a_killed_one_is_put_back_before_anybody_else_begins() {
    let sandbox = repository();
    let script = "echo half > src/a.js; rm src/b.js; echo ready; tail -f /dev/null";
    let going = running(
        &sandbox,
        &["--in-place", "-t", "dead", "-w", "src/", "-m", "x"],
        script,
    )
    .start();
    going.until_stdout("ready");
    let next = running(
        &sandbox,
        &["-t", "next", "-w", "src/a.js", "--wait", "60s", "-m", "y"],
        "cat src/a.js src/b.js > src/a.js.new; mv src/a.js.new src/a.js",
    )
    .start();
    next.until_stderr("Waiting for");
    going.kill();
    next.finish().succeeded();
    assert_eq!(sandbox.read("src/a.js"), "var a;\nvar b;\n");
    assert_eq!(sandbox.read("src/b.js"), "var b;\n");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_clean(&sandbox);
}

#[test]
fn taking_its_locks_by_force_ends_it_first() {
    let sandbox = repository();
    let script = "trap '' TERM; echo half > src/a.js; echo ready; exec tail -f /dev/null";
    let going = running(
        &sandbox,
        &["--in-place", "-t", "slow", "-w", "src/", "-m", "x"],
        script,
    )
    .start();
    going.until_stdout("ready");
    sandbox
        .mirror(["unlock", "--force", "--reason", "mine", "src/"])
        .succeeded();
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    assert!(!going.finish().text().contains("--- exit 0"));
    assert_clean(&sandbox);
}
