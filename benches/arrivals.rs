//! A thousand tasks that ask for locks when their time has come, beside Redis: an open loop, as work arrives in life.
//!
//! `cargo bench --bench arrivals`. The peer is Redis: `apt-get install redis-server`.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench is no product"
)]

mod common;

use std::io::BufRead as _;
use std::path::Path;
use std::time::{Duration, Instant};

use common::Row;
use common::actor::Actor;
use common::redis::{ACQUIRE, RELEASE, Redis, connect};
use common::registry::{asker, create, open};
use mirror::model::{Lock, LockSet, Mode, RepoPath, Resource};
use mirror::store::{Release, Wait};

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let Some(at) = words.iter().position(|word| word == "--child") {
        return child(&words[at + 1..]);
    }
    let place = tempfile::Builder::new()
        .prefix("mirror-bench-")
        .tempdir()
        .unwrap();
    let Some(redis) = Redis::start(place.path()) else {
        println!(
            "NOT MEASURED: redis-server is not installed, so there is no peer (apt-get install redis-server)"
        );
        return;
    };
    arriving(&place.path().join("registry"), &redis);
}

/// A thousand processes that ask when their time has come, whether or not the last answer was quick: ten paths of a hundred
/// thousand, one second of thinking on average.
fn arriving(directory: &Path, redis: &Redis) {
    drop(create(directory));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ARRIVING_ROUNDS {
        ours.push(latencies("mirror-arriving", directory));
        theirs.push(latencies("redis-arriving", &redis.socket));
    }
    for (percent, target) in [(50, 0.9), (99, 1.0)] {
        let count = ours[0].len();
        let what = format!("{ARRIVING} processes, about {count} sets in {ARRIVING_TIME:?}: p{percent}");
        let part = |round: &Vec<Duration>| round[(round.len() - 1) * percent / 100];
        Row {
            what: &what,
            peer: "Redis, one Lua script each",
            target,
        }
        .print(ours.iter().map(part).collect(), theirs.iter().map(part).collect());
    }
}

const ARRIVING: usize = 1_000;
const ARRIVING_TIME: Duration = Duration::from_secs(10);
const ARRIVING_ROUNDS: usize = 3;
const ARRIVING_PATHS: u64 = 100_000;

/// How long each set took, from the moment at which it was due; in order of length.
fn latencies(kind: &str, at: &Path) -> Vec<Duration> {
    let start = |number: usize| Actor::start(&[kind, at.to_str().unwrap(), &number.to_string()]);
    let mut children: Vec<Actor> = (0..ARRIVING).map(start).collect();
    for child in &mut children {
        assert_eq!(child.hear(), "ready");
    }
    for child in &mut children {
        child.tell("go");
    }
    let mut found: Vec<Duration> = Vec::new();
    for child in &mut children {
        let micros = child.hear();
        found.extend(
            micros
                .split(' ')
                .filter(|word| !word.is_empty())
                .map(|word| Duration::from_micros(word.parse().unwrap())),
        );
    }
    found.sort();
    found
}

/// Asks at moments that nothing but chance decides. Answers the microseconds from each to its grant.
fn arrive(seed: u64, mut grant: impl FnMut(&[u64])) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let began = Instant::now();
    let (mut due, mut micros) = (Duration::ZERO, Vec::new());
    loop {
        // Exponential, with a mean of one second.
        due += Duration::from_secs_f64(-(1.0 - random.f64()).ln());
        if due > ARRIVING_TIME {
            return micros.join(" ");
        }
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        let paths: Vec<u64> = (0..10).map(|_| random.u64(..ARRIVING_PATHS)).collect();
        grant(&paths);
        micros.push(began.elapsed().saturating_sub(due).as_micros().to_string());
    }
}

/// What a child process does: a kind, a directory or socket, a number.
fn child(words: &[String]) {
    let (kind, at, number) = (words[0].as_str(), Path::new(&words[1]), &words[2]);
    let mut lines = std::io::stdin().lock().lines();
    match kind {
        "mirror-arriving" => {
            let mut store = open(at);
            let asker = asker(&format!("worker-{number}"));
            println!("ready");
            lines.next();
            let micros = arrive(number.parse().unwrap(), |paths| {
                let lock = |number: &u64| Lock {
                    resource: Resource::File(RepoPath::new(format!("dir{}/{number}", number / 100)).unwrap()),
                    mode: Mode::Write,
                };
                let set: LockSet = paths.iter().map(lock).collect();
                store
                    .acquire(&asker, &set, Wait::UpTo(Duration::from_mins(1)), &mut |_| {})
                    .unwrap();
                store.release(asker.task(), &Release::All).unwrap();
                store.after_command();
            });
            println!("{micros}");
        }
        "redis-arriving" => {
            let mut connection = connect(at);
            let (acquire, release) = (redis::Script::new(ACQUIRE), redis::Script::new(RELEASE));
            println!("ready");
            lines.next();
            let micros = arrive(number.parse().unwrap(), |paths| {
                let keys: Vec<String> = paths.iter().map(|path| format!("lock:{path}")).collect();
                while acquire
                    .key(&keys[..])
                    .arg(number)
                    .invoke::<i64>(&mut connection)
                    .unwrap()
                    == 0
                {}
                let _: () = release
                    .key(&keys[..])
                    .arg(number)
                    .invoke(&mut connection)
                    .unwrap();
            });
            println!("{micros}");
        }
        other => panic!("no part for {other}"),
    }
}
