//! Runs in the working tree itself that cannot be put back, or not at this moment: they are in nobody's way who wants something else.

use crate::run::{assert_clean, kept_out, run};
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
