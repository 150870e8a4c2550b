//! Providers: what can be locked beside paths, behind one small interface.
//!
//! A provider turns a wish into what the store is asked for, looks at what was granted before anybody uses it, and
//! says what there is. Who holds what stays the store's. Programs may register providers of their own.

mod pool;
mod port;
mod quota;
mod service;

pub use pool::Members;
pub use port::Ports;
pub use quota::Quotas;
pub use service::Services;

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::coordinator::Error;
use crate::model::{Amount, LockSet, Mode, Pool, Resource};
use crate::store::Task;

/// What somebody wants of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which provider: `service`, `port`, `pool`, `quota`, or what a registered one calls itself.
    pub kind: String,
    /// Of what, where a provider has more than one thing: the name of a pool, of a quota, of a service.
    pub name: String,
    /// Which, or how much.
    pub which: Which,
    /// Shared or exclusive. Only services can be shared.
    pub mode: Mode,
}

/// Which, or how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Any one.
    Any,
    /// This one.
    This(String),
    /// So much.
    Amount(Amount),
}

/// What a provider has to share out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock {
    /// What people call it, such as `db` or `5000-6000`.
    pub name: String,
    /// The whole whose shares are held.
    pub pool: Pool,
    /// How many members, or how much in all.
    pub total: u64,
    /// Words of the user's own.
    pub tags: Vec<String>,
}

/// Whether a resource that was granted is any good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fitness {
    /// It can be used.
    Good,
    /// It cannot.
    Bad {
        /// Why.
        reason: String,
        /// What else is known to be no good, so that it is not asked for next.
        also: BTreeSet<Resource>,
    },
}

/// Something that gives out resources of one kind.
///
/// A provider is asked outside the store's acts, so it may look at the machine; it keeps no books of its own, since the
/// store does.
pub trait Provider: Send {
    /// Returns what kind of wishes it answers.
    fn kind(&self) -> &str;

    /// Adds what all `wishes` of this kind come to: locks, and shares of which the store chooses which.
    fn allocate(&self, wishes: &[Wish], wants: &mut LockSet) -> Result<(), Error>;

    /// Tells whether `resource` is one of its own.
    fn owns(&self, resource: &Resource) -> bool;

    /// Looks at what was just granted. `held` is all that tasks hold of the same whole.
    fn validate(&self, _resource: &Resource, _held: &BTreeSet<Resource>) -> Result<Fitness, Error> {
        Ok(Fitness::Good)
    }

    /// Hears that a task of this process gave `resource` back.
    fn release(&self, _resource: &Resource) -> Result<(), Error> {
        Ok(())
    }

    /// Cleans up after whatever is not in `held`: its task may have died without a word. Called by `cleanup`.
    fn clean_up(&self, _held: &BTreeSet<Resource>) -> Result<(), Error> {
        Ok(())
    }

    /// Returns what there is.
    fn stock(&self) -> Vec<Stock> {
        Vec::new()
    }
}

/// All providers of one repository.
pub(crate) struct Providers(Vec<Box<dyn Provider>>);

impl Providers {
    /// The built-in ones, as the configuration has them.
    pub(crate) fn new(config: &Config) -> Self {
        Self(vec![
            Box::new(Services),
            Box::new(Ports::new(config.port_range)),
            Box::new(Members::new(&config.pools)),
            Box::new(Quotas::new(&config.pools)),
        ])
    }

    /// Adds one, in the place of any other of the same kind.
    pub(crate) fn register(&mut self, provider: Box<dyn Provider>) {
        self.0.retain(|known| known.kind() != provider.kind());
        // The newest comes first: what it owns need not be looked for among the general ones.
        self.0.insert(0, provider);
    }

    /// Turns wishes into what the store is asked for.
    pub(crate) fn allocate(&self, wishes: Vec<Wish>, wants: &mut LockSet) -> Result<(), Error> {
        let mut by_kind: BTreeMap<String, Vec<Wish>> = BTreeMap::new();
        for wish in wishes {
            by_kind.entry(wish.kind.clone()).or_default().push(wish);
        }
        for (kind, wishes) in by_kind {
            let provider = self.0.iter().find(|provider| provider.kind() == kind);
            let provider = provider.ok_or_else(|| Error::NotOffered {
                what: kind,
                known: self.0.iter().map(|known| known.kind().to_owned()).collect(),
            })?;
            provider.allocate(&wishes, wants)?;
        }
        Ok(())
    }

    /// Looks at what was granted.
    pub(crate) fn validate(&self, resource: &Resource, held: &BTreeSet<Resource>) -> Result<Fitness, Error> {
        match self.owner(resource) {
            Some(provider) => provider.validate(resource, held),
            None => Ok(Fitness::Good),
        }
    }

    /// Says that these were given back. Failing to hear of it changes nothing: they are given back.
    pub(crate) fn released(&self, resources: &[Resource]) {
        for resource in resources {
            let heard = self.owner(resource).map(|provider| provider.release(resource));
            if let Some(Err(error)) = heard {
                tracing::warn!(%error, %resource, "cleaning up is left to `mirror cleanup`");
            }
        }
    }

    /// Cleans up after what nobody holds.
    pub(crate) fn clean_up(&self, held: &BTreeSet<Resource>) -> Result<(), Error> {
        self.0.iter().try_for_each(|provider| provider.clean_up(held))
    }

    /// Returns what there is, with its kind.
    pub(crate) fn stock(&self) -> Vec<(String, Stock)> {
        let of = |provider: &dyn Provider| {
            let kind = provider.kind().to_owned();
            let stock = provider.stock().into_iter();
            stock.map(|stock| (kind.clone(), stock)).collect::<Vec<_>>()
        };
        self.0.iter().rev().flat_map(|provider| of(&**provider)).collect()
    }

    /// Tells whether some provider answers for `resource`.
    pub(crate) fn knows(&self, resource: &Resource) -> bool {
        self.owner(resource).is_some()
    }

    fn owner(&self, resource: &Resource) -> Option<&dyn Provider> {
        let owner = self.0.iter().find(|provider| provider.owns(resource));
        owner.map(|provider| &**provider)
    }
}

/// Returns the variables that tell a command what its task was given: `MIRROR_PORT`, `MIRROR_POOL_<NAME>`,
/// `MIRROR_QUOTA_<NAME>`, in the order of their names. Of several members all are named, with spaces between.
pub fn variables(task: &Task) -> Vec<(String, String)> {
    let mut variables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for held in &task.locks {
        let (name, value) = match &held.lock.resource {
            Resource::Port(number) => ("MIRROR_PORT".to_owned(), number.to_string()),
            Resource::Member { pool, member } => {
                (format!("MIRROR_POOL_{}", pool.in_variable()), member.to_string())
            }
            Resource::Quota { quota, amount } => (
                format!("MIRROR_QUOTA_{}", quota.in_variable()),
                amount.get().to_string(),
            ),
            _ => continue,
        };
        variables.entry(name).or_default().push(value);
    }
    let joined = variables.into_iter();
    joined.map(|(name, values)| (name, values.join(" "))).collect()
}
