//! Runs in the working tree itself.

use crate::run::{assert_clean, repository, run, running, signalled};
use crate::support::program::Finished;

/// Where somebody was told that work is kept.
fn kept_in(ran: &Finished) -> Vec<String> {
    let told = ran.stderr();
    let kept = told
        .lines()
        .filter_map(|line| line.strip_prefix("What it had changed is kept in "));
    kept.map(|kept| kept.trim_end_matches('.').to_owned()).collect()
}

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
    let ran = run(&sandbox, &["--in-place", "-w", "src/", "-m", "x"], script).exited(6);
    assert_eq!(kept_in(&ran).len(), 1, "{ran}");
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    assert_eq!(sandbox.read("src/b.js"), "var b;\n");
    assert_eq!(sandbox.read("src/untracked"), "mine\n");
    assert_eq!(sandbox.read("src/c.js"), "edited\n");
    assert!(!sandbox.exists("src/new/n"));
    assert_eq!(sandbox.shell("cat .mirror/salvage/*/src/new/n"), "n\n");
    assert_clean(&sandbox);
}

/// Recovery could not list a locked directory that the command had removed, and every command of everybody failed.
#[test]
fn a_directory_that_it_removed_or_replaced_is_put_back() {
    let sandbox = repository();
    sandbox.write("src/untracked", "mine\n");
    let elsewhere = sandbox.beside("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    let link = format!("rm -r src; ln -s {} src; exit 1", elsewhere.display());
    for script in ["rm -r src; exit 1", "rm -r src; echo f > src; exit 1", &link] {
        run(&sandbox, &["--in-place", "-w", "src/", "-m", "x"], script).exited(6);
        assert_eq!(sandbox.read("src/untracked"), "mine\n", "{script}");
        assert_eq!(
            sandbox.git(["status", "--porcelain"]),
            "?? src/untracked",
            "{script}"
        );
        assert_clean(&sandbox);
    }
    assert_eq!(std::fs::read_dir(elsewhere).unwrap().count(), 0);
    // What takes the name of the directory is not in the lock set.
    let replace = "rm -r src; echo f > src";
    run(&sandbox, &["--in-place", "-w", "src/", "-m", "x"], replace).exited(5);
    assert_eq!(sandbox.git(["status", "--porcelain"]), "?? src/untracked");
    assert_eq!(
        sandbox.shell("cat .mirror/salvage/*/src 2>/dev/null | sort -u"),
        "f\n"
    );
    sandbox.shell("rm src/untracked");
    run(&sandbox, &["--in-place", "-w", "src/", "-m", "gone"], "rm -r src").succeeded();
    assert!(!sandbox.exists("src"));
    assert_clean(&sandbox);
}

/// Also where nobody may look into them, or the command ended well and its validation did not.
#[test]
fn the_permissions_of_directories_are_put_back() {
    let sandbox = repository();
    sandbox.shell("mkdir src/d src/e; chmod 750 src src/e; chmod 700 src/d; echo d > src/d/f; mkdir src/away; chmod 711 src/away; echo > src/away/f");
    let chmod = "chmod 755 src; chmod 000 src/d; rm -r src/away; chmod 777 src/e";
    let modes = || sandbox.shell("stat -c '%a %n' src src/d src/e src/away");
    let were = modes();
    for (end, arguments) in [("exit 1", vec![]), ("true", vec!["--validate", "false"])] {
        let arguments = [vec!["--in-place", "-w", "src/"], arguments].concat();
        run(&sandbox, &arguments, &format!("{chmod}; {end}")).exited(6);
        assert_eq!(modes(), were, "{end}");
        assert_clean(&sandbox);
    }
    let going = running(
        &sandbox,
        &["--in-place", "-w", "src/"],
        &format!("{chmod}; echo ready; tail -f /dev/null"),
    )
    .start();
    going.until_stdout("ready");
    going.kill();
    sandbox.mirror(["status"]).succeeded();
    assert_eq!(modes(), were);
    run(
        &sandbox,
        &["--in-place", "-w", "src/"],
        "echo x > src/a.js; chmod 700 src",
    )
    .succeeded();
    assert!(modes().starts_with("700 src\n"), "{}", modes());
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
    let ran = next.finish().succeeded();
    assert_eq!(kept_in(&ran).len(), 1, "{ran}");
    assert_eq!(sandbox.shell("cat .mirror/salvage/*/src/a.js"), "half\n");
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

#[test]
fn finished_work_is_kept_when_it_is_rejected_or_interrupted() {
    let work = "echo finished > src/a.js; rm src/b.js; mkdir src/d; ln -s nowhere src/d/link; printf 'x' > src/d/x; chmod +x src/d/x";
    let sandbox = repository();
    let root = sandbox.root();
    let root = root.display();
    for ending in ["rejected", "TERM"] {
        let validate =
            format!("echo > {root}/validating; until [ -e {root}/go ]; do sleep 0.01; done; false");
        let arguments = ["--in-place", "-w", "src/", "-m", "x", "--validate", &validate];
        let going = signalled(&sandbox, &arguments, work).start();
        sandbox.shell("until [ -e validating ]; do sleep 0.01; done; rm validating");
        // What others write from then on is theirs.
        sandbox.write("src/c.js", "meanwhile\n");
        let ran = if ending == "rejected" {
            sandbox.write("go", "");
            going.finish().exited(6)
        } else {
            sandbox.shell(&format!("kill -TERM {}", going.pid()));
            going.finish()
        };
        sandbox.shell("rm -f go");
        let kept = kept_in(&ran);
        assert_eq!(kept.len(), 1, "{ran}");
        let shown = sandbox.shell(&format!(
            "cd {}; find . ! -type d | sort; cat src/a.js; test -x src/d/x; readlink src/d/link",
            kept[0]
        ));
        assert_eq!(shown, "./src/a.js\n./src/d/link\n./src/d/x\nfinished\nnowhere\n");
        assert_eq!(sandbox.git(["status", "--porcelain"]), " M src/c.js");
        assert_eq!(sandbox.read("src/c.js"), "meanwhile\n");
        sandbox.git(["checkout", "--", "src/c.js"]);
        assert_clean(&sandbox);
    }
}

#[test]
fn finished_work_of_a_killed_one_is_kept_as_well() {
    // Out of the tree but not all of it put back; put back but not staged; staged.
    for point in ["run.out", "run.taken", "run.staged"] {
        let sandbox = repository();
        let work = "echo finished > src/a.js; rm src/b.js; echo new > src/new";
        running(&sandbox, &["--in-place", "-w", "src/", "-m", "x"], work)
            .env("MIRROR_FAULT", format!("{point}=kill"))
            .run();
        let told = sandbox.mirror(["status"]).succeeded();
        assert_eq!(kept_in(&told).len(), 1, "{point}: {told}");
        assert_eq!(
            sandbox.shell("cat .mirror/salvage/*/src/a.js .mirror/salvage/*/src/new"),
            "finished\nnew\n"
        );
        assert_eq!(sandbox.git(["status", "--porcelain"]), "", "{point}");
        assert_clean(&sandbox);
    }
}

#[test]
fn finished_work_is_kept_when_its_locks_are_taken_by_force() {
    let sandbox = repository();
    let validate = format!(
        "echo > {}/validating; tail -f /dev/null",
        sandbox.root().display()
    );
    let arguments = [
        "--in-place",
        "-t",
        "slow",
        "-w",
        "src/",
        "-m",
        "x",
        "--validate",
        &validate,
    ];
    let going = running(&sandbox, &arguments, "echo finished > src/a.js").start();
    sandbox.shell("until [ -e validating ]; do sleep 0.01; done");
    sandbox
        .mirror(["unlock", "--force", "--reason", "mine", "src/"])
        .succeeded();
    let ran = going.finish().exited(4);
    assert_eq!(kept_in(&ran).len(), 1, "{ran}");
    assert_eq!(sandbox.shell("cat .mirror/salvage/*/src/a.js"), "finished\n");
    assert_eq!(sandbox.read("src/a.js"), "var a;\n");
    assert_clean(&sandbox);
}

#[test]
fn what_is_no_file_stays_where_it_is() {
    let sandbox = repository();
    sandbox.shell("mkfifo src/pipe");
    let place = ["-w", "src/", "-m", "x", "--in-place"];
    run(&sandbox, &place, "echo one > src/a.js; mkfifo src/more").succeeded();
    run(&sandbox, &place, "echo two > src/a.js; rm src/more; exit 3").exited(6);
    assert_eq!(sandbox.read("src/a.js"), "one\n");
    // As to git, what gives way to a pipe is gone.
    run(&sandbox, &place, "rm src/b.js; mkfifo src/b.js").succeeded();
    let listed = sandbox.git(["ls-files", "src"]);
    assert!(
        listed.contains("src/a.js") && !listed.contains("src/b.js"),
        "{listed}"
    );
    sandbox.shell("rm -f src/pipe src/b.js");
    assert_clean(&sandbox);
}
