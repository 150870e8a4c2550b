//! How to open a repository otherwise than usual. The environment is not read here: it belongs to the command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Layer, Settings};
use crate::coordinator::{Coordinator, Error, InitOptions, Observer};
use crate::embed::Mirror;
use crate::embed::shared::SharedObserver;
use crate::host::{Host, System};
use crate::model::Interrupter;

/// How to open a repository: with which settings, on which machine, told to whom.
///
/// ```no_run
/// # fn main() -> Result<(), mirror::Error> {
/// let mirror = mirror::Mirror::options()
///     .user_file("/home/me/.config/mirror/config.yaml")
///     .settings("git: {branch: always}")?
///     .open(".")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Options {
    above: Layer,
    user_file: Option<PathBuf>,
    host: Option<Arc<dyn Host>>,
    observer: SharedObserver,
}

impl Options {
    /// Adds settings that are stronger than those of the repository, as YAML. Said again, the later ones are the stronger.
    pub fn settings(mut self, yaml: &str) -> Result<Self, Error> {
        self.above = Layer::from_yaml("the settings of the program", yaml)?.over(self.above);
        Ok(self)
    }

    /// Takes the settings of this file as those of the user, which are weaker than those of the repository. It may be absent.
    #[must_use]
    pub fn user_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.user_file = Some(path.into());
        self
    }

    /// Asks this machine for the time and after processes, instead of the real one.
    #[must_use]
    pub fn host(mut self, host: Arc<dyn Host>) -> Self {
        self.host = Some(host);
        self
    }

    /// Tells this observer of waits, progress and whatever is worth a word, from the first recovery on.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + Send + 'static) -> Self {
        self.observer = SharedObserver::new(observer);
        self
    }

    /// Opens the repository that contains `at`: see [`Mirror::open`].
    pub fn open(self, at: impl AsRef<Path>) -> Result<Mirror, Error> {
        let host = self.machine()?;
        self.open_on(host, at.as_ref())
    }

    /// Sets the repository up that contains `at`, and opens it: see [`Mirror::init`].
    pub fn init(self, at: impl AsRef<Path>) -> Result<Mirror, Error> {
        let host = self.machine()?;
        Coordinator::init(at.as_ref(), &InitOptions::default(), Arc::clone(&host))?;
        self.open_on(host, at.as_ref())
    }

    fn machine(&self) -> Result<Arc<dyn Host>, Error> {
        Ok(match &self.host {
            Some(host) => Arc::clone(host),
            None => Arc::new(System::new()?),
        })
    }

    fn open_on(self, host: Arc<dyn Host>, at: &Path) -> Result<Mirror, Error> {
        // Where the program stands later on must not matter.
        let at = at.canonicalize().map_err(|source| Error::Input {
            path: at.to_owned(),
            source,
        })?;
        let below = match &self.user_file {
            Some(path) => Coordinator::settings_file(path)?,
            None => Layer::default(),
        };
        let mirror = Mirror {
            root: PathBuf::new(),
            at,
            settings: Settings {
                above: self.above,
                below,
            },
            host,
            observer: self.observer,
            interrupter: Interrupter::default(),
        };
        let root = mirror.coordinator()?.root().to_owned();
        Ok(Mirror { root, ..mirror })
    }
}
