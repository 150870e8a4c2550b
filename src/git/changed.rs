//! Which paths a commit that git is about to make, or commits that it is about to push, change.
//!
//! A rename counts as both its names: the old one goes, the new one comes. Everything is read once, in this process.

use std::collections::BTreeSet;
use std::path::Path;

use git2::{Commit, Delta, DiffOptions, Index, IndexEntry, IndexEntryExtendedFlag, Oid, Tree};

use crate::disk;
use crate::git::{Git, GitError, Result, cached_tree, oid, system_path};
use crate::model::{ObjectId, RepoPath};

/// One line of what git tells `pre-push`: a ref that shall move at the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushedRef {
    /// What is sent; zero when the ref shall go.
    pub local: ObjectId,
    /// What the other side has now; zero when it has none.
    pub remote: ObjectId,
}

impl PushedRef {
    /// Reads the lines `<local ref> <local id> <remote ref> <remote id>`.
    pub fn parse_all(input: &str) -> Result<Vec<Self>> {
        let lines = input.lines().filter(|line| !line.is_empty());
        lines.map(Self::parse).collect()
    }

    fn parse(line: &str) -> Result<Self> {
        let fail = || GitError::Answer(format!("{line:?} for a ref to push"));
        // From the right: the local side may be any expression.
        let mut fields = line.rsplit(' ');
        let remote = fields.next().and_then(|id| id.parse().ok());
        let local = fields.nth(1).and_then(|id| id.parse().ok());
        Ok(Self {
            local: local.ok_or_else(fail)?,
            remote: remote.ok_or_else(fail)?,
        })
    }
}

/// A ref that a push moves here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRef {
    /// Its full name.
    pub name: String,
    /// What it holds; zero when it is new.
    pub old: ObjectId,
    /// What it shall hold; zero when it shall go.
    pub new: ObjectId,
}

impl ReceivedRef {
    /// Reads the lines `<old id> <new id> <ref>` that git sends to `pre-receive`.
    pub fn parse_all(input: &str) -> Result<Vec<Self>> {
        let lines = input.lines().filter(|line| !line.is_empty());
        let parse = |line: &str| {
            let mut fields = line.splitn(3, ' ');
            Self::of(fields.nth(2)?, line.split(' ').next()?, line.split(' ').nth(1)?)
        };
        let fail = |line: &str| GitError::Answer(format!("{line:?} for a ref that is pushed"));
        lines.map(|line| parse(line).ok_or_else(|| fail(line))).collect()
    }

    /// Takes the three arguments of `update`.
    pub fn of_arguments(arguments: &[String]) -> Result<Self> {
        let read = || match arguments {
            [name, old, new] => Self::of(name, old, new),
            _ => None,
        };
        read().ok_or_else(|| GitError::Answer(format!("{arguments:?} for a ref that is pushed")))
    }

    fn of(name: &str, old: &str, new: &str) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            old: old.parse().ok()?,
            new: new.parse().ok()?,
        })
    }
}

impl Git {
    /// Lists the paths in which the index in `file` differs from the current commit, or from nothing before the first
    /// one. `git commit -a` and `git commit PATH` prepare an index of their own: `file` is what git names in the
    /// hook's environment.
    pub fn changed_in_index(&self, file: &Path) -> Result<BTreeSet<RepoPath>> {
        let tip = self.head()?.tip();
        let head = tip.map(|tip| self.tree_of(tip)).transpose()?;
        let content = disk::read_if_there(file)?.unwrap_or_default();
        let known = cached_tree::root(&content).and_then(|tree| self.repository.find_tree(oid(tree)).ok());
        match known {
            Some(tree) => self.names_between(head.as_ref(), &tree),
            None => self.differing_entries(head.as_ref(), file),
        }
    }

    /// Compares entry by entry.
    fn differing_entries(&self, head: Option<&Tree<'_>>, file: &Path) -> Result<BTreeSet<RepoPath>> {
        let fail = || GitError::of("reading the index");
        let index = Index::open(file).map_err(fail())?;
        let mut options = DiffOptions::new();
        options.include_typechange(true).ignore_submodules(false);
        let diff = self
            .repository
            .diff_tree_to_index(head, Some(&index), Some(&mut options));
        let diff = diff.map_err(fail())?;
        let names = diff.deltas().filter_map(|delta| {
            let file = if delta.status() == Delta::Deleted {
                delta.old_file()
            } else {
                delta.new_file()
            };
            file.path_bytes().map(<[u8]>::to_vec)
        });
        // `git add --intent-to-add` announces a file that no commit contains yet.
        let is_announced = |path: &[u8]| {
            index
                .get_path(system_path(path), 0)
                .is_some_and(|entry| is_intent(&entry))
        };
        names.filter(|path| !is_announced(path)).map(lockable).collect()
    }

    /// Lists the paths that the commits change which a push to `remote` would send: those that the other side does not
    /// have, as far as this repository knows. A merge counts only where it differs from each of its parents.
    pub fn changed_by_push(&self, remote: &str, refs: &[PushedRef]) -> Result<BTreeSet<RepoPath>> {
        let mut paths = BTreeSet::new();
        for commit in self
            .pushed_commits(remote, refs)
            .map_err(GitError::of("walking the history"))?
        {
            let commit = self
                .repository
                .find_commit(commit)
                .map_err(GitError::of("reading a commit"))?;
            paths.extend(self.changed_by(&commit)?);
        }
        Ok(paths)
    }

    /// Lists the paths that a push changes here. Of the branch that is checked out everything counts in which it will
    /// differ; elsewhere what is new to this repository, and what a branch loses that is forced to something else.
    ///
    /// The objects of a push that is not accepted yet lie in `quarantine`.
    pub fn changed_by_receiving(
        &self,
        refs: &[ReceivedRef],
        quarantine: Option<&Path>,
    ) -> Result<BTreeSet<RepoPath>> {
        let fail = || GitError::of("looking for what is pushed");
        if let Some(quarantine) = quarantine {
            let store = self.repository.odb().map_err(fail())?;
            store
                .add_disk_alternate(&quarantine.to_string_lossy())
                .map_err(fail())?;
        }
        let head = self.head()?.branch().map(str::to_owned);
        let mut paths = BTreeSet::new();
        for received in refs.iter().filter(|received| received.new != ObjectId::ZERO) {
            let object = self
                .repository
                .find_object(oid(received.new), None)
                .map_err(fail())?;
            // A tag of something else than a commit changes no path.
            let Ok(new) = object.peel_to_commit() else {
                continue;
            };
            let old = self.repository.find_commit(oid(received.old)).ok();
            let is_forced = old.as_ref().is_some_and(|old| {
                let descends = self.repository.graph_descendant_of(new.id(), old.id());
                old.id() != new.id() && !descends.unwrap_or(false)
            });
            if is_forced || head.as_deref() == Some(received.name.as_str()) {
                let trees = (old.as_ref().map(Commit::tree).transpose(), new.tree());
                let (old, new) = (trees.0.map_err(fail())?, trees.1.map_err(fail())?);
                paths.extend(self.names_between(old.as_ref(), &new)?);
            }
            let mut walk = self.repository.revwalk().map_err(fail())?;
            walk.push(new.id()).map_err(fail())?;
            walk.hide_glob("refs/*").map_err(fail())?;
            for commit in walk {
                let commit = commit.and_then(|id| self.repository.find_commit(id));
                paths.extend(self.changed_by(&commit.map_err(fail())?)?);
            }
        }
        Ok(paths)
    }

    fn pushed_commits(&self, remote: &str, refs: &[PushedRef]) -> std::result::Result<Vec<Oid>, git2::Error> {
        let mut walk = self.repository.revwalk()?;
        for pushed in refs.iter().filter(|pushed| pushed.local != ObjectId::ZERO) {
            // What an annotated tag points to; a tag of something else than a commit brings none.
            let object = self.repository.find_object(oid(pushed.local), None)?;
            if let Ok(commit) = object.peel_to_commit() {
                walk.push(commit.id())?;
            }
            // The other side may have moved to where nobody here has been.
            if let Ok(theirs) = self.repository.find_commit(oid(pushed.remote)) {
                walk.hide(theirs.id())?;
            }
        }
        // A push to an address names no remote, and nothing is known of the other side.
        if git2::Remote::is_valid_name(remote) {
            walk.hide_glob(&format!("refs/remotes/{remote}/*"))?;
        }
        walk.collect()
    }

    /// Returns what a commit itself changes: against its parent, or against nothing; for a merge what differs from every
    /// parent.
    fn changed_by(&self, commit: &Commit<'_>) -> Result<BTreeSet<RepoPath>> {
        let fail = || GitError::of("reading a commit");
        let tree = commit.tree().map_err(fail())?;
        let mut parents = commit.parents().map(|parent| parent.tree().map_err(fail()));
        let first = self.names_between(parents.next().transpose()?.as_ref(), &tree)?;
        parents.try_fold(first, |common, parent| {
            let other = self.names_between(Some(&parent?), &tree)?;
            Ok(common.intersection(&other).cloned().collect())
        })
    }

    fn names_between(&self, old: Option<&Tree<'_>>, new: &Tree<'_>) -> Result<BTreeSet<RepoPath>> {
        let differences = self.between(old, Some(new))?;
        Ok(differences
            .into_iter()
            .map(|difference| difference.path)
            .collect())
    }
}

/// A name that mirror cannot lock is one of which nobody can tell who holds it.
fn lockable(name: Vec<u8>) -> Result<RepoPath> {
    RepoPath::new(name).map_err(|error| GitError::Answer(format!("the index holds {error}")))
}

fn is_intent(entry: &IndexEntry) -> bool {
    entry.flags_extended & IndexEntryExtendedFlag::INTENT_TO_ADD.bits() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_git_are_read_from_the_right() {
        let (zero, one) = ("0".repeat(40), "1".repeat(40));
        let input = format!("HEAD~ 2 {one} refs/heads/x {zero}\n\n(delete) {zero} refs/heads/y {one}\n");
        let refs = PushedRef::parse_all(&input).unwrap();
        let (zero, one) = (ObjectId::ZERO, one.parse().unwrap());
        let expected = [
            PushedRef {
                local: one,
                remote: zero,
            },
            PushedRef {
                local: zero,
                remote: one,
            },
        ];
        assert_eq!(refs, expected);
        for bad in ["x", "a b c d", "a 1 b 2"] {
            assert!(PushedRef::parse_all(bad).is_err(), "{bad}");
        }
    }
}
