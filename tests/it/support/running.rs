//! A program that still runs: listened to, stopped, killed, waited for, never longer than a deadline.

use std::io::{Read, Write as _};
use std::mem;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid};

use super::program::Finished;

/// How long a program may take before the test gives it up as hanging. Far above what the slowest takes on a busy
/// machine: it decides how soon a broken test ends, and nothing else.
const DEADLINE: Duration = Duration::from_mins(2);

/// A running program. Killed on drop.
pub(crate) struct Running {
    child: Child,
    shown: String,
    sandbox: PathBuf,
    writer: Option<JoinHandle<()>>,
    stdout: Stream,
    stderr: Stream,
}

/// What a program has printed so far, on one of its two streams.
struct Stream {
    reader: Option<JoinHandle<()>>,
    shared: Arc<(Mutex<Printed>, Condvar)>,
}

#[derive(Default)]
struct Printed {
    bytes: Vec<u8>,
    ended: bool,
}

impl Running {
    pub(super) fn new(mut child: Child, shown: String, sandbox: PathBuf, input: Vec<u8>) -> Self {
        let stdout = Stream::listen(child.stdout.take().unwrap());
        let stderr = Stream::listen(child.stderr.take().unwrap());
        let mut stdin = child.stdin.take().unwrap();
        // A program need not read what it is given: a closed pipe is its own affair.
        let writer = thread::spawn(move || drop(stdin.write_all(&input)));
        Self {
            child,
            shown,
            sandbox,
            writer: Some(writer),
            stdout,
            stderr,
        }
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until standard error contains `text`. Fails the test when the program ends without it.
    #[track_caller]
    pub(crate) fn until_stderr(&self, text: &str) {
        self.stderr.until(text, &self.shown);
    }

    /// Waits until standard output contains `text`. Fails the test when the program ends without it.
    #[track_caller]
    pub(crate) fn until_stdout(&self, text: &str) {
        self.stdout.until(text, &self.shown);
    }

    /// Waits until the program has stopped itself, as a fault point does. Fails the test when it ends instead.
    #[track_caller]
    pub(crate) fn until_stopped(&self) {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.process()), options).unwrap().unwrap();
        assert!(status.stopped(), "{} ended instead of stopping", self.shown);
    }

    /// Lets a stopped program go on.
    pub(crate) fn resume(&self) {
        kill_process(self.process(), Signal::CONT).unwrap();
    }

    /// Kills the program as `kill -9` does and waits for its end.
    pub(crate) fn kill(mut self) -> Finished {
        self.child.kill().unwrap();
        self.end()
    }

    /// Waits for the end. Fails the test when it does not come.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        let pidfd = pidfd_open(self.process(), PidfdFlags::empty()).unwrap();
        let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
        let deadline = Timespec::try_from(DEADLINE).unwrap();
        if poll(&mut ended, Some(&deadline)).unwrap() == 0 {
            self.child.kill().unwrap();
            panic!("It hung for {DEADLINE:?}:\n{}", self.end());
        }
        self.end()
    }

    fn end(&mut self) -> Finished {
        let status = self.child.wait().unwrap();
        self.writer.take().map(JoinHandle::join).transpose().unwrap();
        Finished {
            shown: mem::take(&mut self.shown),
            sandbox: mem::take(&mut self.sandbox),
            status,
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
        }
    }

    fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `end` both do nothing.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Stream {
    fn listen(mut source: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Printed::default()), Condvar::new()));
        let heard = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            let (printed, news) = &*heard;
            let mut buffer = [0; 8192];
            loop {
                let count = source.read(&mut buffer).unwrap_or(0);
                let mut printed = printed.lock().unwrap();
                printed.bytes.extend_from_slice(&buffer[..count]);
                printed.ended = count == 0;
                news.notify_all();
                if count == 0 {
                    break;
                }
            }
        });
        Self {
            reader: Some(reader),
            shared,
        }
    }

    #[track_caller]
    fn until(&self, text: &str, shown: &str) {
        let (printed, news) = &*self.shared;
        let waits = |printed: &mut Printed| !printed.ended && !contains(&printed.bytes, text);
        let guard = printed.lock().unwrap();
        let (printed, _) = news.wait_timeout_while(guard, DEADLINE, waits).unwrap();
        let all = String::from_utf8_lossy(&printed.bytes);
        assert!(all.contains(text), "{shown} never printed {text:?}:\n{all}");
    }

    fn all(&mut self) -> Vec<u8> {
        self.reader.take().map(JoinHandle::join).transpose().unwrap();
        mem::take(&mut self.shared.0.lock().unwrap().bytes)
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
