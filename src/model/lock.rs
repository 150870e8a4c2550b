//! Lock sets and the one conflict rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::TaskId;
use super::path::RepoPath;
use super::resource::{Depth, Pool, Resource};
use super::share::{Impossible, Share};
use super::time::WallTime;

/// Shared or exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Shared: any number of tasks may read.
    Read,
    /// Exclusive.
    Write,
}

/// The fencing number of a grant, strictly increasing per repository.
///
/// In JSON it is a string, since it may grow past 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(u64);

/// A text that is not a decimal number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid token {0:?}: not a number")]
pub struct ParseTokenError(String);

/// One resource in one mode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lock {
    /// What is locked.
    pub resource: Resource,
    /// Shared or exclusive.
    pub mode: Mode,
}

/// What a task asks for: taken all or none. Each resource appears once, with the stronger of its modes, in order, and of
/// each whole there is at most one share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockSet {
    locks: BTreeMap<Resource, Mode>,
    shares: BTreeMap<Pool, Share>,
}

/// Who holds a lock that is in the way, for people and for error documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The holding task.
    pub task: TaskId,
    /// The machine on which it began.
    pub host: String,
    /// The process that the lease is tied to, if any.
    pub pid: Option<u32>,
    /// Why, in the holder's own words.
    pub reason: Option<String>,
    /// When the task began.
    pub since: WallTime,
    /// Milliseconds until the lease runs out; negative when it ran out but was not taken.
    pub expires_in_ms: i64,
    /// The fencing number of the grant.
    pub token: Token,
}

/// One thing in the way of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What the other holds, or waits for.
    pub resource: Resource,
    /// In which mode.
    pub mode: Mode,
    /// Who.
    pub holder: Holder,
    /// The other does not hold it yet but asked for it earlier.
    pub waiting: bool,
}

/// Tells whether two resources have anything in common.
pub fn overlap(a: &Resource, b: &Resource) -> bool {
    match (a, b) {
        (Resource::Quota { quota: a, .. }, Resource::Quota { quota: b, .. }) => a == b,
        _ if a.is_path() && b.is_path() => reaches(a, b) || reaches(b, a),
        // Of what has a name alone, one is the other or the whole of it.
        _ => a.covers(b) || b.covers(a),
    }
}

/// Tells whether locks of two *different* tasks exclude each other.
pub fn conflict(a: &Lock, b: &Lock) -> bool {
    (a.mode == Mode::Write || b.mode == Mode::Write) && overlap(&a.resource, &b.resource)
}

/// Tells whether the name of `b` lies in what `a` covers. Two trees overlap only if one contains the other's name.
fn reaches(a: &Resource, b: &Resource) -> bool {
    let name: Option<&RepoPath> = match b {
        Resource::File(path) => Some(path),
        Resource::Directory(path, _) => path.as_ref(),
        _ => return false,
    };
    match name {
        Some(path) => a.covers_path(path),
        None => matches!(a, Resource::Directory(None, Depth::Recursive | Depth::Children)),
    }
}

impl LockSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a lock; the stronger mode wins.
    pub fn insert(&mut self, lock: Lock) {
        let mode = self.locks.entry(lock.resource).or_insert(lock.mode);
        *mode = (*mode).max(lock.mode);
    }

    /// Asks for a share, instead of what was asked of the same whole before.
    pub fn share(&mut self, share: Share) {
        self.shares.insert(share.pool(), share);
    }

    /// Iterates over the locks, in the order of resources.
    pub fn iter(&self) -> impl Iterator<Item = Lock> + '_ {
        self.locks.iter().map(|(resource, mode)| Lock {
            resource: resource.clone(),
            mode: *mode,
        })
    }

    /// Iterates over the shares, in the order of their wholes.
    pub fn shares(&self) -> impl Iterator<Item = &Share> + '_ {
        self.shares.values()
    }

    /// Iterates over what stands for the set in the queue, where it is found by it: its locks, and for each share the whole.
    pub fn in_line(&self) -> impl Iterator<Item = Lock> + '_ {
        self.iter().chain(self.shares().map(Share::in_line))
    }

    /// Returns the set without its shares.
    #[must_use]
    pub fn named(&self) -> Self {
        Self {
            locks: self.locks.clone(),
            shares: BTreeMap::new(),
        }
    }

    /// Tells whether this set, asked for later, has to wait until `earlier` had its turn, however much there is of anything:
    /// locks that conflict, a lock on what would do as a share of the earlier one. Shares of one whole are in each other's
    /// way only where there is too little of it.
    pub fn waits_for(&self, earlier: &Self) -> bool {
        let clashes = |own: Lock| {
            earlier.iter().any(|other| conflict(&own, &other))
                || earlier.shares().any(|share| share.may_use(&own.resource))
        };
        self.iter().any(clashes)
    }

    /// Refuses what cannot be had however long one waits.
    pub fn check(&self) -> Result<(), Impossible> {
        let is_whole = |resource: &&Resource| matches!(resource, Resource::Pool(_) | Resource::Quota { .. });
        match self.locks.keys().find(is_whole) {
            Some(whole) => Err(Impossible::Whole(whole.clone())),
            None => self.shares().try_for_each(Share::check),
        }
    }

    /// Returns the set without what is no good in its shares.
    #[must_use]
    pub fn without(&self, excluded: &BTreeSet<Resource>) -> Self {
        let mut rest = self.clone();
        for share in rest.shares.values_mut() {
            if let Share::AnyOf(any) = share {
                any.excluded.extend(excluded.iter().cloned());
            }
        }
        rest
    }

    /// Returns the number of locks.
    pub fn len(&self) -> usize {
        self.locks.len()
    }

    /// Tells whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.locks.is_empty() && self.shares.is_empty()
    }

    /// Returns the mode in which `resource` itself is in the set.
    pub fn mode_of(&self, resource: &Resource) -> Option<Mode> {
        self.locks.get(resource).copied()
    }

    /// Tells whether a write lock of the set covers the file `path`.
    pub fn covers_write(&self, path: &RepoPath) -> bool {
        let held = |resource: &Resource| self.locks.get(resource) == Some(&Mode::Write);
        let parent = path.parent();
        // The candidates that can cover a path are few: its own key and one per ancestor.
        held(&Resource::File(path.clone()))
            || held(&Resource::Directory(Some(path.clone()), Depth::Recursive))
            || held(&Resource::Directory(Some(path.clone()), Depth::Children))
            || held(&Resource::Directory(parent, Depth::Children))
            || held(&Resource::Directory(None, Depth::Recursive))
            || path
                .ancestors()
                .any(|above| held(&Resource::Directory(Some(above), Depth::Recursive)))
    }
}

impl FromIterator<Lock> for LockSet {
    fn from_iter<I: IntoIterator<Item = Lock>>(locks: I) -> Self {
        let mut set = Self::new();
        locks.into_iter().for_each(|lock| set.insert(lock));
        set
    }
}

impl From<Vec<Lock>> for LockSet {
    fn from(locks: Vec<Lock>) -> Self {
        locks.into_iter().collect()
    }
}

impl Mode {
    /// Returns `read` or `write`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Token {
    /// Wraps a number that a store gave out.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Token {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        text.parse()
            .map(Self)
            .map_err(|_| ParseTokenError(text.to_owned()))
    }
}

impl TryFrom<String> for Token {
    type Error = ParseTokenError;

    fn try_from(text: String) -> Result<Self, ParseTokenError> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Amount, Candidates, MemberName, PoolName, Probe, RefName, ServiceName};
    use proptest::prelude::*;

    fn resource() -> impl Strategy<Value = Resource> {
        let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "a0", "a-", "c"]), 1..4)
            .prop_map(|components| RepoPath::new(components.join("/")).unwrap());
        let depth = prop::sample::select(vec![Depth::Recursive, Depth::Children]);
        let service = prop::sample::select(vec!["db", "db:1", "db:2", "db-x", "d"]);
        prop_oneof![
            3 => path.clone().prop_map(Resource::File),
            3 => (path, depth.clone()).prop_map(|(path, depth)| Resource::Directory(Some(path), depth)),
            1 => depth.prop_map(|depth| Resource::Directory(None, depth)),
            1 => service.prop_map(|name| Resource::Service(ServiceName::new(name).unwrap())),
            4 => share(),
        ]
    }

    fn share() -> impl Strategy<Value = Resource> {
        let pool =
            prop::sample::select(vec!["db", "db-x", "d"]).prop_map(|name| PoolName::new(name).unwrap());
        let member = prop::sample::select(vec!["1", "2", "1/x", "10"]);
        let member = member.prop_map(|name| MemberName::new(name).unwrap());
        let branch = prop::sample::select(vec!["refs/heads/a", "refs/heads/a/b", "refs/tags/a"]);
        let number = prop::sample::select(vec![0_u16, 1, 10, 5003, 50_030]);
        prop_oneof![
            2 => (pool.clone(), member).prop_map(|(pool, member)| Resource::Member { pool, member }),
            1 => pool.clone().prop_map(|pool| Resource::Pool(Pool::Members(pool))),
            1 => pool.clone().prop_map(|pool| Resource::Pool(Pool::Quota(pool))),
            2 => (pool, 1_u64..13).prop_map(|(quota, amount)| Resource::Quota { quota, amount: Amount::new(amount) }),
            1 => number.clone().prop_map(Resource::Port),
            1 => number.prop_map(|number| Resource::Worktree(number.into())),
            1 => prop::sample::select(vec![Pool::Ports, Pool::Worktrees]).prop_map(Resource::Pool),
            1 => branch.prop_map(|name| Resource::Landing(RefName::new(name).unwrap())),
        ]
    }

    /// Every name in a small universe that `resource` covers, straight from the definition.
    fn covered(resource: &Resource) -> Vec<String> {
        let names = ["a", "b", "a0", "a-", "c", "z"];
        let mut universe: Vec<String> = vec![String::new()];
        let mut level: Vec<String> = vec![String::new()];
        for _ in 0..4 {
            level = level
                .iter()
                .flat_map(|above| {
                    names.iter().map(move |name| match above.as_str() {
                        "" => (*name).to_owned(),
                        above => format!("{above}/{name}"),
                    })
                })
                .collect();
            universe.extend(level.iter().cloned());
        }
        let (key, depth) = match resource {
            Resource::File(path) => return vec![path.to_string()],
            Resource::Directory(path, depth) => {
                (path.as_ref().map(ToString::to_string).unwrap_or_default(), *depth)
            }
            _ => return Vec::new(),
        };
        let prefix = if key.is_empty() {
            String::new()
        } else {
            format!("{key}/")
        };
        universe.retain(|name| match name.strip_prefix(&prefix) {
            _ if *name == key => true,
            Some(rest) => depth == Depth::Recursive || !rest.contains('/'),
            None => false,
        });
        universe
    }

    fn matches(probe: &Probe, other: &Resource) -> bool {
        let key = other.key();
        let key = key.as_ref();
        let whole = other.letter() == probe.whole_letter;
        probe.own == key
            || (whole && probe.whole_above.iter().any(|above| above == key))
            || (other.letter() == "d" && probe.children_above.as_deref() == Some(key))
            || probe.below.as_ref().is_some_and(|below| {
                key >= below.low.as_slice()
                    && below.high.as_ref().is_none_or(|high| key < high.as_slice())
                    && !(below.one_level && key[below.low.len()..].contains(&b'/'))
            })
    }

    proptest! {
        #[test]
        fn overlap_is_what_covering_a_common_name_means(a in resource(), b in resource()) {
            if a.is_path() && b.is_path() {
                let names = covered(&b);
                prop_assert_eq!(overlap(&a, &b), covered(&a).iter().any(|name| names.contains(name)));
            }
            prop_assert_eq!(overlap(&a, &b), overlap(&b, &a));
        }

        #[test]
        fn probing_an_ordered_table_finds_exactly_the_overlaps(a in resource(), b in resource()) {
            let found = a.namespace() == b.namespace() && matches(&a.probe(), &b);
            prop_assert_eq!(found, overlap(&a, &b));
        }

        #[test]
        fn a_store_gives_back_what_it_was_given(a in resource(), b in resource()) {
            prop_assert_eq!(Resource::from_parts(a.letter(), a.key().into_owned()), Some(a.clone()));
            let parts = |of: &Resource| (of.namespace(), of.letter(), of.key().into_owned());
            prop_assert_eq!(parts(&a) == parts(&b), a == b);
        }

        #[test]
        fn shares_of_one_whole_exclude_each_other_only_when_they_are_the_same(a in share(), b in share()) {
            if a.pool().is_some() && b.pool().is_some() {
                let is_quota = matches!(a, Resource::Quota { .. });
                prop_assert_eq!(overlap(&a, &b), a == b || (is_quota && a.pool() == b.pool()));
            }
            if let (Some(pool), Resource::Pool(whole)) = (a.pool(), &b) {
                prop_assert_eq!(overlap(&a, &b), pool == *whole);
                prop_assert_eq!(b.covers(&a), pool == *whole);
            }
        }

        #[test]
        fn what_is_covered_brings_no_new_overlap(a in resource(), b in resource(), c in resource()) {
            if a.covers(&b) && overlap(&b, &c) {
                prop_assert!(overlap(&a, &c));
            }
            if let Resource::File(path) = &b {
                prop_assert_eq!(a.covers(&b), a.covers_path(path));
            }
        }

        #[test]
        fn covers_write_agrees_with_each_lock_alone(a in resource(), b in resource()) {
            if let Resource::File(path) = &b {
                let set: LockSet = [Lock { resource: a.clone(), mode: Mode::Write }].into_iter().collect();
                prop_assert_eq!(set.covers_write(path), a.covers_path(path));
            }
        }
    }

    fn any_port(first: u16, last: u16) -> LockSet {
        let mut set = LockSet::new();
        set.share(Share::any(Candidates::Ports { first, last }));
        set
    }

    #[test]
    fn by_name_nobody_overtakes_who_would_take_any() {
        let port = |number| -> LockSet {
            let resource = Resource::Port(number);
            [Lock {
                resource,
                mode: Mode::Write,
            }]
            .into_iter()
            .collect()
        };
        let any = any_port(5000, 5002);
        assert!(!any.waits_for(&any), "there may be enough for both");
        assert!(port(5002).waits_for(&any) && !port(5003).waits_for(&any));
        assert!(!any.waits_for(&port(5002)), "another one will do");
        assert!(
            any.in_line()
                .any(|lock| port(5003).iter().any(|port| conflict(&lock, &port)))
        );
    }

    #[test]
    fn what_can_never_be_had_is_known_beforehand() {
        let of = |share: Share| {
            let mut set = LockSet::new();
            set.share(share);
            set.check()
        };
        let amount = |amount, total| Share::Amount {
            quota: PoolName::new("memory").unwrap(),
            amount: Amount::new(amount),
            total: Amount::new(total),
        };
        assert!(of(amount(16, 16)).is_ok());
        assert!(matches!(of(amount(17, 16)), Err(Impossible::Amount { .. })));
        assert!(matches!(of(amount(0, 16)), Err(Impossible::Nothing { .. })));
        assert!(of(Share::any(Candidates::Worktrees(vec![1]))).is_ok());
        assert!(of(Share::any(Candidates::Worktrees(vec![]))).is_err());
        assert!(of(Share::any(Candidates::Ports { first: 2, last: 1 })).is_err());
        let two = Share::AnyOf(crate::model::AnyOf {
            candidates: Candidates::Ports { first: 1, last: 2 },
            count: 2,
            excluded: [Resource::Port(2)].into(),
        });
        assert_eq!(
            of(two).unwrap_err().to_string(),
            "2 of port:* were asked for, out of 1"
        );
        let whole = Lock {
            resource: Resource::Pool(Pool::Ports),
            mode: Mode::Write,
        };
        assert!(LockSet::from(vec![whole]).check().is_err());
    }

    #[test]
    fn a_directory_covers_what_lies_in_its_reach_and_no_more() {
        let parse = |letter: &str, key: &str| Resource::from_parts(letter, key.into()).unwrap();
        let (all, tree, level) = (parse("D", ""), parse("D", "a"), parse("d", "a"));
        for covered in [
            parse("F", "a/b/c"),
            parse("D", "a/b"),
            parse("d", "a"),
            tree.clone(),
        ] {
            assert!(tree.covers(&covered) && all.covers(&covered), "{covered}");
        }
        for beyond in [
            all.clone(),
            parse("d", ""),
            parse("F", "ab"),
            parse("D", "b"),
            parse("S", "a"),
        ] {
            assert!(!tree.covers(&beyond), "{beyond}");
        }
        assert!(level.covers(&level) && level.covers(&parse("F", "a/b")));
        assert!(
            !level.covers(&tree) && !level.covers(&parse("d", "a/b")) && !level.covers(&parse("F", "a/b/c"))
        );
        assert!(!parse("F", "a").covers(&level));
        assert!(
            parse("S", "db").covers(&parse("S", "db:1")) && !parse("S", "db:1").covers(&parse("S", "db"))
        );
    }

    #[test]
    fn readers_share_and_writers_exclude() {
        let lock = |mode| Lock {
            resource: Resource::File(RepoPath::new("a").unwrap()),
            mode,
        };
        assert!(!conflict(&lock(Mode::Read), &lock(Mode::Read)));
        assert!(conflict(&lock(Mode::Read), &lock(Mode::Write)));
        assert!(conflict(&lock(Mode::Write), &lock(Mode::Write)));
    }
}
