//! Arguments that several commands share.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ColorChoice, ValueEnum};
use jiff::{Span, SpanRelativeTo};
use mirror::coordinator::{Validation, Wanted, WantedKind};
use mirror::model::{Amount, Mode, TaskId};
use mirror::store::Wait;

use super::env::Environment;
use super::error::UsageError;

/// The longest span that anybody may ask for.
const SPAN_MAX: Duration = Duration::from_hours(366 * 24);

/// Flags that every command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Work as if started in this directory
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub(crate) directory: Option<PathBuf>,

    /// Answer with one JSON document; errors are one document on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print only what was asked for
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// When to use colours
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, global = true)]
    pub(crate) color: Color,

    /// The store that holds the locks; without it, the one in `MIRROR_STORE_URL` or the configuration
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) store: Option<String>,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that can show them, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// In pipes and files, too
    Always,
    /// Nowhere
    Never,
}

/// Which task a command is about.
#[derive(Debug, Clone, Args)]
pub(crate) struct TaskArgument {
    /// The task; without it, the one in `MIRROR_TASK`
    #[arg(short, long, value_name = "ID")]
    task: Option<TaskId>,
}

/// What to lock.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LockArguments {
    /// Lock a file, a directory, or today's files of a pattern, for writing
    #[arg(short, long, value_name = "PATH")]
    pub(crate) write: Vec<OsString>,

    /// Lock for reading: others may read too, and nobody may write
    #[arg(short, long, value_name = "PATH")]
    pub(crate) read: Vec<OsString>,

    /// Lock a service for writing, such as database or database:5432 (for reading: -r service:database)
    #[arg(short, long, value_name = "NAME")]
    pub(crate) service: Vec<String>,

    /// Reserve a port: any free one of the configured range, or this one
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "any", value_parser = port)]
    pub(crate) port: Vec<Port>,

    /// Take any member of a pool, or NAME/MEMBER; once for each member that is needed
    #[arg(long, value_name = "NAME")]
    pub(crate) pool: Vec<String>,

    /// Take a part of a quota, such as memory=2GiB
    #[arg(long, value_name = "NAME=AMOUNT", value_parser = quota)]
    pub(crate) quota: Vec<(String, Amount)>,

    /// Wait this long for others to let go, such as 500ms, 30s or 5m
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) wait: Option<Duration>,
}

/// Which port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// Any one.
    Any,
    /// This one.
    This(u16),
}

fn port(text: &str) -> Result<Port, &'static str> {
    if text == "any" {
        return Ok(Port::Any);
    }
    let number = text.parse().ok().filter(|number| *number > 0);
    number
        .map(Port::This)
        .ok_or("not a port: a number from 1 to 65535")
}

fn quota(text: &str) -> Result<(String, Amount), String> {
    let (name, amount) = text.split_once('=').ok_or("not NAME=AMOUNT, as in memory=2GiB")?;
    let amount = amount.parse::<Amount>().map_err(|error| error.to_string())?;
    Ok((name.to_owned(), amount))
}

impl LockArguments {
    /// Returns everything that is asked for.
    pub(crate) fn wants(&self) -> Vec<Wanted> {
        let want = |mode| {
            move |path: &OsString| Wanted {
                what: WantedKind::Path(path.clone()),
                mode,
            }
        };
        let services = self.service.iter().map(|name| Wanted {
            what: WantedKind::Service(name.clone()),
            mode: Mode::Write,
        });
        let writes = self.write.iter().map(want(Mode::Write));
        let reads = self.read.iter().map(want(Mode::Read));
        writes.chain(reads).chain(services).chain(self.shares()).collect()
    }

    fn shares(&self) -> impl Iterator<Item = Wanted> + '_ {
        let ports = self.port.iter().map(|port| match port {
            Port::Any => WantedKind::Port(None),
            Port::This(number) => WantedKind::Port(Some(*number)),
        });
        let pools = self.pool.iter().map(|name| match name.split_once('/') {
            Some((pool, member)) => WantedKind::Pool(pool.to_owned(), Some(member.to_owned())),
            None => WantedKind::Pool(name.clone(), None),
        });
        let quotas = self
            .quota
            .iter()
            .map(|(name, amount)| WantedKind::Quota(name.clone(), *amount));
        let mode = Mode::Write;
        ports
            .chain(pools)
            .chain(quotas)
            .map(move |what| Wanted { what, mode })
    }

    /// Returns how long to wait.
    pub(crate) fn wait(&self) -> Wait {
        self.wait.map_or(Wait::Never, Wait::UpTo)
    }
}

impl TaskArgument {
    /// Returns the task that the arguments name, whatever the environment says.
    pub(crate) fn named(&self) -> Option<TaskId> {
        self.task.clone()
    }

    /// Returns the named task, or the one that the environment names.
    pub(crate) fn given(&self, environment: &Environment) -> anyhow::Result<Option<TaskId>> {
        match (&self.task, &environment.task) {
            (Some(task), _) => Ok(Some(task.clone())),
            (None, Some(text)) => TaskId::new(text.as_str()).map(Some).map_err(|error| {
                let hint = "Set it to a name such as agent-1, or `unset MIRROR_TASK`";
                UsageError::new(format!("MIRROR_TASK names no task: {error}"), hint).into()
            }),
            (None, None) => Ok(None),
        }
    }

    /// Returns the task, which has to be given.
    pub(crate) fn required(&self, environment: &Environment) -> anyhow::Result<TaskId> {
        self.given(environment)?
            .ok_or_else(|| UsageError::new("No task is named", "Add -t ID, or set MIRROR_TASK").into())
    }
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

/// Reads a span of time: `500ms`, `30s`, `5m`, `1h 30m`, `2d`.
pub(crate) fn span(text: &str) -> Result<Duration, &'static str> {
    let nonsense = "not a span of time such as 500ms, 30s or 5m";
    let span: Span = text.trim().parse().map_err(|_| nonsense)?;
    let span = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "months and years have no fixed length: say it in days")?;
    let span = Duration::try_from(span).map_err(|_| "a span of time cannot be negative")?;
    if span > SPAN_MAX {
        return Err("longer than a year");
    }
    Ok(span)
}

/// Returns what is to be validated by. A command of nothing would succeed whatever the result is.
pub(crate) fn validation(command: Option<String>) -> Result<Option<Validation<'static>>, UsageError> {
    match command {
        Some(command) if command.trim().is_empty() => Err(UsageError::new(
            "The validation is empty, and would accept everything",
            "Name a command, as in --validate 'npm test', or leave --validate out; a variable in it is perhaps not set",
        )),
        command => Ok(command.map(Validation::Command)),
    }
}

/// Returns a span in milliseconds. None that [`span`] accepts is too long for them.
pub(crate) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_numbers_with_units() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h 30m", 5_400_000),
            ("2d", 172_800_000),
            ("1.5s", 1_500),
            ("0s", 0),
        ] {
            assert_eq!(span(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "",
            "30",
            "s",
            "-5s",
            "1mo",
            "1y",
            "soon",
            "30 s x",
            "99999999999999999999s",
            "400d",
        ] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
