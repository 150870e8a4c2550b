//! Processes that are left of something that has ended: found by a variable of their environment, or by their parents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Stopwatch, parse_environment, parse_parent};

/// How long a process that was told to end may take to do so before it is killed.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(10);

/// How long a process may take to become another program.
const EXEC: Duration = Duration::from_millis(200);

/// How often to look whether they are gone.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Lists the processes of this user, but this one, that have exactly `name=value` in the environment they were started with.
pub fn with_variable(name: &str, value: &str) -> BTreeSet<u32> {
    let wanted = format!("{name}={value}");
    let has = |pid: &u32| {
        environment(*pid)
            .split(|byte| *byte == 0)
            .any(|held| held == wanted.as_bytes())
    };
    let own = std::process::id();
    processes()
        .into_iter()
        .filter(|pid| *pid != own)
        .filter(has)
        .collect()
}

/// Reads the environment that a process was started with. One that becomes another program meanwhile shows nothing, or only the
/// beginning: it is asked again.
fn environment(pid: u32) -> Vec<u8> {
    let began = Stopwatch::start();
    loop {
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
            return Vec::new();
        };
        if is_all(pid, &environment) || began.elapsed() > EXEC {
            return environment;
        }
        thread::yield_now();
    }
}

/// Tells whether this is all that there is of the environment of a process.
fn is_all(pid: u32, environment: &[u8]) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    match parse_environment(&stat) {
        // It has no place for it, or not yet. Threads of the kernel, and what has ended, have no program.
        Some((_, 0, _)) => fs::read_link(format!("/proc/{pid}/exe")).is_err(),
        // It has none, or is counting.
        Some((from, to, state)) if from == to => !matches!(state, "R" | "D"),
        Some((from, to, _)) => environment.len() as u64 >= to.saturating_sub(from),
        None => true,
    }
}

/// Lists everything that this process started, directly or not, and that has not been given to another parent.
pub fn descendants() -> BTreeSet<u32> {
    let parents: BTreeMap<u32, u32> = processes()
        .into_iter()
        .filter_map(|pid| Some((pid, parent_of(pid)?)))
        .collect();
    let own = std::process::id();
    let descends = |pid: u32| {
        let mut at = pid;
        // No chain of parents is longer than there are processes.
        for _ in 0..parents.len() {
            match parents.get(&at) {
                Some(parent) if *parent == own => return true,
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        false
    };
    parents.keys().copied().filter(|pid| descends(*pid)).collect()
}

/// Ends the processes that `find` finds: asks them, waits for `grace`, kills what is left, until none is found. Answers those
/// that cannot be ended.
pub fn stop(find: impl Fn() -> BTreeSet<u32>, grace: Duration) -> BTreeSet<u32> {
    let began = Stopwatch::start();
    let mut asked = BTreeSet::new();
    loop {
        let found = find();
        let elapsed = began.elapsed();
        if found.is_empty() || elapsed > grace + KILLED {
            return found;
        }
        for pid in found {
            if elapsed >= grace {
                send(pid, Signal::KILL);
            } else if asked.insert(pid) {
                send(pid, Signal::TERM);
                // A stopped process would not hear it.
                send(pid, Signal::CONT);
            }
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Sends a signal. A process that has ended meanwhile needs none.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
        && let Err(error) = kill_process(pid, signal)
    {
        tracing::debug!(%error, "nobody is there to be signalled");
    }
}

fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Finds the parent of a process that has not ended.
fn parent_of(pid: u32) -> Option<u32> {
    parse_parent(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_is_left_is_found_by_its_variable_and_ended() {
        let value = format!("stray-{}", std::process::id());
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; sleep 60 & wait; sleep 60"])
            .env("MIRROR_STRAY_TEST", &value)
            .spawn()
            .unwrap();
        let find = || with_variable("MIRROR_STRAY_TEST", &value);
        while find().len() < 2 {
            thread::sleep(LOOK_EVERY);
        }
        assert!(descendants().contains(&child.id()));
        // The zombie of the child has no environment any more.
        assert!(stop(find, Duration::from_millis(20)).is_empty());
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_process_is_found_while_it_becomes_another_program() {
        let value = format!("stray-exec-{}", std::process::id());
        let mut child = Command::new("sh")
            .args(["-c", "exec sh -c \"$0\" \"$0\"", "exec sh -c \"$0\" \"$0\""])
            .env("MIRROR_STRAY_TEST", &value)
            .spawn()
            .unwrap();
        let missed = (0..2000)
            .filter(|_| !with_variable("MIRROR_STRAY_TEST", &value).contains(&child.id()))
            .count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(missed, 0);
    }
}
