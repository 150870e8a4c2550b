//! A directory against what the task sees: every difference, and nothing else.

use std::fs;
use std::os::unix::fs::symlink as link;

use mirror::coordinator::{BranchChoice, Error};
use mirror::model::Kind;

use super::worker::{Worker, bytes, tree};
use crate::support::{Awkward, Sandbox};

const EVERYTHING: &[&str] = &["."];

/// Copies the working tree, without `.git` and `.mirror`, and runs a script in the copy.
fn copy(sandbox: &Sandbox, script: &str) -> std::path::PathBuf {
    sandbox.shell("rm -rf ../copy; mkdir ../copy; tar cf - --exclude=./.git --exclude=./.mirror . | tar xf - -C ../copy");
    sandbox.shell(&format!("cd ../copy; {script}"));
    sandbox.beside("copy")
}

fn files() -> Sandbox {
    let sandbox = Sandbox::with_files(&[
        ("a", "1\n"),
        ("same", "x\n"),
        ("d/b", "2\n"),
        ("d/c", "3\n"),
        ("run", "4\n"),
        ("f", "5\n"),
        (".gitignore", "*.o\n/build/\n"),
    ]);
    link("a", sandbox.path("l")).unwrap();
    sandbox.commit_all("link");
    sandbox
}

const EDITS: &str = "echo 11 > a; rm d/b; chmod +x run; ln -sf d l; rm f; mkdir f; echo in > f/in; mkdir -p n/m;
    printf '\\0\\r\\n' > n/m/new; : > empty; rm -r d; echo file > d; echo o > x.o; mkdir -p build; echo o > build/o";

const EDITED: [&str; 10] = [
    "modify a",
    "create d",
    "delete d/b",
    "delete d/c",
    "create empty",
    "delete f",
    "create f/in",
    "symlink l",
    "create n/m/new",
    "chmod run",
];

#[test]
fn every_difference_is_staged_and_what_is_ignored_is_not() {
    let sandbox = files();
    sandbox.write("own.o", "ignored");
    sandbox.write("untracked", "the user's");
    let copied = copy(&sandbox, &format!("{EDITS}; rm own.o untracked"));
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    let staged = worker.stage(tree(copied)).unwrap();
    assert_eq!(staged.changes.len(), EDITED.len());
    assert_eq!(worker.staged(), EDITED);
    assert_eq!(worker.diff("n/m/new").after.unwrap(), b"\0\r\n");
    assert!(worker.diff("run").change.post.unwrap().is_executable());
}

#[test]
fn on_a_branch_the_copy_is_compared_with_what_the_target_recorded() {
    let sandbox = files();
    let copied = copy(&sandbox, EDITS);
    sandbox.write("same", "changed by the user\n");
    fs::remove_file(sandbox.path("a")).unwrap();
    let mut worker = Worker::begin_with(&sandbox, "agent", EVERYTHING, BranchChoice::Always);
    worker.stage(tree(copied)).unwrap();
    assert_eq!(worker.staged(), EDITED);
}

#[test]
fn in_a_directory_without_git_every_file_counts() {
    let sandbox = Sandbox::directory();
    sandbox.write("a", "1\n");
    sandbox.write("d/b.o", "2\n");
    sandbox.write(".gitignore", "*.o\n");
    let copied = copy(&sandbox, "rm d/b.o; echo 11 > a; echo new > c.o");
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    worker.stage(tree(copied)).unwrap();
    assert_eq!(worker.staged(), ["modify a", "create c.o", "delete d/b.o"]);
}

#[test]
fn a_copy_that_differs_in_nothing_stages_nothing_and_takes_back_what_was_staged() {
    let sandbox = files();
    let copied = copy(&sandbox, "true");
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    assert!(worker.stage(tree(copied.clone())).unwrap().changes.is_empty());
    worker.stage(bytes("a", "staged\n")).unwrap();
    worker.stage(bytes("new", "staged\n")).unwrap();
    worker.stage(tree(copied)).unwrap();
    assert_eq!((worker.staged().len(), worker.objects()), (0, 0));
    // The same directory, not a copy.
    assert!(worker.stage(tree(sandbox.root())).unwrap().changes.is_empty());
}

#[test]
fn a_difference_outside_the_locks_is_named_and_nothing_is_staged() {
    let sandbox = files();
    let copied = copy(&sandbox, "echo 11 > a; echo x > new; rm d/c");
    let mut worker = Worker::begin(&sandbox, "agent", &["a"]);
    let refused = worker.stage(tree(copied.clone())).unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert_eq!(
        refused
            .paths()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["d/c", "new"]
    );
    assert_eq!((worker.staged().len(), worker.objects()), (0, 0));
    worker.stage_all(vec![tree(copied)], true).unwrap();
    assert_eq!(worker.staged(), ["modify a", "delete d/c", "create new"]);
}

#[test]
fn a_git_worktree_and_a_clone_are_copies_too() {
    let sandbox = files();
    sandbox.write("untracked", "the user's");
    sandbox.git(["worktree", "add", "--quiet", "--detach", "../worktree"]);
    sandbox.git(["clone", "--quiet", ".", "../clone"]);
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    for copied in ["worktree", "clone"] {
        assert!(
            worker
                .stage(tree(sandbox.beside(copied)))
                .unwrap()
                .changes
                .is_empty(),
            "{copied}"
        );
    }
    sandbox.write("../worktree/a", "11\n");
    worker.stage(tree(sandbox.beside("worktree"))).unwrap();
    assert_eq!(worker.staged(), ["modify a"]);
}

#[test]
fn repositories_inside_and_submodules_are_passed_over_and_new_ones_refused() {
    let sandbox = Awkward::Submodule.build();
    let copied = copy(&sandbox, "echo changed > nested/more; rm -rf sub");
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    assert!(worker.stage(tree(copied)).unwrap().changes.is_empty());
    let copied = copy(&sandbox, "git init -q added; : > added/f");
    let refused = worker.stage(tree(copied)).unwrap_err();
    assert!(matches!(refused, Error::Unchangeable { .. }), "{refused}");
    assert_eq!(refused.paths()[0].to_string(), "added");
}

#[test]
fn what_is_no_file_and_what_has_no_legal_name_is_refused_by_name() {
    let sandbox = files();
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    for (script, word) in [
        ("mkfifo pipe", "pipe"),
        ("mkdir sub; mkdir sub/.GIT; : > sub/.GIT/config", "sub/.GIT"),
        ("ln -s /etc/passwd out", "out"),
        ("ln -s ../../x d/out", "d/out"),
    ] {
        let copied = copy(&sandbox, script);
        let refused = worker.stage(tree(copied)).unwrap_err();
        assert_eq!(refused.kind(), Kind::Usage, "{script}: {refused}");
        assert!(refused.to_string().contains(word), "{script}: {refused}");
    }
    let missing = worker.stage(tree(sandbox.beside("missing"))).unwrap_err();
    assert!(matches!(missing, Error::Input { .. }), "{missing}");
    sandbox.write("../file", "x");
    let file = worker.stage(tree(sandbox.beside("file"))).unwrap_err();
    assert!(matches!(file, Error::Input { .. }), "{file}");
    assert_eq!((worker.staged().len(), worker.objects()), (0, 0));
}

#[test]
fn odd_names_come_through_as_they_are() {
    let sandbox = Awkward::OddNames.build();
    let copied = copy(
        &sandbox,
        "find . -type f -exec sh -c 'echo more >> \"$1\"' _ {} \\;",
    );
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    worker.stage(tree(copied)).unwrap();
    let tracked = sandbox.try_git(["ls-files", "-z"]).stdout_bytes().to_vec();
    let mut tracked: Vec<&[u8]> = tracked
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .collect();
    tracked.sort_unstable();
    let shown = worker.coordinator.show(&worker.task).unwrap();
    let staged: Vec<&[u8]> = shown
        .changes
        .iter()
        .map(|change| change.path.as_bytes())
        .collect();
    assert_eq!(staged, tracked);
}
