//! The fault campaign: whatever happens at whatever instant, the old state or the new one, whole.
//!
//! Run by `cargo test` it takes a seeded sample of every kind of fault. `cargo test --test campaign -- whole KIND` runs
//! as much of one kind as is asked for; `docs/testing.md` tells what there is and how to repeat a single experiment.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot go on shall stop, it prepares files as any program would, and it reports"
)]

mod backup;
mod bench;
mod calls;
mod crowd;
mod errors;
mod kill;
mod mutants;
mod points;
mod power;
mod sample;
mod situation;
mod state;
mod stories;
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the integration tests, which use the rest"
)]
#[path = "../it/support/mod.rs"]
mod support;
mod tally;
mod trace;
mod whole;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("whole") {
        return whole::main();
    }
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), sample::trials()).exit_code()
}
