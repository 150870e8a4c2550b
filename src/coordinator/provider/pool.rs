//! Pools: names that are as good as each other, such as four test databases.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Pooled, Stocked};
use crate::coordinator::Error;
use crate::coordinator::provider::{Provider, Stock, Which, Wish};
use crate::model::{AnyOf, Candidates, Lock, LockSet, MemberName, Mode, Pool, PoolName, Resource, Share};

/// Gives out members of pools.
#[derive(Debug, Clone)]
pub struct Members {
    pools: BTreeMap<PoolName, (Vec<MemberName>, Vec<String>)>,
}

impl Members {
    /// Gives out members of those of `pools` that have any.
    pub fn new(pools: &BTreeMap<PoolName, Pooled>) -> Self {
        let with_members = pools.iter().filter_map(|(name, pool)| match &pool.stock {
            Stocked::Members(members) => Some((name.clone(), (members.clone(), pool.tags.clone()))),
            Stocked::Total(_) => None,
        });
        Self {
            pools: with_members.collect(),
        }
    }

    fn find(&self, name: &str) -> Result<(PoolName, &Vec<MemberName>), Error> {
        let pool = PoolName::new(name)?;
        match self.pools.get(&pool) {
            Some((members, _)) => Ok((pool, members)),
            None => Err(Error::NotOffered {
                what: Pool::Members(pool).to_string(),
                known: self
                    .pools
                    .keys()
                    .map(|name| Pool::Members(name.clone()).to_string())
                    .collect(),
            }),
        }
    }

    fn find_member(&self, pool: &str, member: &str) -> Result<Resource, Error> {
        let (pool, members) = self.find(pool)?;
        let of = |member: &MemberName| Resource::Member {
            pool: pool.clone(),
            member: member.clone(),
        };
        let wanted = of(&MemberName::new(member)?);
        let mut known = members.iter().map(of);
        if known.any(|known| known == wanted) {
            return Ok(wanted);
        }
        Err(Error::NotOffered {
            what: wanted.to_string(),
            known: members.iter().map(|member| of(member).to_string()).collect(),
        })
    }
}

impl Provider for Members {
    fn kind(&self) -> &'static str {
        "pool"
    }

    fn allocate(&self, wishes: &[Wish], wants: &mut LockSet) -> Result<(), Error> {
        let mut any: BTreeMap<&str, u32> = BTreeMap::new();
        let mut named: BTreeSet<(&str, Resource)> = BTreeSet::new();
        for wish in wishes {
            match &wish.which {
                Which::Any => *any.entry(&wish.name).or_default() += 1,
                Which::This(member) => {
                    named.insert((&wish.name, self.find_member(&wish.name, member)?));
                }
                Which::Amount(_) => {
                    return Err(Error::Usage(format!(
                        "pool:{} has members, no amount: ask with --pool {}",
                        wish.name, wish.name
                    )));
                }
            }
        }
        for (pool, resource) in named {
            // Whoever asks for one by name and for any other gets two.
            if let Some(count) = any.get_mut(pool) {
                *count += 1;
            }
            wants.insert(Lock {
                resource,
                mode: Mode::Write,
            });
        }
        for (name, count) in any {
            let (pool, members) = self.find(name)?;
            wants.share(Share::AnyOf(AnyOf {
                candidates: Candidates::Members {
                    pool,
                    members: members.clone(),
                },
                count,
                excluded: BTreeSet::new(),
            }));
        }
        Ok(())
    }

    fn owns(&self, resource: &Resource) -> bool {
        matches!(resource, Resource::Member { .. })
    }

    fn stock(&self) -> Vec<Stock> {
        let stock = self.pools.iter().map(|(name, (members, tags))| Stock {
            name: name.to_string(),
            pool: Pool::Members(name.clone()),
            total: members.len() as u64,
            tags: tags.clone(),
        });
        stock.collect()
    }
}
