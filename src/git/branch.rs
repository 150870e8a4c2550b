//! The tasks' own branches, the exclude file, and working copies of a commit.
//!
//! A task's branch is named after a uuid, so nobody else moves it; git may pack it, though.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::git::program::{failed, run};
use crate::git::{Git, GitError, Result, object_id};
use crate::model::ObjectId;

/// How often the directory of a new branch is made anew when git removes it.
const CREATE_TRIES_MAX: u32 = 16;

impl Git {
    /// Makes a task's own branch of `draft`, a file on the same file system that holds the commit's name and a line end.
    /// The branch must not exist.
    pub fn create_branch(&self, name: &str, draft: &Path) -> Result<()> {
        let mut tries = 0;
        loop {
            let file = self.ref_file(name)?;
            tries += 1;
            match disk::hard_link(draft, &file.loose) {
                // Git removes directories of refs that are empty, and did so between the two lines above.
                Err(error) if error.is_not_found() && tries < CREATE_TRIES_MAX => {}
                linked => return Ok(linked?),
            }
        }
    }

    /// Removes a task's own branch if it is still at `expected`. Removing it again is harmless.
    pub fn delete_branch(&self, name: &str, expected: ObjectId) -> Result<()> {
        if self.tip(name)? != Some(expected) {
            return Ok(());
        }
        if self.is_packed(name)? {
            // Only git itself rewrites the packed refs.
            self.run(&["update-ref", "-d", name, &expected.to_string()], b"")?;
            return Ok(());
        }
        let base = self.common_dir();
        for path in [base.join(name), base.join("logs").join(name)] {
            disk::remove_file_if_there(&path)?;
            self.remove_empty_above(&path)?;
        }
        Ok(())
    }

    /// Lists the branches whose full name begins with `prefix`.
    pub fn branches(&self, prefix: &str) -> Result<Vec<(String, ObjectId)>> {
        let fail = || GitError::of("listing branches");
        let mut found = Vec::new();
        for reference in self
            .repository
            .references_glob(&format!("{prefix}*"))
            .map_err(fail())?
        {
            let reference = reference.map_err(fail())?;
            if let (Ok(name), Some(tip)) = (reference.name(), reference.target()) {
                found.push((name.to_owned(), object_id(tip)));
            }
        }
        Ok(found)
    }

    /// Keeps git from ever listing `name`, a directory at the root of the main working tree.
    pub fn exclude(&self, name: &str) -> Result<()> {
        let path = self.common_dir().join("info/exclude");
        let line = format!("/{name}/");
        let held = disk::read_if_there(&path)?.unwrap_or_default();
        if held
            .split(|byte| *byte == b'\n')
            .any(|held| held == line.as_bytes())
        {
            return Ok(());
        }
        if let Some(above) = path.parent() {
            disk::create_dir_all(above)?;
        }
        let gap = if held.is_empty() || held.ends_with(b"\n") {
            ""
        } else {
            "\n"
        };
        Ok(disk::append(&path, format!("{gap}{line}\n").as_bytes())?)
    }

    /// Writes the files of a commit into a directory, as git would check them out. No index and no list of worktrees
    /// learns of it.
    pub fn export(&self, commit: ObjectId, into: &Path) -> Result<()> {
        let mut index = into.as_os_str().to_owned();
        index.push(".index");
        let index = PathBuf::from(index);
        disk::remove_file_if_there(&index)?;
        // As bytes: a directory above may have a name that is no text.
        let mut prefix = OsString::from("--prefix=");
        prefix.push(into);
        prefix.push("/");
        for arguments in [["read-tree", &commit.to_string()], ["checkout-index", "--all"]] {
            let mut command = self.program();
            command.args(arguments).env("GIT_INDEX_FILE", &index);
            if arguments[0] == "checkout-index" {
                command.arg(&prefix);
            }
            let output = run(&mut command, b"")?;
            if !output.status.success() {
                return Err(failed(&arguments, &output));
            }
        }
        Ok(disk::remove_file_if_there(&index)?)
    }

    fn is_packed(&self, name: &str) -> Result<bool> {
        let packed = disk::read_if_there(&self.common_dir().join("packed-refs"))?.unwrap_or_default();
        let ending = format!(" {name}");
        Ok(packed
            .split(|byte| *byte == b'\n')
            .any(|line| line.ends_with(ending.as_bytes())))
    }

    /// Removes the directories of our own branches above `path` that are empty, and no others.
    fn remove_empty_above(&self, path: &Path) -> Result<()> {
        let ours = ["refs/heads/mirror", "logs/refs/heads/mirror"].map(|below| self.common_dir().join(below));
        for above in path
            .ancestors()
            .skip(1)
            .filter(|above| ours.iter().any(|ours| above.starts_with(ours)))
        {
            if !disk::remove_dir_if_empty(above)? {
                break;
            }
        }
        Ok(())
    }
}
