//! Asking the store, and looking at what was granted before anybody uses it: what is no good is given back for another.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::coordinator::provider::{Fitness, Provider};
use crate::coordinator::{Coordinator, Error, Observer};
use crate::host::Stopwatch;
use crate::model::{Interrupter, LockSet, Resource, Share, TaskId};
use crate::store::{AcquireError, Asker, Grant, HeldLock, Release, Wait};

/// How often something else is asked for. Each time rules out all that is known to be no good.
const ROUNDS_MAX: usize = 16;

impl Coordinator {
    /// Adds a provider to those that answer wishes, in the place of any other of the same kind.
    pub fn register(&mut self, provider: Box<dyn Provider>) {
        self.listening = true;
        self.providers.register(provider);
    }

    /// Acquires, and turns the store's refusals into words for people. Whatever of it is no good is replaced or, where it
    /// was asked for by name, refused with everything else. It may come from a run that was killed a moment ago: nobody is told of a
    /// grant before that is cleared up after.
    pub(super) fn acquire(
        &mut self,
        who: &Asker,
        wants: &LockSet,
        wait: Wait,
        observer: &mut dyn Observer,
    ) -> Result<Grant, Error> {
        let waited = Stopwatch::start();
        let task = who.task();
        let before = match who {
            Asker::New(_) => None,
            Asker::Task(id) => self.store.task(id)?.map(|task| task.locks),
        };
        let mut grant = self.acquire_once(who, wants, wait, observer)?;
        let looks = wants.shares().next().is_some() || wants.iter().any(|lock| !lock.resource.is_path());
        let fitted = if looks {
            self.replace_unfit(task, wants, wait, &waited, &mut grant, observer)
        } else {
            Ok(())
        };
        let cleared = fitted.and_then(|()| self.clear_granted(task, &grant.granted, wait, observer));
        match cleared {
            Ok(()) => Ok(grant),
            Err(error) => {
                self.take_back(task, before.as_deref(), &grant);
                Err(error)
            }
        }
    }

    fn replace_unfit(
        &mut self,
        task: &TaskId,
        wants: &LockSet,
        wait: Wait,
        waited: &Stopwatch,
        grant: &mut Grant,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let mut excluded = BTreeSet::new();
        let mut fresh: Vec<Resource> = grant.granted.iter().map(|lock| lock.resource.clone()).collect();
        for _ in 0..ROUNDS_MAX {
            let unfit = self.unfit(&fresh, &mut excluded)?;
            let Some((first, reason)) = unfit.first() else {
                return Ok(());
            };
            if let Some((resource, reason)) = unfit
                .iter()
                .find(|(resource, _)| wants.mode_of(resource).is_some())
            {
                return Err(Error::Unusable {
                    what: resource.to_string(),
                    reason: reason.clone(),
                });
            }
            let share = wants.shares().find(|share| share.may_use(first));
            let none_left = Error::Unusable {
                what: share.map_or(first.to_string(), Share::to_string),
                reason: reason.clone(),
            };
            let again = wants.without(&excluded);
            if again.check().is_err() {
                return Err(none_left);
            }
            let asker = Asker::Task(task.clone());
            let other = self.acquire_once(&asker, &again, what_is_left(wait, waited), observer)?;
            fresh = other.granted.iter().map(|lock| lock.resource.clone()).collect();
            grant.granted.extend(other.granted);
            grant
                .granted
                .retain(|lock| unfit.iter().all(|(bad, _)| *bad != lock.resource));
            let bad = unfit.into_iter().map(|(resource, _)| resource).collect();
            self.store
                .release(task, &Release::Some(bad))
                .map_err(|error| Error::of_lease(error, task))?;
            grant.task = self
                .store
                .task(task)?
                .ok_or_else(|| Error::UnknownTask { task: task.clone() })?;
        }
        Err(Error::Unusable {
            what: "Whatever was granted".to_owned(),
            reason: format!("{ROUNDS_MAX} times something else was taken meanwhile"),
        })
    }

    /// Finds what is no good among `fresh`, and adds that and all else that is known to be no good to `excluded`.
    fn unfit(
        &mut self,
        fresh: &[Resource],
        excluded: &mut BTreeSet<Resource>,
    ) -> Result<Vec<(Resource, String)>, Error> {
        let mut unfit = Vec::new();
        for resource in fresh {
            if !self.providers.knows(resource) {
                continue;
            }
            let held = self.held_of_the_same(resource)?;
            if let Fitness::Bad { reason, also } = self.providers.validate(resource, &held)? {
                excluded.extend(also);
                excluded.insert(resource.clone());
                unfit.push((resource.clone(), reason));
            }
        }
        Ok(unfit)
    }

    fn held_of_the_same(&mut self, resource: &Resource) -> Result<BTreeSet<Resource>, Error> {
        let whole = resource.pool().map_or(resource.clone(), Resource::Pool);
        let answers = self.store.holders(&[whole])?.into_iter();
        let held = answers.flat_map(|answer| answer.holders);
        Ok(held.map(|holder| holder.resource).collect())
    }

    /// Best effort: what is left of a refused request ends with its lease.
    fn take_back(&mut self, task: &TaskId, before: Option<&[HeldLock]>, grant: &Grant) {
        let Some(before) = before else {
            if let Err(error) = self.store.release(task, &Release::All) {
                tracing::warn!(%error, "giving back is left to the lease");
            }
            return;
        };
        let had = |resource: &Resource| before.iter().find(|held| resource.replaces(&held.lock.resource));
        let mut new = Vec::new();
        let mut parts = LockSet::new();
        for lock in &grant.granted {
            match (
                had(&lock.resource).map(|held| &held.lock.resource),
                &lock.resource,
            ) {
                (None, resource) => new.push(resource.clone()),
                (Some(Resource::Quota { quota, amount }), _) => parts.share(Share::Amount {
                    quota: quota.clone(),
                    amount: *amount,
                    total: *amount,
                }),
                // What became a write lock stays one: nobody else was reading.
                (Some(_), _) => {}
            }
        }
        let released = self.store.release(task, &Release::Some(new)).map(drop);
        if let Err(error) = released {
            tracing::warn!(%error, "giving back is left to the lease");
        }
        if !parts.is_empty() {
            let asker = Asker::Task(task.clone());
            let back = self.store.acquire(&asker, &parts, Wait::Never, &mut |_| {});
            if let Err(error) = back {
                tracing::warn!(%error, "the part of the quota stays as it is");
            }
        }
    }

    fn acquire_once(
        &mut self,
        who: &Asker,
        wants: &LockSet,
        wait: Wait,
        observer: &mut dyn Observer,
    ) -> Result<Grant, Error> {
        let interrupters = [self.interrupter.clone()];
        self.acquire_unless(&interrupters, who, wants, wait, observer)
    }

    /// Acquires unless one of `interrupters` ends the wait.
    pub(super) fn acquire_unless(
        &mut self,
        interrupters: &[Interrupter],
        who: &Asker,
        wants: &LockSet,
        wait: Wait,
        observer: &mut dyn Observer,
    ) -> Result<Grant, Error> {
        let waited = Stopwatch::start();
        let mut has_waited = false;
        let mut tell = |conflicts: &[_]| {
            has_waited = true;
            observer.waiting(conflicts);
        };
        let grant = self
            .store
            .acquire_unless(interrupters, who, wants, wait, &mut tell);
        if has_waited {
            observer.waited();
        }
        grant.map_err(|error| match error {
            AcquireError::Held { conflicts } => Error::Held {
                conflicts,
                waited: None,
            },
            AcquireError::TimedOut { conflicts } => Error::Held {
                conflicts,
                waited: Some(waited.elapsed()),
            },
            AcquireError::Interrupted => Error::Interrupted {
                task: who.task().clone(),
            },
            AcquireError::Deadlock { cycle } => Error::Deadlock { cycle },
            AcquireError::Impossible(impossible) => Error::Impossible(impossible),
            AcquireError::UnknownTask { task } => Error::UnknownTask { task },
            AcquireError::TaskExists { task, transaction } => Error::AlreadyOpen { task, transaction },
            AcquireError::Store(error) => Error::Store(error),
        })
    }

    /// Returns what a task holds beside paths, if anybody registered to hear that it is given back.
    pub(super) fn releasable(&mut self, task: &TaskId) -> Result<Vec<Resource>, Error> {
        if !self.listening {
            return Ok(Vec::new());
        }
        let locks = self.store.task(task)?.map(|task| task.locks).unwrap_or_default();
        let resources = locks.into_iter().map(|held| held.lock.resource);
        Ok(resources.filter(|resource| !resource.is_path()).collect())
    }

    /// Returns all that anybody holds beside paths.
    pub(super) fn held_beside_paths(&mut self) -> Result<BTreeSet<Resource>, Error> {
        let locks = self.store.tasks()?.into_iter().flat_map(|task| task.locks);
        let resources = locks.map(|held| held.lock.resource);
        Ok(resources.filter(|resource| !resource.is_path()).collect())
    }
}

fn what_is_left(wait: Wait, waited: &Stopwatch) -> Wait {
    match wait {
        Wait::Never => Wait::Never,
        Wait::UpTo(patience) => Wait::UpTo(patience.checked_sub(waited.elapsed()).unwrap_or(Duration::ZERO)),
    }
}
