//! Reads commits, trees and the state of the repository. Nothing in here writes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use git2::{ErrorClass, ErrorCode, Tree};

use crate::git::{Git, GitError, Result, object_id, oid, system_path, tree_entry};
use crate::model::{ObjectId, RepoPath, TreeEntry};

/// One path that differs between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeDifference {
    /// The path.
    pub path: RepoPath,
    /// What the old tree has.
    pub before: Option<TreeEntry>,
    /// What the new tree has.
    pub after: Option<TreeEntry>,
}

impl Git {
    /// Looks paths up in the tree of a commit, one answer each; a directory counts as nothing. Without a commit there is
    /// nothing.
    pub fn entries(&self, commit: Option<ObjectId>, paths: &[RepoPath]) -> Result<Vec<Option<TreeEntry>>> {
        let Some(commit) = commit else {
            return Ok(vec![None; paths.len()]);
        };
        let tree = self.tree_of(commit)?;
        paths.iter().map(|path| entry_at(&tree, path)).collect()
    }

    /// Tells whether a commit records a directory at `path`.
    pub fn is_tree(&self, commit: ObjectId, path: &RepoPath) -> Result<bool> {
        match self.tree_of(commit)?.get_path(path.as_path()) {
            Ok(entry) => Ok(entry.kind() == Some(git2::ObjectType::Tree)),
            Err(error) if is_no_entry(&error) => Ok(false),
            Err(error) => Err(GitError::of("reading a tree")(error)),
        }
    }

    /// Lists everything that a commit records, by path.
    pub fn tracked(&self, commit: ObjectId) -> Result<Vec<(RepoPath, TreeEntry)>> {
        let differences = self.between(None, Some(&self.tree_of(commit)?))?;
        Ok(differences
            .into_iter()
            .filter_map(|found| found.after.map(|after| (found.path, after)))
            .collect())
    }

    /// Lists what differs between the trees of two commits, by path. A rename is a deletion and a creation.
    pub fn difference(&self, old: Option<ObjectId>, new: ObjectId) -> Result<Vec<TreeDifference>> {
        let old = old.map(|old| self.tree_of(old)).transpose()?;
        self.between(old.as_ref(), Some(&self.tree_of(new)?))
    }

    /// Tells whether `ancestor` is `commit` or one of its ancestors.
    pub fn is_ancestor(&self, ancestor: ObjectId, commit: ObjectId) -> Result<bool> {
        if ancestor == commit {
            return Ok(true);
        }
        match self.repository.graph_descendant_of(oid(commit), oid(ancestor)) {
            Ok(answer) => Ok(answer),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
            Err(error) => Err(GitError::of("walking the history")(error)),
        }
    }

    /// Returns the newest `most` commits that are in `new` and not in `old`, each with its first parent.
    pub fn since(
        &self,
        old: Option<ObjectId>,
        new: ObjectId,
        most: usize,
    ) -> Result<Vec<(ObjectId, Option<ObjectId>)>> {
        let fail = || GitError::of("walking the history");
        let mut walk = self.repository.revwalk().map_err(fail())?;
        walk.set_sorting(git2::Sort::TOPOLOGICAL).map_err(fail())?;
        walk.push(oid(new)).map_err(fail())?;
        if let Some(old) = old {
            walk.hide(oid(old)).map_err(fail())?;
        }
        let found = walk.take(most).map(|commit| {
            let commit = self.repository.find_commit(commit?)?;
            let parent = commit.parent_ids().next();
            Ok((object_id(commit.id()), parent.map(object_id)))
        });
        found
            .collect::<std::result::Result<_, git2::Error>>()
            .map_err(fail())
    }

    /// Tells whether git ignores an untracked path.
    pub fn is_ignored(&self, path: &RepoPath) -> Result<bool> {
        self.repository
            .status_should_ignore(path.as_path())
            .map_err(GitError::of("asking for ignore rules"))
    }

    /// Lists tracked paths with uncommitted changes, staged or not.
    pub fn uncommitted(&self) -> Result<Vec<RepoPath>> {
        self.status("--untracked-files=no")
    }

    /// Lists everything that is not what the checked-out commit says: uncommitted changes, and untracked files that are not
    /// ignored. A repository below this one is left out.
    pub fn differing(&self) -> Result<Vec<RepoPath>> {
        self.status("--untracked-files=all")
    }

    fn status(&self, untracked: &str) -> Result<Vec<RepoPath>> {
        let output = self.run(
            &[
                "status",
                "--porcelain=v1",
                "-z",
                "--no-renames",
                "--ignore-submodules=all",
                untracked,
            ],
            b"",
        )?;
        let lines = output.split(|byte| *byte == 0).filter(|line| line.len() > 3);
        Ok(lines.filter_map(|line| RepoPath::new(&line[3..]).ok()).collect())
    }

    /// Names the operation that is under way in this working tree and would be disturbed by a commit.
    pub fn operation_in_progress(&self) -> Option<&'static str> {
        use git2::RepositoryState as State;
        match self.repository.state() {
            State::Clean | State::Bisect => None,
            State::Merge => Some("merge"),
            State::Revert | State::RevertSequence => Some("revert"),
            State::CherryPick | State::CherryPickSequence => Some("cherry-pick"),
            State::Rebase | State::RebaseInteractive | State::RebaseMerge => Some("rebase"),
            State::ApplyMailbox | State::ApplyMailboxOrRebase => Some("patch series (git am)"),
        }
    }

    /// Finds another working tree that has `reference` checked out.
    pub fn checked_out_elsewhere(&self, reference: &str) -> Result<Option<PathBuf>> {
        let is_elsewhere = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path != self.root);
        let mut trees = self.checked_out()?.into_iter();
        Ok(trees
            .find(|(path, branch)| branch == reference && is_elsewhere(path))
            .map(|(path, _)| path))
    }

    /// Lists the working trees that have a branch checked out, with its full name.
    pub fn checked_out(&self) -> Result<Vec<(PathBuf, String)>> {
        let output = self.run(&["worktree", "list", "--porcelain", "-z"], b"")?;
        let mut current = PathBuf::new();
        let mut found = Vec::new();
        for line in output.split(|byte| *byte == 0) {
            if let Some(path) = line.strip_prefix(b"worktree ") {
                system_path(path).clone_into(&mut current);
            } else if let Some(branch) = line.strip_prefix(b"branch ") {
                found.push((current.clone(), String::from_utf8_lossy(branch).into_owned()));
            }
        }
        Ok(found)
    }

    /// Returns those of `commits` that are in no branch but those whose full names begin with `prefix`. One question for all of them:
    /// there may be hundreds.
    pub fn only_below(&self, prefix: &str, commits: &BTreeSet<ObjectId>) -> Result<BTreeSet<ObjectId>> {
        if commits.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut input: Vec<String> = commits.iter().map(ToString::to_string).collect();
        for (name, tip) in self.branches("refs/heads/")? {
            if !name.starts_with(prefix) {
                input.push(format!("^{tip}"));
            }
        }
        let output = self.run(&["rev-list", "--stdin"], input.join("\n").as_bytes())?;
        let output = String::from_utf8_lossy(&output);
        let beyond: BTreeSet<&str> = output.lines().collect();
        let is_beyond = |commit: &&ObjectId| beyond.contains(commit.to_string().as_str());
        Ok(commits.iter().filter(is_beyond).copied().collect())
    }

    /// Returns the first line of a commit's message; of a merge, that of the commit that was merged.
    pub fn title(&self, commit: ObjectId) -> Result<String> {
        let fail = GitError::of("reading a commit");
        let found = self.repository.find_commit(oid(commit));
        let found = found.and_then(|found| {
            if found.parent_count() > 1 {
                found.parent(1)
            } else {
                Ok(found)
            }
        });
        let found = found.map_err(fail)?;
        Ok(String::from_utf8_lossy(found.summary_bytes().unwrap_or_default()).into_owned())
    }

    pub(super) fn tree_of(&self, commit: ObjectId) -> Result<Tree<'_>> {
        let found = self
            .repository
            .find_commit(oid(commit))
            .and_then(|commit| commit.tree());
        found.map_err(GitError::of("reading a commit"))
    }
}

/// Looks one path up.
fn entry_at(tree: &Tree<'_>, path: &RepoPath) -> Result<Option<TreeEntry>> {
    match tree.get_path(path.as_path()) {
        Ok(entry) => Ok(tree_entry(entry.filemode(), entry.id())),
        Err(error) if is_no_entry(&error) => Ok(None),
        Err(error) => Err(GitError::of("reading a tree")(error)),
    }
}

/// Tells whether a tree has no such path. libgit2 says the same of a tree on the way that it could not read, but as an
/// error of the object store.
fn is_no_entry(error: &git2::Error) -> bool {
    error.code() == ErrorCode::NotFound && error.class() == ErrorClass::Tree
}

impl Git {
    /// Tells where a commit's tree is.
    pub(super) fn tree_id(&self, commit: ObjectId) -> Result<ObjectId> {
        Ok(object_id(self.tree_of(commit)?.id()))
    }
}
