//! What starting the program costs, and what a git hook does, beside `git --version` and a process that does nothing.
//!
//! `cargo bench --bench process`

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench is no product"
)]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use common::{Row, file_name, git, mirror, repository, run, timed, write_files};
use mirror::config::Settings;
use mirror::coordinator::{BeginRequest, Coordinator, Silent};
use mirror::host::System;
use mirror::model::TaskId;

const ROUNDS: usize = 60;

fn main() {
    let place = tempfile::Builder::new()
        .prefix("mirror-bench-")
        .tempdir()
        .unwrap();
    let root = place.path().join("root");
    repository(&root, 10_000);
    hold_many(&root, 100_000);
    starting(&root);
    hooks(&root);
}

fn version() -> Duration {
    timed(|| run(Command::new("git").arg("--version")))
}

fn nothing() -> Duration {
    timed(|| run(&mut Command::new("true")))
}

fn starting(root: &Path) {
    let row = |what, peer, target| Row { what, peer, target };
    row("mirror --version", "true", 2.5).compare(
        ROUNDS,
        || timed(|| run(mirror(root).arg("--version"))),
        nothing,
    );
    row("check of one path, 100,000 locks held", "git --version", 1.5).compare(
        ROUNDS,
        || timed(|| run(mirror(root).args(["check", "dir000/file00000.txt"]))),
        version,
    );
    let ten: Vec<String> = (0..10)
        .flat_map(|number| ["-w".to_owned(), format!("ten/{number}")])
        .collect();
    row(
        "begin with ten paths + rollback: two processes",
        "git --version, twice",
        1.5,
    )
    .compare(
        ROUNDS,
        || {
            timed(|| {
                run(mirror(root).args(["begin", "-q", "-t", "ten"]).args(&ten));
                run(mirror(root).args(["rollback", "-q", "-t", "ten"]));
            })
        },
        || version() + version(),
    );
    let host = Arc::new(System::new().unwrap());
    row("opening a repository: recovery with nothing to do", "true", 1.0).compare(
        ROUNDS,
        || timed(|| Coordinator::open(root, &Settings::default(), host.clone(), &mut Silent).unwrap()),
        nothing,
    );
}

fn hooks(root: &Path) {
    let hook = |task: &str| {
        timed(|| {
            run(mirror(root)
                .env("MIRROR_TASK", task)
                .args(["hook", "run", "pre-commit"]));
        })
    };
    for (staged, target) in [(100, 1.2), (10_000, 12.0)] {
        write_files(root, staged, 2048, 1);
        run(git(root).args(["add", "-A"]));
        // What `git commit` does before it calls the hook: the tree is in the index.
        run(git(root).arg("write-tree"));
        let what = format!("pre-commit, {staged} staged paths that nobody holds");
        Row {
            what: &what,
            peer: "git --version",
            target,
        }
        .compare(ROUNDS, || hook("nobody"), version);
    }
    run(mirror(root).args(["begin", "-q", "-t", "own", "-w", "dir000/", "-w", "dir001/"]));
    for number in 0..100 {
        std::fs::write(root.join(file_name(number)), "own\n").unwrap();
    }
    run(git(root).args(["reset", "-q"]));
    run(git(root).args(["add", "dir000"]));
    run(git(root).arg("write-tree"));
    Row {
        what: "pre-commit, 100 staged paths that the task holds",
        peer: "git --version",
        target: 1.2,
    }
    .compare(ROUNDS, || hook("own"), version);
}

/// Holds many other paths, a thousand to a task.
fn hold_many(root: &Path, count: usize) {
    let host = Arc::new(System::new().unwrap());
    let mut repository = Coordinator::open(root, &Settings::default(), host, &mut Silent).unwrap();
    for task in 0..count / 1_000 {
        let id = TaskId::new(format!("holder-{task}")).unwrap();
        let paths = (0..1_000).map(|number| format!("held/{task}/{number}"));
        let request = BeginRequest {
            ttl_ms: Some(86_400_000),
            ..BeginRequest::writing(id, paths)
        };
        drop(repository.begin(&request, &mut Silent).unwrap());
    }
}
