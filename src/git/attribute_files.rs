//! The files that say how content is converted, read without forgiveness.
//!
//! To git and to libgit2 an attributes file that cannot be read is an empty one: content would be stored as it is, and
//! nobody would be told. So it is read here as well, where an error is an error, and whoever asks git about a path
//! that such a file may speak of asks twice. What fails once answers differently then.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::git::{Git, GitError, Result};
use crate::model::RepoPath;

impl Git {
    /// Asks something that depends on the attributes of `paths`; twice if there are any.
    pub(super) fn confirmed<'p, T: PartialEq>(
        &self,
        paths: impl Iterator<Item = &'p RepoPath>,
        ask: impl Fn() -> Result<T>,
    ) -> Result<T> {
        let answer = ask()?;
        if self.has_attributes(paths)? && ask()? != answer {
            return Err(unsteady());
        }
        Ok(answer)
    }

    /// Tells whether there is a file in the repository that may give attributes to one of `paths`.
    fn has_attributes<'p>(&self, paths: impl Iterator<Item = &'p RepoPath>) -> Result<bool> {
        let mut directories = BTreeSet::from([self.root().to_owned()]);
        for path in paths {
            let mut directory = self.root().join(path.as_path());
            // Those above a known one are known as well.
            while directory.pop() && directories.insert(directory.clone()) {}
        }
        let files = directories
            .iter()
            .map(|directory| directory.join(".gitattributes"));
        let own = self.common_dir().join("info/attributes");
        let mut found = false;
        for file in files.chain([own]) {
            found |= is_readable(&file)?;
        }
        Ok(found)
    }
}

/// Tells whether there is such a file. It is read to its end: being there is not enough.
fn is_readable(path: &Path) -> Result<bool> {
    let fail = |source| GitError::Io {
        doing: "reading",
        path: PathBuf::from(path),
        source,
    };
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => fs::read(path).map(|_| true).map_err(fail),
        Ok(_) => Ok(false),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(fail(error)),
    }
}

/// The same question had two answers.
pub(super) fn unsteady() -> GitError {
    GitError::Answer("it reads the attributes differently each time".to_owned())
}
