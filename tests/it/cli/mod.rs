//! The command line through the built binary: a file per subcommand, with snapshots of everything that is printed and of
//! the exit code.

mod arguments;
mod begin;
mod cleanup;
mod completions;
mod config;
mod history;
mod hook;
mod init;
mod lock;
mod man;
mod paths;
mod shares;
mod stage;
mod status;
mod who;

use insta::Settings;

use crate::support::Sandbox;

/// What differs from run to run and is more than the sandbox replaces: a pattern, and the word for it.
const FILTERS: [(&str, &str); 8] = [
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "[TIME]"),
    (r#""token":"\d+""#, r#""token":"[TOKEN]""#),
    (r"\b([Tt]oken) \d+", "$1 [TOKEN]"),
    (r#"_ms":-?\d+"#, r#"_ms":[MS]"#),
    (r"for (\d+(h|m|s|ms) ?)+ more", "for [SPAN] more"),
    (r"task-[0-9a-f]{8}", "task-[RANDOM]"),
    (r"\bas [0-9a-f]{10}\b", "as [OID]"),
    (r#""seq":\d+"#, r#""seq":[SEQ]"#),
];

/// A repository with `README`, `src/a.rs`, `src/ui/b.ts` and `src/ui/deep/c.ts`, set up for mirror.
fn initialised() -> Sandbox {
    let files = [
        ("README", "hello\n"),
        ("src/a.rs", "fn a() {}\n"),
        ("src/ui/b.ts", "b\n"),
        ("src/ui/deep/c.ts", "c\n"),
    ];
    let sandbox = Sandbox::with_files(&files);
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

/// Returns the settings under which everything that a command printed can be compared.
fn settings() -> Settings {
    let mut settings = Settings::new();
    for (pattern, word) in FILTERS {
        settings.add_filter(pattern, word);
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    settings.add_filter(&format!(r"\b{}\b", host.trim().replace('.', r"\.")), "[HOST]");
    settings
}

/// Compares what a program left behind with the snapshot in the test.
macro_rules! assert_left {
    ($finished:expr, @$snapshot:literal) => {
        crate::cli::settings().bind(|| insta::assert_snapshot!($finished.text(), @$snapshot))
    };
}
use assert_left;
