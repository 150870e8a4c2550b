//! mirror: a git-aware transactional edit coordinator.

pub mod config;
pub mod model;
