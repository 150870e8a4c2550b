//! Moves: a deletion and a creation that stay recognisable.

use mirror::coordinator::Error;

use super::worker::{Worker, bytes, delete, moved};
use crate::support::Sandbox;

fn files() -> Sandbox {
    Sandbox::with_files(&[
        ("a", "one\n"),
        ("d/x", "two\n"),
        ("d/e/y", "three\n"),
        ("to/z", "four\n"),
    ])
}

const EVERYTHING: &[&str] = &["."];

#[test]
fn a_file_moves_with_its_bytes_and_its_exec_bit() {
    let sandbox = files();
    sandbox.write_executable("run", "#!/bin/sh\n");
    sandbox.commit_all("run");
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    worker.stage(moved("a", "new/place")).unwrap();
    worker.stage(moved("run", "to")).unwrap();
    assert_eq!(
        worker.staged(),
        [
            "move a to new/place",
            "move new/place from a",
            "move run to to/run",
            "move to/run from run"
        ]
    );
    assert_eq!(worker.diff("new/place").after.unwrap(), b"one\n");
    assert!(worker.diff("to/run").change.post.unwrap().is_executable());
}

#[test]
fn a_directory_moves_with_all_its_files() {
    let sandbox = files();
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    worker.stage(moved("d", "moved")).unwrap();
    assert_eq!(
        worker.staged(),
        [
            "move d/e/y to moved/e/y",
            "move d/x to moved/x",
            "move moved/e/y from d/e/y",
            "move moved/x from d/x"
        ]
    );
}

#[test]
fn moving_on_remembers_where_it_all_began_and_moving_back_forgets_it() {
    let sandbox = files();
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    worker.stage(moved("a", "b")).unwrap();
    worker.stage(moved("b", "c")).unwrap();
    assert_eq!(worker.staged(), ["move a to c", "move c from a"]);
    worker.stage(moved("c", "a")).unwrap();
    assert_eq!(worker.staged(), [""; 0]);
    assert_eq!(worker.objects(), 0);
}

#[test]
fn an_edit_of_what_was_moved_keeps_the_move_and_a_new_file_in_the_old_place_ends_it() {
    let sandbox = files();
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    worker.stage(moved("a", "b")).unwrap();
    worker.stage(bytes("b", "one and a half\n")).unwrap();
    assert_eq!(worker.staged(), ["move a to b", "move b from a"]);
    worker.stage(bytes("a", "something new\n")).unwrap();
    assert_eq!(worker.staged(), ["modify a", "create b"]);
}

#[test]
fn taking_back_one_end_leaves_an_ordinary_change() {
    let sandbox = files();
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    worker.stage(moved("a", "b")).unwrap();
    worker.coordinator.unstage(&worker.task, &["a".into()]).unwrap();
    assert_eq!(worker.staged(), ["create b"]);
    worker.stage(moved("to/z", "z")).unwrap();
    worker.stage(delete("z")).unwrap();
    assert_eq!(worker.staged(), ["create b", "delete to/z"]);
}

#[test]
fn nothing_is_moved_over_something_or_into_itself_or_from_nowhere() {
    let sandbox = files();
    let mut worker = Worker::begin(&sandbox, "agent", EVERYTHING);
    for (from, to) in [
        ("a", "d/x"),
        ("a", "a"),
        ("d", "d/e"),
        ("d", "d/new"),
        ("none", "b"),
        ("d/x", "d"),
    ] {
        let refused = worker.stage(moved(from, to)).unwrap_err();
        assert!(
            matches!(refused, Error::Unchangeable { .. }),
            "{from} {to}: {refused}"
        );
    }
    assert_eq!(worker.staged(), [""; 0]);
}
