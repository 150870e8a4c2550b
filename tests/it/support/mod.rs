//! What every test stands on: a [`Sandbox`] with its own home and git configuration, programs run in it, repositories
//! that are awkward on purpose, and crowds of workers that start at the same instant.

mod crowd;
pub(crate) mod oracle;
pub(crate) mod program;
mod repositories;
pub(crate) mod running;
mod sandbox;
mod scrub;
pub(crate) mod waits;

pub(crate) use crowd::at_once;
pub(crate) use repositories::Awkward;
pub(crate) use sandbox::Sandbox;

/// Returns a file or directory of the project, such as `src` or `fixtures/config`.
pub(crate) fn project(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
