//! Power loss: a command runs on a file system whose writes are logged, and is looked at in every state in which losing
//! power may leave the disk.
//!
//! For each instant: everything that was written, some of what nobody had flushed, or half of the last write.

mod disk;
mod log;

use std::fs::{self, File};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

pub(crate) use self::disk::FileSystem;
use self::disk::{Mounted, Recorder};
pub(crate) use self::log::Crash;
use self::log::{Entry, How};
use super::bench::{Ending, Violation, panic_text};
use super::situation::{self, Situation};
use super::state::{State, assert_clean};
use crate::support::Sandbox;

/// Where the sandbox lies on the file system under test.
const PLACE: &str = "sandbox";

/// How likely an unflushed write is on the medium, in percent; one state each, again and again with other seeds.
const PERCENTAGES: [u8; 3] = [20, 50, 80];

/// A command that was recorded, and what is there before and after it.
pub(crate) struct Recording {
    situation: Situation,
    scratch: TempDir,
    entries: Vec<Entry>,
    /// How many entries there were before the command, and when its answer was there.
    started: usize,
    acknowledged: usize,
    old: State,
    new: State,
}

/// The situations that do not name places outside their sandbox.
pub(crate) fn situations() -> impl Iterator<Item = Situation> {
    situation::ALL
        .iter()
        .copied()
        .filter(|situation| situation.at == ".")
}

/// Tells what this machine lacks; `None` when power loss can be tested here.
pub(crate) fn missing(file_system: FileSystem) -> Option<String> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("root".to_owned());
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if !Path::new(device).exists() {
            missing.push(device.to_owned());
        }
    }
    for program in ["qemu-storage-daemon", "losetup", "mount", file_system.program()] {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .output();
        if !found.is_ok_and(|output| output.status.success()) {
            missing.push(program.to_owned());
        }
    }
    (!missing.is_empty()).then(|| missing.join(", "))
}

impl Recording {
    /// Runs a situation's command on a file system of this kind and records what it writes.
    pub(crate) fn make(situation: Situation, file_system: FileSystem) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let prepared = situation.repository();
        file_system.make(&at("base"));
        {
            let mounted = Mounted::mount(&at("base"), &at("mounted"));
            let place = mounted.path().join(PLACE);
            disk::run(Command::new("cp").arg("-a").arg(prepared.beside("")).arg(&place));
            let sandbox = Sandbox::over(&place);
            if sandbox.exists(".git") {
                sandbox.git(["status"]);
            }
            mounted.sync();
        }
        disk::copy(&at("base"), &at("run"));
        let recorder = Recorder::start(&at("run"), scratch.path());
        let (started, acknowledged);
        {
            let mounted = Mounted::mount(recorder.device(), &at("mounted"));
            let sandbox = Sandbox::over(&mounted.path().join(PLACE));
            let program = sandbox.mirror_program().at(sandbox.path(situation.at));
            started = recorder.count();
            program.args(situation.arguments).run().exited(situation.exit);
            acknowledged = recorder.count();
            mounted.sync();
        }
        let entries = recorder.end();
        let mut recording = Self {
            situation,
            scratch,
            entries,
            started,
            acknowledged,
            old: State::default(),
            new: State::default(),
        };
        let end = recording.entries.len();
        recording.old = recording.state_at(started);
        recording.new = recording.state_at(end);
        recording
    }

    /// Lists the states to look at: each instant of the command and a few after its answer, as it is, torn, and with
    /// `draws` random choices for each probability.
    pub(crate) fn crashes(&self, draws: u64, seed: u64) -> Vec<Crash> {
        let last = (self.acknowledged + AFTER).min(self.entries.len());
        let instants = self.started..=last;
        let crashes = instants.flat_map(|before| {
            let some = PERCENTAGES.into_iter().flat_map(move |percent| {
                let seeds = (0..draws).map(move |draw| (seed * 1_000 + draw) * 1_000_003 + before as u64);
                seeds.map(move |seed| How::Some { percent, seed })
            });
            let ways = [How::Prefix, How::Torn].into_iter().chain(some);
            ways.map(move |how| Crash { before, how })
        });
        crashes.collect()
    }

    /// Loses power, starts anew, recovers, and looks.
    pub(crate) fn look(&self, crash: Crash) -> Result<Ending, Violation> {
        let looked = panic::catch_unwind(AssertUnwindSafe(|| {
            self.on(crash, |sandbox| self.judge(crash, sandbox))
        }));
        match looked {
            Ok(Ok(judged)) => judged,
            // A file system does not survive half a superblock: there is nothing to look at.
            Ok(Err(_)) if crash.how == How::Torn => Ok(Ending::NotReached),
            Ok(Err(error)) => Err(Violation(error)),
            Err(payload) => Err(Violation(panic_text(payload.as_ref()))),
        }
    }

    fn judge(&self, crash: Crash, sandbox: &Sandbox) -> Result<Ending, Violation> {
        let at = self.situation.at;
        let found = State::of(sandbox, at);
        let is_acknowledged = self.situation.durable && crash.before >= self.acknowledged;
        let is_old = is_same(&found, &self.old) && !is_acknowledged;
        let is_new = is_same(&found, &self.new);
        let is_between = self.situation.in_steps && !is_acknowledged && found.files == self.old.files;
        if !is_old && !is_new && !is_between {
            let (old, new) = (&self.old, &self.new);
            let expected = if is_acknowledged {
                "after"
            } else {
                "before or after"
            };
            return Err(Violation(format!(
                "expected {expected}, found\n{found:#?}\nbefore: {old:#?}\nafter: {new:#?}"
            )));
        }
        assert_clean(sandbox, at, "after power loss");
        // A run is over with its process, whatever the disk has kept of it.
        if self.situation.name.starts_with("run") && !found.tasks.is_empty() {
            return Err(Violation(format!("tasks are left: {:?}", found.tasks)));
        }
        if is_new {
            return Ok(Ending::New);
        }
        // Whatever the disk has kept of the attempt is in nobody's way.
        let program = sandbox.mirror_program().at(sandbox.path(at));
        let repeated = program.args(self.situation.arguments).run();
        assert_eq!(
            repeated.code(),
            Some(self.situation.exit),
            "the same command again: {repeated}"
        );
        assert!(
            is_same(&State::of(sandbox, at), &self.new),
            "the same command again"
        );
        assert_clean(sandbox, at, "after the same command again");
        Ok(if is_old { Ending::Old } else { Ending::Between })
    }

    fn state_at(&self, before: usize) -> State {
        let how = How::Prefix;
        let state = self.on(Crash { before, how }, |sandbox| {
            State::of(sandbox, self.situation.at)
        });
        state.unwrap()
    }

    /// Mounts what a crash leaves and does something there. The error is that of `mount`.
    fn on<T>(&self, crash: Crash, act: impl FnOnce(&Sandbox) -> T) -> Result<T, String> {
        let directory = tempfile::tempdir_in(self.scratch.path()).unwrap();
        let image = directory.path().join("image");
        disk::copy(&self.scratch.path().join("base"), &image);
        let file = File::options().write(true).open(&image).unwrap();
        log::replay(&self.entries, crash, &file);
        drop(file);
        let mounted = Mounted::try_mount(&image, &directory.path().join("mounted"));
        let answer = mounted.map(|mounted| {
            let sandbox = Sandbox::over(&mounted.path().join(PLACE)).rebooted();
            act(&sandbox)
        });
        fs::remove_file(image).unwrap();
        answer
    }
}

/// How many entries after the answer are looked at as well.
const AFTER: usize = 6;

/// A new boot ends every lease, so the tasks are left out.
fn is_same(one: &State, other: &State) -> bool {
    one.files == other.files && one.git == other.git
}
