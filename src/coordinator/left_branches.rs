//! Branches that tasks have left behind: those of tasks that ended, and of tasks that nobody knows of.

use std::collections::{BTreeMap, BTreeSet};

use crate::coordinator::{Coordinator, Error};
use crate::model::{ObjectId, TaskId, TransactionId, TransactionState};

/// The beginning of the full name of every task's own branch.
const BRANCHES: &str = "refs/heads/mirror/";

/// A branch that no open task has.
#[derive(Debug)]
pub(super) struct LeftBranch {
    /// Its full name.
    pub(super) name: String,
    pub(super) tip: ObjectId,
    /// The transaction that it is named after.
    pub(super) transaction: TransactionId,
    /// Whether all that it holds is in another branch, too.
    pub(super) is_merged: bool,
}

/// Lists the branches that no open task has. What has another name than mirror gives, or is checked out somewhere, is the user's.
pub(super) fn list(coordinator: &mut Coordinator) -> Result<Vec<LeftBranch>, Error> {
    let Some(git) = &coordinator.git else {
        return Ok(Vec::new());
    };
    let head = git.head()?.tip();
    let mut left = Vec::new();
    let mut unknown = BTreeMap::new();
    // The branches before the rows: a row is there before its branch is.
    for (name, tip) in git.branches(BRANCHES)? {
        let Some(transaction) = transaction_of(&name) else {
            continue;
        };
        let row = coordinator.store.transaction(&transaction)?;
        let has_ended = |state| matches!(state, TransactionState::Done | TransactionState::RolledBack);
        if row.as_ref().is_some_and(|row| !has_ended(row.state)) {
            continue;
        }
        let target = row.as_ref().and_then(|row| row.target.as_ref());
        let target = target.map(|target| git.tip(target)).transpose()?.flatten();
        let is_merged = match target.or(head) {
            Some(target) => git.is_ancestor(tip, target)?,
            None => false,
        };
        if row.is_none() && !is_merged {
            unknown.insert(transaction, tip);
        }
        left.push(LeftBranch {
            name,
            tip,
            transaction,
            is_merged,
        });
    }
    // Where nobody knows the target any more, it may be any branch.
    let alone = git.only_below(BRANCHES, &unknown.values().copied().collect())?;
    for branch in &mut left {
        branch.is_merged |= unknown.contains_key(&branch.transaction) && !alone.contains(&branch.tip);
    }
    if left.iter().any(|branch| branch.is_merged) {
        let in_use: BTreeSet<String> = git.checked_out()?.into_iter().map(|(_, branch)| branch).collect();
        left.retain(|branch| !branch.is_merged || !in_use.contains(&branch.name));
    }
    Ok(left)
}

/// Reads whose branch it is: `mirror/<task>/<transaction>`.
fn transaction_of(name: &str) -> Option<TransactionId> {
    let (task, transaction) = name.strip_prefix(BRANCHES)?.split_once('/')?;
    TaskId::new(task).ok()?;
    transaction.parse().ok()
}
