//! Finds the places of the queue that conflict with a lock set, from one of its ends, without reading all of it.
//!
//! Thousands may wait for one path, and each of them looks every second who is next to it. So the places that want one key
//! are read in their order and no further than asked. Only what lies below a directory has to be read whole.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Params, params};

use crate::model::{Below, Lock, Mode};
use crate::store::error::StoreError;
use crate::store::rows::{End, Part};
use crate::store::sqlite::database;
use crate::store::sqlite::text::{self, mode_number, namespace};

/// A statement that finds places: behind `?1`, before `?2`, wanted in the mode `?3` or a stronger one. What is handed over
/// already is held, and waits no more.
macro_rules! places {
    ($where:literal, $order:literal) => {
        concat!(
            "SELECT seq, res FROM want WHERE seq > ?1 AND seq < ?2 AND mode >= ?3 AND ns = ?4 AND ",
            $where,
            " AND EXISTS (SELECT 1 FROM waiter WHERE waiter.seq = want.seq AND phase <> 'granted')",
            $order
        )
    };
}

const FIRST: &str = places!("res = ?5 AND kind = ?6", " ORDER BY seq LIMIT ?7");
const LAST: &str = places!("res = ?5 AND kind = ?6", " ORDER BY seq DESC LIMIT ?7");
const BELOW: &str = places!("res >= ?5 AND res < ?6", "");
const BELOW_TO_END: &str = places!("res >= ?5", "");

/// The next kind that is wanted under a key. The places of a key are in their order only within a kind.
const NEXT_KIND: &str =
    "SELECT kind FROM want WHERE ns = ?1 AND res = ?2 AND kind > ?3 ORDER BY kind LIMIT 1";

/// Returns the places of `part` whose request conflicts with one of `wants`, in order of arrival.
pub(super) fn conflicting(
    connection: &Connection,
    wants: &mut dyn Iterator<Item = Lock>,
    part: Part,
) -> Result<Vec<u64>, StoreError> {
    let mut search = Search {
        connection,
        part,
        asked: BTreeSet::new(),
        found: BTreeSet::new(),
    };
    for want in wants {
        search
            .look(&want)
            .map_err(database("looking for conflicting places"))?;
    }
    let superfluous = search.found.len().saturating_sub(part.limit);
    let found = search.found.into_iter();
    Ok(match part.from {
        End::First => found.take(part.limit).collect(),
        End::Last => found.skip(superfluous).collect(),
    })
}

struct Search<'a> {
    connection: &'a Connection,
    part: Part,
    /// Paths of one set share their directories: each is looked up once.
    asked: BTreeSet<(i64, Vec<u8>, String, Mode)>,
    found: BTreeSet<u64>,
}

impl Search<'_> {
    fn look(&mut self, want: &Lock) -> rusqlite::Result<()> {
        let namespace = namespace(&want.resource);
        let probe = want.resource.probe();
        let mut next_kind = self.connection.prepare_cached(NEXT_KIND)?;
        let mut kind = String::new();
        while let Some(next) = next_kind
            .query_row(params![namespace, probe.own, kind], |row| row.get(0))
            .optional()?
        {
            kind = next;
            self.at(namespace, probe.own.clone(), &kind, want.mode)?;
        }
        for key in probe.whole_above {
            self.at(namespace, key, probe.whole_letter, want.mode)?;
        }
        if let Some(key) = probe.children_above {
            self.at(namespace, key, "d", want.mode)?;
        }
        probe
            .below
            .map_or(Ok(()), |below| self.below(namespace, &below, want.mode))
    }

    /// Looks at who wants exactly this.
    fn at(&mut self, namespace: i64, key: Vec<u8>, kind: &str, mode: Mode) -> rusqlite::Result<()> {
        let question = (namespace, key, kind.to_owned(), mode);
        if self.asked.contains(&question) {
            return Ok(());
        }
        let statement = match self.part.from {
            End::First => FIRST,
            End::Last => LAST,
        };
        let (after, before) = self.bounds();
        let limit = i64::try_from(self.part.limit).unwrap_or(i64::MAX);
        let weakest = weakest(mode);
        let values = params![after, before, weakest, namespace, question.1, kind, limit];
        self.collect(statement, values, |_| true)?;
        self.asked.insert(question);
        Ok(())
    }

    fn below(&mut self, namespace: i64, below: &Below, mode: Mode) -> rusqlite::Result<()> {
        let (after, before) = self.bounds();
        let weakest = weakest(mode);
        let overlaps = |key: &[u8]| !(below.one_level && key[below.low.len()..].contains(&b'/'));
        match &below.high {
            Some(high) => self.collect(
                BELOW,
                params![after, before, weakest, namespace, below.low, high],
                overlaps,
            ),
            None => self.collect(
                BELOW_TO_END,
                params![after, before, weakest, namespace, below.low],
                overlaps,
            ),
        }
    }

    fn collect(
        &mut self,
        statement: &str,
        values: impl Params,
        overlaps: impl Fn(&[u8]) -> bool,
    ) -> rusqlite::Result<()> {
        let mut statement: CachedStatement<'_> = self.connection.prepare_cached(statement)?;
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()? {
            if overlaps(row.get_ref(1)?.as_blob()?) {
                self.found.insert(text::token(row, 0)?.get());
            }
        }
        Ok(())
    }

    fn bounds(&self) -> (i64, i64) {
        let bound = |seq| i64::try_from(seq).unwrap_or(i64::MAX);
        (bound(self.part.after), bound(self.part.before))
    }
}

/// The weakest mode that conflicts with `mode`: two readers do not.
fn weakest(mode: Mode) -> i64 {
    match mode {
        Mode::Read => mode_number(Mode::Write),
        Mode::Write => mode_number(Mode::Read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_plan_reads_or_sorts_the_queue() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(include_str!("001_registry.sql"))
            .unwrap();
        for statement in [FIRST, LAST, BELOW, BELOW_TO_END, NEXT_KIND] {
            let mut explained = connection
                .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
                .unwrap();
            let steps = explained
                .raw_query()
                .mapped(|row| row.get::<_, String>(3))
                .collect::<rusqlite::Result<Vec<_>>>()
                .unwrap();
            let plan = steps.join("\n");
            assert!(
                !plan.contains("SCAN") && !plan.contains("TEMP"),
                "{statement}: {plan}"
            );
            let expected = if statement == FIRST || statement == LAST {
                "(ns=? AND res=? AND kind=? AND seq>? AND seq<?)"
            } else {
                "(ns=? AND res"
            };
            assert!(plan.contains(expected), "{statement}: {plan}");
        }
    }
}
