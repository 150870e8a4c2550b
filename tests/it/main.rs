//! The integration tests: one binary, a module per subject.
//!
//! Everything here runs against real git repositories and real processes, in sandboxes that see neither the user's
//! configuration nor each other, so that all of it may run at the same time.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on shall stop, and it prepares files as any program would"
)]

mod architecture;
mod cleanup;
mod cli;
mod commit;
mod declared;
mod demo;
mod embed;
mod examples;
mod foreign;
mod git;
mod hooks;
mod mounts;
mod optimistic;
mod providers;
mod readme;
mod run;
mod sandbox;
mod security;
mod stage;
mod store;
#[expect(dead_code, reason = "shared with the fault campaign, which uses the rest")]
mod support;
mod undo;
mod workspace;
