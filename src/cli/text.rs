//! Pieces of text for people that several commands show.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use mirror::model::{
    Change, Conflict, Entry, Lock, LockSet, ObjectId, Pool, Resource, TaskId, misleads, shown,
};
use mirror::store::{Task, Transaction};

use super::document::short_branch;
use super::time;

/// How many digits of a commit's name people need.
const SHORT_DIGITS: usize = 10;

/// How many locks of a task are listed before the rest is counted.
const LOCKS_MAX: usize = 20;

/// Counts something: `1 lock`, `2 locks`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    match noun.strip_suffix("py") {
        _ if number == 1 => format!("1 {noun}"),
        Some(stem) => format!("{number} {stem}pies"),
        None if noun.ends_with("ch") => format!("{number} {noun}es"),
        None => format!("{number} {noun}s"),
    }
}

/// Shortens the name of a commit.
pub(crate) fn short(commit: &ObjectId) -> String {
    let mut text = commit.to_string();
    text.truncate(SHORT_DIGITS);
    text
}

/// Lists a task's locks, one a line, then how long they last and where its changes go.
pub(crate) fn task(task: &Task, transaction: Option<&Transaction>) -> String {
    let mut text = locks(task, "  ");
    let _ = writeln!(
        text,
        "Token {}, leased {}.",
        task.token,
        time::lease(task.expires_in_ms)
    );
    let branch = transaction.and_then(|transaction| short_branch(transaction.branch.as_deref()));
    let target = transaction.and_then(|transaction| short_branch(transaction.target.as_deref()));
    if let Some(branch) = branch {
        let target = target.unwrap_or_default();
        let _ = writeln!(
            text,
            "Its changes go to the branch {branch}, and from there into {target}."
        );
    }
    text
}

/// Lists a task's locks, one a line.
pub(crate) fn locks(task: &Task, indent: &str) -> String {
    lines(task.locks.iter().map(|held| &held.lock), indent)
}

/// Lists the first of a task's locks, one a line, and says how many more there are.
pub(crate) fn some_locks(task: &Task, indent: &str) -> String {
    let first = task.locks.iter().take(LOCKS_MAX).map(|held| &held.lock);
    let text = lines(first, indent);
    match task.locks.len().saturating_sub(LOCKS_MAX) {
        0 => text,
        more => format!(
            "{text}{indent}and {more} more: `mirror show -t {}` lists them all\n",
            task.id
        ),
    }
}

/// Lists the first of what somebody asks for, one a line, and says how many more there are.
pub(crate) fn wants(wants: &LockSet, indent: &str) -> String {
    let total = wants.iter().count() + wants.shares().count();
    let locks = wants.iter().take(LOCKS_MAX);
    let mut text = lines(locks.collect::<Vec<_>>().iter(), indent);
    for share in wants.shares().take(LOCKS_MAX) {
        let mode = mode(&share.in_line());
        let _ = writeln!(text, "{indent}{mode:<5}  {share}");
    }
    let shown = text.lines().count();
    if total > shown {
        let _ = writeln!(text, "{indent}and {} more", total - shown);
    }
    text
}

fn lines<'a>(locks: impl Iterator<Item = &'a Lock>, indent: &str) -> String {
    locks.fold(String::new(), |mut text, lock| {
        let _ = writeln!(text, "{indent}{:<5}  {}", mode(lock), lock.resource);
        text
    })
}

/// Names the mode of a lock. A part of a quota has none that means anything: others take parts of their own.
fn mode(lock: &Lock) -> &'static str {
    match lock.resource {
        Resource::Quota { .. } | Resource::Pool(Pool::Quota(_)) => "",
        _ => lock.mode.as_str(),
    }
}

/// Says where a validation that goes on can be read.
pub(crate) fn printed(path: impl AsRef<Path>) -> String {
    format!("Its validation prints to {}\n", shown(path))
}

/// Says who holds something, since when, until when and why, on one line.
pub(crate) fn holder(conflict: &Conflict) -> String {
    let holder = &conflict.holder;
    let act = if conflict.waiting { "waited for" } else { "held" };
    let process = holder
        .pid
        .map(|pid| format!(", process {pid}"))
        .unwrap_or_default();
    let lock = Lock {
        resource: conflict.resource.clone(),
        mode: conflict.mode,
    };
    let mode = match mode(&lock) {
        "" => String::new(),
        mode => format!(" ({mode})"),
    };
    let mut text = format!(
        "{}{mode} {act} by {} on {}{process}, since {}, {}",
        conflict.resource,
        holder.task,
        holder.host,
        time::local(holder.since),
        time::lease(holder.expires_in_ms),
    );
    if let Some(reason) = &holder.reason {
        let _ = write!(text, ": {}", plain(reason));
    }
    text
}

/// Says what is waited for, from what is in the way.
pub(crate) fn waited_for(conflicts: &[Conflict]) -> String {
    let is_landing = |conflict: &&Conflict| matches!(conflict.resource, Resource::Landing(_));
    if let Some(Conflict { resource, .. }) = conflicts.iter().find(is_landing) {
        let before: BTreeSet<&TaskId> = conflicts.iter().map(|conflict| &conflict.holder.task).collect();
        let before: Vec<&str> = before.into_iter().map(TaskId::as_str).collect();
        let line = resource.to_string();
        let branch = line.strip_prefix("landing:").unwrap_or(&line);
        return format!("In line to land on {branch} behind {}", before.join(", "));
    }
    let is_copy = |conflict: &&Conflict| {
        let resource = &conflict.resource;
        matches!(resource, Resource::Worktree(_) | Resource::Pool(Pool::Worktrees))
    };
    let others = conflicts.iter().filter(|conflict| !is_copy(conflict));
    let mut lines: BTreeSet<String> = others.map(|conflict| format!("  {}", holder(conflict))).collect();
    if conflicts.iter().any(|conflict| is_copy(&conflict)) {
        lines.insert("  a working copy: all are in use, or set aside for runs that came earlier".to_owned());
    }
    format!("Waiting for:\n{}", Vec::from_iter(lines).join("\n"))
}

/// Lists staged changes, one a line.
pub(crate) fn changes(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let _ = writeln!(text, "  {}", self::change(change));
    }
    text
}

fn change(change: &Change) -> String {
    let kind = change.kind().as_str();
    let path = &change.path;
    match (&change.moved_from, &change.moved_to) {
        (Some(from), _) => format!("{kind:<7} {from} -> {path}"),
        (_, Some(to)) => format!("{kind:<7} {path} -> {to}"),
        _ => match change.post {
            Some(Entry::File { executable, .. }) if kind == "chmod" => {
                format!("{kind:<7} {} {path}", if executable { "+x" } else { "-x" })
            }
            _ => format!("{kind:<7} {path}"),
        },
    }
}

/// Sets rows one below the other, so that their columns line up.
pub(crate) fn columns<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.collect()
}

/// Makes text of others safe for a terminal and keeps it on one line: what a terminal would obey is shown.
pub(crate) fn plain(text: &str) -> String {
    escaped(text, misleads)
}

/// Makes text of several lines safe for a terminal.
pub(crate) fn safe(text: &str) -> String {
    escaped(text, |c| misleads(c) && !matches!(c, '\n' | '\t'))
}

/// Makes JSON safe for a terminal without changing what it says: outside of strings it holds no such character.
pub(crate) fn safe_json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if misleads(c) {
            // All of them are in the first plane, so that one unit names them.
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

fn escaped(text: &str, is_obeyed: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_right_and_control_characters_are_shown() {
        assert_eq!(counted(0, "lock"), "0 locks");
        assert_eq!(counted(1, "lock"), "1 lock");
        assert_eq!(counted(2, "branch"), "2 branches");
        assert_eq!(plain("a\u{1b}[31m\nb é"), "a\\u{1b}[31m\\nb é");
        assert_eq!(safe("a\u{9b}\n\tb\u{202e}"), "a\\u{9b}\n\tb\\u{202e}");
        assert_eq!(safe_json("\"a\u{7f}b\u{2066}\""), "\"a\\u007fb\\u2066\"");
    }
}
