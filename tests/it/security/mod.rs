//! Hostile input gets nowhere: names, files, settings, other users, and whoever swaps directories for links.
//! `docs/security.md` says what is defended and names the tests that show it.

mod bodies;
mod foreign;
mod fuzz;
mod git_rules;
mod grammar;
mod limits;
mod manifests;
mod names;
mod settings;
mod swaps;
mod terminal;

use std::sync::LazyLock;

use mirror::model::misleads;

use crate::support::program::Finished;

/// How many times longer than usual the tests of chance run: `MIRROR_SECURITY_ROUNDS=10 cargo test --test it security::`.
/// Ten is what is run before a release; one is what is run at every change.
static ROUNDS: LazyLock<usize> = LazyLock::new(|| {
    let asked = std::env::var("MIRROR_SECURITY_ROUNDS");
    asked.map_or(1, |rounds| {
        rounds.parse().expect("MIRROR_SECURITY_ROUNDS is a number")
    })
});

/// Fails the test if a terminal would obey something of what was printed.
#[track_caller]
fn assert_shown(left: &Finished) {
    for text in [left.stdout(), left.stderr()] {
        let obeyed = text.chars().find(|c| misleads(*c) && !matches!(c, '\n' | '\t'));
        assert_eq!(obeyed, None, "{left}");
    }
}
