//! Diffs: whatever git writes, staging makes of it what git would.

use std::fs;
use std::os::unix::fs::symlink as link;

use mirror::coordinator::{BranchChoice, Error};
use mirror::model::Kind;

use super::worker::{Worker, bytes, patch};
use crate::support::Sandbox;

const EVERYTHING: &[&str] = &["."];

/// A repository whose first commit is checked out, and the diff to its second, which does everything that git knows.
fn every_kind_of_change() -> (Sandbox, Vec<u8>) {
    let sandbox = Sandbox::unborn();
    let numbers = (0..30).fold(String::new(), |text, number| format!("{text}{number}\n"));
    for name in [
        "modified",
        "renamed",
        "copied",
        "d/sp ace",
        "gone",
        "exec",
        "to-directory",
        "crlf",
    ] {
        sandbox.write(name, format!("{name}\r\n{numbers}"));
    }
    sandbox.write("directory/a", "1\n");
    sandbox.write("directory/b", "2\n");
    sandbox.write("binary", [0, 1, 2, 255].repeat(200));
    sandbox.write("tab\tquote\"", "odd\n");
    link("modified", sandbox.path("retargeted")).unwrap();
    link("modified", sandbox.path("to-file")).unwrap();
    sandbox.commit_all("before");
    sandbox.shell(
        "sed -i s/7/seven/ modified 'd/sp ace' crlf; mv renamed moved; echo x >> moved; cp copied copy; echo y >> copied
         rm gone; chmod +x exec; rm to-directory; mkdir to-directory; echo in > to-directory/file
         rm -r directory; echo file > directory; ln -sf crlf retargeted; rm to-file; echo f > to-file
         printf '\\0\\1more' >> binary; : > empty; printf 'no end' > unfinished; echo new > 'tab\tquote\"'
         mkdir -p deep/er; echo z > deep/er/z; ln -s nowhere/at/all link; printf '#!/bin/sh\\n' > tool; chmod +x tool",
    );
    sandbox.commit_all("after");
    let diff = sandbox
        .try_git([
            "diff",
            "--binary",
            "-M",
            "-C",
            "--find-copies-harder",
            "HEAD~",
            "HEAD",
        ])
        .stdout_bytes()
        .to_vec();
    sandbox.git(["branch", "after"]);
    sandbox.git(["reset", "--hard", "--quiet", "HEAD~"]);
    (sandbox, diff)
}

/// Compares what is staged with the commit that the diff leads to.
#[track_caller]
fn assert_leads_to_after(sandbox: &Sandbox, worker: &mut Worker) {
    let changed = sandbox.git([
        "-c",
        "core.quotePath=false",
        "diff",
        "--no-renames",
        "--name-only",
        "-z",
        "main",
        "after",
    ]);
    let mut expected: Vec<&str> = changed.split('\0').filter(|name| !name.is_empty()).collect();
    expected.sort_unstable();
    let diffs = worker.coordinator.diff(&worker.task).unwrap();
    let staged: Vec<&str> = diffs
        .iter()
        .map(|diff| std::str::from_utf8(diff.change.path.as_bytes()).unwrap())
        .collect();
    assert_eq!(staged, expected);
    for diff in &diffs {
        let name = std::str::from_utf8(diff.change.path.as_bytes()).unwrap();
        let mode = sandbox.git(["ls-tree", "--format=%(objectmode)", "after", "--", name]);
        // What became a directory is no file any more.
        let mode = mode.replace("040000", "");
        let found = diff
            .change
            .post
            .map_or("", |post| match (post.is_symlink(), post.is_executable()) {
                (true, _) => "120000",
                (_, true) => "100755",
                _ => "100644",
            });
        assert_eq!(found, mode, "{name}");
        if let Some(after) = &diff.after {
            let content = sandbox.try_git(["cat-file", "blob", &format!("after:{name}")]);
            assert_eq!(after, content.stdout_bytes(), "{name}");
        }
    }
}

#[test]
fn every_kind_of_change_arrives_as_git_would_make_it() {
    let (sandbox, diff) = every_kind_of_change();
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    worker.stage(patch(&diff)).unwrap();
    assert_leads_to_after(&sandbox, &mut worker);
    let staged = worker.staged();
    for expected in [
        "move moved from renamed",
        "move renamed to moved",
        "create copy",
        "create directory",
        "delete directory/a",
        "delete to-directory",
        "chmod exec",
    ] {
        assert!(
            staged.iter().any(|line| line == expected),
            "{expected}: {staged:?}"
        );
    }
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
}

#[test]
fn a_directory_without_git_and_a_branch_take_the_same_diff() {
    let (sandbox, diff) = every_kind_of_change();
    let mut worker = Worker::begin_with(&sandbox, "branch", EVERYTHING, BranchChoice::Always);
    // What lies around does not matter to a branch.
    sandbox.shell("rm -r d modified");
    worker.stage(patch(&diff)).unwrap();
    assert_leads_to_after(&sandbox, &mut worker);
    worker.coordinator.rollback(&worker.task).unwrap();

    sandbox.git(["reset", "--hard", "--quiet"]);
    let plain = Sandbox::directory();
    sandbox.shell(&format!(
        "tar cf - --exclude=.git --exclude=.mirror . | tar xf - -C '{}'",
        plain.root().display()
    ));
    let mut worker = Worker::begin(&plain, "plain", EVERYTHING);
    worker.stage(patch(&diff)).unwrap();
    assert_leads_to_after(&sandbox, &mut worker);
}

#[test]
fn a_second_diff_applies_to_what_the_first_one_staged() {
    let sandbox = Sandbox::with_files(&[("a", "1\n2\n3\n")]);
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    let diff = |old: &str, new: &str| format!("--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n 1\n-{old}\n+{new}\n 3\n");
    worker.stage(patch(diff("2", "two"))).unwrap();
    worker.stage(patch(diff("two", "TWO"))).unwrap();
    assert_eq!(worker.diff("a").after.unwrap(), b"1\nTWO\n3\n");
    assert_eq!(worker.diff("a").before.unwrap(), b"1\n2\n3\n");
    worker.stage(patch(diff("TWO", "2"))).unwrap();
    assert_eq!((worker.staged().len(), worker.objects()), (0, 0));
}

#[test]
fn a_diff_that_does_not_apply_is_refused_in_gits_words_and_nothing_is_staged() {
    let sandbox = Sandbox::with_files(&[("a", "1\n2\n3\n"), ("b", "1\n")]);
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    worker.stage(bytes("c", "kept")).unwrap();
    let good = "diff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1 +1 @@\n-1\n+one\n";
    let bad = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n 1\n-zwei\n+two\n 3\n";
    let there = "diff --git a/b b/b\nnew file mode 100644\n--- /dev/null\n+++ b/b\n@@ -0,0 +1 @@\n+x\n";
    for (diff, word) in [
        (format!("{good}{bad}"), "patch does not apply"),
        (there.to_owned(), "already exists"),
        ("nothing like a diff\n".to_owned(), "No valid patches"),
        (String::new(), "No valid patches"),
        (good.replace("-1\n", ""), "corrupt patch"),
    ] {
        let refused = worker.stage(patch(&diff)).unwrap_err();
        assert!(
            matches!(&refused, Error::Patch { reason } if reason.contains(word)),
            "{word}: {refused}"
        );
        assert_eq!(refused.kind(), Kind::Usage);
    }
    assert_eq!(
        (worker.staged(), worker.objects()),
        (vec!["create c".to_owned()], 1)
    );
}

#[test]
fn a_diff_that_reaches_outside_or_into_git_is_refused_whatever_it_does_there() {
    let sandbox = Sandbox::with_files(&[("a", "1\n")]);
    sandbox.write("../outside", "1\n");
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    for target in [
        "../outside",
        ".git/config",
        ".mirror/config.yaml",
        "a/../../outside",
        ".GIT/hooks/x",
        "/etc/x",
    ] {
        let old = sandbox.path("a");
        assert!(old.exists());
        for diff in [
            format!(
                "diff --git a/{target} b/{target}\n--- a/{target}\n+++ b/{target}\n@@ -1 +1 @@\n-1\n+2\n"
            ),
            format!("diff --git a/a b/{target}\nsimilarity index 100%\nrename from a\nrename to {target}\n"),
            format!("diff --git a/{target} b/b\nsimilarity index 100%\ncopy from {target}\ncopy to b\n"),
            format!(
                "diff --git a/{target} b/{target}\nnew file mode 100644\n--- /dev/null\n+++ b/{target}\n@@ -0,0 +1 @@\n+x\n"
            ),
        ] {
            let refused = worker.stage(patch(&diff)).unwrap_err();
            assert_eq!(refused.kind(), Kind::Usage, "{target}: {refused}");
        }
    }
    assert_eq!(worker.staged(), [""; 0]);
    assert_eq!(sandbox.read("../outside"), "1\n");
}

#[test]
fn a_diff_cannot_write_through_a_symlink_that_it_brings() {
    let sandbox = Sandbox::with_files(&[("a", "1\n")]);
    fs::create_dir(sandbox.beside("away")).unwrap();
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    let link = "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+../away\n\\ No newline at end of file\n";
    let below = "diff --git a/l/x b/l/x\nnew file mode 100644\n--- /dev/null\n+++ b/l/x\n@@ -0,0 +1 @@\n+x\n";
    let refused = worker.stage(patch(format!("{link}{below}"))).unwrap_err();
    assert_eq!(refused.kind(), Kind::Usage, "{refused}");
    let refused = worker.stage(patch(link)).unwrap_err();
    assert!(matches!(refused, Error::Unchangeable { .. }), "{refused}");
    assert_eq!(worker.staged(), [""; 0]);
    assert_eq!(fs::read_dir(sandbox.beside("away")).unwrap().count(), 0);
}

#[test]
fn every_path_of_a_diff_needs_its_lock_but_not_the_source_of_a_copy() {
    let (sandbox, _) = every_kind_of_change();
    let copy = "diff --git a/copied b/copy\nsimilarity index 100%\ncopy from copied\ncopy to copy\n";
    let rename =
        "diff --git a/renamed b/moved\nsimilarity index 100%\nrename from renamed\nrename to moved\n";
    let mut worker = Worker::begin(&sandbox, "agent", &["copy", "moved"]);
    let refused = worker.stage(patch(format!("{copy}{rename}"))).unwrap_err();
    assert!(matches!(refused, Error::NotLocked { .. }), "{refused}");
    assert_eq!(
        refused
            .paths()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["renamed"]
    );
    worker.stage(patch(copy)).unwrap();
    worker.stage_all(vec![patch(rename)], true).unwrap();
    assert_eq!(
        worker.staged(),
        ["create copy", "move moved from renamed", "move renamed to moved"]
    );
}

#[test]
fn line_ends_are_what_the_repository_says_and_not_what_the_user_prefers() {
    let sandbox = Sandbox::with_files(&[
        (".gitattributes", "*.txt text eol=crlf\n*.raw -text\n"),
        ("a.txt", "1\n2\n3\n"),
        ("b.raw", "1\n2\n3\n"),
    ]);
    sandbox.git(["config", "apply.whitespace", "fix"]);
    sandbox.shell("rm a.txt; git checkout a.txt");
    assert_eq!(sandbox.read("a.txt"), "1\r\n2\r\n3\r\n");
    sandbox.shell("printf '1\\r\\n2 \\r\\nthree\\r\\n' > a.txt; printf '1\\n2 \\nthree\\n' > b.raw");
    let diff = sandbox.try_git(["diff"]).stdout_bytes().to_vec();
    sandbox.git(["checkout", "--quiet", "."]);
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    worker.stage(patch(&diff)).unwrap();
    assert_eq!(worker.diff("a.txt").after.unwrap(), b"1\r\n2 \r\nthree\r\n");
    assert_eq!(worker.diff("b.raw").after.unwrap(), b"1\n2 \nthree\n");
}

#[test]
fn a_diff_of_another_tool_without_git_headers_works_as_well() {
    let sandbox = Sandbox::with_files(&[("src/a.c", "1\n2\n3\n"), ("old.c", "x\n")]);
    sandbox.shell("cp -r . ../copy; cd ../copy; rm -rf .git old.c; sed -i s/2/two/ src/a.c; echo n > new.c");
    let diff = sandbox
        .program("diff")
        .args(["-ruN", "-x", ".git", "root", "copy"])
        .at(sandbox.beside("."))
        .run();
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    worker.stage(patch(diff.stdout_bytes())).unwrap();
    assert_eq!(
        worker.staged(),
        ["create new.c", "delete old.c", "modify src/a.c"]
    );
}

#[test]
fn nothing_of_a_diff_is_left_lying_about() {
    let (sandbox, diff) = every_kind_of_change();
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    worker.stage(patch(&diff)).unwrap();
    worker.stage(patch("nonsense")).unwrap_err();
    let left = sandbox.shell("find .mirror/transactions/*/patching -mindepth 1");
    assert_eq!(left, "");
}
