//! What has to be done to take a committed transaction back: its own paths, what it left there, what they held before.
//!
//! Of a commit that git records both sides are in git, however old it is. Of any other they are in the manifest, and the
//! bytes are the displaced objects that are kept for a while.

use std::collections::BTreeMap;

use crate::coordinator::displaced::{self, Keeping, Numbered, held_before};
use crate::coordinator::draft::{Draft, Edit};
use crate::coordinator::ground::{self, Ground};
use crate::coordinator::look;
use crate::coordinator::undo_error::UndoError;
use crate::coordinator::{Coordinator, Error, clean};
use crate::git::{Git, Head, TreeDifference};
use crate::model::{Change, Entry, FileMode, ObjectId, RepoPath, TransactionId, TreeEntry};
use crate::store::Transaction;

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
    /// In the transaction's directory, or in the file that takes its place later. Operations keep their numbers.
    Displaced { operations: Numbered, at: Keeping },
}

impl Reversal {
    /// Finds out what `transaction` did.
    pub(super) fn of(coordinator: &Coordinator, transaction: &Transaction) -> Result<Self, Error> {
        let recorded_as = transaction.reference.as_ref().zip(transaction.new);
        let before = if let Some((git, (reference, new))) = coordinator.git.as_ref().zip(recorded_as) {
            recorded(git, transaction, reference.clone(), transaction.old, new)?
        } else {
            let (operations, at) = displaced::find(coordinator, transaction)?;
            Past::Displaced { operations, at }
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
                .map(|(_, operation)| operation.path.clone())
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
                let tip = base.map_or_else(|| git.head().map(|head| head.tip()), |base| Ok(Some(base)))?;
                let changed = changed_in_git(git, tip, differences)?;
                if base.is_none() && changed.is_empty() {
                    refuse_user_changes(coordinator, git, differences)?;
                }
                changed
            }
            (Past::Displaced { operations, .. }, _) => displaced::changed(&coordinator.root, operations)?,
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
                .map(|(_, operation)| (operation.post, held_before(operation)))
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
    pub(super) fn stage(&mut self, ground: &Ground) -> Result<Edit, Error> {
        let mut draft = Draft::new(ground);
        let mut lost = Vec::new();
        match (&mut self.before, ground.git) {
            (Past::Recorded { differences, .. }, Some(git)) => stage_recorded(git, differences, &mut draft)?,
            (Past::Displaced { operations, at }, _) => {
                for (number, operation) in operations {
                    if !displaced::stage(ground.root, at, (*number, operation), &mut draft)? {
                        lost.push(operation.path.clone());
                    }
                }
            }
            (Past::Recorded { .. }, None) => unreachable!("BUG: what git records was found without git"),
        }
        self.refuse_lost(lost)?;
        let edit = draft.finish()?;
        if let Past::Displaced { operations, .. } = &self.before {
            let before: BTreeMap<&RepoPath, Option<Entry>> = operations
                .iter()
                .map(|(_, operation)| (&operation.path, held_before(operation)))
                .collect();
            let is_another = |change: &&Change| {
                before
                    .get(&change.path)
                    .is_some_and(|before| *before != change.post)
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
