//! Runs that finish together land one after the other, each validated on the tree that it lands on.

use crate::run::{assert_clean, repository, run, running};

#[test]
fn sixteen_that_finish_at_once_give_sixteen_results_and_a_failing_one_is_rejected_alone() {
    let sandbox = repository();
    sandbox.write(".mirror/config.yaml", "run: {worktrees: {max: 16}}\n");
    // Each validation sees every file that landed before, and no two see the same number of them.
    let validate = "ls src/n* | wc -l >> ../../../../seen && ! test -e src/n7";
    let wait = |number: usize| {
        format!("echo {number} > src/n{number}; echo ready; until [ -e ../../../../go ]; do sleep 0.01; done")
    };
    let runs: Vec<_> = (0..16)
        .map(|number| {
            let path = format!("src/n{number}");
            let arguments = ["-w", &path, "-m", &path, "--validate", validate];
            let run = running(&sandbox, &arguments, &wait(number)).start();
            run.until_stdout("ready");
            run
        })
        .collect();
    sandbox.write("go", "");
    for (number, run) in runs.into_iter().enumerate() {
        run.finish().exited(if number == 7 { 6 } else { 0 });
    }
    for number in 0..16 {
        assert_eq!(sandbox.exists(format!("src/n{number}")), number != 7, "{number}");
    }
    assert_eq!(sandbox.git(["rev-list", "--count", "HEAD"]).trim(), "16");
    let seen = sandbox.shell("sort -n seen | tr -d ' '");
    let seen: Vec<usize> = seen.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(seen.len(), 16, "nobody validates twice: {seen:?}");
    // The one that fails sees its own file: as the last to land it sees one more than ever stay.
    assert!(matches!(seen.last(), Some(15 | 16)), "{seen:?}");
    assert_eq!(sandbox.git(["status", "--porcelain", "--", "src"]), "");
    assert_clean(&sandbox);
}

#[test]
fn a_validation_that_fails_rolls_back_and_keeps_the_work() {
    let sandbox = repository();
    let ran = run(
        &sandbox,
        &[
            "-t",
            "bad",
            "-w",
            "src/",
            "-m",
            "x",
            "--validate",
            "echo why >&2; false",
            "--json",
        ],
        "echo finished > src/a.js",
    )
    .exited(6);
    let error = ran.error_json();
    assert_eq!(error["error"]["kind"], "rejected");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("\nwhy"), "what it printed is told: {message}");
    assert_eq!(sandbox.shell("cat .mirror/salvage/*/src/a.js"), "finished\n");
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    assert_clean(&sandbox);
}

#[test]
fn whoever_validates_is_validated_again_when_the_target_moves_meanwhile() {
    let sandbox = repository();
    let validate = "cat src/b.js >> ../../../../seen; echo validating >&2; until [ -e ../../../../go ]; do sleep 0.01; done";
    let arguments = ["-w", "src/a.js", "-m", "x", "--validate", validate];
    let going = running(&sandbox, &arguments, "echo x > src/a.js").start();
    sandbox.shell("until [ -e seen ]; do sleep 0.01; done");
    sandbox.write("src/b.js", "moved\n");
    sandbox.git(["commit", "--quiet", "-m", "moved", "src/b.js"]);
    sandbox.write("go", "");
    going.finish().succeeded();
    assert_eq!(sandbox.read("seen"), "var b;\nmoved\n");
    assert_eq!(sandbox.git(["show", "HEAD:src/b.js"]).trim(), "moved");
    assert_clean(&sandbox);
}

#[test]
fn a_validator_that_dies_lets_the_next_one_land() {
    let sandbox = repository();
    let validate = "echo > ../../../../validating; tail -f /dev/null";
    let stuck = running(
        &sandbox,
        &["-w", "src/a.js", "-m", "x", "--validate", validate],
        "echo x > src/a.js",
    )
    .start();
    sandbox.shell("until [ -e validating ]; do sleep 0.01; done");
    let next = running(
        &sandbox,
        &["-w", "src/b.js", "-m", "y", "--validate", "true"],
        "echo y > src/b.js",
    )
    .start();
    next.until_stderr("In line to land on main behind ");
    stuck.kill();
    next.finish().succeeded();
    assert_eq!(sandbox.read("src/b.js"), "y\n");
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    assert_clean(&sandbox);
}

#[test]
fn a_run_on_a_branch_of_its_own_is_merged_where_it_is_told() {
    let sandbox = repository();
    sandbox.git(["branch", "release"]);
    run(
        &sandbox,
        &[
            "-w",
            "src/",
            "-m",
            "fix",
            "--into",
            "release",
            "--validate",
            "grep -q fixed src/a.js",
        ],
        "echo fixed > src/a.js",
    )
    .succeeded();
    assert_eq!(sandbox.git(["show", "release:src/a.js"]).trim(), "fixed");
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    assert_eq!(sandbox.git(["branch", "--list", "mirror/*"]), "");
    assert_clean(&sandbox);
}

#[test]
fn who_is_overtaken_by_a_commit_is_told_so_and_not_to_put_anything_away() {
    let sandbox = repository();
    let script = "echo ready; until [ -e $GO ]; do sleep 0.01; done; echo grown >> src/b.js";
    let overtaken = || {
        let going = running(&sandbox, &["-w", "src/a.js", "--grow", "-m", "x"], script)
            .env("GO", sandbox.beside("go"))
            .start();
        going.until_stdout("ready");
        going
    };
    let going = overtaken();
    run(
        &sandbox,
        &["-w", "src/b.js", "-m", "first"],
        "echo first > src/b.js",
    )
    .succeeded();
    std::fs::write(sandbox.beside("go"), "").unwrap();
    let refused = going.finish().exited(5).stderr();
    assert!(
        refused.contains("Error: Others have committed to it since this run began: src/b.js\n"),
        "{refused}"
    );
    assert!(
        refused.contains("Hint: Run it again with -w src/b.js: it begins from"),
        "{refused}"
    );
    assert!(!refused.contains("stash"), "{refused}");
    // What nobody has committed can be put away.
    std::fs::remove_file(sandbox.beside("go")).unwrap();
    let going = overtaken();
    sandbox.write("src/b.js", "mine\n");
    std::fs::write(sandbox.beside("go"), "").unwrap();
    let refused = going.finish().exited(5).stderr();
    assert!(refused.contains("git stash push -u -- src/b.js"), "{refused}");
    assert_eq!(sandbox.read("src/b.js"), "mine\n");
    // Nobody has committed anything, but something else is checked out.
    sandbox.git(["checkout", "--", "src/b.js"]);
    sandbox.shell("git checkout -q -b side HEAD~1 && echo side > src/b.js && git commit -qam side && git checkout -q main");
    std::fs::remove_file(sandbox.beside("go")).unwrap();
    let going = overtaken();
    sandbox.git(["checkout", "-q", "side"]);
    std::fs::write(sandbox.beside("go"), "").unwrap();
    let refused = going.finish().exited(5).stderr();
    let said = "Error: What is checked out has changed since this run began, and with it: src/b.js\n";
    assert!(refused.contains(said), "{refused}");
    assert_clean(&sandbox);
}

#[test]
fn a_commit_that_no_branch_has_is_called_one() {
    let sandbox = repository();
    sandbox.git(["checkout", "-q", "--detach"]);
    let said = run(&sandbox, &["-w", "src/a.js", "-m", "x"], "echo x > src/a.js")
        .succeeded()
        .stdout();
    let commit = &sandbox.git(["rev-parse", "HEAD"])[..10];
    assert_eq!(
        said,
        format!(
            "Committed 1 change on a detached HEAD as {commit}\nNo branch has it: `git branch NAME {commit}` keeps it.\n"
        )
    );
    let help = sandbox.mirror(["run", "--help"]).succeeded().stdout();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("for its turn to land a run waits"), "{help}");
    assert_clean(&sandbox);
}
