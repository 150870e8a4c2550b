//! Commands that take their own working copy away, or put something else in its place: the run fails and says why, nothing outside is
//! harmed, and the next run has a copy like any other.

use std::path::Path;

use crate::run::{assert_clean, kept_out, repository, run};
use crate::support::Sandbox;

/// A repository with everything in it that a reset would take away.
fn with_work() -> Sandbox {
    let sandbox = repository();
    sandbox.write("precious", "untracked\n");
    sandbox.write("src/c.js", "edited by the user\n");
    let theirs = sandbox.beside("theirs");
    sandbox.git(["worktree", "add", "-q", "-b", "theirs", theirs.to_str().unwrap()]);
    std::fs::write(theirs.join("precious"), "untracked\n").unwrap();
    sandbox
}

#[track_caller]
fn assert_unharmed(sandbox: &Sandbox) {
    assert_eq!(sandbox.git(["status", "--porcelain"]), " M src/c.js\n?? precious");
    assert_eq!(sandbox.read("src/c.js"), "edited by the user\n");
    let theirs = sandbox.beside("theirs");
    let status = sandbox.git([
        "-C",
        theirs.to_str().unwrap(),
        "status",
        "--porcelain",
        "--branch",
    ]);
    assert_eq!(status, "## theirs\n?? precious");
    run(
        sandbox,
        &["-w", "src/", "-m", "next"],
        "git status --porcelain; echo next >> src/b.js",
    )
    .succeeded();
    assert_eq!(sandbox.git(["log", "-1", "--format=%s"]), "next");
    assert_clean(sandbox);
}

#[test]
fn whatever_takes_its_place_is_neither_taken_in_nor_reset() {
    let sandbox = with_work();
    let root = sandbox.root();
    let theirs = sandbox.beside("theirs");
    let link = |to: &Path| format!("rm -rf \"$MIRROR_ROOT\"; ln -s {} \"$MIRROR_ROOT\"", to.display());
    let cases = [
        ("rm -rf \"$MIRROR_ROOT\"".to_owned(), "is gone"),
        (link(&root), "is a link by now"),
        (link(&theirs), "is a link by now"),
        (
            "rm -rf \"$MIRROR_ROOT\"; echo > \"$MIRROR_ROOT\"".to_owned(),
            "is no directory any more",
        ),
        (
            format!(
                "mv \"$MIRROR_ROOT\" ../moved; cp -a {} \"$MIRROR_ROOT\"; rm -rf ../moved",
                theirs.display()
            ),
            "is another directory by now",
        ),
    ];
    for (script, what) in &cases {
        let script = format!("echo > src/a.js; {script}");
        let ran = run(&sandbox, &["-w", "src/", "-m", "x"], &script).exited(6);
        let text = ran.text();
        let says = format!(
            "has not left the working copy in its place: [SANDBOX]/root/.mirror/worktrees/1/mirror-1 {what}; it is rolled back"
        );
        assert!(text.contains(&says), "{text}");
        assert!(
            text.contains("Hint: Run it again with a command that leaves \"$MIRROR_ROOT\" itself"),
            "{text}"
        );
        assert_unharmed(&sandbox);
        // One that fails, too.
        run(&sandbox, &["-w", "src/", "-m", "x"], &format!("{script}; exit 3")).exited(6);
        assert_unharmed(&sandbox);
    }
    for (script, _) in &cases {
        run(
            &sandbox,
            &["-w", "src/", "-m", "x", "--validate", script],
            "echo y >> src/a.js",
        )
        .succeeded();
        assert_unharmed(&sandbox);
    }
}

#[test]
fn what_its_git_points_to_is_left_alone() {
    let sandbox = with_work();
    let root = sandbox.root();
    let other = sandbox.beside("other");
    let other = other.display();
    sandbox.shell(&format!("git init -q {other}; echo mine > {other}/mine"));
    let theirs = root.join(".git/worktrees/theirs");
    let points = [
        "rm .git".to_owned(),
        "rm .git; git init -q .".to_owned(),
        format!("echo gitdir: {}/.git > .git", root.display()),
        format!("rm .git; ln -s {}/.git .git", root.display()),
        format!("echo gitdir: {other}/.git > .git"),
        format!("echo gitdir: {} > .git", theirs.display()),
        "echo nonsense > .git".to_owned(),
    ];
    for script in &points {
        for (end, code) in [("true", 0), ("false", 6)] {
            let ran = run(
                &sandbox,
                &["-w", "src/", "-m", "x"],
                &format!("echo x >> src/a.js; {script}; {end}"),
            );
            assert_eq!(ran.code(), Some(code), "{ran}");
            assert_unharmed(&sandbox);
        }
    }
    assert_eq!(
        sandbox.shell(&format!("cat {other}/mine; ls {other}")),
        "mine\nmine\n"
    );
}

#[test]
fn what_nobody_may_read_any_more_is_named_and_made_anew() {
    let sandbox = with_work();
    for (script, at) in [
        ("chmod 000 \"$MIRROR_ROOT\"", ""),
        ("mkdir src/d; echo > src/d/f; chmod 000 src/d", "/src/d"),
    ] {
        let arguments = ["run", "-w", "src/", "-m", "x", "--", "sh", "-c", script];
        let text = kept_out(&sandbox, &arguments).run().exited(6).text();
        let says =
            format!("[SANDBOX]/root/.mirror/worktrees/1/mirror-1{at} cannot be read; it is rolled back");
        assert!(text.contains(&says), "{text}");
        let next = [
            "run",
            "-w",
            "src/",
            "-m",
            "next",
            "--",
            "sh",
            "-c",
            "echo next >> src/a.js",
        ];
        kept_out(&sandbox, &next).run().succeeded();
        assert_unharmed(&sandbox);
    }
    // What is read-only only cannot be removed at first.
    let arguments = [
        "run",
        "-w",
        "src/",
        "-m",
        "x",
        "--",
        "sh",
        "-c",
        "mkdir -p ignored/d; echo > ignored/d/f; chmod -R a-w ignored",
    ];
    kept_out(&sandbox, &arguments).run().succeeded();
    assert_unharmed(&sandbox);
}

#[test]
fn without_git_as_well() {
    let sandbox = Sandbox::directory();
    sandbox.write("a", "1\n");
    sandbox.mirror(["init"]).succeeded();
    let elsewhere = sandbox.beside("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("b"), "2\n").unwrap();
    let link = format!(
        "rm -rf \"$MIRROR_ROOT\"; ln -s {} \"$MIRROR_ROOT\"",
        elsewhere.display()
    );
    for script in [
        "rm -rf \"$MIRROR_ROOT\"",
        "rm -rf \"$MIRROR_ROOT\"; echo > \"$MIRROR_ROOT\"",
        &link,
    ] {
        run(&sandbox, &["-w", "."], script).exited(6);
        run(&sandbox, &["-w", "."], "echo next >> a").succeeded();
        sandbox.mirror(["doctor"]).succeeded();
    }
    assert_eq!(std::fs::read_to_string(elsewhere.join("b")).unwrap(), "2\n");
    assert!(!sandbox.exists("b"));
}

#[test]
#[expect(clippy::print_stderr, reason = "what cannot be tried here is said aloud")]
fn what_cannot_be_removed_is_put_aside() {
    let sandbox = with_work();
    std::fs::create_dir(sandbox.beside("mounted")).unwrap();
    let mounted = sandbox.beside("mounted");
    std::fs::write(mounted.join("precious"), "mounted\n").unwrap();
    // Nobody else sees what is mounted in here, and it goes with the last process.
    let mount = format!("mount --bind {} ignored/d", mounted.display());
    let script = format!(
        "mirror() {{ {} \"$@\"; }}; mirror run -w src/ -m x -- sh -c 'mkdir -p ignored/d; {mount}; echo x >> src/b.js' && \
         mirror run -w src/ -m y -- sh -c 'ls ignored 2>&1; echo y >> src/b.js' && mirror doctor; mirror cleanup --force",
        env!("CARGO_BIN_EXE_mirror")
    );
    let said = sandbox.apart(&["--mount"]).args(["sh", "-c", &script]).run();
    let text = said.text();
    if text.contains("unshare: ") {
        eprintln!("Nothing can be mounted here: {text}");
        return;
    }
    assert_eq!(
        std::fs::read_to_string(mounted.join("precious")).unwrap(),
        "mounted\n",
        "{text}"
    );
    assert!(
        text.contains("A working copy could not be removed and lies in"),
        "{text}"
    );
    assert_eq!(sandbox.git(["log", "-2", "--format=%s"]), "y\nx", "{text}");
    // Now that it is not mounted any more.
    sandbox.mirror(["cleanup", "--force"]).succeeded();
    assert_unharmed(&sandbox);
}

#[test]
#[expect(clippy::print_stderr, reason = "what cannot be tried here is said aloud")]
fn what_belongs_to_somebody_else_is_put_aside() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("Nothing can be given to somebody else here.");
        return;
    }
    let sandbox = with_work();
    let script = "mkdir -p ignored/d; echo > ignored/d/f; chown -R 1:1 ignored/d; echo x >> src/b.js";
    let arguments = |script| ["run", "-w", "src/", "-m", "x", "--", "sh", "-c", script];
    kept_out(&sandbox, &arguments(script)).run().succeeded();
    let next = "test ! -e ignored && echo y >> src/b.js";
    kept_out(&sandbox, &arguments(next)).run().succeeded();
    let said = kept_out(&sandbox, &["doctor"]).run().stdout();
    assert!(
        said.contains("A working copy could not be removed and lies in"),
        "{said}"
    );
    kept_out(&sandbox, &["cleanup", "--force"]).run().succeeded();
    kept_out(&sandbox, &arguments(next)).run().succeeded();
    // Whoever may removes it, by the next command that looks: a run, the doctor, or a cleanup.
    assert_eq!(set_aside(&sandbox), 1);
    run(&sandbox, &["-w", "src/", "-m", "z"], "echo z >> src/b.js").succeeded();
    assert_eq!(set_aside(&sandbox), 0);
    kept_out(&sandbox, &arguments(script)).run().succeeded();
    assert_eq!(set_aside(&sandbox), 1);
    sandbox.mirror(["doctor"]).succeeded();
    assert_eq!(set_aside(&sandbox), 0);
    assert_unharmed(&sandbox);
}

/// Counts the working copies that lie beside the place of the first.
fn set_aside(sandbox: &Sandbox) -> usize {
    let beside = std::fs::read_dir(sandbox.path(".mirror/worktrees/1")).unwrap();
    let names = beside.map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("left-"))
        .count()
}
