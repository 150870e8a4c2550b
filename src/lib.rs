//! mirror: a git-aware transactional edit coordinator.
//!
//! Several workers change one repository at once. Each opens a *task* with a *lock set*, *stages* checksummed changes aside,
//! and *commits* them: every file is put in place, or none. The straight line through the code is
//! [`Coordinator::begin`], [`Coordinator::stage`], [`Coordinator::commit`]; opening the repository recovers whatever a
//! crash has left.
//!
//! - [`coordinator`]: the verbs, one file each. Start here.
//! - [`store`]: who holds what, over embedded SQLite or memory.
//! - [`workspace`]: staged objects, the manifest of a commit, and its application to the working tree.
//! - [`git`]: everything that knows git. [`disk`]: everything that writes. [`host`]: clocks and processes.
//! - [`config`]: settings. [`model`]: the words that all of them share.
//!
//! The command `mirror` is a thin face over this library. `docs/crash-safety.md` argues why every instant is safe.
//!
//! [`Coordinator::begin`]: coordinator::Coordinator::begin
//! [`Coordinator::stage`]: coordinator::Coordinator::stage
//! [`Coordinator::commit`]: coordinator::Coordinator::commit

pub mod config;
pub mod coordinator;
pub mod disk;
pub mod git;
pub mod host;
pub mod model;
pub mod store;
pub mod workspace;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
