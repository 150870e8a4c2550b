//! A registry of an older version is brought up to date by whoever opens it, and loses nothing.

use super::bench::{Bench, locks, task};
use crate::support::{at_once, project};

/// The format that this version writes.
const NEWEST: i64 = 3;

fn script(version: u32) -> String {
    std::fs::read_to_string(project(&format!("fixtures/state/v{version}/registry.sql"))).unwrap()
}

fn format(bench: &Bench) -> i64 {
    bench
        .registry()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap()
}

#[test]
fn a_registry_of_format_1_keeps_its_locks_and_its_queue() {
    let mut bench = Bench::left_behind(&script(1));
    assert_eq!(format(&bench), NEWEST);
    assert_eq!(
        bench.held(),
        [
            "holder write file:a",
            "holder read dir:docs/",
            "holder write dir:src/",
            "holder write service:database:5432"
        ]
    );
    assert_eq!(bench.store.waiters().unwrap().len(), 1);
    assert_eq!(bench.store.check().unwrap(), Vec::<String>::new());
    bench.begin("new", &["any:db", "w:b"]).unwrap();
    bench.stand("newer", &["any:db*3", "w:a"]).unwrap_err();
    bench.release("holder");
    assert!(bench.held().contains(&"waiter write file:a".to_owned()));
    bench.release("waiter");
    bench.release("new");
    assert_eq!(bench.held().len(), 4, "{:?}", bench.held());
    assert_eq!(bench.store.events(0, 3).unwrap().len(), 3, "its history goes on");
}

#[test]
fn a_registry_of_format_2_knows_who_waits_for_which_shares() {
    let mut bench = Bench::left_behind(&script(2));
    assert_eq!(format(&bench), NEWEST);
    let held = [
        "holder write file:a",
        "holder write pool:db/1",
        "holder write pool:db/2",
        "holder write pool:db/3",
        "holder write port:5000",
        "holder write port:5001",
        "holder read quota:memory=9",
    ];
    assert_eq!(bench.held(), held);
    assert_eq!(bench.store.check().unwrap(), Vec::<String>::new());
    let wants = bench.store.waiters().unwrap()[0].wants.clone();
    assert_eq!(wants, locks(&["w:a", "any:db*2", "any:ports", "quota:memory=9"]));
    assert!(
        bench.begin("late", &["quota:memory=1"]).is_err(),
        "nobody overtakes"
    );
    bench.release("holder");
    assert_eq!(
        bench.held(),
        [
            "waiter write file:a",
            "waiter write pool:db/1",
            "waiter write pool:db/2",
            "waiter write port:5000",
            "waiter read quota:memory=9"
        ]
    );
}

#[test]
fn many_commands_may_find_an_old_registry_at_once() {
    let mut bench = Bench::sqlite();
    let old = script(1);
    for _ in 0..8 {
        bench = Bench::left_behind_unopened(&old);
        let open = bench.opener();
        let stores = at_once(8, |_| open().task(&task("holder")).unwrap().is_some());
        assert!(stores.into_iter().all(|found| found));
        assert_eq!(format(&bench), NEWEST);
    }
    bench.reopen();
    assert_eq!(bench.held().len(), 4);
}
