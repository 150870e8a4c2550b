//! mirror: a git-aware transactional edit coordinator.

pub mod config;
pub mod disk;
pub mod host;
pub mod model;
pub mod workspace;
