//! `mirror run`: a command as a task, from its locks to its commit, and every way it can end.

mod commits;
mod committed;
mod copies;
mod ends;
mod ignored;
mod in_place;
mod interrupts;
mod landing;
mod lost;
mod permissions;
mod place;
mod pool;
mod power;
mod replaced;
mod shown;
mod stuck;
mod taken_apart;
mod validation;

use crate::support::Sandbox;
use crate::support::program::{Finished, Program};

/// A repository with a few files under `src`, set up for mirror.
fn repository() -> Sandbox {
    let sandbox = Sandbox::with_files(&[
        ("src/a.js", "var a;\n"),
        ("src/b.js", "var b;\n"),
        ("src/c.js", "var c;\n"),
        (".gitignore", "ignored\nnode_modules/\n"),
    ]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

/// `mirror run` with these arguments, and a script as its command.
fn running(sandbox: &Sandbox, arguments: &[&str], script: &str) -> Program {
    sandbox
        .mirror_program()
        .args(["run"])
        .args(arguments)
        .args(["--", "sh", "-c", script])
}

/// The same, and whatever has started the tests, all signals that end a run do so.
fn signalled(sandbox: &Sandbox, arguments: &[&str], script: &str) -> Program {
    sandbox
        .program("env")
        .args([
            "--default-signal=HUP,INT,QUIT,TERM",
            env!("CARGO_BIN_EXE_mirror"),
            "run",
        ])
        .args(arguments)
        .args(["--", "sh", "-c", script])
}

/// Waits until the process is gone whose number a file holds. Fails the test, in the end, when it stays.
fn assert_ended(sandbox: &Sandbox, file: &str) {
    let pid = sandbox.read(file);
    let pid = pid.trim();
    sandbox.shell(&format!(
        "while [ -e /proc/{pid} ] && ! grep -q 'State:.Z' /proc/{pid}/status; do sleep 0.01; done"
    ));
}

/// Runs a script to its end.
fn run(sandbox: &Sandbox, arguments: &[&str], script: &str) -> Finished {
    running(sandbox, arguments, script).run()
}

/// Nothing is held, nothing is unfinished, nothing runs, the checks of mirror and of git pass.
fn assert_clean(sandbox: &Sandbox) {
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(status["tasks"], serde_json::json!([]), "{status}");
    assert_eq!(status["unfinished"], serde_json::json!([]), "{status}");
    for worktree in status["worktrees"].as_array().unwrap() {
        assert_ne!(worktree["state"], "in-use", "{status}");
    }
    let marks = std::fs::read_dir(sandbox.path(".mirror/runs")).unwrap().count();
    assert_eq!(marks, 0, "runs are marked as going on");
    sandbox.mirror(["doctor"]).succeeded();
    sandbox.git(["fsck", "--strict", "--no-dangling"]);
}

/// Runs as somebody whom permissions keep out, whoever runs the tests.
pub(crate) fn kept_out(sandbox: &Sandbox, arguments: &[&str]) -> Program {
    let mirror = env!("CARGO_BIN_EXE_mirror");
    if !rustix::process::geteuid().is_root() {
        return sandbox.mirror_program().args(arguments);
    }
    let without = ["--bounding-set=-dac_override,-dac_read_search", "--", mirror];
    sandbox.program("setpriv").args(without).args(arguments)
}
