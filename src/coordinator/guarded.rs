//! The command of a validation: it ends when it is told to, and nothing that it has started outlives it.
//!
//! Under a guard that holds even when this process is killed. Without one, whatever is left is found by a variable of its
//! environment. That variable is a validation's alone: others a user may have exported, and what they start themselves is not
//! ours to end.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use crate::coordinator::worktrees::refuse_left;
use crate::coordinator::{Coordinator, Error};
use crate::host::stray;
use crate::model::{Interrupter, TransactionId};

/// The variable by which the processes of a validation are known.
const VARIABLE: &str = "MIRROR_VALIDATION";

/// The number of `SIGKILL`.
const KILL: i32 = Signal::KILL.as_raw();

/// A program that runs a command, and sees to it that everything which that starts ends when the command does, when the program is
/// told to end (`TERM`), or when the process that started it dies. `mirror guard` is one.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The program.
    pub program: PathBuf,
    /// Its arguments. The command follows.
    pub words: Vec<OsString>,
}

/// What to run for a validation.
pub(super) struct Order<'a> {
    /// What `sh -c` is given.
    pub(super) command: &'a str,
    /// Where.
    pub(super) directory: &'a Path,
    /// Whose commit is validated.
    pub(super) transaction: TransactionId,
    /// What it is told beside.
    pub(super) variables: Vec<(String, OsString)>,
    /// Where everything goes that it prints.
    pub(super) output: File,
    /// Who may end it.
    pub(super) interrupters: &'a [Interrupter],
}

/// How a command ended.
pub(super) enum Ended {
    /// By itself.
    Alone(ExitStatus),
    /// Its guard was killed, and not the command.
    Unguarded(ExitStatus),
    /// Because somebody interrupted.
    Interrupted,
}

enum Happening {
    Ended,
    Interrupted,
}

impl Guard {
    /// Says how a command ended whose guard was killed.
    pub fn killed(status: ExitStatus) -> String {
        format!("{status}: its guard, `mirror guard`, was killed, and so it was ended")
    }
}

impl Coordinator {
    /// Runs the commands of validations under `guard`, so that nothing of them stays when this process is killed.
    pub fn guarded_by(&mut self, guard: Guard) {
        self.guard = Some(guard);
    }
}

/// Runs a command to its end. Whatever it has started has ended when this returns.
pub(super) fn run(guard: Option<&Guard>, order: Order<'_>) -> Result<Ended, Error> {
    let (interrupters, transaction) = (order.interrupters, order.transaction);
    let shell = guard.map_or(Path::new("sh"), |guard| &guard.program).to_owned();
    let failed = |source| Error::Input {
        path: shell.clone(),
        source,
    };
    let mut child = start(guard, order).map_err(failed)?;
    let was_interrupted = wait(&child, interrupters);
    if was_interrupted {
        match guard {
            Some(_) => stray::send(child.id(), Signal::TERM),
            None => stop_validation(&transaction)?,
        }
    }
    let status = child.wait().map_err(failed)?;
    let is_unguarded = guard.is_some() && status.signal() == Some(KILL) && !left_of(&transaction).is_empty();
    // Of a guard only what was killed leaves anything.
    stop_validation(&transaction)?;
    if was_interrupted {
        return Ok(Ended::Interrupted);
    }
    Ok(if is_unguarded {
        Ended::Unguarded(status)
    } else {
        Ended::Alone(status)
    })
}

fn start(guard: Option<&Guard>, order: Order<'_>) -> io::Result<Child> {
    let mut command = match guard {
        Some(guard) => {
            let mut command = Command::new(&guard.program);
            command.args(&guard.words).arg("sh");
            command
        }
        None => Command::new("sh"),
    };
    command
        .args(["-c", order.command])
        .current_dir(order.directory)
        .envs(order.variables)
        .env(VARIABLE, order.transaction.to_string())
        .stdin(Stdio::null())
        .stdout(order.output.try_clone()?)
        .stderr(order.output)
        .spawn()
}

/// Waits until a process has ended, or somebody interrupts. Answers whether somebody did. It is not reaped here, so its number stays its
/// own.
fn wait(child: &Child, interrupters: &[Interrupter]) -> bool {
    let (tell, told) = mpsc::channel();
    let listen = |interrupter: &Interrupter| {
        let tell = tell.clone();
        interrupter.when_interrupted(move || drop(tell.send(Happening::Interrupted)))
    };
    let _listening: Vec<_> = interrupters.iter().map(listen).collect();
    let pid = Pid::from_child(child);
    thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
        drop(tell.send(Happening::Ended));
    });
    matches!(told.recv(), Ok(Happening::Interrupted))
}

/// Finds what validations of a commit have left running.
fn left_of(transaction: &TransactionId) -> BTreeSet<u32> {
    stray::with_variable(VARIABLE, &transaction.to_string())
}

/// Ends whatever validations of a commit have left running.
pub(super) fn stop_validation(transaction: &TransactionId) -> Result<(), Error> {
    refuse_left(transaction, stray::stop(|| left_of(transaction), stray::GRACE))
}
