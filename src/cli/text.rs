//! Pieces of text for people that several commands show.

use std::fmt::Write as _;
use std::path::Path;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use mirror::model::{Change, Conflict, Entry, ObjectId, misleads, shown};
use mirror::store::{Task, Transaction};

use super::document::short_branch;
use super::time;

/// How many digits of a commit's name people need.
const SHORT_DIGITS: usize = 10;

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
    let lines = task
        .locks
        .iter()
        .map(|held| format!("{indent}{:<5}  {}\n", held.lock.mode.as_str(), held.lock.resource));
    lines.collect()
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
    let mut text = format!(
        "{} ({}) {act} by {} on {}{process}, since {}, {}",
        conflict.resource,
        conflict.mode,
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
