//! Git hooks: they stand beside what is there, they refuse what others hold, and they never pass in silence.

mod answers;
mod apart;
mod beside;
mod install;
mod layouts;
mod server;

use std::path::PathBuf;

use crate::support::Sandbox;
use crate::support::program::{Finished, Program};

/// Git with this build of mirror in its search path, as a user has it.
fn git(sandbox: &Sandbox, arguments: &[&str]) -> Program {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_mirror"));
    let directories = [program.parent().unwrap().to_owned()].into_iter();
    let search_path = std::env::var_os("PATH").unwrap();
    let search_path = std::env::join_paths(directories.chain(std::env::split_paths(&search_path))).unwrap();
    sandbox.program("git").env("PATH", search_path).args(arguments)
}

#[track_caller]
fn assert_refused(finished: &Finished, words: &[&str]) {
    assert_ne!(finished.code(), Some(0), "{}", finished.text());
    for word in words {
        assert!(finished.stderr().contains(word), "{word}: {}", finished.text());
    }
}
