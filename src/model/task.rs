//! The states of a transaction, and the one table of steps between them, used live and on recovery.

use std::fmt;
use std::str::FromStr;

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionState {
    /// It collects changes. Nothing is visible.
    Open,
    /// A commit attempt is under way. Nothing is visible, and nothing is decided.
    Committing,
    /// The attempt was given up, durably: whatever stands in a log, it must not count as decided any more.
    Aborting,
    /// The commit point has passed. From here the only way is forward.
    Decided,
    /// Applied on this machine, not yet published where a shared store says it must be.
    Landed,
    /// Applied, and everything released.
    Done,
    /// Dropped before any decision.
    RolledBack,
    /// Decided, but somebody forced the target elsewhere before it was applied: a human has to choose.
    Conflict,
}

/// A step that the table does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("A transaction cannot go from {from} to {to}")]
pub struct IllegalStep {
    /// Where it stands.
    pub from: TransactionState,
    /// Where it was sent.
    pub to: TransactionState,
}

impl TransactionState {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Open,
        Self::Committing,
        Self::Aborting,
        Self::Decided,
        Self::Landed,
        Self::Done,
        Self::RolledBack,
        Self::Conflict,
    ];

    /// Checks the step from `self` to `to`.
    pub fn step(self, to: Self) -> Result<(), IllegalStep> {
        use TransactionState as S;
        let legal = matches!(
            (self, to),
            (S::Open, S::Committing | S::RolledBack)
                | (S::Committing, S::Open | S::Aborting | S::Decided)
                | (S::Aborting, S::Open)
                | (S::Decided, S::Landed | S::Done | S::Conflict)
                | (S::Landed, S::Done)
                // A human chooses: to complete it after all, or to give it up.
                | (S::Conflict, S::Done | S::RolledBack)
        );
        if legal {
            Ok(())
        } else {
            Err(IllegalStep { from: self, to })
        }
    }

    /// Tells whether recovery has work to do.
    pub fn is_unfinished(self) -> bool {
        matches!(
            self,
            Self::Committing | Self::Aborting | Self::Decided | Self::Landed
        )
    }

    /// Returns the word that the registry and people see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Committing => "committing",
            Self::Aborting => "aborting",
            Self::Decided => "decided",
            Self::Landed => "landed",
            Self::Done => "done",
            Self::RolledBack => "rolled-back",
            Self::Conflict => "conflict",
        }
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TransactionState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::TransactionState as S;

    #[test]
    fn after_the_decision_the_only_way_is_forward() {
        let mut reachable = vec![S::Decided];
        for _ in S::ALL {
            let next: Vec<S> = S::ALL
                .into_iter()
                .filter(|to| !reachable.contains(to) && reachable.iter().any(|from| from.step(*to).is_ok()))
                .collect();
            reachable.extend(next);
        }
        for early in [S::Open, S::Committing, S::Aborting] {
            assert!(!reachable.contains(&early), "{early}");
        }
        // Only a human gives a decided commit up, and only one that is in conflict.
        for from in [S::Decided, S::Landed, S::Done] {
            assert!(from.step(S::RolledBack).is_err(), "{from}");
        }
    }

    #[test]
    fn words_round_trip() {
        for state in S::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}
