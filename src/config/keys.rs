//! Every key there is: the one table that files, variables, defaults, the schema and [`Config`] follow.
//!
//! A new key is one line here, read as the field that the line names. Only keys that are honoured are listed: a key that would
//! do nothing is an error.

use serde_json::{Value, json};

use crate::config::kind::{
    Copies, Days, Directory, Flag, Kind, Mebibytes, Names, OneOf, Patterns, Seconds, StoreUrl, Text, Times,
    Whole,
};
use crate::config::pools::{Pools, Ports};
use crate::config::resolved::Resolved;
use crate::config::{Branch, Granularity, HookMode, Strategy};

/// A key.
#[derive(Debug)]
pub struct Key {
    /// As it is written in YAML, with dots between.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What it is when nobody says anything.
    pub default: fn() -> Value,
    /// Says what is wrong with a value.
    pub check: fn(&Value) -> Result<(), String>,
    /// Describes its values in the words of JSON Schema.
    pub schema: fn() -> Value,
    /// Whether its value may hold a password.
    pub is_secret: bool,
    /// Whether its value is a section with names of the user's own.
    pub has_entries: bool,
}

macro_rules! keys {
    ($($(#[doc = $about:literal])+ $field:ident: $kind:ty = $name:literal, $default:tt;)+) => {
        /// All keys.
        pub const KEYS: &[Key] = &[$(Key {
            name: $name,
            about: concat!($($about),+),
            default: || json!($default),
            check: |value| <$kind>::read(value).map(|_| ()),
            schema: <$kind>::schema,
            is_secret: <$kind as Kind>::IS_SECRET,
            has_entries: <$kind as Kind>::HAS_ENTRIES,
        }),+];

        /// Everything that can be configured, with every default filled in.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            $($(#[doc = $about])+ pub $field: <$kind as Kind>::Read,)+
        }

        impl Config {
            pub(super) fn read(settings: &Resolved) -> Self {
                Self {
                    $($field: <$kind>::read(settings.value($name))
                        .unwrap_or_else(|wrong| unreachable!("BUG: {} was checked when it was read: {wrong}", $name)),)+
                }
            }
        }
    };
}

keys! {
    /// Seconds between two renewals of a lease that something keeps alive.
    heartbeat_interval_ms: Seconds = "resource_manager.heartbeat_interval", 30;
    /// Seconds that locks outlive the last command of their task.
    lock_timeout_ms: Seconds = "resource_manager.lock_timeout", 300;
    /// Seconds after which even a live process loses a lease that it does not renew.
    max_hold_ms: Seconds = "resource_manager.max_hold", 43200;
    /// Seconds between two times that some command tidies up a little, after it has answered.
    cleanup_interval_ms: Seconds = "resource_manager.cleanup_interval", 60;
    /// How often something passing that is in the way of a commit is tried again: a git command at work, a target that moved.
    max_retries: Whole<0, Times> = "resource_manager.max_retries", 3;
    /// Whether a task locks files before it changes them, or only when it commits.
    strategy: OneOf<Strategy> = "resource_manager.strategies.files.mode", "pessimistic";
    /// What one lock on a file covers.
    granularity: OneOf<Granularity> = "resource_manager.strategies.files.granularity", "file";
    /// Whether a lock on a directory covers everything below it, or only its direct children.
    recursive_default: Flag = "resource_manager.strategies.directories.recursive_default", true;
    /// What patterns never expand to, in the form of `.gitignore`.
    ignore_patterns: Patterns = "resource_manager.strategies.directories.ignore_patterns", [".git", "node_modules"];
    /// The ports that `--port` chooses from, from the first to the last.
    port_range: Ports = "resource_manager.strategies.services.port_range", [5000, 6000];
    /// Whether old history, and files that commits have displaced, are packed.
    compression: Flag = "resource_manager.performance.compression", true;
    /// The store that holds the locks.
    store: StoreUrl = "store.url", "sqlite";
    /// The branch that tasks merge into; without it, the one that is checked out.
    target: Text = "git.target", null;
    /// Whether a task works on a branch of its own; `dirty`: when a locked file has uncommitted changes.
    branch: OneOf<Branch> = "git.branch", "never";
    /// Working copies that `cleanup --force` leaves prepared.
    worktrees_min: Whole<0, Copies> = "run.worktrees.min", 0;
    /// Working copies that runs may use at once.
    worktrees_max: Whole<1, Copies> = "run.worktrees.max", 8;
    /// The directory of the working copies, absolute or from the root of the main working tree: inside `.mirror`, or outside of
    /// every working tree of the repository.
    worktrees_dir: Directory = "run.worktrees.dir", ".mirror/worktrees";
    /// Patterns of what a working copy gets as links to the original.
    run_link: Names = "run.link", [];
    /// Patterns of what a working copy gets as copies of its own.
    run_copy: Names = "run.copy", [];
    /// What a git hook does when others hold what git is about to record.
    hook_mode: OneOf<HookMode> = "hooks.mode", "block";
    /// Days for which the history is kept.
    keep_days: Whole<0, Days> = "history.keep_days", 30;
    /// Mebibytes that the history and displaced files may take together; the oldest go first.
    max_mib: Whole<1, Mebibytes> = "history.max_mib", 256;
    /// What is shared out by number: lists of members for `--pool`, totals for `--quota`.
    pools: Pools = "pools", {};
}

/// Finds a key by its name.
pub(super) fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Tells whether keys begin with `name` and a dot.
pub(super) fn is_section(name: &str) -> bool {
    !members(name).is_empty()
}

/// Returns the names directly below a section, or the sections themselves below the empty name, in the order of the table.
pub(super) fn members(section: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    for key in KEYS {
        let below = match section {
            "" => Some(key.name),
            _ => key
                .name
                .strip_prefix(section)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let member = below.map(|below| below.split('.').next().unwrap_or(below));
        if let Some(member) = member.filter(|member| !found.contains(member)) {
            found.push(member);
        }
    }
    found
}
