//! What the library says of repositories and does to them, compared with what the git program itself says.

use mirror::git::{Git, GitError, Head, IndexUpdate, Merge, NewCommit, Source};
use mirror::model::{FileMode, ObjectId, RepoPath, TreeEntry};

use crate::support::{Awkward, Sandbox};

fn path(text: impl Into<Vec<u8>>) -> RepoPath {
    RepoPath::new(text).unwrap()
}

fn open(sandbox: &Sandbox) -> Git {
    Git::open(&sandbox.root()).unwrap().unwrap()
}

fn head(sandbox: &Sandbox) -> ObjectId {
    sandbox.git(["rev-parse", "HEAD"]).parse().unwrap()
}

/// Commits `edits` (a path and its new text, `None` deletes it) on top of `base` without moving any ref.
fn commit(git: &Git, base: Option<ObjectId>, edits: &[(&str, Option<&str>)]) -> ObjectId {
    let mut objects = git.objects(git.root().join("../drafts")).unwrap();
    let edits: Vec<(RepoPath, Option<TreeEntry>)> = edits
        .iter()
        .map(|(name, text)| {
            let blob = text.map(|text| {
                objects
                    .blob(&path(*name), &Source::Bytes(text.into()), false)
                    .unwrap()
            });
            (path(*name), blob)
        })
        .collect();
    let tree = objects.commit_tree(base, &edits).unwrap();
    let parents = base.into_iter().collect();
    let commit = objects
        .commit(&NewCommit {
            tree,
            parents,
            message: "made by the test\n".into(),
        })
        .unwrap();
    objects.write().unwrap();
    commit
}

#[test]
fn kinds_that_would_be_misread_are_refused_by_name() {
    for (kind, word) in [
        (Awkward::Sha256, "sha256"),
        (Awkward::Reftable, "reftable"),
        (Awkward::SplitIndex, "split index"),
        (Awkward::SparseCheckout, "sparse"),
        (Awkward::SparseIndex, "sparse"),
        (Awkward::PartialClone, "partial clone"),
        (Awkward::Bare, "bare"),
    ] {
        let sandbox = kind.build();
        match Git::open(&sandbox.root()) {
            Err(GitError::Unsupported { feature, .. }) => {
                assert!(feature.contains(word), "{kind:?}: {feature}");
            }
            other => panic!("{kind:?}: {:?}", other.map(|git| git.is_some())),
        }
    }
}

#[test]
fn a_directory_without_git_is_no_error() {
    let sandbox = Sandbox::directory();
    assert!(Git::open(&sandbox.root()).unwrap().is_none());
}

#[test]
fn head_is_read_on_a_branch_unborn_detached_and_in_a_linked_worktree() {
    let sandbox = Sandbox::unborn();
    assert_eq!(
        open(&sandbox).head().unwrap(),
        Head::Branch {
            name: "refs/heads/main".into(),
            tip: None
        }
    );
    sandbox.commit_all("first");
    let tip = head(&sandbox);
    assert_eq!(
        open(&sandbox).head().unwrap(),
        Head::Branch {
            name: "refs/heads/main".into(),
            tip: Some(tip)
        }
    );
    sandbox.git(["pack-refs", "--all"]);
    assert_eq!(open(&sandbox).tip("refs/heads/main").unwrap(), Some(tip));

    let linked = sandbox.beside("linked");
    sandbox.git([
        "worktree",
        "add",
        "--quiet",
        "-b",
        "other",
        linked.to_str().unwrap(),
    ]);
    let other = Git::open(&linked).unwrap().unwrap();
    assert_eq!(other.head().unwrap().branch(), Some("refs/heads/other"));
    assert_eq!(other.main_root(), sandbox.root());
    assert_eq!(
        open(&sandbox).checked_out_elsewhere("refs/heads/other").unwrap(),
        Some(linked)
    );

    sandbox.git(["checkout", "--quiet", "--detach"]);
    assert_eq!(open(&sandbox).head().unwrap(), Head::Detached { tip });
}

#[test]
fn commits_are_whole_whether_they_are_loose_or_a_pack() {
    let sandbox = Sandbox::repository();
    let git = open(&sandbox);
    let small = commit(
        &git,
        Some(head(&sandbox)),
        &[("a/b/c.txt", Some("one\n")), ("README", None)],
    );
    let names: Vec<String> = (0..50).map(|number| format!("many/{number}.txt")).collect();
    let edits: Vec<(&str, Option<&str>)> = names
        .iter()
        .map(|name| (name.as_str(), Some(name.as_str())))
        .collect();
    let large = commit(&git, Some(small), &edits);
    sandbox.git(["update-ref", "refs/heads/made", &large.to_string()]);
    assert_eq!(sandbox.git(["fsck", "--full", "--strict", "--no-dangling"]), "");
    assert_eq!(sandbox.git(["show", "made:many/7.txt"]), "many/7.txt");
    assert_eq!(
        sandbox.git(["ls-tree", "-r", "--name-only", &small.to_string()]),
        "a/b/c.txt"
    );
    assert_eq!(
        sandbox
            .git(["count-objects", "-v"])
            .lines()
            .find(|line| line.starts_with("packs")),
        Some("packs: 1")
    );
}

#[test]
fn a_file_and_a_directory_may_change_places() {
    let sandbox = Sandbox::with_files(&[("x", "file\n"), ("d/inside", "one\n"), ("d/other", "two\n")]);
    let git = open(&sandbox);
    let edits = [
        ("d", Some("now a file\n")),
        ("d/inside", None),
        ("d/other", None),
        ("x", None),
        ("x/y", Some("deep\n")),
    ];
    let made = commit(&git, Some(head(&sandbox)), &edits);
    assert_eq!(
        sandbox.git(["ls-tree", "-r", "--name-only", &made.to_string()]),
        "d\nx/y"
    );
    assert_eq!(sandbox.git(["fsck", "--strict", "--no-dangling"]), "");
    let differences = git.difference(Some(head(&sandbox)), made).unwrap();
    let names: Vec<String> = differences
        .iter()
        .map(|difference| difference.path.to_string())
        .collect();
    assert_eq!(names, ["d", "d/inside", "d/other", "x", "x/y"]);
}

#[test]
fn odd_names_survive_every_list() {
    let sandbox = Awkward::OddNames.build();
    let git = open(&sandbox);
    let tracked = git.tracked(head(&sandbox)).unwrap();
    let listed = sandbox
        .try_git(["ls-tree", "-r", "-z", "--name-only", "HEAD"])
        .succeeded();
    let mut expected: Vec<RepoPath> = listed
        .stdout_bytes()
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(path)
        .collect();
    expected.sort();
    assert_eq!(
        tracked.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(),
        expected
    );
    let entries = git.entries(Some(head(&sandbox)), &expected).unwrap();
    assert!(entries.iter().all(Option::is_some));
}

#[test]
fn content_is_stored_and_checked_out_exactly_as_git_does_it() {
    let sandbox = Awkward::Conversions.build();
    let git = open(&sandbox);
    let tracked = git.tracked(head(&sandbox)).unwrap();
    assert!(!tracked.is_empty());
    for (path, entry) in &tracked {
        let file = sandbox.path(path.as_path());
        let name = path.to_string();
        let stored = git
            .stored_as(&[(path.clone(), Source::File(file.clone()), false)])
            .unwrap();
        let by_git = sandbox.git(["hash-object", &format!("--path={name}"), file.to_str().unwrap()]);
        assert_eq!(stored[0].id.to_string(), by_git, "{name}");
        let mut bytes = Vec::new();
        git.checkout_bytes(&[(path.clone(), *entry)], &mut |_, content| {
            content.read_to_end(&mut bytes).map(|_| ())
        })
        .unwrap();
        let by_git = sandbox
            .try_git(["cat-file", "--filters", &format!("HEAD:{name}")])
            .succeeded();
        assert_eq!(bytes, by_git.stdout_bytes(), "{name}");
    }
}

#[test]
fn disjoint_changes_merge_to_the_tree_that_git_makes() {
    let sandbox = Sandbox::with_files(&[
        ("a/one", "1\n"),
        ("a/two", "2\n"),
        ("b/three", "3\n"),
        ("c", "4\n"),
    ]);
    let git = open(&sandbox);
    let base = head(&sandbox);
    let ours = commit(
        &git,
        Some(base),
        &[("a/one", Some("ours\n")), ("b/new", Some("ours\n"))],
    );
    let theirs = commit(
        &git,
        Some(base),
        &[
            ("a/two", None),
            ("c", Some("theirs\n")),
            ("b/three", Some("theirs\n")),
        ],
    );
    let mut objects = git.objects(git.root().join("../drafts")).unwrap();
    let Merge::Clean { tree } = git.merge(base, ours, theirs, &mut objects).unwrap() else {
        panic!("a conflict")
    };
    objects.write().unwrap();
    let by_git = sandbox.git([
        "merge-tree",
        "--write-tree",
        &ours.to_string(),
        &theirs.to_string(),
    ]);
    assert_eq!(tree.to_string(), by_git);
}

#[test]
fn overlapping_changes_merge_as_git_merges_them_and_conflicts_name_both_sides() {
    let lines = |changed: usize, text: &str| -> String {
        (0..30)
            .map(|line| {
                if line == changed {
                    format!("{text}\n")
                } else {
                    format!("line {line}\n")
                }
            })
            .collect()
    };
    let sandbox = Sandbox::with_files(&[("file", &lines(99, "")), ("dir/kept", "x\n"), ("dir/old", "y\n")]);
    let git = open(&sandbox);
    let base = head(&sandbox);
    let ours = commit(&git, Some(base), &[("file", Some(&lines(3, "ours")))]);
    let theirs = commit(&git, Some(base), &[("file", Some(&lines(20, "theirs")))]);
    let mut objects = git.objects(git.root().join("../drafts")).unwrap();
    let Merge::Clean { tree } = git.merge(base, ours, theirs, &mut objects).unwrap() else {
        panic!("a conflict")
    };
    let by_git = sandbox.git([
        "merge-tree",
        "--write-tree",
        &ours.to_string(),
        &theirs.to_string(),
    ]);
    assert_eq!(tree.to_string(), by_git);

    let clash = commit(&git, Some(base), &[("file", Some(&lines(3, "theirs")))]);
    let Merge::Conflict(conflicts) = git.merge(base, ours, clash, &mut objects).unwrap() else {
        panic!("no conflict")
    };
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].path, path("file"));
    assert!(conflicts[0].base.is_some() && conflicts[0].ours.is_some() && conflicts[0].theirs.is_some());
    assert_ne!(conflicts[0].ours, conflicts[0].theirs);
}

#[test]
fn the_index_follows_for_exactly_the_named_paths() {
    let sandbox = Sandbox::with_files(&[("mine", "old\n"), ("gone", "old\n"), ("users", "old\n")]);
    let git = open(&sandbox);
    let base = head(&sandbox);
    sandbox.write("users", "staged by the user\n");
    sandbox.git(["add", "users"]);
    let made = commit(
        &git,
        Some(base),
        &[("mine", Some("new\n")), ("gone", None), ("fresh", Some("new\n"))],
    );
    for (name, text) in [("mine", "new\n"), ("fresh", "new\n")] {
        sandbox.write(name, text);
    }
    std::fs::remove_file(sandbox.path("gone")).unwrap();
    let updates: Vec<IndexUpdate> = git
        .difference(Some(base), made)
        .unwrap()
        .into_iter()
        .map(|found| IndexUpdate {
            path: found.path,
            before: found.before,
            after: found.after,
        })
        .collect();
    let aside = sandbox.beside("index");
    git.write_index(&aside, &updates).unwrap();
    std::fs::rename(&aside, git.index_path()).unwrap();
    sandbox.git(["update-ref", "refs/heads/main", &made.to_string()]);
    assert_eq!(sandbox.git(["status", "--porcelain"]), "M  users");
    // Without looking into the files: the numbers alone say that they are clean.
    assert_eq!(sandbox.git(["diff-files", "--name-only"]), "");
    assert_eq!(
        git.index().unwrap().entry(&path("mine")).unwrap().mode,
        FileMode::Regular
    );
    assert!(git.index().unwrap().entry(&path("gone")).is_none());
}

#[test]
fn an_entry_that_the_user_staged_meanwhile_stays() {
    let sandbox = Sandbox::with_files(&[("file", "old\n")]);
    let git = open(&sandbox);
    let base = head(&sandbox);
    let made = commit(&git, Some(base), &[("file", Some("new\n"))]);
    sandbox.write("file", "the user's\n");
    sandbox.git(["add", "file"]);
    let users = git.index().unwrap().entry(&path("file"));
    let found = git.difference(Some(base), made).unwrap().remove(0);
    let aside = sandbox.beside("index");
    git.write_index(
        &aside,
        &[IndexUpdate {
            path: found.path,
            before: found.before,
            after: found.after,
        }],
    )
    .unwrap();
    std::fs::rename(&aside, git.index_path()).unwrap();
    assert_eq!(git.index().unwrap().entry(&path("file")), users);
}

#[test]
fn reflogs_get_the_line_that_git_would_write_and_only_once() {
    let sandbox = Sandbox::repository();
    let git = open(&sandbox);
    let base = head(&sandbox);
    let made = commit(&git, Some(base), &[("file", Some("new\n"))]);
    for _ in 0..2 {
        git.append_reflog("refs/heads/main", Some(base), made, "commit (mirror): test")
            .unwrap();
    }
    sandbox.git([
        "-c",
        "core.logAllRefUpdates=false",
        "update-ref",
        "refs/heads/main",
        &made.to_string(),
    ]);
    let log = sandbox.read(".git/logs/refs/heads/main");
    assert_eq!(log.lines().filter(|line| line.contains("(mirror)")).count(), 1);
    assert!(
        sandbox
            .git(["reflog", "show", "main"])
            .contains("commit (mirror): test")
    );
    assert!(
        sandbox
            .git(["reflog", "show", "HEAD"])
            .contains("commit (mirror): test")
    );
}

fn make_branch(sandbox: &Sandbox, git: &Git, name: &str, tip: ObjectId) -> Result<(), GitError> {
    let draft = sandbox.beside("draft");
    std::fs::write(&draft, format!("{tip}\n")).unwrap();
    let made = git.create_branch(name, &draft);
    std::fs::remove_file(draft).unwrap();
    made
}

#[test]
fn a_task_branch_comes_moves_and_goes_without_a_trace() {
    let sandbox = Sandbox::repository();
    let git = open(&sandbox);
    let base = head(&sandbox);
    let name = "refs/heads/mirror/agent-1/0190f3a4-0000-7000-8000-000000000001";
    make_branch(&sandbox, &git, name, base).unwrap();
    assert_eq!(
        git.branches("refs/heads/mirror/").unwrap(),
        [(name.to_owned(), base)]
    );
    let made = commit(&git, Some(base), &[("file", Some("new\n"))]);
    sandbox.git(["update-ref", name, &made.to_string()]);
    git.delete_branch(name, base).unwrap();
    assert_eq!(git.tip(name).unwrap(), Some(made), "moved meanwhile, so it stays");
    git.delete_branch(name, made).unwrap();
    assert_eq!(git.tip(name).unwrap(), None);
    assert!(!sandbox.exists(".git/refs/heads/mirror"));

    make_branch(&sandbox, &git, name, made).unwrap();
    sandbox.git(["pack-refs", "--all"]);
    git.delete_branch(name, made).unwrap();
    assert_eq!(sandbox.git(["for-each-ref", "refs/heads/mirror"]), "");
}

#[test]
fn a_branch_in_the_way_is_named() {
    let sandbox = Sandbox::repository();
    sandbox.git(["branch", "mirror"]);
    let git = open(&sandbox);
    let refused = make_branch(&sandbox, &git, "refs/heads/mirror/agent-1/x", head(&sandbox));
    assert!(matches!(refused, Err(GitError::Branch { .. })), "{refused:?}");
}

#[test]
fn the_exclude_line_is_added_once() {
    let sandbox = Sandbox::repository();
    let git = open(&sandbox);
    std::fs::write(sandbox.path(".git/info/exclude"), "mine").unwrap();
    git.exclude(".mirror").unwrap();
    git.exclude(".mirror").unwrap();
    assert_eq!(sandbox.read(".git/info/exclude"), "mine\n/.mirror/\n");
}

/// Which options a program of git's has depends on its version: every git that there is has to do.
#[test]
fn both_sides_of_a_file_are_merged_by_every_git_there_is() {
    let search_path = std::env::var_os("PATH").unwrap();
    let usual = ["/usr/bin", "/usr/local/bin"].map(std::path::PathBuf::from);
    let mut gits: Vec<_> = std::env::split_paths(&search_path).chain(usual).collect();
    gits.retain(|directory| directory.join("git").is_file());
    gits.sort();
    gits.dedup();
    assert!(!gits.is_empty());
    for directory in gits {
        let sandbox = Sandbox::with_files(&[("f", "1\n2\n3\n4\n5\n6\n7\n")]);
        let path = std::env::join_paths(
            [directory.clone()]
                .into_iter()
                .chain(std::env::split_paths(&search_path)),
        );
        let path = path.unwrap();
        let mirror = |arguments: &[&str]| sandbox.mirror_program().args(arguments).env("PATH", &path);
        mirror(&["init"]).run().succeeded();
        let begin = ["begin", "-t", "agent", "-w", "f", "--branch"];
        mirror(&begin).run().succeeded();
        let stage = mirror(&["stage", "-t", "agent", "f"]).input("1\n2\n3\n4\n5\n6\nseven\n");
        stage.run().succeeded();
        sandbox.write("f", "one\n2\n3\n4\n5\n6\n7\n");
        sandbox.git(["commit", "-qam", "by hand"]);
        mirror(&["commit", "-t", "agent", "-m", "work"]).run().succeeded();
        assert_eq!(
            sandbox.read("f"),
            "one\n2\n3\n4\n5\n6\nseven\n",
            "{}",
            directory.display()
        );
    }
}
