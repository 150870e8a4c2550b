//! What git checks out for bytes that are stored.

use std::io::{self, BufRead as _, Read};

use git2::ObjectType;

use crate::git::attribute_files::unsteady;
use crate::git::attributes::Conversion;
use crate::git::program::{failed, run};
use crate::git::{Git, GitError, Result, oid};
use crate::host::unique_id;
use crate::model::{FileMode, RepoPath, TreeEntry};

impl Git {
    /// Calls `write` with the bytes that git would check out for each item, in order.
    pub fn checkout_bytes(
        &self,
        items: &[(RepoPath, TreeEntry)],
        write: &mut dyn FnMut(usize, &mut dyn Read) -> io::Result<()>,
    ) -> Result<()> {
        let mut filtered = Vec::new();
        let mut contents: Vec<Option<Vec<u8>>> = vec![None; items.len()];
        for (index, (path, entry)) in items.iter().enumerate() {
            if entry.mode != FileMode::Symlink && self.conversion(path)? != Conversion::None {
                filtered.push(index);
            }
        }
        for (index, bytes) in filtered.iter().zip(self.smudged(items, &filtered)?) {
            contents[*index] = Some(bytes);
        }
        let odb = self.repository.odb().map_err(GitError::of("reading objects"))?;
        for (index, (path, entry)) in items.iter().enumerate() {
            let fail = |source| GitError::Io {
                doing: "writing what git checks out for",
                path: path.as_path().into(),
                source,
            };
            if let Some(bytes) = contents[index].take() {
                write(index, &mut bytes.as_slice()).map_err(fail)?;
            } else {
                let object = odb.read(oid(entry.id)).map_err(GitError::of("reading a blob"))?;
                if object.kind() != ObjectType::Blob {
                    return Err(GitError::Answer(format!("{path} is no blob")));
                }
                write(index, &mut object.data()).map_err(fail)?;
            }
        }
        Ok(())
    }

    /// Asks git for what it checks out for some of `items`; again for what came back as it is stored: git may have missed
    /// the attributes.
    fn smudged(&self, items: &[(RepoPath, TreeEntry)], wanted: &[usize]) -> Result<Vec<Vec<u8>>> {
        let answers = self.smudged_once(items, wanted)?;
        let odb = self.repository.odb().map_err(GitError::of("reading objects"))?;
        let mut same = Vec::new();
        for (index, bytes) in wanted.iter().zip(&answers) {
            let stored = odb
                .read(oid(items[*index].1.id))
                .map_err(GitError::of("reading a blob"))?;
            if stored.data() == bytes.as_slice() {
                same.push((*index, bytes));
            }
        }
        let indices: Vec<usize> = same.iter().map(|(index, _)| *index).collect();
        let again = self.smudged_once(items, &indices)?;
        if again.iter().zip(&same).any(|(again, (_, bytes))| again != *bytes) {
            return Err(unsteady());
        }
        Ok(answers)
    }

    /// Asks git for what it checks out for some of `items`, all in one process.
    ///
    /// The size in git's answer is the one before the filters, so it does not tell where an object ends. Every request
    /// is followed by one for an object that cannot exist: git's complaint about it, which nobody could foresee when
    /// the content was written, marks the end.
    fn smudged_once(&self, items: &[(RepoPath, TreeEntry)], wanted: &[usize]) -> Result<Vec<Vec<u8>>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let nobody = unique_id().simple().to_string() + &unique_id().simple().to_string();
        let mut input = Vec::new();
        for index in wanted {
            let (path, entry) = &items[*index];
            input.extend_from_slice(format!("{} ", entry.id).as_bytes());
            input.extend_from_slice(path.as_bytes());
            input.extend_from_slice(format!("\0{nobody} -\0").as_bytes());
        }
        let arguments = ["cat-file", "--filters", "--batch", "-z"];
        let output = run(self.program().args(arguments), &input)?;
        if !output.status.success() {
            return Err(failed(&arguments, &output));
        }
        let end = format!("\n{nobody} missing\n");
        let mut rest = output.stdout.as_slice();
        wanted
            .iter()
            .map(|_| next_object(&mut rest, end.as_bytes()))
            .collect()
    }
}

/// Reads one `<id> blob <size>` answer of `git cat-file --batch`, and the mark after it.
fn next_object(rest: &mut &[u8], end: &[u8]) -> Result<Vec<u8>> {
    let unexpected = || GitError::Answer("git cat-file ended early".to_owned());
    let mut header = Vec::new();
    rest.read_until(b'\n', &mut header).map_err(|_| unexpected())?;
    let header = String::from_utf8_lossy(&header).trim_end().to_owned();
    if !header.contains(" blob ") {
        return Err(GitError::Answer(header));
    }
    let size = rest.windows(end.len()).position(|window| window == end);
    let size = size.ok_or_else(unexpected)?;
    let bytes = rest[..size].to_vec();
    *rest = &rest[size + end.len()..];
    Ok(bytes)
}
