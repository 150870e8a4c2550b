//! The tables that are read without an act: the counter, what recovery looks for.

use rusqlite::{Connection, params};

use crate::model::{Now, TransactionId};
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
