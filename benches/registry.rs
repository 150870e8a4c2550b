//! The lock registry beside Redis: one Lua script for a lock set, over a unix socket, `appendonly yes`, `appendfsync everysec`.
//!
//! `cargo bench --bench registry`. Redis is optional: `apt-get install redis-server`.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench is no product"
)]

mod common;

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::actor::{Actor, monotonic};
use common::redis::{ACQUIRE, RELEASE, Redis, connect};
use common::registry::{asker, create, open};
use common::{Row, timed};
use mirror::model::{Lock, LockSet, Mode, RepoPath, Resource};
use mirror::store::{Asker, Release, Store, Wait};

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let Some(at) = words.iter().position(|word| word == "--child") {
        return child(&words[at + 1..]);
    }
    let place = tempfile::Builder::new()
        .prefix("mirror-bench-")
        .tempdir()
        .unwrap();
    growth(&place.path().join("growth"));
    let Some(redis) = Redis::start(place.path()) else {
        println!(
            "NOT MEASURED: redis-server is not installed, so there is no peer (apt-get install redis-server)"
        );
        return;
    };
    sets(&place.path().join("sets"), &redis);
    crowds(&place.path().join("crowds"), &redis);
    waking(&place.path().join("waking"), &redis);
}

fn locks(prefix: &str, count: usize) -> LockSet {
    let lock = |number| Lock {
        resource: Resource::File(RepoPath::new(format!("{prefix}/{number}")).unwrap()),
        mode: Mode::Write,
    };
    (0..count).map(lock).collect()
}

fn hold(store: &mut Store, name: &str, count: usize) {
    for task in 0..count / 1_000 {
        let asker = asker(&format!("{name}-{task}"));
        store
            .acquire(
                &asker,
                &locks(&format!("{name}/{task}"), 1_000),
                Wait::Never,
                &mut |_| {},
            )
            .unwrap();
    }
}

/// One acquire and release, the mean of a hundred.
fn cycle(store: &mut Store, asker: &Asker, set: &LockSet) -> Duration {
    const TIMES: u32 = 100;
    timed(|| {
        for _ in 0..TIMES {
            store.acquire(asker, set, Wait::Never, &mut |_| {}).unwrap();
            store.release(asker.task(), &Release::All).unwrap();
        }
        store.after_command();
    }) / TIMES
}

fn growth(directory: &Path) {
    let (mut few, mut many) = (create(&directory.join("few")), create(&directory.join("many")));
    hold(&mut few, "held", 1_000);
    hold(&mut many, "held", 100_000);
    let (asker, set) = (asker("bench"), locks("src/some/where", 10));
    Row {
        what: "acquire + release of 10 paths, 100,000 locks held",
        peer: "the same, 1,000 held",
        target: 1.5,
    }
    .compare(
        30,
        || cycle(&mut many, &asker, &set),
        || cycle(&mut few, &asker, &set),
    );
}

fn sets(directory: &Path, redis: &Redis) {
    let mut store = create(directory);
    hold(&mut store, "held", 1_000);
    let mut connection = redis.connect();
    let (acquire, release) = (redis::Script::new(ACQUIRE), redis::Script::new(RELEASE));
    for count in [1, 10, 100] {
        let (asker, set) = (asker("bench"), locks("src/some/where", count));
        let keys: Vec<String> = (0..count)
            .map(|number| format!("lock:src/some/where/{number}"))
            .collect();
        let what = format!("acquire + release of {count} paths");
        Row {
            what: &what,
            peer: "Redis, one Lua script each",
            target: 0.6,
        }
        .compare(
            30,
            || cycle(&mut store, &asker, &set),
            || {
                timed(|| {
                    for _ in 0..100 {
                        let _: i64 = acquire
                            .key(&keys[..])
                            .arg("bench")
                            .invoke(&mut connection)
                            .unwrap();
                        let _: () = release
                            .key(&keys[..])
                            .arg("bench")
                            .invoke(&mut connection)
                            .unwrap();
                    }
                }) / 100
            },
        );
    }
}

/// Many processes, each with a path of its own, without a pause: the time for one cycle of everybody together.
fn crowds(directory: &Path, redis: &Redis) {
    drop(create(directory));
    for count in [8, 64] {
        let what = format!("{count} processes, a path each, no pause: time per grant");
        let run_all = |kind: &str, at: &Path| {
            let mut children: Vec<Actor> = (0..count)
                .map(|number| Actor::start(&[kind, at.to_str().unwrap(), &number.to_string()]))
                .collect();
            for child in &mut children {
                child.tell("go");
            }
            let grants: u64 = children
                .iter_mut()
                .map(|child| child.hear().parse::<u64>().unwrap())
                .sum();
            CROWD_TIME / u32::try_from(grants).unwrap()
        };
        Row {
            what: &what,
            peer: "Redis, one Lua script each",
            target: 1.25,
        }
        .compare(
            3,
            || run_all("mirror-crowd", directory),
            || run_all("redis-crowd", &redis.socket),
        );
    }
}

const CROWD_TIME: Duration = Duration::from_secs(2);

/// From giving a lock back until the waiter, another process, holds it.
fn waking(directory: &Path, redis: &Redis) {
    let mut store = create(directory);
    let holder = asker("holder");
    let set = locks("hot", 1);
    let mut waiter = Actor::start(&["mirror-waiter", directory.to_str().unwrap(), "0"]);
    let mut blocked = Actor::start(&["redis-waiter", redis.socket.to_str().unwrap(), "0"]);
    let mut connection = redis.connect();
    Row {
        what: "from release to the waiter holding it",
        peer: "Redis BLPOP",
        target: 0.9,
    }
    .compare(
        200,
        || {
            store.acquire(&holder, &set, Wait::Never, &mut |_| {}).unwrap();
            waiter.tell("wait");
            while store.waiters().unwrap().is_empty() {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(2));
            let began = monotonic();
            store.release(holder.task(), &Release::All).unwrap();
            let held: u64 = waiter.hear().parse().unwrap();
            waiter.tell("release");
            waiter.hear();
            Duration::from_nanos(held.saturating_sub(began))
        },
        || {
            blocked.tell("wait");
            let clients = || -> String {
                redis::cmd("CLIENT")
                    .arg("LIST")
                    .query(&mut redis.connect())
                    .unwrap()
            };
            while !clients().contains("cmd=blpop") {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(2));
            let began = monotonic();
            let _: i64 = redis::cmd("RPUSH")
                .arg("hot")
                .arg("yours")
                .query(&mut connection)
                .unwrap();
            let held: u64 = blocked.hear().parse().unwrap();
            Duration::from_nanos(held.saturating_sub(began))
        },
    );
}

/// What a child process does: a kind, a directory or socket, a number.
fn child(words: &[String]) {
    let (kind, at, number) = (words[0].as_str(), PathBuf::from(&words[1]), &words[2]);
    let mut lines = std::io::stdin().lock().lines();
    match kind {
        "mirror-crowd" => {
            let mut store = open(&at);
            let (asker, set) = (
                asker(&format!("worker-{number}")),
                locks(&format!("own/{number}"), 1),
            );
            lines.next();
            println!(
                "{}",
                crowd(|| {
                    store.acquire(&asker, &set, Wait::Never, &mut |_| {}).unwrap();
                    store.release(asker.task(), &Release::All).unwrap();
                    store.after_command();
                })
            );
        }
        "redis-crowd" => {
            let mut connection = connect(&at);
            let (acquire, release) = (redis::Script::new(ACQUIRE), redis::Script::new(RELEASE));
            let key = format!("lock:own/{number}");
            lines.next();
            println!(
                "{}",
                crowd(|| {
                    let _: i64 = acquire.key(&key).arg(number).invoke(&mut connection).unwrap();
                    let _: () = release.key(&key).arg(number).invoke(&mut connection).unwrap();
                })
            );
        }
        "mirror-waiter" => {
            let mut store = open(&at);
            let (asker, set) = (asker("waiter"), locks("hot", 1));
            while let Some(Ok(_)) = lines.next() {
                store
                    .acquire(&asker, &set, Wait::UpTo(Duration::from_mins(1)), &mut |_| {})
                    .unwrap();
                println!("{}", monotonic());
                lines.next();
                store.release(asker.task(), &Release::All).unwrap();
                println!("released");
            }
        }
        "redis-waiter" => {
            let mut connection = connect(&at);
            while let Some(Ok(_)) = lines.next() {
                let _told: Vec<String> = redis::cmd("BLPOP")
                    .arg("hot")
                    .arg(60)
                    .query(&mut connection)
                    .unwrap();
                println!("{}", monotonic());
            }
        }
        other => panic!("no part for {other}"),
    }
}

fn crowd(mut work: impl FnMut()) -> u64 {
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < CROWD_TIME {
        work();
        count += 1;
    }
    count
}
