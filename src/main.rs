//! The `mirror` command.

fn main() {}
