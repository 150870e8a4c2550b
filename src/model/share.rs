//! Shares of a whole: any of its members, or an amount of it. Which one is given is the store's choice.
//!
//! What there is to be shared out comes with the request, so that whoever judges it needs no configuration.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::amount::Amount;
use super::lock::{Lock, Mode};
use super::name::{MemberName, PoolName};
use super::resource::{Pool, Resource};

/// A wish for a part of a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Some of what is as good as each other.
    AnyOf(AnyOf),
    /// A part of a total.
    Amount {
        /// The quota.
        quota: PoolName,
        /// How much of it, in all.
        amount: Amount,
        /// How much there is for all tasks together.
        total: Amount,
    },
}

/// A wish for some of what is as good as each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnyOf {
    /// What there is, the most welcome first.
    pub candidates: Candidates,
    /// How many of them, in all: what the task has already counts.
    pub count: u32,
    /// What is no good after all.
    pub excluded: BTreeSet<Resource>,
}

/// What is as good as each other, in order of preference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidates {
    /// Members of a pool.
    Members {
        /// The pool.
        pool: PoolName,
        /// Its members.
        members: Vec<MemberName>,
    },
    /// The ports from the first to the last.
    Ports {
        /// The first.
        first: u16,
        /// The last.
        last: u16,
    },
    /// Pooled working copies.
    Worktrees(Vec<u32>),
}

/// A wish that cannot come true however long one waits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// More of a quota than there is.
    #[error("quota:{quota} is {total} in all, so {amount} of it cannot be had")]
    Amount {
        /// The quota.
        quota: PoolName,
        /// What was asked for.
        amount: Amount,
        /// What there is.
        total: Amount,
    },
    /// Nothing at all of a quota.
    #[error("An amount of nothing was asked of quota:{quota}")]
    Nothing {
        /// The quota.
        quota: PoolName,
    },
    /// More members than there are.
    #[error("{wanted} of {pool} were asked for, out of {there_are}")]
    TooMany {
        /// Of what.
        pool: Pool,
        /// How many.
        wanted: u32,
        /// How many there are, without those that are no good.
        there_are: usize,
    },
    /// A whole that is only given out in shares.
    #[error("{0} is only given out in shares")]
    Whole(Resource),
}

impl Share {
    /// Asks for any one.
    pub fn any(candidates: Candidates) -> Self {
        Self::AnyOf(AnyOf {
            candidates,
            count: 1,
            excluded: BTreeSet::new(),
        })
    }

    /// Returns of what it is a share.
    pub fn pool(&self) -> Pool {
        match self {
            Self::AnyOf(any) => any.candidates.pool(),
            Self::Amount { quota, .. } => Pool::Quota(quota.clone()),
        }
    }

    /// Tells whether `resource` could become a part of it, or makes room for it.
    pub fn may_use(&self, resource: &Resource) -> bool {
        match (self, resource) {
            (_, Resource::Pool(pool)) => self.pool() == *pool,
            (Self::AnyOf(any), resource) => any.accepts(resource),
            (Self::Amount { quota, .. }, Resource::Quota { quota: of, .. }) => quota == of,
            (Self::Amount { .. }, _) => false,
        }
    }

    /// Returns the lock on the whole that stands for this wish in the queue: by it whoever else wants something of the same
    /// whole finds it.
    pub fn in_line(&self) -> Lock {
        Lock {
            resource: Resource::Pool(self.pool()),
            mode: Mode::Write,
        }
    }

    /// Refuses what cannot be had however long one waits.
    pub fn check(&self) -> Result<(), Impossible> {
        match self {
            Self::Amount { quota, amount, .. } if amount.get() == 0 => {
                Err(Impossible::Nothing { quota: quota.clone() })
            }
            Self::Amount { quota, amount, total } if amount > total => Err(Impossible::Amount {
                quota: quota.clone(),
                amount: *amount,
                total: *total,
            }),
            Self::Amount { .. } => Ok(()),
            Self::AnyOf(any) => {
                let there_are = any.resources().take(any.count as usize).count();
                if there_are < any.count as usize {
                    Err(Impossible::TooMany {
                        pool: self.pool(),
                        wanted: any.count,
                        there_are,
                    })
                } else {
                    Ok(())
                }
            }
        }
    }
}

impl AnyOf {
    /// Iterates over what would do, the most welcome first.
    pub fn resources(&self) -> impl Iterator<Item = Resource> + '_ {
        let mut seen = BTreeSet::new();
        self.candidates
            .resources()
            .filter(move |resource| !self.excluded.contains(resource) && seen.insert(resource.clone()))
    }

    /// Tells whether `resource` would do.
    pub fn accepts(&self, resource: &Resource) -> bool {
        self.candidates.contains(resource) && !self.excluded.contains(resource)
    }
}

impl Candidates {
    /// Returns of what they are members.
    pub fn pool(&self) -> Pool {
        match self {
            Self::Members { pool, .. } => Pool::Members(pool.clone()),
            Self::Ports { .. } => Pool::Ports,
            Self::Worktrees(_) => Pool::Worktrees,
        }
    }

    fn contains(&self, resource: &Resource) -> bool {
        match (self, resource) {
            (Self::Members { pool, members }, Resource::Member { pool: of, member }) => {
                pool == of && members.contains(member)
            }
            (Self::Ports { first, last }, Resource::Port(number)) => (first..=last).contains(&number),
            (Self::Worktrees(numbers), Resource::Worktree(number)) => numbers.contains(number),
            _ => false,
        }
    }

    fn resources(&self) -> Box<dyn Iterator<Item = Resource> + '_> {
        match self {
            Self::Members { pool, members } => Box::new(members.iter().map(|member| Resource::Member {
                pool: pool.clone(),
                member: member.clone(),
            })),
            Self::Ports { first, last } => Box::new((*first..=*last).map(Resource::Port)),
            Self::Worktrees(numbers) => Box::new(numbers.iter().copied().map(Resource::Worktree)),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amount { quota, amount, .. } => write!(f, "quota:{quota}={amount}"),
            Self::AnyOf(any) if any.count == 1 => write!(f, "any of {}", any.candidates),
            Self::AnyOf(any) => write!(f, "any {} of {}", any.count, any.candidates),
        }
    }
}

impl fmt::Display for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports { first, last } => write!(f, "port:{first}-{last}"),
            other => other.pool().fmt(f),
        }
    }
}
