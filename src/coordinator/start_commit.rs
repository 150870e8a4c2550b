//! The commit that a task begins from which works in a copy: what the target holds, or the working tree as it is.

use crate::coordinator::error_text::path_list;
use crate::coordinator::{Coordinator, Error, Observer};
use crate::disk::contained::{FileKind, Parent, Stat};
use crate::disk::sync;
use crate::git::{Git, NewCommit, Source};
use crate::model::{Lock, Mode, ObjectId, RepoPath, Resource, TransactionId, TreeEntry};
use crate::store::Task;

/// The message of a commit that only a working copy ever points to.
const UNCOMMITTED: &str = "The working tree, with what was not committed\n";

/// How many files are read before a run to tell whether they are what git has of them.
const LOOKED_AT_MAX: usize = 100;

/// Returns the commit to begin from; `None` without git. What is `recorded` is the tip of the checked-out branch; else the
/// user's uncommitted changes and untracked files belong to it, in a commit that no branch has.
pub(super) fn start_commit(
    coordinator: &Coordinator,
    transaction: &TransactionId,
    recorded: bool,
) -> Result<Option<ObjectId>, Error> {
    let Some(git) = &coordinator.git else {
        return Ok(None);
    };
    let tip = git.head()?.tip();
    let uncommitted = if recorded { Vec::new() } else { git.differing()? };
    if let (Some(tip), true) = (tip, uncommitted.is_empty()) {
        return Ok(Some(tip));
    }
    let mut objects = git.objects(coordinator.layout.transaction(transaction).pack())?;
    objects.learn(uncommitted.iter())?;
    let mut edits: Vec<(RepoPath, Option<TreeEntry>)> = Vec::with_capacity(uncommitted.len());
    for path in uncommitted {
        let entry = match coordinator.root.find(&path)? {
            Some((place, stat)) if matches!(stat.kind, FileKind::File | FileKind::Symlink) => {
                let executable = stat.kind == FileKind::File && stat.is_executable();
                Some(objects.blob(&path, &source_of(&place, &stat)?, executable)?)
            }
            _ => None,
        };
        edits.push((path, entry));
    }
    let tree = objects.commit_tree(tip, &edits)?;
    let commit = objects.commit_of_nobody(&NewCommit {
        tree,
        parents: tip.into_iter().collect(),
        message: UNCOMMITTED.to_owned(),
    })?;
    for directory in objects.write()? {
        sync::sync_directory_if_there(&directory)?;
    }
    Ok(Some(commit))
}

/// Tells of a run that works in a copy what its user should know before it does.
pub(super) fn tell_before_work(
    coordinator: &Coordinator,
    task: &Task,
    is_recorded: bool,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    if is_recorded {
        tell_what_is_in_the_way(coordinator, task, observer)?;
    }
    tell_what_is_ignored(coordinator, task, observer)
}

/// Tells what will keep the result of a run from being recorded unless it has gone by then: the run may be long, and nobody
/// likes to hear of it at its end.
fn tell_what_is_in_the_way(
    coordinator: &Coordinator,
    task: &Task,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    let Some(git) = &coordinator.git else {
        return Ok(());
    };
    if let Some(operation) = git.operation_in_progress() {
        observer.notice(&format!(
            "A {operation} is in progress: as long as it is, nothing can be committed."
        ));
    }
    let writes: Vec<&Lock> = task.locks.iter().map(|held| &held.lock).collect();
    let covered = |path: &RepoPath| {
        let writes = writes.iter().filter(|lock| lock.mode == Mode::Write);
        writes.clone().any(|lock| lock.resource.covers_path(path))
    };
    let uncommitted = uncommitted(coordinator, git, covered)?;
    if !uncommitted.is_empty() {
        observer.notice(&format!(
            "There are uncommitted changes in {}: as long as there are, a commit that changes these is refused.",
            path_list(&uncommitted)
        ));
    }
    Ok(())
}

/// Tells which locked files a run cannot change, since git ignores them: they do not come back from its copy.
fn tell_what_is_ignored(
    coordinator: &Coordinator,
    task: &Task,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    let Some(git) = &coordinator.git else {
        return Ok(());
    };
    let locks = task.locks.iter().map(|held| &held.lock);
    let files = locks.filter_map(|lock| match &lock.resource {
        Resource::File(path) if lock.mode == Mode::Write => Some(path.clone()),
        _ => None,
    });
    let mut ignored = Vec::new();
    for path in files.take(LOOKED_AT_MAX) {
        if git.is_ignored(&path)? {
            ignored.push(path);
        }
    }
    if ignored.is_empty() {
        return Ok(());
    }
    let index = git.index()?;
    ignored.retain(|path| index.entry(path).is_none());
    if !ignored.is_empty() {
        observer.notice(&format!(
            "Git ignores {}: what a run makes of that in its copy is not taken.",
            path_list(&ignored)
        ));
    }
    Ok(())
}

/// Lists files that are not what git has of them. It is asked before every run, so of a tree that git has not looked at for long
/// only a part is looked at.
fn uncommitted(
    coordinator: &Coordinator,
    git: &Git,
    concerns: impl Fn(&RepoPath) -> bool,
) -> Result<Vec<RepoPath>, Error> {
    let unproven = git.index()?.unproven(git.root(), concerns, LOOKED_AT_MAX)?;
    let mut uncommitted = Vec::new();
    let (mut asked, mut sources, modes) = (Vec::new(), Vec::new(), git.modes());
    for (path, tracked) in unproven {
        match coordinator.root.find(&path)? {
            Some((place, stat)) if matches!(stat.kind, FileKind::File | FileKind::Symlink) => {
                let source = source_of(&place, &stat)?;
                let is_executable = modes.is_executable(stat.is_executable(), Some(tracked));
                sources.push((path.clone(), source, is_executable));
                asked.push((path, tracked));
            }
            _ => uncommitted.push(path),
        }
    }
    let stored = git.stored_as(&sources)?;
    let differs = asked
        .into_iter()
        .zip(stored)
        .filter(|((_, tracked), stored)| tracked != stored);
    uncommitted.extend(differs.map(|((path, _), _)| path));
    Ok(uncommitted)
}

fn source_of(place: &Parent, stat: &Stat) -> Result<Source, Error> {
    Ok(if stat.kind == FileKind::Symlink {
        Source::Symlink(place.read_link()?)
    } else {
        Source::File(place.path().to_owned())
    })
}
