//! mirror: a git-aware transactional edit coordinator.

pub mod model;
