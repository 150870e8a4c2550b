//! Reads a history and tells whether anybody was wronged: two conflicting grants at once, a token that did not grow, a
//! request that a later one overtook.

use std::collections::BTreeMap;

use mirror::model::{
    Depth, Event, EventKind, Lock, LockSet, Mode, RepoPath, Resource, ServiceName, TaskId, Token, conflict,
};

/// What the history has come to so far.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    held: BTreeMap<TaskId, BTreeMap<Resource, Mode>>,
    waiting: Vec<(TaskId, LockSet)>,
    newest: Option<Token>,
    /// How much there is of the quotas.
    totals: BTreeMap<String, u64>,
    /// How many grants were looked at.
    pub(crate) grants: usize,
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
                self.waiting.retain(|(waiter, _)| waiter != task);
            }
            EventKind::ResourceWaited => self.waiting.push((task.clone(), wants(event))),
            // The oldest: somebody who asks for something else stands in the queue anew before the old place is given up.
            EventKind::ResourceGivenUp => {
                if let Some(place) = self.waiting.iter().position(|(waiter, _)| waiter == task) {
                    self.waiting.remove(place);
                }
            }
            EventKind::ResourceUnlocked | EventKind::ResourceExpired | EventKind::ResourceStolen => {
                let held = self.held.entry(task.clone()).or_default();
                for lock in locks(event) {
                    held.remove(&lock.resource);
                }
            }
            EventKind::TaskCommitted | EventKind::TaskRolledBack => {
                self.held.remove(task);
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
            // Whoever stands in the queue has only those before in the way; whoever does not, all of them.
            let own = self.waiting.iter().rposition(|(waiter, _)| waiter == task);
            let earlier = self.waiting[..own.unwrap_or(self.waiting.len())]
                .iter()
                .find(|(_, wants)| waits(lock, wants));
            if let Some((earlier, wants)) = earlier {
                return Err(format!(
                    "{task} got {lock:?} before {earlier}, who waited for {wants:?}"
                ));
            }
        }
        if token <= self.newest {
            return Err(format!("{task} got the token {token:?} after {:?}", self.newest));
        }
        self.newest = token;
        let held = self.held.entry(task.clone()).or_default();
        held.retain(|old, _| !locks.iter().any(|lock| lock.resource.replaces(old)));
        held.extend(locks.iter().map(|lock| (lock.resource.clone(), lock.mode)));
        self.add_up()
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

/// Tells whether `lock` is what an earlier request still waits for, or a share of the same whole.
fn waits(lock: &Lock, wants: &LockSet) -> bool {
    wants.iter().any(|want| conflict(&want, lock))
        || wants.shares().any(|share| share.may_use(&lock.resource))
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
