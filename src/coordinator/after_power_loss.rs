//! What the first recovery of a boot clears up besides transactions.
//!
//! Nobody lives after a loss of power, and of what nobody had synced the disk has kept what it pleased: working copies of the
//! pool that were being made, or that a run was at work in; branches whose tasks went with the power. The records of the
//! pool are not durable either, so what they say counts only where git agrees.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use crate::coordinator::worktree_place::Place;
use crate::coordinator::worktrees::WorktreeState;
use crate::coordinator::{Coordinator, Error, left_branches, linked};
use crate::disk::{self, contained, fault};
use crate::model::EventKind;
use crate::store::NewEvent;

impl Coordinator {
    /// Leaves of working copies and of branches only what is whole, or holds work.
    ///
    /// Others of this boot may be at work already, since they did not wait for it: what is theirs is locked, or has a row.
    pub(super) fn clear_up_after_power_loss(&mut self) -> Result<(), Error> {
        for number in self.copies_anywhere()? {
            // One that cannot be cleared up must not be in the way of all others, at every command of this boot.
            if let Err(error) = self.bring_back(number) {
                tracing::warn!(%error, number, "the working copy is left to the next run");
            }
            fault::point("recover.copy");
        }
        if let Some(git) = &self.git {
            self.forget_nameless_trees(git)?;
        }
        self.drop_left_branches()
    }

    /// Lists the numbers of all working copies that there are records of, or that git remembers below `.mirror`.
    fn copies_anywhere(&self) -> Result<BTreeSet<u32>, Error> {
        let pool = self.layout.worktrees();
        let recorded = disk::list(&pool)?;
        let mut numbers: BTreeSet<u32> = recorded.iter().filter_map(|name| number(name)).collect();
        let Some(git) = &self.git else {
            return Ok(numbers);
        };
        for tree in git.linked_roots()? {
            if let Some(above) = tree.parent().filter(|above| above.parent() == Some(&pool)) {
                numbers.extend(above.file_name().and_then(number));
            }
        }
        Ok(numbers)
    }

    /// Forgets a working copy, unless it waits for the next run and is whole, or somebody has it.
    fn bring_back(&mut self, number: u32) -> Result<(), Error> {
        let Some(_lock) = self.try_lock_place(number)? else {
            return Ok(());
        };
        let place = self.place(number)?;
        if self.is_settled(&place)? {
            return Ok(());
        }
        self.remove_tree(&place)?;
        place.write(WorktreeState::Disposed, None)?;
        self.remove_left_directory(&place)?;
        Ok(self.store.record(&NewEvent {
            resource: Some(format!("worktree:{number}")),
            reason: Some("power was lost".to_owned()),
            ..NewEvent::of(EventKind::WorktreeDisposed)
        })?)
    }

    /// Tells whether a place is as its record says: idle with a whole working copy, or empty.
    fn is_settled(&self, place: &Place) -> Result<bool, Error> {
        let tree = place.tree();
        let Some(record) = place.read()? else {
            return Ok(false);
        };
        match (record.state, &self.git) {
            (WorktreeState::Idle, Some(git)) => {
                Ok(linked::ours(git, &tree).is_some_and(|tree| tree.is_whole().unwrap_or(false)))
            }
            (WorktreeState::Disposed, git) => {
                let is_remembered = match git {
                    Some(git) => git.linked_roots()?.contains(&tree),
                    None => false,
                };
                Ok(!is_remembered && contained::stat(&tree)?.is_none())
            }
            _ => Ok(false),
        }
    }

    /// Removes the branches of tasks that ended, or that nobody knows of, as long as they hold no work that is nowhere else.
    fn drop_left_branches(&mut self) -> Result<(), Error> {
        for left in left_branches::list(self)? {
            let Some(git) = self.git.as_ref().filter(|_| left.is_merged) else {
                continue;
            };
            git.delete_branch(&left.name, left.tip)?;
            fault::point("recover.branch");
            self.store.record(&NewEvent {
                transaction: Some(left.transaction),
                reason: Some("its branch was left, and held no work".to_owned()),
                ..NewEvent::of(EventKind::TaskRecovered)
            })?;
        }
        Ok(())
    }
}

fn number(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}
