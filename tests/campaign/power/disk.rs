//! Disks of our own: file systems in files, mounted, and one whose writes are logged.
//!
//! `qemu-storage-daemon` exports the image through FUSE with a logger of writes in front of it, a loop device makes a
//! block device of that, and the file system is mounted on it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::log;

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FileSystem {
    Btrfs,
    Ext4,
    Xfs,
}

impl FileSystem {
    fn image_bytes(self) -> u64 {
        let mebibytes: u64 = match self {
            Self::Btrfs => 120,
            Self::Ext4 => 64,
            Self::Xfs => 320,
        };
        mebibytes << 20
    }

    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Btrfs => "mkfs.btrfs",
            Self::Ext4 => "mkfs.ext4",
            Self::Xfs => "mkfs.xfs",
        }
    }

    /// Makes an empty file system in a file.
    pub(super) fn make(self, image: &Path) {
        File::create(image).unwrap().set_len(self.image_bytes()).unwrap();
        run(Command::new(self.program()).arg("-q").arg(image));
    }
}

/// A mounted image. Unmounted on drop.
pub(super) struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// Mounts an image, or a block device.
    pub(super) fn mount(device: &Path, at: &Path) -> Self {
        Self::try_mount(device, at).unwrap()
    }

    /// The same; the error is what `mount` says.
    pub(super) fn try_mount(device: &Path, at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).unwrap();
        let is_file = fs::metadata(device).unwrap().is_file();
        let options = if is_file { "loop,nodiscard" } else { "nodiscard" };
        try_run(Command::new("mount").args(["-o", options]).arg(device).arg(at))?;
        Ok(Self { at: at.to_owned() })
    }

    /// Writes everything out to this file system alone: to write out all of them would hide from the recordings beside
    /// this one what was not synced there.
    pub(super) fn sync(&self) {
        rustix::fs::syncfs(File::open(&self.at).unwrap()).unwrap();
    }

    pub(super) fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A program that another thread starts at this instant holds copies of our descriptors until it is executed.
        let deadline = Instant::now() + BUSY_MAX;
        while let Err(error) = try_run(Command::new("umount").arg(&self.at)) {
            assert!(error.contains("busy") && Instant::now() < deadline, "{error}");
        }
    }
}

/// A block device that logs its writes.
pub(super) struct Recorder {
    device: PathBuf,
    log: PathBuf,
    daemon: PathBuf,
}

impl Recorder {
    /// Makes a device of `image`, which is changed by what is written.
    pub(super) fn start(image: &Path, scratch: &Path) -> Self {
        let (log, export, daemon) = (
            scratch.join("log"),
            scratch.join("export"),
            scratch.join("daemon"),
        );
        File::create(&log).unwrap().set_len(LOG_BYTES).unwrap();
        File::create(&export).unwrap();
        let (image, log_name, export_name) = (image.display(), log.display(), export.display());
        run(Command::new("qemu-storage-daemon")
            .args(["--daemonize", "--pidfile"])
            .arg(&daemon)
            .args(["--blockdev", &format!("driver=file,filename={image},node-name=disk")])
            .args(["--blockdev", &format!("driver=file,filename={log_name},node-name=log")])
            .args([
                "--blockdev",
                "driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size=512,log-super-update-interval=1",
            ])
            .args([
                "--export",
                &format!("type=fuse,id=export,node-name=logged,mountpoint={export_name},writable=on"),
            ]));
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&export));
        Self {
            device: PathBuf::from(device.trim()),
            log,
            daemon,
        }
    }

    pub(super) fn device(&self) -> &Path {
        &self.device
    }

    /// Counts what was written so far.
    pub(super) fn count(&self) -> usize {
        log::count(&self.log)
    }

    /// Takes the device away and answers everything that was written.
    pub(super) fn end(self) -> Vec<log::Entry> {
        let log = self.log.clone();
        drop(self);
        log::read(&log)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        run(Command::new("losetup").arg("--detach").arg(&self.device));
        let pid = fs::read_to_string(&self.daemon).unwrap();
        // Not by a program: not every system has one.
        kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGTERM).unwrap();
        // It writes the log's header once more before it goes.
        run(Command::new("tail").args(["--pid", pid.trim(), "-f", "/dev/null"]));
    }
}

/// How long a file system may stay busy that nobody uses any more.
const BUSY_MAX: Duration = Duration::from_secs(20);

/// Far more than a command writes; the file is sparse.
const LOG_BYTES: u64 = 600 << 20;

/// Copies an image, leaving out what was never written.
pub(super) fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("--sparse=always").arg(from).arg(to));
}

pub(super) fn run(command: &mut Command) -> String {
    try_run(command).unwrap()
}

fn try_run(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{command:?}: {}", text(&output.stderr)))
    }
}
