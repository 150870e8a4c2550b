//! Which share of a whole a request gets, and what is in its way.
//!
//! A claim is what keeps something of the whole from the request: what others hold, and what earlier places in the queue
//! want. An earlier place that wants any of several has so many of them set aside, and no more: the most welcome to it of
//! what nobody before it holds or has set aside, or all that would do where there are too few. What is left may be had by
//! those behind it. So what an earlier place can have depends on nobody behind it. Which claims may be taken is judged like
//! everything else; here they are only weighed against what there is.

use std::collections::BTreeSet;

use crate::model::{Amount, AnyOf, Lock, Mode, PoolName, Resource, Share};

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

/// What is claimed of a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// This part of it.
    Part(Resource),
    /// What an earlier place still wants of it, whichever part that comes to.
    Wish(Share),
}

impl Claimed {
    /// Returns the lock that stands for it.
    pub(crate) fn lock(&self) -> Lock {
        match self {
            Self::Part(resource) => Lock {
                resource: resource.clone(),
                mode: Mode::Write,
            },
            Self::Wish(share) => share.in_line(),
        }
    }
}

/// What is claimed, and how firmly. Claims come in order: those of holders, then those of places as they arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) what: Claimed,
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

/// Weighs a share against what is claimed: takes what is left, and only then what others have to give up, no more of it
/// than makes room.
pub(crate) fn fit(share: &Share, claims: &[Claim]) -> Fit {
    let without = |taking: &[usize]| {
        let left = claims.iter().enumerate().filter(|(at, _)| !taking.contains(at));
        choose(share, left.map(|(_, claim)| &claim.what))
    };
    let mut taking = Vec::new();
    let mut chosen = without(&taking);
    for at in loose(share, claims) {
        if chosen.is_some() {
            break;
        }
        taking.push(at);
        chosen = without(&taking);
    }
    if chosen.is_none() {
        let firm = claims.iter().filter(|claim| claim.grip == Grip::Firm);
        return Fit::Short {
            blockers: staying(share, claims),
            is_certain: choose(share, firm.map(|claim| &claim.what)).is_none(),
        };
    }
    for at in taking.clone() {
        let fewer: Vec<usize> = taking.iter().copied().filter(|other| *other != at).collect();
        if let Some(locks) = without(&fewer) {
            (taking, chosen) = (fewer, Some(locks));
        }
    }
    Fit::Fits {
        locks: chosen.unwrap_or_default(),
        taking,
    }
}

/// The claims that may be taken, those first that nobody will miss: places that nobody stands at, then what is most welcome.
fn loose(share: &Share, claims: &[Claim]) -> Vec<usize> {
    let loose = |at: &usize| claims[*at].grip == Grip::Loose;
    let mut loose: Vec<usize> = (0..claims.len()).filter(loose).collect();
    if let Share::AnyOf(any) = share {
        let candidates: Vec<Resource> = any.resources().collect();
        loose.sort_by_key(|at| match &claims[*at].what {
            Claimed::Part(part) => {
                1 + candidates
                    .iter()
                    .position(|own| own == part)
                    .unwrap_or(usize::MAX - 1)
            }
            Claimed::Wish(_) => 0,
        });
    }
    loose
}

/// The claims in the way of a share that nobody can take yet.
fn staying(share: &Share, claims: &[Claim]) -> Vec<usize> {
    let matters = |what: &Claimed| match (what, share) {
        (Claimed::Part(part), share) => share.may_use(part),
        (Claimed::Wish(Share::AnyOf(other)), Share::AnyOf(any)) => {
            other.resources().any(|part| any.accepts(&part))
        }
        (Claimed::Wish(_), _) => true,
    };
    let stays = |at: &usize| claims[*at].grip > Grip::Loose && matters(&claims[*at].what);
    (0..claims.len()).filter(stays).collect()
}

/// Chooses a share out of what is left beside the claims; `None` when that is too little.
fn choose<'a>(share: &Share, claims: impl Iterator<Item = &'a Claimed>) -> Option<Vec<Lock>> {
    match share {
        Share::AnyOf(any) => {
            let chosen = pick(any, &set_aside(claims));
            let lock = |resource| Lock {
                resource,
                mode: Mode::Write,
            };
            (chosen.len() == any.count as usize).then(|| chosen.into_iter().map(lock).collect())
        }
        Share::Amount { quota, amount, total } => {
            let is_room = is_room(*amount, *total, claims);
            is_room.then(|| vec![part_of(quota, *amount)])
        }
    }
}

/// Goes through the claims in their order, and says which members are held or set aside.
fn set_aside<'a>(claims: impl Iterator<Item = &'a Claimed>) -> BTreeSet<Resource> {
    let mut gone = BTreeSet::new();
    for claimed in claims {
        match claimed {
            Claimed::Part(part) => gone.extend([part.clone()]),
            Claimed::Wish(Share::AnyOf(any)) => gone.extend(pick(any, &gone)),
            Claimed::Wish(Share::Amount { .. }) => {}
        }
    }
    gone
}

/// Picks as many as are wanted, or all there are, the most welcome first.
fn pick(any: &AnyOf, gone: &BTreeSet<Resource>) -> Vec<Resource> {
    let free = any.resources().filter(|resource| !gone.contains(resource));
    free.take(any.count as usize).collect()
}

/// Tells whether there is room for an amount. Where requests know of different totals, the smallest counts. What others
/// hold may be more than there is, where the configuration says less than it did.
fn is_room<'a>(amount: Amount, total: Amount, claims: impl Iterator<Item = &'a Claimed>) -> bool {
    let (mut used, mut total) = (u128::from(amount.get()), total);
    for claimed in claims {
        match claimed {
            Claimed::Part(Resource::Quota { amount, .. }) => used += u128::from(amount.get()),
            Claimed::Wish(Share::Amount {
                amount, total: known, ..
            }) => {
                used += u128::from(amount.get());
                total = total.min(*known);
            }
            Claimed::Part(_) | Claimed::Wish(Share::AnyOf(_)) => {}
        }
    }
    used <= u128::from(total.get())
}

fn part_of(quota: &PoolName, amount: Amount) -> Lock {
    let resource = Resource::Quota {
        quota: quota.clone(),
        amount,
    };
    Lock {
        resource,
        mode: Mode::Read,
    }
}

/// Tells whether there will be enough for `share` whichever parts the wishes among the claims come to.
pub(crate) fn is_assured(share: &Share, claims: &[Claimed]) -> bool {
    let Share::AnyOf(any) = share else {
        return choose(share, claims.iter()).is_some();
    };
    let held = claims
        .iter()
        .filter(|claimed| matches!(claimed, Claimed::Part(_)));
    let gone = set_aside(held);
    let free: BTreeSet<Resource> = any.resources().filter(|own| !gone.contains(own)).collect();
    let at_worst = |claimed: &Claimed| match claimed {
        Claimed::Wish(Share::AnyOf(other)) => {
            let shared = other.resources().filter(|resource| free.contains(resource));
            shared.take(other.count as usize).count()
        }
        _ => 0,
    };
    let lost: usize = claims.iter().map(at_worst).sum();
    free.len() >= lost + any.count as usize
}

/// Tells whether a place that wants `share` leaves nothing of what it and those before it know of to those behind it.
pub(crate) fn leaves_nothing(share: &Share, claims: &[Claimed]) -> bool {
    let Share::AnyOf(any) = share else {
        return choose(share, claims.iter()).is_none();
    };
    let mut gone = set_aside(claims.iter());
    gone.extend(pick(any, &gone));
    let wished = claims.iter().filter_map(|claimed| match claimed {
        Claimed::Wish(Share::AnyOf(other)) => Some(other),
        _ => None,
    });
    let is_gone = |any: &AnyOf| any.resources().all(|resource| gone.contains(&resource));
    wished.chain([any]).all(is_gone)
}

/// Tells whether some wish among the claims cannot come true yet for want of its share.
pub(crate) fn has_short_wish(claims: &[Claimed]) -> bool {
    let is_short = |(at, claimed): (usize, &Claimed)| match claimed {
        Claimed::Wish(share) => choose(share, claims[..at].iter()).is_none(),
        Claimed::Part(_) => false,
    };
    claims.iter().enumerate().any(is_short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Candidates;
    use proptest::prelude::*;

    fn any(count: u32) -> Share {
        Share::AnyOf(AnyOf {
            candidates: Candidates::Worktrees(vec![3, 1, 2]),
            count,
            excluded: [].into(),
        })
    }

    fn claim(number: u32, grip: Grip) -> Claim {
        Claim {
            what: Claimed::Part(Resource::Worktree(number)),
            grip,
        }
    }

    fn wish(count: u32, grip: Grip) -> Claim {
        Claim {
            what: Claimed::Wish(any(count)),
            grip,
        }
    }

    fn chosen(fit: Fit) -> (Vec<String>, Vec<usize>) {
        match fit {
            Fit::Fits { locks, taking } => {
                let mut names: Vec<String> = locks.iter().map(|lock| lock.resource.to_string()).collect();
                names.sort();
                (names, taking)
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
            (vec!["worktree:1".into(), "worktree:2".into()], vec![2])
        );
    }

    #[test]
    fn an_earlier_wish_has_as_many_set_aside_as_it_wants_and_no_more() {
        let two = |claims: &[Claim]| chosen(fit(&any(2), claims)).0;
        let one = |claims: &[Claim]| chosen(fit(&any(1), claims)).0;
        let earlier = wish(1, Grip::Firm);
        assert_eq!(
            two(std::slice::from_ref(&earlier)),
            ["worktree:1", "worktree:2"],
            "the most welcome is its own"
        );
        let short =
            |of: &Share, claims: &[Claim]| matches!(fit(of, claims), Fit::Short { is_certain: true, .. });
        assert!(short(&any(3), std::slice::from_ref(&earlier)));
        assert_eq!(one(&[claim(3, Grip::Firm), earlier.clone()]), ["worktree:2"]);
        // Where there are too few for it, everything is its own.
        assert!(short(&any(1), &[claim(3, Grip::Firm), wish(3, Grip::Firm)]));
        // Nobody will miss the place of the dead.
        let dead = wish(3, Grip::Loose);
        assert_eq!(chosen(fit(&any(1), &[claim(3, Grip::Loose), dead])).1, [1]);
        assert!(matches!(
            fit(&any(1), &[wish(3, Grip::Doubtful)]),
            Fit::Short {
                is_certain: false,
                ..
            }
        ));
        // What makes room for the earlier one makes room.
        let held = [claim(3, Grip::Loose), claim(1, Grip::Firm), wish(1, Grip::Firm)];
        assert_eq!(
            chosen(fit(&any(1), &held)),
            (vec!["worktree:2".to_owned()], vec![0])
        );
    }

    fn some(numbers: Vec<u32>, count: u32) -> Share {
        Share::AnyOf(AnyOf {
            candidates: Candidates::Worktrees(numbers),
            count,
            excluded: [].into(),
        })
    }

    fn claimed() -> impl Strategy<Value = Claimed> {
        let number = 1..7_u32;
        let list = prop::sample::subsequence(vec![1, 2, 3, 4, 5, 6], 1..7).prop_shuffle();
        prop_oneof![
            2 => (list, 1..4_u32).prop_map(|(list, count)| Claimed::Wish(some(list, count))),
            1 => number.prop_map(|number| Claimed::Part(Resource::Worktree(number))),
        ]
    }

    /// What each wish among the claims can have.
    fn outlook(claims: &[Claimed]) -> Vec<Option<Vec<Lock>>> {
        let of = |(at, claimed): (usize, &Claimed)| match claimed {
            Claimed::Wish(share) => choose(share, claims[..at].iter()),
            Claimed::Part(_) => None,
        };
        claims.iter().enumerate().map(of).collect()
    }

    proptest! {
        #[test]
        fn what_a_later_one_takes_changes_nothing_for_those_before_it(
            claims in prop::collection::vec(claimed(), 0..8),
            own in claimed(),
            freed in 1..7_u32,
        ) {
            let Claimed::Wish(share) = own else { return Ok(()) };
            let holds = |number: u32| Claimed::Part(Resource::Worktree(number));
            // The claims of holders come first.
            let (held, places): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claimed| matches!(claimed, Claimed::Part(_)));
            let before = [held.clone(), places.clone()].concat();
            if let Some(taken) = choose(&share, before.iter()) {
                prop_assert!(taken.iter().all(|lock| !before.contains(&Claimed::Part(lock.resource.clone()))));
                let taken: Vec<Claimed> = taken.into_iter().map(|lock| Claimed::Part(lock.resource)).collect();
                let after = outlook(&[taken, before.clone()].concat());
                prop_assert_eq!(&after[after.len() - before.len()..], &outlook(&before)[..]);
            }
            // Nor does it hurt anybody that something becomes free, whatever those before prefer.
            let fewer: Vec<Claimed> = before.iter().filter(|claimed| **claimed != holds(freed)).cloned().collect();
            prop_assert!(choose(&share, before.iter()).is_none() || choose(&share, fewer.iter()).is_some());
            if is_assured(&share, &before) {
                prop_assert!(choose(&share, before.iter()).is_some());
            }
        }
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
            what: Claimed::Part(Resource::Quota {
                quota: quota.clone(),
                amount: Amount::new(amount),
            }),
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
        // What earlier places want is set aside, and who knows of the least decides.
        let wish = |amount, total| Claim {
            what: Claimed::Wish(ask(amount, total)),
            grip: Grip::Firm,
        };
        assert_eq!(chosen(fit(&ask(5, 16), &[wish(11, 16)])).1, [0_usize; 0]);
        assert!(matches!(fit(&ask(6, 16), &[wish(11, 16)]), Fit::Short { .. }));
        assert!(matches!(fit(&ask(5, 20), &[wish(11, 15)]), Fit::Short { .. }));
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
