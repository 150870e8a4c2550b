//! Plans a commit of exactly the changed paths on top of the checked-out branch.
//!
//! The index is not read into the commit: the new tree is the tip's tree with these paths replaced, so whatever else
//! the user has staged, changed or left untracked stays where it is.

use crate::coordinator::look::Seen;
use crate::coordinator::plan::{Landing, Order, PlannedRef};
use crate::coordinator::{Coordinator, Error, clean};
use crate::git::{Git, Head, Modes, NewCommit, Source};
use crate::model::{Change, Entry, RepoPath, TaskId, TransactionId, TreeEntry};
use crate::workspace::manifest::{Operation, Slot};
use crate::workspace::slots::Slots;

/// Makes the objects of the commit and tells how the branch and the index follow. `operations` learn what git records.
pub(super) fn land(
    coordinator: &Coordinator,
    git: &Git,
    order: &Order,
    seen: &[Seen],
    operations: &mut [Operation],
    message: &str,
) -> Result<Landing, Error> {
    let (name, tip) = match git.head()? {
        Head::Branch { name, tip } => (name, tip),
        Head::Detached { tip } => ("HEAD".to_owned(), Some(tip)),
    };
    let paths = order.paths();
    let recorded = git.entries(tip, &paths)?;
    let indexed = clean::refuse_user_changes(coordinator, git, seen, &recorded)?;

    let mut objects = git.objects(order.directory.pack())?;
    objects.learn(paths.iter())?;
    let mut edits: Vec<(RepoPath, Option<TreeEntry>)> = Vec::with_capacity(paths.len());
    let before = recorded.into_iter().zip(indexed);
    let modes = git.modes();
    for ((change, operation), (recorded, indexed)) in order.changes.iter().zip(operations).zip(before) {
        let after = match change.post {
            Some(post) => Some(objects.blob(
                &change.path,
                &source(&order.slots, change, &post)?,
                is_executable(modes, change, &post, recorded),
            )?),
            None => None,
        };
        (operation.before, operation.after) = (indexed, after);
        if recorded != after {
            edits.push((change.path.clone(), after));
        }
    }
    if edits.is_empty() {
        // Git would store what it has already, for example when only line endings differ: the files change, git does not.
        return Ok(Landing::default());
    }
    let tree = objects.commit_tree(tip, &edits)?;
    let new = objects.commit(&NewCommit {
        tree,
        parents: tip.into_iter().collect(),
        message: signed_off(message, &order.task.id, &order.transaction.id),
    })?;
    let written = objects.write()?;
    let reference = PlannedRef {
        name,
        old: tip,
        new,
        message: reflog_line("commit", message),
    };
    Ok(Landing {
        reference: Some(reference),
        rewrite_index: true,
        merge: None,
        written,
    })
}

/// Tells whether what was staged is recorded as executable. Where the file system is not trusted with that, only who asks for it changes
/// it.
pub(super) fn is_executable(
    modes: Modes,
    change: &Change,
    post: &Entry,
    recorded: Option<TreeEntry>,
) -> bool {
    let is_kept = change
        .base
        .is_some_and(|base| base.is_executable() == post.is_executable());
    if is_kept {
        modes.is_executable(post.is_executable(), recorded)
    } else {
        post.is_executable()
    }
}

/// Returns where git finds the bytes of a staged change.
pub(super) fn source(slots: &Slots, change: &Change, post: &Entry) -> Result<Source, Error> {
    let slot = Slot::Staged(change.slot);
    if post.is_symlink() {
        return Ok(Source::Symlink(slots.at(slot).read_link()?));
    }
    Ok(Source::File(slots.path(slot)))
}

/// Adds the trailers that tell whose commit it is. The transaction's uuid also makes the commit's id ours alone.
pub(super) fn signed_off(message: &str, task: &TaskId, transaction: &TransactionId) -> String {
    let body = message.trim_end();
    // Trailers form one paragraph: they join one that is already there.
    let has_trailers = body
        .rsplit("\n\n")
        .next()
        .is_some_and(|last| body.contains("\n\n") && last.lines().all(is_trailer));
    let gap = if has_trailers { "\n" } else { "\n\n" };
    format!("{body}{gap}Mirror-Task: {task}\nMirror-Transaction: {transaction}\n")
}

fn is_trailer(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(key, value)| {
        !key.is_empty()
            && !value.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// Returns one line for the reflog.
pub(super) fn reflog_line(act: &str, message: &str) -> String {
    let subject: String = message
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    format!("{act} (mirror): {subject}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_join_a_paragraph_of_trailers() {
        let task = TaskId::new("a").unwrap();
        let transaction: TransactionId = "0190f3a4-0000-7000-8000-000000000001".parse().unwrap();
        let ours = format!("Mirror-Task: a\nMirror-Transaction: {transaction}\n");
        assert_eq!(signed_off("one", &task, &transaction), format!("one\n\n{ours}"));
        assert_eq!(
            signed_off("a: b\n", &task, &transaction),
            format!("a: b\n\n{ours}")
        );
        let with = "one\n\nSigned-off-by: x <y>";
        assert_eq!(signed_off(with, &task, &transaction), format!("{with}\n{ours}"));
    }
}
