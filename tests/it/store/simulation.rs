//! Thousands of made-up days: the real lock logic on a made-up clock, with workers that ask, wait, forget, die and are
//! robbed, chosen by a seed. Some of them are runs, which have a transaction and want more while they work: at once or never, or
//! waiting with what they have, and asking again when their time was over. The oracle reads the history of each day: nobody is
//! given what another has, tokens grow, and nobody is overtaken. What overtaking means where something is shared out is said in
//! `support/oracle.rs`: nobody has what is set aside for an earlier one, and so much is set aside as it wants. Of those who
//! grow, `support/waits.rs`: nobody loses what it has over it, who asks again has its old place, and who would wait for ever is told
//! for whom; nobody else is.
//!
//! Not simulated are real processes, lost wake-ups and the disk; the fault campaign has those.

use std::collections::BTreeMap;
use std::time::Duration;

use mirror::host::Host as _;
use mirror::model::{Event, EventKind, Mode, Resource, TaskId, TransactionId, Verdict};
use mirror::store::{AcquireError, Asker, Grant, Release, Steal, Store, Task, Wait};

use super::bench::{Bench, MEMORY, lock, locks, out_of_order, task};
use crate::support::oracle::Oracle;
use crate::support::waits::Ended;

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

/// How many days go on at once.
const THREADS: u64 = 2;

/// How long a place is kept for whoever went away.
const PLACE_KEPT: Duration = Duration::from_secs(10);

#[test]
fn nobody_is_wronged_in_ten_thousand_made_up_days() {
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                for seed in (first..SEEDS).step_by(usize::try_from(THREADS).unwrap()) {
                    Day::new(Bench::memory(), seed).live();
                }
            });
        }
    });
}

#[test]
fn nor_in_some_that_are_kept_on_disk() {
    for seed in SEEDS..SEEDS + SEEDS_ON_DISK {
        Day::new(Bench::sqlite(), seed).live();
    }
}

/// A made-up day.
struct Day {
    bench: Bench,
    seed: u64,
    random: fastrand::Rng,
    oracle: Oracle,
    /// The number of the newest event that the oracle has seen.
    last: u64,
    history: Vec<(&'static str, Event)>,
    /// The transactions of those who are runs.
    runs: BTreeMap<&'static str, TransactionId>,
    /// What each waited for last, and when it went away.
    waited: BTreeMap<&'static str, (Vec<&'static str>, Duration)>,
    /// How much of the day is over.
    passed: Duration,
}

/// A request and what came of it.
struct Asked {
    name: &'static str,
    wants: Vec<&'static str>,
    /// The place that it had before.
    place: Option<u64>,
    answer: Result<Grant, AcquireError>,
}

impl Day {
    fn new(bench: Bench, seed: u64) -> Self {
        Self {
            bench,
            seed,
            random: fastrand::Rng::with_seed(seed),
            oracle: Oracle::over([("memory", MEMORY)]),
            last: 0,
            history: Vec::new(),
            runs: BTreeMap::new(),
            waited: BTreeMap::new(),
            passed: Duration::ZERO,
        }
    }

    fn live(mut self) {
        for _ in 0..ACTS {
            let (act, asked) = self.act();
            let news = news(&mut self.bench.store, &mut self.last);
            for event in &news {
                let wrong = self.oracle.look(event).err();
                self.history.push((act, event.clone()));
                self.agree(wrong);
            }
            if !news.is_empty() {
                let tasks = self.bench.store.tasks().unwrap();
                self.agree(out_of_order(&tasks));
                self.agree(self.oracle.lost(&held(&tasks)));
            }
            if let Some(asked) = asked {
                let wrong = self.judge(&asked, &news);
                self.agree(
                    wrong.map(|wrong| format!("{act} of {} for {:?}: {wrong}", asked.name, asked.wants)),
                );
            }
        }
    }

    #[track_caller]
    fn agree(&self, wrong: Option<String>) {
        if let Some(wrong) = wrong {
            let lines = self
                .history
                .iter()
                .map(|(act, event)| format!("{act}: {event:?}\n"));
            panic!("seed {}\n{}{wrong}", self.seed, lines.collect::<String>());
        }
    }

    /// Looks at an answer.
    fn judge(&mut self, asked: &Asked, news: &[Event]) -> Option<String> {
        let (who, wants) = (task(asked.name), locks(&asked.wants));
        let is_queued = news
            .iter()
            .any(|event| event.kind == EventKind::ResourceWaited && event.task.as_ref() == Some(&who));
        match &asked.answer {
            Ok(_) if !self.oracle.has(&who, &wants) => Some("it was granted, and is not there".to_owned()),
            Err(AcquireError::Deadlock { .. }) if is_queued => {
                Some("it was refused, and stands in line".to_owned())
            }
            Err(AcquireError::Deadlock { cycle }) if cycle.first() != Some(&who) => {
                Some(format!("{cycle:?} does not begin with it"))
            }
            Err(AcquireError::Deadlock { cycle }) => {
                let ended = self.ended(&who, false);
                self.oracle.no_cycle(cycle, &wants, &ended)
            }
            Err(AcquireError::TimedOut { .. }) => match (self.oracle.place(&who), asked.place) {
                (None, _) => Some("it has lost its place".to_owned()),
                (Some((now, _)), Some(before)) if now != before => {
                    Some(format!("its place was {before}, and is {now}"))
                }
                _ => {
                    let ended = self.ended(&who, true);
                    let stuck = self.oracle.cycle_through(&who, &ended);
                    stuck.map(|stuck| format!("nobody of {stuck:?} will ever be served"))
                }
            },
            _ => None,
        }
    }

    /// What keeps nobody waiting any more, of all others than `who`: places that nobody came back to, and leases whose time is over
    /// or whose process is dead. Of a lease that ended by its time a part may be left alone for a while; such leases count if
    /// `in_part`.
    fn ended(&mut self, who: &TaskId, in_part: bool) -> Ended {
        let mut ended = Ended::default();
        for task in self.bench.store.tasks().unwrap() {
            let waited = self.waited.get(task.id.as_str());
            let is_away = waited.is_none_or(|(_, since)| self.passed >= *since + PLACE_KEPT);
            let left_alone = task.locks.iter().any(|held| !held.lock.resource.is_path());
            let is_over = task.expires_in_ms < 0 && (in_part || !left_alone);
            let is_dead = self.bench.machine.verdict(&task.owner) == Verdict::Dead;
            if task.id == *who {
                continue;
            }
            if is_away {
                ended.places.insert(task.id.clone());
            }
            if is_over || is_dead {
                ended.leases.insert(task.id);
            }
        }
        ended
    }

    /// Waits with all that the task has, as long as nobody waits at all, and is away then.
    fn wait(&mut self, name: &'static str, wants: Vec<&'static str>) -> Asked {
        let is_in_time = self
            .waited
            .get(name)
            .is_some_and(|(_, since)| self.passed < *since + PLACE_KEPT);
        let place = self.oracle.place(&task(name));
        let place = place.filter(|(_, before)| is_in_time && **before == locks(&wants));
        let place = place.map(|(number, _)| number);
        let asker = if self.runs.contains_key(name) {
            Asker::Task(task(name))
        } else {
            self.bench.asker(name, None)
        };
        let wait = Wait::UpTo(Duration::ZERO);
        let answer = self
            .bench
            .store
            .acquire(&asker, &locks(&wants), wait, &mut |_| {});
        // A place that it had stays as old as it was.
        if !matches!(answer, Err(AcquireError::Deadlock { .. })) {
            self.waited.insert(name, (wants.clone(), self.passed));
        }
        Asked {
            name,
            wants,
            place,
            answer,
        }
    }

    /// Begins a run: a task that is tied to a process and has a transaction.
    fn run(&mut self, name: &'static str, wants: Vec<&'static str>) -> Asked {
        let pid = self.random.u32(1..9);
        let answer = self.bench.begin_as(name, Some(pid), &wants);
        if answer.is_ok() {
            self.runs.insert(name, self.bench.open(name).id);
        }
        Asked {
            name,
            wants,
            place: None,
            answer,
        }
    }

    fn end_run(&mut self, name: &str) {
        if let Some(transaction) = self.runs.remove(name) {
            self.bench.store.roll_back(&transaction).unwrap();
        }
    }

    fn act(&mut self) -> (&'static str, Option<Asked>) {
        let name = *self.random.choice(&NAMES).unwrap();
        let count = self.random.usize(1..4);
        let wants: Vec<&'static str> = self
            .random
            .choose_multiple(&WANTS, count)
            .into_iter()
            .copied()
            .collect();
        match self.random.u32(..32) {
            0..4 => {
                let pid = self.random.bool().then(|| self.random.u32(1..9));
                drop(self.bench.begin_as(name, pid, &wants));
                ("begin", None)
            }
            4..8 => ("run", Some(self.run(name, wants))),
            8..12 => {
                let answer = self.bench.more(name, &wants);
                let place = None;
                (
                    "more",
                    Some(Asked {
                        name,
                        wants,
                        place,
                        answer,
                    }),
                )
            }
            12..18 => ("wait", Some(self.wait(name, wants))),
            18..21 => {
                let Some((wants, _)) = self.waited.get(name).cloned() else {
                    return ("nothing to ask again", None);
                };
                ("wait again", Some(self.wait(name, wants)))
            }
            21..23 => {
                self.end_run(name);
                ("end", None)
            }
            _ => (self.happen(name, &wants), None),
        }
    }

    /// What happens beside asking.
    fn happen(&mut self, name: &str, wants: &[&str]) -> &'static str {
        let Self { bench, random, .. } = self;
        match random.u32(..10) {
            0..3 => {
                drop(bench.store.release(&task(name), &Release::All));
                "release"
            }
            3 => {
                let some = wants.iter().map(|want| lock(want).resource).collect();
                drop(bench.store.release(&task(name), &Release::Some(some)));
                "release some"
            }
            4 => {
                drop(bench.store.renew(&task(name)));
                "renew"
            }
            5 => {
                bench.machine.kill(random.u32(1..9));
                "kill"
            }
            6 => {
                let span = Duration::from_secs(random.u64(1..90));
                bench.machine.pass(span);
                self.passed += span;
                "pass"
            }
            7 => {
                let steal = Steal {
                    from: random.bool().then(|| task(name)),
                    resources: wants.iter().map(|want| lock(want).resource).collect(),
                    by: "somebody".to_owned(),
                    reason: "a test".to_owned(),
                };
                drop(bench.store.steal(&steal));
                "steal"
            }
            8 => {
                drop(bench.store.reap());
                "reap"
            }
            _ => {
                if random.u32(..4) == 0 {
                    bench.machine.reboot();
                    self.passed += PLACE_KEPT;
                }
                "reboot, perhaps"
            }
        }
    }
}

fn news(store: &mut Store, last: &mut u64) -> Vec<Event> {
    let events = store.events(*last, usize::MAX).unwrap();
    *last = events.last().map_or(*last, |event| event.seq);
    events
}

/// What each task holds.
fn held(tasks: &[Task]) -> BTreeMap<&TaskId, BTreeMap<&Resource, Mode>> {
    let mut held: BTreeMap<&TaskId, BTreeMap<&Resource, Mode>> = BTreeMap::new();
    for task in tasks {
        let locks = task.locks.iter();
        held.insert(
            &task.id,
            locks.map(|held| (&held.lock.resource, held.lock.mode)).collect(),
        );
    }
    held
}
