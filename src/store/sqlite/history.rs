//! The history: new lines one by one, old ones packed, read as if they were one.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use crate::disk::pack;
use crate::model::{Event, TransactionId, WallTime};
use crate::store::data::Upkeep;
use crate::store::error::StoreError;
use crate::store::sqlite::{database, text};

type Result<T> = std::result::Result<T, StoreError>;

/// How many lines are packed together: little enough to be done while others wait at the door.
const PACKED_LINES: i64 = 1024;

/// How many of the newest lines are left as they are: what people look at.
const LOOSE_LINES: i64 = 2048;

/// The most that the lines of one pack take when they are unpacked.
const UNPACKED_BYTES_MAX: u64 = 256 << 20;

/// How many lines at either end tell how long all of them are.
const SAMPLED_LINES: i64 = 64;

/// What a row takes besides its texts.
const ROW_BYTES: u64 = 40;

const LINE: &str = "SELECT seq, at, kind, task, txn, resource, token, reason, details FROM event";

/// The numbers of the oldest and of the newest line. Asked for both at once SQLite would read all lines.
const BOUNDS: &str =
    "SELECT coalesce((SELECT min(seq) FROM event), 0), coalesce((SELECT max(seq) FROM event), 0)";

/// A line as it stands in its columns.
#[derive(Serialize, Deserialize)]
struct Line(
    i64,
    i64,
    String,
    Option<String>,
    Option<[u8; 16]>,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<String>,
);

impl Line {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self(
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
            row.get(6)?,
            row.get(7)?,
            row.get(8)?,
        ))
    }

    fn into_event(self) -> Option<Event> {
        let Self(seq, at, kind, task, transaction, resource, token, reason, details) = self;
        Some(Event {
            seq: u64::try_from(seq).ok()?,
            at: WallTime { ms: at },
            kind: kind.parse().ok()?,
            task: task.map(|task| task.parse()).transpose().ok()?,
            transaction: transaction.map(TransactionId::from_bytes),
            resource,
            token: token
                .map(|token| u64::try_from(token).map(crate::model::Token::new))
                .transpose()
                .ok()?,
            reason,
            details: details
                .map(|details| serde_json::from_str(&details))
                .transpose()
                .ok()?
                .unwrap_or_default(),
        })
    }
}

/// Reads lines after a place, all of one state, wherever they stand.
pub(super) fn events(connection: &Connection, after: u64, limit: usize) -> Result<Vec<Event>> {
    let reading = Transaction::new_unchecked(connection, TransactionBehavior::Deferred);
    let reading = reading.map_err(database("reading the history"))?;
    let mut after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    while found.len() < limit
        && let Some((last, lines)) = next_pack(&reading, after)?
    {
        let room = limit - found.len();
        let wanted = lines.into_iter().filter(|line| line.0 > after).take(room);
        for line in wanted {
            found.push(line.into_event().ok_or_else(damaged)?);
        }
        after = if found.len() < limit { last } else { i64::MAX };
    }
    let rest = i64::try_from(limit - found.len()).unwrap_or(i64::MAX);
    let loose = lines(
        &reading,
        &format!("{LINE} WHERE seq > ?1 ORDER BY seq LIMIT ?2"),
        (after, rest),
    );
    for line in loose.map_err(database("reading the history"))? {
        found.push(line.into_event().ok_or_else(damaged)?);
    }
    Ok(found)
}

/// Reads lines before a place, the newest first, all of one state, wherever they stand.
pub(super) fn events_before(connection: &Connection, before: u64, limit: usize) -> Result<Vec<Event>> {
    let reading = Transaction::new_unchecked(connection, TransactionBehavior::Deferred);
    let reading = reading.map_err(database("reading the history"))?;
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let loose = lines(
        &reading,
        &format!("{LINE} WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2"),
        (before, i64::try_from(limit).unwrap_or(i64::MAX)),
    );
    let mut found = loose.map_err(database("reading the history"))?;
    let mut before = before;
    while found.len() < limit
        && let Some((first, lines)) = pack_before(&reading, before)?
    {
        let room = limit - found.len();
        found.extend(lines.into_iter().rev().filter(|line| line.0 < before).take(room));
        before = first;
    }
    let found = found
        .into_iter()
        .map(|line| line.into_event().ok_or_else(damaged));
    found.collect()
}

fn lines(connection: &Connection, statement: &str, parameters: (i64, i64)) -> rusqlite::Result<Vec<Line>> {
    let mut statement = connection.prepare_cached(statement)?;
    let lines = statement.query_map(parameters, Line::read)?;
    lines.collect()
}

/// Reads the first pack with lines after a place, and tells where it ends.
fn next_pack(connection: &Connection, after: i64) -> Result<Option<(i64, Vec<Line>)>> {
    let statement = "SELECT last, bytes FROM pack WHERE last > ?1 ORDER BY last LIMIT 1";
    one_pack(connection, statement, after)
}

/// Reads the last pack with lines before a place, and tells where it begins. Packs follow one another and do not overlap.
fn pack_before(connection: &Connection, before: i64) -> Result<Option<(i64, Vec<Line>)>> {
    let statement = "SELECT first, bytes FROM pack WHERE first < ?1
         AND last <= (SELECT coalesce(min(last), ?1) FROM pack WHERE last >= ?1) ORDER BY last DESC LIMIT 1";
    one_pack(connection, statement, before)
}

fn one_pack(connection: &Connection, statement: &str, place: i64) -> Result<Option<(i64, Vec<Line>)>> {
    let read = || {
        let mut statement = connection.prepare_cached(statement)?;
        let pack = statement.query_row([place], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        });
        pack.optional()
    };
    let Some((end, bytes)) = read().map_err(database("reading the history"))? else {
        return Ok(None);
    };
    let bytes = pack::unpack(&bytes, UNPACKED_BYTES_MAX).map_err(|_| damaged())?;
    let lines = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    Ok(Some((end, lines)))
}

fn damaged() -> StoreError {
    StoreError::Damaged("a piece of the packed history cannot be read".to_owned())
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

/// What is packed before the door is passed, since it takes longer than anybody should wait there.
pub(super) struct Prepared {
    first: i64,
    last: i64,
    newest: i64,
    count: usize,
    bytes: Vec<u8>,
}

/// Packs the oldest lines in memory; `None` when there are too few.
pub(super) fn prepare(connection: &Connection) -> Result<Option<Prepared>> {
    let fail = || database("packing the history");
    let reading = Transaction::new_unchecked(connection, TransactionBehavior::Deferred).map_err(fail())?;
    let (first, last): (i64, i64) = reading
        .query_row(BOUNDS, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(fail())?;
    if last - first < LOOSE_LINES + PACKED_LINES {
        return Ok(None);
    }
    let oldest = lines(
        &reading,
        &format!("{LINE} WHERE seq > ?1 ORDER BY seq LIMIT ?2"),
        (0, PACKED_LINES),
    );
    let oldest = oldest.map_err(fail())?;
    let (Some(first), Some(last)) = (oldest.first(), oldest.last()) else {
        return Ok(None);
    };
    let packed = serde_json::to_vec(&oldest)
        .map_err(std::io::Error::from)
        .and_then(|bytes| pack::pack(&bytes));
    Ok(Some(Prepared {
        first: first.0,
        last: last.0,
        newest: oldest.iter().map(|line| line.1).max().unwrap_or_default(),
        count: oldest.len(),
        bytes: packed
            .map_err(|error| StoreError::Damaged(format!("the history cannot be packed: {error}")))?,
    }))
}

/// Does one bounded piece of work, in an act of its own; answers how many lines or rows it was about.
pub(super) fn upkeep(connection: &Connection, what: &Upkeep, prepared: Option<&Prepared>) -> Result<usize> {
    let fail = || database("keeping the history");
    let act = Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(fail())?;
    let done = match (what, prepared) {
        (Upkeep::Pack, None) => Ok(0),
        (Upkeep::Pack, Some(prepared)) => replace(&act, prepared),
        (Upkeep::Trim { before, lines_max }, _) => trim(&act, before.ms, *lines_max),
        (Upkeep::DropOldest, _) => drop_oldest(&act),
        (Upkeep::Forget { before, rows_max }, _) => forget(&act, before.ms, *rows_max),
    };
    let done = done.map_err(fail())?;
    act.commit().map_err(fail())?;
    Ok(done)
}

/// Puts the packed lines in the place of the loose ones, unless somebody else has done it meanwhile.
fn replace(act: &Connection, prepared: &Prepared) -> rusqlite::Result<usize> {
    let range = params![prepared.first, prepared.last];
    let there = "SELECT count(*) FROM event WHERE seq BETWEEN ?1 AND ?2";
    let there: i64 = act.query_row(there, range, |row| row.get(0))?;
    if usize::try_from(there) != Ok(prepared.count) {
        return Ok(0);
    }
    act.execute("DELETE FROM event WHERE seq BETWEEN ?1 AND ?2", range)?;
    act.execute(
        "INSERT INTO pack (last, first, newest, bytes) VALUES (?1, ?2, ?3, ?4)",
        params![prepared.last, prepared.first, prepared.newest, prepared.bytes],
    )?;
    Ok(prepared.count)
}

/// The newest line stays, whatever its age: the next number comes from it, and followers remember numbers. A pack goes when
/// all of it is old enough.
fn trim(act: &Connection, before_ms: i64, lines_max: usize) -> rusqlite::Result<usize> {
    let count = "SELECT coalesce(sum(last - first + 1), 0) FROM pack WHERE newest < ?1";
    let packed: i64 = act.query_row(count, [before_ms], |row| row.get(0))?;
    act.execute("DELETE FROM pack WHERE newest < ?1", [before_ms])?;
    let loose = act.execute(
        "DELETE FROM event WHERE seq < (SELECT max(seq) FROM event)
         AND seq IN (SELECT seq FROM (SELECT seq, at FROM event ORDER BY seq LIMIT ?2) WHERE at < ?1)",
        params![before_ms, i64::try_from(lines_max).unwrap_or(i64::MAX)],
    )?;
    Ok(loose + usize::try_from(packed).unwrap_or(usize::MAX))
}

fn drop_oldest(act: &Connection) -> rusqlite::Result<usize> {
    let oldest = "DELETE FROM pack WHERE last = (SELECT min(last) FROM pack) RETURNING last - first + 1";
    let packed: Option<i64> = act.query_row(oldest, [], |row| row.get(0)).optional()?;
    if let Some(lines) = packed {
        return Ok(usize::try_from(lines).unwrap_or(usize::MAX));
    }
    act.execute(
        "DELETE FROM event WHERE seq < (SELECT max(seq) FROM event)
         AND seq IN (SELECT seq FROM event ORDER BY seq LIMIT ?1)",
        [PACKED_LINES],
    )
}

/// A transaction whose changes are still recorded still has its directory.
fn forget(act: &Connection, before_ms: i64, rows_max: usize) -> rusqlite::Result<usize> {
    act.execute(
        "DELETE FROM txn WHERE id IN (
             SELECT id FROM txn WHERE state IN ('done', 'rolled-back') AND began < ?1
             AND NOT EXISTS (SELECT 1 FROM change WHERE change.txn = txn.id) ORDER BY id LIMIT ?2)",
        params![before_ms, i64::try_from(rows_max).unwrap_or(i64::MAX)],
    )
}

/// Tells how much room the history takes: exactly where it is packed, nearly where it is not.
pub(super) fn bytes(connection: &Connection) -> Result<u64> {
    let read = || {
        let packed: i64 =
            connection.query_row("SELECT coalesce(sum(length(bytes)), 0) FROM pack", [], |row| {
                row.get(0)
            })?;
        let sampled: (i64, i64, i64) = connection.query_row(
            "SELECT count(*), coalesce(sum(length(coalesce(task, '') || coalesce(resource, '') || coalesce(reason, '')
                 || coalesce(details, ''))), 0),
                 coalesce((SELECT max(seq) FROM event) - (SELECT min(seq) FROM event) + 1, 0)
             FROM (SELECT * FROM (SELECT * FROM event ORDER BY seq LIMIT ?1)
                   UNION SELECT * FROM (SELECT * FROM event ORDER BY seq DESC LIMIT ?1))",
            [SAMPLED_LINES],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let [packed, count, long, lines] =
            [packed, sampled.0, sampled.1, sampled.2].map(|number| u64::try_from(number).unwrap_or_default());
        let each = ROW_BYTES + long.checked_div(count).unwrap_or_default();
        Ok(packed + lines * each)
    };
    read().map_err(database("measuring the history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan says "search" for one end of a table and "scan" for all of it.
    #[test]
    fn the_ends_of_the_history_are_found_without_reading_it() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(include_str!("001_registry.sql"))
            .unwrap();
        let mut explained = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {BOUNDS}"))
            .unwrap();
        let steps = explained
            .raw_query()
            .mapped(|row| row.get::<_, String>(3))
            .collect::<rusqlite::Result<Vec<_>>>()
            .unwrap();
        assert!(steps.contains(&"SEARCH event".to_owned()), "{steps:?}");
        assert!(!steps.contains(&"SCAN event".to_owned()), "{steps:?}");
    }
}
