//! Measures something and its peer by turns, and prints the ratio beside its target.

#![allow(dead_code, reason = "every bench uses its own part")]
#![allow(clippy::print_stdout, reason = "a bench prints its table")]

pub(crate) mod actor;
pub(crate) mod redis;
pub(crate) mod registry;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One row: what is measured, beside whom, and what is asked for.
pub(crate) struct Row<'a> {
    pub(crate) what: &'a str,
    pub(crate) peer: &'a str,
    /// The ratio of the medians that is asked for, at most.
    pub(crate) target: f64,
}

impl Row<'_> {
    /// Measures both by turns, so that whatever else the machine does hits both, and prints the row.
    pub(crate) fn compare(
        &self,
        rounds: usize,
        mut ours: impl FnMut() -> Duration,
        mut theirs: impl FnMut() -> Duration,
    ) {
        let (mut own, mut other) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            own.push(ours());
            other.push(theirs());
        }
        self.print(own, other);
    }

    /// Prints a row of figures that are there already.
    pub(crate) fn print(&self, own: Vec<Duration>, other: Vec<Duration>) {
        let (own, other) = (Spread::of(own), Spread::of(other));
        let ratio = own.median / other.median;
        let verdict = if ratio <= self.target { "reached" } else { "MISSED" };
        println!(
            "{:<58} {own}   {:<34} {other}   {ratio:>5.2}x   target {:>4.2}x {verdict}",
            self.what, self.peer, self.target
        );
    }
}

/// Median and extremes, in milliseconds.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort();
        let ms = |duration: &Duration| duration.as_secs_f64() * 1e3;
        Self {
            median: ms(&durations[durations.len() / 2]),
            least: ms(&durations[0]),
            most: ms(&durations[durations.len() - 1]),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>9.3} ms ({:.3}..{:.3})", self.median, self.least, self.most)
    }
}

/// Measures one call.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    let answer = work();
    let took = began.elapsed();
    drop(answer);
    took
}

/// Runs a program to its end; it has to succeed.
#[track_caller]
pub(crate) fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Git, undisturbed by the user's configuration.
pub(crate) fn git(directory: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .args([
            "-c",
            "user.name=bench",
            "-c",
            "user.email=bench@mirror.invalid",
            "-c",
            "gc.auto=0",
        ]);
    git
}

/// The program that is measured.
pub(crate) fn mirror(directory: &Path) -> Command {
    let mut mirror = Command::new(env!("CARGO_BIN_EXE_mirror"));
    mirror
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    mirror
}

/// Writes `count` files of `size` bytes, a hundred to a directory, named by number; `version` makes them differ.
pub(crate) fn write_files(root: &Path, count: usize, size: usize, version: usize) {
    for number in 0..count {
        let path = root.join(file_name(number));
        if number % 100 == 0 {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        std::fs::write(path, content(number, size, version)).unwrap();
    }
}

/// Bytes that do not compress to nothing.
pub(crate) fn content(number: usize, size: usize, version: usize) -> Vec<u8> {
    let mut state = (number * 31 + version) as u64 + 1;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend(format!("{:08x}\n", state >> 32).bytes());
    }
    bytes.truncate(size);
    bytes
}

pub(crate) fn file_name(number: usize) -> PathBuf {
    format!("dir{:03}/file{number:05}.txt", number / 100).into()
}

/// A repository with `count` files of two KiB, committed.
pub(crate) fn repository(root: &Path, count: usize) {
    std::fs::create_dir_all(root).unwrap();
    run(git(root).args(["init", "-q", "-b", "main"]));
    run(git(root).args(["config", "user.name", "bench"]));
    run(git(root).args(["config", "user.email", "bench@mirror.invalid"]));
    write_files(root, count, 2048, 0);
    run(git(root).args(["add", "-A"]));
    run(git(root).args(["commit", "-q", "-m", "all"]));
    run(mirror(root).arg("init"));
}
