//! How runs end: well, badly, and by force.

use crate::run::{assert_clean, assert_ended, kept_out, repository, run, running, signalled};
use serde_json::json;

#[test]
fn what_a_command_changes_is_one_commit() {
    let sandbox = repository();
    let script = "sed -i s/var/let/ src/a.js && rm src/b.js && printf 'new\\n' > src/new.js && chmod +x src/c.js && ln -s a.js src/link";
    let ran = run(
        &sandbox,
        &["-t", "es6", "-w", "src/", "-m", "es6", "--json"],
        script,
    )
    .succeeded();
    let document = ran.json();
    assert_eq!(document["outcome"], "committed");
    assert_eq!(document["task"], "es6");
    assert_eq!(document["command"]["status"], 0);
    assert_eq!(document["target"], "main");
    let changes: Vec<_> = document["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["path"].clone())
        .collect();
    assert_eq!(
        changes,
        ["src/a.js", "src/b.js", "src/c.js", "src/link", "src/new.js"].map(|path| json!(path))
    );
    assert_eq!(sandbox.read("src/a.js"), "let a;\n");
    assert_eq!(sandbox.read("src/new.js"), "new\n");
    assert!(!sandbox.exists("src/b.js"));
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert!(
        sandbox
            .git(["log", "-1", "--format=%B"])
            .contains("Mirror-Task: es6")
    );
    assert_eq!(sandbox.git(["rev-list", "--count", "HEAD"]).trim(), "2");
    assert_clean(&sandbox);
}

#[test]
fn without_a_message_the_changes_stay_uncommitted_and_the_next_run_finds_them() {
    let sandbox = repository();
    sandbox.write("src/untracked.js", "mine\n");
    sandbox.write("src/c.js", "edited\n");
    run(
        &sandbox,
        &["-w", "src/"],
        "cat src/untracked.js src/c.js > src/a.js",
    )
    .succeeded();
    run(
        &sandbox,
        &["-w", "src/"],
        "cat src/a.js src/a.js > src/b.js; rm src/untracked.js",
    )
    .succeeded();
    assert_eq!(sandbox.read("src/b.js"), "mine\nedited\nmine\nedited\n");
    assert!(!sandbox.exists("src/untracked.js"));
    assert_eq!(sandbox.read("src/c.js"), "edited\n");
    assert_eq!(sandbox.git(["rev-list", "--count", "HEAD"]).trim(), "1");
    assert_clean(&sandbox);
}

#[test]
fn a_command_knows_as_whom_it_runs_and_stands_where_the_user_stands() {
    let sandbox = repository();
    sandbox.write("ignored", "");
    sandbox.write_executable(
        "src/tool.sh",
        "#!/bin/sh\nenv | grep ^MIRROR_ | sort; pwd; git rev-parse --show-toplevel\n",
    );
    sandbox.write(".git/info/exclude", "tool.sh\n.mirror\n");
    let ran = sandbox
        .mirror_program()
        .at(sandbox.path("src"))
        .args(["run", "-t", "me", "-w", "a.js", "--", "./tool.sh", "x"])
        .run()
        .succeeded();
    let root = sandbox.path(".mirror/worktrees/1/mirror-1");
    let root = root.to_str().unwrap();
    let told = ran.stdout();
    assert!(told.contains("MIRROR_TASK=me\n"), "{told}");
    assert!(told.contains(&format!("MIRROR_ROOT={root}\n")), "{told}");
    assert!(
        told.contains("MIRROR_TOKEN=") && told.contains("MIRROR_TRANSACTION="),
        "{told}"
    );
    assert!(told.contains(&format!("{root}/src\n{root}\n")), "{told}");
    assert!(told.ends_with("The command changed nothing.\n"), "{told}");
    assert_clean(&sandbox);
}

#[test]
fn with_json_standard_output_is_the_document_alone() {
    let sandbox = repository();
    let ran = run(&sandbox, &["-w", "src/", "--json"], "echo told; echo said >&2").succeeded();
    assert_eq!(ran.json()["outcome"], "nothing");
    assert!(ran.stderr().contains("told") && ran.stderr().contains("said"));
}

#[test]
fn a_command_that_fails_leaves_nothing() {
    let sandbox = repository();
    let ran = run(
        &sandbox,
        &["-w", "src/", "-m", "x", "--json"],
        "echo > src/a.js; exit 3",
    )
    .exited(6);
    let error = ran.error_json();
    assert_eq!(error["error"]["kind"], "rejected");
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("exit status: 3"),
        "{error}"
    );
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    assert_eq!(sandbox.git(["rev-list", "--count", "HEAD"]).trim(), "1");
    assert_clean(&sandbox);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let sandbox = repository();
    let ran = sandbox
        .mirror(["run", "-w", "src/", "--", "no-such-program"])
        .exited(6);
    assert!(ran.stderr().contains("no-such-program"), "{}", ran.stderr());
    assert_clean(&sandbox);
}

#[test]
fn a_change_outside_the_lock_set_is_refused_by_name_and_kept_aside() {
    let sandbox = repository();
    let script = "echo x > src/a.js; echo y > src/b.js";
    let ran = run(&sandbox, &["-w", "src/a.js", "-m", "x"], script).exited(5);
    assert!(ran.stderr().contains("src/b.js"), "{}", ran.stderr());
    assert!(ran.stderr().contains("--grow"), "{}", ran.stderr());
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    let kept = sandbox.shell("cat .mirror/salvage/*/src/[ab].js");
    assert_eq!(kept, "x\ny\n");
    assert_clean(&sandbox);

    run(&sandbox, &["-w", "src/a.js", "-m", "x", "--grow"], script).succeeded();
    assert_eq!(sandbox.read("src/b.js"), "y\n");

    sandbox
        .mirror(["begin", "-t", "other", "-w", "src/b.js"])
        .succeeded();
    let ran = run(
        &sandbox,
        &["-w", "src/a.js", "-m", "x", "--grow"],
        "echo z | tee src/a.js src/b.js",
    )
    .exited(3);
    assert!(ran.stderr().contains("other"), "{}", ran.stderr());
    let says = "What it has changed on the way, file:src/b.js is held by other";
    assert!(ran.stderr().contains(says), "{ran}");
    let hint = "Hint: Run it again with -w src/b.js and --wait 10m: --grow waits for nobody";
    assert!(ran.stderr().contains(hint), "{ran}");
    assert!(!ran.stderr().contains("mirror begin"), "{ran}");
    assert_eq!(sandbox.read("src/a.js"), "x\n");
}

#[test]
fn what_others_hold_is_waited_for_and_what_they_did_is_seen() {
    let sandbox = repository();
    sandbox
        .mirror(["begin", "-t", "first", "-w", "src/a.js"])
        .succeeded();
    run(&sandbox, &["-w", "src/a.js", "-m", "x"], "true").exited(3);
    let waiting = running(
        &sandbox,
        &["-w", "src/", "--wait", "60s", "-m", "second"],
        "cat src/a.js > src/b.js",
    )
    .start();
    waiting.until_stderr("Waiting for");
    sandbox
        .mirror_program()
        .args(["stage", "-t", "first", "src/a.js"])
        .input("of the first\n")
        .run()
        .succeeded();
    sandbox
        .mirror(["commit", "-t", "first", "-m", "first"])
        .succeeded();
    waiting.finish().succeeded();
    assert_eq!(sandbox.read("src/b.js"), "of the first\n");
    assert_clean(&sandbox);
}

#[test]
fn stolen_locks_stop_the_command() {
    let sandbox = repository();
    let going = running(
        &sandbox,
        &["-t", "slow", "-w", "src/", "-m", "x"],
        "trap 'echo asked to end >&2; exit 0' TERM; echo > src/a.js; echo ready; tail -f /dev/null & wait",
    )
    .start();
    going.until_stdout("ready");
    sandbox
        .mirror(["unlock", "--force", "--reason", "mine", "src/"])
        .succeeded();
    let ran = going.finish().exited(4);
    assert!(ran.stderr().contains("asked to end"), "{}", ran.stderr());
    assert!(ran.stderr().contains("The run slow lost its locks"), "{ran}");
    // The task is gone, and so nothing that a task could do helps.
    assert!(!ran.stderr().contains("mirror lock"), "{ran}");
    let hint =
        "Hint: Run it again; `mirror history -t slow` tells who took them, `mirror status` who works now";
    assert!(ran.stderr().contains(hint), "{ran}");
    sandbox.mirror(["history", "-t", "slow"]).succeeded();
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    assert_clean(&sandbox);
}

#[test]
fn a_signal_ends_the_command_and_the_run_and_rolls_back() {
    for signal in ["INT", "TERM", "HUP"] {
        let sandbox = repository();
        let script = "echo > src/a.js; echo ready; exec tail -f /dev/null";
        let going = signalled(&sandbox, &["-w", "src/", "-m", "x"], script).start();
        going.until_stdout("ready");
        sandbox.shell(&format!("kill -{signal} {}", going.pid()));
        let ran = going.finish();
        assert_eq!(ran.code(), None, "{signal}: ends by the signal: {}", ran.text());
        let says =
            "was interrupted before its commit was decided: it is rolled back, and nothing is committed";
        assert!(ran.stderr().contains(says), "{ran}");
        assert_eq!(sandbox.read("src/a.js"), "var a;\n");
        assert_clean(&sandbox);
    }
}

#[test]
fn a_command_may_take_an_interruption_for_a_key() {
    let sandbox = repository();
    let script = "trap 'echo done > src/a.js; exit 0' INT; echo ready; while :; do sleep 0.01; done";
    let going = signalled(&sandbox, &["-w", "src/", "-m", "x"], script).start();
    going.until_stdout("ready");
    sandbox.shell(&format!("kill -INT {}", going.pid()));
    going.finish().succeeded();
    assert_eq!(sandbox.read("src/a.js"), "done\n");
    assert_clean(&sandbox);
}

#[test]
fn kill_9_leaves_nothing_running_and_the_next_command_rolls_back() {
    let sandbox = repository();
    // The grandchild is in a session of its own and has let go of everything that ties it to its parents.
    let script = "echo > src/a.js; setsid sh -c 'trap \"\" TERM HUP; echo $$ > ../../../../grandchild; exec tail -f /dev/null' & \
                  until [ -s ../../../../grandchild ]; do sleep 0.01; done; echo ready; tail -f /dev/null";
    let going = running(&sandbox, &["-t", "dead", "-w", "src/", "-m", "x"], script).start();
    going.until_stdout("ready");
    let grandchild = sandbox
        .shell("cat ../grandchild 2>/dev/null || cat grandchild")
        .trim()
        .to_owned();
    let killed = going.kill();
    assert_eq!(killed.code(), None);
    // Nobody has to ask for it: the guard ends what is left.
    sandbox.shell(&format!("while [ -e /proc/{grandchild} ] && ! grep -q 'State:.Z' /proc/{grandchild}/status; do sleep 0.01; done"));
    let next = run(
        &sandbox,
        &["-t", "dead", "-w", "src/", "-m", "y"],
        "echo y > src/a.js",
    )
    .succeeded();
    assert!(next.stderr().contains("was killed"), "{}", next.stderr());
    assert_eq!(sandbox.read("src/a.js"), "y\n");
    assert_eq!(sandbox.git(["rev-list", "--count", "HEAD"]).trim(), "2");
    assert_clean(&sandbox);
}

/// As one that hangs in a network file system: every command of everybody failed as long as it was there.
#[test]
#[expect(clippy::print_stderr, reason = "what cannot be tried here is said aloud")]
fn what_cannot_be_ended_is_in_nobodys_way() {
    let sandbox = repository();
    let script = "echo $PPID > ../../../../guard; echo $$ > ../../../../left; echo ready; exec tail -f /dev/null >/dev/null 2>&1";
    let going = running(&sandbox, &["-t", "dead", "-w", "src/"], script).start();
    going.until_stdout("ready");
    sandbox.shell(&format!("kill -STOP {}; kill -9 $(cat guard)", going.pid()));
    going.kill();
    let left = sandbox.shell("cat left; rm left guard").trim().to_owned();
    // In there nobody else can be reached.
    let status = sandbox.apart(&["--pid", "--fork", "--"]);
    let told = status.args([env!("CARGO_BIN_EXE_mirror"), "status"]).run();
    if told.text().contains("unshare: ") {
        eprintln!("No processes can be kept apart here: {told}");
    } else {
        let said = format!("has started cannot be ended: process {left}. Its working copy is left to it.");
        assert!(told.text().contains(&said), "{told}");
        assert!(std::path::Path::new(&format!("/proc/{left}")).exists());
    }
    run(
        &sandbox,
        &["-t", "dead", "-w", "src/", "-m", "x"],
        "echo x > src/a.js",
    )
    .succeeded();
    sandbox.shell(&format!("kill -9 {left} 2>/dev/null || true"));
    assert_clean(&sandbox);
}

#[test]
fn a_guard_that_is_killed_alone_is_named_and_nothing_goes_on() {
    let sandbox = repository();
    let script =
        "echo > src/a.js; echo $PPID > ../../../../guard; echo $$ > ../../../../left; exec tail -f /dev/null";
    let going = running(&sandbox, &["-w", "src/", "-m", "x"], script).start();
    sandbox.shell("until [ -s left ]; do sleep 0.01; done; kill -9 $(cat guard)");
    let ran = going.finish().exited(6);
    let says = "The command failed (signal: 9 (SIGKILL): its guard, `mirror guard`, was killed, and so it was ended) and is rolled back";
    assert!(ran.stderr().contains(says), "{ran}");
    assert_ended(&sandbox, "left");
    assert_clean(&sandbox);
    // The command itself is another matter.
    let ran = run(&sandbox, &["-w", "src/", "-m", "x"], "kill -9 $$").exited(6);
    assert!(ran.stderr().contains("(signal: 9 (SIGKILL))"), "{ran}");
    let validate = "echo $PPID > ../../../../guard; echo $$ > ../../../../left; exec tail -f /dev/null";
    let arguments = ["-w", "src/", "-m", "x", "--validate", validate];
    sandbox.shell("rm left");
    let going = running(&sandbox, &arguments, "echo x > src/a.js").start();
    sandbox.shell("until [ -s left ]; do sleep 0.01; done; kill -9 $(cat guard)");
    let ran = going.finish().exited(6);
    assert!(
        ran.stderr()
            .contains("The validation failed (signal: 9 (SIGKILL): its guard,"),
        "{ran}"
    );
    assert_ended(&sandbox, "left");
    assert_clean(&sandbox);
}

#[test]
fn what_a_command_leaves_running_ends_with_it() {
    let sandbox = repository();
    let script = "setsid tail -f /dev/null & echo $! ; echo x > src/a.js";
    let ran = run(&sandbox, &["-w", "src/", "-m", "x", "-q"], script).succeeded();
    let left = ran.stdout().lines().next().unwrap().to_owned();
    let status = std::fs::read_to_string(format!("/proc/{left}/status")).unwrap_or_default();
    assert!(status.is_empty() || status.contains("State:\tZ"), "{status}");
    assert_clean(&sandbox);
}

#[test]
fn the_command_may_use_git_as_it_likes() {
    let sandbox = repository();
    let script = "git checkout -q -b mine && echo one > src/a.js && git commit -qam one && echo two > src/b.js && git add src/b.js && git stash -q && git stash pop -q && touch .git-is-a-file";
    run(&sandbox, &["-w", ".", "-m", "all of it"], script).succeeded();
    assert_eq!(sandbox.read("src/a.js"), "one\n");
    assert_eq!(sandbox.read("src/b.js"), "two\n");
    assert_eq!(sandbox.git(["rev-list", "--count", "main"]).trim(), "2");
    // The branch is its own affair, and stays in the repository like any that it makes.
    assert!(sandbox.git(["branch", "--list", "mine"]).contains("mine"));
    run(&sandbox, &["-w", "src/", "-m", "again"], "echo three > src/a.js").succeeded();
    assert_clean(&sandbox);
}

#[test]
fn uncommitted_changes_of_the_user_are_never_overwritten() {
    let sandbox = repository();
    sandbox.write("src/a.js", "the user's\n");
    let ran = run(&sandbox, &["-w", "src/", "-m", "x"], "echo of the run > src/a.js").exited(5);
    assert!(ran.stderr().contains("src/a.js"), "{}", ran.stderr());
    assert_eq!(sandbox.read("src/a.js"), "the user's\n");
    // One that the user makes while the command runs as well.
    let sandbox = repository();
    let going = running(
        &sandbox,
        &["-w", "src/"],
        "echo of the run > src/a.js; echo ready; until [ -e ../../../../src/go ]; do sleep 0.01; done",
    )
    .start();
    going.until_stdout("ready");
    sandbox.write("src/a.js", "the user's\n");
    sandbox.write("src/go", "");
    going.finish().exited(5);
    assert_eq!(sandbox.read("src/a.js"), "the user's\n");
    assert_clean(&sandbox);
}

#[test]
fn a_directory_without_git_works_as_well() {
    let sandbox = crate::support::Sandbox::directory();
    sandbox.write("a", "1\n");
    sandbox.write("d/b", "2\n");
    sandbox.mirror(["init"]).succeeded();
    let ran = run(
        &sandbox,
        &["-w", "."],
        "echo x > a; rm -r d; mkdir e; echo y > e/c",
    );
    assert_eq!(ran.succeeded().stdout(), "Committed 3 changes.\n");
    assert_eq!(sandbox.read("a"), "x\n");
    assert_eq!(sandbox.read("e/c"), "y\n");
    assert!(!sandbox.exists("d/b"));
    let ran = run(&sandbox, &["-w", "a"], "echo x > a; echo z > new").exited(5);
    assert!(ran.stderr().contains("new"), "{}", ran.stderr());
    // A file that somebody makes meanwhile is neither the run's nor in its way.
    let going = running(
        &sandbox,
        &["-w", "a"],
        "echo last > a; echo ready; until [ -e ../../../../go ]; do sleep 0.01; done",
    )
    .start();
    going.until_stdout("ready");
    sandbox.write("go", "");
    going.finish().succeeded();
    assert_eq!(sandbox.read("a"), "last\n");
    assert!(sandbox.exists("go"));
}

#[test]
fn what_is_shared_out_arrives_as_variables() {
    let sandbox = repository();
    sandbox.write(
        ".mirror/config.yaml",
        "pools: {db: [db-1, db-2], memory: {total: 4GiB}}\n",
    );
    let arguments = [
        "-w",
        "src/",
        "--port",
        "--pool",
        "db",
        "--quota",
        "memory=1GiB",
        "--validate",
        "test $MIRROR_POOL_DB = db-1",
        "-m",
        "x",
    ];
    let ran = run(
        &sandbox,
        &arguments,
        "echo $MIRROR_PORT $MIRROR_POOL_DB $MIRROR_QUOTA_MEMORY; echo > src/a.js",
    )
    .succeeded();
    let told = ran.stdout();
    let mut words = told.lines().next().unwrap().split(' ');
    assert!(
        (5000..=6000).contains(&words.next().unwrap().parse::<u16>().unwrap()),
        "{told}"
    );
    assert_eq!(words.collect::<Vec<_>>(), ["db-1", "1073741824"]);
    let ran = run(
        &sandbox,
        &["-w", "src/", "--pool", "db", "--pool", "db"],
        "echo \"$MIRROR_POOL_DB\"",
    );
    assert!(ran.succeeded().stdout().starts_with("db-1 db-2\n"));
    assert_clean(&sandbox);
}

#[test]
fn what_to_type_is_one_word_for_the_shell_and_can_be_typed() {
    let sandbox = repository();
    let script = r#"echo n > "a b"; echo q > 'q$(id)'"#;
    let ran = run(&sandbox, &["-w", "src/", "-m", "x"], script).exited(5);
    assert!(
        ran.stderr().contains("with -w 'a b' -w 'q$(id)', or with --grow"),
        "{ran}"
    );
    sandbox.write("src/a.js", "edited before\n");
    let ran = run(&sandbox, &["-w", "src/", "-m", "x"], "echo x > src/a.js").exited(5);
    assert!(
        ran.stderr()
            .contains("before or while it was worked on in a copy: src/a.js"),
        "{ran}"
    );
    assert!(ran.stderr().contains("`git stash push -u -- src/a.js`"), "{ran}");
    sandbox.shell("git stash push -q -u -- src/a.js");
    run(&sandbox, &["-w", "src/", "-m", "x"], "echo x > src/a.js").succeeded();
}

#[test]
#[expect(clippy::print_stderr, reason = "what cannot be tried here is said aloud")]
fn what_may_not_be_written_is_refused_before_the_decision() {
    let sandbox = repository();
    sandbox.shell("mkdir shut; echo 1 > shut/x; git add shut; git commit -qm shut; chmod 555 shut");
    let script = "chmod 755 shut; echo 2 > shut/x; mkdir shut/d; echo 2 > shut/d/y; echo 2 > src/a.js";
    let arguments = [
        "run", "-w", "shut/", "-w", "src/", "-m", "x", "--", "sh", "-c", script,
    ];
    let refused = kept_out(&sandbox, &arguments).run().exited(2).text();
    assert!(
        refused.contains("[SANDBOX]/root/shut may not be changed by you"),
        "{refused}"
    );
    assert!(
        refused.contains("`chmod u+wx` opens a directory of yours"),
        "{refused}"
    );
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    sandbox.shell("chmod 755 shut");
    if sandbox.shell("chattr +i shut 2>&1 || true").is_empty() {
        let refused = run(&sandbox, &["-w", "shut/", "-m", "x"], "echo 2 > shut/x").exited(2);
        assert!(
            refused.text().contains("root/shut may not be changed by you"),
            "{refused}"
        );
        sandbox.shell("chattr -i shut");
        // The file alone: whoever looked at its directory saw nothing.
        for mark in ["i", "a"] {
            sandbox.shell(&format!("chattr +{mark} src/a.js"));
            let arguments = ["-w", "src/", "-m", "x"];
            let refused = run(&sandbox, &arguments, "echo 2 > src/b.js; echo 2 > src/a.js").exited(2);
            assert!(
                refused.text().contains("root/src/a.js may not be changed by you"),
                "{refused}"
            );
            assert_eq!(sandbox.read("src/b.js"), "var b;\n");
            sandbox.shell(&format!("chattr -{mark} src/a.js"));
        }
    } else {
        eprintln!("Nothing can be marked here.");
    }
    assert_clean(&sandbox);
}

#[test]
fn who_comes_after_a_commit_that_cannot_be_applied_is_told_so() {
    let sandbox = repository();
    sandbox.shell("mkdir d; echo 1 > d/x; git add d; git commit -qm d");
    let first = [
        "run",
        "-t",
        "first",
        "-w",
        "d/",
        "-m",
        "x",
        "--",
        "sh",
        "-c",
        "echo 2 > d/x",
    ];
    let committing = kept_out(&sandbox, &first).env("MIRROR_FAULT", "commit.decided=kill");
    committing.run();
    sandbox.shell("chmod 555 d");
    let why = "The commit [UUID] of first is decided, but cannot be applied: ";
    for arguments in [
        &[
            "run", "-t", "second", "-w", "src/", "-m", "y", "--", "echo", "it ran",
        ][..],
        &["rollback", "-t", "first"],
    ] {
        let refused = kept_out(&sandbox, arguments).run().exited(1);
        let text = refused.text();
        assert!(!refused.stdout().contains("it ran"), "{text}");
        assert!(text.contains(why) && text.contains("Permission denied"), "{text}");
        assert!(
            text.contains("`mirror recover`") && !text.contains("index.lock"),
            "{text}"
        );
    }
    let status = kept_out(&sandbox, &["status"]).run().stdout();
    assert!(
        status.contains("first  decided, but not applied yet (`mirror recover`)"),
        "{status}"
    );
    sandbox
        .mirror(["begin", "-t", "second", "-w", "src/"])
        .succeeded();
    sandbox.shell("chmod 755 d");
    sandbox.mirror(["recover"]).succeeded();
    assert_eq!(sandbox.read("d/x"), "2\n");
    sandbox.mirror(["rollback", "-t", "second"]).succeeded();
    assert_clean(&sandbox);
}

#[test]
fn nothing_is_committed_from_inside_a_copy_but_by_its_run() {
    let sandbox = repository();
    sandbox
        .mirror(["begin", "-t", "by-hand", "-w", "src/c.js"])
        .succeeded();
    sandbox.stage("by-hand", "src/c.js", "by hand\n");
    let mirror = env!("CARGO_BIN_EXE_mirror");
    for inner in [
        "run -w src/b.js -m inner -- touch ran",
        "begin -t inner -w src/b.js",
        "commit -t by-hand -m inner",
        "commit -t outer -m inner",
        "undo -t by-hand",
    ] {
        let script = format!("echo outer >> src/a.js; {mirror} {inner} || true");
        let ran = run(
            &sandbox,
            &["-t", "outer", "-w", "src/a.js", "-m", "outer"],
            &script,
        )
        .succeeded();
        let said = ran.stderr();
        assert!(
            said.contains("is committed when its command ends"),
            "{inner}: {said}"
        );
        assert!(said.contains("Hint: Leave it to the run"), "{inner}: {said}");
        assert_eq!(sandbox.git(["log", "-1", "--format=%s"]), "outer");
    }
    // More is locked from in there, and what is outside of it is like any other place.
    let root = sandbox.root();
    let inner = format!(
        "{mirror} -C {} run -w src/b.js -m inner -- sh -c 'echo inner > src/b.js'",
        root.display()
    );
    let script = format!("{mirror} lock -w src/new.js && echo new > src/new.js && {inner}");
    run(
        &sandbox,
        &["-t", "outer", "-w", "src/a.js", "-m", "outer"],
        &script,
    )
    .succeeded();
    assert_eq!(sandbox.git(["log", "-2", "--format=%s"]), "outer\ninner");
    let script = format!("echo more >> src/a.js; {mirror} commit -t outer -m inner || true");
    let said = run(
        &sandbox,
        &["-t", "outer", "-w", "src/a.js", "-m", "outer", "--in-place"],
        &script,
    )
    .succeeded();
    assert!(said.stderr().contains("outer is a run that goes on"), "{said}");
    sandbox
        .mirror(["commit", "-t", "by-hand", "-m", "by hand"])
        .succeeded();
    assert_clean(&sandbox);
}

#[test]
fn what_will_be_in_the_way_is_told_before_the_command_works() {
    let sandbox = repository();
    let script = "echo the command works >&2; echo more >> src/b.js";
    sandbox.write("src/a.js", "edited by the user\n");
    sandbox.write("README", "untracked\n");
    let said = run(&sandbox, &["-w", "src/", "-m", "x"], script)
        .succeeded()
        .stderr();
    let told = said
        .find("uncommitted changes in src/a.js: as long as there are")
        .expect(&said);
    assert!(told < said.find("the command works").unwrap(), "{said}");
    // Not of what it has no lock on, and not where nothing is recorded.
    for arguments in [&["-w", "src/b.js", "-m", "x"][..], &["-w", "src/"]] {
        let said = run(&sandbox, arguments, script).succeeded().stderr();
        assert!(!said.contains("as long as"), "{said}");
    }
    sandbox.shell(
        "git checkout -q . && git checkout -q -b side HEAD~1 && echo x > src/a.js && git commit -qam side",
    );
    sandbox
        .shell("git checkout -q main && echo y > src/a.js && git commit -qam other && ! git merge -q side");
    let refused = run(&sandbox, &["-w", "src/b.js", "-m", "x"], script).exited(5);
    let said = refused.stderr();
    let told = said
        .find("A merge is in progress: as long as it is")
        .expect(&said);
    assert!(told < said.find("the command works").unwrap(), "{said}");
    sandbox.shell("git merge --abort");
    sandbox.shell("git config --global --unset user.name; git config --unset user.name; git config user.useConfigOnly true");
    let refused = run(&sandbox, &["-w", "src/b.js", "-m", "x"], script).exited(2);
    let said = refused.stderr();
    assert!(
        said.contains("user.name") && !said.contains("the command works"),
        "{said}"
    );
    let named = sandbox
        .mirror_program()
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "user.name")
        .env("GIT_CONFIG_VALUE_0", "Named > Elsewhere")
        .args(["run", "-w", "src/b.js", "-m", "x", "--", "sh", "-c", script]);
    named.run().succeeded();
    assert_eq!(
        sandbox.git(["log", "-1", "--format=%an <%ae> %ad, %cn", "--date=raw"]),
        "Named  Elsewhere <test@example.com> 1700000000 +0000, Named  Elsewhere"
    );
    assert_clean(&sandbox);
}

#[test]
fn a_command_that_is_none_is_refused_before_anything_is_locked() {
    let sandbox = repository();
    let before = sandbox.mirror(["history", "--json", "--all"]).stdout();
    for (words, said) in [
        (["--validate", "", "--", "true"], "The validation is empty"),
        (["--validate", " \t", "--", "true"], "The validation is empty"),
        (["-m", "x", "--", ""], "The command is empty"),
    ] {
        let refused = sandbox
            .mirror(["run", "-w", "src/"].iter().chain(&words))
            .exited(2);
        assert!(refused.stderr().contains(said), "{}", refused.stderr());
        assert!(refused.stderr().contains("Hint: Name a "), "{}", refused.stderr());
    }
    assert_eq!(sandbox.mirror(["history", "--json", "--all"]).stdout(), before);
    sandbox.mirror(["begin", "-t", "a", "-w", "src/"]).succeeded();
    let refused = sandbox
        .mirror(["commit", "-t", "a", "-m", "x", "--validate", ""])
        .exited(2);
    assert!(
        refused.stderr().contains("Hint: Name a command"),
        "{}",
        refused.stderr()
    );
}

#[test]
fn a_program_that_is_not_found_is_named_with_the_places_that_it_was_looked_for_in() {
    let sandbox = repository();
    let run = |program: &str| {
        sandbox
            .mirror(["run", "-w", "src/", "--", program])
            .exited(6)
            .stderr()
    };
    let said = run("no-such-codemod");
    assert_eq!(said.matches("Error:").count(), 1, "{said}");
    assert!(
        said.contains("Error: The program no-such-codemod was not found in any directory of PATH;"),
        "{said}"
    );
    assert!(
        said.contains(
            "Hint: Install it, or name a script of your own by its path: `mirror run … -- ./no-such-codemod`"
        ),
        "{said}"
    );
    let said = run("./no-such.sh");
    assert!(
        said.contains("Error: The program ./no-such.sh was not found: there is no "),
        "{said}"
    );
    assert!(
        said.contains("Hint: Name it by a path from where you stand"),
        "{said}"
    );
    // What a script lacks is known to nobody but the script.
    let said = self::run(&sandbox, &["-w", "src/"], "no-such-codemod")
        .exited(6)
        .stderr();
    assert!(
        said.contains("Error: The command failed (exit status: 127)"),
        "{said}"
    );
    assert!(
        said.contains("Hint: 127 is mostly a program that was not found"),
        "{said}"
    );
    assert_clean(&sandbox);
}
