//! What a run in the working tree itself may put back: its locks may have gone while it stood still, and then others hold what it
//! has changed, or have committed there.
//!
//! What it has held all along is its own. Of the rest, that which nobody else holds by now, and nobody has committed since it
//! was kept: bytes that others have published are never written over, whichever way the locks went.

use std::collections::{BTreeMap, BTreeSet};

use crate::coordinator::in_place::kept::{self, Kept};
use crate::coordinator::resolve;
use crate::coordinator::reversal::Reversal;
use crate::coordinator::{Coordinator, Error, Silent};
use crate::disk::contained::Root;
use crate::git::Git;
use crate::model::{Conflict, Lock, LockSet, Mode, RepoPath, Resource, TaskId, TransactionState, overlap};
use crate::store::{Asker, Standing, Transaction, Wait};

/// Who puts something back.
#[derive(Clone, Copy)]
pub(in crate::coordinator) enum Who {
    /// A run that has ended well, under the locks that it worked with or not at all.
    Working,
    /// A run that comes to nothing. What it has lost it wins back first, unless others have it: nobody begins to work there meanwhile.
    Failing,
    /// Whoever clears up after a run that was killed. Its locks may be others' by now, but these are not told so before everything is
    /// back, unless they had them while the run lived.
    Clearing,
}

/// What a run in place may claim as its own.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    who: Who,
    pub(super) transaction: &'a Transaction,
    /// What was there before.
    pub(super) kept: &'a Kept,
}

impl<'a> Claim<'a> {
    pub(super) fn new(who: Who, transaction: &'a Transaction, kept: &'a Kept) -> Self {
        Self {
            who,
            transaction,
            kept,
        }
    }

    /// Opens the working tree that the run works in.
    pub(super) fn root(&self, coordinator: &Coordinator) -> Result<Root, Error> {
        Ok(Root::open(&coordinator.layout.root().join(&self.kept.root))?)
    }

    /// Finds which of `wanted` may be put back. Each path comes with what has to be nobody else's for that.
    pub(super) fn ours(
        &self,
        coordinator: &mut Coordinator,
        wanted: &BTreeMap<RepoPath, Resource>,
    ) -> Result<BTreeSet<RepoPath>, Error> {
        let own = self.held_since(coordinator)?;
        let fold = resolve::folds(coordinator);
        let is_own = |path: &RepoPath| covers(&own, &wanted[path], fold);
        let (ours, doubtful): (BTreeSet<_>, BTreeSet<_>) = wanted.keys().cloned().partition(is_own);
        if doubtful.is_empty() {
            return Ok(ours);
        }
        let mut free: BTreeMap<RepoPath, Resource> = wanted.clone();
        free.retain(|path, _| doubtful.contains(path));
        match self.who {
            Who::Working => return Ok(ours),
            Who::Failing => win_back(coordinator, &self.transaction.task, &mut free)?,
            Who::Clearing => self.drop_used(coordinator, &mut free)?,
        }
        // Looked up only now: what is free, or won back, nobody commits any more.
        let Some(mut theirs) = self.committed_since(coordinator)? else {
            return Ok(ours);
        };
        theirs.extend(doubtful.into_iter().filter(|path| !free.contains_key(path)));
        Ok(self.beside(wanted, &theirs))
    }

    /// Tells whether a path that was ours still is. It is asked before each path, so only of that is read who holds it.
    pub(super) fn is_still(
        &self,
        coordinator: &mut Coordinator,
        path: &RepoPath,
        resource: &Resource,
    ) -> Result<bool, Error> {
        let fold = resolve::folds(coordinator);
        let holders = coordinator.store.holders(&[write(resource, fold).resource])?;
        let own = holders.into_iter().flat_map(|found| found.holders);
        let own = own.filter(|held| held.holder.task == self.transaction.task);
        let since = match self.who {
            Who::Failing => None,
            Who::Working | Who::Clearing => Some(self.kept.token),
        };
        let own = own.filter(|held| since.is_none_or(|token| held.holder.token <= token));
        let own: LockSet = own
            .map(|held| Lock {
                resource: held.resource,
                mode: held.mode,
            })
            .collect();
        if covers(&own, resource, fold) {
            return Ok(true);
        }
        if !matches!(self.who, Who::Clearing) {
            return Ok(false);
        }
        let mut free = BTreeMap::from([(path.clone(), resource.clone())]);
        self.drop_used(coordinator, &mut free)?;
        Ok(!free.is_empty())
    }

    /// Tells whether the run has held all of something ever since it began to work.
    pub(super) fn is_held_whole(
        &self,
        coordinator: &mut Coordinator,
        resource: &Resource,
    ) -> Result<bool, Error> {
        let own = self.held_since(coordinator)?;
        Ok(covers(&own, resource, resolve::folds(coordinator)))
    }

    /// Returns the write locks that the run has had ever since it began to work.
    fn held_since(&self, coordinator: &mut Coordinator) -> Result<LockSet, Error> {
        held(coordinator, &self.transaction.task, Some(self.kept))
    }

    /// Drops out of `paths` what others hold who work there already.
    fn drop_used(
        &self,
        coordinator: &mut Coordinator,
        paths: &mut BTreeMap<RepoPath, Resource>,
    ) -> Result<(), Error> {
        let overtakers = kept::overtakers(coordinator, &self.transaction.id)?;
        if overtakers.is_empty() {
            return Ok(());
        }
        let fold = resolve::folds(coordinator);
        let wanted: Vec<Resource> = paths
            .values()
            .map(|resource| write(resource, fold).resource)
            .collect();
        let found = coordinator.store.holders(&wanted)?;
        let is_used = |holders: &[Conflict]| {
            holders
                .iter()
                .any(|other| overtakers.contains(&other.holder.task))
        };
        let used: BTreeSet<RepoPath> = paths
            .keys()
            .zip(found)
            .filter(|(_, found)| is_used(&found.holders))
            .map(|(path, _)| path.clone())
            .collect();
        paths.retain(|path, _| !used.contains(path));
        Ok(())
    }

    /// Finds what was committed since a run in place began to work, by whoever had its locks after it or by git alone. Nothing when
    /// that is not known any more.
    fn committed_since(&self, coordinator: &mut Coordinator) -> Result<Option<BTreeSet<RepoPath>>, Error> {
        let Self {
            transaction: own,
            kept,
            ..
        } = self;
        let mut found = BTreeSet::new();
        for row in coordinator.store.transactions()? {
            let is_decided = matches!(
                row.state,
                TransactionState::Decided
                    | TransactionState::Landed
                    | TransactionState::Done
                    | TransactionState::Conflict
            );
            if row.id == own.id || !is_decided || row.token.is_none_or(|token| token <= kept.token) {
                continue;
            }
            let changes = coordinator.store.changes(&row.id)?;
            if changes.is_empty() {
                // Long enough ago for its files to have been put away.
                let Ok(did) = Reversal::of(coordinator, &row) else {
                    return Ok(None);
                };
                found.extend(did.paths());
            }
            found.extend(changes.into_iter().map(|change| change.path));
        }
        let git = match &coordinator.git {
            Some(_) => Git::open(&coordinator.layout.root().join(&kept.root))?,
            None => None,
        };
        let Some(git) = git else { return Ok(Some(found)) };
        let now = git.head()?.tip();
        if let (Some(now), true) = (now, now != kept.head) {
            if let Some(then) = kept.head
                && !git.has_commit(then)?
            {
                return Ok(None);
            }
            found.extend(
                git.difference(kept.head, now)?
                    .into_iter()
                    .map(|found| found.path),
            );
        }
        Ok(Some(found))
    }

    /// Returns the paths that neither are among `theirs`, nor above any of them: what is moved goes with all that is in it. What was there
    /// below any of them cannot be put back either.
    fn beside(
        &self,
        wanted: &BTreeMap<RepoPath, Resource>,
        theirs: &BTreeSet<RepoPath>,
    ) -> BTreeSet<RepoPath> {
        let were: BTreeSet<&RepoPath> = self.kept.paths.iter().collect();
        let above: BTreeSet<RepoPath> = theirs.iter().flat_map(RepoPath::ancestors).collect();
        let is_beside = |path: &&RepoPath| {
            let is_below = were.contains(path) && path.ancestors().any(|above| theirs.contains(&above));
            !theirs.contains(*path) && !above.contains(*path) && !is_below
        };
        wanted.keys().filter(is_beside).cloned().collect()
    }
}

/// Tells whether write locks cover all of something. What has the name of a locked file, and is a directory by now, is more than that.
fn covers(own: &LockSet, resource: &Resource, fold: bool) -> bool {
    match write(resource, fold).resource {
        Resource::File(path) => own.covers_write(&path),
        other => own
            .iter()
            .any(|lock| lock.mode == Mode::Write && lock.resource.covers(&other)),
    }
}

fn held(coordinator: &mut Coordinator, task: &TaskId, since: Option<&Kept>) -> Result<LockSet, Error> {
    let Some(task) = coordinator
        .store
        .task(task)?
        .filter(|task| task.standing == Standing::Holding)
    else {
        return Ok(LockSet::new());
    };
    let locks = task.locks.into_iter();
    let locks = locks.filter(|held| since.is_none_or(|kept| held.token <= kept.token));
    Ok(locks
        .map(|held| held.lock)
        .filter(|lock| lock.mode == Mode::Write)
        .collect())
}

/// Locks again what a task has lost. What others have drops out of `paths`.
fn win_back(
    coordinator: &mut Coordinator,
    task: &TaskId,
    paths: &mut BTreeMap<RepoPath, Resource>,
) -> Result<(), Error> {
    let fold = resolve::folds(coordinator);
    while !paths.is_empty() {
        let wants: LockSet = paths.values().map(|resource| write(resource, fold)).collect();
        let asker = Asker::Task(task.clone());
        // Whoever wants it to end wants it to put back first.
        match coordinator.acquire_unless(&[], &asker, &wants, Wait::Never, &mut Silent) {
            Ok(_) => return Ok(()),
            Err(Error::Held { conflicts, .. }) => {
                let before = paths.len();
                paths.retain(|_, resource| {
                    let lock = write(resource, fold);
                    !conflicts
                        .iter()
                        .any(|other| overlap(&other.resource, &lock.resource))
                });
                if paths.len() == before {
                    paths.clear();
                }
            }
            Err(Error::UnknownTask { .. }) => paths.clear(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write(resource: &Resource, fold: bool) -> Lock {
    let resource = match resource {
        Resource::File(path) => Resource::File(key(path, fold)),
        Resource::Directory(Some(path), depth) => Resource::Directory(Some(key(path, fold)), *depth),
        other => other.clone(),
    };
    Lock {
        resource,
        mode: Mode::Write,
    }
}

/// Returns the name by which a path is locked.
fn key(path: &RepoPath, fold: bool) -> RepoPath {
    if fold { path.folded() } else { path.clone() }
}
