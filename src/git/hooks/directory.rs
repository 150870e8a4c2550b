//! Where git looks for hooks, and whether that place is this repository's own.

use std::path::{Path, PathBuf};

use super::{HookError, Hooks};
use crate::git::{Git, GitError, system_path};

/// One value of `core.hooksPath`.
struct Setting {
    scope: String,
    origin: String,
    path: PathBuf,
}

impl Git {
    /// Finds the hooks of this repository. Refuses a directory that other repositories share, and one that is none.
    pub fn hooks(&self) -> Result<Hooks, HookError> {
        let settings = settings(self)?;
        let Some(setting) = settings.last() else {
            return Hooks {
                directories: vec![self.common_dir().join("hooks")],
                is_default: true,
            }
            .verified();
        };
        let is_own = |setting: &Setting| matches!(setting.scope.as_str(), "local" | "worktree");
        let shared = settings
            .iter()
            .rev()
            .find(|other| !is_own(other) && other.path == setting.path);
        if let Some(shared) = shared {
            return Err(HookError::Shared {
                path: shared.path.clone(),
                scope: shared.scope.clone(),
                origin: shared.origin.trim_start_matches("file:").to_owned(),
            });
        }
        let own = self.root().join(&setting.path);
        let mut directories = vec![own.clone()];
        if setting.path.is_relative() && setting.scope == "local" {
            // Git looks in each working tree by itself. Where the directory is missing no hook runs, and none of the
            // user's either: it is not ours to make.
            let elsewhere = worktrees(self)?.into_iter().map(|root| root.join(&setting.path));
            directories.extend(elsewhere.filter(|directory| directory.is_dir() && !is_same(directory, &own)));
        }
        Hooks {
            directories,
            is_default: false,
        }
        .verified()
    }
}

impl Hooks {
    fn verified(self) -> Result<Self, HookError> {
        match self.directory().metadata() {
            Ok(metadata) if !metadata.is_dir() => Err(HookError::NoDirectory {
                path: self.directory().to_owned(),
            }),
            _ => Ok(self),
        }
    }
}

/// Reads every value of `core.hooksPath`, the one in force last.
fn settings(git: &Git) -> Result<Vec<Setting>, GitError> {
    let arguments = [
        "config",
        "--show-scope",
        "--show-origin",
        "-z",
        "--type=path",
        "--get-all",
        "core.hooksPath",
    ];
    let (_, answer) = git.ask(&arguments, b"")?;
    let mut fields = answer.split(|byte| *byte == 0);
    let mut settings = Vec::new();
    while let (Some(scope), Some(origin), Some(path)) = (fields.next(), fields.next(), fields.next()) {
        let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        settings.push(Setting {
            scope: text(scope),
            origin: text(origin),
            path: system_path(path).to_owned(),
        });
    }
    // Our own command line, which keeps hooks from running.
    settings.retain(|setting| setting.scope != "command");
    Ok(settings)
}

/// Lists the working trees of the repository, the main one first.
fn worktrees(git: &Git) -> Result<Vec<PathBuf>, GitError> {
    let answer = git.run(&["worktree", "list", "--porcelain", "-z"], b"")?;
    let lines = answer.split(|byte| *byte == 0);
    Ok(lines
        .filter_map(|line| line.strip_prefix(b"worktree "))
        .map(|path| system_path(path).to_owned())
        .collect())
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
