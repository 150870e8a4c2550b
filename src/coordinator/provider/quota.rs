//! Quotas: a total, such as 16 GiB of memory, that is shared out by amount.

use std::collections::BTreeMap;

use crate::config::{Pooled, Stocked};
use crate::coordinator::Error;
use crate::coordinator::provider::{Provider, Stock, Which, Wish};
use crate::model::{Amount, LockSet, Pool, PoolName, Resource, Share};

/// Gives out parts of quotas.
#[derive(Debug, Clone)]
pub struct Quotas {
    totals: BTreeMap<PoolName, (Amount, Vec<String>)>,
}

impl Quotas {
    /// Gives out parts of those of `pools` that have a total.
    pub fn new(pools: &BTreeMap<PoolName, Pooled>) -> Self {
        let with_total = pools.iter().filter_map(|(name, pool)| match &pool.stock {
            Stocked::Total(total) => Some((name.clone(), (*total, pool.tags.clone()))),
            Stocked::Members(_) => None,
        });
        Self {
            totals: with_total.collect(),
        }
    }
}

impl Provider for Quotas {
    fn kind(&self) -> &'static str {
        "quota"
    }

    fn allocate(&self, wishes: &[Wish], wants: &mut LockSet) -> Result<(), Error> {
        let mut asked: BTreeMap<PoolName, Amount> = BTreeMap::new();
        for wish in wishes {
            let quota = PoolName::new(wish.name.as_str())?;
            let Which::Amount(amount) = wish.which else {
                return Err(Error::Usage(format!("How much of quota:{quota} is not said")));
            };
            if asked.insert(quota.clone(), amount).is_some() {
                return Err(Error::Usage(format!("quota:{quota} is asked for twice")));
            }
        }
        for (quota, amount) in asked {
            let Some((total, _)) = self.totals.get(&quota) else {
                return Err(Error::NotOffered {
                    what: Pool::Quota(quota).to_string(),
                    known: self
                        .totals
                        .keys()
                        .map(|name| Pool::Quota(name.clone()).to_string())
                        .collect(),
                });
            };
            wants.share(Share::Amount {
                quota,
                amount,
                total: *total,
            });
        }
        Ok(())
    }

    fn owns(&self, resource: &Resource) -> bool {
        matches!(resource, Resource::Quota { .. })
    }

    fn stock(&self) -> Vec<Stock> {
        let stock = self.totals.iter().map(|(name, (total, tags))| Stock {
            name: name.to_string(),
            pool: Pool::Quota(name.clone()),
            total: total.get(),
            tags: tags.clone(),
        });
        stock.collect()
    }
}
