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
const CYCLES: usize = 18;

/// How many of its commits came through all the same, at least: refusing everything would prove nothing.
const LANDED: usize = 3;

/// How long the directory stands in its place between two swaps, in turns of an empty loop, from one cycle to the next: not
/// at all, so that every step of mirror meets both, and long enough for most of a commit to come through.
const CALM: [usize; 3] = [0, 2_000, 60_000];

/// What the swappers and mirror know of each other.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    calm: AtomicUsize,
    swaps: AtomicUsize,
}

/// Swaps names in a directory there and back again, a pair after the other, until told to stop.
fn swap(directory: &File, pairs: &[[&str; 2]], shared: &Shared) {
    for [a, b] in pairs.iter().cycle() {
        for _ in 0..2 {
            // Mirror may have one of the names in its hands at this moment.
            if renameat_with(directory, *a, directory, *b, RenameFlags::EXCHANGE).is_ok() {
                shared.swaps.fetch_add(1, Ordering::Relaxed);
            } else {
                thread::yield_now();
            }
        }
        for _ in 0..shared.calm.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// One task that writes, creates and deletes below what is being swapped, and ends in one of several ways. Answers whether it
/// was committed.
fn cycle(sandbox: &Sandbox, number: usize) -> bool {
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
    let message: &[&str] = if number.is_multiple_of(2) {
        &["-m", "m"]
    } else {
        &[]
    };
    let commit = [&["commit", "-t", "t"][..], message].concat();
    let fault = ["", "", "commit.decided=kill", "apply.place@2=kill"][number / CALM.len() % 4];
    let committed = tried(&commit, fault);
    tried(&["recover"], "");
    tried(&["rollback", "-t", "t"], "");
    committed == Some(0)
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
    let shared = Shared::default();
    let (mut cycles, mut landed) = (0, 0);
    thread::scope(|scope| {
        let _stopped = Stop(&shared.stop);
        scope.spawn(|| swap(&root, &[["d", "link"]], &shared));
        scope.spawn(|| swap(&inner, &[["deep", "deep-link"], ["f", "f-link"]], &shared));
        while cycles < CYCLES * *ROUNDS
            || landed < LANDED * *ROUNDS
            || shared.swaps.load(Ordering::Relaxed) < SWAPS * *ROUNDS
        {
            shared.calm.store(CALM[cycles % CALM.len()], Ordering::Relaxed);
            landed += usize::from(cycle(&sandbox, cycles));
            cycles += 1;
        }
    });
    let swaps = shared.swaps.into_inner();
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
    sandbox.stage("last", "d/last", "last\n");
    sandbox.mirror(["commit", "-t", "last"]).succeeded();
    assert_eq!(sandbox.read("d/last"), "last\n");
}

/// Stops the swappers, also when an assertion fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// It was found below the root, and then moved by its path, which led elsewhere a moment later.
#[test]
fn what_a_run_in_place_has_left_is_moved_out_of_the_directory_that_it_was_found_in() {
    let script = "echo half > src/a; rm src/b; mkdir src/b; echo half > src/b/in; git init -q src/d; echo half > src/d/f; echo half > src/new; exit 1";
    for passage in 1..=5 {
        let sandbox = Sandbox::with_files(&[("src/a", "a\n"), ("src/b", "b\n")]);
        sandbox.mirror(["init"]).succeeded();
        let outside = sandbox.beside("outside");
        fs::create_dir_all(outside.join("d/.git")).unwrap();
        fs::create_dir_all(outside.join("b")).unwrap();
        for name in ["a", "b/in", "d/f", "d/.git/HEAD", "new"] {
            fs::write(outside.join(name), "outside\n").unwrap();
        }
        let listing = || sandbox.shell("cd ../outside; find . -printf '%p %i %s %T@ %C@\\n' | sort");
        let before = listing();
        let run = sandbox
            .mirror_program()
            .args(["run", "--in-place", "-w", "src/", "--"]);
        let run = run.args(["sh", "-c", script]);
        let going = run
            .env("MIRROR_FAULT", format!("run.found@{passage}=stop"))
            .start();
        going.until_stopped();
        sandbox.shell("mv src src.moved; ln -s ../outside src");
        going.resume();
        drop(going.finish());
        assert_eq!(listing(), before, "{passage}");
        // It may have been put back by now, with the link out of its way.
        sandbox.shell("if [ -L src ]; then rm src; mv src.moved src; fi");
        sandbox.mirror(["status"]).succeeded();
        let there = sandbox.shell("cat src/a src/b; ls src");
        assert_eq!(there, "a\nb\na\nb\n", "{passage}");
        let kept = sandbox.shell("grep -rlx half .mirror/salvage src.moved 2>/dev/null | wc -l");
        assert_eq!(kept, "4\n", "{passage}");
        assert_eq!(listing(), before, "{passage}");
    }
}
