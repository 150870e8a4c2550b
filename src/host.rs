//! Who and when we are: the only reader of the clocks and of `/proc`.
//!
//! Everybody above takes [`Now`] as an argument or asks a [`Host`], so tests move time instead of waiting for it.
#![expect(clippy::disallowed_methods, reason = "this is where the clocks are read")]

pub mod stray;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

use crate::model::{BootId, Kind, Now, Owner, Process, Verdict, WallTime, shown};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const PID_NAMESPACE: &str = "/proc/self/ns/pid";
const TIME_NAMESPACE: &str = "/proc/self/ns/time";
const SIGNAL_MASKS: &str = "/proc/self/status";

/// The machine, as far as the lock rules ask about it.
pub trait Host: Send + Sync {
    /// Reads all the clocks.
    fn now(&self) -> Now;

    /// Describes an owner on this machine, tied to `pid` if one is given.
    fn owner(&self, pid: Option<u32>) -> Result<Owner, HostError>;

    /// Says whether an owner still lives. Unknown is not dead.
    fn verdict(&self, owner: &Owner) -> Verdict;

    /// Opens a descriptor that becomes readable when the process ends. `None` when it has ended, or cannot be watched.
    fn watch(&self, process: &Process) -> Option<OwnedFd>;
}

/// Makes an identifier that nobody else has, and that sorts by the time of its making.
pub fn unique_id() -> Uuid {
    Uuid::now_v7()
}

/// Makes a span a quarter longer or shorter at most, so that those who began to wait at once do not end at once.
pub fn jittered(span: Duration) -> Duration {
    let dice = u32::from(Uuid::new_v4().as_bytes()[0]);
    span * 3 / 4 + span * dice / 510
}

/// Measures how long this process has waited for something. Says nothing about the time of day.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Why the machine gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no such process.
    #[error("There is no process {pid}")]
    NoProcess {
        /// The asked-for process.
        pid: u32,
    },
    /// `/proc` is not what it should be.
    #[error("Failed reading {}", shown(path))]
    Proc {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl HostError {
    /// Returns what kind of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoProcess { .. } => Kind::Usage,
            Self::Proc { .. } => Kind::Failed,
        }
    }
}

/// The real machine.
#[derive(Debug, Clone)]
pub struct System {
    boot: BootId,
}

impl System {
    /// Reads which boot this is.
    pub fn new() -> Result<Self, HostError> {
        let path = Path::new(BOOT_ID);
        let text = fs::read_to_string(path).map_err(|source| HostError::Proc {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            boot: BootId::new(text.trim()),
        })
    }

    /// Pretends to be in another boot: for tests of what a reboot leaves.
    pub fn with_boot_id(boot: BootId) -> Self {
        Self { boot }
    }
}

impl Host for System {
    fn now(&self) -> Now {
        let boottime = clock_gettime(ClockId::Boottime);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            boot: self.boot.clone(),
            boottime_ns: boottime.tv_sec * 1_000_000_000 + boottime.tv_nsec,
            wall: WallTime {
                ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
            },
        }
    }

    fn owner(&self, pid: Option<u32>) -> Result<Owner, HostError> {
        let process = match pid {
            None => None,
            Some(pid) => Some(Process {
                pid,
                pid_namespace: namespace(PID_NAMESPACE)?,
                time_namespace: namespace(TIME_NAMESPACE).unwrap_or(0),
                start_ticks: start_ticks(pid)?.ok_or(HostError::NoProcess { pid })?,
            }),
        };
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        Ok(Owner {
            host,
            boot: self.boot.clone(),
            process,
        })
    }

    fn verdict(&self, owner: &Owner) -> Verdict {
        let here = gethostname::gethostname().to_string_lossy().into_owned();
        if owner.boot != self.boot {
            // Another machine has another boot too, and may well be alive.
            return if owner.host == here {
                Verdict::Dead
            } else {
                Verdict::Unknown
            };
        }
        let Some(process) = &owner.process else {
            return Verdict::Unknown;
        };
        let same_namespaces = namespace(PID_NAMESPACE).is_ok_and(|inode| inode == process.pid_namespace)
            && namespace(TIME_NAMESPACE).unwrap_or(0) == process.time_namespace;
        if !same_namespaces {
            return Verdict::Unknown;
        }
        match start_ticks(process.pid) {
            Ok(Some(ticks)) if ticks == process.start_ticks => Verdict::Alive,
            Ok(_) => Verdict::Dead,
            Err(_) => Verdict::Unknown,
        }
    }

    fn watch(&self, process: &Process) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
        // Opened first, compared after: between the two the number cannot be given to somebody else unnoticed.
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let same = start_ticks(process.pid).ok()? == Some(process.start_ticks);
        same.then_some(descriptor)
    }
}

/// Tells whether whoever started this process wants it to ignore a signal, as `nohup` does. Where the machine does not say, nobody does.
pub fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string(SIGNAL_MASKS).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    (1..=64).contains(&signal) && mask.unwrap_or_default() >> (signal - 1) & 1 == 1
}

fn namespace(path: &str) -> Result<u64, HostError> {
    let metadata = fs::metadata(path);
    metadata
        .map(|metadata| metadata.ino())
        .map_err(|source| HostError::Proc {
            path: path.into(),
            source,
        })
}

/// Reads when a process started; `None` when there is no such process, or only its zombie.
fn start_ticks(pid: u32) -> Result<Option<u64>, HostError> {
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.raw_os_error(), Some(2 | 3)) => return Ok(None),
        Err(source) => return Err(HostError::Proc { path, source }),
    };
    let invalid = || HostError::Proc {
        path: path.clone(),
        source: io::ErrorKind::InvalidData.into(),
    };
    let (is_gone, start) = parse_stat(&text).ok_or_else(invalid)?;
    Ok((!is_gone).then_some(start))
}

/// Finds the state and field 22. The second field is the command in parentheses and may hold anything, so counting
/// starts after the last one. A zombie holds nothing any more and counts as gone.
fn parse_stat(text: &[u8]) -> Option<(bool, u64)> {
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&text[close + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((matches!(state, "Z" | "X"), start))
}

/// Finds field 4, the parent, of a process that is no zombie.
fn parse_parent(text: &[u8]) -> Option<u32> {
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&text[close + 1..])
        .ok()?
        .split_ascii_whitespace();
    let is_gone = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    (!is_gone).then_some(parent)
}

/// Finds fields 50 and 51, from where to where in its memory a process has the environment that it was started with, and its state.
fn parse_environment(text: &[u8]) -> Option<(u64, u64, &str)> {
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&text[close + 1..])
        .ok()?
        .split_ascii_whitespace();
    let state = fields.next()?;
    Some((fields.nth(46)?.parse().ok()?, fields.next()?.parse().ok()?, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_command_name_does_not_shift_the_fields() {
        let fields = (4..=22)
            .map(|field| field.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        let text = format!("12 (a) 1 2) b) S {fields} 23\n");
        assert_eq!(parse_stat(text.as_bytes()), Some((false, 22)));
        let zombie = format!("12 (x) Z {fields} 23\n");
        assert_eq!(parse_stat(zombie.as_bytes()), Some((true, 22)));
        assert_eq!(parse_stat(b"12 (x"), None);
    }

    #[test]
    fn a_child_lives_until_it_is_reaped_and_a_reused_pid_is_not_it() {
        let system = System::new().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let owner = system.owner(Some(child.id())).unwrap();
        assert_eq!(system.verdict(&owner), Verdict::Alive);
        let mut reused = owner.clone();
        reused.process.as_mut().unwrap().start_ticks += 1;
        assert_eq!(system.verdict(&reused), Verdict::Dead);
        assert!(system.watch(&reused.process.unwrap()).is_none());
        assert!(system.watch(&owner.process.unwrap()).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(system.verdict(&owner), Verdict::Dead);
    }

    #[test]
    fn another_boot_is_dead_here_and_unknown_elsewhere() {
        let system = System::new().unwrap();
        let mut owner = system.owner(None).unwrap();
        assert_eq!(system.verdict(&owner), Verdict::Unknown);
        owner.boot = BootId::new("another");
        assert_eq!(system.verdict(&owner), Verdict::Dead);
        owner.host = "elsewhere".into();
        assert_eq!(system.verdict(&owner), Verdict::Unknown);
    }
}
