//! What is shared out by number: any of several, and parts of a total. S19 to S22.

use std::time::Duration;

use mirror::model::{Amount, Candidates, LockSet, PoolName, Resource, Share};
use mirror::store::{AcquireError, Asker, Release, Steal, Wait};

use super::bench::{Bench, everywhere, lock, locks, task};

/// Asks for more, and keeps the place in the queue.
fn stand_for_more(bench: &mut Bench, name: &str, wants: &LockSet) -> Result<(), AcquireError> {
    let asker = Asker::Task(task(name));
    let none = Wait::UpTo(Duration::ZERO);
    bench.store.acquire(&asker, wants, none, &mut |_| {}).map(drop)
}

fn blockers(refused: AcquireError) -> Vec<String> {
    let AcquireError::Held { conflicts } = refused else {
        panic!("{refused}")
    };
    let line = |conflict: &mirror::model::Conflict| {
        let waiting = if conflict.waiting { " waits" } else { "" };
        format!("{} {}{waiting}", conflict.holder.task, conflict.resource)
    };
    conflicts.iter().map(line).collect()
}

#[test]
fn any_of_a_pool_is_the_first_that_is_free() {
    everywhere(|bench| {
        bench.begin("one", &["w:a", "any:db"]).unwrap();
        bench.begin("two", &["any:db"]).unwrap();
        bench.begin("three", &["w:pool:db/3"]).unwrap();
        let refused = bench.begin("four", &["w:b", "any:db"]).unwrap_err();
        assert_eq!(
            blockers(refused),
            ["one pool:db/1", "three pool:db/3", "two pool:db/2"]
        );
        bench.release("two");
        let four = bench.begin("four", &["w:b", "any:db"]).unwrap();
        assert!(four.granted.contains(&lock("w:pool:db/2")));
        assert_eq!(
            bench.held(),
            [
                "four write file:b",
                "four write pool:db/2",
                "one write file:a",
                "one write pool:db/1",
                "three write pool:db/3"
            ]
        );
    });
}

#[test]
fn what_a_task_has_counts_when_it_asks_again() {
    everywhere(|bench| {
        let first = bench.begin("one", &["any:db"]).unwrap();
        let again = bench.more("one", &["any:db"]).unwrap();
        assert_eq!(again.granted, []);
        assert_eq!(again.task.token, first.task.token);
        let second = bench.more("one", &["any:db*2"]).unwrap();
        assert_eq!(second.granted, [lock("w:pool:db/2")]);
        let third = bench.more("one", &["w:pool:db/3", "any:db*3"]).unwrap();
        assert_eq!(
            third.granted,
            [lock("w:pool:db/3")],
            "what is asked for by name counts"
        );
    });
}

#[test]
fn parts_of_a_quota_add_up_to_the_total() {
    everywhere(|bench| {
        bench.begin("one", &["quota:memory=5"]).unwrap();
        bench.begin("two", &["quota:memory=9"]).unwrap();
        let refused = bench.begin("three", &["quota:memory=5"]).unwrap_err();
        assert_eq!(blockers(refused), ["one quota:memory=5", "two quota:memory=9"]);
        bench.begin("three", &["quota:memory=2"]).unwrap();
        // One part each: another amount takes the place of the first.
        assert_eq!(
            blockers(bench.more("three", &["quota:memory=3"]).unwrap_err()).len(),
            2
        );
        bench.more("two", &["quota:memory=1"]).unwrap();
        bench.more("three", &["quota:memory=10"]).unwrap();
        assert_eq!(
            bench.held(),
            [
                "one read quota:memory=5",
                "three read quota:memory=10",
                "two read quota:memory=1"
            ]
        );
    });
}

#[test]
fn more_than_there_is_is_refused_and_never_queued() {
    everywhere(|bench| {
        for wants in [
            &["quota:memory=17"][..],
            &["quota:memory=0"],
            &["quota:memory=18446744073709551615"],
            &["any:db*4"],
        ] {
            let refused = bench.stand("one", wants).unwrap_err();
            assert!(matches!(refused, AcquireError::Impossible(_)), "{refused}");
        }
        // A whole is asked for in shares, never as a lock.
        let whole: LockSet = [lock("any:db")].into_iter().collect();
        let asker = bench.asker("one", None);
        let refused = bench.store.acquire(&asker, &whole, Wait::Never, &mut |_| {});
        assert!(matches!(refused, Err(AcquireError::Impossible(_))));
        assert!(bench.store.waiters().unwrap().is_empty());
        assert!(bench.store.tasks().unwrap().is_empty());
    });
}

#[test]
fn a_waiter_for_a_share_is_served_in_the_act_that_frees_one() {
    everywhere(|bench| {
        bench.begin("holder", &["any:db*3"]).unwrap();
        bench.stand("first", &["any:db*2", "w:a"]).unwrap_err();
        bench.stand("second", &["any:db"]).unwrap_err();
        let release = |bench: &mut Bench, which: &str| {
            let some = Release::Some(vec![lock(which).resource]);
            bench.store.release(&task("holder"), &some).unwrap();
        };
        release(bench, "w:pool:db/2");
        assert_eq!(
            bench.held().len(),
            2,
            "one is too few for the first, and the second does not overtake it"
        );
        assert!(matches!(
            bench.begin("third", &["any:db"]),
            Err(AcquireError::Held { .. })
        ));
        release(bench, "w:pool:db/1");
        assert_eq!(
            bench.held(),
            [
                "first write file:a",
                "first write pool:db/1",
                "first write pool:db/2",
                "holder write pool:db/3"
            ]
        );
        release(bench, "w:pool:db/3");
        assert!(bench.held().contains(&"second write pool:db/3".to_owned()));
        let waiters = bench.store.waiters().unwrap();
        assert!(waiters.is_empty(), "{waiters:?}");
    });
}

#[test]
fn nobody_overtakes_in_a_quota_however_little_is_wanted() {
    everywhere(|bench| {
        bench.begin("holder", &["quota:memory=9"]).unwrap();
        bench.stand("large", &["quota:memory=16"]).unwrap_err();
        let refused = bench.begin("small", &["quota:memory=1"]).unwrap_err();
        assert_eq!(
            blockers(refused),
            ["holder quota:memory=9", "large quota:memory waits"]
        );
        // Another whole is another queue.
        bench.begin("elsewhere", &["any:db", "any:ports"]).unwrap();
        bench.more("holder", &["quota:memory=5"]).unwrap();
        assert!(!bench.held().iter().any(|line| line.starts_with("large")));
        bench.release("holder");
        assert!(bench.held().contains(&"large read quota:memory=16".to_owned()));
    });
}

#[test]
fn who_waits_for_a_file_keeps_nobody_from_a_member_that_it_does_not_need() {
    everywhere(|bench| {
        bench.begin("holder", &["w:a"]).unwrap();
        bench.stand("first", &["w:a", "any:db"]).unwrap_err();
        let second = bench.begin("second", &["w:b", "any:db"]).unwrap();
        assert!(
            second.granted.contains(&lock("w:pool:db/2")),
            "the first has the most welcome"
        );
        bench.begin("third", &["w:c", "any:db"]).unwrap();
        let refused = bench.stand("fourth", &["w:d", "any:db"]).unwrap_err();
        let AcquireError::TimedOut { conflicts } = refused else {
            panic!("{refused}")
        };
        assert!(
            conflicts
                .iter()
                .any(|conflict| conflict.waiting && conflict.holder.task == task("first"))
        );
        let waits_for = |bench: &mut Bench| -> Vec<String> {
            let waiters = bench.store.waiters().unwrap();
            let line = |waiter: &mirror::store::Waiter| {
                let by: Vec<&str> = waiter
                    .blocked_by
                    .iter()
                    .map(mirror::model::TaskId::as_str)
                    .collect();
                format!("{}: {}", waiter.task, by.join(" "))
            };
            waiters.iter().map(line).collect()
        };
        assert_eq!(waits_for(bench), ["first: holder", "fourth: first second third"]);
        bench.release("third");
        assert!(bench.held().contains(&"fourth write pool:db/3".to_owned()));
        bench.release("holder");
        assert!(bench.held().contains(&"first write pool:db/1".to_owned()));
        assert!(bench.store.waiters().unwrap().is_empty());
    });
}

#[test]
fn what_becomes_free_goes_past_those_who_wait_for_something_else() {
    everywhere(|bench| {
        bench.begin("holder", &["w:a"]).unwrap();
        bench.begin("all", &["any:db*3"]).unwrap();
        bench.stand("first", &["w:a", "any:db"]).unwrap_err();
        bench.stand("second", &["w:b", "any:db"]).unwrap_err();
        bench.stand("third", &["w:c", "any:db"]).unwrap_err();
        let give_back = |bench: &mut Bench, which: &str| {
            let some = Release::Some(vec![lock(which).resource]);
            bench.store.release(&task("all"), &some).unwrap();
        };
        // One is set aside for the first.
        give_back(bench, "w:pool:db/3");
        assert_eq!(bench.held().len(), 3, "{:?}", bench.held());
        // The first would rather have this one, so the other is the second's.
        give_back(bench, "w:pool:db/1");
        assert!(
            bench.held().contains(&"second write pool:db/3".to_owned()),
            "{:?}",
            bench.held()
        );
        give_back(bench, "w:pool:db/2");
        assert!(
            bench.held().contains(&"third write pool:db/2".to_owned()),
            "{:?}",
            bench.held()
        );
        bench.release("second");
        bench.release("holder");
        assert!(
            bench.held().contains(&"first write pool:db/1".to_owned()),
            "{:?}",
            bench.held()
        );
    });
}

#[test]
fn a_stream_of_later_ones_never_keeps_the_first_from_its_member() {
    everywhere(|bench| {
        bench.begin("holder", &["w:a"]).unwrap();
        bench.begin("early-1", &["any:db"]).unwrap();
        bench.begin("early-2", &["any:db*2"]).unwrap();
        bench.stand("first", &["w:a", "any:db*2"]).unwrap_err();
        bench.release("early-1");
        bench.release("early-2");
        // Two are the first's from now on, whoever comes and goes with the third.
        for round in 0..20 {
            let (one, other) = (format!("one-{round}"), format!("other-{round}"));
            bench.begin(&one, &["any:db"]).unwrap();
            assert!(bench.begin("greedy", &["any:db"]).is_err());
            bench.stand(&other, &["any:db"]).unwrap_err();
            bench.release(&one);
            assert!(
                bench.held().contains(&format!("{other} write pool:db/3")),
                "{round}"
            );
            bench.release(&other);
        }
        bench.begin("last", &["any:db"]).unwrap();
        bench.release("holder");
        assert_eq!(
            bench.held(),
            [
                "first write file:a",
                "first write pool:db/1",
                "first write pool:db/2",
                "last write pool:db/3"
            ]
        );
    });
}

#[test]
fn amounts_are_kept_for_those_who_wait_and_the_rest_is_given_out() {
    everywhere(|bench| {
        bench.begin("holder", &["w:a", "quota:memory=5"]).unwrap();
        bench.begin("grower", &["quota:memory=2"]).unwrap();
        stand_for_more(bench, "grower", &locks(&["w:a", "quota:memory=6"])).unwrap_err();
        // Five and two are held, and four more are spoken for.
        assert!(bench.begin("much", &["quota:memory=6"]).is_err());
        bench.begin("fits", &["quota:memory=5"]).unwrap();
        bench.stand("waits", &["quota:memory=5"]).unwrap_err();
        bench.stand("little", &["quota:memory=1"]).unwrap_err();
        assert_eq!(bench.held().len(), 4, "{:?}", bench.held());
        bench.release("fits");
        assert!(bench.held().contains(&"waits read quota:memory=5".to_owned()));
        bench.release("holder");
        assert!(bench.held().contains(&"grower read quota:memory=6".to_owned()));
        assert!(bench.held().contains(&"little read quota:memory=1".to_owned()));
    });
}

#[test]
fn who_has_one_set_aside_and_waits_for_one_who_wants_it_is_in_a_circle() {
    everywhere(|bench| {
        bench.begin("one", &["any:db", "w:a"]).unwrap();
        bench.begin("two", &["any:db*2"]).unwrap();
        // One wants a second member, and what two has is all there is.
        stand_for_more(bench, "one", &locks(&["any:db*2"])).unwrap_err();
        let refused = stand_for_more(bench, "two", &locks(&["w:a"])).unwrap_err();
        assert!(matches!(refused, AcquireError::Deadlock { .. }), "{refused}");
        // With one that is set aside for it, one waits for nobody but the holder of its file.
        bench.release("one");
        bench.release("two");
        bench.begin("holder", &["w:a"]).unwrap();
        bench.stand("first", &["w:a", "any:db"]).unwrap_err();
        bench.begin("second", &["w:b", "any:db*2"]).unwrap();
        bench.stand("third", &["any:db", "w:c"]).unwrap_err();
        assert!(
            stand_for_more(bench, "holder", &locks(&["w:b"]))
                .is_err_and(|refused| { matches!(refused, AcquireError::TimedOut { .. }) })
        );
        let refused = stand_for_more(bench, "second", &locks(&["w:a"])).unwrap_err();
        assert!(matches!(refused, AcquireError::Deadlock { .. }), "{refused}");
    });
}

#[test]
fn a_quota_serves_as_many_as_there_is_room_for() {
    everywhere(|bench| {
        bench.begin("holder", &["quota:memory=16"]).unwrap();
        for name in ["one", "two", "three"] {
            bench.stand(name, &["quota:memory=5"]).unwrap_err();
        }
        bench.stand("four", &["quota:memory=5"]).unwrap_err();
        bench.release("holder");
        assert_eq!(
            bench.held(),
            [
                "one read quota:memory=5",
                "three read quota:memory=5",
                "two read quota:memory=5"
            ]
        );
        // Who takes less makes room in the same act.
        bench.more("two", &["quota:memory=1"]).unwrap();
        assert!(bench.held().contains(&"four read quota:memory=5".to_owned()));
    });
}

#[test]
fn who_wants_one_by_name_keeps_that_one_and_nothing_else() {
    everywhere(|bench| {
        bench.begin("holder", &["w:port:5000", "w:a"]).unwrap();
        bench.stand("named", &["w:port:5000"]).unwrap_err();
        // The other port is nobody's.
        bench.begin("any", &["any:ports"]).unwrap();
        assert!(bench.held().contains(&"any write port:5001".to_owned()));
        bench.stand("later", &["any:ports"]).unwrap_err();
        bench.release("holder");
        assert!(bench.held().contains(&"named write port:5000".to_owned()));
        bench.release("any");
        assert!(bench.held().contains(&"later write port:5001".to_owned()));
        // By name one does not overtake who would take any.
        bench.stand("any", &["any:ports"]).unwrap_err();
        bench.stand("by-name", &["w:port:5001"]).unwrap_err();
        bench.release("later");
        assert!(bench.held().contains(&"any write port:5001".to_owned()));
    });
}

#[test]
fn the_dead_give_way_and_only_as_many_as_are_needed() {
    everywhere(|bench| {
        for (name, pid) in [("one", 1), ("two", 2), ("three", 3)] {
            bench.begin_as(name, Some(pid), &["any:db"]).unwrap();
        }
        assert!(bench.begin("four", &["any:db"]).is_err());
        bench.machine.kill(2);
        bench.machine.kill(3);
        bench.begin("four", &["any:db"]).unwrap();
        assert_eq!(
            bench.held(),
            [
                "four write pool:db/2",
                "one write pool:db/1",
                "three write pool:db/3"
            ]
        );
        let refused = bench.begin("five", &["any:db*2"]).unwrap_err();
        assert_eq!(blockers(refused).len(), 2, "one and four live");
        bench.begin("five", &["any:db"]).unwrap();
        assert!(bench.held().contains(&"five write pool:db/3".to_owned()));
    });
}

#[test]
fn a_dead_part_of_a_quota_gives_way() {
    everywhere(|bench| {
        bench.begin_as("one", Some(1), &["quota:memory=9"]).unwrap();
        bench.begin_as("two", Some(2), &["quota:memory=5"]).unwrap();
        assert!(bench.begin("three", &["quota:memory=5"]).is_err());
        bench.machine.kill(1);
        bench.begin("three", &["quota:memory=11"]).unwrap();
        assert_eq!(
            bench.held(),
            ["three read quota:memory=11", "two read quota:memory=5"]
        );
    });
}

#[test]
fn nobody_checks_tokens_at_a_port_so_it_is_left_alone_for_one_lease_more() {
    everywhere(|bench| {
        bench.begin("one", &["any:ports*2", "w:a"]).unwrap();
        bench.machine.pass(Duration::from_secs(61));
        bench.begin("two", &["w:a"]).unwrap();
        assert!(bench.begin("three", &["any:ports"]).is_err());
        bench.machine.pass(Duration::from_mins(1));
        bench.begin("three", &["any:ports"]).unwrap();
    });
}

#[test]
fn a_share_that_is_handed_over_and_not_claimed_goes_back() {
    everywhere(|bench| {
        bench.begin("holder", &["quota:memory=9", "any:db*3"]).unwrap();
        bench.begin("grower", &["quota:memory=5"]).unwrap();
        stand_for_more(bench, "grower", &locks(&["quota:memory=9", "any:db"])).unwrap_err();
        bench.release("holder");
        assert_eq!(
            bench.held(),
            ["grower write pool:db/1", "grower read quota:memory=9"]
        );
        bench.machine.pass(Duration::from_secs(11));
        bench.store.renew(&task("grower")).unwrap();
        assert!(
            bench.begin("next", &["quota:memory=12"]).is_err(),
            "five stay with it"
        );
        bench.begin("next", &["quota:memory=11", "any:db"]).unwrap();
        assert_eq!(
            bench.held(),
            [
                "grower read quota:memory=5",
                "next write pool:db/2",
                "next read quota:memory=11"
            ]
        );
    });
}

#[test]
fn who_asks_for_less_has_less_even_if_it_never_comes_back() {
    everywhere(|bench| {
        bench.begin("holder", &["w:a"]).unwrap();
        bench.begin("shrinker", &["quota:memory=10"]).unwrap();
        stand_for_more(bench, "shrinker", &locks(&["w:a", "quota:memory=5"])).unwrap_err();
        bench.stand("waiter", &["quota:memory=11"]).unwrap_err();
        bench.release("holder");
        assert_eq!(
            bench.held(),
            [
                "shrinker write file:a",
                "shrinker read quota:memory=5",
                "waiter read quota:memory=11"
            ]
        );
        bench.machine.pass(Duration::from_secs(11));
        bench.store.renew(&task("shrinker")).unwrap();
        bench.begin("next", &["w:a", "quota:memory=11"]).unwrap();
        assert_eq!(
            bench.held(),
            [
                "next write file:a",
                "next read quota:memory=11",
                "shrinker read quota:memory=5"
            ]
        );
    });
}

#[test]
fn a_circle_over_shares_is_refused_with_its_names() {
    everywhere(|bench| {
        bench.begin("one", &["quota:memory=8", "w:a"]).unwrap();
        bench.begin("two", &["quota:memory=8"]).unwrap();
        assert!(matches!(
            stand_for_more(bench, "one", &locks(&["quota:memory=9"])),
            Err(AcquireError::TimedOut { .. })
        ));
        for wants in [&["quota:memory=9"][..], &["w:a"]] {
            match stand_for_more(bench, "two", &locks(wants)).unwrap_err() {
                AcquireError::Deadlock { cycle } => assert_eq!(cycle, [task("two"), task("one")]),
                other => panic!("{other}"),
            }
        }
    });
}

#[test]
fn whoever_can_still_be_served_by_somebody_else_is_in_no_circle() {
    everywhere(|bench| {
        for (name, file) in [("one", "w:a"), ("two", "w:b"), ("three", "w:c")] {
            bench.begin(name, &["any:db", file]).unwrap();
        }
        bench.begin("waiter", &["w:d"]).unwrap();
        stand_for_more(bench, "waiter", &locks(&["any:db"])).unwrap_err();
        // Two of the three who have a member wait for the waiter: the third may still give one.
        for name in ["one", "two"] {
            let answer = stand_for_more(bench, name, &locks(&["w:d"]));
            assert!(matches!(answer, Err(AcquireError::TimedOut { .. })), "{name}");
        }
        let refused = stand_for_more(bench, "three", &locks(&["w:d"])).unwrap_err();
        assert!(matches!(refused, AcquireError::Deadlock { .. }), "{refused}");
        bench.release("three");
        assert!(bench.held().contains(&"waiter write pool:db/3".to_owned()));
    });
}

#[test]
fn a_share_is_stolen_given_back_and_asked_about_by_the_name_of_its_whole() {
    everywhere(|bench| {
        bench
            .begin("one", &["any:db*2", "quota:memory=5", "w:a"])
            .unwrap();
        bench.begin("two", &["any:db", "quota:memory=9"]).unwrap();
        let whole = |text: &str| lock(text).resource;
        let holders = bench
            .store
            .holders(&[whole("any:db"), whole("quota:memory=1"), whole("w:pool:db/3")])
            .unwrap();
        let counts: Vec<usize> = holders.iter().map(|found| found.holders.len()).collect();
        assert_eq!(counts, [3, 2, 1]);
        let given = bench
            .store
            .release(&task("one"), &Release::Some(vec![whole("any:db")]))
            .unwrap();
        assert_eq!(given.len(), 2);
        let steal = Steal {
            from: None,
            resources: vec![whole("quota:memory=1")],
            by: "somebody".to_owned(),
            reason: "a test".to_owned(),
        };
        bench.store.steal(&steal).unwrap();
        assert_eq!(bench.held(), Vec::<String>::new());
    });
}

#[test]
fn less_may_be_configured_than_is_held_and_more_than_others_know() {
    everywhere(|bench| {
        let of = |amount, total| {
            let mut wants = LockSet::new();
            wants.share(Share::Amount {
                quota: PoolName::new("memory").unwrap(),
                amount: Amount::new(amount),
                total: Amount::new(total),
            });
            wants
        };
        bench.begin("holder", &["quota:memory=16"]).unwrap();
        let ask = |bench: &mut Bench, name: &str, wants: &LockSet| {
            let asker = bench.asker(name, None);
            let none = Wait::UpTo(Duration::ZERO);
            bench.store.acquire(&asker, wants, none, &mut |_| {}).map(drop)
        };
        // Lowered to 8 while 16 are held, and raised to 20 by somebody else.
        ask(bench, "lower", &of(1, 8)).unwrap_err();
        ask(bench, "raise", &of(4, 20)).unwrap_err();
        bench.more("holder", &["quota:memory=7"]).unwrap();
        assert_eq!(
            bench.held(),
            [
                "holder read quota:memory=7",
                "lower read quota:memory=1",
                "raise read quota:memory=4"
            ]
        );
        let workers = |numbers| {
            let mut wants = LockSet::new();
            wants.share(Share::any(Candidates::Worktrees(numbers)));
            wants
        };
        ask(bench, "first", &workers(vec![7, 1])).unwrap();
        // A list that does not know of number 7.
        ask(bench, "second", &workers(vec![1, 2])).unwrap();
        assert!(ask(bench, "third", &workers(vec![1, 7])).is_err());
        let of_first = bench.store.task(&task("first")).unwrap().unwrap();
        assert_eq!(of_first.locks[0].lock.resource, Resource::Worktree(7));
    });
}
