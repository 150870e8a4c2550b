//! `init`, and opening what `init` made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, Layer, Settings};
use crate::coordinator::provider::Providers;
use crate::coordinator::{Coordinator, Error, Observer, Recovered};
use crate::disk::contained::{self, Root};
use crate::disk::{self, sync};
use crate::git::Git;
use crate::host::Host;
use crate::model::{Interrupter, shown};
use crate::store::{Place, Store};
use crate::workspace::Layout;

/// How to set up a repository.
#[derive(Debug, Clone, Copy, Default)]
pub struct InitOptions {}

/// What `init` did.
#[derive(Debug, Clone)]
pub struct Initialised {
    /// The root of the main working tree, or the directory itself where there is no git.
    pub root: PathBuf,
    /// Its `.mirror`.
    pub directory: PathBuf,
    /// Whether `.mirror` is new.
    pub created: bool,
    /// Whether this is a git repository.
    pub git: bool,
}

impl Coordinator {
    /// Sets up `.mirror` for the repository that contains `at`, or for the directory `at` where there is no git. Doing it
    /// again is harmless, and completes what a crash interrupted.
    pub fn init(at: &Path, _options: &InitOptions, host: Arc<dyn Host>) -> Result<Initialised, Error> {
        let git = Git::open(at)?;
        let root = git
            .as_ref()
            .map_or_else(|| at.to_owned(), |git| git.main_root().to_owned());
        let (layout, created) = Layout::create(&root)?;
        if let Some(git) = &git {
            git.exclude(".mirror")?;
        }
        let is_new = contained::stat(&layout.registry())?.is_none();
        let mut store = Store::create(&place(&layout), host)?;
        if created {
            // Before anything says that the registry is there: power loss must not leave a name for a registry that is gone.
            sync::barrier_at(layout.directory())?;
        }
        layout.bind_registry(&store.identity()?, is_new)?;
        if created {
            disk::overwrite(&layout.cleaned(), b"\n")?;
            layout.complete()?;
        }
        Ok(Initialised {
            root,
            directory: layout.directory().to_owned(),
            created,
            git: git.is_some(),
        })
    }

    /// Reads the configuration of the repository that contains `at`, without opening anything else of it. A directory that
    /// `init` has not seen has none.
    pub fn configuration(at: &Path) -> Result<Layer, Error> {
        let (_, layout, _) = find(at)?;
        layout.map_or_else(
            || Ok(Layer::default()),
            |layout| Self::settings_file(&layout.config()),
        )
    }

    /// Reads a file of settings, which may be absent.
    pub fn settings_file(path: &Path) -> Result<Layer, Error> {
        Ok(match disk::read_bounded(path, config::BYTES_MAX)? {
            Some(text) => Layer::from_yaml(&shown(path), &String::from_utf8_lossy(&text))?,
            None => Layer::default(),
        })
    }

    /// Opens the repository that contains `at`, and recovers what a crash left in it. The repository's own configuration
    /// takes its place among `settings`.
    pub fn open(
        at: &Path,
        settings: &Settings,
        host: Arc<dyn Host>,
        observer: &mut dyn Observer,
    ) -> Result<Self, Error> {
        // A manifest names the working tree for whoever recovers, wherever that process stands.
        let at = &at.canonicalize().map_err(|source| Error::Input {
            path: at.to_owned(),
            source,
        })?;
        let (git, layout, root) = find(at)?;
        let layout = layout.ok_or_else(|| Error::NotInitialised { at: at.to_owned() })?;
        let config = settings.with_repository(Self::settings_file(&layout.config())?)?;
        let mut store = Store::open(&place(&layout), Arc::clone(&host))?;
        layout.refuse_other_registry(&store.identity()?)?;
        let root = Root::open(&root)?;
        let mut coordinator = Self {
            layout,
            store,
            git,
            root,
            current_directory: at.to_owned(),
            providers: Providers::new(&config),
            listening: false,
            config,
            host,
            interrupter: Interrupter::default(),
            guard: None,
            recovered: Recovered::default(),
        };
        coordinator.recovered = coordinator.recover_if_needed(observer)?;
        Ok(coordinator)
    }
}

/// Finds the repository that contains `at`: its git, its `.mirror`, and the working tree that is meant.
fn find(at: &Path) -> Result<(Option<Git>, Option<Layout>, PathBuf), Error> {
    if let Some(git) = Git::open(at)? {
        let (layout, root) = (Layout::open(git.main_root())?, git.root().to_owned());
        return Ok((Some(git), layout, root));
    }
    let layout = Layout::discover(at)?;
    let root = layout
        .as_ref()
        .map(|layout| layout.root().to_owned())
        .unwrap_or_default();
    Ok((None, layout, root))
}

/// Tells the store where it lies.
fn place(layout: &Layout) -> Place {
    Place {
        registry: layout.registry(),
        door: layout.door_lock(),
        wake: layout.wake(),
    }
}
