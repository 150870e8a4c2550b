//! Which share of a whole a request gets, and who is in its way.
//!
//! A claim is what keeps something of the whole from the request: what others hold, or a place in the queue that came
//! earlier and wants exactly this candidate. Which claims may be taken is judged like everything else; here they are only
//! weighed against what there is.

use std::collections::BTreeMap;

use crate::model::{Amount, AnyOf, Lock, LockSet, Mode, PoolName, Resource, Share, TaskId};
use crate::store::error::StoreError;
use crate::store::judge::Request;
use crate::store::rows::{LockRow, Part, Rows, WaiterRow};

type Result<T> = std::result::Result<T, StoreError>;

/// How firmly something is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grip {
    /// It may be taken.
    Loose,
    /// It depends on whether a process lives.
    Doubtful,
    /// It stays.
    Firm,
}

/// What is claimed, and how firmly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) resource: Resource,
    pub(crate) grip: Grip,
}

/// Whether a share can be had beside the claims, which are named by their places in the list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// These locks make the share, once those claims are taken.
    Fits { locks: Vec<Lock>, taking: Vec<usize> },
    /// There is too little. When it is certain, nobody's death would change it.
    Short { blockers: Vec<usize>, is_certain: bool },
}

/// Who has a claim.
#[derive(Debug, Clone)]
pub(crate) enum Claimant {
    /// Somebody holds it.
    Holder(LockRow),
    /// An earlier place in the queue wants exactly this.
    Place(Box<WaiterRow>, Lock),
}

impl Claimant {
    pub(crate) fn task(&self) -> &TaskId {
        match self {
            Self::Holder(row) => &row.task,
            Self::Place(waiter, _) => &waiter.task,
        }
    }

    pub(crate) fn resource(&self) -> &Resource {
        match self {
            Self::Holder(row) => &row.lock.resource,
            Self::Place(_, lock) => &lock.resource,
        }
    }
}

/// Weighs a share against what is claimed.
pub(crate) fn fit(share: &Share, claims: &[Claim]) -> Fit {
    match share {
        Share::AnyOf(any) => fit_any(any, claims),
        Share::Amount { quota, amount, total } => fit_amount(quota, *amount, *total, claims),
    }
}

/// Takes what is free, the most welcome first, and only then what others have to give up.
fn fit_any(any: &AnyOf, claims: &[Claim]) -> Fit {
    let mut on: BTreeMap<&Resource, Vec<usize>> = BTreeMap::new();
    for (at, claim) in claims.iter().enumerate() {
        on.entry(&claim.resource).or_default().push(at);
    }
    let wanted = any.count as usize;
    let (mut free, mut loose, mut doubtful) = (Vec::new(), Vec::new(), 0);
    for candidate in any.resources() {
        if free.len() == wanted {
            break;
        }
        let claimed = on.get(&candidate).map_or(&[][..], Vec::as_slice);
        match claimed.iter().map(|at| claims[*at].grip).max() {
            None => free.push(candidate),
            Some(Grip::Loose) => loose.push((candidate, claimed)),
            Some(Grip::Doubtful) => doubtful += 1,
            Some(Grip::Firm) => {}
        }
    }
    let could_be = free.len() + loose.len() + doubtful;
    let mut taking = Vec::new();
    for (candidate, claimed) in loose {
        if free.len() < wanted {
            free.push(candidate);
            taking.extend(claimed);
        }
    }
    if free.len() < wanted {
        return Fit::Short {
            blockers: staying(claims, |claim| any.accepts(&claim.resource)),
            is_certain: could_be < wanted,
        };
    }
    let lock = |resource| Lock {
        resource,
        mode: Mode::Write,
    };
    Fit::Fits {
        locks: free.into_iter().map(lock).collect(),
        taking,
    }
}

/// Takes from others only as much as is missing. What others hold may be more than there is, where the configuration
/// says less than it did.
fn fit_amount(quota: &PoolName, amount: Amount, total: Amount, claims: &[Claim]) -> Fit {
    let of = |claim: &Claim| match &claim.resource {
        Resource::Quota { amount, .. } => u128::from(amount.get()),
        _ => 0,
    };
    let (wanted, total) = (u128::from(amount.get()), u128::from(total.get()));
    let mut used: u128 = claims.iter().map(of).sum();
    let firm: u128 = claims
        .iter()
        .filter(|claim| claim.grip == Grip::Firm)
        .map(of)
        .sum();
    let mut taking = Vec::new();
    for (at, claim) in claims.iter().enumerate() {
        if used + wanted > total && claim.grip == Grip::Loose {
            used -= of(claim);
            taking.push(at);
        }
    }
    if used + wanted > total {
        return Fit::Short {
            blockers: staying(claims, |_| true),
            is_certain: firm + wanted > total,
        };
    }
    let resource = Resource::Quota {
        quota: quota.clone(),
        amount,
    };
    let lock = Lock {
        resource,
        mode: Mode::Read,
    };
    Fit::Fits {
        locks: vec![lock],
        taking,
    }
}

fn staying(claims: &[Claim], counts: impl Fn(&Claim) -> bool) -> Vec<usize> {
    let stays = |(_, claim): &(usize, &Claim)| claim.grip > Grip::Loose && counts(claim);
    let staying = claims.iter().enumerate().filter(stays);
    staying.map(|(at, _)| at).collect()
}

/// Finds what others hold of the whole of `share`, and would do as a part of it.
pub(crate) fn held(rows: &mut dyn Rows, request: &Request<'_>, share: &Share) -> Result<Vec<Claimant>> {
    let whole: LockSet = [share.in_line()].into_iter().collect();
    let mut others = rows.conflicting(&whole, Some(request.task), None)?;
    others.retain(|row| share.may_use(&row.lock.resource));
    Ok(others.into_iter().map(Claimant::Holder).collect())
}

/// Finds what earlier places in the queue want by name, and would do as a part of `share`.
pub(crate) fn wanted(rows: &mut dyn Rows, request: &Request<'_>, share: &Share) -> Result<Vec<Claimant>> {
    let mut claimants = Vec::new();
    if !matches!(share, Share::AnyOf(_)) || !rows.has_waiters()? {
        return Ok(claimants);
    }
    let whole: LockSet = [share.in_line()].into_iter().collect();
    for seq in rows.conflicting_places(&whole, Part::first(usize::MAX, request.seq))? {
        let Some(waiter) = rows.waiter_at(seq)? else {
            continue;
        };
        if waiter.task == *request.task {
            continue;
        }
        let by_name = waiter.wants.iter().filter(|lock| share.may_use(&lock.resource));
        claimants.extend(by_name.map(|lock| Claimant::Place(Box::new(waiter.clone()), lock)));
    }
    Ok(claimants)
}

/// Chooses shares for a request out of what nobody claims; `None` when there is too little.
pub(crate) fn free(rows: &mut dyn Rows, request: &Request<'_>) -> Result<Option<Vec<Lock>>> {
    let mut chosen = Vec::new();
    for share in request.wants.shares() {
        let mut claimants = held(rows, request, share)?;
        claimants.extend(wanted(rows, request, share)?);
        let firm = |claimant: &Claimant| Claim {
            resource: claimant.resource().clone(),
            grip: Grip::Firm,
        };
        let claims: Vec<Claim> = claimants.iter().map(firm).collect();
        match fit(share, &claims) {
            Fit::Fits { locks, .. } => chosen.extend(locks),
            Fit::Short { .. } => return Ok(None),
        }
    }
    Ok(Some(chosen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Candidates;

    fn any(count: u32) -> Share {
        Share::AnyOf(AnyOf {
            candidates: Candidates::Worktrees(vec![3, 1, 2]),
            count,
            excluded: [].into(),
        })
    }

    fn claim(number: u32, grip: Grip) -> Claim {
        Claim {
            resource: Resource::Worktree(number),
            grip,
        }
    }

    fn chosen(fit: Fit) -> (Vec<String>, Vec<usize>) {
        match fit {
            Fit::Fits { locks, taking } => {
                let names = locks.iter().map(|lock| lock.resource.to_string());
                (names.collect(), taking)
            }
            Fit::Short { .. } => panic!("{fit:?}"),
        }
    }

    #[test]
    fn the_most_welcome_of_what_is_free_is_chosen_before_anything_is_taken() {
        assert_eq!(chosen(fit(&any(1), &[])), (vec!["worktree:3".to_owned()], vec![]));
        let claims = [claim(3, Grip::Loose), claim(1, Grip::Firm)];
        assert_eq!(
            chosen(fit(&any(1), &claims)),
            (vec!["worktree:2".to_owned()], vec![])
        );
        let two = vec!["worktree:2".to_owned(), "worktree:3".to_owned()];
        assert_eq!(chosen(fit(&any(2), &claims)), (two, vec![0]));
        let short = fit(&any(3), &claims);
        assert_eq!(
            short,
            Fit::Short {
                blockers: vec![1],
                is_certain: true
            }
        );
        let doubtful = [
            claim(3, Grip::Doubtful),
            claim(1, Grip::Loose),
            claim(2, Grip::Firm),
        ];
        let short = fit(&any(2), &doubtful);
        assert_eq!(
            short,
            Fit::Short {
                blockers: vec![0, 2],
                is_certain: false
            }
        );
        // Who wants it by name stands in the way as much as who has it.
        let both = [claim(3, Grip::Loose), claim(3, Grip::Firm), claim(1, Grip::Loose)];
        assert_eq!(
            chosen(fit(&any(2), &both)),
            (vec!["worktree:2".into(), "worktree:1".into()], vec![2])
        );
    }

    #[test]
    fn amounts_add_up_to_no_more_than_the_total_and_never_overflow() {
        let quota = PoolName::new("memory").unwrap();
        let ask = |amount, total| Share::Amount {
            quota: quota.clone(),
            amount: Amount::new(amount),
            total: Amount::new(total),
        };
        let part = |amount, grip| Claim {
            resource: Resource::Quota {
                quota: quota.clone(),
                amount: Amount::new(amount),
            },
            grip,
        };
        let held = [part(6, Grip::Firm), part(4, Grip::Loose), part(5, Grip::Loose)];
        assert_eq!(
            chosen(fit(&ask(1, 16), &held)),
            (vec!["quota:memory=1".to_owned()], vec![])
        );
        assert_eq!(chosen(fit(&ask(5, 16), &held)).1, [1]);
        assert_eq!(chosen(fit(&ask(10, 16), &held)).1, [1, 2]);
        assert_eq!(
            fit(&ask(11, 16), &held),
            Fit::Short {
                blockers: vec![0],
                is_certain: true
            }
        );
        // Less is configured than is held.
        assert_eq!(
            fit(&ask(1, 4), &held),
            Fit::Short {
                blockers: vec![0],
                is_certain: true
            }
        );
        let huge = [part(u64::MAX, Grip::Firm), part(u64::MAX, Grip::Doubtful)];
        assert_eq!(
            fit(&ask(u64::MAX, u64::MAX), &huge),
            Fit::Short {
                blockers: vec![0, 1],
                is_certain: true
            }
        );
    }
}
