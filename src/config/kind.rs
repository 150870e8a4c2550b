//! The kinds of values that a key can have: how one is read, and how a schema describes it.

use std::marker::PhantomData;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::SQLITE;

/// The longest value that a refusal repeats.
const QUOTED_CHARS_MAX: usize = 60;

/// A kind of values.
pub trait Kind {
    /// What a value of this kind is to the rest of mirror.
    type Read;
    /// Whether refusals and lists leave out what may be a password.
    const IS_SECRET: bool = false;
    /// Whether its values are sections with names of the user's own, each to be judged where it stands.
    const HAS_ENTRIES: bool = false;

    /// Reads a value, or says what is wrong with it.
    fn read(value: &Value) -> Result<Self::Read, String>;

    /// Describes the values in the words of JSON Schema.
    fn schema() -> Value;
}

/// One of a few words.
pub trait Choice: Copy + Serialize + 'static {
    /// All of them.
    const ALL: &'static [Self];
}

/// Whole seconds, at least one; read as milliseconds.
#[derive(Debug)]
pub struct Seconds;

/// A whole number, at least `LEAST`. The second parameter is a place for the unit.
#[derive(Debug)]
pub struct Whole<const LEAST: u32, U>(PhantomData<U>);

/// What a whole number counts.
pub trait Unit {
    /// In the plural, after "a whole number of".
    const NAME: &'static str;
}

/// Days.
#[derive(Debug)]
pub struct Days;

impl Unit for Days {
    const NAME: &'static str = "days";
}

/// Working copies.
#[derive(Debug)]
pub struct Copies;

impl Unit for Copies {
    const NAME: &'static str = "working copies";
}

/// Times.
#[derive(Debug)]
pub struct Times;

impl Unit for Times {
    const NAME: &'static str = "times";
}

/// Mebibytes.
#[derive(Debug)]
pub struct Mebibytes;

impl Unit for Mebibytes {
    const NAME: &'static str = "mebibytes";
}

/// Yes or no.
#[derive(Debug)]
pub struct Flag;

/// A text that may be absent.
#[derive(Debug)]
pub struct Text;

/// A directory.
#[derive(Debug)]
pub struct Directory;

/// The address of a store.
#[derive(Debug)]
pub struct StoreUrl;

/// Patterns in the form of `.gitignore`.
#[derive(Debug)]
pub struct Patterns;

/// Patterns of names inside the working tree.
#[derive(Debug)]
pub struct Names;

/// One word out of a choice.
#[derive(Debug)]
pub struct OneOf<T>(PhantomData<T>);

impl Kind for Seconds {
    type Read = u64;

    fn read(value: &Value) -> Result<u64, String> {
        whole(value, 1, "seconds").map(|seconds| u64::from(seconds) * 1000)
    }

    fn schema() -> Value {
        json!({"type": "integer", "minimum": 1, "maximum": u32::MAX})
    }
}

impl<const LEAST: u32, U: Unit> Kind for Whole<LEAST, U> {
    type Read = u32;

    fn read(value: &Value) -> Result<u32, String> {
        whole(value, LEAST, U::NAME)
    }

    fn schema() -> Value {
        json!({"type": "integer", "minimum": LEAST, "maximum": u32::MAX})
    }
}

impl Kind for Flag {
    type Read = bool;

    fn read(value: &Value) -> Result<bool, String> {
        value
            .as_bool()
            .ok_or_else(|| format!("expected true or false, and not {}", quoted(value)))
    }

    fn schema() -> Value {
        json!({"type": "boolean"})
    }
}

impl Kind for Text {
    type Read = Option<String>;

    fn read(value: &Value) -> Result<Option<String>, String> {
        match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            other => Err(format!("expected a text, and not {}", quoted(other))),
        }
    }

    fn schema() -> Value {
        json!({"type": "string"})
    }
}

impl Kind for Directory {
    type Read = PathBuf;

    fn read(value: &Value) -> Result<PathBuf, String> {
        let named = value
            .as_str()
            .filter(|text| !text.is_empty() && !text.contains('\0'));
        let named = named.ok_or_else(|| format!("expected a directory, and not {}", quoted(value)))?;
        if named.starts_with('~') {
            return Err(format!(
                "{named:?} is not expanded: write the whole path, or ./{named}"
            ));
        }
        Ok(PathBuf::from(named))
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 1})
    }
}

impl Kind for StoreUrl {
    type Read = ();
    const IS_SECRET: bool = true;

    fn read(value: &Value) -> Result<(), String> {
        let url = value.as_str().ok_or("expected the address of a store")?;
        if url == SQLITE {
            return Ok(());
        }
        // The rest of the address, which may hold a password, is not repeated.
        let scheme: String = url
            .split(':')
            .next()
            .unwrap_or_default()
            .chars()
            .take(QUOTED_CHARS_MAX)
            .collect();
        Err(format!(
            "the store {scheme:?} is not supported: this version knows only {SQLITE}"
        ))
    }

    fn schema() -> Value {
        json!({"enum": [SQLITE]})
    }
}

impl Kind for Patterns {
    type Read = Vec<String>;

    fn read(value: &Value) -> Result<Vec<String>, String> {
        let wrong = || format!("expected a list of patterns, and not {}", quoted(value));
        let texts = value
            .as_array()
            .ok_or_else(wrong)?
            .iter()
            .map(|text| text.as_str().map(str::to_owned));
        let patterns: Vec<String> = texts.collect::<Option<_>>().ok_or_else(wrong)?;
        for pattern in &patterns {
            globset::Glob::new(pattern.trim_start_matches('!'))
                .map_err(|error| format!("invalid pattern: {error}"))?;
        }
        Ok(patterns)
    }

    fn schema() -> Value {
        json!({"type": "array", "items": {"type": "string"}})
    }
}

impl Kind for Names {
    type Read = Vec<String>;

    fn read(value: &Value) -> Result<Vec<String>, String> {
        let patterns = Patterns::read(value)?;
        for pattern in &patterns {
            let leads_out = |part: &str| matches!(part, ".." | ".git" | ".mirror");
            if pattern.is_empty() || pattern.starts_with('/') || pattern.split('/').any(leads_out) {
                return Err(format!(
                    "{pattern:?} is not inside the working tree: it must be relative to its root"
                ));
            }
        }
        Ok(patterns)
    }

    fn schema() -> Value {
        Patterns::schema()
    }
}

impl<T: Choice> Kind for OneOf<T> {
    type Read = T;

    fn read(value: &Value) -> Result<T, String> {
        let chosen = T::ALL.iter().find(|choice| json!(choice) == *value);
        chosen.copied().ok_or_else(|| {
            let words: Vec<String> = T::ALL.iter().map(|choice| quoted(&json!(choice))).collect();
            format!("expected {}, and not {}", words.join(" or "), quoted(value))
        })
    }

    fn schema() -> Value {
        json!({"enum": T::ALL})
    }
}

fn whole(value: &Value, least: u32, unit: &str) -> Result<u32, String> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.filter(|number| *number >= least).ok_or_else(|| {
        format!(
            "expected a whole number of {unit}, at least {least}, and not {}",
            quoted(value)
        )
    })
}

pub(super) fn quoted(value: &Value) -> String {
    let text = match value {
        Value::Array(_) => return "a list".to_owned(),
        Value::Object(_) => return "a section".to_owned(),
        Value::String(text) => text.clone(),
        other => return other.to_string(),
    };
    let mut letters = text.chars();
    let shown: String = letters.by_ref().take(QUOTED_CHARS_MAX).collect();
    format!("{shown:?}") + if letters.next().is_some() { "…" } else { "" }
}
