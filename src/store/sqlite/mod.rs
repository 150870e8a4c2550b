//! The embedded store: one SQLite file, one door, no fsync on the lock path.
//!
//! Every write waits at the door (`flock`), so contenders sleep in the kernel instead of polling, and then runs
//! `BEGIN IMMEDIATE`: a transaction that begins as a reader is refused as a writer without the busy timeout ever being
//! asked. Lock transactions are not synced; a decision is, and since the log is durable in order, everything before it
//! is durable with it.

mod columns;
mod history;
mod open;
mod overlap;
mod places;
mod rows;
mod statements;
mod tables;
mod text;

use std::path::PathBuf;

use rusqlite::Connection;

use crate::disk::lock::Door;
use crate::model::{Event, Now, TransactionId};
use crate::store::Place;
use crate::store::backend::Parts;
use crate::store::data::Upkeep;
use crate::store::error::StoreError;
use crate::store::local::{Act, Engine, Local, WriteError, rebooted};
use crate::store::rows::Durability;
use crate::store::sqlite::statements::SqlRows;

type Result<T> = std::result::Result<T, StoreError>;

/// Tokens that may be given out before the counter is made durable again.
const TOKENS_UNSYNCED_MAX: u64 = 1 << 19;

/// How far the counter jumps with a new boot: more than can have been lost.
const TOKENS_PER_BOOT: u64 = 1 << 20;

/// One connection.
#[derive(Debug)]
pub(crate) struct Sqlite {
    place: Place,
    door: Door,
    connection: Connection,
}

impl Sqlite {
    /// Makes the registry, or opens the one that is there.
    pub(crate) fn create(place: &Place, now: &Now) -> Result<Self> {
        let connection = open::create(place, now)?;
        Self::behind(place, connection)
    }

    /// Opens the registry.
    pub(crate) fn open(place: &Place) -> Result<Self> {
        let connection = open::open(place)?;
        Self::behind(place, connection)
    }

    fn behind(place: &Place, connection: Connection) -> Result<Self> {
        Ok(Self {
            place: place.clone(),
            door: Door::open(&place.door)?,
            connection,
        })
    }

    fn synchronous(&self, durability: Durability) -> Result<()> {
        let level = if durability == Durability::Full {
            "FULL"
        } else {
            "NORMAL"
        };
        // SQLite ignores the change inside a transaction, so it comes before BEGIN.
        self.connection
            .pragma_update(None, "synchronous", level)
            .map_err(database("setting the durability"))
    }

    /// Begins an act; a new boot, or too many tokens since the last sync, is settled durably first.
    fn begin(&self, now: &Now, durability: Durability) -> Result<()> {
        if durability == Durability::Full {
            self.synchronous(Durability::Full)?;
        }
        self.execute("BEGIN IMMEDIATE", "beginning")?;
        let (token, durable, boot) = tables::counter(&self.connection)?;
        if boot == now.boot.as_str() && token < durable + TOKENS_UNSYNCED_MAX {
            return Ok(());
        }
        let is_new_boot = boot != now.boot.as_str();
        self.execute("ROLLBACK", "ending")?;
        self.synchronous(Durability::Full)?;
        self.execute("BEGIN IMMEDIATE", "beginning")?;
        let raised = if is_new_boot {
            token + TOKENS_PER_BOOT
        } else {
            token
        };
        tables::set_counter(&self.connection, raised, now)?;
        if is_new_boot {
            rebooted(&mut SqlRows::new(&self.connection, now))?;
        }
        self.execute("COMMIT", "noting the boot")?;
        self.synchronous(durability)?;
        self.execute("BEGIN IMMEDIATE", "beginning")
    }

    fn execute(&self, statement: &'static str, doing: &'static str) -> Result<()> {
        let prepared = self.connection.prepare_cached(statement);
        prepared
            .and_then(|mut prepared| prepared.execute([]))
            .map(|_| ())
            .map_err(database(doing))
    }

    fn wal_bytes(&self) -> u64 {
        let mut path = self.place.registry.clone().into_os_string();
        path.push("-wal");
        std::fs::metadata(PathBuf::from(path)).map_or(0, |metadata| metadata.len())
    }

    /// Commits or rolls back, and puts the durability back.
    fn end(&self, durability: Durability, answer: Result<()>) -> std::result::Result<(), WriteError> {
        let ended = match answer {
            Ok(()) => self.execute("COMMIT", "committing").map_err(WriteError::End),
            Err(error) => Err(WriteError::Act(error)),
        };
        if ended.is_err() && !self.connection.is_autocommit() {
            // After a failed COMMIT this changes nothing that may already stand in the log.
            drop(self.execute("ROLLBACK", "ending"));
        }
        if durability == Durability::Full {
            drop(self.synchronous(Durability::Normal));
        }
        ended
    }
}

impl Engine for Sqlite {
    fn write(
        &mut self,
        now: &Now,
        durability: Durability,
        act: Act<'_>,
    ) -> std::result::Result<(), WriteError> {
        let inside = self
            .door
            .enter()
            .map_err(|error| WriteError::Begin(error.into()))?;
        let begun = self.begin(now, durability);
        if let Err(error) = begun {
            if !self.connection.is_autocommit() {
                drop(self.execute("ROLLBACK", "ending"));
            }
            return Err(WriteError::Begin(error));
        }
        let answer = act(&mut SqlRows::new(&self.connection, now));
        let ended = self.end(durability, answer);
        drop(inside);
        ended
    }

    fn read(&mut self, now: &Now, act: Act<'_>) -> Result<()> {
        // One short read transaction: all rows are of one state, and nothing is pinned for long.
        self.execute("BEGIN DEFERRED", "beginning to read")?;
        let answer = act(&mut SqlRows::new(&self.connection, now));
        let ended = self.execute("COMMIT", "ending to read");
        answer.and(ended)
    }

    fn unfinished(&mut self) -> Result<Vec<TransactionId>> {
        tables::unfinished(&self.connection)
    }

    fn events(&mut self, after: u64, limit: usize) -> Result<Vec<Event>> {
        history::events(&self.connection, after, limit)
    }

    fn last_event(&mut self) -> Result<u64> {
        history::last_event(&self.connection)
    }

    fn upkeep(&mut self, what: &Upkeep) -> Result<usize> {
        let prepared = match what {
            Upkeep::Pack => history::prepare(&self.connection)?,
            _ => None,
        };
        let _inside = self.door.enter()?;
        history::upkeep(&self.connection, what, prepared.as_ref())
    }

    fn history_bytes(&mut self) -> Result<u64> {
        history::bytes(&self.connection)
    }

    fn events_before(&mut self, before: u64, limit: usize) -> Result<Vec<Event>> {
        history::events_before(&self.connection, before, limit)
    }

    fn identity(&mut self) -> Result<String> {
        tables::identity(&self.connection)
    }

    fn check(&mut self) -> Result<Vec<String>> {
        tables::integrity(&self.connection)
    }

    fn after_command(&mut self, log_bytes_max: u64) -> Result<()> {
        if self.wal_bytes() <= log_bytes_max {
            return Ok(());
        }
        // The bulk of the work, with the syncs, keeps nobody out.
        self.checkpoint("PASSIVE")?;
        // Cutting the log is quick then. It cannot be left to the next writer: when commands follow one another and
        // none overlaps, each one that opens the log forgets how much of it was folded, and it would grow for ever.
        match self.door.try_enter()? {
            Some(_inside) => self.checkpoint("TRUNCATE"),
            None => Ok(()),
        }
    }

    fn reconnect(&mut self) -> Result<()> {
        self.connection = open::open(&self.place)?;
        Ok(())
    }
}

impl Sqlite {
    /// Folds the log. Being refused because others use it is no failure.
    fn checkpoint(&self, how: &str) -> Result<()> {
        let statement = format!("PRAGMA wal_checkpoint({how})");
        self.connection
            .busy_timeout(std::time::Duration::ZERO)
            .map_err(database("checkpointing"))?;
        let answer = self.connection.query_row(&statement, [], |_| Ok(()));
        self.connection
            .busy_timeout(open::BUSY_TIMEOUT)
            .map_err(database("checkpointing"))?;
        match answer {
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Ok(()),
            answer => answer.map_err(database("checkpointing")),
        }
    }
}

impl Parts for Local<Sqlite> {
    fn another(&self) -> Result<Box<dyn Parts>> {
        Ok(Box::new(Self(Sqlite::open(&self.0.place)?)))
    }
}

/// Returns a function that says what we were doing when SQLite refused.
fn database(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => StoreError::Locked {
            path: PathBuf::from("registry.db"),
        },
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            StoreError::Damaged(format!("{error} while {doing}"))
        }
        _ => StoreError::Database {
            doing,
            source: Box::new(error),
        },
    }
}
