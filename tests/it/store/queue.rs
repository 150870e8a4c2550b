//! Waiting in line: S7 to S10, S17.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use mirror::model::Interrupter;
use mirror::store::{AcquireError, Asker, Release, Wait};

use super::bench::{Bench, everywhere, lock, locks, task};

const PATIENCE: Wait = Wait::UpTo(Duration::from_mins(2));

fn names(bench: &mut Bench) -> Vec<String> {
    bench
        .store
        .waiters()
        .unwrap()
        .iter()
        .map(|waiter| waiter.task.to_string())
        .collect()
}

#[test]
fn nobody_overtakes_who_asked_earlier() {
    everywhere(|bench| {
        bench.begin("holder", &["r:a"]).unwrap();
        assert!(matches!(
            bench.stand("writer", &["w:a", "w:b"]),
            Err(AcquireError::TimedOut { .. })
        ));
        // A reader would fit beside the holder, and what the writer also wants is free: both have to wait for it.
        let refused = bench.begin("reader", &["r:a"]).unwrap_err();
        let AcquireError::Held { conflicts } = refused else {
            panic!("{refused}")
        };
        assert!(
            conflicts
                .iter()
                .any(|conflict| conflict.waiting && conflict.holder.task == task("writer"))
        );
        assert!(matches!(
            bench.begin("other", &["w:b"]),
            Err(AcquireError::Held { .. })
        ));
        bench.begin("elsewhere", &["w:c"]).unwrap();
        bench.release("holder");
        assert_eq!(
            bench.held(),
            [
                "elsewhere write file:c",
                "writer write file:a",
                "writer write file:b"
            ]
        );
    });
}

#[test]
fn a_place_is_kept_for_ten_seconds_and_no_longer() {
    everywhere(|bench| {
        bench.begin("holder", &["w:a"]).unwrap();
        bench.stand("first", &["w:a"]).unwrap_err();
        bench.stand("second", &["w:a"]).unwrap_err();
        bench.machine.pass(Duration::from_secs(9));
        // It asks again in time, and is still the first.
        bench.stand("first", &["w:a"]).unwrap_err();
        bench.machine.pass(Duration::from_secs(9));
        bench.release("holder");
        assert_eq!(bench.held(), ["first write file:a"]);
    });
}

#[test]
fn what_is_handed_over_and_not_claimed_is_taken_back_alone() {
    everywhere(|bench| {
        bench.begin("holder", &["w:a"]).unwrap();
        bench.begin("grower", &["w:own"]).unwrap();
        let asker = Asker::Task(task("grower"));
        let none = Wait::UpTo(Duration::ZERO);
        bench
            .store
            .acquire(&asker, &locks(&["w:a"]), none, &mut |_| {})
            .unwrap_err();
        bench.release("holder");
        assert_eq!(bench.held(), ["grower write file:a", "grower write file:own"]);
        bench.machine.pass(Duration::from_secs(11));
        bench.store.renew(&task("grower")).unwrap();
        bench.begin("next", &["w:a"]).unwrap();
        assert_eq!(bench.held(), ["grower write file:own", "next write file:a"]);
    });
}

/// It was handed over, given back by another process of the same task, and then claimed: whoever had asked was told that it had
/// what somebody else might have by then.
#[test]
fn what_is_handed_over_and_given_back_in_part_is_not_claimed() {
    everywhere(|bench| {
        bench.begin("holder", &["w:a"]).unwrap();
        bench.begin("grower", &["w:own"]).unwrap();
        let asker = Asker::Task(task("grower"));
        let none = Wait::UpTo(Duration::ZERO);
        let wants = locks(&["w:a", "w:b", "w:c"]);
        bench
            .store
            .acquire(&asker, &wants, none, &mut |_| {})
            .unwrap_err();
        bench.release("holder");
        let given_back = Release::Some(vec![lock("w:b").resource]);
        bench.store.release(&task("grower"), &given_back).unwrap();
        assert_eq!(bench.held(), ["grower write file:own"], "all of it or nothing");
        bench.begin("other", &["w:b"]).unwrap();
        let refused = bench.store.acquire(&asker, &wants, none, &mut |_| {});
        assert!(
            matches!(refused, Err(AcquireError::TimedOut { .. })),
            "{refused:?}"
        );
        bench.release("other");
        bench.store.acquire(&asker, &wants, none, &mut |_| {}).unwrap();
        let held = ["a", "b", "c", "own"].map(|path| format!("grower write file:{path}"));
        assert_eq!(bench.held(), held);
    });
}

/// A grant that made a reader a writer was taken back for the next one in line, who then wrote beside the reader.
#[test]
fn a_reader_that_did_not_claim_to_be_a_writer_is_still_a_reader() {
    everywhere(|bench| {
        bench.begin("other", &["r:a"]).unwrap();
        bench.begin("reader", &["r:a"]).unwrap();
        let asker = Asker::Task(task("reader"));
        let none = Wait::UpTo(Duration::ZERO);
        bench
            .store
            .acquire(&asker, &locks(&["w:a"]), none, &mut |_| {})
            .unwrap_err();
        bench.release("other");
        assert_eq!(bench.held(), ["reader write file:a"]);
        bench.machine.pass(Duration::from_secs(11));
        bench.store.renew(&task("reader")).unwrap();
        assert!(bench.begin("writer", &["w:a"]).is_err());
        bench.begin("second", &["r:a"]).unwrap();
        assert_eq!(bench.held(), ["reader read file:a", "second read file:a"]);
    });
}

/// Whoever gave up waiting for one thing and asked for another was told that it would wait for itself.
#[test]
fn who_asks_for_something_else_keeps_nobody_waiting_with_its_old_place() {
    everywhere(|bench| {
        bench.begin("holder", &["w:a", "quota:memory=9"]).unwrap();
        bench.stand("first", &["w:a"]).unwrap_err();
        bench.stand("second", &["w:a", "w:b"]).unwrap_err();
        let waits = bench.stand("first", &["w:b"]);
        assert!(matches!(waits, Err(AcquireError::TimedOut { .. })), "{waits:?}");
        bench.release("holder");
        assert_eq!(bench.held(), ["second write file:a", "second write file:b"]);
        bench.release("second");
        assert_eq!(bench.held(), ["first write file:b"]);
        bench.release("first");
        // The same with what is shared out.
        bench.begin("holder", &["quota:memory=9"]).unwrap();
        bench.stand("first", &["quota:memory=9"]).unwrap_err();
        bench.stand("second", &["quota:memory=9", "w:b"]).unwrap_err();
        let waits = bench.stand("first", &["w:b"]);
        assert!(matches!(waits, Err(AcquireError::TimedOut { .. })), "{waits:?}");
    });
}

/// Whoever waited behind somebody who had long given up, or whose process was dead, was told that it would wait for ever.
#[test]
fn what_has_ended_closes_no_circle() {
    everywhere(|bench| {
        bench.begin("one", &["w:x"]).unwrap();
        bench.begin_as("other", Some(1), &["w:y"]).unwrap();
        bench.stand("gone", &["w:x", "w:y"]).unwrap_err();
        // As long as its place is kept, the one is before it and the other behind it.
        let asker = Asker::Task(task("one"));
        let wait = |bench: &mut Bench, wants: &[&str]| {
            let none = Wait::UpTo(Duration::ZERO);
            bench.store.acquire(&asker, &locks(wants), none, &mut |_| {})
        };
        let waits = wait(bench, &["w:y"]);
        assert!(matches!(waits, Err(AcquireError::Deadlock { .. })), "{waits:?}");
        bench.machine.pass(Duration::from_secs(11));
        let waits = wait(bench, &["w:y"]);
        assert!(matches!(waits, Err(AcquireError::TimedOut { .. })), "{waits:?}");

        bench.begin_as("dead", Some(7), &["w:a"]).unwrap();
        let grows = Asker::Task(task("dead"));
        let none = Wait::UpTo(Duration::ZERO);
        bench
            .store
            .acquire(&grows, &locks(&["w:x"]), none, &mut |_| {})
            .unwrap_err();
        let waits = wait(bench, &["w:a", "w:y"]);
        assert!(matches!(waits, Err(AcquireError::Deadlock { .. })), "{waits:?}");
        bench.machine.kill(7);
        let waits = wait(bench, &["w:a", "w:y"]);
        assert!(matches!(waits, Err(AcquireError::TimedOut { .. })), "{waits:?}");
        bench.release("other");
        wait(bench, &["w:a", "w:y"]).unwrap();
    });
}

#[test]
fn a_circle_of_waiters_is_refused_with_its_names() {
    everywhere(|bench| {
        bench.begin("one", &["w:a"]).unwrap();
        bench.begin("two", &["w:b"]).unwrap();
        let none = Wait::UpTo(Duration::ZERO);
        let more = |bench: &mut Bench, name: &str, want: &str| {
            bench
                .store
                .acquire(&Asker::Task(task(name)), &locks(&[want]), none, &mut |_| {})
        };
        assert!(matches!(
            more(bench, "one", "w:b"),
            Err(AcquireError::TimedOut { .. })
        ));
        let refused = more(bench, "two", "w:a").unwrap_err();
        let AcquireError::Deadlock { mut cycle } = refused else {
            panic!("{refused}")
        };
        cycle.sort();
        assert_eq!(cycle, [task("one"), task("two")]);
        assert_eq!(names(bench), ["one"], "who is refused does not stand in line");
    });
}

#[test]
fn of_many_in_the_way_only_the_next_are_named() {
    everywhere(|bench| {
        bench.begin("holder", &["w:a"]).unwrap();
        for number in 0..40 {
            bench
                .stand(&format!("waiter-{number:02}"), &["w:a", "r:b"])
                .unwrap_err();
        }
        let waiters = bench.store.waiters().unwrap();
        let first = [task("holder"), task("waiter-00"), task("waiter-01")];
        assert_eq!(waiters[2].blocked_by, first);
        assert!(!waiters[2].and_others);
        let last = &waiters[39];
        assert_eq!(last.blocked_by[..3], first);
        assert!(last.blocked_by.len() < 20 && last.and_others, "{last:?}");
    });
}

#[test]
fn the_log_does_not_grow_with_those_who_queue() {
    let mut bench = Bench::sqlite();
    bench.begin("holder", &["w:a"]).unwrap();
    for number in 0..200 {
        bench.stand(&format!("waiter-{number}"), &["w:a"]).unwrap_err();
    }
    let log = format!("{}-wal", bench.registry().path().unwrap());
    let length = std::fs::metadata(log).unwrap().len();
    assert!(length < 1 << 20, "{length} bytes");
}

#[test]
fn who_waits_is_served_in_order_and_at_once() {
    everywhere(|bench| {
        const WAITERS: usize = 4;
        bench.begin("holder", &["w:a"]).unwrap();
        let arrived = Barrier::new(2);
        let order = std::sync::Mutex::new(Vec::new());
        thread::scope(|scope| {
            for number in 0..WAITERS {
                let name = format!("waiter-{number}");
                let mut store = bench.store.another().unwrap();
                let asker = bench.asker(&name, None);
                let (arrived, order) = (&arrived, &order);
                scope.spawn(move || {
                    let mut told = false;
                    let mut tell = |_: &[mirror::model::Conflict]| {
                        if !std::mem::replace(&mut told, true) {
                            arrived.wait();
                        }
                    };
                    store
                        .acquire(&asker, &locks(&["w:a"]), PATIENCE, &mut tell)
                        .unwrap();
                    order.lock().unwrap().push(name);
                    store.release(asker.task(), &mirror::store::Release::All).unwrap();
                });
                // The next one asks when this one stands in line.
                arrived.wait();
            }
            assert_eq!(names(bench).len(), WAITERS);
            bench.release("holder");
        });
        let expected: Vec<String> = (0..WAITERS).map(|number| format!("waiter-{number}")).collect();
        assert_eq!(*order.lock().unwrap(), expected);
    });
}

#[test]
fn a_wait_that_is_interrupted_keeps_no_place_and_serves_those_behind_it() {
    everywhere(|bench| {
        bench.begin("holder", &["r:a"]).unwrap();
        let interrupter = Interrupter::default();
        let mut store = bench.store.another().unwrap();
        let asker = bench.asker("writer", None);
        let arrived = Barrier::new(2);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut tell = |_: &[mirror::model::Conflict]| {
                    arrived.wait();
                };
                let interrupters = [Interrupter::default(), interrupter.clone()];
                store.acquire_unless(&interrupters, &asker, &locks(&["w:a"]), PATIENCE, &mut tell)
            });
            arrived.wait();
            bench.stand("reader", &["r:a"]).unwrap_err();
            interrupter.interrupt();
            let ended = writer.join().unwrap().unwrap_err();
            assert!(matches!(ended, AcquireError::Interrupted), "{ended}");
        });
        assert_eq!(bench.held(), ["holder read file:a", "reader read file:a"]);
        assert!(names(bench).is_empty());
    });
}

#[test]
fn readers_that_fit_together_are_served_together() {
    everywhere(|bench| {
        bench.begin("holder", &["w:a"]).unwrap();
        for name in ["one", "two", "three"] {
            bench.stand(name, &["r:a"]).unwrap_err();
        }
        bench.stand("writer", &["w:a"]).unwrap_err();
        bench.release("holder");
        assert_eq!(
            bench.held(),
            ["one read file:a", "three read file:a", "two read file:a"]
        );
        assert_eq!(names(bench), ["writer"]);
    });
}
