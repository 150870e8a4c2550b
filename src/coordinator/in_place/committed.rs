//! What git has committed of the locked files while a run worked in the working tree itself: its command has, most likely.
//!
//! It is published, so it stays: put back, it would look like a change of the user's that takes the commit back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use crate::coordinator::error_text::path_list;
use crate::coordinator::in_place::claim::Claim;
use crate::coordinator::in_place::kept::Aside;
use crate::coordinator::{Coordinator, Error, clean, look};
use crate::disk::contained::{Dir, Root};
use crate::disk::{self, metadata, staged};
use crate::git::{Git, TreeDifference};
use crate::model::{FileMode, ObjectId, RepoPath, Resource, TreeEntry};

/// How many commits are looked at, and how many of them are named.
const COMMITS_MAX: usize = 1000;
const NAMED_MAX: usize = 5;

/// How much of a commit's name is shown, in characters.
const SHORT: usize = 10;

/// What has been committed, and stays.
#[derive(Default)]
pub(super) struct Committed {
    /// The paths that hold what the commit says.
    pub(super) paths: BTreeSet<RepoPath>,
    /// Those that have been changed again since, with what the commit says.
    changed_again: Vec<(RepoPath, Option<TreeEntry>)>,
    /// The commits, the newest first; none if what was checked out has been left.
    commits: Vec<ObjectId>,
}

impl Committed {
    /// Finds which of the paths that differ are as git has committed them since, under the locks of the run.
    pub(super) fn among(
        coordinator: &mut Coordinator,
        claim: &Claim,
        root: &Root,
        differing: &BTreeSet<RepoPath>,
    ) -> Result<Self, Error> {
        let git = match &coordinator.git {
            Some(_) => Git::open(root.path())?,
            None => None,
        };
        let (Some(git), before) = (git, claim.kept.head) else {
            return Ok(Self::default());
        };
        let Some(now) = git.head()?.tip().filter(|now| Some(*now) != before) else {
            return Ok(Self::default());
        };
        if let Some(before) = before
            && !git.has_commit(before)?
        {
            return Ok(Self::default());
        }
        let (mut paths, mut changed_again) = (BTreeSet::new(), Vec::new());
        for TreeDifference { path, after, .. } in git.difference(before, now)? {
            if !differing.contains(&path)
                || !claim.is_held_whole(coordinator, &Resource::File(path.clone()))?
            {
                continue;
            }
            if is_recorded(coordinator, &git, root, &path, after) {
                paths.insert(path);
            } else if after.is_none_or(|entry| entry.mode != FileMode::Gitlink) {
                changed_again.push((path, after));
            }
        }
        add_around(&mut paths, differing);
        changed_again.retain(|(path, _)| !paths.contains(path));
        let is_left = match before {
            Some(before) => !git.is_ancestor(before, now)?,
            None => false,
        };
        let mut found = Self {
            paths,
            changed_again,
            commits: Vec::new(),
        };
        if !is_left {
            found.commits = found.commits_since(&git, before, now)?;
        }
        Ok(found)
    }

    /// Returns all that was committed.
    pub(super) fn all(&self) -> BTreeSet<RepoPath> {
        let again = self.changed_again.iter().map(|(path, _)| path);
        self.paths.iter().chain(again).cloned().collect()
    }

    /// Puts in the place of the copies in `was_there` what the commit says of what has been changed again since: that is what is put
    /// back, or the change would be to what nobody has any more.
    pub(super) fn replace(
        &self,
        root: &Root,
        aside: &Aside,
        was_there: &mut BTreeMap<RepoPath, PathBuf>,
    ) -> Result<(), Error> {
        let mut wanted = Vec::new();
        for (path, entry) in &self.changed_again {
            was_there.remove(path);
            wanted.extend(entry.map(|entry| (path.clone(), entry)));
        }
        let (Some(git), false) = (Git::open(root.path())?, wanted.is_empty()) else {
            return Ok(());
        };
        let kept = Dir::open(&aside.kept)?;
        for (number, (path, _)) in wanted.iter().enumerate() {
            let copy = kept.child(&format!("committed-{number}"));
            disk::remove_any(copy.path())?;
            was_there.insert(path.clone(), copy.path().to_owned());
        }
        git.checkout_bytes(&wanted, &mut |number, bytes| {
            let copy = kept.child(&format!("committed-{number}"));
            let mode = wanted[number].1.mode;
            let written = if mode == FileMode::Symlink {
                let mut text = Vec::new();
                bytes.read_to_end(&mut text)?;
                staged::symlink_new(&copy, &text)
            } else {
                let mode = metadata::fresh_mode(mode == FileMode::Executable);
                staged::write_new(&copy, bytes, mode).map(|_| ())
            };
            written.map_err(io::Error::other)
        })?;
        Ok(())
    }

    /// Returns the commits since `before` that change any of it.
    fn commits_since(
        &self,
        git: &Git,
        before: Option<ObjectId>,
        now: ObjectId,
    ) -> Result<Vec<ObjectId>, Error> {
        let (mut found, all) = (Vec::new(), self.all());
        if all.is_empty() {
            return Ok(found);
        }
        for (commit, parent) in git.since(before, now, COMMITS_MAX)? {
            let changes = git.difference(parent, commit)?;
            if changes.iter().any(|change| all.contains(&change.path)) {
                found.push(commit);
            }
        }
        Ok(found)
    }

    /// Says what stays, and what to do about it; nothing if there is nothing.
    pub(super) fn told(&self) -> Option<String> {
        let paths: Vec<RepoPath> = self.all().into_iter().collect();
        if paths.is_empty() {
            return None;
        }
        let paths = path_list(&paths);
        if self.commits.is_empty() {
            return Some(format!(
                "Git has another commit checked out by now, and what that says of this stays: {paths}. `git reflog` shows the way back."
            ));
        }
        let names: Vec<String> = self.commits.iter().take(NAMED_MAX).map(short).collect();
        let names = names.join(" ");
        Some(format!(
            "Git has committed this while the command worked, and that stays: {paths}. `git show {names}` shows what; `git revert {names}` takes it back."
        ))
    }
}

/// Tells whether a path holds what is recorded for it. What cannot be told does not.
fn is_recorded(
    coordinator: &Coordinator,
    git: &Git,
    root: &Root,
    path: &RepoPath,
    recorded: Option<TreeEntry>,
) -> bool {
    let seen = look::look(root, std::slice::from_ref(path), &BTreeSet::new());
    let judged = seen.and_then(|seen| clean::refuse_user_changes(coordinator, git, &seen, &[recorded]));
    judged.is_ok()
}

/// Adds what cannot be put back while these stay: what is below them, and above them.
fn add_around(paths: &mut BTreeSet<RepoPath>, differing: &BTreeSet<RepoPath>) {
    let above: BTreeSet<RepoPath> = paths.iter().flat_map(RepoPath::ancestors).collect();
    let is_around =
        |path: &&RepoPath| above.contains(*path) || path.ancestors().any(|above| paths.contains(&above));
    let around: Vec<RepoPath> = differing.iter().filter(is_around).cloned().collect();
    paths.extend(around);
}

fn short(commit: &ObjectId) -> String {
    commit.to_string().chars().take(SHORT).collect()
}
