//! The rows of the lock rules as SQL. One prepared statement per question, kept for the life of the connection.

use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};

use crate::model::{
    Change, Lock, LockSet, Now, RepoPath, Resource, TaskId, Ticket, Token, TransactionId, WallTime,
};
use crate::store::data::{HeldLock, NewEvent, Transaction};
use crate::store::error::StoreError;
use crate::store::rows::{LockRow, Phase, Rows, TaskRow, WaiterRow};
use crate::store::sqlite::text::{
    self, from_json, from_json_if_any, mode_number, namespace, object, parsed, to_json, token_number,
};
use crate::store::sqlite::{database, overlap};

type Result<T> = std::result::Result<T, StoreError>;

const TASK: &str = "SELECT id, token, owner, ttl, max_hold, renewed, reason, metadata, since, lost FROM task";
const TRANSACTION: &str =
    "SELECT id, task, state, branch, target, base, token, ref, old, new, manifest, began FROM txn";
const WAITER: &str = "SELECT seq, ticket, task, owner, since, phase, token, until FROM waiter";

/// The rows of one connection inside one act.
pub(super) struct SqlRows<'a> {
    connection: &'a Connection,
    now: &'a Now,
}

impl<'a> SqlRows<'a> {
    pub(super) fn new(connection: &'a Connection, now: &'a Now) -> Self {
        Self { connection, now }
    }

    fn run(&self, statement: &str, values: impl Params) -> Result<()> {
        let prepared = self.connection.prepare_cached(statement);
        prepared
            .and_then(|mut prepared| prepared.execute(values))
            .map(|_| ())
            .map_err(database("writing a row"))
    }

    fn one<T>(
        &self,
        statement: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let prepared = self.connection.prepare_cached(statement);
        prepared
            .and_then(|mut prepared| prepared.query_row(values, read).optional())
            .map_err(database("reading a row"))
    }

    fn many<T>(
        &self,
        statement: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let prepared = self.connection.prepare_cached(statement);
        prepared
            .and_then(|mut prepared| prepared.query_map(values, read)?.collect())
            .map_err(database("reading rows"))
    }

    fn with_wants(&self, mut row: WaiterRow) -> Result<WaiterRow> {
        let locks = self.many(
            "SELECT kind, res, mode FROM want WHERE seq = ?1",
            [seq_number(row.seq)],
            |found| text::lock(found, 0),
        )?;
        row.wants = locks.into_iter().collect();
        Ok(row)
    }
}

fn seq_number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn task_row(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    Ok(TaskRow {
        id: parsed(row, 0)?,
        token: text::token(row, 1)?,
        owner: from_json(row, 2)?,
        ttl_ns: row.get(3)?,
        max_hold_ns: row.get(4)?,
        renewed_ns: row.get(5)?,
        reason: row.get(6)?,
        metadata: from_json(row, 7)?,
        since: WallTime { ms: row.get(8)? },
        lost: row.get(9)?,
    })
}

fn transaction_row(row: &Row<'_>) -> rusqlite::Result<Transaction> {
    Ok(Transaction {
        id: TransactionId::from_bytes(row.get(0)?),
        task: parsed(row, 1)?,
        state: parsed(row, 2)?,
        branch: row.get(3)?,
        target: row.get(4)?,
        base: object(row, 5)?,
        token: row
            .get::<_, Option<i64>>(6)?
            .map(|_| text::token(row, 6))
            .transpose()?,
        reference: row.get(7)?,
        old: object(row, 8)?,
        new: object(row, 9)?,
        manifest: row
            .get::<_, Option<[u8; 32]>>(10)?
            .map(crate::model::Digest::from_bytes),
        began: WallTime { ms: row.get(11)? },
    })
}

fn waiter_row(row: &Row<'_>) -> rusqlite::Result<WaiterRow> {
    let until_ns = row.get::<_, Option<i64>>(7)?.unwrap_or(0);
    let phase = match row.get_ref(5)?.as_str()? {
        "waiting" => Phase::Waiting,
        "away" => Phase::Away { until_ns },
        "granted" => Phase::Granted {
            token: text::token(row, 6)?,
            until_ns,
        },
        _ => return Err(text::nonsense(5, "a phase")),
    };
    Ok(WaiterRow {
        seq: text::token(row, 0)?.get(),
        ticket: Ticket::from_bytes(row.get(1)?),
        task: parsed(row, 2)?,
        wants: LockSet::new(),
        owner: from_json(row, 3)?,
        since: WallTime { ms: row.get(4)? },
        phase,
    })
}

/// The three columns of a phase.
fn phase_columns(phase: Phase) -> (&'static str, Option<i64>, Option<i64>) {
    match phase {
        Phase::Waiting => ("waiting", None, None),
        Phase::Away { until_ns } => ("away", None, Some(until_ns)),
        Phase::Granted { token, until_ns } => ("granted", Some(token_number(token)), Some(until_ns)),
    }
}

fn change_row(row: &Row<'_>) -> rusqlite::Result<Change> {
    let path = |at: usize| -> rusqlite::Result<Option<RepoPath>> {
        let bytes: Option<Vec<u8>> = row.get(at)?;
        bytes
            .map(|bytes| RepoPath::new(bytes).map_err(|_| text::nonsense(at, "a path")))
            .transpose()
    };
    Ok(Change {
        path: path(0)?.ok_or_else(|| text::nonsense(0, "a path"))?,
        post: from_json_if_any(row, 1)?,
        base: from_json_if_any(row, 2)?,
        slot: row.get(3)?,
        moved_from: path(4)?,
        moved_to: path(5)?,
    })
}

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

    fn overlapping(&mut self, wants: &LockSet, except: Option<&TaskId>) -> Result<Vec<LockRow>> {
        let mut found = Vec::new();
        overlap::for_each(self.connection, overlap::LOCKS, wants, &mut |row| {
            if except.is_none_or(|own| row.get_ref(4).is_ok_and(|task| task.as_str() != Ok(own.as_str()))) {
                found.push(lock_row(row)?);
            }
            Ok(())
        })?;
        found.sort_by(|a: &LockRow, b| (&a.task, &a.lock).cmp(&(&b.task, &b.lock)));
        found.dedup();
        Ok(found)
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

    fn waiter_of(&mut self, task: &TaskId) -> Result<Option<WaiterRow>> {
        let row = self.one(&format!("{WAITER} WHERE task = ?1"), [task.as_str()], waiter_row)?;
        row.map(|row| self.with_wants(row)).transpose()
    }

    fn waiters_overlapping(&mut self, wants: &LockSet) -> Result<Vec<WaiterRow>> {
        let mut places = std::collections::BTreeSet::new();
        overlap::for_each(self.connection, overlap::WANTS, wants, &mut |row| {
            places.insert(row.get::<_, i64>(3)?);
            Ok(())
        })?;
        let mut found = Vec::with_capacity(places.len());
        for seq in places {
            let row = self.one(&format!("{WAITER} WHERE seq = ?1"), [seq], waiter_row)?;
            let row =
                row.ok_or_else(|| StoreError::Damaged(format!("place {seq} of the queue has no waiter")))?;
            found.push(self.with_wants(row)?);
        }
        Ok(found)
    }

    fn queue(&mut self, row: &WaiterRow) -> Result<()> {
        let (phase, token, until) = phase_columns(row.phase);
        self.run(
            "INSERT INTO waiter (ticket, task, owner, since, phase, token, until) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                row.ticket.as_bytes(),
                row.task.as_str(),
                to_json(&row.owner),
                row.since.ms,
                phase,
                token,
                until
            ],
        )?;
        let seq = self.connection.last_insert_rowid();
        for lock in row.wants.iter() {
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
        let (phase, token, until) = phase_columns(row.phase);
        self.run(
            "UPDATE waiter SET ticket = ?2, owner = ?3, phase = ?4, token = ?5, until = ?6 WHERE seq = ?1",
            params![
                seq_number(row.seq),
                row.ticket.as_bytes(),
                to_json(&row.owner),
                phase,
                token,
                until
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

fn lock_row(row: &Row<'_>) -> rusqlite::Result<LockRow> {
    Ok(LockRow {
        lock: text::lock(row, 0)?,
        token: text::token(row, 3)?,
        task: parsed(row, 4)?,
    })
}
