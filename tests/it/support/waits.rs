//! Who waits for whom, as the history has it: what a task that grows has is never lost over it, and a wait that could never
//! end is refused by the names of those who would wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use mirror::model::{Lock, LockSet, Mode, Resource, Share, TaskId, conflict};

use super::oracle::{Oracle, Waiting};

/// What keeps nobody waiting any more, and only has to be taken.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Tasks whose lease has ended.
    pub(crate) leases: BTreeSet<TaskId>,
    /// Tasks that went away from their places too long ago.
    pub(crate) places: BTreeSet<TaskId>,
}

impl Oracle {
    /// Finds something that was granted, neither given back nor taken, and is not among what the tasks hold.
    pub(crate) fn lost(&self, tasks: &BTreeMap<&TaskId, BTreeMap<&Resource, Mode>>) -> Option<String> {
        let nothing = BTreeMap::new();
        for (task, held) in &self.held {
            let has = tasks.get(task).unwrap_or(&nothing);
            let mut held = held.iter();
            if let Some((resource, mode)) = held.find(|(resource, mode)| has.get(resource) < Some(mode)) {
                return Some(format!("{task} has lost {resource} ({mode:?}) without a word"));
            }
        }
        None
    }

    /// Tells whether a task has all that it wants by name, and shares of everything else.
    pub(crate) fn has(&self, task: &TaskId, wants: &LockSet) -> bool {
        self.uncovered(task, wants).is_empty() && self.held.contains_key(task)
    }

    /// Returns the place of a task in the queue: what it waits for, and how many have ever stood there before it.
    pub(crate) fn place(&self, task: &TaskId) -> Option<(u64, &LockSet)> {
        let own = self.waiting.iter().rfind(|waiting| waiting.task == *task);
        own.map(|waiting| (waiting.number, &waiting.wants))
    }

    /// Tells what is wrong with a cycle in which each task is said to wait for the next, and the last for the first, who has just
    /// asked for `wants`.
    pub(crate) fn no_cycle(&self, cycle: &[TaskId], wants: &LockSet, ended: &Ended) -> Option<String> {
        if cycle.len() < 2 {
            return Some("a cycle of one".to_owned());
        }
        // Who asks for the same again has its old place; who asks for something else gives it up.
        let resumed = self.place(&cycle[0]).filter(|(_, before)| *before == wants);
        let resumed = resumed.map(|(number, _)| number);
        for (at, task) in cycle.iter().enumerate() {
            let next = &cycle[(at + 1) % cycle.len()];
            let own = self.waiting.iter().filter(|waiting| waiting.task == *task);
            let mut own = own.filter(|_| !ended.places.contains(task));
            let is_edge = if at == 0 {
                self.waits_for(task, wants, resumed.unwrap_or(u64::MAX), next, ended)
            } else if *next == cycle[0] && resumed.is_none() {
                own.any(|own| self.waits_for_holder(task, &own.wants, next, ended))
            } else {
                own.any(|own| self.waits_for(task, &own.wants, own.number, next, ended))
            };
            if !is_edge {
                return Some(format!("{task} does not wait for {next}"));
            }
        }
        None
    }

    /// Finds a cycle through `task` that nobody in it can ever leave, however lucky: it should have been refused.
    pub(crate) fn cycle_through(&self, task: &TaskId, ended: &Ended) -> Option<BTreeSet<TaskId>> {
        let stuck = self.stuck(ended);
        let mut reached: BTreeSet<TaskId> = BTreeSet::new();
        let mut todo = vec![task.clone()];
        while let Some(from) = todo.pop() {
            for to in stuck.iter().filter(|_| stuck.contains(&from)) {
                let own = self.waiting.iter().filter(|waiting| waiting.task == from);
                let mut own = own.map(|waiting| (&waiting.wants, waiting.number));
                let waits = own.any(|(wants, number)| self.waits_for(&from, wants, number, to, ended));
                if waits && reached.insert(to.clone()) {
                    todo.push(to.clone());
                }
            }
        }
        reached.contains(task).then_some(stuck)
    }

    /// The waiting tasks that cannot be served even when everybody has ended who can.
    fn stuck(&self, ended: &Ended) -> BTreeSet<TaskId> {
        let waiting = self.waiting.iter().map(|waiting| waiting.task.clone());
        let mut stuck: BTreeSet<TaskId> = waiting.filter(|task| !ended.places.contains(task)).collect();
        loop {
            let can_end = |task: &&TaskId| {
                let mut own = self.waiting.iter().filter(|waiting| waiting.task == **task);
                own.all(|waiting| self.may_be_served(waiting, &stuck, ended))
            };
            let ended: Vec<TaskId> = stuck.iter().filter(can_end).cloned().collect();
            if ended.is_empty() {
                return stuck;
            }
            stuck.retain(|task| !ended.contains(task));
        }
    }

    /// Tells whether a request can be served while only those in `left` have and want anything.
    fn may_be_served(&self, own: &Waiting, left: &BTreeSet<TaskId>, ended: &Ended) -> bool {
        let (task, number) = (&own.task, own.number);
        let uncovered = self.uncovered(task, &own.wants);
        let others = || left.iter().filter(|other| *other != task);
        let holders = || others().filter(|other| !ended.leases.contains(*other));
        let is_free = !holders().any(|other| self.holds_against(other, &uncovered))
            && !others().any(|other| self.stands_before(other, &uncovered, number));
        let taken = || {
            let held = holders().filter_map(|other| self.held.get(other));
            held.flat_map(BTreeMap::keys)
        };
        is_free
            && uncovered.shares().all(|share| match share {
                Share::AnyOf(any) => {
                    let gone: BTreeSet<&Resource> = taken().collect();
                    let free = any.resources().filter(|resource| !gone.contains(resource));
                    free.count() >= any.count as usize
                }
                Share::Amount { quota, amount, total } => {
                    let part = |resource: &Resource| match resource {
                        Resource::Quota { quota: of, amount } if of == quota => amount.get(),
                        _ => 0,
                    };
                    taken().map(part).sum::<u64>() + amount.get() <= total.get()
                }
            })
    }

    /// Tells whether a request waits for `other`, or may do so where something is shared out.
    fn waits_for(&self, task: &TaskId, wants: &LockSet, number: u64, other: &TaskId, ended: &Ended) -> bool {
        self.waits_for_holder(task, wants, other, ended)
            || (!ended.places.contains(other) && self.waits_for_place(task, wants, number, other))
    }

    fn waits_for_holder(&self, task: &TaskId, wants: &LockSet, other: &TaskId, ended: &Ended) -> bool {
        let uncovered = self.uncovered(task, wants);
        let mut held = self.held.get(other).into_iter().flat_map(BTreeMap::keys);
        let is_wanted = |resource: &Resource| uncovered.shares().any(|share| is_part(share, resource));
        !ended.leases.contains(other) && (self.holds_against(other, &uncovered) || held.any(is_wanted))
    }

    fn waits_for_place(&self, task: &TaskId, wants: &LockSet, number: u64, other: &TaskId) -> bool {
        let uncovered = self.uncovered(task, wants);
        let mut places = self
            .waiting
            .iter()
            .filter(|waiting| waiting.task == *other && waiting.number < number);
        places.any(|waiting| {
            let wanted = &waiting.wants;
            let is_shared = |share: &Share| {
                wanted.iter().any(|want| is_part(share, &want.resource))
                    || wanted.shares().any(|wanted| wanted.pool() == share.pool())
            };
            uncovered.waits_for(wanted) || uncovered.shares().any(is_shared)
        })
    }

    /// Tells whether a task holds what a request wants by name.
    fn holds_against(&self, holder: &TaskId, uncovered: &LockSet) -> bool {
        let held = self.held.get(holder).into_iter().flatten();
        held.map(|(resource, mode)| Lock {
            resource: resource.clone(),
            mode: *mode,
        })
        .any(|held| uncovered.iter().any(|want| conflict(&want, &held)))
    }

    /// Tells whether a task has asked before for what a request wants by name.
    fn stands_before(&self, other: &TaskId, uncovered: &LockSet, number: u64) -> bool {
        let mut places = self
            .waiting
            .iter()
            .filter(|waiting| waiting.task == *other && waiting.number < number);
        places.any(|waiting| uncovered.waits_for(&waiting.wants))
    }

    /// What of a request the task's own locks do not cover.
    fn uncovered(&self, task: &TaskId, wants: &LockSet) -> LockSet {
        let nothing = BTreeMap::new();
        let held = self.held.get(task).filter(|_| !self.robbed.contains(task));
        let held = held.unwrap_or(&nothing);
        let covers = |want: &Lock| {
            held.iter()
                .any(|(resource, mode)| *mode >= want.mode && resource.covers(&want.resource))
        };
        let mut uncovered: LockSet = wants.iter().filter(|want| !covers(want)).collect();
        for share in wants.shares() {
            match share {
                Share::AnyOf(any) => {
                    let own = |resource: &Resource| {
                        held.contains_key(resource) || wants.mode_of(resource).is_some()
                    };
                    let own = any.resources().filter(own).count();
                    let missing = any.count.saturating_sub(u32::try_from(own).unwrap());
                    if missing > 0 {
                        let mut any = any.clone();
                        any.count = missing;
                        uncovered.share(Share::AnyOf(any));
                    }
                }
                Share::Amount { quota, amount, .. } => {
                    let part = |resource: &Resource| match resource {
                        Resource::Quota { quota: of, amount } if of == quota => amount.get(),
                        _ => 0,
                    };
                    if held.keys().map(part).max().unwrap_or(0) < amount.get() {
                        uncovered.share(share.clone());
                    }
                }
            }
        }
        uncovered
    }
}

/// Tells whether a resource is a part of what a share is of.
fn is_part(share: &Share, resource: &Resource) -> bool {
    resource.pool() == Some(share.pool())
}
