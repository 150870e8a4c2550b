//! `mirror config`

use std::fs;

use mirror::config::{self, Config, Layer};
use serde_json::{Value, json};

use crate::cli::{assert_left, initialised};
use crate::support::Sandbox;

const GOOD: [&str; 6] = [
    "",
    "git:\n",
    "resource_manager: {max_retries: 0, cleanup_interval: 5, performance: {compression: false}}\n",
    "git: {target: null, branch: dirty}\nhooks: {mode: warn}\n",
    "resource_manager: {lock_timeout: 60, strategies: {directories: {ignore_patterns: []}}}\n",
    "store: {url: sqlite}\nhistory: {keep_days: 0}\n",
];

const BAD: [&str; 8] = [
    "locks: 3\n",
    "git: {tranch: dirty}\n",
    "git: {branch: sometimes}\n",
    "git: dirty\n",
    "resource_manager: {lock_timeout: 0}\n",
    "resource_manager: {lock_timeout: '5'}\n",
    "resource_manager: {strategies: {directories: {recursive_default: 1}}}\n",
    "store: {url: 'redis://me:secret@host'}\n",
];

#[test]
fn the_schema_and_the_reader_agree() {
    let sandbox = Sandbox::directory();
    let schema = sandbox.mirror(["config", "schema", "--json"]).succeeded().json();
    assert_eq!(schema, config::schema());
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let shown = crate::readme::block("configuration");
    for text in GOOD.into_iter().chain([shown.as_str()]) {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        assert!(validator.is_valid(&value), "{text}");
        Config::from_layers([Layer::from_yaml("f", text).unwrap()]).unwrap();
    }
    for text in BAD {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        assert!(!validator.is_valid(&value), "{text}");
        assert!(Layer::from_yaml("f", text).is_err(), "{text}");
    }
    assert!(jsonschema::meta::is_valid(&schema));
}

#[test]
fn the_configuration_in_the_readme_is_the_default_and_has_every_key() {
    let shown: Value = serde_saphyr::from_str(&crate::readme::block("configuration")).unwrap();
    for key in config::KEYS {
        let value = key
            .name
            .split('.')
            .try_fold(&shown, |value, name| value.get(name));
        assert_eq!(value, Some(&(key.default)()), "{}", key.name);
    }
}

#[test]
fn every_fault_of_every_source_is_told_with_its_place() {
    let sandbox = initialised();
    let user = sandbox.home().join(".config/mirror");
    fs::create_dir_all(&user).unwrap();
    fs::write(user.join("config.yaml"), "hooks:\n  mode: maybe\n").unwrap();
    sandbox.write(".mirror/config.yaml", "locks: 3\ngit:\n  branch: sometimes\n");
    let left = sandbox
        .mirror_program()
        .args(["config", "check"])
        .env("MIRROR_HISTORY_KEEP_DAYS", "soon")
        .run();
    assert_left!(left, @r#"
    $ mirror config check
    --- stderr
    Error: Invalid value in the environment variable MIRROR_HISTORY_KEEP_DAYS: expected a whole number of days, at least 0, and not "soon"
      Invalid configuration: unknown key "locks", expected one of resource_manager, store, git, run, hooks, history, pools
       --> [SANDBOX]/root/.mirror/config.yaml:1:1
        |
      1 | locks: 3
        | ^
      Invalid configuration: git.branch: expected "never" or "dirty" or "always", and not "sometimes"
       --> [SANDBOX]/root/.mirror/config.yaml:3:11
        |
      3 |   branch: sometimes
        |           ^
      Invalid configuration: hooks.mode: expected "block" or "warn", and not "maybe"
       --> [SANDBOX]/home/.config/mirror/config.yaml:2:9
        |
      2 |   mode: maybe
        |         ^
    Hint: Mend it, or `unset MIRROR_HISTORY_KEEP_DAYS`
    Hint: Mend it; `mirror config check` says whether all is well, `mirror config schema` what there is
    --- exit 2
    "#);
    let document = sandbox
        .mirror(["config", "check", "--json"])
        .exited(2)
        .error_json();
    assert_eq!(document["error"]["kind"], "usage");
}

#[test]
fn a_configuration_that_holds_is_called_valid() {
    let sandbox = initialised();
    assert_left!(sandbox.mirror(["config", "check"]), @"
    $ mirror config check
    --- stdout
    Nothing is configured: every key has its default.
    --- exit 0
    ");
    sandbox.write(
        ".mirror/config.yaml",
        "git: {branch: dirty}\nhistory: {keep_days: 3}\n",
    );
    assert_left!(sandbox.mirror(["config", "check"]), @"
    $ mirror config check
    --- stdout
    The configuration is valid: it sets 2 keys.
    --- exit 0
    ");
    let document = sandbox.mirror(["config", "check", "--json"]).succeeded().json();
    assert_eq!(document, json!({"valid": true, "settings": 2}));
}

#[test]
fn a_contradiction_between_sources_is_told_where_the_stronger_one_stands() {
    let sandbox = initialised();
    sandbox.write(".mirror/config.yaml", "resource_manager:\n  max_hold: 100\n");
    assert_left!(sandbox.mirror(["config", "check"]), @"
    $ mirror config check
    --- stderr
    Error: Invalid configuration: resource_manager.max_hold (100 s) must not be shorter than resource_manager.lock_timeout (300 s)
       --> [SANDBOX]/root/.mirror/config.yaml:2:13
        |
      2 |   max_hold: 100
        |             ^
    Hint: Mend it; `mirror config check` says whether all is well, `mirror config schema` what there is
    --- exit 2
    ");
}

#[test]
fn every_key_is_shown_with_its_source() {
    let sandbox = initialised();
    let user = sandbox.home().join(".config/mirror");
    fs::create_dir_all(&user).unwrap();
    fs::write(user.join("config.yaml"), "history: {keep_days: 3}\n").unwrap();
    sandbox.write(
        ".mirror/config.yaml",
        "git:\n  branch: dirty\n  target: develop\n",
    );
    let arguments = ["config", "show", "--store", "sqlite"];
    let left = sandbox
        .mirror_program()
        .args(arguments)
        .env("MIRROR_GIT_BRANCH", "always")
        .run();
    let shown = left.succeeded().stdout().clone();
    let said: Vec<Vec<&str>> = shown
        .lines()
        .filter(|line| !line.ends_with(" default"))
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    let own = sandbox.path(".mirror/config.yaml").display().to_string();
    let user = user.join("config.yaml").display().to_string();
    assert_eq!(
        said,
        [
            ["store.url", "\"sqlite\"", "flag (--store)"],
            ["git.target", "\"develop\"", &format!("repository ({own}:3)")],
            ["git.branch", "\"always\"", "environment (MIRROR_GIT_BRANCH)"],
            ["history.keep_days", "3", &format!("user ({user}:1)")],
        ]
    );
    let document = sandbox.mirror(["config", "show", "--json"]).succeeded().json();
    let settings = document["settings"].as_array().unwrap();
    let names: Vec<&str> = settings
        .iter()
        .map(|setting| setting["key"].as_str().unwrap())
        .collect();
    assert_eq!(names, config::KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
    let branch = settings
        .iter()
        .find(|setting| setting["key"] == "git.branch")
        .unwrap();
    assert_eq!(branch["value"], "dirty");
    assert_eq!(branch["source"], "repository");
    assert_eq!(branch["line"], 2);
    assert_eq!(branch["default"], "never");
}

#[test]
fn outside_of_a_repository_the_rest_is_shown() {
    let sandbox = Sandbox::directory();
    sandbox.mirror(["config", "show"]).succeeded();
    sandbox.mirror(["config", "check"]).succeeded();
}
