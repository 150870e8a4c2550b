//! Four threads change one file at once. Each works in a copy of its own; what fails its validation never happened.
//!
//! ```text
//! $ cargo run --example run_task
//! baker: committed
//! brewer: committed
//! miller: committed
//! robber: The validation failed: the balance would be negative
//! the balance is 23
//! ```
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example prints, and writes files as any program does"
)]

use std::error::Error;
use std::fs;
use std::panic;
use std::path::Path;
use std::thread;
use std::time::Duration;

use mirror::git::ScratchRepository;
use mirror::{CommitRequest, Declaration, Mirror, TaskError};

/// Who adds how much to the balance.
const WORKERS: [(&str, i64); 4] = [("baker", 5), ("brewer", -3), ("miller", 11), ("robber", -1000)];

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // A git repository to play in, which goes with `directory`.
    let directory = tempfile::tempdir()?;
    let git = ScratchRepository::create(directory.path())?;
    fs::write(directory.path().join("balance"), "10\n")?;
    git.commit_all("first")?;

    // One handle for all threads. Each task stands for itself.
    let mirror = Mirror::init(directory.path())?;
    let outcomes = thread::scope(|scope| {
        let mirror = &mirror;
        let threads = WORKERS.map(|(name, sum)| scope.spawn(move || add(mirror, name, sum)));
        threads.map(|thread| thread.join().unwrap_or_else(|fault| panic::resume_unwind(fault)))
    });

    for ((name, _), outcome) in WORKERS.iter().zip(outcomes) {
        match outcome {
            Ok(()) => println!("{name}: committed"),
            Err(error) => {
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                println!("{name}: {error}: {cause}");
            }
        }
    }
    // Nobody's sum was lost, although all of them wrote to one file at once.
    println!("the balance is {}", balance(directory.path())?);
    Ok(())
}

/// Adds to the balance, as a task.
fn add(mirror: &Mirror, name: &str, sum: i64) -> Result<(), TaskError> {
    // All of them want to write to the same file, so they take turns: this waits in line.
    let declaration = Declaration::new(name)?
        .write("balance")
        .wait(Duration::from_mins(1))
        .reason("to change the balance");
    // The validation is given a copy of exactly what would be committed.
    let commit = CommitRequest::recorded(format!("{name}: {sum}")).validated_by(is_not_negative);
    // The copy holds what git holds at the moment at which the locks are granted. Whatever is changed in it is committed; if
    // this function fails or panics, nothing of it stays.
    mirror.run_task(&declaration, commit, |copy| {
        let new = balance(&copy.root)? + sum;
        fs::write(copy.root.join("balance"), format!("{new}\n")).map_err(|error| error.to_string())
    })?;
    Ok(())
}

/// Refuses a balance below nothing.
fn is_not_negative(result: &Path) -> Result<(), String> {
    if balance(result)? < 0 {
        return Err("the balance would be negative".to_owned());
    }
    Ok(())
}

/// Reads the balance in a working tree.
fn balance(root: &Path) -> Result<i64, String> {
    let text = fs::read_to_string(root.join("balance")).map_err(|error| error.to_string())?;
    text.trim().parse().map_err(|_| format!("{text:?} is no number"))
}
