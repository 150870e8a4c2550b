//! The pool of working copies.

use std::os::unix::fs::MetadataExt as _;

use crate::run::{assert_clean, repository, run, running};
use crate::support::Sandbox;

#[test]
fn a_copy_is_used_again_and_nothing_of_the_last_run_is_in_it() {
    let sandbox = repository();
    let script = "ls -A src; touch ignored; mkdir node_modules; touch node_modules/x; echo x > src/a.js; git checkout -q -b other; \
                  : > $(git rev-parse --git-dir)/index.lock";
    run(&sandbox, &["-w", "src/", "-m", "one"], script).succeeded();
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(status["worktrees"][0]["state"], "idle");
    assert!(
        sandbox
            .mirror(["status"])
            .stdout()
            .contains("Working copies: 1 idle.")
    );
    let ran = run(
        &sandbox,
        &["-w", "src/", "-m", "two"],
        "ls -A; git status --porcelain; git branch --show-current",
    )
    .succeeded();
    assert_eq!(
        ran.stdout(),
        ".git\n.gitignore\nsrc\nThe command changed nothing.\n"
    );
    let worktrees = sandbox.git(["worktree", "list"]);
    assert_eq!(worktrees.lines().count(), 2, "{worktrees}");
    assert_clean(&sandbox);
}

#[test]
fn runs_side_by_side_have_a_copy_each_and_no_more_than_there_may_be() {
    let sandbox = repository();
    sandbox.write(".mirror/config.yaml", "run: {worktrees: {max: 2}}\n");
    let wait = "echo ready; until [ -e ../../../../go ]; do sleep 0.01; done";
    let first = running(&sandbox, &["-w", "src/a.js"], wait).start();
    let second = running(&sandbox, &["-w", "src/b.js"], wait).start();
    first.until_stdout("ready");
    second.until_stdout("ready");
    run(&sandbox, &["-w", "src/c.js"], "true").exited(3);
    let third = running(
        &sandbox,
        &["-w", "src/c.js", "--wait", "60s", "-m", "third"],
        "echo third > src/c.js",
    )
    .start();
    third.until_stderr("Waiting for");
    sandbox.write("go", "");
    third.finish().succeeded();
    first.finish().succeeded();
    second.finish().succeeded();
    assert_eq!(sandbox.git(["worktree", "list"]).lines().count(), 3);
    assert_eq!(sandbox.read("src/c.js"), "third\n");
    assert_clean(&sandbox);
}

#[test]
fn a_broken_copy_is_made_anew() {
    let sandbox = repository();
    for harm in [
        "rm -rf .mirror/worktrees/1/mirror-1",
        "rm .mirror/worktrees/1/mirror-1/.git",
        "rm -rf .git/worktrees/mirror-1",
        "echo nonsense > .mirror/worktrees/1/state",
        "echo nonsense > .git/worktrees/mirror-1/HEAD",
        "printf nonsense > .git/worktrees/mirror-1/index",
        "rm -rf .mirror/worktrees",
        "rm -rf .mirror/worktrees/1/mirror-1; mkdir -p .mirror/worktrees/1/mirror-1/src; echo foreign > .mirror/worktrees/1/mirror-1/src/a.js",
    ] {
        run(&sandbox, &["-w", "src/", "-m", "before"], "date +%N > src/a.js").succeeded();
        sandbox.shell(harm);
        run(&sandbox, &["-w", "src/", "-m", harm], "cat src/a.js > src/b.js").succeeded();
        assert_eq!(sandbox.read("src/a.js"), sandbox.read("src/b.js"), "{harm}");
        assert_clean(&sandbox);
    }
}

#[test]
fn what_a_build_needs_is_linked_and_copied_and_is_nobodys_change() {
    let sandbox = repository();
    sandbox.write(
        ".mirror/config.yaml",
        "run: {link: [node_modules, 'packages/*/node_modules'], copy: [.env, build]}\n",
    );
    sandbox.write("node_modules/x", "original\n");
    sandbox.write("packages/p/node_modules/y", "y\n");
    sandbox.write(".env", "KEY=1\n");
    sandbox.write("build/o", "o\n");
    sandbox.write(
        ".git/info/exclude",
        ".env\nbuild\n.mirror\npackages/*/node_modules\n",
    );
    let script = "cat node_modules/x packages/p/node_modules/y .env build/o; echo 2 > .env; rm -r build; echo x > src/a.js";
    let ran = run(
        &sandbox,
        &[
            "-w",
            "src/",
            "-m",
            "x",
            "--validate",
            "grep -q KEY .env && test -e node_modules/x",
        ],
        script,
    )
    .succeeded();
    assert!(
        ran.stdout().starts_with("original\ny\nKEY=1\no\n"),
        "{}",
        ran.stdout()
    );
    assert_eq!(sandbox.read(".env"), "KEY=1\n");
    assert_eq!(sandbox.read("build/o"), "o\n");
    assert_eq!(sandbox.read("node_modules/x"), "original\n");
    assert_eq!(
        sandbox.git(["show", "--name-only", "--format="]).trim(),
        "src/a.js"
    );
    assert_clean(&sandbox);
    let refused = sandbox
        .mirror_program()
        .env("MIRROR_RUN_COPY", "[../secret]")
        .args(["status"])
        .run()
        .exited(2);
    assert!(refused.stderr().contains("../secret"), "{}", refused.stderr());
}

#[test]
fn cleanup_removes_the_copies_that_nobody_uses() {
    let sandbox = repository();
    run(&sandbox, &["-w", "src/", "-m", "x"], "echo > src/a.js").succeeded();
    sandbox.mirror(["cleanup"]).succeeded();
    assert!(sandbox.exists(".mirror/worktrees/1/mirror-1"));
    let said = sandbox.mirror(["cleanup", "--force"]).succeeded().stdout();
    assert!(said.contains("1 unused working copy"), "{said}");
    assert!(!sandbox.exists(".mirror/worktrees/1/mirror-1"));
    assert_eq!(sandbox.git(["worktree", "list"]).lines().count(), 1);
    run(&sandbox, &["-w", "src/", "-m", "y"], "echo y > src/a.js").succeeded();
    assert_clean(&sandbox);
}

/// `git worktree add` fails at a working tree that somebody else is adding at the same moment, and at one that was left half made.
#[test]
fn many_copies_are_made_at_once() {
    let sandbox = repository();
    sandbox.write(".mirror/config.yaml", "run: {worktrees: {max: 24}}\n");
    let half_made = sandbox.path(".git/worktrees/mirror-24");
    std::fs::create_dir_all(&half_made).unwrap();
    let link = sandbox.path(".mirror/worktrees/24/mirror-24/.git");
    std::fs::write(half_made.join("gitdir"), format!("{}\n", link.display())).unwrap();
    std::fs::write(half_made.join("commondir"), "").unwrap();
    let runs: Vec<_> = (0..24)
        .map(|number| {
            let (path, script) = (
                format!("src/{number}/"),
                format!("mkdir -p src/{number}; echo x > src/{number}/x"),
            );
            running(&sandbox, &["-w", &path, "-m", &path], &script).start()
        })
        .collect();
    for run in runs {
        run.finish().succeeded();
    }
    assert_eq!(sandbox.git(["rev-list", "--count", "HEAD"]).trim(), "25");
    assert_clean(&sandbox);
}

#[test]
fn a_directory_that_is_in_no_copy_is_made_there() {
    let sandbox = repository();
    let at = |place: &str, script: &str| {
        std::fs::create_dir_all(sandbox.path(place)).unwrap();
        let program = sandbox.mirror_program().at(sandbox.path(place));
        program
            .args(["run", "-w", ".", "-m", "new", "--", "sh", "-c", script])
            .run()
    };
    at("empty/below", "echo x > created; echo y > ../../src/a.js").exited(5);
    at("empty/below", "echo x > created").succeeded();
    let changed = sandbox.git(["show", "--name-only", "--format="]);
    assert_eq!(changed.trim(), "empty/below/created");
    // What the user made a directory is a link in the copy, and leads elsewhere.
    let elsewhere = sandbox.beside("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, sandbox.path("link")).unwrap();
    sandbox.commit_all("a link");
    sandbox.shell("rm link");
    let refused = at("link/below", "touch made");
    assert_ne!(refused.code(), Some(0), "{refused}");
    assert_eq!(std::fs::read_dir(elsewhere).unwrap().count(), 0);
    sandbox.shell("rmdir link/below link; git checkout -q link");
    assert_clean(&sandbox);
}

#[test]
fn what_cannot_be_recorded_is_refused_before_the_command_runs() {
    let sandbox = repository();
    let ran = run(&sandbox, &["-w", "src/", "-m", " "], "echo it ran").exited(2);
    assert!(!ran.stdout().contains("it ran"), "{ran}");
    let directory = Sandbox::directory();
    directory.mirror(["init"]).succeeded();
    let ran = run(&directory, &["-w", ".", "-m", "x"], "echo it ran").exited(2);
    assert!(!ran.stdout().contains("it ran"), "{ran}");
    let ran = run(&sandbox, &["--in-place", "--grow", "-w", "src/"], "echo it ran").exited(2);
    assert!(!ran.stdout().contains("it ran"), "{ran}");
}

#[test]
fn a_copy_that_came_back_is_what_the_next_run_begins_from() {
    let sandbox = repository();
    let index = sandbox.root().join(".git/worktrees/mirror-1/index");
    let inode = || std::fs::metadata(&index).unwrap().ino();
    let look = format!("stat -c %i '{}' > src/b.js", index.display());
    run(&sandbox, &["-w", "src/", "-m", "one"], "echo one > src/a.js").succeeded();
    // Git replaces its index whenever it makes a working copy another one.
    let returned = inode();
    run(&sandbox, &["-w", "src/", "-m", "two"], &look).succeeded();
    assert_eq!(sandbox.read("src/b.js").trim(), returned.to_string());
    let returned = inode();
    sandbox.write("src/a.js", "by hand\n");
    sandbox.git(["commit", "-qam", "by hand"]);
    run(&sandbox, &["-w", "src/", "-m", "three"], &look).succeeded();
    assert_ne!(sandbox.read("src/b.js").trim(), returned.to_string());
    assert_clean(&sandbox);
}

#[test]
fn what_is_no_file_is_passed_over_and_stays_in_no_copy() {
    let sandbox = repository();
    for script in [
        "mkfifo src/pipe; echo work > src/a.js",
        "mkfifo pipe; git init -q dep; echo x > dep/x; echo more > src/a.js",
        "rm -rf src; mkdir -p src/d; mkfifo src/d/p src/b.js; echo last > src/a.js; git init -q src/d; git init -q src",
    ] {
        let said = run(&sandbox, &["-w", "src/", "-m", "work"], script)
            .succeeded()
            .stderr();
        assert!(
            said.contains("is a socket, pipe or device and was passed over"),
            "{said}"
        );
        let wrote = script.split("echo ").last().unwrap().split(' ').next().unwrap();
        assert_eq!(sandbox.read("src/a.js").trim(), wrote);
        let left = run(
            &sandbox,
            &["-w", "src/"],
            "find . -name .git -prune -o -type d -print -o -type p -print",
        )
        .succeeded()
        .stdout();
        assert!(
            !left.contains("pipe") && !left.contains("dep") && !left.contains("src/d"),
            "{left}"
        );
    }
    // As to git, what gives way to a pipe is gone.
    assert!(!sandbox.root().join("src/b.js").exists());
    assert_clean(&sandbox);
}

#[test]
fn a_repository_below_is_passed_over_unless_it_hides_what_was_there() {
    let sandbox = Sandbox::directory();
    sandbox.write("a/x", "before\n");
    sandbox.mirror(["init"]).succeeded();
    let script = "git init -q a; echo after > a/x; git init -q dep; echo y > dep/y";
    let said = run(&sandbox, &["-w", "a/"], script).succeeded().stderr();
    assert!(
        said.contains("dep is a git repository of its own and was passed over"),
        "{said}"
    );
    assert_eq!(sandbox.read("a/x"), "after\n");
    assert!(!sandbox.root().join("dep").exists());
}

#[test]
fn nothing_that_a_run_told_git_reaches_the_next() {
    let sandbox = repository();
    let settings = "git config extensions.worktreeConfig true; git config --worktree core.excludesFile \"$PWD/hide\"; \
                    git config --worktree core.autocrlf true; echo 'new*' > hide";
    for script in [
        "git update-index --skip-worktree src/a.js; echo EVIL > src/a.js; exit 1",
        "git update-index --assume-unchanged src/a.js; echo EVIL > src/a.js; exit 1",
        "git update-index --skip-worktree src/a.js src/b.js",
        settings,
        "d=$(git rev-parse --git-dir); mkdir $d/info; echo 'src/a*' > $d/info/sparse-checkout; git config --worktree core.sparseCheckout true",
        "git update-index --split-index; git update-index --untracked-cache",
        "git update-ref refs/worktree/mine HEAD; git worktree lock .",
    ] {
        drop(run(
            &sandbox,
            &["-w", "src/", "-w", "hide", "-m", "first"],
            script,
        ));
        sandbox.shell(
            "git reset -q --hard; git rm -q --ignore-unmatch src/new hide; git commit -qm cleared || true",
        );
        let next = "echo new > src/new; echo more >> src/b.js";
        run(&sandbox, &["-w", "src/", "-m", "next"], next).succeeded();
        let changed = sandbox.git(["show", "--name-only", "--format="]);
        assert_eq!(changed, "src/b.js\nsrc/new", "{script}");
        assert!(!sandbox.read("src/b.js").contains('\r'), "{script}");
        let hidden = sandbox.git(["-C", ".mirror/worktrees/1/mirror-1", "ls-files", "-v"]);
        assert!(
            hidden.lines().all(|line| line.starts_with("H ")),
            "{script}: {hidden}"
        );
    }
    assert_clean(&sandbox);
}

#[test]
fn a_directory_behind_a_link_is_put_in_its_place_again() {
    let sandbox = repository();
    run(
        &sandbox,
        &["-w", "src/", "-m", "one"],
        "mv src src2; ln -s src2 src",
    )
    .exited(5);
    run(
        &sandbox,
        &["-w", "src/", "-m", "two"],
        "cat src/a.js src/c.js && echo two > src/b.js",
    )
    .succeeded();
    assert_eq!(sandbox.git(["show", "--name-status", "--format="]), "M\tsrc/b.js");
    assert_clean(&sandbox);
}
