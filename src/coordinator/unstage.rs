//! `unstage`: takes staged changes back. The locks stay.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::coordinator::draft::Edit;
use crate::coordinator::{Coordinator, Error, resolve};
use crate::model::{Change, RepoPath, TaskId, TransactionId};

/// What was taken back.
#[derive(Debug, Clone)]
pub struct Unstaged {
    /// The transaction.
    pub transaction: TransactionId,
    /// The changes as they were staged, by path.
    pub changes: Vec<Change>,
}

impl Coordinator {
    /// Takes back what `task` has staged at the typed paths and below them, or everything when none is named. All of it
    /// or nothing.
    pub fn unstage(&mut self, task: &TaskId, paths: &[OsString]) -> Result<Unstaged, Error> {
        let (_own, transaction) = self.hold_open(task)?;
        let slots = self.slots(&transaction.id)?;
        let staged = self.store.changes(&transaction.id)?;
        let before: BTreeMap<RepoPath, Change> = staged
            .into_iter()
            .map(|change| (change.path.clone(), change))
            .collect();
        let mut after = before.clone();
        if paths.is_empty() {
            after.clear();
        }
        for typed in paths {
            let path = resolve::file(self, typed)?;
            let is_named = |staged: &RepoPath| *staged == path || staged.is_below(&path);
            if !before.keys().any(is_named) {
                return Err(Error::Unchangeable {
                    path,
                    reason: "it is not staged".to_owned(),
                });
            }
            after.retain(|staged, _| !is_named(staged));
        }
        let changes: Vec<Change> = before
            .values()
            .filter(|change| !after.contains_key(&change.path))
            .cloned()
            .collect();
        let edit = Edit::between(&before, after, &[], 0..0);
        self.record_edit(task, &transaction, &slots, edit)?;
        // The log is not folded here: that syncs, and would drag along what was staged. The commit does it.
        self.store.after_staging();
        Ok(Unstaged {
            transaction: transaction.id,
            changes,
        })
    }
}
