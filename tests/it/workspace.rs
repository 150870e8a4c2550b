//! `.mirror` in the middle of a working tree: git neither shows it, nor takes it along, nor cleans it away.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mirror::workspace::{Layout, WorkspaceError};

use crate::support::Sandbox;

/// Makes `.mirror` with something in every corner that git could lose, and returns the listing to compare with.
fn with_mirror(sandbox: &Sandbox) -> String {
    let (layout, _) = Layout::create(&sandbox.root()).unwrap();
    fs::create_dir_all(layout.transactions().join("t/s")).unwrap();
    fs::write(layout.transactions().join("t/s/0"), "staged bytes\n").unwrap();
    fs::write(layout.registry(), "rows").unwrap();
    listing(sandbox)
}

fn listing(sandbox: &Sandbox) -> String {
    sandbox.shell("find .mirror -printf '%P %M %s\\n' | sort")
}

#[test]
fn git_clean_and_stash_pass_over_it_with_or_without_the_exclude_line() {
    for exclude in ["", "/.mirror/\n"] {
        let sandbox = Sandbox::with_files(&[("a", "one\n"), (".gitignore", "ignored\n")]);
        let before = with_mirror(&sandbox);
        sandbox.write(".git/info/exclude", exclude);
        let litter = |sandbox: &Sandbox| {
            sandbox.write("a", "changed\n");
            sandbox.write("untracked", "x");
            sandbox.write("ignored", "x");
        };

        litter(&sandbox);
        sandbox.git(["clean", "-xdf", "--quiet"]);
        assert!(!sandbox.exists("untracked") && !sandbox.exists("ignored"));
        assert_eq!(listing(&sandbox), before, "git clean, exclude {exclude:?}");

        litter(&sandbox);
        sandbox.git(["stash", "push", "--all", "--quiet"]);
        assert!(!sandbox.exists("untracked") && !sandbox.exists("ignored"));
        assert_eq!(listing(&sandbox), before, "git stash, exclude {exclude:?}");
        let stashed = sandbox.git(["ls-tree", "-r", "--name-only", "stash@{0}^3"]);
        assert_eq!(stashed, "ignored\nuntracked", "git stash, exclude {exclude:?}");

        sandbox.git(["stash", "pop", "--quiet"]);
        sandbox.git(["reset", "--hard", "--quiet"]);
        sandbox.git(["checkout", "--quiet", "-b", "other"]);
        sandbox.git(["gc", "--quiet", "--prune=now"]);
        assert_eq!(listing(&sandbox), before, "the rest, exclude {exclude:?}");
    }
}

#[test]
fn git_neither_shows_nor_adds_it() {
    let sandbox = Sandbox::repository();
    with_mirror(&sandbox);
    fs::write(sandbox.path(".git/info/exclude"), "/.mirror/\n").unwrap();
    assert_eq!(
        sandbox.git(["status", "--porcelain", "--untracked-files=all"]),
        ""
    );
    sandbox.git(["add", "--all"]);
    assert_eq!(sandbox.git(["diff", "--cached", "--name-only"]), "");
}

#[test]
fn nobody_else_may_enter_and_a_link_in_its_place_is_refused() {
    let sandbox = Sandbox::directory();
    let (layout, _) = Layout::create(&sandbox.root()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for directory in [
        layout.directory().to_owned(),
        layout.transactions(),
        layout.wake(),
        layout.quarantines(),
    ] {
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
    }
    let moved = sandbox.beside("moved");
    fs::rename(layout.directory(), &moved).unwrap();
    std::os::unix::fs::symlink(&moved, layout.directory()).unwrap();
    assert!(matches!(
        Layout::open(&sandbox.root()),
        Err(WorkspaceError::Foreign { .. })
    ));
    assert!(matches!(
        Layout::create(&sandbox.root()),
        Err(WorkspaceError::Foreign { .. })
    ));
}

#[test]
fn a_kill_at_any_point_of_its_making_is_completed_by_the_next_one() {
    let sandbox = Sandbox::directory();
    let (layout, _) = Layout::create(&sandbox.root()).unwrap();
    layout.complete().unwrap();
    let whole = listing(&sandbox);
    // Everything that is made, in any combination of already there and still missing, apart from what tells that it was
    // made here: that comes first.
    let parts = ["format", ".git/refs", "worktrees", "quarantine", "wake"];
    for missing in 0..1 << parts.len() {
        for (index, part) in parts
            .iter()
            .enumerate()
            .filter(|(index, _)| missing >> index & 1 == 1)
        {
            let path = layout.directory().join(part);
            let removed = if path.is_dir() {
                fs::remove_dir(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.unwrap_or_else(|error| panic!("{index} {part}: {error}"));
        }
        let (layout, is_new) = Layout::create(&sandbox.root()).unwrap();
        assert_eq!(is_new, missing & 1 == 1, "{missing:b}");
        if is_new {
            layout.complete().unwrap();
        }
        assert_eq!(listing(&sandbox), whole, "{missing:b}");
    }
}
