//! What is wrong with a configuration, and where.

use std::fmt;

use crate::model::Kind;

/// How much of a line is shown before and after the place that is meant.
const EXCERPT_CHARS_MAX: usize = 80;

/// Why a configuration is no good: everything that is wrong with it. All of it is the user's to mend.
#[derive(Debug)]
pub struct ConfigError {
    /// At least one.
    pub faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub origin: Origin,
    /// What, in words.
    pub message: String,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag(&'static str),
    /// An environment variable.
    Variable(String),
    /// A line of a file.
    File(Place),
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name, as errors show it.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    /// The line's text.
    excerpt: String,
}

impl Place {
    /// Finds a place in the text of a file.
    pub(super) fn new(file: &str, text: &str, line: u64, column: u64) -> Self {
        let found = usize::try_from(line.saturating_sub(1))
            .ok()
            .and_then(|index| text.lines().nth(index));
        Self {
            file: file.to_owned(),
            line,
            column,
            excerpt: without_password(found.unwrap_or_default()),
        }
    }
}

/// Leaves out what an address may hold before its host: it may be a password.
pub(super) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest
        .find(|c: char| c.is_whitespace() || "'\"},".contains(c))
        .unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://…{}", without_password(&rest[at..])),
        None => format!("{scheme}://{}", without_password(rest)),
    }
}

impl From<Fault> for ConfigError {
    fn from(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }
}

impl ConfigError {
    /// Returns what kind of failure this is.
    pub fn kind(&self) -> Kind {
        Kind::Usage
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = &self.message;
        match &self.origin {
            Origin::Flag(flag) => write!(f, "Invalid value of {flag}: {message}"),
            Origin::Variable(name) => {
                write!(f, "Invalid value in the environment variable {name}: {message}")
            }
            Origin::File(place) => write!(f, "Invalid configuration: {message}\n{place}"),
        }
    }
}

impl fmt::Display for Place {
    /// Shows the line with a mark below the column, as compilers do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            excerpt,
        } = self;
        let number = line.to_string();
        let gap = " ".repeat(number.len());
        let before = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
        let cut = before.saturating_sub(EXCERPT_CHARS_MAX);
        let shown: String = excerpt.chars().skip(cut).take(2 * EXCERPT_CHARS_MAX).collect();
        let mark = " ".repeat(before.min(EXCERPT_CHARS_MAX));
        write!(
            f,
            "{gap}--> {file}:{line}:{column}\n{gap} |\n{number} | {shown}\n{gap} | {mark}^"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_addresses_are_left_out() {
        for (text, shown) in [
            ("url: redis://me:secret@host/0", "url: redis://…@host/0"),
            (
                "url: 'redis://me:se@cret@host', b: c",
                "url: 'redis://…@host', b: c",
            ),
            ("a://b c://d:e@f", "a://b c://…@f"),
            ("git: {branch: dirty}", "git: {branch: dirty}"),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}x{}", "a".repeat(500), "b".repeat(500));
        let shown = Place::new("f", &text, 1, 501).to_string();
        assert!(shown.len() < 400, "{shown}");
        assert!(
            shown.ends_with(&format!(
                "1 | {}x{}\n  | {}^",
                "a".repeat(80),
                "b".repeat(79),
                " ".repeat(80)
            )),
            "{shown}"
        );
    }
}
