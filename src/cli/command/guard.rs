//! `mirror guard`: the parent of a run's command, and of a validation. Not for people.
//!
//! It sees to it that the command and everything that it starts end when the command does, or when the run dies, however that
//! dies. Processes that lose their parent become its own, so none gets away.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use mirror::host::{is_ignored, stray};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, pidfd_open, set_child_subreaper, wait,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::{Cause, Origin};

use crate::cli::exit_code::ExitCode;
use crate::cli::output::complain;

/// How long what is left may take to end by itself when the run has died.
const DEAD_RUN_GRACE: Duration = Duration::from_secs(1);

/// What a shell answers for a program that it cannot start.
pub(crate) const NOT_STARTED: i32 = 127;

/// Run a command, and let nothing of it survive the run
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Guard {
    /// The process of the run
    #[arg(long, value_name = "PID")]
    parent: i32,

    /// The command
    #[arg(last = true, required = true, num_args = 1..)]
    command: Vec<OsString>,
}

impl Guard {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        set_child_subreaper(Some(getpid())).context("Failed adopting what the command starts")?;
        self.watch_parent()?;
        let mut signals =
            SignalsInfo::<WithOrigin>::new(forwarded()).context("Failed listening for signals")?;
        let (program, arguments) = self
            .command
            .split_first()
            .context("BUG: the command line asks for at least one word")?;
        let started = std::process::Command::new(program).args(arguments).spawn();
        let child = match started {
            Ok(child) => child.id(),
            Err(error) => {
                // As a shell says it: the error is the run's to tell.
                complain(&format!("mirror: {}: {error}\n", program.display()));
                end(ExitStatus::from_raw(NOT_STARTED << 8));
            }
        };
        thread::spawn(move || {
            for origin in &mut signals {
                pass_on(child, &origin);
            }
        });
        let status = wait_for(child)?;
        stray::stop(stray::descendants, stray::GRACE);
        end(status)
    }

    /// Ends everything as soon as the run is dead.
    fn watch_parent(&self) -> anyhow::Result<()> {
        let parent = Pid::from_raw(self.parent).context("0 is no process")?;
        let descriptor = pidfd_open(parent, PidfdFlags::empty()).context("The run is dead")?;
        // Opened first, compared after: if it was another process that had the number, ours has a new parent by now.
        if getppid() != Some(parent) {
            anyhow::bail!("The run is dead");
        }
        thread::spawn(move || {
            let mut watched = [PollFd::new(&descriptor, PollFlags::IN)];
            while poll(&mut watched, None).is_err() {}
            stray::stop(stray::descendants, DEAD_RUN_GRACE);
            end(ExitStatus::from_raw(SIGTERM));
        });
        Ok(())
    }
}

/// Returns the signals that are for the command: not those that whoever started us wants to be ignored, as `nohup` does.
pub(crate) fn forwarded() -> impl Iterator<Item = i32> {
    let signals = [SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH];
    signals.into_iter().filter(|signal| !is_ignored(*signal))
}

/// Tells whether a signal came from the terminal, which sends it to everybody in front of it.
pub(crate) fn is_for_everybody(origin: &Origin) -> bool {
    !matches!(origin.cause, Cause::Sent(_))
}

/// Passes a signal on. Being told to end means everything that the command has started.
fn pass_on(child: u32, origin: &Origin) {
    if matches!(origin.signal, SIGTERM | SIGHUP) {
        thread::spawn(|| stray::stop(stray::descendants, stray::GRACE));
    } else if !is_for_everybody(origin)
        && let Some(signal) = Signal::from_named_raw(origin.signal)
    {
        stray::send(child, signal);
    }
}

/// Waits for the command, and takes note of the ends of everybody else.
fn wait_for(child: u32) -> anyhow::Result<ExitStatus> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().cast_unsigned() == child => {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("Failed waiting for the command"),
        }
    }
}

/// Ends the way the command has ended, so that the run sees what it would see of the command itself.
fn end(status: ExitStatus) -> ! {
    if let Some(signal) = status.signal() {
        drop(emulate_default_handler(signal));
    }
    #[expect(clippy::disallowed_methods, reason = "the command's own status is passed on")]
    std::process::exit(status.code().unwrap_or(NOT_STARTED));
}
