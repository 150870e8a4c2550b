//! What all sources together say: for each key its value, and who said so.

use serde_json::Value;

use crate::config::fault::{ConfigError, Fault, Origin, without_password};
use crate::config::keys::{KEYS, Key};
use crate::config::layer::Layer;

/// Every key with its value.
#[derive(Debug)]
pub struct Resolved {
    /// In the order of the table of keys.
    pub settings: Vec<Setting>,
}

/// A key with its value.
#[derive(Debug)]
pub struct Setting {
    /// The key.
    pub key: &'static Key,
    /// Its value, as it is in effect.
    pub value: Value,
    /// Who said so.
    pub source: Source,
    /// Where exactly; `None` for a default.
    pub origin: Option<Origin>,
}

/// Who says what a key is, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    Flag,
    /// An environment variable.
    Environment,
    /// `.mirror/config.yaml`.
    Repository,
    /// The user's own file.
    User,
    /// Nobody.
    Default,
}

impl Source {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::Repository => "repository",
            Self::User => "user",
            Self::Default => "default",
        }
    }
}

impl Setting {
    /// Returns the value without what may be a password.
    pub fn shown(&self) -> Value {
        match &self.value {
            Value::String(text) if self.key.is_secret => without_password(text).into(),
            value => value.clone(),
        }
    }
}

impl Resolved {
    /// Puts layers over each other, the strongest first, and over the defaults. Files count as the source that is given
    /// with the layer.
    pub(super) fn of(layers: &[(Source, Layer)]) -> Result<Self, ConfigError> {
        let settings = KEYS.iter().map(|key| {
            let said = layers
                .iter()
                .find_map(|(source, layer)| Some((source, layer.said.get(key.name)?)));
            let Some((source, said)) = said else {
                return Setting {
                    key,
                    value: (key.default)(),
                    source: Source::Default,
                    origin: None,
                };
            };
            let source = match said.origin {
                Origin::Flag(_) => Source::Flag,
                Origin::Variable(_) => Source::Environment,
                Origin::File(_) => *source,
            };
            Setting {
                key,
                value: said.value.clone(),
                source,
                origin: Some(said.origin.clone()),
            }
        });
        let mut resolved = Self {
            settings: settings.collect(),
        };
        resolved.settle_hold()?;
        resolved.check_pool()?;
        Ok(resolved)
    }

    /// A lock timeout longer than the usual hold raises it, as long as nobody said how long that is.
    fn settle_hold(&mut self) -> Result<(), ConfigError> {
        let lock_timeout = self.value("resource_manager.lock_timeout").clone();
        let hold = self.setting_mut("resource_manager.max_hold");
        if hold.value.as_u64() >= lock_timeout.as_u64() {
            return Ok(());
        }
        match &hold.origin {
            None => hold.value = lock_timeout,
            Some(origin) => {
                let message = format!(
                    "resource_manager.max_hold ({} s) must not be shorter than resource_manager.lock_timeout ({lock_timeout} s)",
                    hold.value
                );
                return Err(Fault {
                    origin: origin.clone(),
                    message,
                }
                .into());
            }
        }
        Ok(())
    }

    /// More working copies cannot be kept than there may be.
    fn check_pool(&self) -> Result<(), ConfigError> {
        let most = self.value("run.worktrees.max");
        let least = self
            .settings
            .iter()
            .find(|setting| setting.key.name == "run.worktrees.min");
        match least {
            Some(Setting {
                value,
                origin: Some(origin),
                ..
            }) if value.as_u64() > most.as_u64() => Err(Fault {
                origin: origin.clone(),
                message: format!(
                    "run.worktrees.min ({value}) must not be larger than run.worktrees.max ({most})"
                ),
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// Returns the value of a key of the table.
    pub(super) fn value(&self, name: &str) -> &Value {
        let found = self.settings.iter().find(|setting| setting.key.name == name);
        &found
            .unwrap_or_else(|| unreachable!("BUG: {name} is no key of the table"))
            .value
    }

    fn setting_mut(&mut self, name: &str) -> &mut Setting {
        let found = self.settings.iter_mut().find(|setting| setting.key.name == name);
        found.unwrap_or_else(|| unreachable!("BUG: {name} is no key of the table"))
    }
}
