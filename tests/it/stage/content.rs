//! Contents in, base beside them, and the same bytes out again.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink as link};

use mirror::coordinator::{BranchChoice, Error};
use mirror::model::Entry;

use super::worker::{Worker, bytes, chmod, delete, file, symlink, words};
use crate::support::{Sandbox, at_once};

#[test]
fn every_kind_of_content_survives_exactly_and_nobody_sees_it() {
    let sandbox = Sandbox::with_files(&[("a", "old\n")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["a", "b/", "run", "l"]);
    let large = (0..300_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    let contents: [(&str, &[u8]); 5] = [
        ("a", b"one\r\ntwo\r\n"),
        ("b/empty", b""),
        ("b/binary", b"\0\xff\r\n\0"),
        ("b/no newline", b"x"),
        ("b/large", &large),
    ];
    for (path, content) in contents {
        let staged = worker.stage(bytes(path, content)).unwrap();
        assert_eq!(staged.changes.len(), 1);
        assert_eq!(worker.diff(path).after.unwrap(), content, "{path}");
    }
    sandbox.write_executable("../tool", "#!/bin/sh\n");
    worker.stage(file("run", sandbox.beside("tool"))).unwrap();
    assert!(worker.diff("run").change.post.unwrap().is_executable());
    worker.stage(symlink("l", "nowhere/at all")).unwrap();
    assert_eq!(worker.diff("l").after.unwrap(), b"nowhere/at all");
    assert_eq!(
        worker.staged(),
        [
            "modify a",
            "create b/binary",
            "create b/empty",
            "create b/large",
            "create b/no newline",
            "symlink l",
            "create run"
        ]
    );
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
}

#[test]
fn the_first_base_stays_however_often_the_path_is_staged() {
    let sandbox = Sandbox::with_files(&[("a", "first\n")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["a"]);
    worker.stage(bytes("a", "one\n")).unwrap();
    let first = worker.diff("a");
    sandbox.write("a", "somebody else's\n");
    worker.stage(bytes("a", "two\n")).unwrap();
    let second = worker.diff("a");
    assert_eq!(first.change.base, second.change.base);
    assert_eq!(
        (first.before.unwrap(), first.base_changed),
        (b"first\n".to_vec(), false)
    );
    assert_eq!(
        (second.after.unwrap(), second.base_changed),
        (b"two\n".to_vec(), true)
    );
    assert_eq!(worker.objects(), 1);
}

#[test]
fn what_equals_the_base_is_no_change_and_takes_an_earlier_one_back() {
    let sandbox = Sandbox::with_files(&[("a", "old\n"), ("b", "old\n")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["a", "b", "c"]);
    let nothing = worker.stage(bytes("a", "old\n")).unwrap();
    assert!(nothing.changes.is_empty());
    worker.stage(bytes("b", "new\n")).unwrap();
    worker.stage(bytes("c", "new\n")).unwrap();
    worker.stage(bytes("b", "old\n")).unwrap();
    worker.stage(delete("c")).unwrap();
    assert_eq!(worker.staged(), [""; 0]);
    assert_eq!(worker.objects(), 0);
}

#[test]
fn an_edit_keeps_a_script_executable_and_chmod_changes_only_the_bit() {
    let sandbox = Sandbox::unborn();
    sandbox.write_executable("run", "old\n");
    sandbox.write("plain", "same\n");
    sandbox.commit_all("scripts");
    let mut worker = Worker::begin(&sandbox, "agent", &["run", "plain"]);
    sandbox.write("../new", "new\n");
    worker.stage(file("run", sandbox.beside("new"))).unwrap();
    assert!(worker.diff("run").change.post.unwrap().is_executable());
    worker.stage(bytes("run", "newer\n")).unwrap();
    assert!(worker.diff("run").change.post.unwrap().is_executable());
    worker.stage(chmod("run", false)).unwrap();
    assert_eq!(worker.diff("run").after.unwrap(), b"newer\n");
    assert!(!worker.diff("run").change.post.unwrap().is_executable());
    worker.stage(chmod("plain", true)).unwrap();
    assert_eq!(worker.staged(), ["chmod plain", "modify run"]);
    assert_eq!(worker.diff("plain").after.unwrap(), b"same\n");
}

#[test]
fn a_symlink_is_staged_as_a_symlink_wherever_it_leads() {
    let sandbox = Sandbox::with_files(&[("a", "text\n")]);
    link("a", sandbox.path("here")).unwrap();
    link("/etc/passwd", sandbox.path("away")).unwrap();
    sandbox.commit_all("links");
    let mut worker = Worker::begin(&sandbox, "agent", &["here", "away", "new", "out"]);
    link("a", sandbox.beside("source")).unwrap();
    worker.stage(file("new", sandbox.beside("source"))).unwrap();
    assert!(matches!(
        worker.diff("new").change.post,
        Some(Entry::Symlink { size: 1, .. })
    ));
    worker.stage(bytes("here", "now a file\n")).unwrap();
    assert!(matches!(
        worker.diff("here").change.base,
        Some(Entry::Symlink { .. })
    ));
    // One that leads out may stay and go, but not come.
    assert!(
        worker
            .stage(symlink("away", "/etc/passwd"))
            .unwrap()
            .changes
            .is_empty()
    );
    for target in ["/etc/passwd", "../outside", "a/../../outside"] {
        let refused = worker.stage(symlink("out", target)).unwrap_err();
        assert!(
            matches!(refused, Error::Unchangeable { .. }),
            "{target}: {refused}"
        );
    }
    worker.stage(delete("away")).unwrap();
    assert_eq!(worker.staged(), ["delete away", "modify here", "symlink new"]);
}

#[test]
fn a_directory_is_deleted_with_all_its_files_but_not_with_what_git_ignores() {
    let sandbox = Sandbox::with_files(&[
        ("d/a", "1"),
        ("d/e/b", "2"),
        ("kept", "3"),
        (".gitignore", "*.o\n"),
    ]);
    sandbox.write("d/e/untracked", "4");
    sandbox.write("d/e/b.o", "5");
    let mut worker = Worker::begin(&sandbox, "agent", &["d/"]);
    worker.stage(bytes("d/new", "6")).unwrap();
    let staged = worker.stage(delete("d")).unwrap();
    let expected = ["delete d/a", "delete d/e/b", "delete d/e/untracked"];
    assert_eq!(staged.changes.iter().map(words).collect::<Vec<_>>(), expected);
    assert_eq!(worker.staged(), expected);
}

#[test]
fn a_file_takes_the_place_of_a_directory_only_when_all_in_it_goes() {
    let sandbox = Sandbox::with_files(&[("d/a", "1"), ("d/b", "2"), ("f", "3")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["d/", "d", "f", "f/"]);
    assert!(matches!(
        worker.stage(bytes("d", "file")),
        Err(Error::InTheWay { .. })
    ));
    worker.stage(delete("d/a")).unwrap();
    assert!(matches!(
        worker.stage(bytes("d", "file")),
        Err(Error::InTheWay { .. })
    ));
    worker
        .stage_all(vec![delete("d/b"), bytes("d", "file")], false)
        .unwrap();
    worker
        .stage_all(vec![delete("f"), bytes("f/below", "deep")], false)
        .unwrap();
    assert_eq!(
        worker.staged(),
        [
            "create d",
            "delete d/a",
            "delete d/b",
            "delete f",
            "create f/below"
        ]
    );
    let refused = worker.stage(bytes("f", "both")).unwrap_err();
    assert!(matches!(refused, Error::Unchangeable { .. }), "{refused}");
}

#[test]
fn on_a_branch_the_base_is_what_the_target_recorded_not_what_lies_around() {
    let sandbox = Sandbox::with_files(&[("a", "recorded\n"), ("d/b", "recorded\n")]);
    sandbox.write("a", "uncommitted\n");
    fs::remove_dir_all(sandbox.path("d")).unwrap();
    let mut worker = Worker::begin_with(&sandbox, "agent", &["a", "d/", "n"], BranchChoice::Always);
    worker.stage(bytes("a", "new\n")).unwrap();
    worker.stage(delete("d/b")).unwrap();
    worker.stage(bytes("n", "new\n")).unwrap();
    assert_eq!(worker.diff("a").before.unwrap(), b"recorded\n");
    assert!(!worker.diff("a").base_changed);
    assert_eq!(worker.staged(), ["modify a", "delete d/b", "create n"]);
    assert!(worker.stage(bytes("a", "recorded\n")).unwrap().changes.is_empty());
    worker.stage(bytes("d", "file")).unwrap();
    assert_eq!(worker.staged(), ["create d", "delete d/b", "create n"]);
}

#[test]
fn on_a_branch_the_base_is_what_git_would_check_out() {
    let sandbox = Sandbox::with_files(&[(".gitattributes", "*.txt text eol=crlf\n"), ("a.txt", "one\n")]);
    let mut worker = Worker::begin_with(&sandbox, "agent", &["a.txt"], BranchChoice::Always);
    worker.stage(bytes("a.txt", "two\r\n")).unwrap();
    assert_eq!(worker.diff("a.txt").before.unwrap(), b"one\r\n");
    assert!(!worker.diff("a.txt").base_changed);
}

#[test]
fn workers_on_one_task_at_once_lose_nothing() {
    let sandbox = Sandbox::repository();
    let mut worker = Worker::begin(&sandbox, "agent", &["d/"]);
    at_once(6, |number| {
        let mut own = Worker {
            coordinator: super::worker::open(&sandbox),
            task: mirror::model::TaskId::new("agent").unwrap(),
        };
        for round in 0..5 {
            own.stage(bytes(&format!("d/{number}-{round}"), [7; 100]))
                .unwrap();
        }
    });
    assert_eq!(worker.staged().len(), 30);
    assert_eq!(worker.objects(), 30);
    assert_eq!(worker.coordinator.diff(&worker.task).unwrap().len(), 30);
}

#[test]
fn unstaging_takes_back_some_or_all_and_their_objects() {
    let sandbox = Sandbox::with_files(&[("a", "old\n")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["a", "d/"]);
    for path in ["a", "d/x", "d/y"] {
        worker.stage(bytes(path, "new\n")).unwrap();
    }
    let (task, mut coordinator) = (worker.task.clone(), super::worker::open(&sandbox));
    let refused = coordinator.unstage(&task, &["d/x".into(), "none".into()]);
    assert!(matches!(refused, Err(Error::Unchangeable { .. })));
    assert_eq!(worker.staged().len(), 3);
    let back = coordinator.unstage(&task, &["d".into()]).unwrap();
    assert_eq!(
        back.changes.iter().map(words).collect::<Vec<_>>(),
        ["create d/x", "create d/y"]
    );
    assert_eq!(
        (worker.staged(), worker.objects()),
        (vec!["modify a".to_owned()], 1)
    );
    coordinator.unstage(&task, &[]).unwrap();
    assert_eq!((worker.staged().len(), worker.objects()), (0, 0));
    assert!(coordinator.unstage(&task, &[]).unwrap().changes.is_empty());
}

#[test]
fn damaged_staged_bytes_are_named() {
    let sandbox = Sandbox::with_files(&[("a", "old\n")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["a"]);
    worker.stage(bytes("a", "new\n")).unwrap();
    sandbox.shell("for object in .mirror/transactions/*/s/*; do printf x >> $object; done");
    let damaged = worker.coordinator.diff(&worker.task).unwrap_err();
    assert!(matches!(&damaged, Error::Damaged { .. }), "{damaged}");
    assert_eq!(damaged.paths().len(), 1);
}

#[test]
fn staged_objects_are_nobody_elses_to_read() {
    let sandbox = Sandbox::repository();
    let mut worker = Worker::begin(&sandbox, "agent", &["secret"]);
    worker.stage(bytes("secret", "x")).unwrap();
    let modes = sandbox.shell("find .mirror/transactions/*/s -type f -printf '%m\\n'");
    assert_eq!(modes, "600\n");
    let directory = fs::metadata(sandbox.path(".mirror")).unwrap();
    assert_eq!(directory.permissions().mode() & 0o777, 0o700);
}
