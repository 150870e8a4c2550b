//! Runs in the working tree itself that cannot be put back, or not at this moment: they are in nobody's way who wants something else.

use crate::run::{assert_clean, kept_out, run, running};
use crate::support::Sandbox;
use crate::support::program::Program;

fn repository() -> Sandbox {
    let sandbox = Sandbox::with_files(&[
        ("a", "a\n"),
        ("b", "b\n"),
        ("c", "c\n"),
        ("d/x", "x\n"),
        ("d/y", "y\n"),
    ]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

/// A run of somebody whom permissions keep out.
fn kept_out_running(sandbox: &Sandbox, script: &str) -> Program {
    let run = ["run", "--in-place", "-t", "R", "-w", "d/", "-m", "x"];
    kept_out(sandbox, &[&run[..], &["--", "sh", "-c", script]].concat())
}

/// Every command failed as long as the directory was there, as the cache of a package manager is.
#[test]
fn what_it_has_shut_is_moved_away_and_the_rest_is_put_back() {
    for mode in ["555", "000"] {
        let sandbox = repository();
        let work = format!(
            "echo half > d/x; mkdir -p d/m/n d/e; echo f > d/m/n/f; chmod {mode} d/m/n d/m d/e; chmod 000 d/y"
        );
        kept_out_running(&sandbox, &format!("{work}; exit 1"))
            .run()
            .exited(6);
        kept_out(&sandbox, &["status"]).run().succeeded();
        assert_eq!(sandbox.git(["status", "--porcelain"]), "", "{mode}");
        assert!(!sandbox.exists("d/m") && !sandbox.exists("d/e"), "{mode}");
        assert_eq!(sandbox.shell("cat .mirror/salvage/*/d/m/n/f"), "f\n");
        assert_clean(&sandbox);
        let work = work.replace("chmod 000 d/y", "true");
        kept_out_running(&sandbox, &work).run().succeeded();
        assert_eq!(
            sandbox.git(["show", "--name-only", "--format="]).trim(),
            "d/m/n/f\nd/x"
        );
        assert_eq!(sandbox.git(["status", "--porcelain"]), "");
        assert_clean(&sandbox);
    }
}

/// As a container leaves it that runs as somebody else.
#[test]
fn what_nobody_can_move_is_left_and_the_rest_is_put_back() {
    if !rustix::process::geteuid().is_root() {
        // Only root makes something of somebody else's.
        return;
    }
    let sandbox = repository();
    sandbox.mirror(["status"]).succeeded();
    let script = "echo half > d/x; mkdir -p d/m d/shut; echo f > d/m/f; echo f > d/shut/f; chown -R 1:1 d/m d/shut; \
                  chmod 700 d/shut; exit 1";
    let without = "--bounding-set=-dac_override,-dac_read_search,-fowner";
    let arguments = [without, "--", env!("CARGO_BIN_EXE_mirror"), "run", "--in-place"];
    let ran = sandbox
        .program("setpriv")
        .args(arguments)
        .args(["-w", "d/", "--", "sh", "-c", script])
        .run()
        .exited(6);
    let text = ran.text();
    assert!(
        text.contains("This cannot be put back, so it is left as it is: d/m/f (Failed renaming"),
        "{text}"
    );
    assert_eq!(sandbox.git(["status", "--porcelain"]), "?? d/m/\n?? d/shut/");
    assert_clean(&sandbox);
}

#[test]
fn a_copy_that_is_gone_is_in_the_way_of_nothing_else() {
    let sandbox = repository();
    let script = "for f in x y; do echo half > d/$f; done; rm .mirror/transactions/*/kept/0; exit 1";
    let ran = run(&sandbox, &["--in-place", "-w", "d/"], script).exited(6);
    assert!(
        ran.text().contains("it is left as it is: d/x (the copy of what"),
        "{ran}"
    );
    assert_eq!(sandbox.read("d/x"), "half\n");
    assert_eq!(sandbox.read("d/y"), "y\n");
    assert_clean(&sandbox);
}

#[test]
fn only_whoever_wants_the_same_is_refused_until_it_is_put_back_or_given_up() {
    let sandbox = repository();
    let script =
        "for f in x y; do echo half > d/$f; done; cd .mirror/transactions/*/kept; rm 0; mkdir 0; exit 1";
    let ran = run(&sandbox, &["--in-place", "-t", "R", "-w", "d/"], script).exited(6);
    assert!(!ran.text().contains("rolled back"), "{ran}");
    assert!(
        ran.text().contains("in the working tree is not put back yet: "),
        "{ran}"
    );
    // The others are back already.
    assert_eq!(sandbox.read("d/y"), "y\n");
    for command in [&["status"][..], &["recover"], &["begin", "-t", "o", "-w", "b"]] {
        let told = sandbox.mirror(command).succeeded().text();
        assert!(
            told.contains("What the killed run R has changed in the working tree is not put back yet"),
            "{told}"
        );
    }
    sandbox.mirror(["lock", "-t", "o", "-w", "c"]).succeeded();
    for command in [
        &["begin", "-t", "p", "-w", "d/x"][..],
        &["lock", "-t", "o", "-w", "d/"],
    ] {
        let told = sandbox.mirror(command).exited(3).text();
        assert!(told.contains("`mirror rollback -t R`"), "{told}");
    }
    let told = sandbox.mirror(["rollback", "-t", "R"]).succeeded().text();
    assert!(told.contains("what was there before is kept in"), "{told}");
    sandbox.mirror(["lock", "-t", "o", "-w", "d/"]).succeeded();
    sandbox.mirror(["rollback", "-t", "o"]).succeeded();
    assert_eq!(sandbox.shell("cat .mirror/salvage/*.before/d/y"), "y\n");
    let changed = "find .mirror/salvage -type f -path '*/d/x' -exec cat {} +";
    assert_eq!(sandbox.shell(changed), "half\n");
    assert_clean(&sandbox);
}

/// They waited for ever, whatever they asked for.
#[test]
fn whoever_puts_back_and_stands_still_is_waited_for_only_where_the_run_worked_and_for_a_while() {
    let sandbox = repository();
    running(&sandbox, &["--in-place", "-t", "v", "-w", "a"], "echo half > a")
        .env("MIRROR_FAULT", "run.worked=kill")
        .run();
    let still = sandbox
        .mirror_program()
        .args(["status"])
        .env("MIRROR_FAULT", "run.out=stop")
        .start();
    still.until_stopped();
    sandbox.mirror(["begin", "-t", "o", "-w", "c"]).succeeded();
    run(&sandbox, &["-w", "b", "--wait", "1s"], "echo x > b").succeeded();
    let begin = ["begin", "-t", "p", "-w", "a", "--wait", "100ms"];
    let told = sandbox.mirror(begin).exited(3).text();
    assert!(
        told.contains(
            "What the killed run v has changed in the working tree is not put back yet: another process"
        ),
        "{told}"
    );
    let waits = sandbox
        .mirror_program()
        .args(["begin", "-t", "p", "-w", "a", "--wait", "60s"])
        .start();
    still.resume();
    still.finish().succeeded();
    waits.finish().succeeded();
    assert_eq!(sandbox.read("a"), "a\n");
    for task in ["o", "p"] {
        sandbox.mirror(["rollback", "-t", task]).succeeded();
    }
    sandbox.git(["checkout", "--", "b"]);
    assert_clean(&sandbox);
}

/// Some were told that they have what was not put back yet, others committed there, and it was moved away again.
#[test]
fn whatever_takes_locks_waits_until_everything_is_put_back() {
    let optimistic = ["begin", "-t", "o", "--optimistic"];
    let plain = ["begin", "-t", "o", "-w", "c"];
    let commit: &[&str] = &["commit", "-t", "o"];
    for (begin, asks, stands_at) in [
        (
            &plain[..],
            &["lock", "-t", "o", "-w", "d/", "--wait", "60s"][..],
            "run.put-back.begin=stop",
        ),
        (
            &plain,
            &["stage", "-t", "o", "--lock", "d/y"],
            "run.put-back.begin=stop",
        ),
        (&optimistic, commit, "run.out=stop"),
    ] {
        let sandbox = repository();
        sandbox.mirror(begin).succeeded();
        if asks == commit {
            sandbox.stage("o", "d/y", "of o\n");
        }
        let half = "for f in x y; do echo half > d/$f; done";
        running(&sandbox, &["--in-place", "-t", "v", "-w", "d/"], half)
            .env("MIRROR_FAULT", "run.worked=kill")
            .run();
        let puts_back = sandbox
            .mirror_program()
            .args(["status"])
            .env("MIRROR_FAULT", stands_at)
            .start();
        puts_back.until_stopped();
        let asking = sandbox.mirror_program().args(asks).input("of o\n").start();
        // It has them from the dead, and is not told so yet.
        while !sandbox.mirror(["who", "d/y"]).text().contains("held by o on") {}
        puts_back.resume();
        let told = puts_back.finish().succeeded();
        assert!(!told.text().contains("left as it is"), "{told}");
        asking.finish().succeeded();
        assert_eq!(sandbox.read("d/x"), "x\n");
        match asks {
            ["lock", ..] => assert_eq!(sandbox.read("d/y"), "y\n"),
            ["stage", ..] => drop(sandbox.mirror(commit).succeeded()),
            _ => {}
        }
        if asks[0] != "lock" {
            assert_eq!(sandbox.read("d/y"), "of o\n");
            sandbox.git(["checkout", "--", "d/y"]);
        }
        sandbox.mirror(["rollback", "-t", "o"]);
        assert_clean(&sandbox);
    }
}

fn stop(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
}

const GOES_ON: &str = "for f in x y; do echo half > d/$f; done; echo ready; exec tail -f /dev/null";

#[test]
fn the_locks_of_one_that_stands_still_are_taken_by_force_all_the_same() {
    let sandbox = repository();
    let going = running(&sandbox, &["--in-place", "-t", "R", "-w", "d/"], GOES_ON).start();
    going.until_stdout("ready");
    stop(going.pid());
    let unlock = ["unlock", "--force", "--reason", "mine", "d/"];
    let told = sandbox.mirror(unlock).succeeded().text();
    assert!(told.contains("Warning: the run R stands still;"), "{told}");
    let begin = ["begin", "-t", "o", "-w", "d/x"];
    let told = sandbox.mirror(begin).succeeded().text();
    let said = "The run R had this before, and has not put back what it has changed there";
    assert!(told.contains(said), "{told}");
    let stage = sandbox.mirror_program().args(["stage", "-t", "o", "d/x"]);
    stage.input("of o\n").run().succeeded();
    sandbox.mirror(["commit", "-t", "o"]).succeeded();
    going.resume();
    assert!(!going.finish().text().contains("--- exit 0"));
    assert_eq!(sandbox.read("d/x"), "of o\n");
    assert_eq!(sandbox.read("d/y"), "y\n");
    assert_clean(&sandbox);
}

#[test]
fn one_that_stands_still_is_not_rolled_back_but_gives_its_locks_back() {
    let sandbox = repository();
    let going = running(&sandbox, &["--in-place", "-t", "R", "-w", "d/"], GOES_ON).start();
    going.until_stdout("ready");
    stop(going.pid());
    let told = sandbox.mirror(["rollback", "-t", "R"]).exited(3).text();
    assert!(
        told.contains("The run R stands still: its locks are given back"),
        "{told}"
    );
    sandbox.mirror(["begin", "-t", "o", "-w", "d/x"]).succeeded();
    going.kill();
    sandbox.mirror(["recover"]).succeeded();
    assert_eq!(sandbox.read("d/y"), "y\n");
    sandbox.mirror(["rollback", "-t", "o"]).succeeded();
    sandbox.mirror(["status"]).succeeded();
    assert_eq!(sandbox.read("d/x"), "half\n");
    sandbox.git(["checkout", "--", "d/x"]);
    assert_clean(&sandbox);
}
