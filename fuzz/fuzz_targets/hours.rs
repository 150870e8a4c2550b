//! Paths by grammar, for as long as one likes, on any toolchain: `cargo run --release --bin hours -- SECONDS SEED`.
//!
//! A guided fuzzer finds what a parser branches on; this finds what a rule forgot, at many times the rate.

use std::time::{Duration, Instant};

mod shared;

use shared::bodies;
use shared::git_rules::Libgit2;
use shared::grammar::Seed;

/// How many are asked between two looks at the clock. The first of each are put to libgit2 as well, which is slower.
const BATCH: u64 = 1_000_000;
const BATCH_LIBGIT2: u64 = 20_000;

/// Of how many one is asked everything, not only the rule.
const WHOLE_EVERY: u64 = 16;

fn main() {
    let mut words = std::env::args()
        .skip(1)
        .map(|word| word.parse().expect("a number"));
    let span = Duration::from_secs(words.next().unwrap_or(60));
    let mut seed = Seed::new(words.next().unwrap_or(0));
    let directory = tempfile::tempdir().expect("a directory is made");
    let mut libgit2 = Libgit2::new(directory.path());
    let (began, mut text, mut done, mut asked) = (Instant::now(), Vec::new(), 0, 0);
    while began.elapsed() < span {
        for number in 0..BATCH {
            seed.path(&mut text);
            if number % WHOLE_EVERY == 0 {
                bodies::path(&text);
            } else {
                bodies::path_rule(&text);
            }
            if number < BATCH_LIBGIT2 && mirror::model::RepoPath::new(&text[..]).is_ok() {
                assert!(!libgit2.refuses(&text, false), "{}", text.escape_ascii());
                asked += 1;
            }
        }
        done += BATCH;
        if done % (50 * BATCH) == 0 {
            println!(
                "{done} paths, {asked} of them put to libgit2, {:?}",
                began.elapsed()
            );
        }
    }
    println!(
        "{done} paths, {asked} of them put to libgit2, {:?}",
        began.elapsed()
    );
}
