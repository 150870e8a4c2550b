//! A run in the working tree itself whose command commits by git: the commit stays, and the tree says the same.

use crate::run::{assert_clean, repository, run, running};

const COMMITS: &str = "echo done > src/a.js; rm src/b.js; echo new > src/new; chmod +x src/c.js; git add -A src; git commit -qm own";

fn subjects(sandbox: &crate::support::Sandbox) -> String {
    sandbox.git(["log", "--format=%s"]).trim().replace('\n', " ")
}

/// It was rolled back under its commit, which then looked like a change of the user's that takes it back.
#[test]
fn what_a_failing_command_has_committed_stays_and_is_named() {
    let sandbox = repository();
    sandbox.write("src/untracked", "mine\n");
    sandbox.write("src/a.js", "edited\n");
    let arguments = ["--in-place", "-w", ".", "-m", "x"];
    let ran = run(
        &sandbox,
        &arguments,
        &format!("{COMMITS}; echo half > src/more; exit 1"),
    )
    .exited(6);
    let id = sandbox.git(["rev-parse", "HEAD"]);
    let told = format!(
        "Git has committed this while the command worked, and that stays: src/a.js, src/b.js, src/c.js, src/new. `git show {id}` shows what; `git revert {id}` takes it back.",
        id = &id[..10]
    );
    assert!(ran.text().contains(&told), "{ran}");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_eq!(sandbox.read("src/a.js"), "done\n");
    // What was nowhere else.
    assert_eq!(sandbox.shell("cat .mirror/salvage/*.before/src/a.js"), "edited\n");
    assert_eq!(
        sandbox.shell("cd .mirror/salvage/*-????????????; find . -type f"),
        "./src/more\n"
    );
    sandbox.git(["revert", "--no-edit", id[..10].trim()]);
    assert_eq!(sandbox.read("src/b.js"), "var b;\n");
    assert_clean(&sandbox);
}

/// It was told to stash what it had committed.
#[test]
fn what_a_command_has_committed_that_ends_well_is_named_and_the_rest_is_committed() {
    let sandbox = repository();
    let arguments = ["--in-place", "-w", ".", "-m", "rest"];
    let ran = run(&sandbox, &arguments, &format!("{COMMITS}; echo rest > src/rest")).succeeded();
    assert!(
        ran.text()
            .contains("and that stays: src/a.js, src/b.js, src/c.js, src/new."),
        "{ran}"
    );
    assert!(subjects(&sandbox).starts_with("rest own "), "{ran}");
    assert_eq!(
        sandbox.git(["show", "--name-only", "--format="]).trim(),
        "src/rest"
    );
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_clean(&sandbox);
    run(
        &sandbox,
        &arguments,
        "echo again > src/a.js; git commit -qam again",
    )
    .succeeded();
    assert!(subjects(&sandbox).starts_with("again rest own "));
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_clean(&sandbox);
}

#[test]
fn what_a_killed_command_had_committed_stays_too() {
    let sandbox = repository();
    let script = format!(
        "{COMMITS}; mkdir src/d; git mv src/a.js src/d/x; git rm -q -r src/c.js; git commit -qm two; echo half > src/d/half; echo ready; tail -f /dev/null"
    );
    let going = running(&sandbox, &["--in-place", "-w", "."], &script).start();
    going.until_stdout("ready");
    going.kill();
    let told = sandbox.mirror(["status"]).succeeded();
    let ids = sandbox.git(["log", "-2", "--format=%H"]);
    let ids: Vec<&str> = ids.lines().map(|id| &id[..10]).collect();
    let told_of = format!("`git revert {}` takes it back", ids.join(" "));
    assert!(told.text().contains(&told_of), "{told}");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_eq!(sandbox.read("src/d/x"), "done\n");
    assert_clean(&sandbox);
}

#[test]
fn another_branch_that_it_has_checked_out_is_left_whole() {
    let sandbox = repository();
    sandbox.shell("git switch -qc other; echo other > src/a.js; git rm -q src/c.js; git commit -qam other; git switch -q -; git commit -q --allow-empty -m base");
    let script = "git switch -q other; echo half > src/b.js; exit 1";
    let ran = run(&sandbox, &["--in-place", "-w", "."], script).exited(6);
    assert!(
        ran.text().contains(
            "Git has another commit checked out by now, and what that says of this stays: src/a.js, src/c.js."
        ),
        "{ran}"
    );
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_clean(&sandbox);
}

/// What it was before the commit is not what was changed again.
#[test]
fn what_is_changed_again_after_its_commit_is_a_change_to_that() {
    let again = "echo half > src/a.js; echo back > src/b.js; rm src/new; ln -s a.js src/new";
    for (end, status) in [("exit 1", 6), ("true", 0)] {
        let sandbox = repository();
        let arguments = ["--in-place", "-w", ".", "-m", "again"];
        let ran = run(&sandbox, &arguments, &format!("{COMMITS}; {again}; {end}")).exited(status);
        assert!(
            ran.text()
                .contains("and that stays: src/a.js, src/b.js, src/c.js, src/new."),
            "{ran}"
        );
        assert_eq!(sandbox.git(["status", "--porcelain"]), "", "{end}");
        if status == 0 {
            assert!(subjects(&sandbox).starts_with("again own "));
            assert_eq!(sandbox.read("src/b.js"), "back\n");
        } else {
            assert!(subjects(&sandbox).starts_with("own "));
            assert!(!sandbox.exists("src/b.js"));
            assert_eq!(sandbox.read("src/new"), "new\n");
            assert_eq!(
                sandbox.shell("cat .mirror/salvage/*-????????????/src/a.js"),
                "half\n"
            );
        }
        assert_clean(&sandbox);
    }
}
