//! The straight line: open a repository, begin a task, stage what it changes, commit all of it at once.
//!
//! ```text
//! $ cargo run --example commit
//! agent-1 holds file:src/parser.rs and dir:docs/
//! agent-2 is refused: file:src/parser.rs is held by agent-1
//! before the commit: fn parse() {}
//! after the commit:  fn parse(text: &str) {}
//! it is the newest commit of the branch: true
//! agent-2 is dropped, and its change with it: true
//! ```
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example prints, and writes files as any program does"
)]

use std::error::Error;
use std::fs;

use mirror::git::ScratchRepository;
use mirror::{Declaration, Mirror};

fn main() -> Result<(), Box<dyn Error>> {
    // A git repository to play in, which goes with `directory`. In a program of yours it is there already.
    let directory = tempfile::tempdir()?;
    let git = ScratchRepository::create(directory.path())?;
    fs::create_dir(directory.path().join("src"))?;
    fs::write(directory.path().join("src/parser.rs"), "fn parse() {}\n")?;
    git.commit_all("first")?;
    let parser = directory.path().join("src/parser.rs");

    // Once for each repository, as `mirror init` does it. Afterwards `Mirror::open` is enough.
    Mirror::init(directory.path())?;
    let mirror = Mirror::open(directory.path())?;

    // Everything that the task will write is locked now, or nothing. Who comes later is refused, or waits in line.
    let declaration = Declaration::new("agent-1")?.write("src/parser.rs").write("docs/");
    let mut task = mirror.begin(&declaration)?;
    let held: Vec<String> = task.resources().map(ToString::to_string).collect();
    println!("agent-1 holds {}", held.join(" and "));
    match mirror.begin(&Declaration::new("agent-2")?.write("src/parser.rs")) {
        Ok(_) => unreachable!("agent-1 holds it"),
        Err(error) => println!("agent-2 is refused: {error}"),
    }

    // Staged changes are written aside and checksummed. Nobody else sees them.
    task.stage("src/parser.rs", "fn parse(text: &str) {}\n")?;
    task.stage("docs/parser.md", "`parse` takes a text.\n")?;
    print!("before the commit: {}", fs::read_to_string(&parser)?);

    // All files at once, and a git commit of exactly these files. The task is consumed: nothing can be staged into it any more.
    // When this returns, the result survives a crash and a power loss.
    let receipt = task.commit("parser: take a text")?;
    print!("after the commit:  {}", fs::read_to_string(&parser)?);
    println!(
        "it is the newest commit of the branch: {}",
        receipt.commit == Some(git.tip()?)
    );

    // A task that is not committed is rolled back when its handle goes.
    let mut task = mirror.begin(&Declaration::new("agent-2")?.write("src/"))?;
    task.delete("src/parser.rs")?;
    drop(task);
    println!("agent-2 is dropped, and its change with it: {}", parser.exists());
    Ok(())
}
