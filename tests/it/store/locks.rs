//! Who may hold what beside whom: S5, S6.

use mirror::model::Resource;
use mirror::store::{AcquireError, LeaseError, Release, Standing, Steal};

use super::bench::{everywhere, lock, locks, task, token};

#[test]
fn two_locks_exclude_each_other_exactly_as_the_rule_says() {
    let all = [
        "w:a",
        "r:a",
        "w:a/b",
        "r:a/b",
        "w:a/",
        "r:a/",
        "w:a/*",
        "r:a/*",
        "w:a/b/c",
        "r:a/b/",
        "w:ab",
        "r:.",
        "w:.",
        "w:service:db",
        "r:service:db",
        "w:service:db:1",
    ];
    everywhere(|bench| {
        for first in all {
            bench.begin("first", &[first]).unwrap();
            for second in all {
                let expected = mirror::model::conflict(&lock(first), &lock(second));
                let found = bench.store.conflicts(&locks(&[second]), None).unwrap();
                assert_eq!(!found.is_empty(), expected, "{first} against {second}");
                let answer = bench.begin("second", &[second]);
                assert_eq!(answer.is_err(), expected, "{first} against {second}");
                if answer.is_ok() {
                    bench.release("second");
                }
            }
            bench.release("first");
        }
    });
}

#[test]
fn a_set_is_granted_whole_or_not_at_all() {
    everywhere(|bench| {
        bench.begin("first", &["w:held"]).unwrap();
        let refused = bench
            .begin("second", &["w:free", "w:held", "r:other"])
            .unwrap_err();
        let AcquireError::Held { conflicts } = refused else {
            panic!("{refused}")
        };
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].holder.task, task("first"));
        assert_eq!(conflicts[0].holder.reason.as_deref(), Some("a test"));
        assert_eq!(bench.held(), ["first write file:held"]);
        assert!(
            bench.store.task(&task("second")).unwrap().is_none(),
            "a refusal leaves no task"
        );
    });
}

#[test]
fn what_is_held_already_may_be_asked_for_again_and_made_stronger() {
    everywhere(|bench| {
        let first = bench.begin("first", &["r:a", "w:d/"]).unwrap();
        let again = bench.more("first", &["r:a", "w:d/x"]).unwrap();
        assert!(
            again
                .granted
                .iter()
                .all(|lock| lock.resource != self::lock("r:a").resource)
        );
        let stronger = bench.more("first", &["w:a"]).unwrap();
        assert_eq!(stronger.granted, [lock("w:a")]);
        assert!(token(&stronger) > token(&first));
        // Nothing new, no new token: a commit that is under way must not lose its own.
        let nothing = bench.more("first", &["r:a", "w:d/"]).unwrap();
        assert_eq!((nothing.granted.len(), token(&nothing)), (0, token(&stronger)));
        bench.begin("reader", &["r:b"]).unwrap();
        bench.more("first", &["r:b"]).unwrap();
        assert!(matches!(
            bench.more("first", &["w:b"]),
            Err(AcquireError::Held { .. })
        ));
        assert_eq!(
            bench.store.task(&task("first")).unwrap().unwrap().standing,
            Standing::Holding
        );
    });
}

#[test]
fn what_is_given_back_is_free_and_giving_it_back_again_is_harmless() {
    everywhere(|bench| {
        bench.begin("first", &["w:a", "w:b"]).unwrap();
        let some = Release::Some(vec![lock("w:a").resource]);
        assert_eq!(bench.store.release(&task("first"), &some).unwrap(), [lock("w:a")]);
        assert_eq!(bench.store.release(&task("first"), &some).unwrap(), []);
        bench.begin("second", &["w:a"]).unwrap();
        bench.release("first");
        assert!(matches!(
            bench.store.release(&task("first"), &Release::All),
            Err(LeaseError::Unknown)
        ));
        assert_eq!(bench.held(), ["second write file:a"]);
    });
}

#[test]
fn a_task_is_opened_once() {
    everywhere(|bench| {
        bench.begin("first", &["w:a"]).unwrap();
        let transaction = bench.open("first");
        let again = bench.begin("first", &["w:b"]).unwrap_err();
        assert!(
            matches!(&again, AcquireError::TaskExists { transaction: Some(id), .. } if *id == transaction.id),
            "{again:?}"
        );
        assert!(matches!(
            bench.more("nobody", &["w:c"]),
            Err(AcquireError::UnknownTask { .. })
        ));
    });
}

#[test]
fn taking_by_force_takes_the_whole_lease_and_is_remembered() {
    everywhere(|bench| {
        bench.begin("first", &["w:a", "w:b"]).unwrap();
        bench.begin("other", &["w:c"]).unwrap();
        let steal = Steal {
            from: None,
            resources: vec![lock("w:a").resource],
            by: "somebody".to_owned(),
            reason: "it sleeps".to_owned(),
        };
        let taken = bench.store.steal(&steal).unwrap();
        let mut resources: Vec<&Resource> = taken.iter().map(|conflict| &conflict.resource).collect();
        resources.sort();
        assert_eq!(resources, [&lock("w:a").resource, &lock("w:b").resource]);
        assert!(matches!(bench.store.renew(&task("first")), Err(LeaseError::Lost)));
        assert_eq!(bench.held(), ["other write file:c"]);
        let events = bench.store.events(0, 100).unwrap();
        let stolen = events
            .iter()
            .find(|event| event.kind.as_str() == "resource.stolen")
            .unwrap();
        assert_eq!(stolen.reason.as_deref(), Some("by somebody: it sleeps"));
        // Asking anew wins what is free, under a new token.
        bench.more("first", &["w:a"]).unwrap();
        bench.store.renew(&task("first")).unwrap();
    });
}
