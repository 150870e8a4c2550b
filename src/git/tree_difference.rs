//! What differs between two trees. A directory that both agree on is not read, so the cost is that of the difference.

use std::collections::{BTreeMap, BTreeSet};

use git2::{Oid, Tree};

use crate::git::{Git, GitError, Result, TreeDifference, tree_entry};
use crate::model::RepoPath;

/// The mode of a directory in a tree.
const DIRECTORY: i32 = 0o040_000;

/// What a tree says about one name: mode and object.
type Named = (i32, Oid);

impl Git {
    /// Lists what differs between two trees, by path. Without a tree there is nothing.
    pub(super) fn between(
        &self,
        old: Option<&Tree<'_>>,
        new: Option<&Tree<'_>>,
    ) -> Result<Vec<TreeDifference>> {
        let mut differences = Vec::new();
        self.compare(&[], old.map(Tree::id), new.map(Tree::id), &mut differences)?;
        // A directory's files come after `directory.txt` in a tree, and before it by path.
        differences.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(differences)
    }

    fn compare(
        &self,
        above: &[u8],
        old: Option<Oid>,
        new: Option<Oid>,
        differences: &mut Vec<TreeDifference>,
    ) -> Result<()> {
        if old == new {
            return Ok(());
        }
        let (old, new) = (self.names_in(old)?, self.names_in(new)?);
        let names: BTreeSet<&Vec<u8>> = old.keys().chain(new.keys()).collect();
        for name in names {
            let (before, after) = (old.get(name), new.get(name));
            if before == after {
                continue;
            }
            let path = [above, name].concat();
            let below = [&path[..], b"/"].concat();
            self.compare(&below, directory(before), directory(after), differences)?;
            let entry = |named: Option<&Named>| named.and_then(|(mode, id)| tree_entry(*mode, *id));
            let (before, after) = (entry(before), entry(after));
            if before != after {
                let path =
                    RepoPath::new(path).map_err(|error| GitError::Answer(format!("a tree holds {error}")))?;
                differences.push(TreeDifference { path, before, after });
            }
        }
        Ok(())
    }

    fn names_in(&self, tree: Option<Oid>) -> Result<BTreeMap<Vec<u8>, Named>> {
        let Some(tree) = tree else {
            return Ok(BTreeMap::new());
        };
        let tree = self
            .repository
            .find_tree(tree)
            .map_err(GitError::of("reading a tree"))?;
        let named = tree
            .iter()
            .map(|entry| (entry.name_bytes().to_vec(), (entry.filemode_raw(), entry.id())));
        Ok(named.collect())
    }
}

fn directory(named: Option<&Named>) -> Option<Oid> {
    named.filter(|(mode, _)| *mode == DIRECTORY).map(|(_, id)| *id)
}
