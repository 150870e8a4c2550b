//! Runs a program and every process it starts under ptrace, counts their system calls with one counter, and kills,
//! fails or cuts short the one that it is told to.
//!
//! One counter over all processes, so "the k-th call" means the same in every run that goes the same way, and a process
//! can be killed together with its children at the same instant. Everything is safe code: the program stops itself in a
//! shell before it is executed, and is seized there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::mem;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::calls::Call;

/// How long a traced program may take before it counts as hanging.
const DEADLINE: Duration = Duration::from_mins(1);

/// What is done at a call that counts. Calls are numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: the calls are only listed.
    None,
    /// Nothing: the calls are listed with their files.
    Name,
    /// The call does not happen, and these processes end.
    Kill(u32, Victim),
    /// The call does not happen and answers with an error; so does, `for_ever`, every later call of the same name.
    Fail { at: u32, errno: Errno, for_ever: bool },
    /// The call moves one byte instead of as many as it was asked to.
    Short(u32),
    /// All processes stand still before the call, until somebody else has had a turn.
    Pause(u32),
}

impl Fault {
    /// Returns the number of the first call to which something is done.
    pub(crate) fn at(self) -> Option<u32> {
        match self {
            Self::None | Self::Name => None,
            Self::Kill(at, _) | Self::Fail { at, .. } | Self::Short(at) | Self::Pause(at) => Some(at),
        }
    }
}

/// Who is killed at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The process that made the call.
    Caller,
    /// The program itself; its children go on as orphans.
    Program,
    /// All of them at the same instant.
    Group,
}

/// A call that counted.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) call: Call,
    /// Whether the program itself made it, and not one of its children.
    pub(crate) by_program: bool,
    /// How many processes were running.
    pub(crate) processes: usize,
    /// The files that it was about, where all were asked for.
    pub(crate) files: [PathBuf; 2],
    /// Whether the first of them was there.
    pub(crate) existed: bool,
    /// Its fifth argument.
    pub(crate) fifth: u64,
    /// Whether it has succeeded.
    pub(crate) is_done: bool,
}

/// What became of a traced program.
#[derive(Debug)]
pub(crate) struct Traced {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// The calls that counted, in order.
    pub(crate) calls: Vec<Seen>,
    /// Whether the call came at which something was to be done.
    pub(crate) reached: bool,
    /// The file that the last call was about to which something was done.
    pub(crate) struck: PathBuf,
    /// Whether it had to be killed because it hung.
    pub(crate) hung: bool,
}

/// Runs `command` to the end of all its processes. `counts` chooses the calls that are numbered.
///
/// The two outputs are collected in `scratch`.
pub(crate) fn run(command: &Command, scratch: &Path, counts: fn(&Call) -> bool, fault: Fault) -> Traced {
    run_beside(command, scratch, counts, fault, &mut || {})
}

/// The same; `meanwhile` is what somebody else does during a pause.
pub(crate) fn run_beside(
    command: &Command,
    scratch: &Path,
    counts: fn(&Call) -> bool,
    fault: Fault,
    meanwhile: &mut dyn FnMut(),
) -> Traced {
    let outputs = [scratch.join("stdout"), scratch.join("stderr")];
    let root = start(command, &outputs);
    let watchdog = Watchdog::new(root);
    let mut tracer = Tracer {
        root,
        counts,
        fault,
        threads: BTreeMap::new(),
        guards: BTreeSet::new(),
        foreign: BTreeSet::new(),
        counting: false,
        calls: Vec::new(),
        reached: false,
        struck: PathBuf::new(),
        code: None,
        meanwhile,
    };
    tracer.follow();
    let hung = watchdog.end();
    let [stdout, stderr] = outputs.map(|path| fs::read(path).unwrap());
    let Tracer {
        calls,
        reached,
        struck,
        code,
        ..
    } = tracer;
    Traced {
        code,
        stdout,
        stderr,
        calls,
        reached,
        struck,
        hung,
    }
}

/// Starts a shell that stops itself and will then become the program, and seizes it.
fn start(command: &Command, outputs: &[PathBuf; 2]) -> Pid {
    let mut shell = Command::new("sh");
    shell.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell.current_dir(command.get_current_dir().unwrap());
    shell.process_group(0).stdin(Stdio::null());
    shell.stdout(File::create(&outputs[0]).unwrap());
    shell.stderr(File::create(&outputs[1]).unwrap());
    #[expect(
        clippy::zombie_processes,
        reason = "the tracer waits for it, as for all the others"
    )]
    let child = shell.spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    pid
}

struct Tracer<'a> {
    root: Pid,
    counts: fn(&Call) -> bool,
    fault: Fault,
    threads: BTreeMap<Pid, Thread>,
    /// The processes that run the programs of the user's, and those programs with all that they start.
    guards: BTreeSet<Pid>,
    foreign: BTreeSet<Pid>,
    /// The shell has become the program, and the loader is through.
    counting: bool,
    calls: Vec<Seen>,
    reached: bool,
    struck: PathBuf,
    code: Option<i32>,
    meanwhile: &'a mut dyn FnMut(),
}

/// Whether a thread is inside a call.
#[derive(Default, PartialEq, Eq)]
enum Inside {
    #[default]
    No,
    Yes,
    /// And this is its place in the list.
    Listed(usize),
    /// And this is what the call shall answer instead of what it did.
    Answering(Errno),
}

#[derive(Default)]
struct Thread {
    /// The process that it belongs to.
    process: Option<Pid>,
    inside: Inside,
}

impl Tracer<'_> {
    fn follow(&mut self) {
        // Only the children and tracees of this very thread: others run their own programs beside it.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            match waitpid(Pid::from_raw(-1), Some(flags)) {
                Ok(WaitStatus::PtraceSyscall(pid)) => {
                    self.at_call(pid);
                    self.resume(pid, None);
                }
                Ok(WaitStatus::PtraceEvent(pid, _, event)) => {
                    self.at_event(pid, event);
                    self.resume(pid, None);
                }
                Ok(WaitStatus::Stopped(pid, signal)) => self.resume(pid, Some(signal)),
                Ok(WaitStatus::Exited(pid, code)) => self.ended(pid, Some(code)),
                Ok(WaitStatus::Signaled(pid, ..)) => self.ended(pid, None),
                Ok(other) => panic!("unexpected: {other:?}"),
                Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => return,
                Err(error) => panic!("waitpid: {error}"),
            }
        }
    }

    /// Lets a thread go on: to its next call, or without stops once nothing is to be done any more.
    fn resume(&self, pid: Pid, signal: Option<Signal>) {
        let over = self.reached && !matches!(self.fault, Fault::Fail { for_ever: true, .. });
        // A call whose answer is to be replaced still has to be seen at its end.
        let is_inside = self
            .threads
            .get(&pid)
            .is_some_and(|thread| thread.inside != Inside::No);
        let resumed = if over && !is_inside {
            ptrace::cont(pid, signal)
        } else {
            ptrace::syscall(pid, signal)
        };
        match resumed {
            // It was killed meanwhile; its end is reported next.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("resume {pid}: {error}"),
        }
    }

    fn ended(&mut self, pid: Pid, code: Option<i32>) {
        self.threads.remove(&pid);
        if pid == self.root {
            self.code = code;
        }
    }

    fn at_event(&mut self, pid: Pid, event: i32) {
        match event {
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => {
                if let Ok(child) = ptrace::getevent(pid) {
                    let child = Pid::from_raw(i32::try_from(child).unwrap());
                    let parent = self.process_of(pid);
                    if self.guards.contains(&parent) || self.foreign.contains(&parent) {
                        self.foreign.insert(child);
                    }
                    self.threads.entry(child).or_default().process = Some(child);
                }
            }
            libc::PTRACE_EVENT_EXEC => {
                let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if words.split(|byte| *byte == 0).nth(1) == Some(b"guard") {
                    self.guards.insert(pid);
                }
            }
            libc::PTRACE_EVENT_CLONE => {
                if let Ok(thread) = ptrace::getevent(pid) {
                    let process = self.process_of(pid);
                    let thread = Pid::from_raw(i32::try_from(thread).unwrap());
                    self.threads.entry(thread).or_default().process = Some(process);
                }
            }
            _ => {}
        }
    }

    fn process_of(&self, pid: Pid) -> Pid {
        self.threads
            .get(&pid)
            .and_then(|thread| thread.process)
            .unwrap_or(pid)
    }

    fn processes(&self) -> Vec<Pid> {
        let mut processes: Vec<Pid> = self.threads.keys().map(|pid| self.process_of(*pid)).collect();
        processes.sort_unstable();
        processes.dedup();
        processes
    }

    fn at_call(&mut self, pid: Pid) {
        let thread = self.threads.entry(pid).or_default();
        match mem::take(&mut thread.inside) {
            Inside::No => thread.inside = Inside::Yes,
            Inside::Yes => return,
            Inside::Listed(at) => return self.listed_ends(pid, at),
            Inside::Answering(errno) => return set_answer(pid, errno),
        }
        let Ok(registers) = ptrace::getregs(pid) else {
            return;
        };
        let by_program = self.process_of(pid) == self.root;
        let is_foreign = self.foreign.contains(&self.process_of(pid));
        let Some(call) = Call::read(pid, &registers, is_foreign) else {
            // The first thing that Rust's runtime does, when the loader has finished.
            self.counting |= by_program && registers.orig_rax == libc::SYS_poll.unsigned_abs();
            return;
        };
        if !self.counting || !(self.counts)(&call) {
            return;
        }
        let is_same = |at: u32| {
            self.calls
                .get(at as usize - 1)
                .is_some_and(|first| first.call.name == call.name)
        };
        let again = match self.fault {
            Fault::Fail {
                at,
                errno,
                for_ever: true,
            } if self.reached && is_same(at) => {
                // The user's terminal is on no disk, nor is a pipe to a child.
                Some(errno).filter(|errno| !call.prints() && call.errors().contains(errno))
            }
            _ => None,
        };
        let processes = self.processes().len();
        let is_named = matches!(self.fault, Fault::Name);
        let files = if is_named {
            call.files(pid, &registers)
        } else {
            Default::default()
        };
        if let (true, Some(thread)) = (is_named, self.threads.get_mut(&pid)) {
            thread.inside = Inside::Listed(self.calls.len());
        }
        self.calls.push(Seen {
            call,
            by_program,
            processes,
            existed: fs::symlink_metadata(&files[0]).is_ok(),
            files,
            fifth: registers.r8,
            is_done: false,
        });
        let number = u32::try_from(self.calls.len()).unwrap();
        if again.is_some() || self.fault.at() == Some(number) {
            [self.struck, _] = call.files(pid, &registers);
        }
        self.strike(pid, number, again);
    }

    /// Does to a call what is to be done.
    fn strike(&mut self, pid: Pid, number: u32, again: Option<Errno>) {
        match self.fault {
            Fault::Kill(at, victim) if at == number => self.kill(pid, victim),
            Fault::Fail { at, errno, .. } if at == number => self.fail(pid, errno),
            Fault::Short(at) if at == number => self.shorten(pid),
            Fault::Pause(at) if at == number => {
                self.reached = true;
                (self.meanwhile)();
            }
            _ => {
                if let Some(errno) = again {
                    self.fail(pid, errno);
                }
            }
        }
    }

    fn listed_ends(&mut self, pid: Pid, at: usize) {
        if let Ok(registers) = ptrace::getregs(pid) {
            self.calls[at].is_done = registers.rax.cast_signed() >= 0;
        }
    }

    fn kill(&mut self, caller: Pid, victim: Victim) {
        self.reached = true;
        let victims = match victim {
            Victim::Caller => vec![self.process_of(caller)],
            Victim::Program => vec![self.root],
            Victim::Group => self.processes(),
        };
        if victims.contains(&self.process_of(caller)) {
            // Whatever the kernel does first, the call does not happen.
            skip(caller);
        }
        for process in victims {
            match kill(process, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => panic!("kill {process}: {error}"),
            }
        }
    }

    fn fail(&mut self, pid: Pid, errno: Errno) {
        self.reached = true;
        skip(pid);
        self.threads.get_mut(&pid).unwrap().inside = Inside::Answering(errno);
    }

    fn shorten(&mut self, pid: Pid) {
        self.reached = true;
        let Ok(mut registers) = ptrace::getregs(pid) else {
            return;
        };
        registers.rdx = registers.rdx.min(1);
        let _ = ptrace::setregs(pid, registers);
    }
}

/// Makes the call that a thread has entered no call at all.
fn skip(pid: Pid) {
    // The thread may be dead already, with the group it belongs to.
    let Ok(mut registers) = ptrace::getregs(pid) else {
        return;
    };
    registers.orig_rax = u64::MAX;
    let _ = ptrace::setregs(pid, registers);
}

fn set_answer(pid: Pid, errno: Errno) {
    let Ok(mut registers) = ptrace::getregs(pid) else {
        return;
    };
    registers.rax = i64::from(-(errno as i32)).cast_unsigned();
    let _ = ptrace::setregs(pid, registers);
}

/// Ends a program that hangs.
struct Watchdog {
    ended: mpsc::Sender<()>,
    thread: thread::JoinHandle<bool>,
}

impl Watchdog {
    fn new(group: Pid) -> Self {
        let (ended, wait) = mpsc::channel();
        let thread = thread::spawn(move || {
            let hung = wait.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout);
            if hung {
                let _ = nix::sys::signal::killpg(group, Signal::SIGKILL);
            }
            hung
        });
        Self { ended, thread }
    }

    /// Tells whether it had to.
    fn end(self) -> bool {
        let _ = self.ended.send(());
        self.thread.join().unwrap()
    }
}
