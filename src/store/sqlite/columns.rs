//! How rows stand in columns: what is selected, and how it is read.

use rusqlite::Row;

use crate::model::{Change, LockSet, RepoPath, Resource, Share, Ticket, TransactionId, WallTime};
use crate::store::data::Transaction;
use crate::store::rows::{LockRow, Phase, TaskRow, WaiterRow};
use crate::store::sqlite::text::{self, from_json, from_json_if_any, object, parsed, to_json, token_number};

pub(super) const TASK: &str =
    "SELECT id, token, owner, ttl, max_hold, renewed, reason, metadata, since, lost FROM task";
pub(super) const TRANSACTION: &str =
    "SELECT id, task, state, branch, target, base, token, ref, old, new, manifest, began FROM txn";
pub(super) const WAITER: &str =
    "SELECT seq, ticket, task, owner, since, until, phase, token, upgraded, absent, shares FROM waiter";

pub(super) fn seq_number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

pub(super) fn task_row(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
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

pub(super) fn transaction_row(row: &Row<'_>) -> rusqlite::Result<Transaction> {
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

pub(super) fn waiter_row(row: &Row<'_>) -> rusqlite::Result<WaiterRow> {
    let phase = match row.get_ref(6)?.as_str()? {
        "waiting" => Phase::Waiting,
        "away" => Phase::Away,
        "granted" => Phase::Granted {
            token: text::token(row, 7)?,
            before: resources(from_json_if_any(row, 8)?.unwrap_or_default())?,
            absent: row.get(9)?,
        },
        _ => return Err(text::nonsense(6, "a phase")),
    };
    Ok(WaiterRow {
        seq: text::token(row, 0)?.get(),
        ticket: Ticket::from_bytes(row.get(1)?),
        task: parsed(row, 2)?,
        wants: shares(row)?,
        owner: from_json(row, 3)?,
        since: WallTime { ms: row.get(4)? },
        phase,
        until_ns: row.get(5)?,
    })
}

fn resources(parts: Vec<(String, Vec<u8>)>) -> rusqlite::Result<Vec<Resource>> {
    let resources = parts
        .into_iter()
        .map(|(letter, key)| Resource::from_parts(&letter, key));
    resources
        .collect::<Option<_>>()
        .ok_or_else(|| text::nonsense(8, "resources"))
}

/// The shares of a request. Its locks stand in a table of their own.
fn shares(row: &Row<'_>) -> rusqlite::Result<LockSet> {
    let mut wants = LockSet::new();
    let shares: Option<Vec<Share>> = from_json_if_any(row, 10)?;
    shares.into_iter().flatten().for_each(|share| wants.share(share));
    Ok(wants)
}

pub(super) fn shares_column(wants: &LockSet) -> Option<String> {
    let shares: Vec<&Share> = wants.shares().collect();
    (!shares.is_empty()).then(|| to_json(&shares))
}

/// The four columns of a phase.
pub(super) fn phase_columns(phase: &Phase) -> (&'static str, Option<i64>, Option<String>, bool) {
    match phase {
        Phase::Waiting => ("waiting", None, None, false),
        Phase::Away => ("away", None, None, false),
        Phase::Granted {
            token,
            before,
            absent,
        } => {
            let parts: Vec<_> = before
                .iter()
                .map(|resource| (resource.letter(), resource.key()))
                .collect();
            let before = (!parts.is_empty()).then(|| to_json(&parts));
            ("granted", Some(token_number(*token)), before, *absent)
        }
    }
}

pub(super) fn change_row(row: &Row<'_>) -> rusqlite::Result<Change> {
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

pub(super) fn lock_row(row: &Row<'_>) -> rusqlite::Result<LockRow> {
    Ok(LockRow {
        lock: text::lock(row, 0)?,
        token: text::token(row, 3)?,
        task: parsed(row, 4)?,
    })
}
