//! Unified diffs: git says which paths they name, and git applies them.
//!
//! Both happen in a directory of its own that holds nothing but the paths concerned. Where there is a repository, its
//! settings count (line ends, filters), its index, its refs and its working tree are not looked at.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use crate::git::program::{git, run};
use crate::git::{Git, GitError};

/// What git does not do here, whatever the user's configuration says: fold whitespace, repair it, guess at modes.
const SETTINGS: [&str; 6] = [
    "-c",
    "apply.ignoreWhitespace=no",
    "-c",
    "core.fileMode=true",
    "-c",
    "core.symlinks=true",
];

/// The names that one part of a diff has for a path. They differ for a rename or a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchedName {
    /// Where its content comes from.
    pub old: Vec<u8>,
    /// Where it goes.
    pub new: Vec<u8>,
    /// Whether lines are added to it, so that it is there afterwards.
    pub grows: bool,
}

/// Why a diff is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// It is no diff, or does not apply.
    #[error("{0}")]
    Refused(String),
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Lists the paths that a diff names, as they stand in it: nothing says that they lie inside the repository.
pub fn names(scratch: &Path, diff: &[u8]) -> Result<Vec<PatchedName>, PatchError> {
    let new = listed(scratch, &[], diff)?;
    // Read backwards, a diff names what it began from, the last part first.
    let mut old = listed(scratch, &["--reverse"], diff)?;
    old.reverse();
    if old.len() != new.len() {
        return Err(GitError::Answer("git apply lists a diff differently when reversed".to_owned()).into());
    }
    Ok(old
        .into_iter()
        .zip(new)
        .map(|((old, _), (new, grows))| PatchedName { old, new, grows })
        .collect())
}

/// Lists the names of a diff's parts, each with whether lines are added.
fn listed(scratch: &Path, how: &[&str], diff: &[u8]) -> Result<Vec<(Vec<u8>, bool)>, PatchError> {
    let mut command = outside_of_any_repository(scratch)?;
    command
        .args(SETTINGS)
        .args(["apply", "--numstat", "-z"])
        .args(how);
    let output = answer(&mut command, diff)?;
    // Each line counts the lines added and deleted, then names the path.
    let lines = output.split(|byte| *byte == 0).filter(|line| !line.is_empty());
    let names = lines.map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b'\t');
        let grows = !matches!(fields.next()?, b"0" | b"-");
        Some((fields.nth(1)?.to_vec(), grows))
    });
    let names: Option<Vec<_>> = names.collect();
    Ok(names.ok_or_else(|| GitError::Answer("git apply lists something without a name".to_owned()))?)
}

/// Whether the filter programs of the user's configuration may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filters {
    /// As the attributes say.
    On,
    /// Not at all.
    Off,
}

/// Applies a diff to the files below `scratch`: all of it or nothing. In a repository its settings count, with the
/// attributes that lie in `scratch`.
pub fn apply(
    repository: Option<&Git>,
    filters: Filters,
    scratch: &Path,
    diff: &[u8],
) -> Result<(), PatchError> {
    let mut command = outside_of_any_repository(scratch)?;
    if let Some(repository) = repository {
        command
            .env("GIT_DIR", repository.git_dir())
            .env("GIT_WORK_TREE", ".");
        if filters == Filters::Off {
            switch_off_filters(repository, &mut command)?;
        }
    }
    command.args(SETTINGS).args(["apply", "--whitespace=nowarn"]);
    answer(&mut command, diff).map(|_| ())
}

/// Replaces every configured filter program by none.
fn switch_off_filters(repository: &Git, command: &mut Command) -> Result<(), GitError> {
    let (_, names) = repository.ask(
        &["config", "--name-only", "-z", "--get-regexp", r"^filter\."],
        b"",
    )?;
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut count = 0;
    for name in names {
        let is_flag = name.ends_with(b".required");
        command.env(format!("GIT_CONFIG_KEY_{count}"), OsStr::from_bytes(name));
        command.env(
            format!("GIT_CONFIG_VALUE_{count}"),
            if is_flag { "false" } else { "" },
        );
        count += 1;
    }
    command.env("GIT_CONFIG_COUNT", count.to_string());
    Ok(())
}

/// Prepares git to run in `scratch` without finding any repository around it.
fn outside_of_any_repository(scratch: &Path) -> Result<Command, GitError> {
    let fail = |source| GitError::Io {
        doing: "resolving",
        path: scratch.to_owned(),
        source,
    };
    let scratch = scratch.canonicalize().map_err(fail)?;
    let mut command = git(&scratch);
    if let Some(above) = scratch.parent() {
        command.env("GIT_CEILING_DIRECTORIES", above);
    }
    Ok(command)
}

/// Runs git, and takes any failure for a refusal in its own words.
fn answer(command: &mut Command, diff: &[u8]) -> Result<Vec<u8>, PatchError> {
    let output = run(command, diff)?;
    let said = String::from_utf8_lossy(&output.stderr);
    // A file that it cannot remove it leaves where it is, and succeeds.
    if output.status.success() && !said.lines().any(|line| line.starts_with("warning: unable to ")) {
        return Ok(output.stdout);
    }
    Err(PatchError::Refused(said.trim().to_owned()))
}
