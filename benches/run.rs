//! `mirror run` beside the same work by hand: linked working trees, commits and merges of git's.
//!
//! `cargo bench --bench run`.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench is no product"
)]

mod common;

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::{Row, content, file_name, git, mirror, repository, run, timed};
use mirror::{CommitRequest, Declaration, Mirror};

fn main() {
    let place = tempfile::Builder::new()
        .prefix("mirror-bench-")
        .tempdir()
        .unwrap();
    copies(&place.path().join("copies"));
    overhead(&place.path().join("overhead"));
    landing(&place.path().join("landing"));
}

/// From asking for a copy that was used before until work can begin in it.
fn copies(root: &Path) {
    repository(root, 10_000);
    let mirror = Mirror::open(root).unwrap();
    let lease = |number: usize| {
        let declaration = Declaration::new("bench").unwrap().write(file_name(number));
        let began = Instant::now();
        let mut ready = Duration::ZERO;
        let work = |copy: &mirror::WorkingCopy| {
            ready = began.elapsed();
            std::fs::write(copy.root.join(file_name(number)), content(number, 2048, 1))
        };
        mirror
            .run_task(&declaration, CommitRequest::recorded("bench".to_owned()), work)
            .unwrap();
        ready
    };
    lease(0);
    let mut number = 0;
    Row {
        what: "a used working copy of 10,000 files, locks included",
        peer: "git worktree add",
        target: 0.05,
    }
    .compare(
        10,
        || {
            number += 1;
            lease(number)
        },
        || {
            let took = timed(|| run(git(root).args(["worktree", "add", "-q", "--detach", "../by-hand"])));
            run(git(root).args(["worktree", "remove", "--force", "../by-hand"]));
            took
        },
    );
}

/// A command of one second, in a copy that was used before.
fn overhead(root: &Path) {
    let (own, by_hand) = (root.join("own"), root.join("by-hand"));
    repository(&own, 1_000);
    repository(&by_hand, 1_000);
    let script = "sleep 1; date +%N >> dir000/file00000.txt";
    let command = || run(Command::new("sh").args(["-c", script]).current_dir(&by_hand));
    let ours = || {
        let words = ["run", "-w", "dir000/", "-m", "bench", "--", "sh", "-c", script];
        timed(|| run(mirror(&own).args(words)))
    };
    ours();
    let what = "run of a command of one second, durable commit included";
    Row {
        what,
        peer: "the command",
        target: 1.01,
    }
    .compare(5, ours, || timed(command));
    Row {
        what,
        peer: "the command and git commit",
        target: 1.01,
    }
    .compare(5, ours, || {
        timed(|| {
            command();
            run(git(&by_hand).args(["commit", "-q", "-a", "-m", "bench"]));
        })
    });
    let kept = root.join("kept");
    let durable = |at: &Path| {
        let mut git = git(at);
        git.args(["-c", "core.fsync=all"]);
        git
    };
    run(git(&by_hand).args(["worktree", "add", "-q", "-b", "kept", "../kept"]));
    Row {
        what,
        peer: "git reset and clean, the command, durable git commit and merge",
        target: 1.01,
    }
    .compare(5, ours, || {
        timed(|| {
            run(git(&kept).args(["reset", "-q", "--hard", "main"]));
            run(git(&kept).args(["clean", "-ffdxq"]));
            run(Command::new("sh").args(["-c", script]).current_dir(&kept));
            run(durable(&kept).args(["add", "-A"]));
            run(durable(&kept).args(["commit", "-q", "-m", "bench"]));
            run(durable(&by_hand).args(["merge", "-q", "--ff-only", "kept"]));
        })
    });
}

/// How many work at once.
const WORKERS: usize = 16;

/// How many files each of them changes.
const FILES: usize = 10;

/// Sixteen who finish at once, each with a commit of its own, until all of it is in the target.
fn landing(root: &Path) {
    repository(root, 100 * WORKERS);
    let mut round = 0;
    let mut ours = || {
        round += 1;
        let start = |worker: usize| {
            let (lock, message) = (format!("dir{worker:03}/"), format!("worker {worker}"));
            let words = [
                "-q",
                "run",
                "-w",
                &lock,
                "-m",
                &message,
                "--wait",
                "10m",
                "--",
                "sh",
                "-c",
                &script(worker, round),
            ];
            mirror(root)
                .args(words)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        };
        all(start)
    };
    ours();
    let mut hand = 0;
    let mut theirs = || {
        hand += 1;
        // One after the other: several at once make each other fail.
        let added = timed(|| {
            for worker in 0..WORKERS {
                let (branch, place) = (format!("w{worker}"), format!("../hand-{worker}"));
                run(git(root).args(["worktree", "add", "-q", "-b", &branch, &place]));
            }
        });
        let start = |worker: usize| {
            let work = script(worker, hand);
            let script = format!("{work}; git add -A; git commit -q -m 'worker {worker}'");
            let mut shell = git(&root.join(format!("../hand-{worker}")));
            shell.args(["-c", &format!("alias.work=!{script}"), "work"]);
            shell.spawn().unwrap()
        };
        let worked = all(start);
        let merged = timed(|| {
            for worker in 0..WORKERS {
                let (branch, place) = (format!("w{worker}"), format!("../hand-{worker}"));
                run(git(root).args(["merge", "-q", "--no-edit", &branch]));
                run(git(root).args(["worktree", "remove", "--force", &place]));
                run(git(root).args(["branch", "-q", "-d", &branch]));
            }
        });
        added + worked + merged
    };
    Row {
        what: "16 runs at once, ten files each, all landed",
        peer: "git worktree add, commit, merge",
        target: 1.0,
    }
    .compare(5, &mut ours, &mut theirs);
}

/// What one of them does.
fn script(worker: usize, round: usize) -> String {
    format!("for n in $(seq {FILES}); do echo {round} > dir{worker:03}/new-$n; done")
}

/// Starts all, and waits until all have ended well.
fn all(start: impl Fn(usize) -> Child) -> Duration {
    timed(|| {
        let children: Vec<Child> = (0..WORKERS).map(start).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
    })
}
