//! What one source of configuration says, and how one is put over another.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Branch, HookMode};

/// What one source says; whatever it does not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Layer {
    pub(super) resource_manager: Option<ResourceManager>,
    pub(super) store: Option<Store>,
    pub(super) git: Option<Git>,
    pub(super) run: Option<Run>,
    pub(super) hooks: Option<Hooks>,
    pub(super) history: Option<History>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ResourceManager {
    #[serde(deserialize_with = "strict")]
    pub(super) heartbeat_interval: Option<Seconds>,
    #[serde(deserialize_with = "strict")]
    pub(super) lock_timeout: Option<Seconds>,
    #[serde(deserialize_with = "strict")]
    pub(super) max_hold: Option<Seconds>,
    pub(super) strategies: Option<Strategies>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Strategies {
    pub(super) directories: Option<DirectoryStrategy>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DirectoryStrategy {
    #[serde(deserialize_with = "strict")]
    pub(super) recursive_default: Option<bool>,
    #[serde(deserialize_with = "strict")]
    pub(super) ignore_patterns: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Store {
    #[serde(deserialize_with = "strict")]
    pub(super) url: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Git {
    #[serde(deserialize_with = "strict")]
    pub(super) target: Option<String>,
    #[serde(deserialize_with = "strict")]
    pub(super) branch: Option<Branch>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Run {
    pub(super) worktrees: Option<Worktrees>,
    #[serde(deserialize_with = "strict")]
    pub(super) link: Option<Vec<String>>,
    #[serde(deserialize_with = "strict")]
    pub(super) copy: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Worktrees {
    #[serde(deserialize_with = "strict")]
    pub(super) min: Option<Count>,
    #[serde(deserialize_with = "strict")]
    pub(super) max: Option<AtLeastOne>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hooks {
    #[serde(deserialize_with = "strict")]
    pub(super) mode: Option<HookMode>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct History {
    #[serde(deserialize_with = "strict")]
    pub(super) keep_days: Option<Days>,
}

/// A span in whole seconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Seconds(pub(super) u32);

impl Seconds {
    pub(super) fn as_ms(self) -> u64 {
        u64::from(self.0) * 1000
    }
}

/// A span in whole days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Days(pub(super) u32);

/// How many of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Count(pub(super) u32);

/// How many of something of which there is always one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct AtLeastOne(pub(super) u32);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_u64(Whole {
                unit: "working copies",
                least: 0,
            })
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for AtLeastOne {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_u64(Whole {
                unit: "working copies",
                least: 1,
            })
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_u64(Whole {
                unit: "seconds",
                least: 1,
            })
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Days {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_u64(Whole {
                unit: "days",
                least: 0,
            })
            .map(Self)
    }
}

/// Accepts whole numbers and tells people in which unit.
struct Whole {
    unit: &'static str,
    least: u32,
}

impl Visitor<'_> for Whole {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number of {}, at least {}", self.unit, self.least)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u32, E> {
        u32::try_from(number)
            .ok()
            .filter(|number| *number >= self.least)
            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }
}

/// Reads a value as YAML types it, and then as `T`: without this step the parser takes `'5'` for a number and `yes`
/// for a boolean wherever one is wanted.
fn strict<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    serde_json::from_value(value).map_err(D::Error::custom)
}

impl Layer {
    /// Puts this layer over `below`: what it says wins, what it does not say is taken from there.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            resource_manager: both(
                self.resource_manager,
                below.resource_manager,
                ResourceManager::over,
            ),
            store: both(self.store, below.store, |above, below| Store {
                url: above.url.or(below.url),
            }),
            git: both(self.git, below.git, |above, below| Git {
                target: above.target.or(below.target),
                branch: above.branch.or(below.branch),
            }),
            run: both(self.run, below.run, Run::over),
            hooks: both(self.hooks, below.hooks, |above, below| Hooks {
                mode: above.mode.or(below.mode),
            }),
            history: both(self.history, below.history, |above, below| History {
                keep_days: above.keep_days.or(below.keep_days),
            }),
        }
    }
}

impl Run {
    fn over(self, below: Self) -> Self {
        Self {
            worktrees: both(self.worktrees, below.worktrees, |above, below| Worktrees {
                min: above.min.or(below.min),
                max: above.max.or(below.max),
            }),
            link: self.link.or(below.link),
            copy: self.copy.or(below.copy),
        }
    }
}

impl ResourceManager {
    fn over(self, below: Self) -> Self {
        Self {
            heartbeat_interval: self.heartbeat_interval.or(below.heartbeat_interval),
            lock_timeout: self.lock_timeout.or(below.lock_timeout),
            max_hold: self.max_hold.or(below.max_hold),
            strategies: both(self.strategies, below.strategies, |above, below| Strategies {
                directories: both(above.directories, below.directories, DirectoryStrategy::over),
            }),
        }
    }
}

impl DirectoryStrategy {
    fn over(self, below: Self) -> Self {
        Self {
            recursive_default: self.recursive_default.or(below.recursive_default),
            ignore_patterns: self.ignore_patterns.or(below.ignore_patterns),
        }
    }
}

fn both<T>(above: Option<T>, below: Option<T>, over: impl FnOnce(T, T) -> T) -> Option<T> {
    match (above, below) {
        (Some(above), Some(below)) => Some(over(above, below)),
        (one, other) => one.or(other),
    }
}
