//! Programs that see nothing but the sandbox, and what they leave behind.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::running::Running;
use super::scrub::scrub;

/// The instant at which every commit of the tests is made, unless a test says otherwise.
const COMMIT_DATE: &str = "1700000000 +0000";

/// A program that is about to run in a sandbox.
pub(crate) struct Program {
    command: Command,
    shown: String,
    sandbox: PathBuf,
    input: Vec<u8>,
}

/// What a program left behind.
#[derive(Clone)]
pub(crate) struct Finished {
    pub(super) shown: String,
    pub(super) sandbox: PathBuf,
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Program {
    pub(super) fn new(program: &OsStr, sandbox: &Path, directory: &Path) -> Self {
        let mut command = Command::new(program);
        let home = sandbox.join("home");
        command
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &home)
            .env("TMPDIR", sandbox)
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", home.join(".gitconfig"))
            .env("GIT_CEILING_DIRECTORIES", sandbox)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_DATE", COMMIT_DATE)
            .env("GIT_COMMITTER_DATE", COMMIT_DATE)
            // What coverage needs to find its way home.
            .envs(std::env::var_os("LLVM_PROFILE_FILE").map(|path| ("LLVM_PROFILE_FILE", path)));
        let shown = Path::new(program).file_name().unwrap_or(program);
        Self {
            command,
            shown: shown.to_string_lossy().into_owned(),
            sandbox: sandbox.to_owned(),
            input: Vec::new(),
        }
    }

    /// Adds arguments.
    pub(crate) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, arguments: I) -> Self {
        for argument in arguments {
            let argument: OsString = argument.as_ref().to_owned();
            self.shown.push(' ');
            self.shown.push_str(&argument.to_string_lossy());
            self.command.arg(argument);
        }
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs in another directory.
    pub(crate) fn at(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Gives the program something to read; without this its standard input is empty.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Starts the program and leaves it running.
    pub(crate) fn start(mut self) -> Running {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.shown));
        Running::new(child, self.shown, self.sandbox, self.input)
    }

    /// Starts the program as the head of a process group, to be signalled with everything that it starts.
    pub(crate) fn start_group(mut self) -> Running {
        self.command.process_group(0);
        self.start()
    }

    /// Runs the program to its end.
    pub(crate) fn run(self) -> Finished {
        self.start().finish()
    }
}

/// The command, to be run in a way of its own. What was given to read is not part of it.
impl AsRef<Command> for Program {
    fn as_ref(&self) -> &Command {
        &self.command
    }
}

impl Finished {
    /// Returns standard output as text.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    /// Returns standard error as text.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.stderr.clone()).unwrap()
    }

    /// Returns standard output as bytes.
    pub(crate) fn stdout_bytes(&self) -> &[u8] {
        &self.stdout
    }

    /// Returns the exit code; `None` when a signal ended the program.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Reads standard output as one JSON document.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }

    /// Reads standard error as one JSON document.
    pub(crate) fn error_json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stderr).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }

    /// Fails the test unless the program exited with 0.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        self.exited(0)
    }

    /// Fails the test unless the program exited with `code`.
    #[track_caller]
    pub(crate) fn exited(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    /// Returns everything as one text, for snapshots: what was printed, and how it ended. Names of the sandbox, uuids,
    /// object ids and times are replaced by words.
    pub(crate) fn text(&self) -> String {
        let sandbox = self.sandbox.to_string_lossy();
        scrub(&sandbox, &format!("$ {self}"))
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let section = |f: &mut fmt::Formatter<'_>, name: &str, bytes: &[u8]| {
            if bytes.is_empty() {
                return Ok(());
            }
            let text = String::from_utf8_lossy(bytes);
            let end = if text.ends_with('\n') {
                ""
            } else {
                "[no line end]\n"
            };
            write!(f, "--- {name}\n{text}{end}")
        };
        writeln!(f, "{}", self.shown)?;
        section(f, "stdout", &self.stdout)?;
        section(f, "stderr", &self.stderr)?;
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => writeln!(f, "--- exit {code}"),
            (None, Some(signal)) => writeln!(f, "--- signal {signal}"),
            (None, None) => writeln!(f, "--- {:?}", self.status),
        }
    }
}
