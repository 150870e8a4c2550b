//! The rows of the lock rules in maps.

use crate::model::{
    Change, Event, Lock, LockSet, Now, RepoPath, Resource, TaskId, Ticket, Token, TransactionId,
    TransactionState,
};
use crate::store::data::{HeldLock, NewEvent, Transaction};
use crate::store::error::StoreError;
use crate::store::memory::{State, is_conflicting, is_conflicting_in_line};
use crate::store::rows::{End, LockRow, Part, Rows, TaskRow, WaiterRow};

type Result<T> = std::result::Result<T, StoreError>;

/// The maps inside one act.
pub(super) struct MemoryRows<'a> {
    pub(super) state: &'a mut State,
    pub(super) now: &'a Now,
}

impl Rows for MemoryRows<'_> {
    fn now(&self) -> &Now {
        self.now
    }

    fn next_token(&mut self) -> Result<Token> {
        self.state.token += 1;
        Ok(Token::new(self.state.token))
    }

    fn task(&mut self, id: &TaskId) -> Result<Option<TaskRow>> {
        Ok(self.state.tasks.get(id).cloned())
    }

    fn tasks(&mut self) -> Result<Vec<TaskRow>> {
        Ok(self.state.tasks.values().cloned().collect())
    }

    fn put_task(&mut self, row: &TaskRow) -> Result<()> {
        self.state.tasks.insert(row.id.clone(), row.clone());
        Ok(())
    }

    fn touch_task(&mut self, id: &TaskId, renewed_ns: i64) -> Result<()> {
        if let Some(row) = self.task(id)? {
            self.put_task(&TaskRow { renewed_ns, ..row })?;
        }
        Ok(())
    }

    fn delete_task(&mut self, id: &TaskId) -> Result<()> {
        self.state.tasks.remove(id);
        Ok(())
    }

    fn locks_of(&mut self, task: &TaskId) -> Result<Vec<HeldLock>> {
        let own = self.state.locks.iter().filter(|((holder, _), _)| holder == task);
        let held = own.map(|((_, resource), (mode, token))| HeldLock {
            lock: Lock {
                resource: resource.clone(),
                mode: *mode,
            },
            token: *token,
        });
        Ok(held.collect())
    }

    fn put_lock(&mut self, task: &TaskId, lock: &Lock, token: Token) -> Result<()> {
        self.state
            .locks
            .insert((task.clone(), lock.resource.clone()), (lock.mode, token));
        Ok(())
    }

    fn delete_lock(&mut self, task: &TaskId, resource: &Resource) -> Result<()> {
        self.state.locks.remove(&(task.clone(), resource.clone()));
        Ok(())
    }

    fn delete_locks_of(&mut self, task: &TaskId) -> Result<()> {
        self.state.locks.remove_where(|(holder, _), _| holder == task);
        Ok(())
    }

    fn conflicting(
        &mut self,
        wants: &LockSet,
        except: Option<&TaskId>,
        limit: Option<usize>,
    ) -> Result<Vec<LockRow>> {
        let others = self
            .state
            .locks
            .iter()
            .filter(|((task, _), _)| except.is_none_or(|own| own != task));
        let rows = others.map(|((task, resource), (mode, token))| LockRow {
            task: task.clone(),
            lock: Lock {
                resource: resource.clone(),
                mode: *mode,
            },
            token: *token,
        });
        Ok(rows
            .filter(|row| is_conflicting(wants, &row.lock))
            .take(limit.unwrap_or(usize::MAX))
            .collect())
    }

    fn has_waiters(&mut self) -> Result<bool> {
        Ok(!self.state.waiters.is_empty())
    }

    fn waiters(&mut self) -> Result<Vec<WaiterRow>> {
        Ok(self.state.waiters.values().cloned().collect())
    }

    fn waiter(&mut self, ticket: Ticket) -> Result<Option<WaiterRow>> {
        Ok(self
            .state
            .waiters
            .values()
            .find(|row| row.ticket == ticket)
            .cloned())
    }

    fn waiter_at(&mut self, seq: u64) -> Result<Option<WaiterRow>> {
        Ok(self.state.waiters.get(&seq).cloned())
    }

    fn waiters_of(&mut self, task: &TaskId) -> Result<Vec<WaiterRow>> {
        Ok(self
            .state
            .waiters
            .values()
            .filter(|row| row.task == *task)
            .cloned()
            .collect())
    }

    fn conflicting_places(&mut self, wants: &LockSet, part: Part) -> Result<Vec<u64>> {
        let queued = self
            .state
            .waiters
            .iter()
            .filter(|(seq, row)| **seq > part.after && **seq < part.before && row.is_queued());
        let conflicting = queued.filter(|(_, row)| is_conflicting_in_line(wants, &row.wants));
        let mut places: Vec<u64> = conflicting.map(|(seq, _)| *seq).collect();
        let superfluous = places.len().saturating_sub(part.limit);
        match part.from {
            End::First => places.truncate(part.limit),
            End::Last => drop(places.drain(..superfluous)),
        }
        Ok(places)
    }

    fn queue(&mut self, row: &WaiterRow) -> Result<()> {
        self.state.seq += 1;
        let seq = self.state.seq;
        self.state.waiters.insert(seq, WaiterRow { seq, ..row.clone() });
        Ok(())
    }

    fn update_waiter(&mut self, row: &WaiterRow) -> Result<()> {
        self.state.waiters.insert(row.seq, row.clone());
        Ok(())
    }

    fn delete_waiter(&mut self, row: &WaiterRow) -> Result<()> {
        self.state.waiters.remove(&row.seq);
        Ok(())
    }

    fn transaction(&mut self, id: &TransactionId) -> Result<Option<Transaction>> {
        Ok(self.state.transactions.get(id).cloned())
    }

    fn transactions(&mut self) -> Result<Vec<Transaction>> {
        Ok(self.state.transactions.values().cloned().collect())
    }

    fn current_transaction(&mut self, task: &TaskId) -> Result<Option<Transaction>> {
        let is_over = |state| matches!(state, TransactionState::Done | TransactionState::RolledBack);
        let mut own = self
            .state
            .transactions
            .values()
            .filter(|transaction| transaction.task == *task);
        Ok(own.find(|transaction| !is_over(transaction.state)).cloned())
    }

    fn put_transaction(&mut self, row: &Transaction) -> Result<()> {
        self.state.transactions.insert(row.id, row.clone());
        Ok(())
    }

    fn delete_transaction(&mut self, id: &TransactionId) -> Result<()> {
        self.state.transactions.remove(id);
        Ok(())
    }

    fn changes(&mut self, transaction: &TransactionId) -> Result<Vec<Change>> {
        let own = self.state.changes.iter().filter(|((of, _), _)| of == transaction);
        Ok(own.map(|(_, change)| change.clone()).collect())
    }

    fn put_change(&mut self, transaction: &TransactionId, change: &Change) -> Result<()> {
        self.state
            .changes
            .insert((*transaction, change.path.clone()), change.clone());
        Ok(())
    }

    fn delete_change(&mut self, transaction: &TransactionId, path: &RepoPath) -> Result<()> {
        self.state.changes.remove(&(*transaction, path.clone()));
        Ok(())
    }

    fn delete_changes(&mut self, transaction: &TransactionId) -> Result<()> {
        self.state.changes.remove_where(|(of, _), _| of == transaction);
        Ok(())
    }

    fn event(&mut self, event: &NewEvent) -> Result<()> {
        self.state.event_seq += 1;
        let seq = self.state.event_seq;
        let NewEvent {
            kind,
            task,
            transaction,
            resource,
            token,
            reason,
            details,
        } = event.clone();
        let at = self.now.wall;
        self.state.events.insert(
            seq,
            Event {
                seq,
                at,
                kind,
                task,
                transaction,
                resource,
                token,
                reason,
                details,
            },
        );
        Ok(())
    }
}
