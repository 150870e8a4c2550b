//! The command line: words in, words out, exit codes.
//!
//! [`run`] reads the arguments, hands them to the command they name, and turns what comes back into an exit code.
//! Everything that a command knows about the outside is in its [`Context`].

mod arguments;
mod child;
mod command;
mod demo;
mod document;
mod env;
mod error;
mod exit_code;
mod hint;
mod observer;
mod output;
mod path_hint;
mod repository_hint;
mod run_line;
mod signals;
mod text;
mod time;

use std::cell::Cell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use mirror::config::{Layer, Settings};
use mirror::coordinator::{Coordinator, Error};
use mirror::host::Host;

use self::arguments::Global;
use self::command::Command;
use self::env::Environment;
use self::error::Report;
use self::exit_code::ExitCode;
use self::observer::Narrator;
use self::output::Output;

/// Coordinates the edits that several workers make to one repository.
///
/// A worker opens a task. The task holds locks on what it will change, collects staged changes, and commits them: every
/// file at once, or none. A crash at any instant leaves the old state or the new one, never a mixture.
#[derive(Debug, Parser)]
#[command(
    name = "mirror",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Run `mirror help COMMAND` for what a command does and for examples of it.")]
struct Arguments {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    command: Command,
}

/// What every command is given.
struct Context {
    global: Global,
    environment: Environment,
    output: Output,
    host: Arc<dyn Host>,
    /// Whether it is time to tidy up a little, as a coordinator found that was opened.
    cleanup_is_due: Cell<bool>,
}

impl Context {
    /// Returns where the user stands: the current directory, or the one that `-C` names.
    fn directory(&self) -> anyhow::Result<PathBuf> {
        let here = PathBuf::from(".");
        let named = self.global.directory.as_ref().unwrap_or(&here);
        named.canonicalize().map_err(|source| {
            let path = named.clone();
            Error::Input { path, source }.into()
        })
    }

    /// Collects the settings from everywhere but the repository, which adds its own.
    fn settings(&self) -> anyhow::Result<Settings> {
        let flags = Layer::from_store(self.global.store.clone())?;
        Ok(Settings {
            above: flags.over(env::configuration()?),
            below: env::user_configuration()?,
        })
    }

    /// Opens the repository, which recovers what a crash left in it.
    fn coordinator(&self) -> anyhow::Result<Coordinator> {
        let mut narrator = Narrator::new(self.output);
        let host = Arc::clone(&self.host);
        let coordinator = Coordinator::open(&self.directory()?, &self.settings()?, host, &mut narrator)?;
        self.cleanup_is_due
            .set(coordinator.cleanup_is_due().unwrap_or(false));
        Ok(coordinator)
    }

    /// Tidies up a little, if it is due. The command has answered by now, so a failure is left to the next one.
    fn clean_up_some(&self) {
        if !self.cleanup_is_due.get() {
            return;
        }
        let done = self
            .coordinator()
            .and_then(|mut coordinator| Ok(coordinator.cleanup_some()?));
        if let Err(error) = done {
            tracing::warn!(%error, "tidying up is left to a later command");
        }
    }
}

/// Runs the command that the arguments name and returns how the process shall end.
pub(crate) fn run() -> process::ExitCode {
    tell_of_bugs();
    match parse(std::env::args_os()) {
        Ok(arguments) => carry_out(arguments).into(),
        Err(error) => refuse(&error).into(),
    }
}

/// Returns the whole command line, for help, completions and manual pages.
fn definition() -> clap::Command {
    Arguments::command().after_long_help(exit_code::help())
}

fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let matches = definition().try_get_matches_from(words)?;
    Arguments::from_arg_matches(&matches)
}

fn carry_out(arguments: Arguments) -> ExitCode {
    let Arguments { global, command } = arguments;
    let output = Output::new(global.json, global.quiet, global.color.into());
    let result = Environment::install().and_then(|environment| {
        let host = env::host()?;
        let tidies_up = command.tidies_up();
        let context = Context {
            global,
            environment,
            output,
            host,
            cleanup_is_due: Cell::new(false),
        };
        let code = command.run(&context)?;
        if tidies_up {
            context.clean_up_some();
        }
        Ok(code)
    });
    match result {
        Ok(code) => code,
        Err(error) => Report::of(&error).map_or(ExitCode::Done, |report| report.tell(output.json)),
    }
}

/// Answers arguments that ask for help or the version, and refuses those that make no sense.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            drop(error.print());
            ExitCode::Done
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            drop(error.print());
            ExitCode::Usage
        }
        _ => {
            let command = named_command(std::env::args_os());
            let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
            let words: Vec<String> = words.collect();
            Report::of_arguments(error, command.as_deref(), &words).tell(wants_json(std::env::args_os()))
        }
    }
}

/// Tells whether `--json` is among the arguments, when they are too wrong to be parsed.
fn wants_json(words: impl IntoIterator<Item = OsString>) -> bool {
    let mut words = words.into_iter().take_while(|word| word != "--");
    words.any(|word| word == "--json")
}

/// Returns the command among arguments that are too wrong to be parsed.
fn named_command(words: impl IntoIterator<Item = OsString>) -> Option<String> {
    let definition = definition();
    let mut words = words
        .into_iter()
        .skip(1)
        .filter_map(|word| word.into_string().ok());
    words.find(|word| definition.find_subcommand(word).is_some())
}

/// Makes a panic look like every other error, with the exit code for our own faults.
fn tell_of_bugs() {
    std::panic::set_hook(Box::new(|panic| {
        let code = Report::of_bug(panic.to_string()).tell(wants_json(std::env::args_os()));
        #[expect(
            clippy::disallowed_methods,
            reason = "a panic never comes back to main, and the release profile would abort"
        )]
        process::exit(code as i32);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_every_command_has_examples() {
        definition().debug_assert();
        for command in definition()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            let examples = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let name = format!("mirror {}", command.get_name());
            assert!(examples.starts_with("Examples:\n"), "{name}");
            assert!(examples.contains(&name), "{name}");
            assert!(command.get_about().is_some(), "{name}");
        }
    }

    #[test]
    fn json_is_recognised_even_in_wrong_arguments() {
        let wants = |words: &[&str]| wants_json(words.iter().map(Into::into));
        assert!(wants(&["mirror", "--nonsense", "--json"]));
        assert!(!wants(&["mirror", "--", "--json"]));
    }
}
