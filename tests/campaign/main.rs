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

#[cfg(target_arch = "x86_64")]
mod backup;
#[cfg(target_arch = "x86_64")]
mod bench;
#[cfg(target_arch = "x86_64")]
mod calls;
#[cfg(target_arch = "x86_64")]
mod crowd;
#[cfg(target_arch = "x86_64")]
mod errors;
#[cfg(target_arch = "x86_64")]
mod kill;
#[cfg(target_arch = "x86_64")]
mod mutants;
#[cfg(target_arch = "x86_64")]
mod pause;
#[cfg(target_arch = "x86_64")]
mod points;
#[cfg(target_arch = "x86_64")]
mod power;
#[cfg(target_arch = "x86_64")]
mod sample;
#[cfg(target_arch = "x86_64")]
mod situation;
#[cfg(target_arch = "x86_64")]
mod state;
#[cfg(target_arch = "x86_64")]
mod stories;
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the integration tests, which use the rest"
)]
#[path = "../it/support/mod.rs"]
#[cfg(target_arch = "x86_64")]
mod support;
#[cfg(target_arch = "x86_64")]
mod syncs;
#[cfg(target_arch = "x86_64")]
mod tally;
#[cfg(target_arch = "x86_64")]
mod trace;
#[cfg(target_arch = "x86_64")]
mod whole;

use std::process::ExitCode;

/// The tracer reads the registers of one kind of processor.
#[cfg(not(target_arch = "x86_64"))]
fn main() -> ExitCode {
    println!("!!! THE FAULT CAMPAIGN IS NOT RUN HERE: it needs x86-64");
    ExitCode::SUCCESS
}

#[cfg(target_arch = "x86_64")]
fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("whole") {
        return whole::main();
    }
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), sample::trials()).exit_code()
}
