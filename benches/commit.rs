//! Staging and committing, beside what people do instead: `cp -r` with `sync -f`, `git add -A && git commit`, `git merge`.
//!
//! `cargo bench --bench commit`, or only some of it: `-- plain whole one merge`. `TMPDIR` should name a directory on a disk, not in memory.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench is no product"
)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Row, file_name, git, mirror, repository, run, timed, write_files};
use tempfile::TempDir;

const ROUNDS: usize = 7;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let parts: [(&str, fn()); 4] = [
        ("plain", staging_and_committing_without_git),
        ("whole", a_whole_commit),
        ("one", one_file_of_many),
        ("merge", merging),
    ];
    for (name, part) in parts {
        if words.is_empty() || words.iter().any(|word| word == name) {
            part();
        }
    }
}

fn directory() -> TempDir {
    tempfile::Builder::new()
        .prefix("mirror-bench-")
        .tempdir()
        .unwrap()
}

fn begin(root: &Path, more: &[&str]) {
    run(mirror(root)
        .args(["begin", "-q", "-t", "bench", "-w", "."])
        .args(more));
}

fn stage(root: &Path, tree: &Path) {
    run(mirror(root)
        .args(["stage", "-q", "-t", "bench", "--tree"])
        .arg(tree));
}

/// Prepares the new versions of some files beside everything else that is there. What is only there for comparison is
/// linked, not copied: its dirty pages would be written in the time that is measured.
fn edited(root: &Path, copy: &Path, changed: usize, version: usize) {
    drop(std::fs::remove_dir_all(copy));
    run(std::process::Command::new("cp").arg("-al").arg(root).arg(copy));
    drop(std::fs::remove_dir_all(copy.join(".git")));
    drop(std::fs::remove_dir_all(copy.join(".mirror")));
    for number in 0..changed {
        std::fs::remove_file(copy.join(file_name(number))).unwrap();
    }
    write_files(copy, changed, 2048, version);
}

fn copy_durably(from: &Path, to: &Path) {
    run(std::process::Command::new("cp").arg("-rT").arg(from).arg(to));
    run(std::process::Command::new("sync").arg("-f").arg(to));
}

fn staging_and_committing_without_git() {
    for count in [1_000, 10_000] {
        let place = directory();
        let (root, copy, plain) = (
            place.path().join("root"),
            place.path().join("copy"),
            place.path().join("plain"),
        );
        std::fs::create_dir(&root).unwrap();
        write_files(&root, count, 2048, 0);
        run(mirror(&root).arg("init"));
        write_files(&plain, count, 2048, 0);
        let (mut staged, mut committed, mut both, mut copied, mut durable) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for version in 1..=ROUNDS {
            write_files(&copy, count, 2048, version);
            begin(&root, &[]);
            let stage_time = timed(|| stage(&root, &copy));
            let commit_time = timed(|| run(mirror(&root).args(["commit", "-q", "-t", "bench"])));
            let copy_time = timed(|| run(std::process::Command::new("cp").arg("-rT").arg(&copy).arg(&plain)));
            let sync_time = timed(|| run(std::process::Command::new("sync").arg("-f").arg(&plain)));
            staged.push(stage_time);
            committed.push(commit_time);
            both.push(stage_time + commit_time);
            copied.push(copy_time);
            durable.push(copy_time + sync_time);
        }
        let row = |what: &str, peer, target, own: &Vec<Duration>, other: &Vec<Duration>| {
            Row {
                what: &format!("{what}, {count} files"),
                peer,
                target,
            }
            .print(own.clone(), other.clone());
        };
        row("stage --tree", "cp -r", 0.8, &staged, &copied);
        row(
            "durable commit of staged files, no git",
            "cp -r + sync -f",
            0.8,
            &committed,
            &durable,
        );
        row(
            "stage and durable commit, no git",
            "cp -r + sync -f",
            1.1,
            &both,
            &durable,
        );
    }
}

fn a_whole_commit() {
    for changed in [100, 1_000] {
        let place = directory();
        let (root, other, copy) = (
            place.path().join("root"),
            place.path().join("other"),
            place.path().join("copy"),
        );
        repository(&root, 10_000);
        repository(&other, 10_000);
        let mut version = 0;
        let mut theirs = 0;
        let what = format!("commit -m, {changed} of 10,000 files, staged before");
        Row {
            what: &what,
            peer: "cp -r + sync -f, git add -A, durable commit",
            target: 0.5,
        }
        .compare(
            ROUNDS,
            || {
                version += 1;
                edited(&root, &copy, changed, version);
                begin(&root, &[]);
                stage(&root, &copy);
                timed(|| run(mirror(&root).args(["commit", "-q", "-t", "bench", "-m", "bench"])))
            },
            || {
                theirs += 1;
                let changes = place.path().join("changes");
                drop(std::fs::remove_dir_all(&changes));
                write_files(&changes, changed, 2048, theirs);
                timed(|| {
                    copy_durably(&changes, &other);
                    run(git(&other).args(["-c", "core.fsync=all", "add", "-A"]));
                    run(git(&other).args(["-c", "core.fsync=all", "commit", "-q", "-m", "bench"]));
                })
            },
        );
    }
}

fn one_file_of_many() {
    let place = directory();
    let (root, other) = (place.path().join("root"), place.path().join("other"));
    repository(&root, 20_000);
    repository(&other, 20_000);
    let mut version = 0;
    let mut theirs = 0;
    let path = file_name(7);
    Row {
        what: "commit -m, one of 20,000 files",
        peer: "git add -A && git commit",
        target: 0.25,
    }
    .compare(
        ROUNDS,
        || {
            version += 1;
            let new = place.path().join("new");
            std::fs::write(&new, format!("{version}\n")).unwrap();
            run(mirror(&root)
                .args(["begin", "-q", "-t", "bench", "-w"])
                .arg(&path));
            run(mirror(&root)
                .args(["stage", "-q", "-t", "bench"])
                .arg(&path)
                .arg("--from")
                .arg(&new));
            timed(|| run(mirror(&root).args(["commit", "-q", "-t", "bench", "-m", "bench"])))
        },
        || {
            theirs += 1;
            std::fs::write(other.join(&path), format!("{theirs}\n")).unwrap();
            timed(|| {
                run(git(&other).args(["add", "-A"]));
                run(git(&other).args(["commit", "-q", "-m", "bench"]));
            })
        },
    );
}

/// A branch that changed some files lands on a target that moved by a hundred others.
fn merging() {
    for changed in [100, 1_000] {
        let place = directory();
        let (root, other, copy) = (
            place.path().join("root"),
            place.path().join("other"),
            place.path().join("copy"),
        );
        repository(&root, 10_000);
        repository(&other, 10_000);
        let moved = |root: &Path, version: usize| {
            for number in 9_000..9_100 {
                std::fs::write(root.join(file_name(number)), format!("{version}\n")).unwrap();
            }
            run(git(root).args(["commit", "-qam", "the target moves"]));
        };
        let mut version = 0;
        let mut theirs = 0;
        let what = format!("commit of a branch, {changed} files, target moved by 100");
        Row {
            what: &what,
            peer: "git merge (durable)",
            target: 1.0,
        }
        .compare(
            ROUNDS,
            || {
                version += 1;
                edited(&root, &copy, changed, version);
                begin(&root, &["--branch"]);
                stage(&root, &copy);
                moved(&root, version);
                timed(|| run(mirror(&root).args(["commit", "-q", "-t", "bench", "-m", "bench"])))
            },
            || {
                theirs += 1;
                run(git(&other).args(["switch", "-q", "-c", &format!("work-{theirs}")]));
                write_files(&other, changed, 2048, theirs);
                run(git(&other).args(["commit", "-qam", "work"]));
                run(git(&other).args(["switch", "-q", "main"]));
                moved(&other, theirs);
                timed(|| {
                    run(git(&other).args([
                        "-c",
                        "core.fsync=all",
                        "merge",
                        "-q",
                        "-m",
                        "merge",
                        &format!("work-{theirs}"),
                    ]));
                    run(std::process::Command::new("sync").arg("-f").arg(&other));
                })
            },
        );
    }
}
