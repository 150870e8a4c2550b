//! What git ignores in the working tree that a run works in: it stays where it is, however the run ends and whatever becomes of the
//! rules meanwhile.

use std::os::unix::ffi::OsStrExt as _;

use crate::run::{assert_clean, kept_out, run, running};
use crate::support::Sandbox;

fn repository() -> Sandbox {
    let sandbox = Sandbox::with_files(&[
        (".gitignore", ".env\nnode_modules/\n*.log\ndeps/\n"),
        ("a", "a\n"),
        ("d/x", "x\n"),
    ]);
    sandbox.mirror(["init"]).succeeded();
    sandbox.shell("echo secret > .env; mkdir -p node_modules/p d/node_modules; echo p > node_modules/p/i; echo l > d/keep.log; echo q > d/node_modules/q");
    sandbox.shell("mkdir -p .venv/lib; echo '*' > .venv/.gitignore; echo v > .venv/lib/v");
    sandbox
}

/// What of it is still there.
fn ignored(sandbox: &Sandbox) -> String {
    sandbox.shell(
        "cat .env node_modules/p/i d/keep.log d/node_modules/q .venv/lib/v 2>&1 | tr '\\n' ' '; ls .mirror/salvage 2>/dev/null || true",
    )
}

const ALL: &str = "secret p l q v ";

/// It looked like something that the run had made, and went away with it.
#[test]
fn it_stays_when_a_run_that_fails_changes_the_rules() {
    for script in [
        "echo nothing > .gitignore",
        "rm .gitignore",
        "rm .venv/.gitignore",
        "git add -f d/keep.log .env",
        "git config core.excludesFile /dev/null; rm .gitignore .venv/.gitignore",
    ] {
        let sandbox = repository();
        run(&sandbox, &["--in-place", "-w", "."], &format!("{script}; exit 1")).exited(6);
        sandbox.shell("rm -rf .mirror/salvage/*");
        assert_eq!(ignored(&sandbox), ALL, "{script}");
        assert!(sandbox.read(".gitignore").starts_with(".env\n"), "{script}");
        sandbox.git(["reset", "-q"]);
        assert_clean(&sandbox);
    }
}

/// A secret was committed.
#[test]
fn none_of_it_is_committed_by_a_run_that_changes_the_rules() {
    let sandbox = repository();
    let script = "echo nothing > .gitignore; rm .venv/.gitignore; echo new > new; echo fresh > fresh.log";
    run(&sandbox, &["--in-place", "-w", ".", "-m", "x"], script).succeeded();
    // What came later is judged by the rules of the end.
    assert_eq!(
        sandbox.git(["show", "--name-only", "--format="]).trim(),
        ".gitignore\nfresh.log\nnew"
    );
    assert_eq!(ignored(&sandbox), ALL);
    assert_clean(&sandbox);
}

/// The one who put back knew other rules: those of another user's settings.
#[test]
fn it_stays_when_somebody_with_other_settings_puts_back() {
    let sandbox = repository();
    sandbox.shell("mkdir .idea; echo w > .idea/workspace.xml; echo .idea > $HOME/excludes; git config --global core.excludesFile $HOME/excludes");
    let going = running(
        &sandbox,
        &["--in-place", "-w", "."],
        "echo half > a; echo ready; tail -f /dev/null",
    );
    let going = going.start();
    going.until_stdout("ready");
    going.kill();
    let home = sandbox.beside("other");
    std::fs::create_dir_all(&home).unwrap();
    let other = sandbox.mirror_program().args(["status"]);
    let other = other.env("HOME", &home).env("XDG_CONFIG_HOME", &home);
    other.env("GIT_CONFIG_GLOBAL", "/dev/null").run().succeeded();
    assert_eq!(sandbox.read("a"), "a\n");
    assert_eq!(sandbox.read(".idea/workspace.xml"), "w\n");
    assert_eq!(sandbox.shell("cd .mirror/salvage/*; find . -type f"), "./a\n");
    assert_clean(&sandbox);
}

#[test]
fn what_was_tracked_all_the_same_is_the_runs() {
    let sandbox = repository();
    sandbox.shell(
        "git add -f d/keep.log node_modules/p/i; git commit -qm forced; echo more > node_modules/p/more",
    );
    let script = "echo half > d/keep.log; echo half > node_modules/p/i; echo half > node_modules/p/more";
    run(&sandbox, &["--in-place", "-w", "."], &format!("{script}; exit 1")).exited(6);
    assert_eq!(
        sandbox.shell("cat d/keep.log node_modules/p/i node_modules/p/more"),
        "l\np\nhalf\n"
    );
    run(&sandbox, &["--in-place", "-w", ".", "-m", "x"], script).succeeded();
    assert_eq!(
        sandbox.git(["show", "--name-only", "--format="]).trim(),
        "d/keep.log\nnode_modules/p/i"
    );
    assert_clean(&sandbox);
}

/// Git does not look into it either, so it need not be possible.
#[test]
fn nobody_looks_into_an_ignored_directory() {
    let sandbox = repository();
    sandbox.shell("chmod 000 node_modules d/node_modules");
    for (script, status) in [("echo y > d/x", 0), ("echo z > d/x; echo n > new; exit 1", 6)] {
        let arguments = [
            "run",
            "--in-place",
            "-w",
            "./",
            "-m",
            "x",
            "--",
            "sh",
            "-c",
            script,
        ];
        kept_out(&sandbox, &arguments).run().exited(status);
        assert_eq!(sandbox.shell("stat -c %a node_modules d/node_modules"), "0\n0\n");
        assert_eq!(sandbox.read("d/x"), "y\n");
    }
    sandbox.shell("chmod 700 node_modules d/node_modules");
    assert_eq!(sandbox.git(["show", "--name-only", "--format="]).trim(), "d/x");
    assert_clean(&sandbox);
}

/// Before anything is committed, where names are no text, and in a linked working tree.
#[test]
fn it_stays_in_unusual_places_too() {
    let unborn = Sandbox::unborn();
    unborn.mirror(["init"]).succeeded();
    let linked = repository();
    linked.shell("git worktree add -q ../linked; cp .gitignore ../linked");
    let name = std::ffi::OsStr::from_bytes(b"\xff.log");
    for (sandbox, root) in [
        (&unborn, unborn.root()),
        (&linked, linked.root().parent().unwrap().join("linked")),
    ] {
        std::fs::write(root.join(".gitignore"), "*.log\n").unwrap();
        std::fs::write(root.join(name), "mine\n").unwrap();
        for end in ["exit 1", "true"] {
            let script = format!("rm .gitignore; echo new > new; {end}");
            let ran = sandbox.mirror_program().at(&root);
            let arguments = ["run", "--in-place", "-w", "./", "--", "sh", "-c", &script];
            ran.args(arguments).run();
            assert_eq!(std::fs::read(root.join(name)).unwrap(), b"mine\n", "{end}");
        }
        assert!(!root.join(".gitignore").exists() && root.join("new").exists());
        assert_clean(sandbox);
    }
}

/// It was taken for one that the run had made, and its `.git` went away.
#[test]
fn a_repository_that_somebody_makes_in_an_ignored_directory_stays() {
    let sandbox = repository();
    // As the user would meanwhile.
    let script = "git init -q deps/mine; echo half > a; exit 1";
    run(&sandbox, &["--in-place", "-w", "."], script).exited(6);
    assert!(sandbox.exists("deps/mine/.git/HEAD"));
    assert_eq!(sandbox.shell("cd .mirror/salvage/*; find . ! -type d"), "./a\n");
    // Also where it was ignored at first alone.
    let script = "git init -q deps/other; rm .gitignore; exit 1";
    run(&sandbox, &["--in-place", "-w", "."], script).exited(6);
    assert!(sandbox.exists("deps/other/.git/HEAD"));
    assert_clean(&sandbox);
}

/// It says neither what was ignored nor what files carry.
#[test]
fn a_list_of_an_earlier_version_is_put_back_as_ever() {
    let sandbox = repository();
    let script = "echo half > a; echo half > .env; echo ready; tail -f /dev/null";
    let going = running(&sandbox, &["--in-place", "-w", "."], script).start();
    going.until_stdout("ready");
    going.kill();
    let list = sandbox.shell("echo .mirror/transactions/*/kept/list");
    let list = sandbox.path(list.trim());
    let mut kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&list).unwrap()).unwrap();
    let fields = kept.as_object_mut().unwrap();
    assert!(fields.remove("ignored").is_some() && fields.remove("files").is_some());
    for directory in fields["directories"].as_array_mut().unwrap() {
        directory.as_object_mut().unwrap().remove("owner").unwrap();
    }
    std::fs::write(&list, kept.to_string()).unwrap();
    sandbox.mirror(["status"]).succeeded();
    assert_eq!(sandbox.read("a"), "a\n");
    assert_eq!(sandbox.read(".env"), "half\n");
    assert_clean(&sandbox);
}
