//! Refs: where they point, and the files that git itself uses to move them.
//!
//! A ref moves by git's own protocol: `<ref>.lock` is made so that only one can, holds the new value, and is renamed over
//! the ref. The coordinator makes that lock file a hard link to a file of its own, so that it can tell after a crash
//! whose lock it is.

use std::path::{Path, PathBuf};

use git2::{ErrorCode, ReferenceType};

use crate::disk;
use crate::git::{Git, GitError, Result, object_id, oid};
use crate::model::ObjectId;

/// Where `HEAD` points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// A branch, which has no commit yet when the repository is new.
    Branch {
        /// Its full name.
        name: String,
        /// Its commit.
        tip: Option<ObjectId>,
    },
    /// A commit, with no branch checked out.
    Detached {
        /// The commit.
        tip: ObjectId,
    },
}

/// The two files of one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefFile {
    /// The ref itself; it may be missing while the ref is packed.
    pub loose: PathBuf,
    /// Git's lock on it.
    pub lock: PathBuf,
}

impl Head {
    /// Returns the full name of the branch, if one is checked out.
    pub fn branch(&self) -> Option<&str> {
        match self {
            Self::Branch { name, .. } => Some(name),
            Self::Detached { .. } => None,
        }
    }

    /// Returns the commit that is checked out, if there is one yet.
    pub fn tip(&self) -> Option<ObjectId> {
        match self {
            Self::Branch { tip, .. } => *tip,
            Self::Detached { tip } => Some(*tip),
        }
    }
}

impl Git {
    /// Reads where `HEAD` points now.
    pub fn head(&self) -> Result<Head> {
        let fail = || GitError::of("reading HEAD");
        let head = self.repository.find_reference("HEAD").map_err(fail())?;
        if head.kind() == Some(ReferenceType::Symbolic) {
            let name = head.symbolic_target().map_err(fail())?;
            let name = name
                .ok_or_else(|| GitError::Answer("HEAD is no branch name".to_owned()))?
                .to_owned();
            return Ok(Head::Branch {
                tip: self.tip(&name)?,
                name,
            });
        }
        let tip = head
            .target()
            .ok_or_else(|| GitError::Answer("HEAD points nowhere".to_owned()))?;
        Ok(Head::Detached { tip: object_id(tip) })
    }

    /// Reads where a ref points now, loose or packed; `None` when it does not exist.
    pub fn tip(&self, name: &str) -> Result<Option<ObjectId>> {
        match self.repository.refname_to_id(name) {
            Ok(id) => Ok(Some(object_id(id))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(GitError::of("reading a ref")(error)),
        }
    }

    /// Tells whether a commit is in the object store.
    pub fn has_commit(&self, id: ObjectId) -> Result<bool> {
        match self.repository.find_commit(oid(id)) {
            Ok(_) => Ok(true),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
            Err(error) => Err(GitError::of("looking for a commit")(error)),
        }
    }

    /// Finds a local branch by the name people use. `None` when there is none with a commit.
    pub fn resolve_branch(&self, name: &str) -> Result<Option<(String, ObjectId)>> {
        let full = if name.starts_with("refs/heads/") {
            name.to_owned()
        } else {
            format!("refs/heads/{name}")
        };
        if !git2::Reference::is_valid_name(&full) {
            return Ok(None);
        }
        Ok(self.tip(&full)?.map(|tip| (full, tip)))
    }

    /// Returns the files of a ref. Makes the directories above it and takes away an empty one that has its name, as git
    /// does.
    pub fn ref_file(&self, name: &str) -> Result<RefFile> {
        let refuse = |reason: &str| GitError::Branch {
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        // The name becomes part of a path: one with `..` in it would lead out of git's directory.
        if !is_ref_name(name) {
            return Err(refuse("it is no name of a ref"));
        }
        let directory = if name == "HEAD" {
            self.git_dir()
        } else {
            self.common_dir()
        };
        let loose = directory.join(name);
        if name != "HEAD" {
            if self
                .repository
                .find_reference(name)
                .is_ok_and(|found| found.kind() == Some(ReferenceType::Symbolic))
            {
                return Err(refuse("it is a symbolic ref"));
            }
            if let Some(above) = loose.parent() {
                disk::create_dir_all(above).map_err(|error| {
                    let taken = error.is_already_there() || error.is_wrong_kind();
                    if taken {
                        refuse("another branch has the first part of its name")
                    } else {
                        error.into()
                    }
                })?;
            }
            if loose.is_dir() && !remove_empty_directories(&loose)? {
                return Err(refuse("other branches begin with its name"));
            }
        }
        let mut lock = loose.clone().into_os_string();
        lock.push(".lock");
        Ok(RefFile {
            loose,
            lock: lock.into(),
        })
    }

    /// Adds the line that git would add to the reflogs of a ref, and of `HEAD` when it points to it. A line that is
    /// there already is not added again. Call it under the ref's lock.
    pub fn append_reflog(
        &self,
        name: &str,
        old: Option<ObjectId>,
        new: ObjectId,
        message: &str,
    ) -> Result<()> {
        let old = old.unwrap_or(ObjectId::ZERO);
        let change = format!("{old} {new} ");
        let line = format!("{change}{}\t{message}\n", self.committer_line()?);
        for log in self.reflogs(name)? {
            let held = disk::read_if_there(&log)?;
            if held.is_none() && !self.logs_new_refs() {
                continue;
            }
            let last = held
                .as_deref()
                .unwrap_or_default()
                .split_inclusive(|byte| *byte == b'\n')
                .next_back();
            if last.is_some_and(|last| last.starts_with(change.as_bytes())) {
                continue;
            }
            if let Some(above) = log.parent() {
                disk::create_dir_all(above)?;
            }
            disk::append(&log, line.as_bytes())?;
        }
        Ok(())
    }

    /// Returns the files and directories that have to be durable before a moved ref counts as moved.
    pub fn durable_paths(&self, name: &str) -> Vec<PathBuf> {
        let base = if name == "HEAD" {
            self.git_dir()
        } else {
            self.common_dir()
        };
        let loose = base.join(name);
        let above = loose
            .ancestors()
            .skip(1)
            .take_while(|above| above.starts_with(base));
        let mut paths: Vec<PathBuf> = above.map(Path::to_owned).collect();
        paths.push(loose.clone());
        if let Ok(logs) = self.reflogs(name) {
            paths.extend(logs.into_iter().filter(|log| log.exists()));
        }
        paths
    }

    fn reflogs(&self, name: &str) -> Result<Vec<PathBuf>> {
        let head_log = self.git_dir().join("logs/HEAD");
        if name == "HEAD" {
            return Ok(vec![head_log]);
        }
        let mut logs = vec![self.common_dir().join("logs").join(name)];
        if self.head()?.branch() == Some(name) {
            logs.push(head_log);
        }
        Ok(logs)
    }

    fn logs_new_refs(&self) -> bool {
        let setting = self
            .repository
            .config()
            .and_then(|config| config.get_string("core.logallrefupdates"));
        setting.map_or(true, |value| {
            !matches!(value.to_ascii_lowercase().as_str(), "false" | "no" | "off" | "0")
        })
    }

    fn committer_line(&self) -> Result<String> {
        let committer = self.committer()?;
        let when = committer.when();
        let offset = when.offset_minutes();
        Ok(format!(
            "{} <{}> {} {}{:02}{:02}",
            String::from_utf8_lossy(committer.name_bytes()),
            String::from_utf8_lossy(committer.email_bytes()),
            when.seconds(),
            if offset < 0 { '-' } else { '+' },
            offset.abs() / 60,
            offset.abs() % 60
        ))
    }

    /// Returns who commits: the environment's word first, then the configuration's.
    pub(super) fn committer(&self) -> Result<git2::Signature<'static>> {
        let known = self.repository.committer_from_env();
        known.or_else(|_| self.asked_identity("GIT_COMMITTER_IDENT"))
    }

    /// Returns who is the author, likewise.
    pub(super) fn author(&self) -> Result<git2::Signature<'static>> {
        let known = self.repository.author_from_env();
        known.or_else(|_| self.asked_identity("GIT_AUTHOR_IDENT"))
    }

    /// Asks git itself, which knows settings that libgit2 does not: those that only its environment names.
    fn asked_identity(&self, which: &str) -> Result<git2::Signature<'static>> {
        // What git makes up from the names of the user and the machine is nobody's name.
        let ask = ["-c", "user.useConfigOnly=true", "var", which];
        let answer = self.run(&ask, b"").map_err(|_| GitError::NoIdentity)?;
        signature(&String::from_utf8_lossy(&answer)).ok_or(GitError::NoIdentity)
    }

    /// Refuses when git knows no name for the user.
    pub fn require_identity(&self) -> Result<()> {
        self.author().and_then(|_| self.committer()).map(|_| ())
    }
}

/// Reads what `git var` says of somebody: name, address, seconds, and the time zone.
fn signature(line: &str) -> Option<git2::Signature<'static>> {
    let (who, when) = line.trim_end().rsplit_once("> ")?;
    let (name, email) = who.split_once(" <")?;
    let (seconds, zone) = when.split_once(' ')?;
    let zone: i32 = zone.parse().ok()?;
    let time = git2::Time::new(seconds.parse().ok()?, zone / 100 * 60 + zone % 100);
    git2::Signature::new(name, email, &time).ok()
}

/// Tells whether a text names a ref, so that it can become part of a path in git's directory.
pub fn is_ref_name(name: &str) -> bool {
    name == "HEAD" || name.starts_with("refs/") && git2::Reference::is_valid_name(name)
}

/// Removes a directory that holds nothing but directories; `false` when there is a file in it.
fn remove_empty_directories(directory: &Path) -> Result<bool> {
    for name in disk::list(directory)? {
        let inside = directory.join(name);
        if !inside.is_dir() || !remove_empty_directories(&inside)? {
            return Ok(false);
        }
    }
    Ok(disk::remove_dir_if_empty(directory)?)
}
