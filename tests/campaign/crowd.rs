//! A crowd: hundreds of workers, each a process of its own, at one repository, with random lock sets, while somebody kills
//! one every 100 ms, stops others beyond their lease, and takes locks by force. The oracle reads the history afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mirror::model::Event;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::Sandbox;
use crate::support::oracle::Oracle;

/// How often somebody is killed, and how often somebody is stopped or robbed.
const KILL_EVERY: Duration = Duration::from_millis(100);
const STOP_EVERY: Duration = Duration::from_millis(350);
const STEAL_EVERY: Duration = Duration::from_millis(900);

/// A lease that a stopped worker outlives, and how long it is stopped.
const LEASE: &str = "2s";
const STOPPED: Duration = Duration::from_secs(3);

/// How many directories and files the workers fight for.
const DIRECTORIES: usize = 6;
const FILES: usize = 5;

/// What a crowd came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) workers: usize,
    pub(crate) committed: usize,
    pub(crate) killed: usize,
    pub(crate) stopped: usize,
    pub(crate) robbed: usize,
    pub(crate) grants: usize,
    pub(crate) seconds: f64,
}

/// Lets `workers` processes loose at once and looks at what is left. An error is a promise broken.
pub(crate) fn run(workers: usize, seed: u64) -> Result<Outcome, String> {
    let started = Instant::now();
    let mut random = fastrand::Rng::with_seed(seed);
    let sandbox = repository();
    let (scripts, files): (Vec<_>, Vec<_>) = (0..workers).map(|number| script(number, &mut random)).unzip();
    let start = |script: &String| sandbox.program("sh").args(["-c", script]).start_group();
    let children: Vec<_> = scripts.iter().map(start).collect();
    let pids: Vec<Pid> = children
        .iter()
        .map(|child| Pid::from_raw(i32::try_from(child.pid()).unwrap()))
        .collect();
    let over = AtomicBool::new(false);
    let (mut outcome, finished) = thread::scope(|scope| {
        let harm = scope.spawn(|| harm(&sandbox, &pids, &over, seed));
        let finished: Vec<_> = children
            .into_iter()
            .map(crate::support::running::Running::finish)
            .collect();
        over.store(true, Ordering::Relaxed);
        (harm.join().unwrap(), finished)
    });
    let acknowledged: BTreeSet<usize> = finished
        .iter()
        .enumerate()
        .filter(|(_, finished)| finished.stdout().contains("acknowledged"))
        .map(|(number, _)| number)
        .collect();
    outcome.workers = workers;
    outcome.committed = acknowledged.len();
    outcome.grants = judge(&sandbox, &acknowledged, &files)?;
    outcome.seconds = started.elapsed().as_secs_f64();
    Ok(outcome)
}

fn repository() -> Sandbox {
    let sandbox = Sandbox::unborn();
    for directory in 0..DIRECTORIES {
        for file in 0..FILES {
            sandbox.write(format!("d{directory}/f{file}"), "nobody\n");
        }
    }
    sandbox.commit_all("first");
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

/// What a worker does: waits for its locks, changes each of its files, commits, and says so; step by step, or in one `run`.
/// Answers its files as well.
fn script(number: usize, random: &mut fastrand::Rng) -> (String, Vec<String>) {
    let mirror = env!("CARGO_BIN_EXE_mirror");
    let directory = random.usize(..DIRECTORIES);
    let mut files: Vec<String> = (0..random.usize(1..4))
        .map(|_| format!("d{}/f{}", random.usize(..DIRECTORIES), random.usize(..FILES)))
        .collect();
    files.sort();
    files.dedup();
    let mut wants = String::new();
    for file in &files {
        write!(wants, " -w {file}").unwrap();
    }
    match random.u32(..8) {
        0 => write!(wants, " -w d{directory}/").unwrap(),
        1 => write!(wants, " -r d{directory}/").unwrap(),
        2 => wants.push_str(" -s db"),
        _ => {}
    }
    let is_recorded = random.bool();
    let message = if is_recorded {
        format!("-m w{number}")
    } else {
        String::new()
    };
    if random.u32(..4) == 0 {
        let work = format!("for file in {}; do echo w{number} > $file; done", files.join(" "));
        let run = format!("{mirror} run -q -t w{number} {wants} --wait 90s {message} -- sh -c '{work}'");
        return (format!("{run} && echo acknowledged\n"), files);
    }
    // Some are tied to their process, some only to a short lease.
    let tie = if random.bool() {
        "--pid $$".to_owned()
    } else {
        format!("--lease {LEASE}")
    };
    let mut script = format!("{mirror} begin -q -t w{number} {wants} --wait 90s {tie} || exit 1\n");
    for file in &files {
        writeln!(
            script,
            "echo w{number} | {mirror} stage -q -t w{number} {file} || exit 1"
        )
        .unwrap();
    }
    if random.u32(..6) == 0 {
        writeln!(script, "{mirror} rollback -q -t w{number}").unwrap();
    } else {
        writeln!(
            script,
            "{mirror} commit -q -t w{number} {message} && echo acknowledged"
        )
        .unwrap();
    }
    (script, files)
}

/// Kills, stops and robs until everybody is done.
fn harm(sandbox: &Sandbox, pids: &[Pid], over: &AtomicBool, seed: u64) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed + 1);
    let mut outcome = Outcome::default();
    let mut asleep: Vec<(Pid, Instant)> = Vec::new();
    let (mut next_stop, mut next_theft) = (Instant::now(), Instant::now());
    // The group of a worker: its shell and whatever that runs at this moment.
    let group = |pid: Pid| Pid::from_raw(-pid.as_raw());
    while !over.load(Ordering::Relaxed) {
        thread::sleep(KILL_EVERY);
        let mut somebody = || *random.choice(pids).unwrap();
        outcome.killed += usize::from(kill(group(somebody()), Signal::SIGKILL).is_ok());
        if next_stop.elapsed() > STOP_EVERY {
            next_stop = Instant::now();
            let pid = somebody();
            if kill(group(pid), Signal::SIGSTOP).is_ok() {
                outcome.stopped += 1;
                asleep.push((pid, Instant::now()));
            }
        }
        if next_theft.elapsed() > STEAL_EVERY {
            next_theft = Instant::now();
            let path = format!("d{}/f{}", random.usize(..DIRECTORIES), random.usize(..FILES));
            let theft = sandbox.mirror(["unlock", "--force", "--reason", "a test", &path]);
            outcome.robbed += usize::from(theft.code() == Some(0));
        }
        asleep.retain(|(pid, since)| {
            let wakes = since.elapsed() > STOPPED;
            if wakes {
                let _ = kill(group(*pid), Signal::SIGCONT);
            }
            !wakes
        });
    }
    outcome
}

/// Reads the whole history, and compares what was acknowledged with what is there.
fn judge(sandbox: &Sandbox, acknowledged: &BTreeSet<usize>, files: &[Vec<String>]) -> Result<usize, String> {
    sandbox.mirror(["recover"]).succeeded();
    let log = sandbox.mirror(["log"]).succeeded().stdout();
    let mut oracle = Oracle::default();
    let mut committed: BTreeMap<String, usize> = BTreeMap::new();
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for line in log.lines() {
        let event = event(&serde_json::from_str(line).unwrap());
        oracle.look(&event)?;
        if event.kind == mirror::model::EventKind::TaskCommitted {
            let task = event.task.unwrap().to_string();
            let number: usize = task[1..].parse().unwrap();
            last.extend(files[number].iter().map(|file| (file.clone(), task.clone())));
            *committed.entry(task).or_default() += 1;
        }
    }
    for number in acknowledged {
        let task = format!("w{number}");
        if committed.get(&task) != Some(&1) {
            return Err(format!(
                "{task} was told that it had committed: {:?}",
                committed.get(&task)
            ));
        }
    }
    for (file, task) in &last {
        if sandbox.read(file).trim_end() != task {
            return Err(format!(
                "{file} was last committed by {task}, and holds {}",
                sandbox.read(file)
            ));
        }
    }
    // What the killed and the robbed had staged is still theirs, and the doctor says so.
    let doctor = sandbox.mirror(["doctor"]);
    let is_known = |line: &str| {
        let ends = [
            " lost its locks, and has staged changes",
            "left to mend",
            "belongs to no task",
        ];
        line.starts_with("  Hint:") || ends.iter().any(|end| line.contains(end))
    };
    if doctor.code() != Some(0) && !doctor.stdout().lines().all(is_known) {
        return Err(doctor.to_string());
    }
    let fsck = sandbox.try_git(["fsck", "--full", "--strict", "--no-dangling"]);
    if fsck.code() != Some(0) {
        return Err(fsck.to_string());
    }
    let leftovers = sandbox.shell("find .git -name '*.lock'");
    if !leftovers.is_empty() {
        return Err(leftovers);
    }
    let subjects = sandbox.git(["log", "--format=%s"]);
    let recorded: Vec<&str> = subjects.lines().filter(|subject| *subject != "first").collect();
    let unknown = recorded
        .iter()
        .find(|subject| committed.get(**subject) != Some(&1));
    match unknown {
        Some(subject) => Err(format!("{subject} is in git and was never committed")),
        None => Ok(oracle.grants),
    }
}

fn event(value: &Value) -> Event {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    Event {
        seq: value["seq"].as_u64().unwrap(),
        at: mirror::model::WallTime { ms: 0 },
        kind: text("event").or_else(|| text("kind")).unwrap().parse().unwrap(),
        task: text("task").map(|task| task.parse().unwrap()),
        transaction: None,
        resource: text("resource"),
        token: value["token"]
            .as_u64()
            .or_else(|| text("token")?.parse().ok())
            .map(mirror::model::Token::new),
        reason: text("reason"),
        details: value["details"].as_object().cloned().unwrap_or_default(),
    }
}

/// Measures how long a lock of a dead process stays in the way of somebody who asks for it: from the question to the
/// grant, less what the same question takes when nobody is in the way.
pub(crate) fn freed_after(rounds: usize) -> Vec<Duration> {
    let sandbox = repository();
    let ask = |task: &str| {
        let asked = Instant::now();
        sandbox
            .mirror(["begin", "-q", "-t", task, "-w", "d0/f0", "--wait", "1m"])
            .succeeded();
        let taken = asked.elapsed();
        sandbox.mirror(["rollback", "-q", "-t", task]).succeeded();
        taken
    };
    (0..rounds)
        .map(|round| {
            let name = format!("holder-{round}");
            let holder = sandbox.program("sleep").args(["1000"]).start();
            let pid = holder.pid().to_string();
            let begin = ["begin", "-q", "-t", &name, "-w", "d0/f0", "--pid", &pid];
            sandbox.mirror(begin).succeeded();
            holder.kill();
            ask("asker")
        })
        .collect()
}
