//! Both stores answer the same to whatever is asked of them, and what they hold never conflicts: a property.

use std::time::Duration;

use mirror::model::Resource;
use mirror::store::{AcquireError, Standing};
use proptest::prelude::*;

use super::bench::{Bench, locks, out_of_order, task};

const NAMES: [&str; 4] = ["one", "two", "three", "four"];
const WANTS: [&str; 19] = [
    "w:a",
    "r:a",
    "w:a/b",
    "r:a/",
    "w:a/",
    "w:a/*",
    "r:a/b/c",
    "w:ab",
    "r:.",
    "w:c",
    "w:service:db",
    "r:service:db:1",
    "any:db",
    "any:db*2",
    "any:ports",
    "w:port:5001",
    "quota:memory=5",
    "quota:memory=9",
    "quota:memory=16",
];

#[derive(Debug, Clone)]
enum Act {
    Begin(usize, Option<u32>, Vec<usize>),
    More(usize, Vec<usize>),
    Stand(usize, Vec<usize>),
    Release(usize),
    GiveBack(usize, Vec<usize>),
    Renew(usize),
    Kill(u32),
    Pass(u64),
    Reboot,
    Reap,
}

fn act() -> impl Strategy<Value = Act> {
    let name = 0..NAMES.len();
    let wants = prop::collection::vec(0..WANTS.len(), 1..4);
    prop_oneof![
        4 => (name.clone(), prop::option::of(1_u32..4), wants.clone()).prop_map(|(name, pid, wants)| Act::Begin(name, pid, wants)),
        3 => (name.clone(), wants.clone()).prop_map(|(name, wants)| Act::More(name, wants)),
        3 => (name.clone(), wants.clone()).prop_map(|(name, wants)| Act::Stand(name, wants)),
        4 => name.clone().prop_map(Act::Release),
        1 => (name.clone(), wants).prop_map(|(name, wants)| Act::GiveBack(name, wants)),
        1 => name.prop_map(Act::Renew),
        1 => (1_u32..4).prop_map(Act::Kill),
        2 => (1_u64..70).prop_map(Act::Pass),
        1 => Just(Act::Reboot),
        1 => Just(Act::Reap),
    ]
}

fn perform(bench: &mut Bench, act: &Act) -> String {
    let wants = |wants: &[usize]| wants.iter().map(|want| WANTS[*want]).collect::<Vec<_>>();
    let outcome = |answer: Result<mirror::store::Grant, AcquireError>| match answer {
        Ok(grant) => format!("{:?}", grant.granted),
        Err(AcquireError::Held { conflicts } | AcquireError::TimedOut { conflicts }) => {
            let mut names: Vec<_> = conflicts
                .iter()
                .map(|conflict| conflict.holder.task.to_string())
                .collect();
            names.sort();
            names.dedup();
            format!("held by {names:?}")
        }
        Err(other) => format!("{other:?}"),
    };
    match act {
        Act::Begin(name, pid, wanted) => {
            let answer = bench.begin_as(NAMES[*name], *pid, &wants(wanted));
            outcome(answer)
        }
        Act::More(name, wanted) => outcome(bench.more(NAMES[*name], &wants(wanted))),
        Act::Stand(name, wanted) => outcome(bench.stand(NAMES[*name], &wants(wanted))),
        Act::Release(name) => {
            format!(
                "{:?}",
                bench
                    .store
                    .release(&task(NAMES[*name]), &mirror::store::Release::All)
                    .is_ok()
            )
        }
        Act::GiveBack(name, some) => {
            let some = locks(&wants(some)).in_line().map(|lock| lock.resource).collect();
            format!(
                "{:?}",
                bench
                    .store
                    .release(&task(NAMES[*name]), &mirror::store::Release::Some(some))
                    .ok()
            )
        }
        Act::Renew(name) => format!("{:?}", bench.store.renew(&task(NAMES[*name])).is_ok()),
        Act::Kill(pid) => {
            bench.machine.kill(*pid);
            String::new()
        }
        Act::Pass(seconds) => {
            bench.machine.pass(Duration::from_secs(*seconds));
            String::new()
        }
        Act::Reboot => {
            bench.machine.reboot();
            String::new()
        }
        Act::Reap => format!("{:?}", bench.store.reap().unwrap()),
    }
}

/// What holds of every store at every moment.
fn assert_in_order(bench: &mut Bench) {
    assert_eq!(out_of_order(&bench.store.tasks().unwrap()), None);
    let tasks = bench.store.tasks().unwrap();
    // What is lost is lost, but for services: they do not ask for tokens, and are left alone for one lease more.
    for task in tasks.iter().filter(|task| task.standing == Standing::Lost) {
        let mut resources = task.locks.iter().map(|held| &held.lock.resource);
        assert!(resources.all(Resource::is_unfenced), "{task:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn memory_and_sqlite_agree_and_exclude(acts in prop::collection::vec(act(), 1..40)) {
        let (mut sqlite, mut memory) = (Bench::sqlite(), Bench::memory());
        for act in &acts {
            let (one, other) = (perform(&mut sqlite, act), perform(&mut memory, act));
            prop_assert_eq!(one, other, "{:?}", act);
            prop_assert_eq!(sqlite.held(), memory.held(), "{:?}", act);
            assert_in_order(&mut sqlite);
        }
    }
}
