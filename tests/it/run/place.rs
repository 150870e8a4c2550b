//! Where working copies lie: `run.worktrees.dir`.

use std::fs;
use std::path::PathBuf;

use crate::run::{assert_clean, repository, run, running};
use crate::support::Sandbox;

fn set(sandbox: &Sandbox, directory: &str) {
    let settings = format!("run: {{worktrees: {{dir: {directory}}}}}\n");
    sandbox.write(".mirror/config.yaml", settings);
}

/// The directories that repositories have in one beside them.
fn owners(sandbox: &Sandbox, beside: &str) -> Vec<PathBuf> {
    let Ok(names) = fs::read_dir(sandbox.beside(beside)) else {
        return Vec::new();
    };
    let mut names: Vec<PathBuf> = names.map(|name| name.unwrap().path()).collect();
    names.sort();
    names
}

fn trees(sandbox: &Sandbox) -> String {
    sandbox.git(["worktree", "list", "--porcelain"])
}

#[test]
fn the_command_and_its_validation_work_where_no_name_begins_with_a_dot() {
    let sandbox = repository();
    set(&sandbox, "../copies");
    let validate = "test \"$(basename $PWD)\" = mirror-1 && pwd > ../where && grep -q x src/a.js";
    let arguments = ["-w", "src/", "-m", "x", "--validate", validate];
    run(&sandbox, &arguments, "pwd; echo x > src/a.js").succeeded();
    let own = owners(&sandbox, "copies");
    assert_eq!(own.len(), 1, "{own:?}");
    let name = own[0].file_name().unwrap().to_str().unwrap().to_owned();
    assert!(!name.starts_with('.'), "{name}");
    let seen = fs::read_to_string(own[0].join("where")).unwrap();
    assert!(
        seen.trim().ends_with(&format!("/copies/{name}/mirror-1")),
        "{seen}"
    );
    assert_eq!(sandbox.read("src/a.js"), "x\n");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(status["worktrees"][0]["state"], "idle", "{status}");
    assert!(
        status["worktrees"][0]["path"]
            .as_str()
            .unwrap()
            .contains("/copies/"),
        "{status}"
    );
    fs::remove_file(own[0].join("where")).unwrap();
    // It is used again, and gone when it is cleaned up.
    run(&sandbox, &["-w", "src/", "-m", "y"], "echo y > src/a.js").succeeded();
    assert_eq!(trees(&sandbox).matches("worktree ").count(), 2);
    sandbox.mirror(["cleanup", "--force"]).succeeded();
    assert!(!own[0].exists());
    assert_eq!(trees(&sandbox).matches("worktree ").count(), 1);
    // What somebody has put there is not ours.
    run(&sandbox, &["-w", "src/", "-m", "z"], "echo z > src/a.js").succeeded();
    assert_eq!(owners(&sandbox, "copies"), own);
    fs::write(own[0].join("mine"), "").unwrap();
    sandbox.mirror(["cleanup", "--force"]).succeeded();
    assert!(own[0].join("mine").exists() && own[0].join("mirror-owner").exists());
    assert_clean(&sandbox);
}

#[test]
fn two_repositories_may_name_the_same_directory() {
    let sandbox = repository();
    sandbox.shell("mkdir -p ../elsewhere && git clone -q . ../elsewhere/repository");
    let other = sandbox.beside("elsewhere/repository");
    let mirror = |arguments: &[&str]| sandbox.mirror_program().at(&other).args(arguments).run();
    mirror(&["init"]).succeeded();
    let both = sandbox.beside("copies");
    let named = format!("run: {{worktrees: {{dir: {}}}}}\n", both.display());
    fs::write(other.join(".mirror/config.yaml"), &named).unwrap();
    sandbox.write(".mirror/config.yaml", &named);
    run(&sandbox, &["-w", "src/", "-m", "one"], "echo one > src/a.js").succeeded();
    mirror(&[
        "run",
        "-w",
        "src/",
        "-m",
        "two",
        "--",
        "sh",
        "-c",
        "echo two > src/a.js",
    ])
    .succeeded();
    run(&sandbox, &["-w", "src/", "-m", "one"], "echo more >> src/a.js").succeeded();
    assert_eq!(sandbox.read("src/a.js"), "one\nmore\n");
    assert_eq!(fs::read_to_string(other.join("src/a.js")).unwrap(), "two\n");
    let own = owners(&sandbox, "copies");
    assert_eq!(own.len(), 2, "{own:?}");
    // What one cleans up is its own.
    mirror(&["cleanup", "--force"]).succeeded();
    let left = own.iter().filter(|own| own.join("mirror-1").exists()).count();
    assert_eq!(left, 1, "{own:?}");
    // A copy of the repository knows of the same working copies, and they are not its own.
    sandbox.shell("cp -a . ../copied");
    let copied = sandbox.beside("copied");
    sandbox
        .mirror_program()
        .at(&copied)
        .args(["cleanup", "--force"])
        .run()
        .succeeded();
    run(&sandbox, &["-w", "src/", "-m", "still"], "echo still >> src/a.js").succeeded();
    assert_eq!(owners(&sandbox, "copies").len(), 1);
    let tree = trees(&sandbox);
    assert!(tree.contains("/copies/"), "{tree}");
    assert_clean(&sandbox);
}

#[test]
fn what_lies_in_the_old_place_is_found_when_the_setting_changes() {
    let sandbox = repository();
    let make = |message: &str| {
        let script = format!("echo {message} > src/a.js");
        run(&sandbox, &["-w", "src/", "-m", message], &script).succeeded();
    };
    make("usual");
    set(&sandbox, "../copies");
    let said = sandbox.mirror(["doctor"]).stdout();
    assert!(said.contains("and not where run.worktrees.dir says"), "{said}");
    // The next run makes its copy in the new place, and none is left in the old.
    make("moved");
    assert!(!sandbox.exists(".mirror/worktrees/1/mirror-1"));
    assert_eq!(trees(&sandbox).matches("worktree ").count(), 2);
    assert_clean(&sandbox);
    // Cleaning up does the same, and leaves no empty directory.
    set(&sandbox, "../others");
    let said = sandbox.mirror(["cleanup"]).succeeded().stdout();
    assert!(said.contains("1 unused working copy"), "{said}");
    assert_eq!(owners(&sandbox, "copies"), Vec::<PathBuf>::new());
    assert_eq!(trees(&sandbox).matches("worktree ").count(), 1);
    make("others");
    // Also where copies could not be made by now.
    set(&sandbox, "src");
    sandbox.mirror(["cleanup", "--force"]).succeeded();
    assert_eq!(owners(&sandbox, "others"), Vec::<PathBuf>::new());
    set(&sandbox, "../others");
    make("others again");
    sandbox.write(".mirror/config.yaml", "");
    let said = sandbox.mirror(["doctor", "--repair"]).stdout();
    assert!(said.contains("and not where run.worktrees.dir says"), "{said}");
    assert_eq!(owners(&sandbox, "others"), Vec::<PathBuf>::new());
    make("usual again");
    assert!(sandbox.exists(".mirror/worktrees/1/mirror-1"));
    assert_clean(&sandbox);
}

#[test]
fn a_directory_that_vanished_and_a_run_that_was_killed_leave_nothing() {
    let sandbox = repository();
    set(&sandbox, "../copies");
    run(&sandbox, &["-w", "src/", "-m", "x"], "echo x > src/a.js").succeeded();
    fs::remove_dir_all(sandbox.beside("copies")).unwrap();
    sandbox.mirror(["doctor"]).succeeded();
    run(&sandbox, &["-w", "src/", "-m", "y"], "echo y > src/a.js").succeeded();
    assert_clean(&sandbox);
    let script = "echo half > src/a.js; echo ready; tail -f /dev/null";
    let killed = running(&sandbox, &["-w", "src/", "-m", "z"], script).start();
    killed.until_stdout("ready");
    killed.kill();
    run(
        &sandbox,
        &["-w", "src/", "-m", "next", "--wait", "60s"],
        "cat src/a.js > src/b.js",
    )
    .succeeded();
    assert_eq!(sandbox.read("src/b.js"), "y\n");
    assert_clean(&sandbox);
    // It vanishes under a run that is killed.
    let killed = running(&sandbox, &["-w", "src/", "-m", "z"], script).start();
    killed.until_stdout("ready");
    killed.kill();
    fs::remove_dir_all(sandbox.beside("copies")).unwrap();
    sandbox.mirror(["status"]).succeeded();
    assert_clean(&sandbox);
    // Nothing is known of a copy whose `.mirror` was made anew, but it says whose it is.
    run(&sandbox, &["-w", "src/", "-m", "w"], "echo w > src/a.js").succeeded();
    sandbox.shell("rm -rf .mirror");
    sandbox.mirror(["init"]).succeeded();
    let said = sandbox.mirror(["doctor"]).stdout();
    assert!(said.contains("Nothing is known of the working copy in"), "{said}");
    set(&sandbox, "../copies");
    run(&sandbox, &["-w", "src/", "-m", "v"], "echo v > src/a.js").succeeded();
    assert_clean(&sandbox);
}

#[test]
fn a_place_where_copies_would_be_in_the_way_is_refused() {
    let sandbox = repository();
    sandbox.shell("mkdir -p ../other/.mirror ../pool/theirs; git worktree add -q ../linked");
    sandbox.shell("touch ../pool/file");
    sandbox.shell("printf /somewhere/else > ../pool/theirs/mirror-owner; ln -s root/src ../link");
    for (directory, why) in [
        (".", "inside the working tree"),
        ("src", "inside the working tree"),
        ("copies/not/there", "inside the working tree"),
        ("../root/src", "inside the working tree"),
        ("../link/x", "inside the working tree"),
        ("../linked/src", "inside the working tree"),
        (".git/copies", "git's own directory"),
        (".mirror", "mirror keeps other things there"),
        (".mirror/transactions/x", "mirror keeps other things there"),
        ("../other/.mirror/x", "another repository's .mirror"),
        ("../pool/theirs/x", "the working copies of /somewhere/else"),
        ("../pool/file", "file is no directory"),
        ("../pool/file/x", "file is no directory"),
        ("not/there/../../../x", "a directory that is not there"),
    ] {
        set(&sandbox, directory);
        let refused = run(&sandbox, &["-w", "src/a.js"], "echo").exited(2);
        let said = refused.stderr();
        assert!(
            said.contains("Working copies cannot lie in") && said.contains(why),
            "{directory}: {said}"
        );
        assert!(
            said.contains("Hint: Name a directory beside the repository"),
            "{said}"
        );
        sandbox.mirror(["status"]).succeeded();
        let said = sandbox.mirror(["doctor"]).stdout();
        assert!(said.contains("Working copies cannot lie in"), "{said}");
    }
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    // That nothing can be made there shows when it is tried.
    set(&sandbox, "/proc/copies");
    let refused = run(&sandbox, &["-w", "src/a.js"], "echo").exited(2).stderr();
    assert!(
        refused.contains("creating the directory /proc/copies"),
        "{refused}"
    );
    assert!(refused.contains("Hint: Name a directory"), "{refused}");
    for (directory, why) in [("~/copies", "is not expanded"), ("''", "expected a directory")] {
        set(&sandbox, directory);
        let refused = run(&sandbox, &["-w", "src/a.js"], "echo").exited(2);
        assert!(refused.stderr().contains(why), "{}", refused.stderr());
    }
    // A place of its own in .mirror will do, and so will the usual one by its name.
    for directory in [".mirror/copies", ".mirror/worktrees"] {
        set(&sandbox, directory);
        run(&sandbox, &["-w", "src/", "-m", directory], "date +%N > src/a.js").succeeded();
        assert_clean(&sandbox);
    }
    assert!(sandbox.exists(".mirror/worktrees/1/mirror-1"));
}

#[test]
fn without_git_the_copies_lie_there_too() {
    let sandbox = Sandbox::directory();
    sandbox.write("a", "a\n");
    sandbox.mirror(["init"]).succeeded();
    set(&sandbox, "../copies");
    run(&sandbox, &["-w", "b"], "pwd; cp a b").succeeded();
    assert_eq!(sandbox.read("b"), "a\n");
    let own = owners(&sandbox, "copies");
    assert_eq!(own.len(), 1);
    assert!(!own[0].join("mirror-1").exists(), "it is made anew each time");
}
