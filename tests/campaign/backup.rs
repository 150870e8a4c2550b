//! A copy of everything in a sandbox, to be put back in its place as often as needed.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::Sandbox;

/// A copy of everything in a sandbox.
pub(crate) struct Backup {
    copy: TempDir,
}

impl Backup {
    pub(crate) fn of(sandbox: &Sandbox) -> Self {
        let copy = tempfile::tempdir().unwrap();
        copy_all(&sandbox.beside(""), copy.path());
        Self { copy }
    }

    /// Makes the sandbox what it was. Its own directory stays, since others may stand in it.
    pub(crate) fn restore(&self, sandbox: &Sandbox) {
        let top = sandbox.beside("");
        for entry in std::fs::read_dir(&top).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
        copy_all(self.copy.path(), &top);
    }
}

fn copy_all(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(
        status.unwrap().success(),
        "copied {} to {}",
        from.display(),
        to.display()
    );
}
