//! The environment: the only place that reads it.
//!
//! | variable | means |
//! | --- | --- |
//! | `MIRROR_TASK` | the task of commands that are not told with `-t` |
//! | `MIRROR_BYPASS` | `1`: git hooks let pass, and record it |
//! | `MIRROR_LOG` | a filter such as `debug`: what goes on inside, on standard error |
//! | `MIRROR_<KEY>` | a configuration key, as in `MIRROR_GIT_TARGET` for `git.target` |
//! | `GIT_INDEX_FILE` | set by git for its hooks: the index that it is about to commit |
//! | `GIT_QUARANTINE_PATH` | set by git for its hooks: where the objects of a push lie that is not accepted yet |
//! | `GIT_PUSH_OPTION_COUNT`, `GIT_PUSH_OPTION_<N>` | set by git for its hooks: `mirror-task=ID`, `mirror-bypass=1` |
//! | `XDG_CONFIG_HOME`, `HOME` | where the user's own configuration lies |
//!
//! Builds with fault points also know `MIRROR_FAULT` and `MIRROR_TEST_BOOT_ID`.
#![expect(clippy::disallowed_methods, reason = "the only reader of the environment")]

use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use mirror::config::Layer;
use mirror::coordinator::{Coordinator, Error};
#[cfg(any(debug_assertions, feature = "fault-points"))]
use mirror::disk::fault;
use mirror::host::{Host, System};
#[cfg(any(debug_assertions, feature = "fault-points"))]
use mirror::model::BootId;
use tracing_subscriber::EnvFilter;

/// What the environment says, apart from configuration keys.
#[derive(Debug)]
pub(crate) struct Environment {
    /// `MIRROR_TASK`, unless it is empty.
    pub(crate) task: Option<String>,
    /// Whether git hooks shall let pass.
    pub(crate) bypass: bool,
    /// The index that git has prepared for a hook.
    pub(crate) index: Option<PathBuf>,
    /// Where git keeps the objects of a push that a hook is asked about.
    pub(crate) quarantine: Option<PathBuf>,
}

impl Environment {
    /// Reads the variables, and installs what they switch on: the log, and fault points in builds that have them.
    pub(crate) fn install() -> anyhow::Result<Self> {
        install_log()?;
        #[cfg(any(debug_assertions, feature = "fault-points"))]
        install_fault()?;
        Ok(Self {
            task: text("MIRROR_TASK").or_else(|| push_option("mirror-task")),
            bypass: text("MIRROR_BYPASS").as_deref() == Some("1")
                || push_option("mirror-bypass").as_deref() == Some("1"),
            quarantine: env::var_os("GIT_QUARANTINE_PATH")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            index: env::var_os("GIT_INDEX_FILE")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
        })
    }

    /// Returns who acts, for the history: the task, or else the user.
    pub(crate) fn author(&self) -> String {
        let user = || text("USER").or_else(|| text("LOGNAME"));
        self.task
            .clone()
            .or_else(user)
            .unwrap_or_else(|| "unknown".to_owned())
    }
}

/// Reads `NAME=VALUE` of the options that came with a push, which reach a server where variables do not.
fn push_option(name: &str) -> Option<String> {
    let count: u32 = text("GIT_PUSH_OPTION_COUNT")?.parse().ok()?;
    let options =
        (0..count.min(PUSH_OPTIONS_MAX)).filter_map(|number| text(&format!("GIT_PUSH_OPTION_{number}")));
    let mut values = options.filter_map(|option| {
        let (given, value) = option.split_once('=')?;
        (given == name).then(|| value.to_owned())
    });
    values.next()
}

/// How many options of a push are looked at.
const PUSH_OPTIONS_MAX: u32 = 64;

/// Reads the variables of configuration keys.
pub(crate) fn configuration() -> anyhow::Result<Layer> {
    Ok(Layer::from_variables(text)?)
}

/// Reads the user's own configuration, if there is one.
pub(crate) fn user_configuration() -> anyhow::Result<Layer> {
    // The base directory specification: a relative path in the variable counts as none.
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let Some(base) = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config"))) else {
        return Ok(Layer::default());
    };
    let path = base.join("mirror").join("config.yaml");
    match Coordinator::settings_file(&path) {
        Err(Error::Disk(error)) if error.kind() == ErrorKind::NotADirectory => Ok(Layer::default()),
        read => Ok(read?),
    }
}

/// Returns where programs are looked for.
pub(crate) fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_default()
}

/// Returns the machine. Builds with fault points may pretend that it was started again.
pub(crate) fn host() -> anyhow::Result<Arc<dyn Host>> {
    #[cfg(any(debug_assertions, feature = "fault-points"))]
    if let Some(boot) = text("MIRROR_TEST_BOOT_ID") {
        return Ok(Arc::new(System::with_boot_id(BootId::new(boot))));
    }
    Ok(Arc::new(System::new()?))
}

#[cfg(any(debug_assertions, feature = "fault-points"))]
fn install_fault() -> anyhow::Result<()> {
    match text("MIRROR_FAULT") {
        Some(spec) => fault::install(&spec).map_err(anyhow::Error::msg),
        None => Ok(()),
    }
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}

fn install_log() -> anyhow::Result<()> {
    if let Some(filter) = text("MIRROR_LOG") {
        let filter = EnvFilter::try_new(filter).context("Invalid filter in MIRROR_LOG")?;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init();
    }
    Ok(())
}
