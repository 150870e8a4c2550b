//! Looks at the paths that a commit would write, and refuses what cannot or must not be replaced.

use std::collections::{BTreeMap, BTreeSet, btree_map};

use crate::coordinator::Error;
use crate::disk::access::{self, Fixed, Rights};
use crate::disk::contained::Root;
use crate::disk::holder::Holder;
use crate::disk::walk;
use crate::git::Modes;
use crate::model::{Change, Entry, RepoPath, TaskId};
use crate::workspace::present::{self, Present};

/// One path together with what it holds now.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) path: RepoPath,
    pub(super) present: Present,
}

/// Looks at `paths`, of which `deleted` are going away in the same transaction.
pub(super) fn look(
    root: &Root,
    paths: &[RepoPath],
    deleted: &BTreeSet<RepoPath>,
) -> Result<Vec<Seen>, Error> {
    let mut foreign = Foreign {
        root,
        known: BTreeMap::new(),
    };
    let mut seen = Vec::with_capacity(paths.len());
    for path in paths {
        foreign.refuse(path)?;
        // A file or a symlink that the same transaction deletes may stand where a directory shall be.
        let present = if path.ancestors().any(|above| deleted.contains(&above)) {
            Present::nothing()
        } else {
            present::look(root, path)?
        };
        if let Some(reason) = present.fault(root.device()) {
            return Err(Error::Unchangeable {
                path: path.clone(),
                reason: reason.to_owned(),
            });
        }
        seen.push(Seen {
            path: path.clone(),
            present,
        });
    }
    directories_give_way(root, &seen, deleted)?;
    refuse_shut(root, paths)?;
    refuse_fixed(root, &seen)?;
    Ok(seen)
}

/// A commit that finds out after its decision that it may not write would stay in everybody's way.
fn refuse_shut(root: &Root, paths: &[RepoPath]) -> Result<(), Error> {
    let mut known: BTreeMap<Option<RepoPath>, Rights> = BTreeMap::new();
    for path in paths {
        let rights = match known.entry(path.parent()) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(new) => new.insert(access::rights_above(root, path)?),
        };
        let shut = match rights {
            Rights::All => None,
            Rights::Own => root
                .find(path)?
                .filter(|(_, stat)| access::is_anothers(stat.uid))
                .map(|(place, _)| place.path().to_owned()),
            Rights::None(directory) => Some(directory.clone()),
        };
        if let Some(path) = shut {
            return Err(Error::Shut { path });
        }
    }
    Ok(())
}

/// The same for what cannot be replaced where its directory may be written to.
fn refuse_fixed(root: &Root, seen: &[Seen]) -> Result<(), Error> {
    for Seen { path, .. } in seen.iter().filter(|seen| seen.present.stat.is_some()) {
        match access::fixed(root, path)? {
            None => {}
            Some(Fixed::Marked(path)) => return Err(Error::Shut { path }),
            Some(Fixed::Mounted) => {
                return Err(Error::Unchangeable {
                    path: path.clone(),
                    reason: "a file system is mounted there".to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// Compares what the paths hold with the bases that the task recorded.
pub(super) fn compare_bases(
    task: &TaskId,
    seen: &[Seen],
    changes: &[Change],
    modes: Option<Modes>,
) -> Result<(), Error> {
    let are_trusted = modes.is_none_or(Modes::are_trusted);
    let shape = |entry: Option<Entry>| match entry {
        Some(Entry::File { sha256, size, .. }) if !are_trusted => Some(Entry::File {
            sha256,
            size,
            executable: false,
        }),
        other => other,
    };
    let moved = seen.iter().zip(changes).filter(|(found, change)| {
        debug_assert_eq!(found.path, change.path);
        // A directory that gives way has no entry, and neither has the base of the file that takes its name.
        shape(found.present.entry()) != shape(change.base)
    });
    let paths: Vec<RepoPath> = moved.map(|(found, _)| found.path.clone()).collect();
    if paths.is_empty() {
        Ok(())
    } else {
        Err(Error::BaseChanged {
            task: task.clone(),
            paths,
        })
    }
}

/// Knows which directories belong to another repository below this one, or to what is mounted there: their files are not ours.
struct Foreign<'a> {
    root: &'a Root,
    known: BTreeMap<RepoPath, Holder>,
}

impl Foreign<'_> {
    fn refuse(&mut self, path: &RepoPath) -> Result<(), Error> {
        for directory in path.ancestors() {
            let holder = if let Some(known) = self.known.get(&directory) {
                *known
            } else {
                let holder = self.root.holder(&directory)?;
                self.known.insert(directory.clone(), holder);
                holder
            };
            let reason = match holder {
                Holder::Tree => continue,
                Holder::Repository => format!("{directory} is a git repository of its own"),
                Holder::Mount => format!("{directory} lies in a mounted file system"),
            };
            return Err(Error::Unchangeable {
                path: path.clone(),
                reason,
            });
        }
        Ok(())
    }
}

/// A directory may only give way to a file when the same transaction deletes everything in it.
fn directories_give_way(root: &Root, seen: &[Seen], deleted: &BTreeSet<RepoPath>) -> Result<(), Error> {
    let mut in_the_way = Vec::new();
    for Seen { path, .. } in seen.iter().filter(|seen| seen.present.is_directory()) {
        let inside = walk::files_below(root.path(), path)?;
        in_the_way.extend(inside.into_iter().filter(|path| !deleted.contains(path)));
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
