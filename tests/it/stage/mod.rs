//! Staging through the library: changes in every form, refusals that leave nothing behind, and what they look like
//! afterwards. Real git repositories say what the outcome has to be.

mod content;
mod moves;
mod patch;
mod refusals;
mod tree;
mod worker;
