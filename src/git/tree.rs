//! Edits trees: exactly the named paths, everything else taken over unread.

use std::collections::BTreeMap;

use git2::Repository;

use crate::git::{GitError, Objects, Result, object_id, oid};
use crate::model::{ObjectId, RepoPath, TreeEntry};

/// The mode of a directory in a tree.
const DIRECTORY: i32 = 0o040_000;

/// What happens below one directory, by component.
#[derive(Debug, Default)]
struct Edits {
    /// `None` removes the name.
    entries: BTreeMap<Vec<u8>, Option<TreeEntry>>,
    directories: BTreeMap<Vec<u8>, Edits>,
}

impl Edits {
    fn insert(&mut self, path: &RepoPath, entry: Option<TreeEntry>) {
        let mut at = self;
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            if components.peek().is_some() {
                at = at.directories.entry(component.to_vec()).or_default();
            } else {
                at.entries.insert(component.to_vec(), entry);
            }
        }
    }
}

impl Objects<'_> {
    /// Makes `base` with exactly these paths replaced or removed. A directory that becomes empty goes.
    pub(super) fn edit_tree(
        &mut self,
        base: Option<ObjectId>,
        edits: &[(RepoPath, Option<TreeEntry>)],
    ) -> Result<ObjectId> {
        let mut nested = Edits::default();
        for (path, entry) in edits {
            nested.insert(path, *entry);
        }
        let edited = self.edit_directory(base.map(oid), &nested)?;
        match edited {
            Some(id) => Ok(object_id(id)),
            None => Ok(object_id(self.write_object(git2::ObjectType::Tree, b"")?)),
        }
    }

    /// Answers the new tree, or `None` when nothing is left in it.
    fn edit_directory(&mut self, base: Option<git2::Oid>, edits: &Edits) -> Result<Option<git2::Oid>> {
        let fail = || GitError::of("making a tree");
        let mut below = Vec::with_capacity(edits.directories.len());
        for (name, inside) in &edits.directories {
            let old = base
                .map(|base| subtree(&self.memory, base, name))
                .transpose()?
                .flatten();
            below.push((name, self.edit_directory(old, inside)?));
        }
        let id = {
            let tree = base
                .map(|base| self.memory.find_tree(base))
                .transpose()
                .map_err(fail())?;
            let mut builder = self.memory.treebuilder(tree.as_ref()).map_err(fail())?;
            for (name, entry) in &edits.entries {
                match entry {
                    Some(entry) => {
                        builder
                            .insert(name.as_slice(), oid(entry.id), entry.mode.bits().cast_signed())
                            .map_err(fail())?;
                    }
                    // What shall go may be gone, and a directory of that name is somebody else's.
                    None if is_file(&builder, name)? => {
                        builder.remove(name.as_slice()).map_err(fail())?;
                    }
                    None => {}
                }
            }
            for (name, subtree) in below {
                match subtree {
                    Some(subtree) => {
                        builder
                            .insert(name.as_slice(), subtree, DIRECTORY)
                            .map_err(fail())?;
                    }
                    None if is_directory(&builder, name)? => {
                        builder.remove(name.as_slice()).map_err(fail())?;
                    }
                    None => {}
                }
            }
            if builder.is_empty() {
                return Ok(None);
            }
            builder.write().map_err(fail())?
        };
        self.note(id);
        Ok(Some(id))
    }
}

fn is_directory(builder: &git2::TreeBuilder<'_>, name: &[u8]) -> Result<bool> {
    let found = builder.get(name).map_err(GitError::of("making a tree"))?;
    Ok(found.is_some_and(|entry| entry.filemode() == DIRECTORY))
}

fn is_file(builder: &git2::TreeBuilder<'_>, name: &[u8]) -> Result<bool> {
    let found = builder.get(name).map_err(GitError::of("making a tree"))?;
    Ok(found.is_some_and(|entry| entry.filemode() != DIRECTORY))
}

/// Finds the tree of a directory inside a tree; `None` when there is none, or a file.
fn subtree(repository: &Repository, tree: git2::Oid, name: &[u8]) -> Result<Option<git2::Oid>> {
    // A tree that cannot be found now is none that is empty: its entries would be missing from the commit.
    let tree = repository
        .find_tree(tree)
        .map_err(GitError::of("reading a tree"))?;
    let found = tree
        .iter()
        .find(|entry| entry.name_bytes() == name)
        .filter(|entry| entry.filemode() == DIRECTORY);
    Ok(found.map(|entry| entry.id()))
}
