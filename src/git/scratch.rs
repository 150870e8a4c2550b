//! Scratch repositories: made or cloned to show something on, and asked afterwards whether they are whole.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::git::program::{failed, run};
use crate::git::{GitError, Result};
use crate::model::ObjectId;

/// A repository that nobody will miss.
#[derive(Debug, Clone)]
pub struct ScratchRepository {
    root: PathBuf,
}

impl ScratchRepository {
    /// Makes an empty repository with a branch `main` and a user of its own.
    pub fn create(root: &Path) -> Result<Self> {
        let scratch = Self {
            root: root.to_owned(),
        };
        scratch.git(&["init", "--quiet", "--initial-branch=main"])?;
        scratch.name_user("mirror demo", "demo@mirror.invalid")?;
        Ok(scratch)
    }

    /// Clones a repository; the original is only read.
    pub fn clone_of(original: &Path, root: &Path) -> Result<Self> {
        let arguments = ["clone", "--quiet", "--no-hardlinks"];
        let output = run(
            Command::new("git")
                .args(arguments)
                .arg("--")
                .arg(original)
                .arg(root),
            b"",
        )?;
        if !output.status.success() {
            return Err(failed(&arguments, &output));
        }
        let scratch = Self {
            root: root.to_owned(),
        };
        scratch.name_user("mirror demo", "demo@mirror.invalid")?;
        Ok(scratch)
    }

    /// Names a scratch repository that is there.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Does what a user does who commits one file past the hooks. `None` when another git process was in the way.
    pub fn commit_without_hooks(&self, path: &str, message: &str) -> Result<Option<()>> {
        let arguments = [
            "commit",
            "--quiet",
            "--no-verify",
            "--message",
            message,
            "--",
            path,
        ];
        self.attempt(&arguments)
    }

    /// Runs git as a user does. `None` when another git process was in the way, for which git does not wait.
    fn attempt(&self, arguments: &[&str]) -> Result<Option<()>> {
        let output = run(&mut self.command(arguments), b"")?;
        if output.status.success() {
            return Ok(Some(()));
        }
        // The index is locked, or the branch was moved between git's look at it and its lock.
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        if words.contains(".lock") || words.contains("cannot lock ref") {
            Ok(None)
        } else {
            Err(failed(arguments, &output))
        }
    }

    fn name_user(&self, name: &str, email: &str) -> Result<()> {
        self.git(&["config", "user.name", name])?;
        self.git(&["config", "user.email", email])?;
        // The machine's own settings shall not make the demonstration ask for a passphrase.
        self.git(&["config", "commit.gpgSign", "false"]).map(|_| ())
    }

    /// Returns its working tree.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Commits everything that is there, the way a user would.
    pub fn commit_all(&self, message: &str) -> Result<()> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message]).map(|_| ())
    }

    /// Does what a user does who edits a file and commits it with git alone. Answers git's words when it refuses.
    pub fn try_commit(
        &self,
        path: &str,
        message: &str,
        search_path: &str,
    ) -> Result<std::result::Result<(), String>> {
        self.git(&["add", "--", path])?;
        let mut command = self.command(&["commit", "--quiet", "--message", message]);
        let output = run(command.env("PATH", search_path), b"")?;
        if output.status.success() {
            return Ok(Ok(()));
        }
        Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// Throws a user's staged and unstaged change of one path away. `None` when another git process was in the way.
    pub fn restore(&self, path: &str) -> Result<Option<()>> {
        self.attempt(&["restore", "--staged", "--worktree", "--", path])
    }

    /// Lists what `git status` has to say; empty when working tree, index and `HEAD` agree.
    pub fn status(&self) -> Result<String> {
        self.git(&["status", "--porcelain=v1"])
    }

    /// Asks git whether every object is whole. Answers what it complains about.
    pub fn check_objects(&self) -> Result<String> {
        self.git(&["fsck", "--full", "--strict", "--no-dangling", "--no-progress"])
    }

    /// Returns the newest commit.
    pub fn tip(&self) -> Result<ObjectId> {
        let text = self.git(&["rev-parse", "--verify", "HEAD"])?;
        text.trim().parse().map_err(|_| GitError::Answer(text))
    }

    /// Tells whether `commit` is in the history of the checked-out branch.
    pub fn contains(&self, commit: ObjectId) -> Result<bool> {
        let output = run(
            &mut self.command(&["merge-base", "--is-ancestor", &commit.to_string(), "HEAD"]),
            b"",
        )?;
        Ok(output.status.success())
    }

    /// Draws the newest part of the history.
    pub fn graph(&self, count: usize) -> Result<String> {
        let count = format!("--max-count={count}");
        self.git(&[
            "log",
            "--graph",
            "--oneline",
            "--no-decorate",
            "--no-color",
            &count,
        ])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(&self.root)
            .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"]);
        command
            .args(arguments)
            .env_remove("GIT_DIR")
            .env_remove("GIT_INDEX_FILE")
            .env_remove("GIT_WORK_TREE");
        command
    }

    fn git(&self, arguments: &[&str]) -> Result<String> {
        let output: Output = run(&mut self.command(arguments), b"")?;
        if !output.status.success() {
            return Err(failed(arguments, &output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
