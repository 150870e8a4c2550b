//! One holder or one waiter in the way of a request, and whether what it has may be taken.

use crate::model::{Lock, Now, Owner, Resource, TaskId, Token, TransactionState, Verdict};
use crate::store::ended::{Ended, ended, verdict};
use crate::store::error::StoreError;
use crate::store::grant;
use crate::store::judge::missing_task;
use crate::store::rows::{Evidence, Phase, Rows, Subject, TaskRow, WaiterRow};
use crate::store::shares::Grip;

type Result<T> = std::result::Result<T, StoreError>;

/// What may be taken to make room.
#[derive(Debug, Clone)]
pub(crate) enum Taking {
    /// The whole lease of a task.
    Lease {
        row: TaskRow,
        /// It cannot use it any more; otherwise only its time is over.
        is_dead: bool,
    },
    /// A grant that was handed over and not claimed.
    Handed(WaiterRow),
    /// A place in the queue.
    Place(WaiterRow),
}

/// What to do about something in the way.
#[derive(Debug, Clone)]
pub(crate) enum Judgement {
    InTheWay,
    Ask(Subject, Owner),
    Take(Taking),
}

/// What is known of one holder.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) row: TaskRow,
    is_committing: bool,
    /// Its grants that nobody has claimed yet.
    handed: Vec<WaiterRow>,
}

impl Judgement {
    pub(crate) fn grip(&self) -> Grip {
        match self {
            Self::InTheWay => Grip::Firm,
            Self::Ask(..) => Grip::Doubtful,
            Self::Take(_) => Grip::Loose,
        }
    }
}

impl Taking {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Lease { row, .. }, Self::Lease { row: other, .. }) => row.id == other.id,
            (Self::Handed(row), Self::Handed(other)) | (Self::Place(row), Self::Place(other)) => {
                row.seq == other.seq
            }
            _ => false,
        }
    }
}

impl Holder {
    pub(crate) fn read(rows: &mut dyn Rows, task: &TaskId) -> Result<Self> {
        let row = rows.task(task)?.ok_or_else(|| missing_task(task))?;
        let state = rows
            .current_transaction(task)?
            .map(|transaction| transaction.state);
        let mut handed = if rows.has_waiters()? {
            rows.waiters_of(task)?
        } else {
            Vec::new()
        };
        handed.retain(|waiter| !waiter.is_queued());
        Ok(Self {
            row,
            is_committing: state.is_some_and(|state| state != TransactionState::Open),
            handed,
        })
    }

    /// Judges a lock in its parts: what was handed over to somebody who had something of it before goes back to that when
    /// it is taken back, and no further.
    pub(crate) fn judge(
        &self,
        lock: &Lock,
        token: Token,
        now: &Now,
        evidence: &Evidence,
    ) -> Vec<(Lock, Judgement)> {
        // Somebody commits at this moment, or recovery has to finish it first.
        if self.is_committing {
            return vec![(lock.clone(), Judgement::InTheWay)];
        }
        let lease = |lock: Lock| {
            let judgement = judge_lease(&self.row, &lock.resource, now, evidence);
            (lock, judgement)
        };
        for waiter in &self.handed {
            if let Phase::Granted {
                token: own, before, ..
            } = &waiter.phase
                && *own == token
            {
                let (kept, handed) = grant::split(lock, before);
                let handed = handed.map(|lock| (lock, judge_handed(waiter, now, evidence)));
                return handed.into_iter().chain(kept.map(lease)).collect();
            }
        }
        vec![lease(lock.clone())]
    }
}

/// A grant that was handed over ends when nobody claims it in time, or when the one who waited for it died.
fn judge_handed(waiter: &WaiterRow, now: &Now, evidence: &Evidence) -> Judgement {
    match judge_place(waiter, now, evidence) {
        Judgement::Take(_) => Judgement::Take(Taking::Handed(waiter.clone())),
        other => other,
    }
}

fn judge_lease(row: &TaskRow, resource: &Resource, now: &Now, evidence: &Evidence) -> Judgement {
    match ended(row, resource, now, evidence) {
        Ended::No => Judgement::InTheWay,
        Ended::Ask => Judgement::Ask(Subject::Lease(row.id.clone()), row.owner.clone()),
        Ended::ByTime => Judgement::Take(Taking::Lease {
            row: row.clone(),
            is_dead: false,
        }),
        Ended::ByDeath => Judgement::Take(Taking::Lease {
            row: row.clone(),
            is_dead: true,
        }),
    }
}

/// A place is passed over when its time is over or its waiter died.
pub(crate) fn judge_place(waiter: &WaiterRow, now: &Now, evidence: &Evidence) -> Judgement {
    if waiter.is_over(now) {
        return Judgement::Take(Taking::Place(waiter.clone()));
    }
    match verdict(evidence, &Subject::Place(waiter.seq), &waiter.owner) {
        _ if !waiter.is_attended() => Judgement::InTheWay,
        None => Judgement::Ask(Subject::Place(waiter.seq), waiter.owner.clone()),
        Some(Verdict::Dead) => Judgement::Take(Taking::Place(waiter.clone())),
        Some(Verdict::Alive | Verdict::Unknown) => Judgement::InTheWay,
    }
}
