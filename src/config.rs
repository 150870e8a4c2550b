//! Configuration: YAML text in, [`Config`] out.
//!
//! Each source (a flag, the environment, `.mirror/config.yaml`, the user's file) becomes a [`Layer`] of plain values
//! in which everything may be missing; [`Settings`] puts them over each other and over the defaults.
//! Unknown keys, duplicates and wrong values are refused, all of them at once, with the line they stand on.
//!
//! `keys` is the table that everything else follows. This module reads neither files nor the environment.

mod fault;
mod keys;
mod kind;
mod layer;
mod pools;
mod resolved;
mod schema;

use serde::Serialize;

pub use self::fault::{ConfigError, Fault, Origin, Place};
pub use self::keys::{Config, KEYS, Key};
use self::kind::Choice;
pub use self::layer::Layer;
pub use self::pools::{Pooled, PortRange, Stocked};
pub use self::resolved::{Resolved, Setting, Source};
pub use self::schema::schema;

/// What every environment variable for a key starts with.
const VARIABLE_PREFIX: &str = "MIRROR_";

/// The largest file of settings that is read: far above what every key with a comment needs.
pub const BYTES_MAX: u64 = 1 << 20;

/// The only store that this version knows.
const SQLITE: &str = "sqlite";

/// Whether a task works on a branch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Branch {
    /// Never: commits go to the target directly.
    Never,
    /// When a locked file has uncommitted changes.
    Dirty,
    /// Always.
    Always,
}

impl Choice for Branch {
    const ALL: &'static [Self] = &[Self::Never, Self::Dirty, Self::Always];
}

/// When a task locks the files that it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Before it changes them.
    Pessimistic,
    /// When it commits, for as long as that takes.
    Optimistic,
}

impl Choice for Strategy {
    const ALL: &'static [Self] = &[Self::Pessimistic, Self::Optimistic];
}

impl Strategy {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pessimistic => "pessimistic",
            Self::Optimistic => "optimistic",
        }
    }
}

/// What one lock on a file covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// All of it. Two tasks that change one file follow one another, or merge.
    File,
}

impl Choice for Granularity {
    const ALL: &'static [Self] = &[Self::File];
}

/// What a git hook does when a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HookMode {
    /// It refuses.
    Block,
    /// It says so and lets it pass.
    Warn,
}

impl Choice for HookMode {
    const ALL: &'static [Self] = &[Self::Block, Self::Warn];
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
        self.resolve(repository).map(|resolved| Config::read(&resolved))
    }

    /// The same, with the source of each value.
    pub fn resolve(&self, repository: Layer) -> Result<Resolved, ConfigError> {
        Resolved::of(&[
            (Source::Environment, self.above.clone()),
            (Source::Repository, repository),
            (Source::User, self.below.clone()),
        ])
    }
}

impl Config {
    /// Puts layers over each other, the strongest first, and over the defaults.
    pub fn from_layers(layers: impl IntoIterator<Item = Layer>) -> Result<Self, ConfigError> {
        let layers: Vec<_> = layers
            .into_iter()
            .map(|layer| (Source::Repository, layer))
            .collect();
        Resolved::of(&layers).map(|resolved| Self::read(&resolved))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::from_layers([]).expect("BUG: the defaults contradict no rule")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn from_yaml(text: &str) -> Result<Config, ConfigError> {
        Config::from_layers([Layer::from_yaml("config.yaml", text)?])
    }

    fn message(text: &str) -> String {
        from_yaml(text).unwrap_err().to_string()
    }

    /// A legal value of a key that is not its default, if there is one.
    fn another(key: &Key) -> Option<Value> {
        let (schema, default) = ((key.schema)(), (key.default)());
        if let Some(words) = schema["enum"].as_array() {
            return words.iter().find(|word| **word != default).cloned();
        }
        if let Some(examples) = schema["examples"].as_array() {
            return examples.first().cloned();
        }
        Some(match schema["type"].as_str().unwrap() {
            "integer" => (default.as_u64().unwrap() + 1).into(),
            "boolean" => (!default.as_bool().unwrap()).into(),
            "array" => json!(["target"]),
            "string" => json!("develop"),
            other => unreachable!("{other}"),
        })
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
        let default = Config::default();
        assert_eq!(default.lock_timeout_ms, 300_000);
        assert_eq!(default.max_hold_ms, 43_200_000);
        assert_eq!(default.ignore_patterns, [".git", "node_modules"]);
        assert_eq!(default.target, None);
    }

    #[test]
    fn every_key_is_read_from_a_file_and_from_the_environment() {
        for key in KEYS {
            (key.check)(&(key.default)()).unwrap_or_else(|wrong| panic!("{}: {wrong}", key.name));
            let Some(value) = another(key) else { continue };
            let nested = key
                .name
                .rsplit('.')
                .fold(value.clone(), |inner, name| json!({name: inner}));
            let config = from_yaml(&nested.to_string()).unwrap();
            assert_ne!(config, Config::default(), "{}", key.name);
            let layer = Layer::from_variables(|name| (name == variable(key.name)).then(|| value.to_string()));
            assert_eq!(
                Config::from_layers([layer.unwrap()]).unwrap(),
                config,
                "{}",
                key.name
            );
        }
        assert_eq!(variable("git.target"), "MIRROR_GIT_TARGET");
    }

    #[test]
    fn a_stronger_layer_wins_key_by_key_and_is_named() {
        let environment =
            Layer::from_variables(|name| (name == "MIRROR_GIT_BRANCH").then(|| "always".into()));
        let settings = Settings {
            above: Layer::from_store(Some("sqlite".into()))
                .unwrap()
                .over(environment.unwrap()),
            below: Layer::from_yaml("b", "git: {target: two}\nhistory: {keep_days: 3}").unwrap(),
        };
        let repository = || Layer::from_yaml("a", "git: {branch: dirty, target: one}").unwrap();
        let config = settings.with_repository(repository()).unwrap();
        assert_eq!(config.branch, Branch::Always);
        assert_eq!(config.target.as_deref(), Some("one"));
        assert_eq!(config.keep_days, 3);
        let resolved = settings.resolve(repository()).unwrap();
        let source = |name| {
            resolved
                .settings
                .iter()
                .find(|setting| setting.key.name == name)
                .unwrap()
                .source
        };
        assert_eq!(source("store.url"), Source::Flag);
        assert_eq!(source("git.branch"), Source::Environment);
        assert_eq!(source("git.target"), Source::Repository);
        assert_eq!(source("history.keep_days"), Source::User);
        assert_eq!(source("hooks.mode"), Source::Default);
    }

    #[test]
    fn unknown_keys_duplicates_and_wrong_values_show_the_line() {
        for (text, line, expected) in [
            (
                "# first\nlocks: 3\n",
                2,
                "unknown key \"locks\", expected one of resource_manager, ",
            ),
            (
                "git: {tranch: dirty}",
                1,
                "unknown key \"git.tranch\", expected one of target, branch",
            ),
            ("git.branch: dirty", 1, "unknown key \"git.branch\""),
            (
                "git: {}\ngit: {}\n",
                2,
                "duplicate mapping key: git not allowed here",
            ),
            (
                "resource_manager:\n  lock_timeout: '5'\n",
                2,
                "expected a whole number of seconds, at least 1, and not \"5\"",
            ),
            ("resource_manager:\n  lock_timeout: 5m\n", 2, "and not \"5m\""),
            (
                "resource_manager:\n  lock_timeout: 0\n",
                2,
                "at least 1, and not 0",
            ),
            (
                "history: {keep_days: -1}",
                1,
                "expected a whole number of days, at least 0, and not -1",
            ),
            ("git:\n\n  target: 12\n", 3, "expected a text, and not 12"),
            (
                "git:\n  branch: sometimes\n",
                2,
                "expected \"never\" or \"dirty\" or \"always\", and not \"sometimes\"",
            ),
            ("hooks: block\n", 1, "hooks: expected a section with some of mode"),
            ("5\n", 1, "the file: expected a section"),
            ("a: 1\ngit: [\n", 2, "unclosed bracket '['"),
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
    fn all_faults_are_found_at_once() {
        let error = from_yaml("locks: 3\ngit: {branch: no, target: one}\nhooks: {mode: [1]}\n").unwrap_err();
        let lines: Vec<u64> = error
            .faults
            .iter()
            .map(|fault| match &fault.origin {
                Origin::File(place) => place.line,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lines, [1, 2, 3]);
    }

    #[test]
    fn booleans_are_true_and_false_and_nothing_else() {
        for text in ["yes", "on", "'true'", "1", "True_"] {
            let text =
                format!("resource_manager: {{strategies: {{directories: {{recursive_default: {text}}}}}}}");
            assert!(message(&text).contains("expected true or false"), "{text}");
        }
    }

    #[test]
    fn a_variable_with_a_wrong_value_is_named() {
        let layer = Layer::from_variables(|name| (name == "MIRROR_HISTORY_KEEP_DAYS").then(|| "soon".into()));
        assert_eq!(
            layer.unwrap_err().to_string(),
            "Invalid value in the environment variable MIRROR_HISTORY_KEEP_DAYS: expected a whole number of days, at least 0, and not \"soon\""
        );
        let nothing = Layer::from_variables(|_| Some(String::new()));
        assert_eq!(nothing.unwrap(), Layer::default());
    }

    #[test]
    fn another_store_is_refused_by_name_and_without_its_password() {
        let message = message("store: {url: 'redis://me:secret@example.com/0'}");
        assert!(message.contains("the store \"redis\" is not supported: this version knows only sqlite"));
        assert!(!message.contains("secret"), "{message}");
        assert!(Layer::from_store(Some("postgres://x".into())).is_err());
    }

    #[test]
    fn values_that_contradict_each_other_or_mean_nothing_are_refused() {
        let hold = message("resource_manager: {\n  max_hold: 10}");
        assert!(
            hold.contains("max_hold (10 s)") && hold.contains("config.yaml:2:13"),
            "{hold}"
        );
        let long = from_yaml("resource_manager: {lock_timeout: 90000}").unwrap();
        assert_eq!(long.max_hold_ms, 90_000_000);
        let pool = message("run:\n  worktrees: {max: 2, min: 3}");
        assert!(
            pool.contains("run.worktrees.min (3)") && pool.contains(":2:"),
            "{pool}"
        );
        let outside = message("run: {copy: [.env, ../secret]}");
        assert!(outside.contains("../secret"), "{outside}");
        let pattern = message("resource_manager: {strategies: {directories: {ignore_patterns: ['a[']}}}");
        assert!(pattern.contains("invalid pattern"), "{pattern}");
    }
}
