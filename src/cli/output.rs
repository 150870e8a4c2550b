//! What a command answers: text for people, or exactly one JSON document.
//!
//! Results go to standard output, everything else to standard error. Colour follows `--color`, `NO_COLOR` and whether
//! there is a terminal. A reader that closes the pipe ends the command without a complaint.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;

use super::text::{safe, safe_json};

/// Where and in which form a command answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Answers are JSON documents.
    pub(crate) json: bool,
    /// Only what was asked for is printed: no sentence that says that it worked, no notice, no progress.
    pub(crate) quiet: bool,
}

/// The reader of our output is gone. Nobody is left to be told.
#[derive(Debug, thiserror::Error)]
#[error("The reader of the output is gone")]
pub(crate) struct ClosedPipe;

impl Output {
    /// Takes the global flags and makes `color` the choice of the whole process.
    pub(crate) fn new(json: bool, quiet: bool, color: ColorChoice) -> Self {
        color.write_global();
        Self { json, quiet }
    }

    /// Answers with `document`, or with what `text` makes for people.
    pub(crate) fn answer(
        self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.json {
            line(document)
        } else {
            self::text(&text())
        }
    }

    /// Answers with `document`, or with a sentence that says what was done, unless that was not wanted.
    pub(crate) fn done(
        self,
        document: &impl Serialize,
        sentence: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.quiet && !self.json {
            return Ok(());
        }
        self.answer(document, || format!("{}\n", sentence().trim_end_matches('\n')))
    }

    /// Says something on standard error that is not the answer.
    pub(crate) fn notice(self, text: &str) {
        if !self.quiet && !self.json {
            complain(&format!("{}\n", safe(text)));
        }
    }

    /// Tells whether progress is worth showing.
    pub(crate) fn shows_progress(self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }
}

/// Prints `document` as JSON on a line of its own.
pub(crate) fn line(document: &impl Serialize) -> anyhow::Result<()> {
    let line = safe_json(&serde_json::to_string(document)?) + "\n";
    print(line.as_bytes())
}

/// One JSON array that is printed part by part: it need not fit into memory.
#[derive(Debug, Default)]
pub(crate) struct Array {
    has_begun: bool,
}

impl Array {
    /// Prints more elements.
    pub(crate) fn print(&mut self, elements: impl Iterator<Item = impl Serialize>) -> anyhow::Result<()> {
        let mut text = String::new();
        for element in elements {
            text.push(if self.has_begun { ',' } else { '[' });
            text += &safe_json(&serde_json::to_string(&element)?);
            self.has_begun = true;
        }
        print(text.as_bytes())
    }

    /// Closes the array.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        print(if self.has_begun { b"]\n" } else { b"[]\n" })
    }
}

/// Prints text for people. Whatever names, reasons and messages are in it, the terminal obeys none of them.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    print(safe(text).as_bytes())
}

/// Prints bytes exactly as they are.
pub(crate) fn raw(bytes: &[u8]) -> anyhow::Result<()> {
    written(io::stdout().lock(), bytes)
}

/// Tells whether colours are seen on standard output.
pub(crate) fn is_coloured() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// Tells whether a person looks at the answer.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Clears the terminal and shows `text` from its top.
pub(crate) fn redraw(text: &str) -> anyhow::Result<()> {
    print(format!("\x1b[H\x1b[2J{}", safe(text)).as_bytes())
}

/// Waits, unless the reader of the output goes away meanwhile.
pub(crate) fn pause(span: Duration) -> anyhow::Result<()> {
    let stdout = io::stdout();
    let timeout = Timespec::try_from(span).context("The pause is too long")?;
    // No event is asked for: a closed pipe is reported all the same.
    match poll(&mut [PollFd::new(&stdout, PollFlags::empty())], Some(&timeout)) {
        Ok(0) | Err(Errno::INTR) => Ok(()),
        Ok(_) => Err(ClosedPipe.into()),
        Err(error) => Err(error.into()),
    }
}

fn print(bytes: &[u8]) -> anyhow::Result<()> {
    written(anstream::stdout().lock(), bytes)
}

fn written(mut stdout: impl Write, bytes: &[u8]) -> anyhow::Result<()> {
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ClosedPipe.into()),
        Err(error) => Err(anyhow::Error::new(error).context("Failed to write to standard output")),
    }
}

/// Prints to standard error. When that fails too, nobody is left to be told.
pub(crate) fn complain(text: &str) {
    drop(anstream::stderr().lock().write_all(text.as_bytes()));
}
