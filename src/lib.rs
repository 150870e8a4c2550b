//! mirror: a git-aware transactional edit coordinator.

pub mod config;
pub mod coordinator;
pub mod disk;
pub mod git;
pub mod host;
pub mod model;
pub mod store;
pub mod workspace;
