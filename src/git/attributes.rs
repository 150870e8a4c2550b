//! How content is converted on its way into git, and what git stores for bytes of the working tree.

use std::collections::BTreeMap;
use std::path::Path;

use git2::{AttrCheckFlags, AttrValue, ObjectType};

use crate::git::attribute_files::unsteady;
use crate::git::{Git, GitError, Objects, Result, Source};
use crate::model::{RepoPath, TreeEntry};

/// How the content of a path is converted between the working tree and git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversion {
    /// Byte for byte.
    None,
    /// Line endings or `$Id$`, which libgit2 converts exactly as git does.
    Lines,
    /// A program or another encoding, which only git itself converts.
    Program,
}

/// The attributes that convert content, in the order in which they are asked for.
const ATTRIBUTES: [&str; 6] = ["filter", "working-tree-encoding", "text", "eol", "ident", "crlf"];

/// Whether each of them is set, unset, or not spoken of.
type States = [Option<bool>; ATTRIBUTES.len()];

impl Git {
    /// Tells for each path whether anything is configured that converts its content.
    pub fn converts(&self, paths: &[RepoPath]) -> Result<Vec<bool>> {
        paths
            .iter()
            .map(|path| self.conversion(path).map(|found| found != Conversion::None))
            .collect()
    }

    pub(super) fn conversion(&self, path: &RepoPath) -> Result<Conversion> {
        let states = self.confirmed(std::iter::once(path), || self.states(path))?;
        Ok(self.conversion_by(states))
    }

    /// Asks libgit2.
    fn states(&self, path: &RepoPath) -> Result<States> {
        let mut states = [None; ATTRIBUTES.len()];
        for (state, name) in states.iter_mut().zip(ATTRIBUTES) {
            let value = self
                .repository
                .get_attr_bytes(path.as_path(), name, AttrCheckFlags::FILE_THEN_INDEX);
            let value = value.map_err(GitError::of("reading attributes"))?;
            *state = match AttrValue::from_bytes(value) {
                AttrValue::Unspecified => None,
                AttrValue::False => Some(false),
                AttrValue::True | AttrValue::String(_) | AttrValue::Bytes(_) => Some(true),
            };
        }
        Ok(states)
    }

    /// The same for many paths, in one process of git: libgit2 looks every directory up again for every attribute.
    pub(super) fn conversions(&self, paths: &[RepoPath]) -> Result<BTreeMap<RepoPath, Conversion>> {
        let mut input = Vec::new();
        for path in paths {
            input.extend_from_slice(path.as_bytes());
            input.push(0);
        }
        let mut arguments = vec!["check-attr", "-z", "--stdin"];
        arguments.extend(ATTRIBUTES);
        let answer = self.confirmed(paths.iter(), || self.run(&arguments, &input))?;
        // Path, attribute and value, each ended by a NUL; the attributes of a path come in the order of the question.
        let mut values = answer.split(|byte| *byte == 0).skip(2).step_by(3);
        let mut found = BTreeMap::new();
        for path in paths {
            let mut states = [None; ATTRIBUTES.len()];
            for state in &mut states {
                let value = values.next();
                let value = value.ok_or_else(|| GitError::Answer("git check-attr ended early".to_owned()))?;
                *state = match value {
                    b"unspecified" => None,
                    b"unset" => Some(false),
                    _ => Some(true),
                };
            }
            found.insert(path.clone(), self.conversion_by(states));
        }
        Ok(found)
    }

    fn conversion_by(&self, states: States) -> Conversion {
        let [filter, encoding, text, eol, ident, crlf] = states.map(|state| state == Some(true));
        let is_text_open = states[2].is_none();
        if filter || encoding {
            Conversion::Program
        } else if text || eol || ident || crlf || (is_text_open && self.converts_line_endings()) {
            Conversion::Lines
        } else {
            Conversion::None
        }
    }

    fn converts_line_endings(&self) -> bool {
        let setting = self
            .repository
            .config()
            .and_then(|config| config.get_string("core.autocrlf"));
        setting
            .is_ok_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "no" | "off" | "0"))
    }

    /// Tells what `git add` would store for each of these, without storing anything.
    pub fn stored_as(&self, items: &[(RepoPath, Source, bool)]) -> Result<Vec<TreeEntry>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        // Written into memory, and forgotten with it.
        let mut objects = Objects::scratch(self)?;
        objects.learn(items.iter().map(|(path, ..)| path))?;
        items
            .iter()
            .map(|(path, source, executable)| objects.blob(path, source, *executable))
            .collect()
    }

    /// Runs `git hash-object` for a path whose filter only git itself can run.
    pub(super) fn hash_object(&self, path: &RepoPath, bytes: &[u8], write: bool) -> Result<git2::Oid> {
        let name = std::str::from_utf8(path.as_bytes())
            .map_err(|_| GitError::Answer(format!("{path} has a filter, and its name is not UTF-8")))?;
        let path_argument = format!("--path={name}");
        let mut arguments = vec!["hash-object", "--stdin", &path_argument];
        if write {
            arguments.push("-w");
        }
        let plain =
            git2::Oid::hash_object(ObjectType::Blob, bytes).map_err(GitError::of("hashing a file"))?;
        let ask = || {
            let output = self.run(&arguments, bytes)?;
            let text = String::from_utf8_lossy(&output);
            git2::Oid::from_str(text.trim()).map_err(GitError::of("hashing a file"))
        };
        let id = ask()?;
        // Only then: a filter need not answer the same every time.
        if id == plain && ask()? != id {
            return Err(unsteady());
        }
        Ok(id)
    }
}

/// Reads a file of the working tree or a staged object.
pub(super) fn open(path: &Path) -> Result<std::fs::File> {
    std::fs::File::open(path).map_err(|source| GitError::Io {
        doing: "opening",
        path: path.to_owned(),
        source,
    })
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| GitError::Io {
        doing: "reading",
        path: path.to_owned(),
        source,
    })
}
