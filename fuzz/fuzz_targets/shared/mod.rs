//! What the targets share with the bounded tests of the package: what has to hold, git's rules, and the grammar of nonsense.
#![allow(dead_code, reason = "no target needs all of it")]

#[path = "../../../tests/it/security/bodies.rs"]
pub(crate) mod bodies;
#[path = "../../../tests/it/security/git_rules.rs"]
pub(crate) mod git_rules;
#[path = "../../../tests/it/security/grammar.rs"]
pub(crate) mod grammar;
