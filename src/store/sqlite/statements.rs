//! One connection inside one act, and the few ways to run a statement on it.

use rusqlite::{Connection, OptionalExtension as _, Params, Row};

use crate::model::{Lock, Now, Resource};
use crate::store::error::StoreError;
use crate::store::rows::WaiterRow;
use crate::store::sqlite::columns::seq_number;
use crate::store::sqlite::{database, text};

type Result<T> = std::result::Result<T, StoreError>;

/// The rows of one connection inside one act.
pub(super) struct SqlRows<'a> {
    pub(super) connection: &'a Connection,
    pub(super) now: &'a Now,
}

impl<'a> SqlRows<'a> {
    pub(super) fn new(connection: &'a Connection, now: &'a Now) -> Self {
        Self { connection, now }
    }

    pub(super) fn run(&self, statement: &str, values: impl Params) -> Result<()> {
        let prepared = self.connection.prepare_cached(statement);
        prepared
            .and_then(|mut prepared| prepared.execute(values))
            .map(|_| ())
            .map_err(database("writing a row"))
    }

    pub(super) fn one<T>(
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

    pub(super) fn many<T>(
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

    pub(super) fn with_wants(&self, mut row: WaiterRow) -> Result<WaiterRow> {
        let locks = self.many(
            "SELECT kind, res, mode FROM want WHERE seq = ?1",
            [seq_number(row.seq)],
            |found| text::lock(found, 0),
        )?;
        // What stands in the queue for a share is the whole; the share itself came with the row.
        let by_name = |lock: &Lock| !matches!(lock.resource, Resource::Pool(_));
        locks
            .into_iter()
            .filter(by_name)
            .for_each(|lock| row.wants.insert(lock));
        Ok(row)
    }
}
