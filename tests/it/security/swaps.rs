//! Whoever may write in the working tree swaps a directory for a link to the outside, as quickly as the system can, while mirror
//! stages, commits, is killed, recovers and rolls back. Not a byte may be read from there into a commit, or written there.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::fs::{RenameFlags, renameat_with};

use super::ROUNDS;
use crate::support::Sandbox;

/// How many swaps there are at least, of all kinds together. The million is `MIRROR_SECURITY_ROUNDS=10`.
const SWAPS: usize = 100_000;

/// How often mirror has worked through everything meanwhile, at least.
const CYCLES: usize = 12;

/// Swaps names in a directory, a pair after the other, until told to stop.
fn swap(directory: &File, pairs: &[[&str; 2]], stop: &AtomicBool, swaps: &AtomicUsize) {
    for [a, b] in pairs.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // Mirror may have one of the names in its hands at this moment.
        if renameat_with(directory, *a, directory, *b, RenameFlags::EXCHANGE).is_ok() {
            swaps.fetch_add(1, Ordering::Relaxed);
        } else {
            thread::yield_now();
        }
    }
}

/// One task that writes, creates and deletes below what is being swapped, and ends in one of several ways.
fn cycle(sandbox: &Sandbox, number: usize) {
    let mirror = |arguments: &[&str], fault: &str| {
        let program = sandbox
            .mirror_program()
            .env("MIRROR_FAULT", fault)
            .args(arguments);
        program.input(format!("from the task {number}\n")).run()
    };
    // Whatever is swapped in the very moment is refused; nothing of it is a fault of ours.
    let tried = |arguments: &[&str], fault: &str| {
        let left = mirror(arguments, fault);
        assert!(matches!(left.code(), Some(0..=7) | None), "{left}");
        left.code()
    };
    tried(&["begin", "-t", "t", "-w", "."], "");
    tried(&["stage", "-t", "t", "d/f"], "");
    tried(&["stage", "-t", "t", &format!("d/new-{number}")], "");
    tried(&["stage", "-t", "t", &format!("d/deep/er/new-{number}")], "");
    tried(&["stage", "-t", "t", "--delete", "d/gone"], "");
    tried(&["stage", "-t", "t", "--chmod", "+x", "d/deep/g"], "");
    let message: &[&str] = if number % 2 == 0 { &["-m", "m"] } else { &[] };
    let commit = [&["commit", "-t", "t"][..], message].concat();
    match number % 4 {
        0 | 1 => tried(&commit, ""),
        2 => tried(&commit, "commit.decided=kill"),
        _ => tried(&commit, "apply.place@2=kill"),
    };
    tried(&["recover"], "");
    tried(&["rollback", "-t", "t"], "");
}

#[test]
fn no_swapped_directory_lets_a_byte_out_or_in() {
    let files = [
        ("d/f", "inside\n"),
        ("d/gone", "inside\n"),
        ("d/deep/g", "inside\n"),
        ("other", "inside\n"),
    ];
    let sandbox = Sandbox::with_files(&files);
    let outside = sandbox.beside("outside");
    fs::create_dir_all(outside.join("deep/er")).unwrap();
    for name in ["f", "gone", "deep/g"] {
        fs::write(outside.join(name), "SECRET\n").unwrap();
    }
    symlink(&outside, sandbox.path("link")).unwrap();
    symlink("../../outside/deep", sandbox.path("d/deep-link")).unwrap();
    symlink("../../outside/f", sandbox.path("d/f-link")).unwrap();
    sandbox.commit_all("links");
    sandbox.mirror(["init"]).succeeded();
    let listing = || {
        sandbox.shell("cd ../outside && find . -printf '%p %i %m %s %T@ %C@\\n' | sort && cat f gone deep/g")
    };
    let before = listing();

    // Held open, so that what is swapped stays the same whatever it is called at the moment.
    let (root, inner) = (
        File::open(sandbox.root()).unwrap(),
        File::open(sandbox.path("d")).unwrap(),
    );
    let (stop, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
    let cycles = thread::scope(|scope| {
        let _stopped = Stop(&stop);
        scope.spawn(|| swap(&root, &[["d", "link"]], &stop, &swaps));
        scope.spawn(|| swap(&inner, &[["deep", "deep-link"], ["f", "f-link"]], &stop, &swaps));
        let mut cycles = 0;
        while cycles < CYCLES * *ROUNDS || swaps.load(Ordering::Relaxed) < SWAPS * *ROUNDS {
            cycle(&sandbox, cycles);
            cycles += 1;
        }
        cycles
    });
    let swaps = swaps.into_inner();
    assert_eq!(listing(), before, "after {cycles} cycles and {swaps} swaps");
    let leaked = sandbox.shell(
        "grep -rl SECRET . || true; git rev-list --all | while read c; do git grep -l SECRET $c || true; done",
    );
    assert_eq!(leaked, "", "after {cycles} cycles and {swaps} swaps");

    // Once it is quiet, everything goes on as ever.
    if sandbox.path("d").is_symlink() {
        sandbox.shell("mv d there; mv link d; mv there link");
    }
    sandbox.mirror(["recover"]).succeeded();
    drop(sandbox.mirror(["rollback", "-t", "t"]));
    sandbox.mirror(["begin", "-t", "last", "-w", "d/"]).succeeded();
    sandbox
        .mirror_program()
        .args(["stage", "-t", "last", "d/last"])
        .input("last\n")
        .run()
        .succeeded();
    sandbox.mirror(["commit", "-t", "last"]).succeeded();
    assert_eq!(sandbox.read("d/last"), "last\n");
    println!("{cycles} cycles, {swaps} swaps");
}

/// Stops the swappers, also when an assertion fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
