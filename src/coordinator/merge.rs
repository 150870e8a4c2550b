//! Plans the landing of a task's branch on its target.
//!
//! The task's commit is made on the tip that its branch began from. The target takes it as a fast-forward, or joined
//! by a merge commit when it moved meanwhile. A real conflict moves nothing but the branch itself, which is left at the
//! task's commit for a human. When the target is checked out here, the working tree follows by exactly the difference between the
//! target's old and new tree.

use crate::coordinator::look::{self, Seen};
use crate::coordinator::plan::{Landing, MergeKind, Order, Plan, PlannedRef};
use crate::coordinator::record::{reflog_line, signed_off, source};
use crate::coordinator::{Coordinator, Error, clean, fit};
use crate::disk::{hash, staged, sync};
use crate::git::{Git, Head, Merge, NewCommit, Objects, TreeDifference};
use crate::model::{Change, Entry, FileMode, ObjectId, RepoPath, TreeEntry};
use crate::workspace::manifest::{Operation, Slot};

/// Plans the merge of `order`'s branch.
pub(super) fn plan(coordinator: &Coordinator, order: Order) -> Result<Plan, Error> {
    let git = coordinator
        .git
        .as_ref()
        .ok_or(Error::NeedsGit { what: "A branch" })?;
    let (branch, target, base) = names(&order)?;
    if let Some(path) = git.checked_out_elsewhere(&target)? {
        return Err(Error::TargetElsewhere { target, path });
    }
    let tip = git
        .tip(&target)?
        .ok_or_else(|| Error::UnknownBranch { name: target.clone() })?;

    let mut objects = git.objects(order.directory.pack())?;
    let edits = edits(&mut objects, &order)?;
    let merged = merged_by_hand(git, &branch, base, tip)?;
    let base = merged.unwrap_or(base);
    let tree = objects.commit_tree(Some(base), &edits)?;
    if merged.is_some() && tree == objects.commit_tree(Some(base), &[])? {
        let landing = Landing::default();
        return Ok(Plan {
            order,
            operations: Vec::new(),
            landing,
        });
    }
    let work = task_commit(&mut objects, &order, base, tree)?;
    let (new, merge) = joined(
        git,
        &mut objects,
        &order,
        &Sides {
            branch: &branch,
            target: &target,
            base,
            tip,
            work,
        },
    )?;
    let written = objects.write()?;
    let reference = PlannedRef {
        name: target.clone(),
        old: Some(tip),
        new,
        message: reflog_line(
            if merge == MergeKind::Merge {
                "merge"
            } else {
                "fast-forward"
            },
            &branch,
        ),
    };

    let checked_out = matches!(git.head()?, Head::Branch { name, .. } if name == target);
    let operations = if checked_out {
        follow(coordinator, git, &order, &edits, (tip, new))?
    } else {
        Vec::new()
    };
    let landing = Landing {
        reference: Some(reference),
        rewrite_index: checked_out,
        merge: Some(merge),
        written,
    };
    Ok(Plan {
        order,
        operations,
        landing,
    })
}

/// The commits that meet.
struct Sides<'a> {
    branch: &'a str,
    target: &'a str,
    base: ObjectId,
    tip: ObjectId,
    work: ObjectId,
}

fn names(order: &Order) -> Result<(String, String, ObjectId), Error> {
    let transaction = &order.transaction;
    match (&transaction.branch, &transaction.target, transaction.base) {
        (Some(branch), Some(target), Some(base)) => Ok((branch.clone(), target.clone(), base)),
        _ => Err(Error::Damaged {
            task: order.task.id.clone(),
            what: "The record of the branch",
            paths: Vec::new(),
        }),
    }
}

/// Returns what the branch was left at when its merge conflicted, if somebody has merged that by hand: what they have decided against
/// must not come back with it.
fn merged_by_hand(git: &Git, branch: &str, base: ObjectId, tip: ObjectId) -> Result<Option<ObjectId>, Error> {
    match git.tip(branch)? {
        Some(left) if left != base && git.is_ancestor(left, tip)? => Ok(Some(left)),
        _ => Ok(None),
    }
}

/// What a set of paths shall be in a git tree.
type Edits = Vec<(RepoPath, Option<TreeEntry>)>;

/// Makes the blobs of the staged changes, by path.
fn edits(objects: &mut Objects<'_>, order: &Order) -> Result<Edits, Error> {
    objects.learn(order.changes.iter().map(|change| &change.path))?;
    let edit = |change: &Change| {
        let Some(post) = change.post else {
            return Ok((change.path.clone(), None));
        };
        let source = source(&order.slots, change, &post)?;
        Ok((
            change.path.clone(),
            Some(objects.blob(&change.path, &source, post.is_executable())?),
        ))
    };
    order.changes.iter().map(edit).collect()
}

/// Makes the task's own commit: the tree of its base with exactly the changed paths replaced.
fn task_commit(
    objects: &mut Objects<'_>,
    order: &Order,
    base: ObjectId,
    tree: ObjectId,
) -> Result<ObjectId, Error> {
    let task = &order.task.id;
    let message = order
        .message
        .clone()
        .unwrap_or_else(|| format!("Changes of {task}"));
    let message = signed_off(&message, task, &order.transaction.id);
    Ok(objects.commit(&NewCommit {
        tree,
        parents: vec![base],
        message,
    })?)
}

fn joined(
    git: &Git,
    objects: &mut Objects<'_>,
    order: &Order,
    sides: &Sides<'_>,
) -> Result<(ObjectId, MergeKind), Error> {
    if sides.tip == sides.base {
        return Ok((sides.work, MergeKind::FastForward));
    }
    match git.merge(sides.base, sides.tip, sides.work, objects)? {
        Merge::Clean { tree } => {
            let title = format!(
                "Merge branch '{}' into {}",
                short(sides.branch),
                short(sides.target)
            );
            let message = signed_off(&title, &order.task.id, &order.transaction.id);
            let commit = NewCommit {
                tree,
                parents: vec![sides.tip, sides.work],
                message,
            };
            Ok((objects.commit(&commit)?, MergeKind::Merge))
        }
        Merge::Conflict(conflicts) => {
            // The branch will point to them, so that a human can resolve the conflict.
            for directory in objects.write()? {
                sync::sync_directory_if_there(&directory)?;
            }
            Err(Error::MergeConflict {
                branch: Some(short(sides.branch).to_owned()),
                work: Some(sides.work),
                target: short(sides.target).to_owned(),
                conflicts,
            })
        }
    }
}

/// Returns the name by which people call a branch.
pub(super) fn short(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or(name)
}

/// Works out how the working tree follows the target from `tip` to `new`.
fn follow(
    coordinator: &Coordinator,
    git: &Git,
    order: &Order,
    edits: &Edits,
    (tip, new): (ObjectId, ObjectId),
) -> Result<Vec<Operation>, Error> {
    let differences = git.difference(Some(tip), new)?;
    refuse_gitlinks(&differences)?;
    let paths: Vec<RepoPath> = differences
        .iter()
        .map(|difference| difference.path.clone())
        .collect();
    let deleted = differences
        .iter()
        .filter(|difference| difference.after.is_none())
        .map(|difference| difference.path.clone());
    let seen = look::look(&coordinator.root, &paths, &deleted.collect())?;
    let recorded: Vec<Option<TreeEntry>> = differences.iter().map(|difference| difference.before).collect();
    let indexed = clean::refuse_user_changes(coordinator, git, &seen, &recorded)?;

    let mut operations = with_slots(git, order, edits, &differences, &seen)?;
    for (operation, indexed) in operations.iter_mut().zip(indexed) {
        operation.before = indexed;
    }
    check_out(git, order, &mut operations)?;
    fit::metadata(&order.slots, &coordinator.root, &mut operations, &seen)?;
    Ok(operations)
}

fn refuse_gitlinks(differences: &[TreeDifference]) -> Result<(), Error> {
    let is_gitlink = |entry: &Option<TreeEntry>| entry.is_some_and(|entry| entry.mode == FileMode::Gitlink);
    match differences
        .iter()
        .find(|difference| is_gitlink(&difference.before) || is_gitlink(&difference.after))
    {
        None => Ok(()),
        Some(difference) => Err(Error::Unchangeable {
            path: difference.path.clone(),
            reason: "it is a submodule".to_owned(),
        }),
    }
}

/// Chooses a slot for every difference: the staged object itself where git would check out exactly its bytes, else a
/// slot of the attempt's own.
fn with_slots(
    git: &Git,
    order: &Order,
    edits: &Edits,
    differences: &[TreeDifference],
    seen: &[Seen],
) -> Result<Vec<Operation>, Error> {
    let paths: Vec<RepoPath> = differences
        .iter()
        .map(|difference| difference.path.clone())
        .collect();
    let converts = git.converts(&paths)?;
    let mut operations = Vec::with_capacity(differences.len());
    for (index, difference) in differences.iter().enumerate() {
        let own = edits
            .binary_search_by(|(path, _)| path.cmp(&difference.path))
            .ok();
        let reusable = own.filter(|own| {
            !converts[index] && difference.after.is_some() && edits[*own].1 == difference.after
        });
        let made =
            u32::try_from(index).map_err(|_| Error::Usage("Too many paths in one commit".to_owned()))?;
        operations.push(Operation {
            path: difference.path.clone(),
            pre: seen[index].present.before,
            post: reusable.and_then(|own| order.changes[own].post),
            slot: reusable.map_or(Slot::Made(made), |own| Slot::Staged(order.changes[own].slot)),
            staged: None,
            before: difference.before,
            after: difference.after,
        });
    }
    Ok(operations)
}

/// Writes what git would check out into the slots that are still empty.
fn check_out(git: &Git, order: &Order, operations: &mut [Operation]) -> Result<(), Error> {
    let missing: Vec<usize> = (0..operations.len())
        .filter(|index| operations[*index].after.is_some() && operations[*index].post.is_none())
        .collect();
    let wanted: Vec<(RepoPath, TreeEntry)> = missing
        .iter()
        .filter_map(|index| {
            operations[*index]
                .after
                .map(|after| (operations[*index].path.clone(), after))
        })
        .collect();
    order.slots.drop_made()?;
    let mut written: Vec<Entry> = Vec::with_capacity(missing.len());
    git.checkout_bytes(&wanted, &mut |index, bytes| {
        let slot = order.slots.at(operations[missing[index]].slot);
        let mode = wanted[index].1.mode;
        let entry = if mode == FileMode::Symlink {
            let mut text = Vec::new();
            bytes.read_to_end(&mut text)?;
            staged::symlink_new(&slot, &text).map_err(std::io::Error::other)?;
            Entry::Symlink {
                sha256: hash::digest_of(&text),
                size: text.len() as u64,
            }
        } else {
            let executable = mode == FileMode::Executable;
            let (sha256, size) = staged::write_new(&slot, bytes, 0o666).map_err(std::io::Error::other)?;
            Entry::File {
                sha256,
                size,
                executable,
            }
        };
        written.push(entry);
        Ok(())
    })?;
    for (index, entry) in missing.into_iter().zip(written) {
        operations[index].post = Some(entry);
    }
    Ok(())
}
