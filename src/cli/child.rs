//! The command of a run: started under a guard, told of signals, stopped when the locks are lost.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mirror::coordinator::{Error, Guard, RunRefusal, WorkingCopy};
use mirror::disk::contained::Root;
use mirror::git;
use mirror::host::{Stopwatch, stray};
use mirror::model::{RepoPath, TaskId};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM};
use signal_hook::low_level::siginfo::Origin;
use signal_hook::low_level::signal_name;

use super::command::guard::{NOT_STARTED, is_for_everybody};
use super::env;
use super::signals::Signals;

/// What to start.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    /// The program and its arguments.
    pub(crate) words: &'a [OsString],
    /// Where the user stands, below the root of the working tree.
    pub(crate) below: &'a Path,
    /// Where the user stands.
    pub(crate) directory: &'a Path,
    /// Whether standard output is for our own answer alone.
    pub(crate) keeps_output: bool,
}

/// A command that has ended well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Why a command did not end well.
#[derive(Debug)]
pub(crate) enum Unwell {
    /// It could not be started.
    NotStarted(std::io::Error),
    /// There is no such program.
    NotFound {
        /// What was asked for.
        program: String,
        /// Where it was looked for; nowhere but in `PATH` if nothing is named.
        places: Vec<PathBuf>,
    },
    /// It failed.
    Failed(ExitStatus),
    /// Its guard was killed, and not the command.
    Unguarded(ExitStatus),
    /// A signal was sent to end it, and us.
    Interrupted(i32),
    /// The locks were lost.
    Lost,
}

impl Unwell {
    /// Says it in a few words, for the history.
    pub(crate) fn in_short(&self) -> String {
        match self {
            Self::NotStarted(error) => format!("the command could not be started: {error}"),
            Self::NotFound { program, .. } => format!("the program {program} was not found"),
            Self::Failed(status) => format!("the command failed ({status})"),
            Self::Unguarded(_) => "its guard was killed".to_owned(),
            Self::Interrupted(signal) => match signal_name(*signal) {
                Some(name) => format!("interrupted by {name}"),
                None => format!("interrupted by signal {signal}"),
            },
            Self::Lost => "its locks were lost".to_owned(),
        }
    }

    /// Returns what to say of the command of `task`, and the signal to end by.
    pub(crate) fn report(self, command: String, task: &TaskId) -> (anyhow::Error, Option<i32>) {
        let task = task.clone();
        let refused = |refusal: RunRefusal| anyhow::Error::from(Error::from(refusal));
        let failed = |status: String| anyhow::Error::from(Error::CommandFailed { command, status });
        match self {
            Self::NotStarted(error) => (
                anyhow::Error::new(error).context("Failed starting the command"),
                None,
            ),
            Self::NotFound { program, places } => (refused(RunRefusal::NotFound { program, places }), None),
            Self::Interrupted(signal) => (refused(RunRefusal::Interrupted { task }), Some(signal)),
            Self::Lost => (refused(RunRefusal::Lost { task }), None),
            Self::Failed(status) => (failed(status.to_string()), None),
            Self::Unguarded(status) => (failed(Guard::killed(status)), None),
        }
    }
}

enum Happening {
    Ended(std::io::Result<ExitStatus>),
    Signal(Origin),
    Lost,
}

/// Runs a command in a working copy, to its end. Meanwhile it is told of signals.
pub(crate) fn run(order: &Order<'_>, copy: &WorkingCopy, signals: &Signals) -> Result<Ended, Unwell> {
    let (happens, happenings) = mpsc::channel();
    let heard = happens.clone();
    // Before anything is started: a signal in between would end us alone.
    signals
        .command_begins(move |origin| drop(heard.send(Happening::Signal(origin))))
        .map_err(Unwell::Interrupted)?;
    let clock = Stopwatch::start();
    let started = command(order, copy).and_then(|mut command| command.spawn());
    let mut guard = started.map_err(Unwell::NotStarted)?;
    let pid = guard.id();
    let lost = happens.clone();
    copy.leash.when_lost(move || drop(lost.send(Happening::Lost)));
    thread::spawn(move || drop(happens.send(Happening::Ended(guard.wait()))));
    let (mut ending, mut interrupted, mut is_lost) = (None, None, false);
    for happening in &happenings {
        match happening {
            Happening::Ended(status) => {
                signals.command_ended();
                // What has come since is for the run.
                for happening in happenings.try_iter() {
                    if let Happening::Signal(origin) = happening {
                        signals.hand_out(origin);
                    }
                }
                let status = status.map_err(Unwell::NotStarted)?;
                if !is_lost && ending.is_none() && is_unguarded(status, copy) {
                    return Err(Unwell::Unguarded(status));
                }
                let ended = judge(status, ending, interrupted, is_lost, clock.elapsed());
                return ended.map_err(|unwell| not_found(unwell, order, copy));
            }
            Happening::Lost => {
                is_lost = true;
                stray::send(pid, Signal::TERM);
            }
            Happening::Signal(origin) => {
                match origin.signal {
                    SIGTERM | SIGHUP => ending = Some(origin.signal),
                    SIGINT | SIGQUIT => interrupted = Some(origin.signal),
                    _ => {}
                }
                if !is_for_everybody(&origin)
                    && let Some(signal) = Signal::from_named_raw(origin.signal)
                {
                    stray::send(pid, signal);
                }
            }
        }
    }
    unreachable!("BUG: the thread that waits for the command always says how it ended")
}

/// Tells whether only the guard of a command has ended: it lets nothing go on when it ends by itself.
fn is_unguarded(status: ExitStatus, copy: &WorkingCopy) -> bool {
    status.signal() == Some(SIGKILL) && copy.is_worked_in()
}

/// Whoever is told to end ends, whatever the command makes of it. An interruption is the command's to judge: some take it for
/// a key like any other.
fn judge(
    status: ExitStatus,
    ending: Option<i32>,
    interrupted: Option<i32>,
    is_lost: bool,
    took: Duration,
) -> Result<Ended, Unwell> {
    if is_lost {
        return Err(Unwell::Lost);
    }
    match (ending, interrupted) {
        (Some(signal), _) => Err(Unwell::Interrupted(signal)),
        (None, Some(signal)) if !status.success() => Err(Unwell::Interrupted(signal)),
        _ if status.success() => Ok(Ended { status, took }),
        _ => Err(Unwell::Failed(status)),
    }
}

/// Says of a program that could not be started that there is none, if so: of one that fails by itself nobody knows more than it
/// says.
fn not_found(unwell: Unwell, order: &Order<'_>, copy: &WorkingCopy) -> Unwell {
    let (Unwell::Failed(status), Some(program)) = (&unwell, order.words.first()) else {
        return unwell;
    };
    let name = Path::new(program);
    let is_path = name.components().count() > 1 || name.is_absolute();
    let places = if is_path {
        let places = [copy.root.join(order.below), order.directory.to_owned()];
        let mut places = places.map(|place| place.join(name)).to_vec();
        places.dedup();
        places
    } else {
        Vec::new()
    };
    let is_there = if is_path {
        places.iter().any(|place| place.exists())
    } else {
        std::env::split_paths(&env::search_path()).any(|directory| directory.join(name).exists())
    };
    if status.code() != Some(NOT_STARTED) || is_there {
        return unwell;
    }
    let program = program.to_string_lossy().into_owned();
    Unwell::NotFound { program, places }
}

/// Returns the guard under which everything is started that must not outlive this process.
pub(crate) fn guard() -> std::io::Result<Guard> {
    let own = std::process::id().to_string();
    let words = ["guard", "--parent", &own, "--"];
    Ok(Guard {
        program: std::env::current_exe()?,
        words: words.map(OsString::from).into(),
    })
}

fn command(order: &Order<'_>, copy: &WorkingCopy) -> std::io::Result<Command> {
    let directory = copy.root.join(order.below);
    make_below(&copy.root, order.below).map_err(std::io::Error::other)?;
    let guard = guard()?;
    let mut command = Command::new(guard.program);
    command.args(guard.words);
    if let Some((program, arguments)) = order.words.split_first() {
        command
            .arg(find(program, &directory, order.directory))
            .args(arguments);
    }
    command.current_dir(directory).env("MIRROR_ROOT", &copy.root);
    command.envs(copy.variables());
    for name in git::POINTERS {
        command.env_remove(name);
    }
    if order.keeps_output {
        command.stdout(std::io::stderr());
    }
    Ok(command)
}

/// Makes the directory where the user stands, which is in no copy while it is empty or untracked: anywhere else a relative path
/// would name another file. No link in the copy is followed: it could lead out of it.
fn make_below(root: &Path, below: &Path) -> anyhow::Result<()> {
    if below.as_os_str().is_empty() {
        return Ok(());
    }
    let inside = RepoPath::new(below.join("inside").as_os_str().as_bytes())?;
    Root::open(root)?.make_parents(&inside)?;
    Ok(())
}

/// Finds a program that is named by a path: in the working copy, or where the user stands, since what git does not track is
/// not in a copy.
fn find(program: &OsStr, directory: &Path, original: &Path) -> PathBuf {
    let path = Path::new(program);
    let is_relative = path.is_relative() && path.components().count() > 1;
    if is_relative && !directory.join(path).exists() && original.join(path).exists() {
        return original.join(path);
    }
    path.to_owned()
}
