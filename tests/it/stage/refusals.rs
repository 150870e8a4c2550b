//! What cannot be staged is refused by name, and then nothing is: no change, no object, no lock.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::symlink as link;

use mirror::coordinator::{Error, StageWhat};
use mirror::model::{Kind, RepoPath};

use super::worker::{Worker, bytes, chmod, delete, file, moved, open, symlink};
use crate::support::{Awkward, Sandbox};

fn path(text: &str) -> RepoPath {
    RepoPath::new(text).unwrap()
}

#[track_caller]
fn assert_nothing_is_staged(worker: &mut Worker) {
    assert_eq!(worker.staged(), [""; 0]);
    assert_eq!(worker.objects(), 0);
}

#[test]
fn a_path_outside_the_locks_is_named_and_lock_takes_it_on_the_way() {
    let sandbox = Sandbox::with_files(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["a"]);
    let what = || vec![bytes("a", "x"), bytes("b", "x"), delete("c")];
    let refused = worker.stage_all(what(), false).unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert!(matches!(refused, Error::NotLocked { ref paths, .. } if *paths == [path("b"), path("c")]));
    assert_nothing_is_staged(&mut worker);
    worker.stage_all(what(), true).unwrap();
    assert_eq!(worker.staged(), ["modify a", "modify b", "delete c"]);
    assert_eq!(worker.coordinator.show(&worker.task).unwrap().task.locks.len(), 3);
}

#[test]
fn what_another_holds_is_not_taken_on_the_way_and_neither_is_the_rest() {
    let sandbox = Sandbox::with_files(&[("a", "1"), ("b", "2")]);
    let _other = Worker::begin(&sandbox, "other", &["b"]);
    let mut worker = Worker::begin(&sandbox, "agent", &[]);
    let refused = worker
        .stage_all(vec![bytes("a", "x"), bytes("b", "x")], true)
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Held);
    assert_eq!(refused.conflicts()[0].holder.task.as_str(), "other");
    assert_nothing_is_staged(&mut worker);
    assert!(
        worker
            .coordinator
            .show(&worker.task)
            .unwrap()
            .task
            .locks
            .is_empty()
    );
}

#[test]
fn locks_taken_on_the_way_are_given_back_when_the_rest_is_refused() {
    let sandbox = Sandbox::with_files(&[("d/a", "1"), ("e", "2")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["e"]);
    worker
        .stage_all(vec![bytes("e", "x"), bytes("d", "file")], true)
        .unwrap_err();
    assert_nothing_is_staged(&mut worker);
    assert_eq!(worker.coordinator.show(&worker.task).unwrap().task.locks.len(), 1);
}

#[test]
fn a_read_lock_is_no_permission() {
    let sandbox = Sandbox::with_files(&[("a", "1")]);
    let mut worker = Worker::begin(&sandbox, "agent", &[]);
    let request = mirror::coordinator::LockRequest {
        wants: vec![mirror::coordinator::Wanted {
            what: mirror::coordinator::WantedKind::Path("a".into()),
            mode: mirror::model::Mode::Read,
        }],
        wait: mirror::store::Wait::Never,
    };
    let task = worker.task.clone();
    worker
        .coordinator
        .lock(&task, &request, &mut mirror::coordinator::Silent)
        .unwrap();
    assert!(matches!(
        worker.stage(bytes("a", "x")),
        Err(Error::NotLocked { .. })
    ));
    worker.stage_all(vec![bytes("a", "x")], true).unwrap();
    assert_eq!(worker.staged(), ["modify a"]);
}

#[test]
fn a_lost_lease_stages_nothing() {
    let sandbox = Sandbox::with_files(&[("a", "1")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["a"]);
    worker.stage(bytes("a", "x")).unwrap();
    let force = mirror::coordinator::ForceUnlock {
        from: Some(worker.task.clone()),
        wants: Vec::new(),
        by: "somebody".to_owned(),
        reason: "test".to_owned(),
    };
    open(&sandbox).force_unlock(&force).unwrap();
    let refused = worker.stage(bytes("a", "y")).unwrap_err();
    assert_eq!(refused.kind(), Kind::Lost, "{refused}");
    assert_eq!(
        (worker.staged(), worker.objects()),
        (vec!["modify a".to_owned()], 1)
    );
    assert_eq!(worker.diff("a").after.unwrap(), b"x");
}

#[test]
fn sources_that_are_no_files_are_named() {
    let sandbox = Sandbox::with_files(&[("a", "1")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["a"]);
    sandbox.shell("mkdir ../dir; mkfifo ../pipe; ln -s pipe ../stream");
    for (from, word) in [("dir", "--tree"), ("pipe", "pipe"), ("stream", "standard input")] {
        let refused = worker.stage(file("a", sandbox.beside(from))).unwrap_err();
        assert_eq!(refused.kind(), Kind::Usage);
        assert!(refused.to_string().contains(word), "{refused}");
    }
    let missing = worker.stage(file("a", sandbox.beside("missing"))).unwrap_err();
    assert!(matches!(missing, Error::Input { .. }));
    assert_nothing_is_staged(&mut worker);
}

#[test]
fn what_breaks_off_while_it_is_read_leaves_nothing_and_is_not_taken_for_a_full_disk() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the line went dead"))
        }
    }
    let sandbox = Sandbox::with_files(&[("a", "1"), ("b", "2")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["a", "b"]);
    let broken = StageWhat::Bytes {
        path: "b".into(),
        content: Box::new(b"beginning".chain(Broken)),
        executable: None,
    };
    let refused = worker
        .stage_all(vec![bytes("a", "x"), broken], false)
        .unwrap_err();
    assert!(
        matches!(&refused, Error::Input { path, .. } if path.ends_with("standard input")),
        "{refused}"
    );
    assert_nothing_is_staged(&mut worker);
}

#[test]
fn targets_that_must_not_be_replaced_are_named() {
    let sandbox = Sandbox::with_files(&[("suid", "x"), ("d/a", "1"), ("sub/x", "1")]);
    sandbox.shell(
        "chmod u+s suid; mkfifo pipe; mkdir outside; ln -s outside way; git init -q nested; : > nested/f",
    );
    let mut worker = Worker::begin(&sandbox, "agent", &["."]);
    for target in ["suid", "pipe", "nested/f", "nested/new", "d/a/below"] {
        let refused = worker.stage(bytes(target, "x")).unwrap_err();
        assert!(
            matches!(&refused, Error::Unchangeable { .. }),
            "{target}: {refused}"
        );
        assert_eq!(refused.paths(), [path(target)], "{refused}");
    }
    for what in [
        delete("none"),
        chmod("none", true),
        chmod("way", true),
        chmod("d", true),
        delete("nested"),
    ] {
        let text = format!("{what:?}");
        let refused = worker.stage(what).unwrap_err();
        assert!(
            matches!(&refused, Error::Unchangeable { .. }),
            "{text}: {refused}"
        );
    }
    assert_nothing_is_staged(&mut worker);
    assert!(!sandbox.exists("outside/x"));
}

#[test]
fn a_path_through_a_symlink_never_leads_anywhere() {
    let sandbox = Sandbox::with_files(&[("real/a", "1")]);
    fs::create_dir(sandbox.beside("away")).unwrap();
    link(sandbox.beside("away"), sandbox.path("out")).unwrap();
    let mut worker = Worker::begin(&sandbox, "agent", &["."]);
    // As it is typed, the link is followed, and what is named lies outside.
    let refused = worker.stage(bytes("out/x", "x")).unwrap_err();
    assert!(matches!(refused, Error::Outside { .. }), "{refused}");
    // A diff is not typed: there the link is what it is.
    let diff =
        "diff --git a/out/x b/out/x\nnew file mode 100644\n--- /dev/null\n+++ b/out/x\n@@ -0,0 +1 @@\n+x\n";
    let refused = worker.stage(super::worker::patch(diff)).unwrap_err();
    assert!(matches!(refused, Error::Unchangeable { .. }), "{refused}");
    assert_nothing_is_staged(&mut worker);
    assert_eq!(fs::read_dir(sandbox.beside("away")).unwrap().count(), 0);
}

#[test]
fn reserved_and_foreign_paths_are_no_paths() {
    let sandbox = Sandbox::repository();
    let mut worker = Worker::begin(&sandbox, "agent", &["."]);
    for target in [
        ".git/config",
        ".mirror/registry.db",
        "../x",
        "/etc/passwd",
        "",
        ".",
        "a/.GIT/x",
        "git~1",
    ] {
        let refused = worker.stage(bytes(target, "x")).unwrap_err();
        assert_eq!(refused.kind(), Kind::Usage, "{target}: {refused}");
    }
    assert_nothing_is_staged(&mut worker);
}

#[test]
fn a_submodule_is_nothing_to_stage_into() {
    let sandbox = Awkward::Submodule.build();
    for branch in [
        mirror::coordinator::BranchChoice::Never,
        mirror::coordinator::BranchChoice::Always,
    ] {
        let name = format!("agent-{branch:?}");
        let mut worker = Worker::begin_with(&sandbox, &name, &["."], branch);
        for what in [bytes("sub/x", "x"), bytes("sub", "x")] {
            let text = format!("{what:?}");
            let refused = worker.stage(what).unwrap_err();
            assert!(
                matches!(refused, Error::Unchangeable { .. } | Error::InTheWay { .. }),
                "{branch:?} {text}: {refused}"
            );
        }
        assert_nothing_is_staged(&mut worker);
        worker.coordinator.rollback(&worker.task).unwrap();
    }
}

#[test]
fn one_request_names_each_path_once() {
    let sandbox = Sandbox::with_files(&[("a", "1")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["."]);
    let twice = vec![bytes("a", "x"), moved("a", "b")];
    assert_eq!(worker.stage_all(twice, false).unwrap_err().kind(), Kind::Usage);
    assert_nothing_is_staged(&mut worker);
    worker
        .stage_all(vec![delete("a"), delete("a"), symlink("l", "a")], false)
        .unwrap();
    assert_eq!(worker.staged(), ["delete a", "symlink l"]);
}

#[test]
fn an_unknown_task_and_one_without_a_transaction_are_told_so() {
    let sandbox = Sandbox::with_files(&[("a", "1")]);
    let mut worker = Worker::begin(&sandbox, "agent", &["a"]);
    worker.coordinator.rollback(&worker.task).unwrap();
    assert_eq!(worker.stage(bytes("a", "x")).unwrap_err().kind(), Kind::Usage);
    let unknown = mirror::model::TaskId::new("nobody").unwrap();
    assert!(matches!(
        worker.coordinator.diff(&unknown),
        Err(Error::UnknownTask { .. })
    ));
}
