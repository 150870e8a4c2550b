//! Git's hooks of a repository: ours go in beside those that are there, and come out again without a trace.
//!
//! Guarantees: a hook that was there keeps running, with its own arguments, standard input, `$0` and exit code; installing
//! twice and uninstalling once gives back the same bytes and modes; a directory of hooks that other repositories share
//! is never written. It does not guard against a tool that rewrites its hooks afterwards: [`Hooks::states`] shows that.
//!
//! A shell script gets a block of ours behind its first line. Any other hook (a program, another language, a symlink, a
//! file that is not executable) is kept as it is in `mirror-kept/` beside it, and called by a script of ours.

mod directory;
mod place;
mod script;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use self::place::Place;
use crate::disk::{self, DiskError};
use crate::git::GitError;
use crate::model::{Kind, shown};

/// The hooks that mirror answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookName {
    /// Before `git commit` makes a commit.
    PreCommit,
    /// Before `git merge` makes a commit.
    PreMergeCommit,
    /// Before `git am` makes a commit.
    PreApplyPatch,
    /// Before `git push` sends commits.
    PrePush,
    /// At the other side, before any ref of a push moves.
    PreReceive,
    /// At the other side, before one ref of a push moves.
    Update,
}

/// A text that names no hook of mirror's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unknown hook {0:?}")]
pub struct ParseHookNameError(String);

/// What stands in a hook's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookState {
    /// No hook.
    Absent,
    /// A hook that knows nothing of mirror.
    Foreign,
    /// Ours, as this version writes it.
    Installed,
    /// Ours, as another version wrote it.
    Outdated,
    /// Ours, but git passes over it: it is not executable.
    Disabled,
    /// Our marker lines are there, but not as we wrote them.
    Damaged,
}

/// One hook of one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookReport {
    /// Which.
    pub hook: HookName,
    /// Its file.
    pub path: PathBuf,
    /// What stands there.
    pub state: HookState,
    /// Whether somebody else's hook runs there, too.
    pub beside: bool,
    /// Somebody's hook that was kept aside and that nothing calls, since another has taken its place.
    pub left_aside: Option<PathBuf>,
}

/// Why hooks cannot be installed, removed or looked at.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// `core.hooksPath` is set for more than this repository.
    #[error(
        "core.hooksPath is {} for more than this repository ({scope}: {origin})",
        shown(path)
    )]
    Shared {
        /// The directory.
        path: PathBuf,
        /// Where git says it is set: `global`, `system`, `command`.
        scope: String,
        /// The file, as git names it.
        origin: String,
    },
    /// The hooks' directory is something else.
    #[error("{} is no directory, so git runs no hooks", shown(path))]
    NoDirectory {
        /// The path.
        path: PathBuf,
    },
    /// A hook is something else than a file.
    #[error("{} is no file", shown(path))]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// Our marker lines do not belong together.
    #[error("The marker lines of mirror in {} are damaged", shown(path))]
    Damaged {
        /// The hook.
        path: PathBuf,
    },
    /// There is a hook to be kept aside, and an earlier one is kept there.
    #[error("{} holds another hook already", shown(path))]
    Taken {
        /// Where.
        path: PathBuf,
    },
    /// Somebody wrote into a hook that is ours alone.
    #[error("{} was edited; the hook that it calls is {}", shown(path), shown(kept))]
    Edited {
        /// Ours.
        path: PathBuf,
        /// The one that it calls.
        kept: PathBuf,
    },
    /// Git would not say where hooks are.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The file system failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The directories in which git looks for the hooks of one repository: one, or with a relative `core.hooksPath` one in
/// each working tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// Never empty; the first belongs to the working tree at hand.
    directories: Vec<PathBuf>,
    /// Whether the directory is git's own, which may be made and removed.
    is_default: bool,
}

impl HookName {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::PreCommit,
        Self::PreMergeCommit,
        Self::PreApplyPatch,
        Self::PrePush,
        Self::PreReceive,
        Self::Update,
    ];

    /// Those that run where somebody works.
    pub const OF_A_WORKER: [Self; 4] = [
        Self::PreCommit,
        Self::PreMergeCommit,
        Self::PreApplyPatch,
        Self::PrePush,
    ];

    /// Tells whether it runs at the side that others push to.
    pub fn is_of_a_server(self) -> bool {
        matches!(self, Self::PreReceive | Self::Update)
    }

    /// Returns the name that git knows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreCommit => "pre-commit",
            Self::PreMergeCommit => "pre-merge-commit",
            Self::PreApplyPatch => "pre-applypatch",
            Self::PrePush => "pre-push",
            Self::PreReceive => "pre-receive",
            Self::Update => "update",
        }
    }

    /// Returns the git command that runs the hook.
    pub fn verb(self) -> &'static str {
        match self {
            Self::PreCommit => "commit",
            Self::PreMergeCommit => "merge",
            Self::PreApplyPatch => "am",
            Self::PrePush | Self::PreReceive | Self::Update => "push",
        }
    }

    fn shim(self) -> &'static str {
        match self {
            Self::PreCommit => include_str!("../../hooks/pre-commit"),
            Self::PreMergeCommit => include_str!("../../hooks/pre-merge-commit"),
            Self::PreApplyPatch => include_str!("../../hooks/pre-applypatch"),
            Self::PrePush => include_str!("../../hooks/pre-push"),
            Self::PreReceive => include_str!("../../hooks/pre-receive"),
            Self::Update => include_str!("../../hooks/update"),
        }
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HookName {
    type Err = ParseHookNameError;

    fn from_str(text: &str) -> Result<Self, ParseHookNameError> {
        let found = Self::ALL.into_iter().find(|hook| hook.as_str() == text);
        found.ok_or_else(|| ParseHookNameError(text.to_owned()))
    }
}

impl HookError {
    /// Returns what kind of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Shared { .. } | Self::NoDirectory { .. } | Self::NoFile { .. } => Kind::Usage,
            Self::Damaged { .. } | Self::Taken { .. } | Self::Edited { .. } => Kind::Conflict,
            Self::Git(error) => error.kind(),
            Self::Disk(_) => Kind::Failed,
        }
    }

    /// Returns what to do about it, where we know.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Shared { path, .. } => Some(format!(
                "Give this repository hooks of its own with `git config --local core.hooksPath \
                 \"$(git rev-parse --git-common-dir)/hooks\"`, or call `mirror hook run NAME \"$@\"` in the hooks of {}",
                shown(path)
            )),
            Self::NoDirectory { .. } => Some("See `git config --show-origin core.hooksPath`".to_owned()),
            Self::NoFile { path } => Some(format!("Move {} away", shown(path))),
            Self::Damaged { .. } => {
                Some("Take out what is left between the marker lines, and the lines themselves".to_owned())
            }
            Self::Taken { path } => Some(format!("Move {} away, if nobody needs it", shown(path))),
            Self::Edited { kept, .. } => Some(format!("Move your lines to {}", shown(kept))),
            Self::Git(_) | Self::Disk(_) => None,
        }
    }
}

impl Hooks {
    /// Returns the directory of the working tree at hand.
    pub fn directory(&self) -> &Path {
        &self.directories[0]
    }

    /// Returns the tool that owns the directory and writes its hooks anew whenever it is installed, if we know it.
    pub fn rewritten_by(&self) -> Option<&'static str> {
        let is_husky = self.directory().ends_with(".husky/_");
        is_husky.then_some("husky")
    }

    /// Makes these hooks check, beside whatever it does already. Doing it again changes nothing. A hook that is in place
    /// is durable when this returns.
    ///
    /// When it returns, the hooks survive power loss.
    pub fn install(&self, hooks: &[HookName]) -> Result<(), HookError> {
        self.places()
            .filter(|place| hooks.contains(&place.hook))
            .try_for_each(|place| place.install())?;
        self.sync()
    }

    /// Gives back what was there before. Doing it again changes nothing.
    pub fn uninstall(&self) -> Result<(), HookError> {
        self.places().try_for_each(|place| place.uninstall())?;
        self.sync()?;
        if self.is_default {
            // Git makes it with its samples, or not at all.
            disk::remove_dir_if_empty(self.directory())?;
        }
        Ok(())
    }

    /// Tells what stands in the place of each hook. Those of a server are left out where they are none of ours.
    pub fn states(&self) -> Result<Vec<HookReport>, HookError> {
        let reports: Vec<HookReport> = self
            .places()
            .map(|place| place.report())
            .collect::<Result<_, _>>()?;
        let is_shown = |report: &HookReport| {
            !report.hook.is_of_a_server() || !matches!(report.state, HookState::Absent | HookState::Foreign)
        };
        Ok(reports.into_iter().filter(is_shown).collect())
    }

    fn sync(&self) -> Result<(), HookError> {
        for directory in &self.directories {
            if disk::contained::stat(directory)?.is_some() {
                disk::sync::barrier_at(directory)?;
            }
        }
        Ok(())
    }

    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let every = |directory| HookName::ALL.map(|hook| Place { directory, hook });
        self.directories
            .iter()
            .flat_map(move |directory| every(directory))
    }
}
