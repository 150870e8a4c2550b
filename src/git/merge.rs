//! Three-way merges: by tree entries where the sides touched different paths, by git's own merge where they did not.

use std::collections::{BTreeMap, BTreeSet};

use git2::{ObjectType, Repository, Tree};

use crate::git::{Git, GitError, NewCommit, Objects, Result, object_id, oid};
use crate::model::{FileMode, ObjectId, RepoPath, TreeEntry};

/// What a merge comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// Both sides fit.
    Clean {
        /// The merged tree.
        tree: ObjectId,
    },
    /// They do not; nothing was moved.
    Conflict(Vec<MergeConflict>),
}

/// One path that both sides changed in ways that do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeConflict {
    /// The path.
    pub path: RepoPath,
    /// What both sides began from.
    pub base: Option<TreeEntry>,
    /// What the target has.
    pub ours: Option<TreeEntry>,
    /// What the task has.
    pub theirs: Option<TreeEntry>,
}

/// A name in a tree: mode and object.
type Item = (i32, git2::Oid);

/// What merging one directory by its entries comes to.
enum ByEntries {
    /// The merged directory; `None` when nothing is left in it.
    Merged(Option<git2::Oid>),
    /// Both sides changed the same thing: only git's own merge can say.
    Overlap,
}

impl Git {
    /// Merges the commits `ours` and `theirs`, which both come from `base`. New trees go into `objects`; where the sides
    /// overlap, `objects` are written out, since the git program has to see them.
    pub fn merge(
        &self,
        base: ObjectId,
        ours: ObjectId,
        theirs: ObjectId,
        objects: &mut Objects<'_>,
    ) -> Result<Merge> {
        let tree = |commit: ObjectId| {
            let found = objects
                .memory
                .find_commit(oid(commit))
                .map(|commit| commit.tree_id());
            found.map_err(GitError::of("reading a commit"))
        };
        let sides = (tree(base)?, tree(ours)?, tree(theirs)?);
        match objects.merge_directory(Some(sides.0), Some(sides.1), Some(sides.2))? {
            ByEntries::Merged(Some(tree)) => Ok(Merge::Clean {
                tree: object_id(tree),
            }),
            ByEntries::Merged(None) => {
                let empty = objects.write_object(ObjectType::Tree, b"")?;
                Ok(Merge::Clean {
                    tree: object_id(empty),
                })
            }
            ByEntries::Overlap => {
                let ours = objects.only_after(base, ours)?;
                let theirs = objects.only_after(base, theirs)?;
                objects.write_out()?;
                let merged = self.merge_program(ours, theirs);
                objects.made_by_git()?;
                merged
            }
        }
    }

    fn merge_program(&self, ours: ObjectId, theirs: ObjectId) -> Result<Merge> {
        let (ours, theirs) = (ours.to_string(), theirs.to_string());
        let arguments = ["merge-tree", "--write-tree", "-z", &ours, &theirs];
        let (is_clean, output) = self.ask(&arguments, b"")?;
        let mut fields = output.split(|byte| *byte == 0);
        let tree = fields
            .next()
            .and_then(|field| std::str::from_utf8(field).ok())
            .unwrap_or_default();
        if is_clean {
            let tree = tree
                .trim()
                .parse()
                .map_err(|_| GitError::Answer(format!("merge-tree printed {tree:?}")))?;
            return Ok(Merge::Clean { tree });
        }
        let mut conflicts: BTreeMap<RepoPath, MergeConflict> = BTreeMap::new();
        for field in fields.take_while(|field| !field.is_empty()) {
            conflict_line(field, &mut conflicts)
                .ok_or_else(|| GitError::Answer(String::from_utf8_lossy(field).into_owned()))?;
        }
        Ok(Merge::Conflict(conflicts.into_values().collect()))
    }
}

/// Reads `<mode> <id> <stage>\t<path>`.
fn conflict_line(field: &[u8], conflicts: &mut BTreeMap<RepoPath, MergeConflict>) -> Option<()> {
    let tab = field.iter().position(|byte| *byte == b'\t')?;
    let path = RepoPath::new(&field[tab + 1..]).ok()?;
    let mut words = std::str::from_utf8(&field[..tab]).ok()?.split(' ');
    let mode = FileMode::from_bits(u32::from_str_radix(words.next()?, 8).ok()?)?;
    let entry = Some(TreeEntry {
        mode,
        id: words.next()?.parse().ok()?,
    });
    let stage = words.next()?;
    let conflict = conflicts.entry(path.clone()).or_insert(MergeConflict {
        path,
        base: None,
        ours: None,
        theirs: None,
    });
    match stage {
        "1" => conflict.base = entry,
        "2" => conflict.ours = entry,
        "3" => conflict.theirs = entry,
        _ => return None,
    }
    Some(())
}

impl Objects<'_> {
    /// Returns a commit of what `side` holds whose only parent is `base`, so that git finds that both sides began from there: before
    /// 2.40 it cannot be told.
    fn only_after(&mut self, base: ObjectId, side: ObjectId) -> Result<ObjectId> {
        let tree = {
            let commit = self.memory.find_commit(oid(side));
            let commit = commit.map_err(GitError::of("reading a commit"))?;
            if commit.parent_ids().eq([oid(base)]) {
                return Ok(side);
            }
            object_id(commit.tree_id())
        };
        self.commit_of_nobody(&NewCommit {
            tree,
            parents: vec![base],
            message: "One side of a merge\n".to_owned(),
        })
    }

    /// Merges one directory. What two of the three agree on is taken unread.
    fn merge_directory(
        &mut self,
        base: Option<git2::Oid>,
        ours: Option<git2::Oid>,
        theirs: Option<git2::Oid>,
    ) -> Result<ByEntries> {
        if let Some(agreed) = agreed(base, ours, theirs) {
            return Ok(ByEntries::Merged(agreed));
        }
        let (base, ours_items, theirs_items) = (
            items(&self.memory, base)?,
            items(&self.memory, ours)?,
            items(&self.memory, theirs)?,
        );
        let names: BTreeSet<&Vec<u8>> = base
            .keys()
            .chain(ours_items.keys())
            .chain(theirs_items.keys())
            .collect();
        let mut edits: Vec<(Vec<u8>, Option<Item>)> = Vec::new();
        for name in names {
            let sides = [&base, &ours_items, &theirs_items].map(|side| side.get(name).copied());
            let merged = match agreed(sides[0], sides[1], sides[2]) {
                Some(merged) => merged,
                None => match self.merge_below(sides)? {
                    Some(merged) => merged,
                    None => return Ok(ByEntries::Overlap),
                },
            };
            if merged != sides[1] {
                edits.push((name.clone(), merged));
            }
        }
        self.rebuild(ours, &edits).map(ByEntries::Merged)
    }

    /// Merges one name on which all three differ: only directories can still fit. `None` means that they overlap.
    #[expect(clippy::option_option, reason = "the answer may be that the thing is gone")]
    fn merge_below(&mut self, sides: [Option<Item>; 3]) -> Result<Option<Option<Item>>> {
        let directory = |side: Option<Item>| side.filter(|(mode, _)| *mode == DIRECTORY).map(|(_, id)| id);
        let [base, ours, theirs] = sides;
        let both = directory(ours).is_some() && directory(theirs).is_some();
        if !both || base.is_some_and(|(mode, _)| mode != DIRECTORY) {
            return Ok(None);
        }
        match self.merge_directory(directory(base), directory(ours), directory(theirs))? {
            ByEntries::Merged(merged) => Ok(Some(merged.map(|id| (DIRECTORY, id)))),
            ByEntries::Overlap => Ok(None),
        }
    }

    fn rebuild(
        &mut self,
        ours: Option<git2::Oid>,
        edits: &[(Vec<u8>, Option<Item>)],
    ) -> Result<Option<git2::Oid>> {
        let fail = || GitError::of("making a merged tree");
        let id = {
            let tree = ours
                .map(|ours| self.memory.find_tree(ours))
                .transpose()
                .map_err(fail())?;
            let mut builder = self.memory.treebuilder(tree.as_ref()).map_err(fail())?;
            for (name, item) in edits {
                match item {
                    Some((mode, id)) => {
                        builder.insert(name.as_slice(), *id, *mode).map_err(fail())?;
                    }
                    None => builder.remove(name.as_slice()).map_err(fail())?,
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

/// The mode of a directory in a tree.
const DIRECTORY: i32 = 0o040_000;

/// The three-way rule for one thing: what only one side changed is its, what both changed alike is theirs.
#[expect(clippy::option_option, reason = "the answer may be that the thing is gone")]
fn agreed<T: PartialEq + Copy>(base: Option<T>, ours: Option<T>, theirs: Option<T>) -> Option<Option<T>> {
    if ours == theirs || base == theirs {
        Some(ours)
    } else if base == ours {
        Some(theirs)
    } else {
        None
    }
}

fn items(repository: &Repository, tree: Option<git2::Oid>) -> Result<BTreeMap<Vec<u8>, Item>> {
    let Some(id) = tree else {
        return Ok(BTreeMap::new());
    };
    let tree: Tree<'_> = repository.find_tree(id).map_err(GitError::of("reading a tree"))?;
    Ok(tree
        .iter()
        .map(|entry| (entry.name_bytes().to_vec(), (entry.filemode(), entry.id())))
        .collect())
}
