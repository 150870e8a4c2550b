//! What stands in the working tree where a run in it had files: it goes where people find it, none of it is lost, and what others
//! have made there stays.

use crate::run::{assert_clean, run, running};
use crate::support::Sandbox;

fn repository() -> Sandbox {
    let sandbox = Sandbox::with_files(&[
        (".gitignore", "*.log\n"),
        ("a", "a\n"),
        ("b", "b\n"),
        ("c", "c\n"),
        ("d/x", "x\n"),
        ("d/y", "y\n"),
    ]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

/// The directory replaced, in the salvage, what had been moved there out of it.
#[test]
fn a_directory_joins_what_was_moved_out_of_it_before() {
    let sandbox = repository();
    let work = "rm a; mkdir a; echo WORK > a/work.txt; echo l > a/i.log";
    run(&sandbox, &["--in-place", "-w", "."], &format!("{work}; exit 1")).exited(6);
    assert_eq!(sandbox.read("a"), "a\n");
    assert_eq!(
        sandbox.shell("cd .mirror/salvage/*; find . -type f | sort; cat a/work.txt"),
        "./a/i.log\n./a/work.txt\nWORK\n"
    );
    assert_clean(&sandbox);
    run(&sandbox, &["--in-place", "-w", ".", "-m", "x"], work).succeeded();
    assert_eq!(sandbox.read("a/work.txt"), "WORK\n");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_clean(&sandbox);
}

/// What somebody wrote after a kill replaced what the run had written, which was in the salvage alone.
#[test]
fn what_is_moved_out_later_takes_another_name() {
    let sandbox = repository();
    running(&sandbox, &["--in-place", "-w", "a"], "echo PRECIOUS > a; exit 1")
        .env("MIRROR_FAULT", "run.out=kill")
        .run();
    for foreign in ["FOREIGN", "AGAIN"] {
        sandbox.write("a", format!("{foreign}\n"));
        sandbox
            .mirror_program()
            .args(["status"])
            .env("MIRROR_FAULT", "run.out=kill")
            .run();
    }
    sandbox.mirror(["status"]).succeeded();
    assert_eq!(sandbox.read("a"), "a\n");
    assert_eq!(
        sandbox.shell("cd .mirror/salvage/*; cat a a.1 a.2"),
        "PRECIOUS\nFOREIGN\nAGAIN\n"
    );
    assert_clean(&sandbox);
}

/// The lock on the file was taken for one on the directory that had its name by then.
#[test]
fn what_others_have_in_a_directory_that_has_the_name_of_a_locked_file_stays() {
    for (end, status) in [("exit 1", 6), ("true", 5)] {
        let sandbox = repository();
        let script = format!(
            "rm a; mkdir a; echo mine > a/mine; echo ready; until [ -e go ]; do sleep 0.01; done; {end}"
        );
        let going = running(&sandbox, &["--in-place", "-t", "R", "-w", "a"], &script).start();
        going.until_stdout("ready");
        sandbox.mirror(["begin", "-t", "O", "-w", "a/w"]).succeeded();
        let stage = sandbox.mirror_program().args(["stage", "-t", "O", "a/w"]);
        stage.input("of O\n").run().succeeded();
        sandbox.mirror(["commit", "-t", "O", "-m", "O"]).succeeded();
        sandbox.mirror(["begin", "-t", "H", "-w", "a/w2"]).succeeded();
        sandbox.write("a/w2", "of H\n");
        sandbox.write("go", "");
        let ran = going.finish().exited(status);
        assert_eq!(sandbox.read("a/w"), "of O\n", "{ran}");
        assert_eq!(sandbox.read("a/w2"), "of H\n", "{ran}");
        assert!(!sandbox.exists("a/mine"), "{ran}");
        assert_eq!(sandbox.shell("cat .mirror/salvage/*/a/mine"), "mine\n");
        assert_eq!(sandbox.shell("cat .mirror/salvage/*.before/a"), "a\n");
        let left =
            "Others hold this by now or have committed it since, so it is left as it is: a, a/w, a/w2.";
        assert!(ran.text().contains(left), "{ran}");
        sandbox.mirror(["rollback", "-t", "H"]).succeeded();
        assert_clean(&sandbox);
    }
}

#[test]
fn what_it_makes_in_a_directory_in_the_place_of_a_locked_file_is_not_locked() {
    let sandbox = repository();
    let ran = run(
        &sandbox,
        &["--in-place", "-w", "a", "-m", "x"],
        "rm a; mkdir a; echo W > a/w",
    )
    .exited(5);
    assert!(
        ran.text().contains("changed what it has not locked: a/w"),
        "{ran}"
    );
    assert_eq!(sandbox.read("a"), "a\n");
    assert_eq!(sandbox.shell("cat .mirror/salvage/*/a/w"), "W\n");
    assert_clean(&sandbox);
}

#[test]
fn an_empty_directory_that_it_removed_is_there_again() {
    let sandbox = repository();
    sandbox.shell("mkdir -p d/empty/below; chmod 750 d/empty");
    let modes = || sandbox.shell("stat -c %a d d/empty d/empty/below");
    let were = modes();
    run(&sandbox, &["--in-place", "-w", "d/"], "rm -r d; exit 1").exited(6);
    assert_eq!(modes(), were);
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_clean(&sandbox);
}

/// To git, all that was put back was that of another repository.
#[test]
fn a_repository_that_it_made_goes_and_one_that_was_there_stays() {
    let sandbox = repository();
    sandbox.shell("git init -q theirs; echo t > theirs/t");
    let script = "rm -r d; git init -q d; git init -q new; echo half > theirs/t; exit 1";
    run(&sandbox, &["--in-place", "-w", "."], script).exited(6);
    assert_eq!(sandbox.git(["status", "--porcelain"]), "?? theirs/");
    assert_eq!(sandbox.read("d/x"), "x\n");
    assert!(!sandbox.exists("d/.git") && !sandbox.exists("new"));
    assert!(sandbox.exists("theirs/.git/HEAD"));
    assert_eq!(sandbox.read("theirs/t"), "t\n");
    sandbox.shell("test -e .mirror/salvage/*/d/.git/HEAD; rm -r theirs");
    assert_clean(&sandbox);
}
