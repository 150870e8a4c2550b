//! The tables that are read without an act: the counter, the history, what recovery looks for.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::model::{Event, Now, TransactionId, WallTime};
use crate::store::error::StoreError;
use crate::store::sqlite::{database, text};

type Result<T> = std::result::Result<T, StoreError>;

/// Reads the token counter, its durable bound, and the boot it belongs to.
pub(super) fn counter(connection: &Connection) -> Result<(u64, u64, String)> {
    let read = || {
        let mut statement = connection.prepare_cached("SELECT token, token_durable, boot FROM counter")?;
        statement.query_row([], |row| {
            Ok((
                text::token(row, 0)?.get(),
                text::token(row, 1)?.get(),
                row.get(2)?,
            ))
        })
    };
    read().map_err(database("reading the token counter"))
}

/// Reads the name that the registry was given when it was made.
pub(super) fn identity(connection: &Connection) -> Result<String> {
    connection
        .query_row("SELECT repository FROM counter", [], |row| row.get(0))
        .map_err(database("reading whose registry it is"))
}

/// Sets the counter and makes it the durable bound. The caller syncs.
pub(super) fn set_counter(connection: &Connection, token: u64, now: &Now) -> Result<()> {
    let number =
        i64::try_from(token).map_err(|_| StoreError::Damaged("the token counter overflowed".to_owned()))?;
    connection
        .execute(
            "UPDATE counter SET token = ?1, token_durable = ?1, boot = ?2",
            params![number, now.boot.as_str()],
        )
        .map(|_| ())
        .map_err(database("raising the token counter"))
}

pub(super) fn unfinished(connection: &Connection) -> Result<Vec<TransactionId>> {
    let read = || {
        let mut statement = connection.prepare_cached(
            "SELECT id FROM txn WHERE state IN ('committing', 'aborting', 'decided', 'landed') ORDER BY id",
        )?;
        let ids = statement.query_map([], |row| Ok(TransactionId::from_bytes(row.get(0)?)))?;
        ids.collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(database("looking for unfinished transactions"))
}

pub(super) fn events(connection: &Connection, after: u64, limit: usize) -> Result<Vec<Event>> {
    let read = || {
        let mut statement = connection.prepare_cached(
            "SELECT seq, at, kind, task, txn, resource, token, reason, details FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        statement
            .query_map(params![after, limit], event)?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(database("reading the history"))
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        seq: text::token(row, 0)?.get(),
        at: WallTime { ms: row.get(1)? },
        kind: text::parsed(row, 2)?,
        task: row
            .get::<_, Option<String>>(3)?
            .map(|_| text::parsed(row, 3))
            .transpose()?,
        transaction: row.get::<_, Option<[u8; 16]>>(4)?.map(TransactionId::from_bytes),
        resource: row.get(5)?,
        token: row
            .get::<_, Option<i64>>(6)?
            .map(|_| text::token(row, 6))
            .transpose()?,
        reason: row.get(7)?,
        details: text::from_json_if_any(row, 8)?.unwrap_or_default(),
    })
}

pub(super) fn last_event(connection: &Connection) -> Result<u64> {
    let read = || {
        let mut statement = connection.prepare_cached("SELECT seq FROM event ORDER BY seq DESC LIMIT 1")?;
        statement.query_row([], |row| text::token(row, 0)).optional()
    };
    Ok(read()
        .map_err(database("reading the history"))?
        .map_or(0, crate::model::Token::get))
}

pub(super) fn trim_events(connection: &Connection, before_ms: i64) -> Result<usize> {
    // The newest line stays, whatever its age: the next number comes from it, and followers remember numbers.
    connection
        .execute(
            "DELETE FROM event WHERE at < ?1 AND seq < (SELECT max(seq) FROM event)",
            params![before_ms],
        )
        .map_err(database("trimming the history"))
}

/// Asks SQLite whether the file holds together.
pub(super) fn integrity(connection: &Connection) -> Result<Vec<String>> {
    let read = || {
        let mut statement = connection.prepare("PRAGMA integrity_check")?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        lines.collect::<rusqlite::Result<Vec<_>>>()
    };
    let lines = read().map_err(database("checking the registry"))?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}
