//! `mirror config`

use clap::{Args, Subcommand};
use mirror::config::{self, ConfigError, Layer, Origin, Resolved, Setting, Settings};
use mirror::coordinator::{Coordinator, Error};
use serde::Serialize;
use serde_json::Value;

use crate::cli::exit_code::ExitCode;
use crate::cli::text::columns;
use crate::cli::{Context, env};

const EXAMPLES: &str = "\
Examples:
  mirror config check
  mirror config show
  MIRROR_GIT_BRANCH=always mirror config show --json
  mirror config schema > ~/.config/mirror/schema.json";

/// Check and show the settings
///
/// A flag wins over the environment, that over .mirror/config.yaml, that over ~/.config/mirror/config.yaml, that over the
/// default.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Config {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Act {
    /// Say everything that is wrong, with file and line; exit code 2 when something is
    Check,
    /// Show every key with its value, and who says so
    Show,
    /// Print the JSON Schema of the files
    Schema,
}

#[derive(Serialize)]
struct CheckDocument {
    valid: bool,
    settings: usize,
}

#[derive(Serialize)]
struct ShowDocument {
    settings: Vec<SettingDocument>,
}

#[derive(Serialize)]
struct SettingDocument {
    key: &'static str,
    value: Value,
    source: &'static str,
    /// The flag, the variable, or the file.
    from: Option<String>,
    line: Option<u64>,
    default: Value,
}

impl Config {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.act {
            Act::Check => check(context),
            Act::Show => show(context),
            Act::Schema => schema(context),
        }?;
        Ok(ExitCode::Done)
    }
}

fn check(context: &Context) -> anyhow::Result<()> {
    let resolved = resolve(context)?;
    let said = resolved
        .settings
        .iter()
        .filter(|setting| setting.origin.is_some())
        .count();
    let document = CheckDocument {
        valid: true,
        settings: said,
    };
    context.output.done(&document, || match said {
        0 => "Nothing is configured: every key has its default.".to_owned(),
        1 => "The configuration is valid: it sets 1 key.".to_owned(),
        some => format!("The configuration is valid: it sets {some} keys."),
    })
}

fn show(context: &Context) -> anyhow::Result<()> {
    let resolved = resolve(context)?;
    let document = ShowDocument {
        settings: resolved.settings.iter().map(SettingDocument::from).collect(),
    };
    context.output.answer(&document, || {
        let rows = document.settings.iter().map(|setting| {
            let from = match (&setting.from, setting.line) {
                (Some(file), Some(line)) => format!("{} ({file}:{line})", setting.source),
                (Some(name), None) => format!("{} ({name})", setting.source),
                (None, _) => setting.source.to_owned(),
            };
            [setting.key.to_owned(), setting.value.to_string(), from]
        });
        columns(rows)
    })
}

fn schema(context: &Context) -> anyhow::Result<()> {
    let schema = config::schema();
    context.output.answer(&schema, || format!("{schema:#}\n"))
}

/// Reads every source, and only then complains of all that is wrong in any of them.
fn resolve(context: &Context) -> anyhow::Result<Resolved> {
    let mut faults = Vec::new();
    let flags = kept(
        Layer::from_store(context.global.store.clone()).map_err(Into::into),
        &mut faults,
    )?;
    let environment = kept(env::configuration(), &mut faults)?;
    let at = context.directory()?;
    let repository = kept(Coordinator::configuration(&at).map_err(Into::into), &mut faults)?;
    let user = kept(env::user_configuration(), &mut faults)?;
    let settings = Settings {
        above: flags.over(environment),
        below: user,
    };
    match settings.resolve(repository) {
        Ok(resolved) if faults.is_empty() => Ok(resolved),
        Ok(_) => Err(ConfigError { faults }.into()),
        Err(error) => {
            faults.extend(error.faults);
            Err(ConfigError { faults }.into())
        }
    }
}

/// Keeps the faults of a source and goes on without it. What is no fault of the settings ends the command.
fn kept(read: anyhow::Result<Layer>, faults: &mut Vec<config::Fault>) -> anyhow::Result<Layer> {
    let error = match read {
        Ok(layer) => return Ok(layer),
        Err(error) => error,
    };
    let found = match error.downcast_ref::<ConfigError>() {
        Some(error) => error,
        None => match error.downcast_ref::<Error>() {
            Some(Error::Config(error)) => error,
            _ => return Err(error),
        },
    };
    faults.extend(found.faults.iter().cloned());
    Ok(Layer::default())
}

impl From<&Setting> for SettingDocument {
    fn from(setting: &Setting) -> Self {
        let (from, line) = match &setting.origin {
            None => (None, None),
            Some(Origin::Flag(flag)) => (Some((*flag).to_owned()), None),
            Some(Origin::Variable(variable)) => (Some(variable.clone()), None),
            Some(Origin::File(place)) => (Some(place.file.clone()), Some(place.line)),
        };
        Self {
            key: setting.key.name,
            value: setting.shown(),
            source: setting.source.as_str(),
            from,
            line,
            default: (setting.key.default)(),
        }
    }
}
