//! Finds the rows that conflict with a lock set by asking the ordered keys, not by comparing with every row.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use rusqlite::{Connection, Row, params};

use crate::model::{Lock, Mode};
use crate::store::error::StoreError;
use crate::store::sqlite::database;
use crate::store::sqlite::text::{mode_number, namespace};

/// The questions to a table that holds resources.
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

/// What to do with a row.
type Each<'a> = &'a mut dyn FnMut(&Row<'_>) -> rusqlite::Result<ControlFlow<()>>;

/// Calls `each` for every row that conflicts with one of `wants`, until it breaks off. A row may come more than once.
pub(super) fn for_each(
    connection: &Connection,
    statements: Statements,
    wants: &mut dyn Iterator<Item = Lock>,
    each: Each<'_>,
) -> Result<(), StoreError> {
    search(connection, statements, wants, each).map_err(database("looking for conflicting locks"))
}

fn search(
    connection: &Connection,
    statements: Statements,
    wants: &mut dyn Iterator<Item = Lock>,
    each: Each<'_>,
) -> rusqlite::Result<()> {
    let mut point = connection.prepare_cached(statements.point)?;
    let mut above = connection.prepare_cached(statements.above)?;
    // Paths of one set share their directories: each is looked up once.
    let mut asked: BTreeSet<(i64, Vec<u8>, &'static str, Mode)> = BTreeSet::new();
    for lock in wants {
        // The keys find what overlaps; two readers do not conflict.
        let mut each = |row: &Row<'_>| {
            if lock.mode == Mode::Write || row.get::<_, i64>(2)? == mode_number(Mode::Write) {
                each(row)
            } else {
                Ok(ControlFlow::Continue(()))
            }
        };
        let ns = namespace(&lock.resource);
        let probe = lock.resource.probe();
        if drain(point.query(params![ns, probe.own])?, &mut each)?.is_break() {
            return Ok(());
        }
        let wholes = probe.whole_above.into_iter().map(|key| (key, probe.whole_letter));
        for (key, kind) in wholes.chain(probe.children_above.map(|key| (key, "d"))) {
            let question = (ns, key, kind, lock.mode);
            if asked.contains(&question) {
                continue;
            }
            let found = drain(
                above.query(params![question.0, question.1, question.2])?,
                &mut each,
            )?;
            if found.is_break() {
                return Ok(());
            }
            asked.insert(question);
        }
        let Some(below) = probe.below else { continue };
        let mut one_level = |row: &Row<'_>| {
            let key = row.get_ref(1)?.as_blob()?;
            if below.one_level && key[below.low.len()..].contains(&b'/') {
                Ok(ControlFlow::Continue(()))
            } else {
                each(row)
            }
        };
        let found = if let Some(high) = &below.high {
            let mut statement = connection.prepare_cached(statements.below)?;
            drain(statement.query(params![ns, below.low, high])?, &mut one_level)?
        } else {
            let mut statement = connection.prepare_cached(statements.below_to_end)?;
            drain(statement.query(params![ns, below.low])?, &mut one_level)?
        };
        if found.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

fn drain(mut rows: rusqlite::Rows<'_>, each: Each<'_>) -> rusqlite::Result<ControlFlow<()>> {
    while let Some(row) = rows.next()? {
        if each(row)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
