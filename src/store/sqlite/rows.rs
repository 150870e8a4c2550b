//! The rows of the lock rules as SQL. One prepared statement per question, kept for the life of the connection.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rusqlite::params;

use crate::model::{Change, Lock, LockSet, Now, RepoPath, Resource, TaskId, Ticket, Token, TransactionId};
use crate::store::data::{HeldLock, NewEvent, Transaction};
use crate::store::error::StoreError;
use crate::store::rows::{LockRow, Part, Rows, TaskRow, WaiterRow};
use crate::store::sqlite::columns::{
    TASK, TRANSACTION, WAITER, change_row, lock_row, phase_columns, seq_number, shares_column, task_row,
    transaction_row, waiter_row,
};
use crate::store::sqlite::overlap;
use crate::store::sqlite::places;
use crate::store::sqlite::statements::SqlRows;
use crate::store::sqlite::text::{self, mode_number, namespace, to_json, token_number};

type Result<T> = std::result::Result<T, StoreError>;

impl Rows for SqlRows<'_> {
    fn now(&self) -> &Now {
        self.now
    }

    fn next_token(&mut self) -> Result<Token> {
        let token = self.one(
            "UPDATE counter SET token = token + 1 RETURNING token",
            [],
            |row| text::token(row, 0),
        )?;
        token.ok_or_else(|| StoreError::Damaged("there is no token counter".to_owned()))
    }

    fn task(&mut self, id: &TaskId) -> Result<Option<TaskRow>> {
        self.one(&format!("{TASK} WHERE id = ?1"), [id.as_str()], task_row)
    }

    fn tasks(&mut self) -> Result<Vec<TaskRow>> {
        self.many(&format!("{TASK} ORDER BY id"), [], task_row)
    }

    fn put_task(&mut self, row: &TaskRow) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO task (id, token, owner, ttl, max_hold, renewed, reason, metadata, since, lost)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                row.id.as_str(),
                token_number(row.token),
                to_json(&row.owner),
                row.ttl_ns,
                row.max_hold_ns,
                row.renewed_ns,
                row.reason,
                to_json(&row.metadata),
                row.since.ms,
                row.lost,
            ],
        )
    }

    fn touch_task(&mut self, id: &TaskId, renewed_ns: i64) -> Result<()> {
        self.run(
            "UPDATE task SET renewed = ?2 WHERE id = ?1",
            params![id.as_str(), renewed_ns],
        )
    }

    fn delete_task(&mut self, id: &TaskId) -> Result<()> {
        self.run("DELETE FROM task WHERE id = ?1", [id.as_str()])
    }

    fn locks_of(&mut self, task: &TaskId) -> Result<Vec<HeldLock>> {
        let mut locks = self.many(
            "SELECT kind, res, mode, token FROM lock WHERE task = ?1",
            [task.as_str()],
            |row| {
                Ok(HeldLock {
                    lock: text::lock(row, 0)?,
                    token: text::token(row, 3)?,
                })
            },
        )?;
        locks.sort_by(|a, b| a.lock.cmp(&b.lock));
        Ok(locks)
    }

    fn put_lock(&mut self, task: &TaskId, lock: &Lock, token: Token) -> Result<()> {
        let resource = &lock.resource;
        self.run(
            "INSERT OR REPLACE INTO lock (ns, res, kind, task, mode, token) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                namespace(resource),
                resource.key(),
                resource.letter(),
                task.as_str(),
                mode_number(lock.mode),
                token_number(token)
            ],
        )
    }

    fn delete_lock(&mut self, task: &TaskId, resource: &Resource) -> Result<()> {
        self.run(
            "DELETE FROM lock WHERE ns = ?1 AND res = ?2 AND kind = ?3 AND task = ?4",
            params![
                namespace(resource),
                resource.key(),
                resource.letter(),
                task.as_str()
            ],
        )
    }

    fn delete_locks_of(&mut self, task: &TaskId) -> Result<()> {
        self.run("DELETE FROM lock WHERE task = ?1", [task.as_str()])
    }

    fn conflicting(
        &mut self,
        wants: &LockSet,
        except: Option<&TaskId>,
        limit: Option<usize>,
    ) -> Result<Vec<LockRow>> {
        let limit = limit.unwrap_or(usize::MAX);
        let mut found = BTreeMap::new();
        overlap::for_each(self.connection, overlap::LOCKS, &mut wants.iter(), &mut |row| {
            let is_own =
                except.is_some_and(|own| row.get_ref(4).is_ok_and(|task| task.as_str() == Ok(own.as_str())));
            if !is_own {
                let row = lock_row(row)?;
                found.insert((row.task.clone(), row.lock.clone()), row);
            }
            Ok(if found.len() >= limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        Ok(found.into_values().collect())
    }

    fn has_waiters(&mut self) -> Result<bool> {
        Ok(self
            .one("SELECT 1 FROM waiter LIMIT 1", [], |_| Ok(()))?
            .is_some())
    }

    fn waiters(&mut self) -> Result<Vec<WaiterRow>> {
        let rows = self.many(&format!("{WAITER} ORDER BY seq"), [], waiter_row)?;
        rows.into_iter().map(|row| self.with_wants(row)).collect()
    }

    fn waiter(&mut self, ticket: Ticket) -> Result<Option<WaiterRow>> {
        let row = self.one(
            &format!("{WAITER} WHERE ticket = ?1"),
            [ticket.as_bytes()],
            waiter_row,
        )?;
        row.map(|row| self.with_wants(row)).transpose()
    }

    fn waiter_at(&mut self, seq: u64) -> Result<Option<WaiterRow>> {
        let row = self.one(&format!("{WAITER} WHERE seq = ?1"), [seq_number(seq)], waiter_row)?;
        row.map(|row| self.with_wants(row)).transpose()
    }

    fn waiters_of(&mut self, task: &TaskId) -> Result<Vec<WaiterRow>> {
        let statement = format!("{WAITER} WHERE task = ?1 ORDER BY seq");
        let rows = self.many(&statement, [task.as_str()], waiter_row)?;
        rows.into_iter().map(|row| self.with_wants(row)).collect()
    }

    fn conflicting_places(&mut self, wants: &LockSet, part: Part) -> Result<Vec<u64>> {
        places::conflicting(self.connection, &mut wants.in_line(), part)
    }

    fn queue(&mut self, row: &WaiterRow) -> Result<()> {
        let (phase, token, before, absent) = phase_columns(&row.phase);
        self.run(
            "INSERT INTO waiter (ticket, task, owner, since, until, phase, token, upgraded, absent, shares)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                row.ticket.as_bytes(),
                row.task.as_str(),
                to_json(&row.owner),
                row.since.ms,
                row.until_ns,
                phase,
                token,
                before,
                absent,
                shares_column(&row.wants)
            ],
        )?;
        let seq = self.connection.last_insert_rowid();
        for lock in row.wants.in_line() {
            let resource = &lock.resource;
            self.run(
                "INSERT INTO want (ns, res, kind, seq, mode) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    namespace(resource),
                    resource.key(),
                    resource.letter(),
                    seq,
                    mode_number(lock.mode)
                ],
            )?;
        }
        Ok(())
    }

    fn update_waiter(&mut self, row: &WaiterRow) -> Result<()> {
        let (phase, token, before, absent) = phase_columns(&row.phase);
        self.run(
            "UPDATE waiter SET ticket = ?2, owner = ?3, until = ?4, phase = ?5, token = ?6, upgraded = ?7, absent = ?8
             WHERE seq = ?1",
            params![
                seq_number(row.seq),
                row.ticket.as_bytes(),
                to_json(&row.owner),
                row.until_ns,
                phase,
                token,
                before,
                absent
            ],
        )
    }

    fn delete_waiter(&mut self, row: &WaiterRow) -> Result<()> {
        self.run("DELETE FROM want WHERE seq = ?1", [seq_number(row.seq)])?;
        self.run("DELETE FROM waiter WHERE seq = ?1", [seq_number(row.seq)])
    }

    fn transaction(&mut self, id: &TransactionId) -> Result<Option<Transaction>> {
        self.one(
            &format!("{TRANSACTION} WHERE id = ?1"),
            [id.as_bytes()],
            transaction_row,
        )
    }

    fn transactions(&mut self) -> Result<Vec<Transaction>> {
        self.many(&format!("{TRANSACTION} ORDER BY id"), [], transaction_row)
    }

    fn current_transaction(&mut self, task: &TaskId) -> Result<Option<Transaction>> {
        let statement = format!("{TRANSACTION} WHERE task = ?1 AND state NOT IN ('done', 'rolled-back')");
        self.one(&statement, [task.as_str()], transaction_row)
    }

    fn put_transaction(&mut self, row: &Transaction) -> Result<()> {
        self.run(
            "INSERT INTO txn (id, task, state, branch, target, base, token, ref, old, new, manifest, began)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (id) DO UPDATE SET state = ?3, token = ?7, ref = ?8, old = ?9, new = ?10, manifest = ?11",
            params![
                row.id.as_bytes(),
                row.task.as_str(),
                row.state.as_str(),
                row.branch,
                row.target,
                row.base.map(|id| *id.as_bytes()),
                row.token.map(token_number),
                row.reference,
                row.old.map(|id| *id.as_bytes()),
                row.new.map(|id| *id.as_bytes()),
                row.manifest.map(|digest| *digest.as_bytes()),
                row.began.ms,
            ],
        )
    }

    fn delete_transaction(&mut self, id: &TransactionId) -> Result<()> {
        self.run("DELETE FROM txn WHERE id = ?1", [id.as_bytes()])
    }

    fn changes(&mut self, transaction: &TransactionId) -> Result<Vec<Change>> {
        self.many(
            "SELECT path, post, base, slot, moved_from, moved_to FROM change WHERE txn = ?1 ORDER BY path",
            [transaction.as_bytes()],
            change_row,
        )
    }

    fn put_change(&mut self, transaction: &TransactionId, change: &Change) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO change (txn, path, post, base, slot, moved_from, moved_to)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                transaction.as_bytes(),
                change.path.as_bytes(),
                change.post.as_ref().map(to_json),
                change.base.as_ref().map(to_json),
                change.slot,
                change.moved_from.as_ref().map(RepoPath::as_bytes),
                change.moved_to.as_ref().map(RepoPath::as_bytes),
            ],
        )
    }

    fn delete_change(&mut self, transaction: &TransactionId, path: &RepoPath) -> Result<()> {
        self.run(
            "DELETE FROM change WHERE txn = ?1 AND path = ?2",
            params![transaction.as_bytes(), path.as_bytes()],
        )
    }

    fn delete_changes(&mut self, transaction: &TransactionId) -> Result<()> {
        self.run("DELETE FROM change WHERE txn = ?1", [transaction.as_bytes()])
    }

    fn event(&mut self, event: &NewEvent) -> Result<()> {
        self.run(
            "INSERT INTO event (at, kind, task, txn, resource, token, reason, details)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                self.now.wall.ms,
                event.kind.as_str(),
                event.task.as_ref().map(TaskId::as_str),
                event.transaction.as_ref().map(TransactionId::as_bytes),
                event.resource,
                event.token.map(token_number),
                event.reason,
                if event.details.is_empty() {
                    None
                } else {
                    Some(to_json(&event.details))
                },
            ],
        )
    }
}
