//! When a lease ends, and what a token is worth: S11 to S13.

use std::time::Duration;

use mirror::store::{AcquireError, Attempt, LeaseError, Standing};

use super::bench::{Bench, everywhere, locks, task, token};

const LEASE: Duration = Duration::from_mins(1);

#[test]
fn a_lease_ends_by_its_time_only_when_somebody_wants_it() {
    everywhere(|bench| {
        let first = bench.begin("first", &["w:a", "w:b"]).unwrap();
        bench.machine.pass(LEASE * 2);
        // Nobody wanted it: it goes on under the same token.
        let renewed = bench.store.renew(&task("first")).unwrap();
        assert_eq!(
            (renewed.token, renewed.standing),
            (token(&first), Standing::Holding)
        );
        assert!(matches!(
            bench.begin("second", &["w:a"]),
            Err(AcquireError::Held { .. })
        ));
        bench.machine.pass(LEASE);
        let second = bench.begin("second", &["w:a"]).unwrap();
        assert!(token(&second) > token(&first));
        // Half a lock set is of no use: all of it is gone, and every verb says so.
        assert_eq!(bench.held(), ["second write file:a"]);
        assert!(matches!(bench.store.renew(&task("first")), Err(LeaseError::Lost)));
        assert_eq!(
            bench.store.task(&task("first")).unwrap().unwrap().standing,
            Standing::Lost
        );
    });
}

#[test]
fn a_refusal_reaps_nothing_of_what_it_looked_at() {
    everywhere(|bench| {
        bench.begin("old", &["w:a"]).unwrap();
        bench.machine.pass(LEASE * 2);
        bench.begin("fresh", &["w:b"]).unwrap();
        assert!(matches!(
            bench.begin("third", &["w:a", "w:b"]),
            Err(AcquireError::Held { .. })
        ));
        bench.store.renew(&task("old")).unwrap();
        assert_eq!(bench.held(), ["fresh write file:b", "old write file:a"]);
    });
}

#[test]
fn a_process_holds_as_long_as_it_lives_and_not_an_instant_longer() {
    everywhere(|bench| {
        bench.begin_as("first", Some(7), &["w:a"]).unwrap();
        bench.machine.pass(LEASE * 10);
        assert!(matches!(
            bench.begin("second", &["w:a"]),
            Err(AcquireError::Held { .. })
        ));
        bench.machine.kill(7);
        bench.begin("second", &["w:a"]).unwrap();
        assert!(matches!(bench.store.renew(&task("first")), Err(LeaseError::Lost)));
    });
}

#[test]
fn who_is_dead_is_in_nobodys_way_unless_a_commit_is_unfinished() {
    everywhere(|bench| {
        bench.begin_as("first", Some(7), &["w:a"]).unwrap();
        let in_the_way =
            |bench: &mut Bench| !bench.store.conflicts(&locks(&["w:a"]), None).unwrap().is_empty();
        assert!(in_the_way(bench));
        let transaction = bench.open("first");
        bench
            .store
            .begin_commit(&transaction.id, &Attempt::default())
            .unwrap();
        bench.machine.kill(7);
        assert!(in_the_way(bench), "recovery has to end it first");
        bench.store.abort(&transaction.id).unwrap();
        bench.store.reopen(&transaction.id).unwrap();
        assert!(!in_the_way(bench));
    });
}

#[test]
fn unknown_is_not_dead_but_its_time_runs() {
    everywhere(|bench| {
        bench.begin_as("first", Some(7), &["w:a"]).unwrap();
        bench.machine.hide(7);
        assert!(matches!(
            bench.begin("second", &["w:a"]),
            Err(AcquireError::Held { .. })
        ));
        bench.machine.pass(LEASE);
        bench.begin("second", &["w:a"]).unwrap();
    });
}

#[test]
fn even_a_live_process_does_not_hold_for_ever() {
    everywhere(|bench| {
        bench.begin_as("first", Some(7), &["w:a"]).unwrap();
        bench.machine.pass(Duration::from_hours(1));
        bench.begin("second", &["w:a"]).unwrap();
    });
}

#[test]
fn a_service_is_left_alone_for_one_lease_more() {
    everywhere(|bench| {
        bench.begin("first", &["w:service:db"]).unwrap();
        bench.machine.pass(LEASE + LEASE / 2);
        assert!(matches!(
            bench.begin("second", &["w:service:db"]),
            Err(AcquireError::Held { .. })
        ));
        bench.machine.pass(LEASE / 2);
        bench.begin("second", &["w:service:db"]).unwrap();
    });
}

#[test]
fn no_lease_outlives_a_boot_and_tokens_only_grow() {
    everywhere(|bench| {
        let mut last = token(&bench.begin_as("first", Some(7), &["w:a"]).unwrap());
        for round in 0..4 {
            if bench.is_kept {
                bench.reopen();
            }
            bench.machine.reboot();
            let grant = bench.begin(&format!("round-{round}"), &["w:a"]).unwrap();
            assert!(token(&grant) > last);
            last = token(&grant);
        }
    });
}

#[test]
fn reaping_ends_what_has_ended_and_nothing_else() {
    everywhere(|bench| {
        bench.begin_as("dead", Some(7), &["w:a"]).unwrap();
        bench.begin_as("alive", Some(8), &["w:b"]).unwrap();
        bench.begin("old", &["w:c"]).unwrap();
        bench.machine.kill(7);
        bench.machine.pass(LEASE);
        bench.begin("fresh", &["w:d"]).unwrap();
        let mut reaped = bench.store.reap().unwrap();
        reaped.sort();
        assert_eq!(reaped, [task("dead"), task("old")]);
        assert_eq!(bench.held(), ["alive write file:b", "fresh write file:d"]);
    });
}

#[test]
fn a_service_whose_time_is_up_is_not_held_twice() {
    everywhere(|bench| {
        bench.begin("first", &["w:service:db", "w:a"]).unwrap();
        bench.machine.pass(LEASE * 2);
        // The first visit after both leases finds a task that nobody has reaped before.
        bench.begin("second", &["w:service:db"]).unwrap();
        assert_eq!(bench.held(), ["second write service:db"]);
    });
}

/// Power loss may take the newest rows with it, the counter's among them. A new boot leaves room for all that a boot can
/// give out without a sync, and what is given out beyond that is synced.
#[test]
fn no_token_is_given_out_twice_over_a_power_loss() {
    const PER_BOOT: u64 = 1 << 20;
    const UNSYNCED_MAX: u64 = 1 << 19;
    let mut bench = Bench::sqlite();
    let before = token(&bench.begin("before", &["w:a"]).unwrap()).get();
    bench.machine.reboot();
    let after = token(&bench.begin("after", &["w:b"]).unwrap()).get();
    assert!(after >= before + PER_BOOT, "{after} after {before}");

    let registry = bench.registry();
    let durable = || -> u64 {
        let number = registry.query_row("SELECT token_durable FROM counter", [], |row| {
            row.get::<_, i64>(0)
        });
        number.unwrap().try_into().unwrap()
    };
    let bound = durable();
    assert!(bound >= before + PER_BOOT);
    registry
        .execute(
            "UPDATE counter SET token = token_durable + ?1",
            [i64::try_from(UNSYNCED_MAX).unwrap()],
        )
        .unwrap();
    let far = token(&bench.begin("far", &["w:c"]).unwrap()).get();
    let moved = durable();
    assert!(
        far <= moved + UNSYNCED_MAX && moved >= bound + UNSYNCED_MAX,
        "{far}, {moved}, {bound}"
    );
}
