//! The one place that runs the git program.
//!
//! Arguments are fixed words, never a user's text in front of `--end-of-options`; what the environment says about other
//! repositories is removed (it is set inside a hook); no hook runs, nothing is fetched, nobody is asked for a password.

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::git::{Git, GitError, Result};

/// The variables that a hook or a user may have set, and that would point git elsewhere.
pub const POINTERS: [&str; 20] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_EXTERNAL_DIFF",
    "GIT_ATTR_SOURCE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_SHALLOW_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_NO_REPLACE_OBJECTS",
];

/// What every call sets.
const SETTINGS: [&str; 16] = [
    "--no-optional-locks",
    "--literal-pathspecs",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "gc.auto=0",
    "-c",
    "protocol.allow=never",
    "-c",
    "core.quotePath=false",
    "-c",
    "core.fsmonitor=false",
    // What it adds to the object store is complete before it has a name, as ours is.
    "-c",
    "core.fsync=committed",
    // A directory of the working tree that looks like git's own is content, whatever settings it brings.
    "-c",
    "safe.bareRepository=explicit",
];

/// Prepares `git` to run in `directory`.
pub(super) fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).args(SETTINGS);
    command
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0");
    for name in POINTERS {
        command.env_remove(name);
    }
    command
}

impl Git {
    /// Prepares git to run in this working tree. It is told where git's directory is: looking for it, git takes a
    /// directory that it cannot read for none, and goes on with the settings of another repository, or of no one.
    pub(super) fn program(&self) -> Command {
        let mut command = git(&self.root);
        command
            .env("GIT_DIR", self.git_dir())
            .env("GIT_WORK_TREE", &self.root);
        command
    }

    /// Runs git in this working tree, with `input` on its standard input, and answers what it prints. Any status but 0
    /// is an error.
    pub(super) fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
        let output = run(self.program().args(arguments), input)?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(failed(arguments, &output))
        }
    }

    /// Like [`run`](Self::run), for commands whose status 1 is an answer too.
    pub(super) fn ask(&self, arguments: &[&str], input: &[u8]) -> Result<(bool, Vec<u8>)> {
        let output = run(self.program().args(arguments), input)?;
        match output.status.code() {
            Some(0) => Ok((true, output.stdout)),
            Some(1) => Ok((false, output.stdout)),
            _ => Err(failed(arguments, &output)),
        }
    }
}

/// Runs a prepared command to its end.
pub(super) fn run(command: &mut Command, input: &[u8]) -> Result<Output> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(GitError::NoProgram)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        // Threads of their own: git may answer before it has read everything, and each pipe has an end.
        let writer = scope.spawn(move || stdin.map_or(Ok(()), |mut stdin| stdin.write_all(input)));
        let listener = scope.spawn(move || read_all(stderr));
        let stdout = read_all(stdout);
        let stderr = listener.join();
        let status = child.wait().map_err(GitError::NoProgram)?;
        match joined(writer.join()) {
            // A child that does not want its whole input says so by its status; one that got a part of it does not know.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(talking(error)),
            _ => {}
        }
        let stderr = joined(stderr).map_err(talking)?;
        refuse_unread_attributes(&stderr)?;
        Ok(Output {
            status,
            stdout: stdout.map_err(talking)?,
            stderr,
        })
    })
}

fn joined<T>(ended: std::thread::Result<T>) -> T {
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn talking(source: io::Error) -> GitError {
    GitError::Io {
        doing: "talking to",
        path: "git".into(),
        source,
    }
}

/// Git goes on without attributes of the repository that it cannot read, warns, and succeeds: what it converts then is
/// stored as it is.
fn refuse_unread_attributes(stderr: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(stderr);
    let is_unread = |line: &&str| {
        [
            "warning: unable to access '",
            "warning: cannot fstat gitattributes file '",
        ]
        .iter()
        .filter_map(|start| line.strip_prefix(start))
        .filter_map(|rest| rest.rsplit_once("': "))
        .any(|(path, _)| path.ends_with(".gitattributes") || path.ends_with("info/attributes"))
    };
    match text.lines().find(is_unread) {
        Some(warning) => Err(GitError::Answer(warning.to_owned())),
        None => Ok(()),
    }
}

fn read_all(stream: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Says what failed, in git's own words.
pub(super) fn failed(arguments: &[&str], output: &Output) -> GitError {
    GitError::Program {
        command: arguments.first().copied().unwrap_or_default().to_owned(),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    }
}
