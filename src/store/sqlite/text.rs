//! How values stand in columns.

use rusqlite::Row;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{Lock, Mode, ObjectId, Resource, Token};

/// Numbers of the namespaces, as they are stored.
pub(super) fn namespace(resource: &Resource) -> i64 {
    match resource.namespace() {
        "path" => 0,
        "service" => 1,
        "pool" => 2,
        "port" => 3,
        "worktree" => 4,
        "quota" => 5,
        _ => 6,
    }
}

pub(super) fn mode_number(mode: Mode) -> i64 {
    match mode {
        Mode::Read => 0,
        Mode::Write => 1,
    }
}

pub(super) fn token_number(token: Token) -> i64 {
    i64::try_from(token.get()).unwrap_or(i64::MAX)
}

/// Reads `kind, res, mode` from three columns beginning at `at`.
pub(super) fn lock(row: &Row<'_>, at: usize) -> rusqlite::Result<Lock> {
    let kind = row.get_ref(at)?.as_str()?;
    let key = row.get_ref(at + 1)?.as_blob()?.to_vec();
    let resource = Resource::from_parts(kind, key).ok_or_else(|| nonsense(at, "a resource"))?;
    let mode = if row.get::<_, i64>(at + 2)? == 0 {
        Mode::Read
    } else {
        Mode::Write
    };
    Ok(Lock { resource, mode })
}

pub(super) fn token(row: &Row<'_>, at: usize) -> rusqlite::Result<Token> {
    let number: i64 = row.get(at)?;
    u64::try_from(number)
        .map(Token::new)
        .map_err(|_| nonsense(at, "a token"))
}

/// Reads a value that was stored as text and is parsed from it.
pub(super) fn parsed<T: std::str::FromStr>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    row.get_ref(at)?
        .as_str()?
        .parse()
        .map_err(|_| nonsense(at, "a name"))
}

pub(super) fn object(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<ObjectId>> {
    Ok(row.get::<_, Option<[u8; 20]>>(at)?.map(ObjectId::from_bytes))
}

pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(at)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(error)))
}

pub(super) fn from_json_if_any<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<T>> {
    match row.get_ref(at)?.as_str_or_null()? {
        None => Ok(None),
        Some(_) => from_json(row, at).map(Some),
    }
}

pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value)
        .unwrap_or_else(|error| unreachable!("BUG: rows are plain data and always serialise: {error}"))
}

pub(super) fn nonsense(at: usize, what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, Type::Blob, format!("not {what}").into())
}
