//! What a failure looks like: the kind, the chain of causes, and what to type next.
//!
//! For people: `Error:`, `Caused by:`, `Hint:`. With `--json`: one document on standard error.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use mirror::config::ConfigError;
use mirror::coordinator::Error;
use mirror::model::{Conflict, Kind, RepoPath};
use serde::Serialize;

use super::document::{self, ConflictDocument};
use super::exit_code::ExitCode;
use super::hint;
use super::output::{ClosedPipe, complain};
use super::path_hint;
use super::text;

/// A request that the command line itself refuses.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct UsageError {
    message: String,
    hint: String,
}

impl UsageError {
    /// Says what is wrong, and what to type instead.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// A failure, taken apart.
#[derive(Debug)]
pub(crate) struct Report {
    kind: Kind,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    conflicts: Vec<Conflict>,
    paths: Vec<RepoPath>,
}

#[derive(Serialize)]
struct Document<'a> {
    error: ErrorDocument<'a>,
}

#[derive(Serialize)]
struct ErrorDocument<'a> {
    kind: &'a str,
    message: String,
    hint: Option<String>,
    conflicts: Vec<ConflictDocument>,
    paths: Vec<String>,
}

impl Report {
    /// Takes an error of a command apart. `None` means that there is nobody left to be told.
    pub(crate) fn of(error: &anyhow::Error) -> Option<Self> {
        if error.downcast_ref::<ClosedPipe>().is_some() {
            return None;
        }
        let mut texts: Vec<String> = error.chain().map(ToString::to_string).collect();
        // A transparent error repeats its source word for word.
        texts.dedup();
        let message = texts.remove(0);
        let refusal = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
        Some(Self {
            kind: kind(error),
            message,
            causes: texts,
            hints: hints(error),
            conflicts: refusal.map(Error::conflicts).unwrap_or_default().to_vec(),
            paths: refusal.map(Error::paths).unwrap_or_default(),
        })
    }

    /// Takes a complaint of the argument parser apart.
    pub(crate) fn of_arguments(error: &clap::Error, command: Option<&str>, words: &[String]) -> Self {
        let rendered = error.render().to_string();
        let message = rendered.split("\n\n").next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        let tips = error.context().filter_map(|(kind, value)| tip(kind, value));
        let usage = rendered.lines().find_map(|line| line.strip_prefix("Usage: "));
        let help = command.map_or("mirror --help".to_owned(), |command| {
            format!("mirror {command} --help")
        });
        let usage = usage.map_or_else(|| format!("Run `{help}`"), |usage| format!("Usage: {usage}"));
        Self {
            hints: tips
                .chain(glued(error, words))
                .chain(unasked(error, command))
                .chain([usage])
                .collect(),
            ..Self::plain(Kind::Usage, capitalised(message.trim_end()))
        }
    }

    /// A failure of our own.
    pub(crate) fn of_bug(message: String) -> Self {
        let hint = "This is a bug in mirror: please report it with the command that caused it";
        Self {
            hints: vec![hint.to_owned()],
            ..Self::plain(Kind::Bug, message)
        }
    }

    fn plain(kind: Kind, message: String) -> Self {
        Self {
            kind,
            message,
            causes: Vec::new(),
            hints: Vec::new(),
            conflicts: Vec::new(),
            paths: Vec::new(),
        }
    }

    /// Adds something to do.
    pub(crate) fn hinting(mut self, hint: String) -> Self {
        self.hints.push(hint);
        self
    }

    /// Prints it to standard error and returns how the process shall end.
    pub(crate) fn tell(&self, json: bool) -> ExitCode {
        complain(&if json { self.json() } else { self.text() });
        self.kind.into()
    }

    fn text(&self) -> String {
        let mut text = labelled("Error", AnsiColor::Red, &self.message);
        for conflict in &self.conflicts {
            let _ = writeln!(text, "  {}", text::safe(&text::holder(conflict)));
        }
        for cause in &self.causes {
            text += &labelled("Caused by", AnsiColor::Red, cause);
        }
        for hint in &self.hints {
            text += &labelled("Hint", AnsiColor::Cyan, hint);
        }
        text
    }

    fn json(&self) -> String {
        let mut message = self.message.clone();
        for cause in &self.causes {
            let _ = write!(message, ": {cause}");
        }
        let document = Document {
            error: ErrorDocument {
                kind: self.kind.as_str(),
                message,
                hint: (!self.hints.is_empty()).then(|| self.hints.join("\n")),
                conflicts: self.conflicts.iter().map(ConflictDocument::from).collect(),
                paths: self.paths.iter().map(document::path).collect(),
            },
        };
        let text = serde_json::to_string(&document).expect("BUG: a document of texts is always JSON");
        text::safe_json(&text) + "\n"
    }
}

/// Whatever lines a message quotes, none of them can pass for one of these: they are indented.
fn labelled(label: &str, color: AnsiColor, text: &str) -> String {
    let text = text.trim_end().replace('\n', "\n  ");
    let style = Style::new().bold().fg_color(Some(color.into()));
    format!("{style}{label}:{style:#} {}\n", text::safe(&text))
}

/// The first cause that knows its kind decides. What nobody knows is the system's failure.
fn kind(error: &anyhow::Error) -> Kind {
    let known = error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<Error>() {
            return Some(error.kind());
        }
        if let Some(error) = cause.downcast_ref::<ConfigError>() {
            return Some(error.kind());
        }
        cause.is::<UsageError>().then_some(Kind::Usage)
    });
    known.unwrap_or(Kind::Failed)
}

fn hints(error: &anyhow::Error) -> Vec<String> {
    let known = error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<UsageError>() {
            return Some(vec![error.hint.clone()]);
        }
        if let Some(error) = cause.downcast_ref::<ConfigError>() {
            return Some(hint::of_config(error));
        }
        cause.downcast_ref::<Error>().map(hint::hints)
    });
    known.unwrap_or_default()
}

/// Turns what the argument parser suggests into a hint.
fn tip(kind: ContextKind, value: &ContextValue) -> Option<String> {
    let similar = matches!(
        kind,
        ContextKind::SuggestedArg | ContextKind::SuggestedSubcommand | ContextKind::SuggestedValue
    );
    match value {
        ContextValue::String(one) if similar => Some(format!("Did you mean {one}?")),
        ContextValue::Strings(some) if similar && !some.is_empty() => {
            Some(format!("Did you mean {}?", some.join(" or ")))
        }
        _ => None,
    }
}

/// Says how to give an option a value that begins with a dash, where one was taken for another option.
fn glued(error: &clap::Error, words: &[String]) -> Option<String> {
    let ContextValue::String(taken) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    let words = || words.iter().take_while(|word| *word != "--");
    let (option, value) = words()
        .zip(words().skip(1))
        .find(|(_, value)| value.starts_with(taken))?;
    if error.kind() != ErrorKind::UnknownArgument || !takes_text(option) {
        return None;
    }
    let glued = format!("{option}={value}");
    let path = match option.as_str() {
        "-w" | "-r" | "--write" | "--read" => {
            format!(" (or {option} {})", path_hint::word(&format!("./{value}")))
        }
        _ => String::new(),
    };
    Some(format!(
        "If {value} is the value of {option}: {}{path}",
        path_hint::word(&glued)
    ))
}

/// Says how to name a path, where one was given without an option, or the shell has made several of a pattern.
fn unasked(error: &clap::Error, command: Option<&str>) -> Option<String> {
    let ContextValue::String(taken) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    let locks = matches!(command, Some("begin" | "lock" | "run"));
    if error.kind() != ErrorKind::UnknownArgument || taken.starts_with('-') || !locks {
        return None;
    }
    Some(format!(
        "If {taken} is a path to lock: -w {}; a pattern is quoted, as in -w 'src/*.js'; the command of a run comes after --",
        path_hint::word(taken)
    ))
}

/// Tells whether an option takes a path or any text, which may begin with a dash.
fn takes_text(option: &str) -> bool {
    const SOME: [&str; 10] = [
        "-w",
        "-r",
        "-m",
        "-C",
        "--write",
        "--read",
        "--message",
        "--reason",
        "--validate",
        "--from",
    ];
    SOME.contains(&option)
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next();
    first
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
