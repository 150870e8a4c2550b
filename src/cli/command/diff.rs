//! `mirror diff`

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use clap::Args;
use mirror::coordinator::FileDiff;
use mirror::model::{Change, Entry, RepoPath, TaskId};
use serde::Serialize;
use similar::TextDiff;

use crate::cli::Context;
use crate::cli::arguments::TaskArgument;
use crate::cli::document::ChangeDocument;
use crate::cli::exit_code::ExitCode;
use crate::cli::output;
use crate::cli::text::safe;

const EXAMPLES: &str = "\
Examples:
  mirror diff -t agent-1
  mirror diff -t agent-1 --color always | less -R";

/// How many bytes of a file decide whether it is text, as in git.
const BINARY_PROBE_MAX: usize = 8000;

/// Show what a task has staged, as a unified diff
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Diff {
    #[command(flatten)]
    task: TaskArgument,
}

#[derive(Serialize)]
struct Document {
    task: TaskId,
    changes: Vec<FileDocument>,
}

#[derive(Serialize)]
struct FileDocument {
    #[serde(flatten)]
    change: ChangeDocument,
    base_changed: bool,
}

impl Diff {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let task = self.task.required(&context.environment)?;
        let diffs = context.coordinator()?.diff(&task)?;
        if context.output.json {
            let changes = diffs.iter().map(|diff| FileDocument {
                change: ChangeDocument::new(&diff.change),
                base_changed: diff.base_changed,
            });
            let changes = changes.collect();
            output::line(&Document { task, changes })?;
            return Ok(ExitCode::Done);
        }
        for diff in &diffs {
            output::raw(&render(diff)?)?;
            if diff.base_changed {
                let path = &diff.change.path;
                let notice = format!(
                    "Warning: {path} changed since it was staged: the commit will refuse it. Stage it again."
                );
                context.output.notice(&notice);
            }
        }
        Ok(ExitCode::Done)
    }
}

/// Makes what git would make of one change, with colours where they are seen.
fn render(diff: &FileDiff) -> anyhow::Result<Vec<u8>> {
    let path = &diff.change.path;
    let mut text = header(diff).into_bytes();
    let before = diff.before.as_deref().unwrap_or_default();
    let after = diff.after.as_deref().unwrap_or_default();
    if is_binary(before) || is_binary(after) {
        if before != after {
            let (old, new) = (prefixed("a", path), prefixed("b", path));
            text.extend(format!("Binary files {old} and {new} differ\n").into_bytes());
        }
        return Ok(shown(&text));
    }
    let old = side(diff.before.is_some(), "a", path);
    let new = side(diff.after.is_some(), "b", path);
    // Lines as git has them: a carriage return alone ends none.
    let (before, after): (Vec<_>, Vec<_>) = (lines(before).collect(), lines(after).collect());
    let difference = TextDiff::from_slices(&before, &after);
    for (number, hunk) in difference.unified_diff().iter_hunks().enumerate() {
        if number == 0 {
            writeln!(text, "--- {old}\n+++ {new}")?;
        }
        writeln!(text, "{}", hunk.header())?;
        for change in hunk.iter_changes() {
            write!(text, "{}", change.tag())?;
            text.extend(change.value());
            if !change.value().ends_with(b"\n") {
                text.extend(b"\n\\ No newline at end of file\n");
            }
        }
    }
    Ok(shown(&text))
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// A person is shown what a terminal would obey; a program gets the bytes, which are a patch that applies.
fn shown(text: &[u8]) -> Vec<u8> {
    if output::is_terminal() {
        painted(safe(&String::from_utf8_lossy(text)).as_bytes())
    } else {
        painted(text)
    }
}

fn header(diff: &FileDiff) -> String {
    let path = &diff.change.path;
    let text = format!("diff --git {} {}\n", prefixed("a", path), prefixed("b", path));
    let Change { base, post, .. } = &diff.change;
    match (base.map(mode), post.map(mode)) {
        (None, Some(new)) => format!("{text}new file mode {new}\n"),
        (Some(old), None) => format!("{text}deleted file mode {old}\n"),
        (Some(old), Some(new)) if old != new => format!("{text}old mode {old}\nnew mode {new}\n"),
        _ => text,
    }
}

fn mode(entry: Entry) -> &'static str {
    match entry {
        Entry::Symlink { .. } => "120000",
        Entry::File { executable: true, .. } => "100755",
        Entry::File { .. } => "100644",
    }
}

fn side(exists: bool, letter: &str, path: &RepoPath) -> String {
    if exists {
        prefixed(letter, path)
    } else {
        "/dev/null".to_owned()
    }
}

/// Shows `a/path`, quoted as a whole where it needs quotes.
fn prefixed(letter: &str, path: &RepoPath) -> String {
    let shown = path.to_string();
    match shown.strip_prefix('"') {
        Some(rest) => format!("\"{letter}/{rest}"),
        None => format!("{letter}/{shown}"),
    }
}

fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(BINARY_PROBE_MAX).any(|byte| *byte == 0)
}

fn painted(text: &[u8]) -> Vec<u8> {
    if !output::is_coloured() {
        return text.to_vec();
    }
    let mut painted = Vec::with_capacity(text.len());
    let mut is_head = true;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        is_head &= !line.starts_with(b"@@");
        let style = match line.first() {
            _ if is_head => Style::new().bold(),
            Some(b'@') => AnsiColor::Cyan.on_default(),
            Some(b'+') => AnsiColor::Green.on_default(),
            Some(b'-') => AnsiColor::Red.on_default(),
            _ => Style::new(),
        };
        let (line, end) = line.strip_suffix(b"\n").map_or((line, ""), |line| (line, "\n"));
        painted.extend(style.render().to_string().into_bytes());
        painted.extend(line);
        painted.extend(style.render_reset().to_string().into_bytes());
        painted.extend(end.as_bytes());
    }
    painted
}
