//! Opens the registry: every setting is made and read back, since a default that comes back would break durability or
//! latency without an error.

use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use crate::disk::contained;
use crate::disk::lock::FileLock;
use crate::host::unique_id;
use crate::model::Now;
use crate::store::Place;
use crate::store::error::StoreError;
use crate::store::sqlite::database;

type Result<T> = std::result::Result<T, StoreError>;

/// SQLite before this version can lose committed writes when the log is reset while it is checkpointed.
const VERSION_MIN: i32 = 3_051_003;

/// How long SQLite itself waits for another program that has the file open.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements that a connection keeps compiled: all that there are.
const STATEMENTS_MAX: usize = 128;

const MIGRATIONS: &[M<'_>] = &[
    M::up(include_str!("001_registry.sql")),
    M::up(include_str!("002_shares.sql")),
    M::up(include_str!("003_history.sql")),
];

/// The format of a registry that this version writes: the number of migrations.
const FORMAT: i64 = 3;

/// Makes the registry or completes it; one that is there stays as it is.
pub(super) fn create(place: &Place, now: &Now) -> Result<Connection> {
    let _door = FileLock::acquire(&place.door)?;
    let mut connection = connect(place, OpenFlags::SQLITE_OPEN_CREATE)?;
    format(place, &connection)?;
    migrate(&mut connection)?;
    connection
        .execute(
            "INSERT OR IGNORE INTO counter (only_row, token, token_durable, boot, repository) VALUES (0, 0, 0, ?1, ?2)",
            [now.boot.as_str(), &unique_id().to_string()],
        )
        .map_err(database("making the tables"))?;
    Ok(connection)
}

/// Opens a registry that is there.
pub(super) fn open(place: &Place) -> Result<Connection> {
    if contained::stat(&place.registry)?.is_none() {
        return Err(StoreError::Missing {
            path: place.registry.clone(),
        });
    }
    let mut connection = connect(place, OpenFlags::empty())?;
    if format(place, &connection)? < FORMAT {
        // Two commands may find the old format at once: the second one finds nothing left to do.
        let _door = FileLock::acquire(&place.door)?;
        migrate(&mut connection)?;
    }
    Ok(connection)
}

/// Brings the tables up to date, all of them or none.
fn migrate(connection: &mut Connection) -> Result<()> {
    Migrations::from_slice(MIGRATIONS)
        .to_latest(connection)
        .map_err(|error| StoreError::Database {
            doing: "making the tables",
            source: Box::new(error),
        })
}

/// Reads the format, and refuses one that is newer than this version.
fn format(place: &Place, connection: &Connection) -> Result<i64> {
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(database("reading the format"))?;
    if found > FORMAT {
        return Err(StoreError::Format {
            path: place.registry.clone(),
            found,
            known: FORMAT,
        });
    }
    Ok(found)
}

fn connect(place: &Place, extra: OpenFlags) -> Result<Connection> {
    if rusqlite::version_number() < VERSION_MIN {
        return Err(StoreError::OldSqlite {
            found: rusqlite::version(),
        });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | extra;
    let connection =
        Connection::open_with_flags(&place.registry, flags).map_err(database("opening the registry"))?;
    connection
        .busy_timeout(BUSY_TIMEOUT)
        .map_err(database("opening the registry"))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // A checkpoint costs two syncs, and must be nobody's latency when a short command ends.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(database("opening the registry"))?;
    // A file that somebody else made may bring views and triggers of its own: they must not call what writes elsewhere.
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
    ] {
        connection
            .set_db_config(setting, value)
            .map_err(database("opening the registry"))?;
    }
    set(&connection, "journal_mode", "wal", "wal")?;
    set(&connection, "synchronous", "NORMAL", "1")?;
    set(&connection, "wal_autocheckpoint", "0", "0")?;
    // A log that began anew is cut to what is in it: its length then tells how much there is to fold, and to read for
    // whoever opens it first.
    set(&connection, "journal_size_limit", "0", "0")?;
    set(&connection, "foreign_keys", "ON", "1")?;
    Ok(connection)
}

/// Makes a setting and reads it back.
fn set(connection: &Connection, pragma: &'static str, value: &str, expected: &str) -> Result<()> {
    connection
        .pragma_update_and_check(None, pragma, value, |_| Ok(()))
        .or_else(|error| match error {
            // Most settings answer nothing when they are made.
            rusqlite::Error::QueryReturnedNoRows => Ok(()),
            other => Err(database("opening the registry")(other)),
        })?;
    let answer: String = connection
        .pragma_query_value(None, pragma, |row| {
            row.get_ref(0).map(|value| match value {
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                _ => String::new(),
            })
        })
        .map_err(database("opening the registry"))?;
    if answer.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err(StoreError::Setting { pragma, answer })
    }
}
