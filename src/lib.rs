//! mirror: a git-aware transactional edit coordinator.
//!
//! Several workers change one repository at once. Each opens a *task* with a *lock set*, *stages* checksummed changes aside,
//! and *commits* them: every file is put in place, or none. Opening the repository recovers whatever a crash has left.
//!
//! # The tour
//!
//! A [`Mirror`] is a repository. A [`Declaration`] says what a task will need; all of it is locked when the task begins, or
//! nothing. Committing consumes the [`Task`], and so does rolling it back:
//!
//! ```
//! # use mirror::git::ScratchRepository;
//! use mirror::{Declaration, Mirror};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let directory = scratch.path();
//! # ScratchRepository::create(directory)?;
//! let mirror = Mirror::init(directory)?; // or Mirror::open, where that has been done
//! let mut task = mirror.begin(&Declaration::new("agent-1")?.write("src/parser.rs"))?;
//! task.stage("src/parser.rs", "fn parse() {}\n")?;
//! let receipt = task.commit("parser: begin anew")?;
//! assert!(receipt.commit.is_some(), "it is a git commit now, and in the working tree");
//! # Ok(())
//! # }
//! ```
//!
//! [`Mirror::run_task`] does all of it around a function, which is handed a working copy of its own. A validation is given the
//! exact result before anything is committed: what it refuses never happened.
//!
//! ```
//! # use mirror::git::ScratchRepository;
//! # use mirror::{CommitRequest, Declaration, Mirror};
//! # use std::fs;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # ScratchRepository::create(scratch.path())?;
//! # let mirror = Mirror::init(scratch.path())?;
//! let commit = CommitRequest::recorded("words").validated_by(|result| {
//!     match fs::read_to_string(result.join("words")) {
//!         Ok(words) if !words.is_empty() => Ok(()),
//!         _ => Err("there are no words"),
//!     }
//! });
//! let declaration = Declaration::new("agent-2")?.write("words");
//! let ran = mirror.run_task(&declaration, commit, |copy| fs::write(copy.root.join("words"), "one two\n"))?;
//! assert_eq!(fs::read_to_string(mirror.root().join("words"))?, "one two\n");
//! # assert!(ran.receipt.commit.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! [`Mirror::subscribe`] and [`Mirror::events`] tell what everybody does, in whatever process. The directory `examples` has a page
//! for each of the three.
//!
//! # The modules
//!
//! - [`embed`]: the short path above.
//! - [`coordinator`]: the verbs that it is made of, one file each: all that the command line can do. To read the code, start here.
//! - [`store`]: who holds what, over embedded SQLite or memory.
//! - [`workspace`]: staged objects, the manifest of a commit, and its application to the working tree.
//! - [`git`]: everything that knows git. [`disk`]: everything that writes. [`host`]: clocks and processes.
//! - [`config`]: settings. [`model`]: the words that all of them share.
//!
//! The command `mirror` is a thin face over this library. `docs/crash-safety.md` argues why every instant is safe.

pub mod config;
pub mod coordinator;
pub mod disk;
pub mod embed;
pub mod git;
pub mod host;
pub mod model;
pub mod store;
pub mod workspace;

pub use coordinator::{
    CommitRequest, Coordinator, Error, Observer, Outcome, Ran, Receipt, StageWhat, WorkingCopy,
};
pub use embed::{Declaration, Events, Mirror, NotCommitted, Options, Since, Subscription, Task, TaskError};
pub use model::{Event, EventKind, Interrupter};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
