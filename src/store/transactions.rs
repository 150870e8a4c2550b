//! The handle's other half: what this machine is committing, and what has happened.

use crate::model::{Change, Event, RepoPath, TaskId, Token, TransactionId, TransactionState};
use crate::store::Store;
use crate::store::data::{Attempt, Decision, NewEvent, NewTransaction, Transaction, Upkeep};
use crate::store::error::{DecideError, LeaseError, StoreError};

impl Store {
    /// Opens a transaction of a task.
    pub fn open_transaction(&mut self, new: &NewTransaction) -> Result<Transaction, StoreError> {
        let now = self.host.now();
        self.parts.open_transaction(&now, new)
    }

    /// Reads a transaction.
    pub fn transaction(&mut self, id: &TransactionId) -> Result<Option<Transaction>, StoreError> {
        let now = self.host.now();
        self.parts.transaction(&now, id)
    }

    /// Reads the transaction of a task that is neither done nor rolled back.
    pub fn current_transaction(&mut self, task: &TaskId) -> Result<Option<Transaction>, StoreError> {
        let now = self.host.now();
        self.parts.current_transaction(&now, task)
    }

    /// Reads all transactions that are still known, the oldest first.
    pub fn transactions(&mut self) -> Result<Vec<Transaction>, StoreError> {
        let now = self.host.now();
        self.parts.transactions(&now)
    }

    /// Reads the transactions that recovery has work with. Cheap when there are none.
    pub fn unfinished(&mut self) -> Result<Vec<Transaction>, StoreError> {
        let now = self.host.now();
        self.parts.unfinished(&now)
    }

    /// Reads the staged changes, by path.
    pub fn changes(&mut self, id: &TransactionId) -> Result<Vec<Change>, StoreError> {
        let now = self.host.now();
        self.parts.changes(&now, id)
    }

    /// Records and removes changes of an open transaction in one act, and renews the lease.
    pub fn edit_changes(
        &mut self,
        id: &TransactionId,
        put: &[Change],
        remove: &[RepoPath],
    ) -> Result<(), LeaseError> {
        let now = self.host.now();
        let lease = self.parts.edit_changes(&now, id, put, remove)?;
        LeaseError::unless_held(lease)
    }

    /// Begins a commit attempt: `open` to `committing`. Answers the token that the decision will check.
    pub fn begin_commit(&mut self, id: &TransactionId, attempt: &Attempt) -> Result<Token, StoreError> {
        let now = self.host.now();
        self.parts.begin_commit(&now, id, attempt)
    }

    /// Decides: in one durable act the token and the write locks are checked and the transaction becomes `decided`.
    pub fn decide(&mut self, decision: &Decision<'_>) -> Result<(), DecideError> {
        let now = self.host.now();
        self.parts.decide(&now, decision)
    }

    /// Gives an attempt up durably: `committing` to `aborting`.
    pub fn abort(&mut self, id: &TransactionId) -> Result<(), StoreError> {
        let now = self.host.now();
        self.parts.advance(&now, id, TransactionState::Aborting)
    }

    /// Opens a transaction again whose attempt was given up and cleaned up.
    pub fn reopen(&mut self, id: &TransactionId) -> Result<(), StoreError> {
        let now = self.host.now();
        self.parts.advance(&now, id, TransactionState::Open)
    }

    /// Leaves a decided transaction for a human. Durable.
    pub fn to_conflict(&mut self, id: &TransactionId) -> Result<(), StoreError> {
        let now = self.host.now();
        self.parts.advance(&now, id, TransactionState::Conflict)
    }

    /// Ends a decided transaction that has been carried out: durable when it returns, its locks are free.
    pub fn finish(&mut self, id: &TransactionId) -> Result<(), StoreError> {
        self.end(id, TransactionState::Done, None)
    }

    /// Drops an open transaction with its changes, its locks and its task.
    pub fn roll_back(&mut self, id: &TransactionId) -> Result<(), StoreError> {
        self.end(id, TransactionState::RolledBack, None)
    }

    /// The same, and the history tells why.
    pub fn roll_back_because(&mut self, id: &TransactionId, why: &str) -> Result<(), StoreError> {
        self.end(id, TransactionState::RolledBack, Some(why))
    }

    fn end(
        &mut self,
        id: &TransactionId,
        to: TransactionState,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let now = self.host.now();
        let wake = self.parts.end(&now, id, to, reason)?;
        self.ring(wake);
        Ok(())
    }

    /// Forgets what a transaction that has ended was about. That it was committed stays known as long as the history
    /// is: git may still tell what it changed.
    pub fn forget(&mut self, id: &TransactionId) -> Result<(), StoreError> {
        let now = self.host.now();
        self.parts.forget(&now, id)
    }

    /// Adds a line to the history.
    pub fn record(&mut self, event: &NewEvent) -> Result<(), StoreError> {
        let now = self.host.now();
        self.parts.record(&now, event)
    }

    /// Reads the history after a place in it, the oldest first.
    pub fn events(&mut self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.parts.events(after, limit)
    }

    /// Reads the history before a place in it, the newest first.
    pub fn events_before(&mut self, before: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.parts.events_before(before, limit)
    }

    /// Returns the place of the newest line of the history; 0 when it is empty.
    pub fn last_event(&mut self) -> Result<u64, StoreError> {
        self.parts.last_event()
    }

    /// Does one bounded piece of work on the history. Answers how many lines or rows it was about; 0 means that there is
    /// nothing left to do.
    pub fn upkeep(&mut self, what: &Upkeep) -> Result<usize, StoreError> {
        self.parts.upkeep(what)
    }

    /// Tells how much room the history takes, in bytes, nearly.
    pub fn history_bytes(&mut self) -> Result<u64, StoreError> {
        self.parts.history_bytes()
    }
}
