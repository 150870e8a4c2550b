//! Programs that know nothing of locks: editors and git commands of the user, at every step of a commit. Their bytes end
//! in the tree or in quarantine, reported; git's lock files are never taken away from them.

use std::fs;
use std::io::{Seek as _, Write as _};
use std::path::Path;

use crate::support::Sandbox;
use crate::support::program::Finished;
use crate::support::running::Running;

const COMMIT: [&str; 5] = ["commit", "-t", "agent", "-m", "by the agent"];

/// Where a commit is stopped before its decision, and after it.
const BEFORE: [&str; 6] = [
    "prepare.planned",
    "prepare.manifest",
    "prepare.index-lock",
    "prepare.ref-lock",
    "prepare.look",
    "commit.decide",
];
const AFTER: [&str; 7] = [
    "commit.decided",
    "apply.place@1",
    "apply.place@2",
    "apply.exchange@2",
    "apply.parents",
    "carry-out.applied",
    "carry-out.ref-moved",
];

/// A task that has staged a change of `a`, a change of `b`, and a new file `new`.
fn staged() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("a", "old a\n"), ("b", "old b\n"), ("user", "old\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
        .mirror(["begin", "-t", "agent", "-w", "a", "-w", "b", "-w", "new"])
        .succeeded();
    for path in ["a", "b", "new"] {
        let stage = sandbox.mirror_program().args(["stage", "-t", "agent", path]);
        stage.input(format!("agent's {path}\n")).run().succeeded();
    }
    sandbox
}

fn stopped_at(sandbox: &Sandbox, point: &str) -> Running {
    let fault = format!("{point}=stop");
    let running = sandbox
        .mirror_program()
        .args(COMMIT)
        .env("MIRROR_FAULT", fault)
        .start();
    running.until_stopped();
    running
}

fn killed_at(sandbox: &Sandbox, point: &str) {
    let fault = format!("{point}=kill");
    let killed = sandbox
        .mirror_program()
        .args(COMMIT)
        .env("MIRROR_FAULT", fault)
        .run();
    assert_eq!(killed.code(), None, "{killed}");
}

fn go_on(running: Running) -> Finished {
    running.resume();
    running.finish()
}

/// Finds the bytes in the working tree or in quarantine.
#[track_caller]
fn assert_kept(sandbox: &Sandbox, bytes: &str, finished: &Finished) {
    let found =
        sandbox.shell("grep -rlF --exclude-dir=.git --exclude-dir=transactions 'by an editor' . || true");
    let is_there = found.lines().any(|file| sandbox.read(file) == bytes);
    assert!(is_there, "{bytes:?} is nowhere: {found}\n{finished}");
    if found.lines().any(|file| file.contains("quarantine")) {
        let text = finished.stdout() + &finished.stderr();
        assert!(text.contains("quarantine"), "it is reported: {finished}");
        let history = sandbox.mirror(["history", "--all"]).succeeded().stdout();
        assert!(history.contains("quarantine"), "it is in the history: {history}");
    }
}

/// Puts `bytes` under a name.
type Save = fn(&Path, &str);

/// Ways in which an editor saves. Each leaves `bytes` under the name `path`.
const EDITORS: [(&str, Save); 5] = [
    ("in place", |path, bytes| fs::write(path, bytes).unwrap()),
    ("by rename", |path, bytes| {
        let aside = path.with_extension("swp");
        fs::write(&aside, bytes).unwrap();
        fs::rename(aside, path).unwrap();
    }),
    ("deleted and made anew", |path, bytes| {
        drop(fs::remove_file(path));
        fs::write(path, bytes).unwrap();
    }),
    ("with the time set back", |path, bytes| {
        let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
        fs::write(path, bytes).unwrap();
        if let Ok(modified) = modified {
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(modified)
                .unwrap();
        }
    }),
    ("as a copy of itself", |path, bytes| {
        let aside = path.with_extension("orig");
        fs::write(&aside, bytes).unwrap();
        fs::copy(&aside, path).unwrap();
        fs::remove_file(aside).unwrap();
    }),
];

#[test]
fn what_an_editor_saves_before_the_decision_stays_and_the_commit_is_refused() {
    // The last look is behind `commit.decide`; what comes after it is found by the hash of what was displaced.
    for point in &BEFORE[..5] {
        for (name, save) in EDITORS {
            for path in ["a", "new"] {
                let sandbox = staged();
                let running = stopped_at(&sandbox, point);
                save(&sandbox.path(path), "by an editor\n");
                let finished = go_on(running);
                assert_eq!(finished.code(), Some(5), "{point}, {name}, {path}: {finished}");
                assert_eq!(sandbox.read(path), "by an editor\n", "{point}, {name}, {path}");
                assert_eq!(sandbox.read("b"), "old b\n", "{point}, {name}, {path}");
            }
        }
    }
}

#[test]
fn what_an_editor_saves_after_the_last_look_is_in_the_tree_or_in_quarantine() {
    for point in BEFORE[5..].iter().chain(&AFTER) {
        for (name, save) in EDITORS {
            for path in ["a", "b", "new"] {
                let sandbox = staged();
                let running = stopped_at(&sandbox, point);
                save(&sandbox.path(path), "by an editor\n");
                let finished = go_on(running);
                assert_eq!(finished.code(), Some(0), "{point}, {name}, {path}: {finished}");
                assert_kept(&sandbox, "by an editor\n", &finished);
                assert_eq!(
                    sandbox.git(["show", "HEAD:a"]),
                    "agent's a",
                    "{point}, {name}, {path}"
                );
            }
        }
    }
}

#[test]
fn what_an_editor_saves_between_a_crash_and_recovery_is_kept_as_well() {
    for point in AFTER {
        for (name, save) in EDITORS {
            let sandbox = staged();
            killed_at(&sandbox, point);
            save(&sandbox.path("b"), "by an editor\n");
            let recovered = sandbox.mirror(["recover"]);
            assert_eq!(recovered.code(), Some(0), "{point}, {name}: {recovered}");
            assert_kept(&sandbox, "by an editor\n", &recovered);
            assert_eq!(sandbox.git(["show", "HEAD:b"]), "agent's b", "{point}, {name}");
        }
    }
}

/// A program may hold the old file open, or have it mapped, and write to it after it was displaced.
#[test]
fn what_is_written_to_the_displaced_file_is_kept_by_cleanup() {
    let sandbox = staged();
    let mut held = fs::File::options().write(true).open(sandbox.path("a")).unwrap();
    sandbox.mirror(COMMIT).succeeded();
    held.rewind().unwrap();
    held.write_all(b"by an editor\n").unwrap();
    drop(held);
    assert_eq!(sandbox.read("a"), "agent's a\n");
    let cleaned = sandbox.mirror(["cleanup", "--force"]).succeeded();
    assert_kept(&sandbox, "by an editor\n", &cleaned);
}

/// An editor that has mapped a file: what it writes goes through no call that anybody could see. Mapping memory takes
/// `unsafe` in Rust, and Perl, without which there is no git, can do it with its own `syscall`.
struct Mapped {
    editor: Running,
    pipe: tempfile::TempDir,
}

impl Mapped {
    fn new(sandbox: &Sandbox, path: &str) -> Self {
        let pipe = tempfile::tempdir().unwrap();
        let at = pipe.path().join("keys");
        rustix::fs::mknodat(rustix::fs::CWD, &at, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        // read() puts the bytes straight into the mapping. The address is fixed: low, and so far free in every process.
        let script = format!(
            "my $at = 0x10000000;
             open my $file, '+<', $ARGV[0] or die $!;
             syscall({MMAP}, $at, 4096, 3, 0x100001, fileno $file, 0) == $at or die \"mmap: $!\";
             close $file;
             $| = 1;
             print \"mapped\\n\";
             while (open my $keys, '<', $ARGV[1]) {{
                 syscall({READ}, fileno $keys, $at, 4096) > 0 or die \"read: $!\";
                 print \"written\\n\";
             }}"
        );
        let editor = sandbox.program("perl").args(["-e", &script, path]);
        let editor = editor.args([&at]).start();
        editor.until_stdout("mapped\n");
        Self { editor, pipe }
    }

    /// Writes `bytes` over the beginning of the file. They must not be longer than it: a mapping does not grow.
    fn write(&self, bytes: &str) {
        fs::write(self.pipe.path().join("keys"), bytes).unwrap();
        self.editor.until_stdout("written\n");
    }
}

#[cfg(target_arch = "x86_64")]
const MMAP: i64 = 9;
#[cfg(target_arch = "x86_64")]
const READ: i64 = 0;
#[cfg(target_arch = "aarch64")]
const MMAP: i64 = 222;
#[cfg(target_arch = "aarch64")]
const READ: i64 = 63;

const LONG_ENOUGH: &str = "as it was before\n";
const THROUGH_THE_MAPPING: &str = "by an editor\nore\n";

/// As [`staged`], with a file `a` that an editor can write into without making it longer.
fn staged_for_mapping() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("a", LONG_ENOUGH), ("b", "old b\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
        .mirror(["begin", "-t", "agent", "-w", "a", "-w", "b"])
        .succeeded();
    for path in ["a", "b"] {
        let stage = sandbox.mirror_program().args(["stage", "-t", "agent", path]);
        stage.input(format!("agent's {path}\n")).run().succeeded();
    }
    sandbox
}

#[test]
fn what_is_written_through_a_mapping_is_in_the_tree_or_in_quarantine() {
    for point in BEFORE.iter().chain(&AFTER) {
        let sandbox = staged_for_mapping();
        let mapped = Mapped::new(&sandbox, "a");
        let running = stopped_at(&sandbox, point);
        mapped.write(THROUGH_THE_MAPPING);
        let finished = go_on(running);
        let is_seen = BEFORE[..5].contains(point);
        let expected = if is_seen { Some(5) } else { Some(0) };
        assert_eq!(finished.code(), expected, "{point}: {finished}");
        assert_kept(&sandbox, THROUGH_THE_MAPPING, &finished);
        let tree = if is_seen {
            THROUGH_THE_MAPPING
        } else {
            "agent's a\n"
        };
        assert_eq!(sandbox.read("a"), tree, "{point}");
    }
}

#[test]
fn what_is_written_through_a_mapping_between_a_crash_and_recovery_is_kept_as_well() {
    for point in AFTER {
        let sandbox = staged_for_mapping();
        let mapped = Mapped::new(&sandbox, "a");
        killed_at(&sandbox, point);
        mapped.write(THROUGH_THE_MAPPING);
        let recovered = sandbox.mirror(["recover"]).succeeded();
        assert_kept(&sandbox, THROUGH_THE_MAPPING, &recovered);
        assert_eq!(sandbox.read("a"), "agent's a\n", "{point}");
    }
}

#[test]
fn what_is_written_through_a_mapping_after_the_commit_is_kept_by_cleanup() {
    let sandbox = staged_for_mapping();
    let mapped = Mapped::new(&sandbox, "a");
    sandbox.mirror(COMMIT).succeeded();
    mapped.write(THROUGH_THE_MAPPING);
    assert_eq!(sandbox.read("a"), "agent's a\n");
    let cleaned = sandbox.mirror(["cleanup", "--force"]).succeeded();
    assert_kept(&sandbox, THROUGH_THE_MAPPING, &cleaned);
}

/// What a user types meanwhile. Git itself refuses some of it while its lock is held; nothing of it is lost, and the
/// agent's commit is in the end.
const GIT: [&str; 9] = [
    "echo more > user; git commit -q -m 'by the user' user",
    "git commit -q --allow-empty -m 'by the user'",
    "echo more > user; git stash -q",
    "git gc -q",
    "git pack-refs --all",
    "git checkout -q -b elsewhere; git checkout -q main",
    "git update-ref refs/heads/main $(git commit-tree -p HEAD -m 'by the user' HEAD^{tree})",
    "git branch upstream $(git commit-tree -p HEAD -m 'upstream' HEAD^{tree})
     git update-ref refs/heads/main $(git commit-tree -p HEAD -m 'by the user' HEAD^{tree})
     git rebase -q upstream",
    "git branch upstream $(git commit-tree -p HEAD -m 'upstream' HEAD^{tree})
     echo more > user; git commit -q -m 'by the user' user; git rebase -q --autostash upstream",
];

#[test]
fn git_commands_at_any_step_lose_nothing() {
    for point in BEFORE.iter().chain(&AFTER) {
        for command in GIT {
            let sandbox = staged();
            let running = stopped_at(&sandbox, point);
            let typed = sandbox.program("sh").args(["-c", command]).run();
            let moved = sandbox.git(["log", "--format=%s", "-1"]) == "by the user";
            let stashed = sandbox.git(["stash", "list"]);
            let user = sandbox.read("user");
            let finished = go_on(running);
            let when = format!("{point}, {command}: {typed}\n{finished}");
            if finished.code() != Some(0) {
                assert_eq!(finished.code(), Some(5), "{when}");
                sandbox.mirror(COMMIT).succeeded();
            }
            let subjects = sandbox.git(["log", "--format=%s"]);
            assert!(subjects.contains("by the agent"), "{when}\n{subjects}");
            assert_eq!(subjects.contains("by the user"), moved, "{when}\n{subjects}");
            assert_eq!(sandbox.git(["stash", "list"]), stashed, "{when}");
            assert_eq!(sandbox.read("user"), user, "{when}");
            for path in ["a", "b", "new"] {
                assert_eq!(sandbox.read(path), format!("agent's {path}\n"), "{when}");
            }
            sandbox.try_git(["fsck", "--full", "--strict"]).succeeded();
            for leftover in ["index.lock", "rebase-merge", "rebase-apply"] {
                assert!(!sandbox.exists(format!(".git/{leftover}")), "{when}");
            }
        }
    }
}

#[test]
fn objects_that_git_prunes_before_they_are_needed_are_written_again() {
    let sandbox = staged();
    let running = stopped_at(&sandbox, "prepare.planned");
    sandbox.git(["gc", "-q", "--prune=now"]);
    go_on(running).succeeded();
    sandbox.try_git(["fsck", "--full", "--strict"]).succeeded();
}

/// Nothing keeps objects from `git gc --prune=now` that no ref reaches yet; but no ref is ever moved to what is gone.
#[test]
fn a_decided_commit_that_git_has_pruned_is_for_a_human() {
    let sandbox = staged();
    killed_at(&sandbox, "commit.decided");
    // As a user does who reads git's advice.
    for lock in [".git/index.lock", ".git/refs/heads/main.lock"] {
        fs::remove_file(sandbox.path(lock)).unwrap();
    }
    sandbox.git(["gc", "-q", "--prune=now"]);
    let tip = sandbox.git(["rev-parse", "HEAD"]);
    let recovered = sandbox.mirror(["recover"]);
    assert!(
        recovered.text().contains("git has pruned its commit"),
        "{recovered}"
    );
    assert_eq!(sandbox.git(["rev-parse", "HEAD"]), tip);
    sandbox.try_git(["fsck", "--full", "--strict"]).succeeded();
    sandbox.mirror(["rollback", "-t", "agent"]).succeeded();
    assert!(!sandbox.exists(".git/index.lock"));
}

#[test]
fn the_target_may_move_until_its_lock_is_taken() {
    for point in ["prepare.planned", "prepare.index-lock", "prepare.ref-lock"] {
        let sandbox = staged();
        let running = stopped_at(&sandbox, point);
        sandbox
            .shell("git update-ref refs/heads/main $(git commit-tree -p HEAD -m 'by the user' HEAD^{tree})");
        go_on(running).succeeded();
        let subjects = sandbox.git(["log", "--format=%s"]);
        assert_eq!(subjects, "by the agent\nby the user\nfirst", "{point}");
    }
}

#[test]
fn a_lock_file_of_git_is_waited_for_and_never_taken_away() {
    for lock in [".git/index.lock", ".git/refs/heads/main.lock"] {
        let sandbox = staged();
        fs::write(sandbox.path(lock), "").unwrap();
        let refused = sandbox.mirror(COMMIT);
        assert_ne!(refused.code(), Some(0), "{refused}");
        assert!(
            refused.stderr().contains(lock.rsplit('/').next().unwrap()),
            "{refused}"
        );
        assert!(sandbox.exists(lock), "{lock} is not ours");
        assert_eq!(sandbox.read("a"), "old a\n");
        fs::remove_file(sandbox.path(lock)).unwrap();
        sandbox.mirror(COMMIT).succeeded();
    }
}

#[test]
fn recovery_waits_for_a_lock_file_of_git_as_well() {
    for lock in [".git/index.lock", ".git/refs/heads/main.lock"] {
        let sandbox = staged();
        killed_at(&sandbox, "commit.decided");
        // As a user does who reads git's advice, and as git then does.
        fs::remove_file(sandbox.path(lock)).unwrap();
        fs::write(sandbox.path(lock), "").unwrap();
        let pending = sandbox.mirror(["recover"]);
        assert!(pending.text().contains("pending"), "{pending}");
        assert!(sandbox.exists(lock), "{lock} is not ours");
        fs::remove_file(sandbox.path(lock)).unwrap();
        sandbox.mirror(["recover"]).succeeded();
        assert_eq!(sandbox.git(["show", "HEAD:a"]), "agent's a");
        assert_eq!(sandbox.read("a"), "agent's a\n");
        assert!(!sandbox.exists(lock));
    }
}

#[test]
fn what_the_user_stages_between_a_crash_and_recovery_stays_staged() {
    let sandbox = staged();
    killed_at(&sandbox, "commit.decided");
    fs::remove_file(sandbox.path(".git/index.lock")).unwrap();
    sandbox.write("a", "by an editor\n");
    sandbox.git(["add", "a"]);
    let recovered = sandbox.mirror(["recover"]).succeeded();
    assert_eq!(sandbox.git(["show", ":a"]), "by an editor");
    assert_eq!(sandbox.git(["show", ":b"]), "agent's b");
    assert_kept(&sandbox, "by an editor\n", &recovered);
}

#[test]
fn a_commit_is_tried_again_when_git_lets_go_and_holds_nobody_up_meanwhile() {
    let sandbox = staged();
    sandbox
        .mirror(["begin", "-t", "other", "-w", "elsewhere", "--into", "side"])
        .exited(2);
    sandbox.git(["branch", "side"]);
    sandbox
        .mirror(["begin", "-t", "other", "-w", "elsewhere", "--into", "side"])
        .succeeded();
    let stage = sandbox
        .mirror_program()
        .args(["stage", "-t", "other", "elsewhere"]);
    stage.input("by the other\n").run().succeeded();
    fs::write(sandbox.path(".git/index.lock"), "").unwrap();
    let running = sandbox.mirror_program().args(COMMIT).start();
    running.until_stderr("trying the commit again");
    // This one needs no index, and the commit lock is free while the first one pauses or plans.
    sandbox
        .mirror(["commit", "-t", "other", "-m", "by the other"])
        .succeeded();
    fs::remove_file(sandbox.path(".git/index.lock")).unwrap();
    running.finish().succeeded();
    assert_eq!(sandbox.read("a"), "agent's a\n");
}

#[test]
fn without_retries_the_first_refusal_is_the_last() {
    let sandbox = staged();
    sandbox.write(".mirror/config.yaml", "resource_manager: {max_retries: 0}\n");
    fs::write(sandbox.path(".git/index.lock"), "").unwrap();
    let refused = sandbox.mirror(COMMIT).exited(1);
    assert!(!refused.stderr().contains("trying the commit again"), "{refused}");
    assert!(refused.stderr().contains("index.lock"), "{refused}");
}
