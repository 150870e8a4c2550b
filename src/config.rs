//! Configuration: YAML text in, [`Config`] out.
//!
//! Each source (a flag, the environment, `.mirror/config.yaml`, the user's file) becomes a [`Layer`] of plain values
//! in which everything may be missing; [`Config::from_layers`] puts them over each other and over the defaults.
//! Unknown keys, duplicates and wrong types are refused with the line they stand on. Only keys that are honoured
//! are known: a key that would do nothing is an error too.
//!
//! This module reads neither files nor the environment, and it is the only one that knows the YAML parser.

mod layer;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use serde_saphyr::UserMessageFormatter;

use self::layer::{AtLeastOne, Count, Days, Seconds, Store, Strategies};
use crate::model::Kind;

pub use self::layer::Layer;

/// What every environment variable for a key starts with.
const VARIABLE_PREFIX: &str = "MIRROR_";

/// All keys, as they are written in YAML with dots between.
pub const KEYS: [&str; 14] = [
    "resource_manager.heartbeat_interval",
    "resource_manager.lock_timeout",
    "resource_manager.max_hold",
    "resource_manager.strategies.directories.recursive_default",
    "resource_manager.strategies.directories.ignore_patterns",
    "store.url",
    "git.target",
    "git.branch",
    "run.worktrees.min",
    "run.worktrees.max",
    "run.link",
    "run.copy",
    "hooks.mode",
    "history.keep_days",
];

/// The largest file of settings that is read: far above what every key with a comment needs.
pub const BYTES_MAX: u64 = 1 << 20;

/// The only store that this version knows.
const SQLITE: &str = "sqlite";

/// Everything that can be configured, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Milliseconds between two renewals of a lease that something keeps alive.
    pub heartbeat_interval_ms: u64,
    /// Milliseconds from a lease's last renewal until it runs out.
    pub lock_timeout_ms: u64,
    /// Milliseconds without a renewal after which even a live owner's lease may be reaped.
    pub max_hold_ms: u64,
    /// How directories and patterns become locks.
    pub directories: Directories,
    /// The branch that tasks merge into; `None` is the branch that is checked out.
    pub target: Option<String>,
    /// Whether a task works on a branch of its own.
    pub branch: Branch,
    /// Where runs work.
    pub run: Run,
    /// What a git hook does when a check fails.
    pub hook_mode: HookMode,
    /// Days for which the history is kept.
    pub keep_days: u32,
}

/// How directories and patterns become locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// Whether a lock on a directory reaches everything below it, or only its direct children.
    pub recursive_default: bool,
    /// Patterns, in the form of `.gitignore`, of files that a glob never expands to.
    pub ignore_patterns: Vec<String>,
}

/// Where runs work, and what they find there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// How many working copies stay prepared when nobody uses them.
    pub worktrees_min: u32,
    /// How many there are at most.
    pub worktrees_max: u32,
    /// Patterns of paths that a working copy gets as links to the original.
    pub link: Vec<String>,
    /// Patterns of paths that a working copy gets as copies.
    pub copy: Vec<String>,
}

/// Whether a task works on a branch of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Branch {
    /// Never: commits go to the target directly.
    #[default]
    Never,
    /// When a locked file has uncommitted changes.
    Dirty,
    /// Always.
    Always,
}

/// What a git hook does when a check fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookMode {
    /// It refuses.
    #[default]
    Block,
    /// It says so and lets it pass.
    Warn,
}

/// Why a configuration is no good. Every variant is the user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is not what it should be.
    #[error("Invalid configuration: {report}")]
    File {
        /// Names the file, and shows the line.
        report: String,
    },
    /// A variable is not what it should be.
    #[error("Invalid value in the environment variable {variable}: {reason}")]
    Variable {
        /// Which one.
        variable: String,
        /// What is wrong.
        reason: String,
    },
    /// Another store than the one there is. The rest of its address, which may hold a password, is not repeated.
    #[error("The store {scheme:?} is not supported: this version knows only sqlite")]
    Store {
        /// What comes before the colon.
        scheme: String,
    },
    /// Two values that contradict each other.
    #[error(
        "resource_manager.max_hold ({max_hold} s) must not be shorter than resource_manager.lock_timeout ({lock_timeout} s)"
    )]
    Hold {
        /// In seconds.
        max_hold: u32,
        /// In seconds.
        lock_timeout: u32,
    },
    /// A pool that may be larger than it may be.
    #[error("run.worktrees.min ({min}) must not be larger than run.worktrees.max ({max})")]
    Worktrees {
        /// The least.
        min: u32,
        /// The most.
        max: u32,
    },
    /// A pattern that leads out of the repository.
    #[error("Invalid pattern in run.link or run.copy: {pattern}: {reason}")]
    Furniture {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A pattern that is none.
    #[error("Invalid pattern in resource_manager.strategies.directories.ignore_patterns")]
    Pattern(#[from] globset::Error),
}

impl Layer {
    /// Reads the text of a file, which errors call `origin`. An empty file, or one of comments alone, says nothing.
    pub fn from_yaml(origin: &str, text: &str) -> Result<Self, ConfigError> {
        let options = serde_saphyr::options! { strict_booleans: true };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let rendering = serde_saphyr::render_options! {
                formatter: &UserMessageFormatter,
                source_name: Some(origin),
            };
            let report = error.render_with_options(rendering);
            ConfigError::File {
                report: report.strip_prefix("error: ").unwrap_or(&report).to_owned(),
            }
        })
    }

    /// Asks `look_up` for the variable of every key. Its value is what one would write in YAML; an empty one counts
    /// as none.
    pub fn from_variables(look_up: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        KEYS.iter().try_fold(Self::default(), |below, key| {
            let variable = variable(key);
            match look_up(&variable).filter(|text| !text.is_empty()) {
                Some(text) => Self::from_variable(key, &variable, &text).map(|layer| layer.over(below)),
                None => Ok(below),
            }
        })
    }

    /// A layer that names the store and nothing else, as the flag does.
    pub fn from_store(url: Option<String>) -> Self {
        Self {
            store: url.map(|url| Store { url: Some(url) }),
            ..Self::default()
        }
    }

    fn from_variable(key: &str, variable: &str, text: &str) -> Result<Self, ConfigError> {
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        let fail = |reason: String| ConfigError::Variable {
            variable: variable.to_owned(),
            reason,
        };
        let value: Value = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| fail(error.render_with_formatter(&UserMessageFormatter)))?;
        let nested = key.rsplit('.').fold(value, |inner, name| {
            Value::Object(Map::from_iter([(name.to_owned(), inner)]))
        });
        serde_json::from_value(nested).map_err(|error| fail(error.to_string()))
    }
}

/// Returns the name of the environment variable that sets `key`: `MIRROR_GIT_TARGET` for `git.target`.
pub fn variable(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// The settings from outside the repository. The repository's own file goes between the two.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What is stronger than the repository's file: flags and the environment.
    pub above: Layer,
    /// What is weaker: the user's own file.
    pub below: Layer,
}

impl Settings {
    /// Puts the repository's layer between the two.
    pub fn with_repository(&self, repository: Layer) -> Result<Config, ConfigError> {
        Config::from_layers([self.above.clone(), repository, self.below.clone()])
    }
}

impl Config {
    /// Puts layers over each other, the strongest first, and over the defaults.
    pub fn from_layers(layers: impl IntoIterator<Item = Layer>) -> Result<Self, ConfigError> {
        let merged = layers.into_iter().reduce(Layer::over).unwrap_or_default();
        let leases = merged.resource_manager.unwrap_or_default();
        let git = merged.git.unwrap_or_default();
        check_store(merged.store.unwrap_or_default().url.as_deref())?;
        let lock_timeout = leases.lock_timeout.unwrap_or(Seconds(300));
        // A lock timeout longer than the usual hold raises it, as long as nobody said how long that is.
        let max_hold = leases
            .max_hold
            .unwrap_or(Seconds(lock_timeout.0.max(12 * 60 * 60)));
        if max_hold.0 < lock_timeout.0 {
            return Err(ConfigError::Hold {
                max_hold: max_hold.0,
                lock_timeout: lock_timeout.0,
            });
        }
        Ok(Self {
            heartbeat_interval_ms: leases.heartbeat_interval.unwrap_or(Seconds(30)).as_ms(),
            lock_timeout_ms: lock_timeout.as_ms(),
            max_hold_ms: max_hold.as_ms(),
            directories: Directories::from_layer(leases.strategies.unwrap_or_default())?,
            target: git.target,
            branch: git.branch.unwrap_or_default(),
            run: Run::from_layer(merged.run.unwrap_or_default())?,
            hook_mode: merged.hooks.unwrap_or_default().mode.unwrap_or_default(),
            keep_days: merged.history.unwrap_or_default().keep_days.unwrap_or(Days(30)).0,
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::from_layers([]).expect("BUG: the defaults contradict no rule")
    }
}

impl Run {
    fn from_layer(run: layer::Run) -> Result<Self, ConfigError> {
        let worktrees = run.worktrees.unwrap_or_default();
        let (min, max) = (
            worktrees.min.map_or(0, |Count(count)| count),
            worktrees.max.map_or(8, |AtLeastOne(count)| count),
        );
        if min > max {
            return Err(ConfigError::Worktrees { min, max });
        }
        let (link, copy) = (run.link.unwrap_or_default(), run.copy.unwrap_or_default());
        for pattern in link.iter().chain(&copy) {
            let reason = if pattern.is_empty() {
                "it is empty"
            } else if pattern.starts_with('/') {
                "it must be relative to the root of the repository"
            } else if pattern
                .split('/')
                .any(|part| matches!(part, ".." | ".git" | ".mirror"))
            {
                "it must stay inside the working tree"
            } else {
                continue;
            };
            return Err(ConfigError::Furniture {
                pattern: pattern.clone(),
                reason,
            });
        }
        Ok(Self {
            worktrees_min: min,
            worktrees_max: max,
            link,
            copy,
        })
    }
}

impl Directories {
    fn from_layer(strategies: Strategies) -> Result<Self, ConfigError> {
        let directories = strategies.directories.unwrap_or_default();
        let ignore_patterns = directories
            .ignore_patterns
            .unwrap_or_else(|| [".git", "node_modules"].map(str::to_owned).to_vec());
        for pattern in &ignore_patterns {
            globset::Glob::new(pattern.trim_start_matches('!'))?;
        }
        Ok(Self {
            recursive_default: directories.recursive_default.unwrap_or(true),
            ignore_patterns,
        })
    }
}

fn check_store(url: Option<&str>) -> Result<(), ConfigError> {
    match url {
        None | Some(SQLITE) => Ok(()),
        Some(other) => Err(ConfigError::Store {
            scheme: other.split(':').next().unwrap_or_default().to_owned(),
        }),
    }
}

impl ConfigError {
    /// Returns what kind of failure this is.
    pub fn kind(&self) -> Kind {
        Kind::Usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_yaml(text: &str) -> Result<Config, ConfigError> {
        Config::from_layers([Layer::from_yaml("config.yaml", text)?])
    }

    fn message(text: &str) -> String {
        from_yaml(text).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_says_nothing_means_the_defaults() {
        for text in [
            "",
            "\n",
            "# a comment\n",
            "---\n",
            "git:\n",
            "git: {target: null}\n",
            "resource_manager: {}\n",
        ] {
            assert_eq!(from_yaml(text).unwrap(), Config::default(), "{text:?}");
        }
        assert_eq!(
            Config::default(),
            Config {
                heartbeat_interval_ms: 30_000,
                lock_timeout_ms: 300_000,
                max_hold_ms: 43_200_000,
                directories: Directories {
                    recursive_default: true,
                    ignore_patterns: vec![".git".into(), "node_modules".into()],
                },
                target: None,
                branch: Branch::Never,
                run: Run {
                    worktrees_min: 0,
                    worktrees_max: 8,
                    link: Vec::new(),
                    copy: Vec::new(),
                },
                hook_mode: HookMode::Block,
                keep_days: 30,
            }
        );
    }

    #[test]
    fn every_key_is_honoured_from_a_file() {
        let config = from_yaml(
            "resource_manager:
  heartbeat_interval: 10
  lock_timeout: 60
  max_hold: 3600
  strategies:
    directories: {recursive_default: false, ignore_patterns: [target]}
store: {url: sqlite}
git: {target: develop, branch: dirty}
run: {worktrees: {min: 2, max: 16}, link: [node_modules], copy: [.env, '*.local']}
hooks: {mode: warn}
history: {keep_days: 7}
",
        );
        assert_eq!(
            config.unwrap(),
            Config {
                heartbeat_interval_ms: 10_000,
                lock_timeout_ms: 60_000,
                max_hold_ms: 3_600_000,
                directories: Directories {
                    recursive_default: false,
                    ignore_patterns: vec!["target".into()],
                },
                target: Some("develop".into()),
                branch: Branch::Dirty,
                run: Run {
                    worktrees_min: 2,
                    worktrees_max: 16,
                    link: vec!["node_modules".into()],
                    copy: vec![".env".into(), "*.local".into()],
                },
                hook_mode: HookMode::Warn,
                keep_days: 7,
            }
        );
    }

    #[test]
    fn every_key_is_honoured_from_the_environment_and_no_other_exists() {
        let samples = [
            "10", "60", "3600", "false", "[target]", "sqlite", "develop", "dirty", "1", "2", "[a]", "[b]",
            "warn", "7",
        ];
        let mut seen = Layer::default();
        for (key, sample) in KEYS.iter().zip(samples) {
            let layer = Layer::from_variables(|name| (name == variable(key)).then(|| sample.to_owned()));
            let layer = layer.unwrap();
            assert_ne!(layer, Layer::default(), "{key}");
            seen = layer.over(seen);
        }
        let mut missing = Vec::new();
        absent("", &serde_json::to_value(seen).unwrap(), &mut missing);
        assert_eq!(missing, Vec::<String>::new(), "keys that KEYS does not list");
        assert_eq!(variable("git.target"), "MIRROR_GIT_TARGET");
    }

    fn absent(above: &str, value: &Value, missing: &mut Vec<String>) {
        match value {
            Value::Null => missing.push(above.to_owned()),
            Value::Object(members) => {
                for (name, inner) in members {
                    absent(&format!("{above}.{name}"), inner, missing);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn a_stronger_layer_wins_key_by_key() {
        let flag = Layer::from_store(None);
        let environment =
            Layer::from_variables(|name| (name == "MIRROR_GIT_BRANCH").then(|| "always".into()));
        let repository = Layer::from_yaml("a", "git: {branch: dirty, target: one}").unwrap();
        let user = Layer::from_yaml("b", "git: {target: two}\nhistory: {keep_days: 3}").unwrap();
        let config = Config::from_layers([flag, environment.unwrap(), repository, user]).unwrap();
        assert_eq!(config.branch, Branch::Always);
        assert_eq!(config.target.as_deref(), Some("one"));
        assert_eq!(config.keep_days, 3);
    }

    #[test]
    fn unknown_keys_duplicates_and_wrong_types_show_the_line() {
        for (text, line, expected) in [
            ("# first\nlocks: 3\n", 2, "unknown field `locks`"),
            ("run: {worktree: {max: 3}}", 1, "unknown field `worktree`"),
            ("run:\n  worktrees: {max: 0}", 2, "at least 1"),
            (
                "resource_manager:\n  cleanup_interval: 60\n",
                2,
                "unknown field `cleanup_interval`",
            ),
            (
                "git: {}\ngit: {}\n",
                2,
                "duplicate mapping key: git not allowed here",
            ),
            (
                "resource_manager:\n  lock_timeout: '5'\n",
                2,
                "expected a whole number of seconds",
            ),
            (
                "resource_manager:\n  lock_timeout: 5m\n",
                2,
                "expected a whole number of seconds",
            ),
            ("resource_manager:\n  lock_timeout: 0\n", 2, "at least 1"),
            (
                "history: {keep_days: -1}",
                1,
                "invalid type: integer `-1`, expected a whole number of days",
            ),
            ("git:\n\n  target: 12\n", 3, "expected a string"),
            (
                "git:\n  branch: sometimes\n",
                2,
                "expected one of `never`, `dirty`, `always`",
            ),
            ("hooks: block\n", 1, "expected mapping start"),
            ("git: [\n", 1, "expected mapping start"),
        ] {
            let message = message(text);
            assert!(
                message.contains(&format!("config.yaml:{line}:")),
                "{text:?}: {message}"
            );
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }

    #[test]
    fn booleans_are_true_and_false_and_nothing_else() {
        for text in ["yes", "on", "'true'", "1", "True_"] {
            let text =
                format!("resource_manager: {{strategies: {{directories: {{recursive_default: {text}}}}}}}");
            assert!(message(&text).contains("expected a boolean"), "{text}");
        }
    }

    #[test]
    fn a_variable_with_a_wrong_value_is_named() {
        let layer = Layer::from_variables(|name| (name == "MIRROR_HISTORY_KEEP_DAYS").then(|| "soon".into()));
        assert_eq!(
            layer.unwrap_err().to_string(),
            "Invalid value in the environment variable MIRROR_HISTORY_KEEP_DAYS: invalid type: string \"soon\", expected a whole number of days, at least 0"
        );
        let nothing = Layer::from_variables(|_| Some(String::new()));
        assert_eq!(nothing.unwrap(), Layer::default());
    }

    #[test]
    fn another_store_is_refused_by_name_and_without_its_password() {
        let message = message("store: {url: 'redis://me:secret@example.com/0'}");
        assert_eq!(
            message,
            "The store \"redis\" is not supported: this version knows only sqlite"
        );
        let flag = Layer::from_store(Some("postgres://x".into()));
        let file = Layer::from_yaml("a", "store: {url: sqlite}").unwrap();
        assert!(Config::from_layers([flag, file]).is_err());
    }

    #[test]
    fn values_that_contradict_each_other_or_mean_nothing_are_refused() {
        assert!(message("resource_manager: {max_hold: 10}").contains("max_hold (10 s)"));
        let long = from_yaml("resource_manager: {lock_timeout: 90000}").unwrap();
        assert_eq!(long.max_hold_ms, 90_000_000);
        let pattern = message("resource_manager: {strategies: {directories: {ignore_patterns: ['a[']}}}");
        assert!(pattern.starts_with("Invalid pattern"), "{pattern}");
    }
}
