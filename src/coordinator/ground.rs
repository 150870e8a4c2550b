//! What a task sees: what it has staged, over the working tree or, on a branch or in a working copy of its own, over the
//! commit that it began from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Cursor, Read};

use crate::coordinator::{Coordinator, Error, look};
use crate::disk::contained::{FileKind, Root};
use crate::disk::{DiskError, hash, walk};
use crate::git::Git;
use crate::model::{Change, Entry, FileMode, ObjectId, RepoPath, TreeEntry};
use crate::store::Transaction;
use crate::workspace::manifest::Slot;
use crate::workspace::slots::Slots;

/// What a task sees.
pub(super) struct Ground<'a> {
    /// The working tree.
    pub(super) root: &'a Root,
    /// Its repository, if it has one.
    pub(super) git: Option<&'a Git>,
    /// The commit that the task's branch, or its working copy, begins from; `None` means that the working tree is what lies
    /// below.
    pub(super) base: Option<ObjectId>,
    /// Where the staged objects lie.
    pub(super) slots: &'a Slots,
    /// What is staged.
    pub(super) staged: BTreeMap<RepoPath, Change>,
}

/// What one path holds, as the task sees it.
pub(super) enum Held {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// A file.
    File {
        executable: bool,
        content: Box<dyn Read>,
    },
    /// A symlink, with its text.
    Symlink(Vec<u8>),
}

impl<'a> Ground<'a> {
    /// Looks from where `transaction` stands.
    pub(super) fn new(
        coordinator: &'a Coordinator,
        transaction: &Transaction,
        slots: &'a Slots,
        staged: Vec<Change>,
    ) -> Self {
        Self {
            root: &coordinator.root,
            git: coordinator.git.as_ref(),
            base: transaction.base,
            slots,
            staged: staged
                .into_iter()
                .map(|change| (change.path.clone(), change))
                .collect(),
        }
    }

    /// Opens what `path` holds.
    pub(super) fn held(&self, path: &RepoPath) -> Result<Held, Error> {
        if let Some(change) = self.staged.get(path) {
            return self.staged_object(change);
        }
        // What is staged above is a file, or goes away and was one: nothing lies below it.
        if path.ancestors().any(|above| self.staged.contains_key(&above)) {
            return Ok(Held::Nothing);
        }
        self.held_without_staged(path)
    }

    /// Opens what `path` holds below everything that is staged.
    pub(super) fn held_without_staged(&self, path: &RepoPath) -> Result<Held, Error> {
        match self.branch() {
            Some((git, base)) => recorded(git, base, path),
            None => self.present(path),
        }
    }

    /// Returns where the branch begins, if the task has one.
    pub(super) fn branch(&self) -> Option<(&'a Git, ObjectId)> {
        self.git.zip(self.base)
    }

    fn staged_object(&self, change: &Change) -> Result<Held, Error> {
        let place = self.slots.at(Slot::Staged(change.slot));
        match change.post {
            None => Ok(Held::Nothing),
            Some(Entry::Symlink { .. }) => Ok(Held::Symlink(place.read_link()?)),
            Some(Entry::File { executable, .. }) => Ok(Held::File {
                executable,
                content: Box::new(place.open()?),
            }),
        }
    }

    /// Opens what the working tree holds.
    fn present(&self, path: &RepoPath) -> Result<Held, Error> {
        let Some((place, stat)) = self.root.find(path)? else {
            return Ok(Held::Nothing);
        };
        match stat.kind {
            FileKind::Directory => Ok(Held::Directory),
            FileKind::Symlink => Ok(Held::Symlink(place.read_link()?)),
            FileKind::File => {
                let content: File = place.open()?;
                Ok(Held::File {
                    executable: stat.is_executable(),
                    content: Box::new(content),
                })
            }
            FileKind::Other => Err(Error::Unchangeable {
                path: path.clone(),
                reason: "it is a socket, pipe or device".to_owned(),
            }),
        }
    }

    /// Tells whether a file of a copy counts as executable.
    pub(super) fn is_executable(&self, path: &RepoPath, on_disk: bool) -> Result<bool, Error> {
        let Some((git, base)) = self.branch() else {
            return Ok(on_disk);
        };
        let modes = git.modes();
        if modes.are_trusted() {
            return Ok(on_disk);
        }
        let recorded = git.entries(Some(base), std::slice::from_ref(path))?;
        Ok(modes.is_executable(on_disk, recorded.into_iter().next().flatten()))
    }

    /// Lists the files below a directory. In the working tree of a repository, what git ignores is left out.
    pub(super) fn files_below(&self, directory: &RepoPath) -> Result<Vec<RepoPath>, Error> {
        let below = |path: &RepoPath| path.is_below(directory);
        let mut files: BTreeSet<RepoPath> = if let Some((git, base)) = self.branch() {
            git.tracked(base)?
                .into_iter()
                .map(|(path, _)| path)
                .filter(below)
                .collect()
        } else {
            let tracked = self.tracked()?;
            let is_ours =
                |path: &RepoPath| Ok::<_, Error>(tracked.contains_key(path) || !self.is_ignored(path)?);
            let mut ours = BTreeSet::new();
            for path in walk::files_below(self.root.path(), directory)? {
                if is_ours(&path)? {
                    ours.insert(path);
                }
            }
            ours
        };
        files.retain(|path| !self.staged.contains_key(path));
        let staged = self.staged.values().filter(|change| change.post.is_some());
        files.extend(staged.map(|change| change.path.clone()).filter(below));
        Ok(files.into_iter().collect())
    }

    /// Returns the commit that says what git tracks: the base of the branch, or the tip of what is checked out.
    pub(super) fn commit(&self) -> Result<Option<ObjectId>, Error> {
        Ok(match (self.git, self.base) {
            (None, _) => None,
            (Some(_), Some(base)) => Some(base),
            (Some(git), None) => git.head()?.tip(),
        })
    }

    /// Returns what git tracks. Nothing without git.
    pub(super) fn tracked(&self) -> Result<BTreeMap<RepoPath, TreeEntry>, Error> {
        match (self.git, self.commit()?) {
            (Some(git), Some(commit)) => Ok(git.tracked(commit)?.into_iter().collect()),
            _ => Ok(BTreeMap::new()),
        }
    }

    /// Tells whether git ignores a path; nothing is ignored without git.
    pub(super) fn is_ignored(&self, path: &RepoPath) -> Result<bool, Error> {
        Ok(self
            .git
            .map(|git| git.is_ignored(path))
            .transpose()?
            .unwrap_or(false))
    }

    /// Returns what `paths` hold below everything that is staged: their bases. `deleted` are the paths that are staged to
    /// go away. Refuses what cannot or must not be replaced.
    pub(super) fn bases(
        &self,
        paths: &[RepoPath],
        deleted: &BTreeSet<RepoPath>,
    ) -> Result<Vec<Option<Entry>>, Error> {
        if let Some((git, base)) = self.branch() {
            recorded_bases(git, base, paths, deleted)
        } else {
            let seen = look::look(self.root, paths, deleted).map_err(|error| match error {
                Error::Disk(error) => self.named(error),
                other => other,
            })?;
            Ok(seen.into_iter().map(|seen| seen.present.entry()).collect())
        }
    }

    /// Turns "not a directory" on the way to a path into a refusal of that path.
    fn named(&self, error: DiskError) -> Error {
        let relative = error.path().strip_prefix(self.root.path()).ok();
        let path = relative.and_then(|path| RepoPath::new(path.as_os_str().as_encoded_bytes()).ok());
        match path {
            Some(path) if error.is_wrong_kind() => Error::Unchangeable {
                path,
                reason: "what stands where its directory should be is a file, a symlink or another mount"
                    .to_owned(),
            },
            _ => error.into(),
        }
    }
}

/// Reads what git would check out for `path` at `commit`.
fn recorded(git: &Git, commit: ObjectId, path: &RepoPath) -> Result<Held, Error> {
    let Some(entry) = git
        .entries(Some(commit), std::slice::from_ref(path))?
        .pop()
        .flatten()
    else {
        let is_directory = git.is_tree(commit, path)?;
        return Ok(if is_directory {
            Held::Directory
        } else {
            Held::Nothing
        });
    };
    refuse_submodule(path, entry)?;
    let mut bytes = Vec::new();
    git.checkout_bytes(&[(path.clone(), entry)], &mut |_, reader| {
        reader.read_to_end(&mut bytes).map(|_| ())
    })?;
    Ok(match entry.mode {
        FileMode::Symlink => Held::Symlink(bytes),
        mode => Held::File {
            executable: mode == FileMode::Executable,
            content: Box::new(Cursor::new(bytes)),
        },
    })
}

/// Hashes what git would check out for `paths` at `commit`, and refuses what the commit leaves no room for.
fn recorded_bases(
    git: &Git,
    commit: ObjectId,
    paths: &[RepoPath],
    deleted: &BTreeSet<RepoPath>,
) -> Result<Vec<Option<Entry>>, Error> {
    refuse_recorded_in_the_way(git, commit, paths, deleted)?;
    checked_out(git, paths, &git.entries(Some(commit), paths)?)
}

/// Hashes what git would check out for entries of `paths`.
pub(super) fn checked_out(
    git: &Git,
    paths: &[RepoPath],
    entries: &[Option<TreeEntry>],
) -> Result<Vec<Option<Entry>>, Error> {
    let mut wanted = Vec::new();
    let mut places = Vec::new();
    for (index, (path, entry)) in paths.iter().zip(entries).enumerate() {
        let Some(entry) = entry else { continue };
        refuse_submodule(path, *entry)?;
        wanted.push((path.clone(), *entry));
        places.push(index);
    }
    let mut bases = vec![None; paths.len()];
    git.checkout_bytes(&wanted, &mut |number, reader| {
        bases[places[number]] = Some(hashed(wanted[number].1.mode, reader)?);
        Ok(())
    })?;
    Ok(bases)
}

fn hashed(mode: FileMode, reader: &mut dyn Read) -> io::Result<Entry> {
    let (sha256, size) = hash::hash_reader(reader)?;
    Ok(match mode {
        FileMode::Symlink => Entry::Symlink { sha256, size },
        mode => Entry::File {
            sha256,
            size,
            executable: mode == FileMode::Executable,
        },
    })
}

/// A file may only take the place of a directory, or the other way round, when the same transaction deletes what is
/// recorded there.
fn refuse_recorded_in_the_way(
    git: &Git,
    commit: ObjectId,
    paths: &[RepoPath],
    deleted: &BTreeSet<RepoPath>,
) -> Result<(), Error> {
    let above: BTreeSet<RepoPath> = paths.iter().flat_map(RepoPath::ancestors).collect();
    let above: Vec<RepoPath> = above.into_iter().filter(|path| !deleted.contains(path)).collect();
    let entries = git.entries(Some(commit), &above)?;
    let mut in_the_way: Vec<RepoPath> = above
        .into_iter()
        .zip(entries)
        .filter(|(_, entry)| entry.is_some())
        .map(|(path, _)| path)
        .collect();
    let mut tracked = None;
    for path in paths.iter().filter(|path| !deleted.contains(path)) {
        if git.is_tree(commit, path)? {
            let tracked = match &mut tracked {
                Some(tracked) => tracked,
                none => none.insert(git.tracked(commit)?),
            };
            let inside = tracked.iter().map(|(inside, _)| inside);
            in_the_way.extend(
                inside
                    .filter(|inside| inside.is_below(path) && !deleted.contains(inside))
                    .cloned(),
            );
        }
    }
    if in_the_way.is_empty() {
        Ok(())
    } else {
        Err(Error::InTheWay {
            what: "Other files",
            paths: in_the_way,
        })
    }
}

fn refuse_submodule(path: &RepoPath, entry: TreeEntry) -> Result<(), Error> {
    if entry.mode != FileMode::Gitlink {
        return Ok(());
    }
    Err(Error::Unchangeable {
        path: path.clone(),
        reason: "it is a submodule".to_owned(),
    })
}
