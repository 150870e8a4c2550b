//! Reads a history and tells whether anybody was wronged: two conflicting grants at once, a token that did not grow, a
//! request that a later one overtook.
//!
//! A grant overtakes an earlier request that still waits for its turn if the two conflict by name, or if it takes something
//! of a whole that the earlier one waits for a share of and that is set aside for it. In order of arrival, each earlier
//! request has set aside of the members that would do for it: as many as it does not have yet, or all where there are fewer,
//! out of those that nobody holds and nothing is set aside of for those before it. A member that an earlier request names is
//! set aside for it, too. Of a quota what is held, what all earlier requests want more than they hold, and what is granted
//! come to no more than the total.
//!
//! So who waits for a file keeps nobody from a member that it does not need itself, and whoever comes later never has what
//! it will need when the file is free.

use std::collections::{BTreeMap, BTreeSet};

use mirror::model::{
    AnyOf, Depth, Event, EventKind, Lock, LockSet, Mode, Pool, RepoPath, Resource, ServiceName, Share,
    TaskId, Token, conflict,
};

/// What the history has come to so far.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(super) held: BTreeMap<TaskId, BTreeMap<Resource, Mode>>,
    pub(super) waiting: Vec<Waiting>,
    places: u64,
    /// Tasks whose lease was taken: what they still block is not theirs until they win something back.
    pub(super) robbed: BTreeSet<TaskId>,
    newest: Option<Token>,
    /// How much there is of the quotas.
    totals: BTreeMap<String, u64>,
    /// How many grants were looked at.
    pub(crate) grants: usize,
}

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    /// How many places there were before it.
    pub(super) number: u64,
    pub(super) task: TaskId,
    pub(super) wants: LockSet,
}

impl Oracle {
    /// Knows how much there is of some quotas.
    pub(crate) fn over(totals: impl IntoIterator<Item = (&'static str, u64)>) -> Self {
        let totals = totals.into_iter().map(|(quota, total)| (quota.to_owned(), total));
        Self {
            totals: totals.collect(),
            ..Self::default()
        }
    }

    /// Looks at the next event. Events come in the order of their numbers.
    pub(crate) fn look(&mut self, event: &Event) -> Result<(), String> {
        let Some(task) = &event.task else { return Ok(()) };
        match event.kind {
            EventKind::ResourceLocked => {
                self.granted(task, &locks(event), event.token)
                    .map_err(|wrong| format!("{wrong}: {event:?}"))?;
                self.waiting.retain(|waiting| waiting.task != *task);
            }
            EventKind::ResourceWaited => {
                self.waiting.push(Waiting {
                    number: self.places,
                    task: task.clone(),
                    wants: wants(event),
                });
                self.places += 1;
            }
            // The oldest: somebody who asks for something else stands in the queue anew before the old place is given up.
            EventKind::ResourceGivenUp => {
                if let Some(place) = self.waiting.iter().position(|waiting| waiting.task == *task) {
                    self.waiting.remove(place);
                }
            }
            EventKind::ResourceUnlocked | EventKind::ResourceExpired | EventKind::ResourceStolen => {
                let held = self.held.entry(task.clone()).or_default();
                for lock in locks(event) {
                    held.remove(&lock.resource);
                }
                let is_robbed = event.kind != EventKind::ResourceUnlocked
                    && event.reason.as_deref() != Some("nobody claimed it");
                if is_robbed {
                    self.robbed.insert(task.clone());
                }
            }
            EventKind::TaskCommitted | EventKind::TaskRolledBack => {
                self.held.remove(task);
                self.robbed.remove(task);
            }
            _ => {}
        }
        Ok(())
    }

    fn granted(&mut self, task: &TaskId, locks: &[Lock], token: Option<Token>) -> Result<(), String> {
        self.grants += 1;
        for lock in locks {
            for (other, held) in self.held.iter().filter(|(other, _)| *other != task) {
                let mut held = held.iter().map(|(resource, mode)| Lock {
                    resource: resource.clone(),
                    mode: *mode,
                });
                if let Some(held) = held.find(|held| conflict(held, lock)) {
                    return Err(format!("{task} got {lock:?} while {other} held {held:?}"));
                }
            }
            // What a task has already it need not wait for.
            let own = self.held.get(task).into_iter().flatten();
            let covers =
                |(resource, mode): (&Resource, &Mode)| *mode >= lock.mode && resource.covers(&lock.resource);
            if own.into_iter().any(covers) {
                continue;
            }
            let mut earlier = self.earlier(task);
            if let Some(Waiting {
                task: earlier, wants, ..
            }) = earlier.find(|earlier| waits(lock, &earlier.wants))
            {
                return Err(format!(
                    "{task} got {lock:?} before {earlier}, who waited for {wants:?}"
                ));
            }
            // Parts of a quota may be equal, and add up instead.
            let is_part = matches!(lock.resource, Resource::Quota { .. });
            let pool = lock.resource.pool().filter(|_| !is_part);
            let kept = pool.map(|pool| self.set_aside(task, &pool));
            if kept.is_some_and(|kept| kept.contains(&lock.resource)) {
                return Err(format!(
                    "{task} got {lock:?}, which was set aside: {:?}",
                    self.waiting
                ));
            }
            if let Resource::Quota { quota, amount } = &lock.resource
                && let Some(total) = self.totals.get(quota.as_str())
                && self.spoken_for(task, quota.as_str()) + amount.get() > *total
            {
                return Err(format!("{task} got {lock:?} too much: {:?}", self.waiting));
            }
        }
        if token <= self.newest {
            return Err(format!("{task} got the token {token:?} after {:?}", self.newest));
        }
        self.newest = token;
        self.robbed.remove(task);
        let held = self.held.entry(task.clone()).or_default();
        held.retain(|old, _| !locks.iter().any(|lock| lock.resource.replaces(old)));
        held.extend(locks.iter().map(|lock| (lock.resource.clone(), lock.mode)));
        self.add_up()
    }

    /// The requests of others that came before that of `task`: whoever stands in the queue has only those before in the way;
    /// whoever does not, all of them.
    fn earlier(&self, task: &TaskId) -> impl Iterator<Item = &Waiting> {
        let own = self.waiting.iter().rposition(|waiting| waiting.task == *task);
        let earlier = &self.waiting[..own.unwrap_or(self.waiting.len())];
        earlier.iter().filter(move |earlier| earlier.task != *task)
    }

    /// The members of a whole that are held by others than `task`, or set aside for those who came before it.
    fn set_aside(&self, task: &TaskId, pool: &Pool) -> BTreeSet<Resource> {
        let others = self.held.iter().filter(|(other, _)| *other != task);
        let held = others.flat_map(|(_, held)| held.keys());
        let mut gone: BTreeSet<Resource> = held.cloned().collect();
        for Waiting {
            task: waiter, wants, ..
        } in self.earlier(task)
        {
            let named: Vec<Resource> = wants.iter().map(|want| want.resource).collect();
            gone.extend(named.iter().cloned());
            let any = wants.shares().find_map(|share| match share {
                Share::AnyOf(any) if share.pool() == *pool => Some(any),
                _ => None,
            });
            let Some(any) = any else { continue };
            let has = |resource: &Resource| {
                named.contains(resource)
                    || self
                        .held
                        .get(waiter)
                        .is_some_and(|held| held.contains_key(resource))
            };
            let own = any.resources().filter(has).count();
            let missing = (any.count as usize).saturating_sub(own);
            let free: Vec<Resource> = free(any, &gone).take(missing).collect();
            gone.extend(free);
        }
        gone
    }

    /// How much of a quota others hold or, having come before `task`, want.
    fn spoken_for(&self, task: &TaskId, quota: &str) -> u64 {
        let part = |resource: &Resource| match resource {
            Resource::Quota { quota: of, amount } if of.as_str() == quota => amount.get(),
            _ => 0,
        };
        let held = |of: &TaskId| -> u64 {
            self.held
                .get(of)
                .into_iter()
                .flat_map(BTreeMap::keys)
                .map(part)
                .sum()
        };
        let wanted = |Waiting {
                          task: waiter, wants, ..
                      }: &Waiting|
         -> u64 {
            let amounts = wants.shares().map(|share| match share {
                Share::Amount {
                    quota: of, amount, ..
                } if of.as_str() == quota => amount.get(),
                _ => 0,
            });
            amounts.map(|amount| amount.saturating_sub(held(waiter))).sum()
        };
        let others = self.held.keys().filter(|other| *other != task);
        others.map(held).sum::<u64>() + self.earlier(task).map(wanted).sum::<u64>()
    }

    /// Nobody was given what was not there.
    fn add_up(&self) -> Result<(), String> {
        for (quota, total) in &self.totals {
            let part = |resource: &Resource| match resource {
                Resource::Quota { quota: of, amount } if of.as_str() == quota => amount.get(),
                _ => 0,
            };
            let used: u64 = self.held.values().flat_map(BTreeMap::keys).map(part).sum();
            if used > *total {
                return Err(format!("{used} of {quota} are given out, of {total}"));
            }
        }
        Ok(())
    }
}

/// Tells whether `lock` is what an earlier request waits for by name.
fn waits(lock: &Lock, wants: &LockSet) -> bool {
    wants.iter().any(|want| conflict(&want, lock))
}

/// What would do as a share and is neither held nor set aside.
fn free<'a>(any: &'a AnyOf, gone: &'a BTreeSet<Resource>) -> impl Iterator<Item = Resource> + 'a {
    any.resources().filter(|resource| !gone.contains(resource))
}

/// Reads the request that an event is about.
fn wants(event: &Event) -> LockSet {
    let mut wants: LockSet = locks(event).into_iter().collect();
    let shares = event.details.get("shares").and_then(serde_json::Value::as_array);
    for share in shares.into_iter().flatten() {
        wants.share(serde_json::from_value(share.clone()).unwrap());
    }
    wants
}

/// Reads the locks that an event is about.
fn locks(event: &Event) -> Vec<Lock> {
    let list = event.details.get("locks").and_then(serde_json::Value::as_array);
    let lock = |value: &serde_json::Value| Lock {
        resource: resource(value["resource"].as_str().unwrap()),
        mode: if value["mode"] == "read" {
            Mode::Read
        } else {
            Mode::Write
        },
    };
    list.into_iter().flatten().map(lock).collect()
}

/// Reads a resource as the history shows it. Names that need quotes do not occur here.
fn resource(text: &str) -> Resource {
    let path = |text: &str| (text != ".").then(|| RepoPath::new(text).unwrap());
    match text.split_once(':').unwrap() {
        ("file", name) => Resource::File(path(name).unwrap()),
        ("port", number) => Resource::Port(number.parse().unwrap()),
        ("pool", name) => Resource::from_parts("M", name.into()).unwrap(),
        ("quota", part) => Resource::from_parts("Q", part.into()).unwrap(),
        ("service", name) => Resource::Service(ServiceName::new(name).unwrap()),
        (_, name) => match name.strip_suffix("/*") {
            Some(name) => Resource::Directory(path(name), Depth::Children),
            None => Resource::Directory(path(name.strip_suffix('/').unwrap()), Depth::Recursive),
        },
    }
}
