//! Linked working trees of git's for the pool, made and forgotten one at a time.
//!
//! `git worktree add` reads what git remembers of all the others, and fails at one that somebody is adding at the same moment.
//! So ours take turns. Checking files out, which is what takes long, they do side by side.

use std::path::Path;
use std::time::Duration;

use crate::coordinator::backoff::Backoff;
use crate::coordinator::worktree_place::is_name;
use crate::coordinator::{Coordinator, Error, set_aside};
use crate::disk::contained::{self, FileKind};
use crate::disk::lock::FileLock;
use crate::disk::{self, fault};
use crate::git::{Git, GitError};
use crate::model::ObjectId;

/// How long to wait when somebody who does not take turns is adding one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

impl Coordinator {
    /// Makes the linked working tree at `path` exactly `commit`; makes it anew if there is none, or none that can be reset.
    /// Answers whether it is new.
    pub(super) fn linked_tree(
        &self,
        git: &Git,
        path: &Path,
        commit: ObjectId,
        is_idle: bool,
    ) -> Result<(Git, bool), Error> {
        if let Some(tree) = ours(git, path) {
            if is_idle && tree.is_pristine(commit).unwrap_or(false) {
                return Ok((tree, false));
            }
            match tree.reset_to(commit) {
                Ok(()) => return Ok((tree, false)),
                Err(error) => tracing::warn!(%error, "the working copy is made anew"),
            }
        }
        let tree = self.add_linked_tree(git, path, commit)?;
        tree.reset_to(commit)?;
        Ok((tree, true))
    }

    fn add_linked_tree(&self, git: &Git, path: &Path, commit: ObjectId) -> Result<Git, Error> {
        let mut backoff = Backoff::new(self.config.max_retries, FIRST_PAUSE);
        loop {
            set_aside::remove(path)?;
            match self.try_linked_tree(git, path, commit) {
                Ok(tree) => return Ok(tree),
                // The user may be adding a working tree by hand.
                Err(error) if backoff.again() => tracing::debug!(%error, "adding a working tree again"),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn try_linked_tree(&self, git: &Git, path: &Path, commit: ObjectId) -> Result<Git, GitError> {
        let _turn = FileLock::acquire(&self.layout.linking())?;
        git.forget_worktree(path)?;
        // Nobody of ours is at it, so what is half made belongs to the dead.
        git.forget_half_made(|root| is_beside(root, path))?;
        fault::point("worktree.removed");
        git.add_worktree(path, commit)
    }

    /// Removes what git remembers of a working tree.
    pub(super) fn forget_linked_tree(&self, git: &Git, path: &Path) -> Result<(), Error> {
        disk::create_private_dir(&self.layout.worktrees())?;
        let _turn = FileLock::acquire(&self.layout.linking())?;
        Ok(git.forget_worktree(path)?)
    }

    /// Removes what git began to note of working trees of the pool and does not know a place of.
    pub(super) fn forget_nameless_trees(&self, git: &Git) -> Result<(), Error> {
        if !git.has_nameless(is_name)? {
            return Ok(());
        }
        disk::create_private_dir(&self.layout.worktrees())?;
        let _turn = FileLock::acquire(&self.layout.linking())?;
        Ok(git.forget_nameless(is_name)?)
    }
}

/// Tells whether two working trees are of one pool: in one directory, or each in a directory of its own there.
fn is_beside(one: &Path, other: &Path) -> bool {
    let same = |levels| one.ancestors().nth(levels) == other.ancestors().nth(levels);
    same(1) || same(2)
}

/// Opens the working tree at `path` if it is one of this repository, and the very one that was added there: whatever a command has
/// put in its place, a link to the user's own files perhaps, is not to be reset.
pub(super) fn ours(git: &Git, path: &Path) -> Option<Git> {
    let is_directory = contained::stat(path).ok()??.kind == FileKind::Directory;
    let tree = is_directory.then(|| Git::open(path).ok().flatten())??;
    let is_ours = tree.root() == path.canonicalize().ok()?
        && tree.main_root() == git.main_root()
        && tree.is_linked_at(path);
    is_ours.then_some(tree)
}
