//! Thousands of made-up days: the real lock logic on a made-up clock, with workers that ask, wait, forget, die and are
//! robbed, chosen by a seed. The oracle reads the history of each: nobody is given what another has, tokens grow, and
//! nobody is overtaken. What overtaking means where something is shared out is said in `support/oracle.rs`: nobody has
//! what is set aside for an earlier one, and so much is set aside as it wants.
//!
//! Not simulated are real processes, lost wake-ups and the disk; the fault campaign has those.

use std::time::Duration;

use mirror::model::Event;
use mirror::store::{Release, Steal, Store};

use super::bench::{Bench, MEMORY, lock, out_of_order, task};
use crate::support::oracle::Oracle;

const NAMES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];
const WANTS: [&str; 22] = [
    "w:a",
    "r:a",
    "w:a/b",
    "r:a/",
    "w:a/",
    "w:a/*",
    "r:a/b/c",
    "w:ab",
    "r:.",
    "w:.",
    "w:c",
    "w:d/e",
    "w:service:db",
    "r:service:db:1",
    "any:db",
    "any:db*2",
    "w:pool:db/2",
    "any:ports",
    "w:port:5001",
    "quota:memory=5",
    "quota:memory=9",
    "quota:memory=16",
];

/// How many seeds each run takes, and how many acts each of them.
const SEEDS: u64 = 10_000;
const SEEDS_ON_DISK: u64 = 60;
const ACTS: usize = 40;

#[test]
fn nobody_is_wronged_in_ten_thousand_made_up_days() {
    for seed in 0..SEEDS {
        live(Bench::memory(), seed);
    }
}

#[test]
fn nor_in_some_that_are_kept_on_disk() {
    for seed in SEEDS..SEEDS + SEEDS_ON_DISK {
        live(Bench::sqlite(), seed);
    }
}

fn live(mut bench: Bench, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut oracle = Oracle::over([("memory", MEMORY)]);
    let mut last = 0;
    let mut history = Vec::new();
    for _ in 0..ACTS {
        let act = act(&mut bench, &mut random);
        for event in news(&mut bench.store, &mut last) {
            let wrong = oracle.look(&event).err();
            history.push(format!("{act}: {event:?}"));
            assert_eq!(wrong, None, "seed {seed}\n{}", history.join("\n"));
        }
        let wrong = out_of_order(&mut bench.store);
        assert_eq!(wrong, None, "seed {seed}\n{}", history.join("\n"));
    }
}

fn news(store: &mut Store, last: &mut u64) -> Vec<Event> {
    let events = store.events(*last, usize::MAX).unwrap();
    *last = events.last().map_or(*last, |event| event.seq);
    events
}

fn act(bench: &mut Bench, random: &mut fastrand::Rng) -> &'static str {
    let name = *random.choice(&NAMES).unwrap();
    let count = random.usize(1..4);
    let wants = random.choose_multiple(&WANTS, count);
    let wants: Vec<&str> = wants.into_iter().copied().collect();
    match random.u32(..24) {
        0..4 => {
            let pid = random.bool().then(|| random.u32(1..9));
            drop(bench.begin_as(name, pid, &wants));
            "begin"
        }
        4..7 => {
            drop(bench.more(name, &wants));
            "more"
        }
        7..12 => {
            drop(bench.stand(name, &wants));
            "stand"
        }
        12..16 => {
            drop(bench.store.release(&task(name), &Release::All));
            "release"
        }
        16 => {
            let some = wants.iter().map(|want| lock(want).resource).collect();
            drop(bench.store.release(&task(name), &Release::Some(some)));
            "release some"
        }
        17 => {
            drop(bench.store.renew(&task(name)));
            "renew"
        }
        18 => {
            bench.machine.kill(random.u32(1..9));
            "kill"
        }
        19..21 => {
            bench.machine.pass(Duration::from_secs(random.u64(1..90)));
            "pass"
        }
        21 => {
            let steal = Steal {
                from: random.bool().then(|| task(name)),
                resources: wants.iter().map(|want| lock(want).resource).collect(),
                by: "somebody".to_owned(),
                reason: "a test".to_owned(),
            };
            drop(bench.store.steal(&steal));
            "steal"
        }
        22 => {
            drop(bench.store.reap());
            "reap"
        }
        _ => {
            if random.u32(..4) == 0 {
                bench.machine.reboot();
            }
            "reboot, perhaps"
        }
    }
}
