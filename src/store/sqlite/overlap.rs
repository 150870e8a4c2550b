//! Finds the rows that overlap a lock set by asking the ordered keys, not by comparing with every row.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, params};

use crate::model::{LockSet, Resource};
use crate::store::error::StoreError;
use crate::store::sqlite::database;
use crate::store::sqlite::text::namespace;

/// The two tables that hold resources: `lock` by task, `want` by place in the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statements {
    point: &'static str,
    above: &'static str,
    below: &'static str,
    below_to_end: &'static str,
}

pub(super) const LOCKS: Statements = Statements {
    point: "SELECT kind, res, mode, token, task FROM lock WHERE ns = ?1 AND res = ?2",
    above: "SELECT kind, res, mode, token, task FROM lock WHERE ns = ?1 AND res = ?2 AND kind = ?3",
    below: "SELECT kind, res, mode, token, task FROM lock WHERE ns = ?1 AND res >= ?2 AND res < ?3",
    below_to_end: "SELECT kind, res, mode, token, task FROM lock WHERE ns = ?1 AND res >= ?2",
};

pub(super) const WANTS: Statements = Statements {
    point: "SELECT kind, res, mode, seq FROM want WHERE ns = ?1 AND res = ?2",
    above: "SELECT kind, res, mode, seq FROM want WHERE ns = ?1 AND res = ?2 AND kind = ?3",
    below: "SELECT kind, res, mode, seq FROM want WHERE ns = ?1 AND res >= ?2 AND res < ?3",
    below_to_end: "SELECT kind, res, mode, seq FROM want WHERE ns = ?1 AND res >= ?2",
};

/// Calls `each` for every row that overlaps one of `wants`. A row may come more than once.
pub(super) fn for_each(
    connection: &Connection,
    statements: Statements,
    wants: &LockSet,
    each: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> Result<(), StoreError> {
    search(connection, statements, wants, each).map_err(database("looking for overlapping locks"))
}

fn search(
    connection: &Connection,
    statements: Statements,
    wants: &LockSet,
    each: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut point = connection.prepare_cached(statements.point)?;
    let mut above = connection.prepare_cached(statements.above)?;
    // Paths of one set share their directories: each is looked up once.
    let mut asked: BTreeSet<(i64, Vec<u8>, &'static str)> = BTreeSet::new();
    for lock in wants.iter() {
        let ns = namespace(&lock.resource);
        let probe = lock.resource.probe();
        drain(point.query(params![ns, probe.own])?, each)?;
        let recursive = if matches!(lock.resource, Resource::Service(_)) {
            "S"
        } else {
            "D"
        };
        let questions = probe.recursive_above.into_iter().map(|key| (ns, key, recursive));
        for question in questions.chain(probe.children_above.map(|key| (ns, key, "d"))) {
            if asked.contains(&question) {
                continue;
            }
            drain(above.query(params![question.0, question.1, question.2])?, each)?;
            asked.insert(question);
        }
        let Some(below) = probe.below else { continue };
        let mut one_level = |row: &Row<'_>| {
            let key = row.get_ref(1)?.as_blob()?;
            if below.one_level && key[below.low.len()..].contains(&b'/') {
                Ok(())
            } else {
                each(row)
            }
        };
        if let Some(high) = &below.high {
            let mut statement = connection.prepare_cached(statements.below)?;
            drain(statement.query(params![ns, below.low, high])?, &mut one_level)?;
        } else {
            let mut statement = connection.prepare_cached(statements.below_to_end)?;
            drain(statement.query(params![ns, below.low])?, &mut one_level)?;
        }
    }
    Ok(())
}

fn drain(
    mut rows: rusqlite::Rows<'_>,
    each: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    while let Some(row) = rows.next()? {
        each(row)?;
    }
    Ok(())
}
