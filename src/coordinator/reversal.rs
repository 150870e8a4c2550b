//! What has to be done to take a committed transaction back: its own paths, what it left there, what they held before.
//!
//! Of a commit that git records both sides are in git, however old it is. Of any other they are in the manifest, and the
//! bytes are the displaced objects in the transaction's directory, until cleanup removes that.

use std::collections::BTreeSet;

use crate::coordinator::draft::{Draft, Edit};
use crate::coordinator::ground::{self, Ground};
use crate::coordinator::look::{self, Seen};
use crate::coordinator::undo_error::UndoError;
use crate::coordinator::{Coordinator, Error, clean, recover};
use crate::disk::contained::Root;
use crate::git::{Git, Head, TreeDifference};
use crate::model::{Change, Entry, FileMode, ObjectId, RepoPath, TransactionId, TreeEntry};
use crate::store::Transaction;
use crate::workspace::kept::{self, Kept};
use crate::workspace::manifest::Operation;
use crate::workspace::slots::Slots;

/// How to take a transaction back.
pub(super) struct Reversal {
    transaction: TransactionId,
    before: Past,
}

/// Where it is known what the paths held before.
enum Past {
    /// In git. The paths differ between what the ref held and what the transaction made of it.
    Recorded {
        reference: String,
        new: ObjectId,
        differences: Vec<TreeDifference>,
    },
    /// In the transaction's directory.
    Displaced {
        operations: Vec<Operation>,
        slots: Slots,
    },
}

impl Reversal {
    /// Finds out what `transaction` did.
    pub(super) fn of(coordinator: &Coordinator, transaction: &Transaction) -> Result<Self, Error> {
        let before = match (&coordinator.git, &transaction.reference, transaction.new) {
            (Some(git), Some(reference), Some(new)) => {
                recorded(git, transaction, reference.clone(), transaction.old, new)?
            }
            _ => displaced(coordinator, transaction)?,
        };
        Ok(Self {
            transaction: transaction.id,
            before,
        })
    }

    /// Returns the ref and the commit, if git records the transaction.
    pub(super) fn commit(&self) -> Option<(&str, ObjectId)> {
        match &self.before {
            Past::Recorded { reference, new, .. } => Some((reference, *new)),
            Past::Displaced { .. } => None,
        }
    }

    /// Tells whether the ref that the transaction moved is the one that is checked out.
    pub(super) fn is_checked_out(&self, git: &Git) -> Result<bool, Error> {
        let Past::Recorded { reference, .. } = &self.before else {
            return Ok(true);
        };
        Ok(match git.head()? {
            Head::Branch { name, .. } => name == *reference,
            Head::Detached { .. } => reference == "HEAD",
        })
    }

    /// Returns the paths to put back, in order.
    pub(super) fn paths(&self) -> Vec<RepoPath> {
        match &self.before {
            Past::Recorded { differences, .. } => {
                differences.iter().map(|found| found.path.clone()).collect()
            }
            Past::Displaced { operations, .. } => operations
                .iter()
                .map(|operation| operation.path.clone())
                .collect(),
        }
    }

    /// Compares what is there now with what the transaction left, and refuses where it is anything else. Paths that hold
    /// what they held before are done. `base` is where a branch for the undo begins; without it the working tree is meant.
    pub(super) fn refuse_changed(
        &mut self,
        coordinator: &Coordinator,
        base: Option<ObjectId>,
    ) -> Result<(), Error> {
        let changed = match (&mut self.before, &coordinator.git) {
            (Past::Recorded { differences, .. }, Some(git)) => {
                let tip = base.map_or_else(|| tip(git), |base| Ok(Some(base)))?;
                let changed = changed_in_git(git, tip, differences)?;
                if base.is_none() && changed.is_empty() {
                    refuse_user_changes(coordinator, git, differences)?;
                }
                changed
            }
            (Past::Displaced { operations, .. }, _) => changed_in_tree(&coordinator.root, operations)?,
            (Past::Recorded { .. }, None) => unreachable!("BUG: what git records was found without git"),
        };
        if changed.is_empty() {
            return Ok(());
        }
        Err(UndoError::ChangedSince {
            transaction: self.transaction,
            paths: changed,
        }
        .into())
    }

    /// Returns the changes that put the paths back. Nothing is staged for them yet.
    pub(super) fn changes(&self, coordinator: &Coordinator) -> Result<Vec<Change>, Error> {
        let sides: Vec<(Option<Entry>, Option<Entry>)> = match (&self.before, &coordinator.git) {
            (Past::Recorded { differences, .. }, Some(git)) => {
                let paths = self.paths();
                let side = |of: fn(&TreeDifference) -> Option<TreeEntry>| {
                    let entries: Vec<_> = differences.iter().map(of).collect();
                    ground::checked_out(git, &paths, &entries)
                };
                side(|found| found.after)?
                    .into_iter()
                    .zip(side(|found| found.before)?)
                    .collect()
            }
            (Past::Displaced { operations, .. }, _) => operations
                .iter()
                .map(|operation| (operation.post, held_before(operation)))
                .collect(),
            (Past::Recorded { .. }, None) => unreachable!("BUG: what git records was found without git"),
        };
        let changes = self
            .paths()
            .into_iter()
            .zip(sides)
            .map(|(path, (base, post))| Change {
                path,
                post,
                base,
                slot: 0,
                moved_from: None,
                moved_to: None,
            });
        Ok(changes.filter(|change| !change.is_empty()).collect())
    }

    /// Writes aside what the paths held before.
    pub(super) fn stage(&self, ground: &Ground) -> Result<Edit, Error> {
        let mut draft = Draft::new(ground);
        match (&self.before, ground.git) {
            (Past::Recorded { differences, .. }, Some(git)) => stage_recorded(git, differences, &mut draft)?,
            (Past::Displaced { operations, slots }, _) => {
                let mut lost = Vec::new();
                for operation in operations {
                    if !stage_displaced(ground.root, slots, operation, &mut draft)? {
                        lost.push(operation.path.clone());
                    }
                }
                self.refuse_lost(lost)?;
            }
            (Past::Recorded { .. }, None) => unreachable!("BUG: what git records was found without git"),
        }
        let edit = draft.finish()?;
        if let Past::Displaced { operations, .. } = &self.before {
            let is_another = |change: &&Change| {
                let found = operations.iter().find(|operation| operation.path == change.path);
                found.is_some_and(|operation| held_before(operation) != change.post)
            };
            let lost: Vec<RepoPath> = edit
                .put
                .iter()
                .filter(is_another)
                .map(|change| change.path.clone())
                .collect();
            if !lost.is_empty() {
                edit.discard(ground.slots);
            }
            self.refuse_lost(lost)?;
        }
        Ok(edit)
    }

    fn refuse_lost(&self, paths: Vec<RepoPath>) -> Result<(), Error> {
        if paths.is_empty() {
            return Ok(());
        }
        Err(UndoError::NotKept {
            transaction: self.transaction,
            paths,
        }
        .into())
    }
}

fn tip(git: &Git) -> Result<Option<ObjectId>, Error> {
    Ok(match git.head()? {
        Head::Branch { tip, .. } => tip,
        Head::Detached { tip } => Some(tip),
    })
}

fn recorded(
    git: &Git,
    transaction: &Transaction,
    reference: String,
    old: Option<ObjectId>,
    new: ObjectId,
) -> Result<Past, Error> {
    // Somebody's force may have dropped them, and git have collected them since.
    for commit in old.into_iter().chain([new]) {
        if !git.has_commit(commit)? {
            return Err(UndoError::NotKept {
                transaction: transaction.id,
                paths: Vec::new(),
            }
            .into());
        }
    }
    let differences = git.difference(old, new)?;
    let is_gitlink = |entry: Option<TreeEntry>| entry.is_some_and(|entry| entry.mode == FileMode::Gitlink);
    if let Some(found) = differences
        .iter()
        .find(|found| is_gitlink(found.before) || is_gitlink(found.after))
    {
        return Err(Error::Unchangeable {
            path: found.path.clone(),
            reason: "it is a submodule".to_owned(),
        });
    }
    Ok(Past::Recorded {
        reference,
        new,
        differences,
    })
}

fn displaced(coordinator: &Coordinator, transaction: &Transaction) -> Result<Past, Error> {
    let manifest = recover::read_manifest(coordinator, transaction.id)?
        .filter(|(_, digest)| Some(*digest) == transaction.manifest);
    let Some((manifest, _)) = manifest else {
        return Err(UndoError::NotKept {
            transaction: transaction.id,
            paths: Vec::new(),
        }
        .into());
    };
    let root = coordinator.root_of(&manifest);
    if root.canonicalize().ok().as_deref() != Some(coordinator.root.path()) {
        return Err(UndoError::Elsewhere {
            transaction: transaction.id,
            path: root,
        }
        .into());
    }
    let is_change = |operation: &Operation| operation.post != held_before(operation);
    Ok(Past::Displaced {
        operations: manifest.operations.into_iter().filter(is_change).collect(),
        slots: coordinator.slots(&transaction.id)?,
    })
}

/// What the path held before. A directory that gave way counts as nothing: its files are paths of their own.
fn held_before(operation: &Operation) -> Option<Entry> {
    operation.pre.and_then(|before| before.entry)
}

fn changed_in_git(
    git: &Git,
    tip: Option<ObjectId>,
    differences: &mut Vec<TreeDifference>,
) -> Result<Vec<RepoPath>, Error> {
    let paths: Vec<RepoPath> = differences.iter().map(|found| found.path.clone()).collect();
    let mut entries = git.entries(tip, &paths)?.into_iter();
    let mut changed = Vec::new();
    differences.retain(|found| {
        let now = entries.next().flatten();
        if now != found.before && now != found.after {
            changed.push(found.path.clone());
        }
        now != found.before
    });
    Ok(changed)
}

/// The working tree must hold what git records: anything else is the user's own work.
fn refuse_user_changes(
    coordinator: &Coordinator,
    git: &Git,
    differences: &[TreeDifference],
) -> Result<(), Error> {
    let paths: Vec<RepoPath> = differences.iter().map(|found| found.path.clone()).collect();
    let goes = differences.iter().filter(|found| found.before.is_none());
    let seen = look::look(
        &coordinator.root,
        &paths,
        &goes.map(|found| found.path.clone()).collect(),
    )?;
    let recorded: Vec<_> = differences.iter().map(|found| found.after).collect();
    clean::refuse_user_changes(coordinator, git, &seen, &recorded).map(drop)
}

fn changed_in_tree(root: &Root, operations: &mut Vec<Operation>) -> Result<Vec<RepoPath>, Error> {
    let paths: Vec<RepoPath> = operations
        .iter()
        .map(|operation| operation.path.clone())
        .collect();
    let goes = operations
        .iter()
        .filter(|operation| held_before(operation).is_none());
    let goes: BTreeSet<RepoPath> = goes.map(|operation| operation.path.clone()).collect();
    let mut seen = look::look(root, &paths, &goes)?
        .into_iter()
        .map(|seen: Seen| seen.present.entry());
    let mut changed = Vec::new();
    operations.retain(|operation| {
        let now = seen.next().flatten();
        if now != operation.post && now != held_before(operation) {
            changed.push(operation.path.clone());
        }
        now != held_before(operation)
    });
    Ok(changed)
}

fn stage_recorded(git: &Git, differences: &[TreeDifference], draft: &mut Draft) -> Result<(), Error> {
    for found in differences.iter().filter(|found| found.before.is_none()) {
        draft.delete(&found.path)?;
    }
    let wanted: Vec<(RepoPath, TreeEntry)> = differences
        .iter()
        .filter_map(|found| Some((found.path.clone(), found.before?)))
        .collect();
    let mut refused = None;
    let written = git.checkout_bytes(&wanted, &mut |index, bytes| {
        let (path, entry) = &wanted[index];
        let put = if entry.mode == FileMode::Symlink {
            let mut text = Vec::new();
            bytes.read_to_end(&mut text)?;
            draft.put_symlink(path, &text)
        } else {
            draft.put_file(path, bytes, entry.mode == FileMode::Executable, path.as_path())
        };
        put.map_err(|error| {
            let text = error.to_string();
            refused = Some(error);
            std::io::Error::other(text)
        })
    });
    match refused {
        Some(error) => Err(error),
        None => Ok(written?),
    }
}

/// Answers whether the object is still kept.
fn stage_displaced(
    root: &Root,
    slots: &Slots,
    operation: &Operation,
    draft: &mut Draft,
) -> Result<bool, Error> {
    let path = &operation.path;
    let Some(before) = held_before(operation) else {
        draft.delete(path)?;
        return Ok(true);
    };
    match kept::open(slots, operation)? {
        None => return Ok(false),
        Some(Kept::Symlink(text)) => draft.put_symlink(path, &text)?,
        Some(Kept::File(mut content)) => {
            let source = root.path().join(path.as_path());
            draft.put_file(path, content.as_mut(), before.is_executable(), &source)?;
        }
    }
    Ok(true)
}
