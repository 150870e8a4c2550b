//! mirror's bytes on this machine: where everything in `.mirror` lies, and the working tree beside it.
//!
//! [`Layout`] is the only place that knows the names in `.mirror`. The directory is made once, by `init`; it belongs to
//! one user, nobody else may enter it, and it lies on the same local file system as the working tree, since objects
//! are exchanged between the two.

pub mod apply;
pub mod barrier;
mod directory;
mod epoch;
mod error;
pub mod kept;
pub mod manifest;
pub mod present;
pub mod slots;
pub mod staging;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

pub use directory::TransactionDirectory;
pub use epoch::Epoch;
pub use error::WorkspaceError;

use crate::disk::contained::{self, FileKind};
use crate::disk::filesystem::{self, FsKind};
use crate::disk::{self, exchange, staged, sync};
use crate::model::TransactionId;

/// The name of mirror's directory.
pub const DIRECTORY: &str = ".mirror";

/// The format that this version reads and writes.
const FORMAT: &str = "1\n";

/// The names in `.mirror`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
    directory: PathBuf,
}

impl Layout {
    /// Makes `.mirror` in `root`, or completes one that a crash left half made. Answers whether it is new; then nobody
    /// opens it before [`Layout::complete`].
    pub fn create(root: &Path) -> Result<(Self, bool), WorkspaceError> {
        let layout = Self::at(root);
        refuse_network_disk(root)?;
        let is_there = !disk::create_private_dir(&layout.directory)?;
        layout.verify()?;
        if is_there {
            layout.refuse_brought()?;
        }
        // First: without it nobody could tell what was made here from what came with a checkout.
        layout.create_skeleton()?;
        let is_new = disk::read_if_there(&layout.format_file())?.is_none();
        for directory in [
            layout.transactions(),
            layout.wake(),
            layout.quarantines(),
            layout.worktrees(),
            layout.runs(),
            layout.salvages(),
        ] {
            disk::create_private_dir(&directory)?;
        }
        if is_new {
            exchange::probe(&layout.directory).map_err(|source| WorkspaceError::Exchange {
                path: layout.directory.clone(),
                source,
            })?;
        }
        Ok((layout, is_new))
    }

    /// Marks a new `.mirror` as complete, durably: what has a format can be opened. Call it when everything else that
    /// belongs to a repository is there.
    pub fn complete(&self) -> Result<(), WorkspaceError> {
        staged::persist(&self.format_file(), FORMAT.as_bytes(), 0o600)?;
        Ok(sync::sync_directory(&self.root)?)
    }

    /// Opens the `.mirror` of `root`; `None` when there is none.
    pub fn open(root: &Path) -> Result<Option<Self>, WorkspaceError> {
        let layout = Self::at(root);
        if contained::stat(&layout.directory)?.is_none() {
            return Ok(None);
        }
        layout.verify()?;
        layout.refuse_brought()?;
        match disk::read_if_there(&layout.format_file())? {
            None => Err(WorkspaceError::Incomplete {
                path: layout.directory,
            }),
            Some(format) if format == FORMAT.as_bytes() => Ok(Some(layout)),
            Some(format) => Err(WorkspaceError::Format {
                path: layout.directory,
                format: String::from_utf8_lossy(&format).trim().chars().take(16).collect(),
            }),
        }
    }

    /// Finds the `.mirror` of a directory that is in no git repository: in `at` or above.
    pub fn discover(at: &Path) -> Result<Option<Self>, WorkspaceError> {
        for root in at.ancestors() {
            if let Some(layout) = Self::open(root)? {
                return Ok(Some(layout));
            }
        }
        Ok(None)
    }

    fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            directory: root.join(DIRECTORY),
        }
    }

    /// Refuses a `.mirror` that came with the repository: it would tell recovery what to do. Git checks out no path with a
    /// `.git` in it, so what it brings has no [skeleton](Self::create_skeleton), which is the first thing that `init` makes.
    /// Before that there are directories at most.
    fn refuse_brought(&self) -> Result<(), WorkspaceError> {
        if contained::stat(&self.skeleton().join("HEAD"))?.is_some() {
            return Ok(());
        }
        for name in disk::list(&self.directory)? {
            let path = self.directory.join(name);
            let is_empty = contained::stat(&path)?.is_none_or(|stat| stat.kind == FileKind::Directory)
                && (path == self.skeleton() || disk::list(&path)?.is_empty());
            if !is_empty {
                return Err(self.foreign("it came with the repository, mirror did not make it"));
            }
        }
        Ok(())
    }

    /// Refuses the registry with this name unless it is the one that was made here. A checkout of a commit that contains
    /// `.mirror/registry.db` replaces it without a word, since git thinks little of ignored files.
    pub fn refuse_other_registry(&self, identity: &str) -> Result<(), WorkspaceError> {
        match disk::read_if_there(&self.identity_file())? {
            Some(known) if known == identity.as_bytes() => Ok(()),
            Some(_) => Err(self.foreign("its registry was replaced by one that was made elsewhere")),
            None => Err(WorkspaceError::Incomplete {
                path: self.directory.clone(),
            }),
        }
    }

    /// Remembers the name of a registry that has just been made, or of the first one; any other must have the same.
    pub fn bind_registry(&self, identity: &str, is_new: bool) -> Result<(), WorkspaceError> {
        if is_new || contained::stat(&self.identity_file())?.is_none() {
            staged::persist(&self.identity_file(), identity.as_bytes(), 0o600)?;
        }
        self.refuse_other_registry(identity)
    }

    /// Refuses a `.mirror` that is a link, belongs to somebody else, lets others write, or lies on another disk.
    fn verify(&self) -> Result<(), WorkspaceError> {
        let refuse = |reason| self.foreign(reason);
        let stat = contained::stat(&self.directory)?.ok_or_else(|| refuse("it vanished"))?;
        match stat.kind {
            FileKind::Directory => {}
            FileKind::Symlink => return Err(refuse("it is a symlink")),
            FileKind::File | FileKind::Other => return Err(refuse("it is no directory")),
        }
        if stat.uid != filesystem::current_user() {
            return Err(refuse("it belongs to another user"));
        }
        if stat.mode & 0o022 != 0 {
            return Err(WorkspaceError::Shared {
                path: self.directory.clone(),
            });
        }
        let root = std::fs::metadata(&self.root).map_err(disk::DiskError::of("looking at", &self.root))?;
        if root.dev() != stat.dev {
            return Err(refuse("it lies on another file system than the working tree"));
        }
        for inside in [
            self.skeleton(),
            self.transactions(),
            self.wake(),
            self.quarantines(),
            self.worktrees(),
            self.runs(),
            self.salvages(),
            self.kept(),
        ] {
            let is_ours = contained::stat(&inside)?
                .is_none_or(|inside| inside.kind == FileKind::Directory && inside.uid == stat.uid);
            if !is_ours {
                return Err(refuse("a directory in it is a link or belongs to another user"));
            }
        }
        Ok(())
    }

    fn foreign(&self, reason: &'static str) -> WorkspaceError {
        WorkspaceError::Foreign {
            path: self.directory.clone(),
            reason,
        }
    }

    /// Makes the bare repository skeleton that git takes for a repository of its own: `git clean -xdf` and
    /// `git stash -a` then pass over the whole directory.
    fn create_skeleton(&self) -> Result<(), WorkspaceError> {
        let git = self.skeleton();
        for directory in [git.clone(), git.join("objects"), git.join("refs")] {
            disk::create_private_dir(&directory)?;
        }
        if disk::read_if_there(&git.join("HEAD"))?.is_none() {
            staged::persist(&git.join("HEAD"), b"ref: refs/heads/none\n", 0o600)?;
        }
        Ok(())
    }

    /// Returns the main working tree, or the plain directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns `.mirror` itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the user's configuration, which need not exist.
    pub fn config(&self) -> PathBuf {
        self.directory.join("config.yaml")
    }

    /// Returns the registry of locks, transactions and history.
    pub fn registry(&self) -> PathBuf {
        self.directory.join("registry.db")
    }

    /// Returns the lock taken before every write to the registry.
    pub fn door_lock(&self) -> PathBuf {
        self.directory.join("door.lock")
    }

    /// Returns the lock under which commits are applied and crashes are recovered.
    pub fn commit_lock(&self) -> PathBuf {
        self.directory.join("commit.lock")
    }

    /// Returns the directory of the waiters' sockets.
    pub fn wake(&self) -> PathBuf {
        self.directory.join("wake")
    }

    /// Returns the directory of all transactions.
    pub fn transactions(&self) -> PathBuf {
        self.directory.join("transactions")
    }

    /// Returns the directory of one transaction.
    pub fn transaction(&self, transaction: &TransactionId) -> TransactionDirectory {
        TransactionDirectory::new(&self.transactions(), transaction)
    }

    /// Lists the transactions that have a directory.
    pub fn transaction_ids(&self) -> Result<Vec<TransactionId>, WorkspaceError> {
        let names = disk::list(&self.transactions())?;
        Ok(names
            .iter()
            .filter_map(|name| name.to_str()?.parse().ok())
            .collect())
    }

    /// Returns where foreign bytes are kept that were found while `transaction` was applied.
    pub fn quarantine(&self, transaction: &TransactionId) -> PathBuf {
        self.quarantines().join(transaction.to_string())
    }

    /// Returns the directory of everything in quarantine.
    pub fn quarantines(&self) -> PathBuf {
        self.directory.join("quarantine")
    }

    /// Returns where the work of a run is kept that was finished and not committed, or that was taken out of the working tree.
    pub fn salvage(&self, transaction: &TransactionId) -> PathBuf {
        self.salvages().join(transaction.to_string())
    }

    /// Returns the directory of what was there before a run that worked in the tree itself, where that could not be put back.
    pub fn salvage_before(&self, transaction: &TransactionId) -> PathBuf {
        self.salvages().join(format!("{transaction}.before"))
    }

    /// Returns the file with all that a validation has printed, where a message has no room for it.
    pub fn salvage_printed(&self, transaction: &TransactionId) -> PathBuf {
        self.salvages().join(format!("{transaction}.validation"))
    }

    /// Returns the directory of all that is salvaged from runs.
    pub fn salvages(&self) -> PathBuf {
        self.directory.join("salvage")
    }

    /// Returns the directory of pooled working copies.
    pub fn worktrees(&self) -> PathBuf {
        self.directory.join("worktrees")
    }

    /// Returns the lock under which git is told of working copies, or made to forget them.
    pub fn linking(&self) -> PathBuf {
        self.worktrees().join("linking.lock")
    }

    /// Tells whether mirror keeps something of its own at `inside`, a path in `.mirror`, beside working copies.
    pub fn is_taken(&self, inside: &Path) -> bool {
        let own = [
            self.skeleton(),
            self.transactions(),
            self.wake(),
            self.quarantines(),
            self.runs(),
            self.salvages(),
            self.kept(),
        ];
        let files = [
            self.config(),
            self.registry(),
            self.boot(),
            self.cleaned(),
            self.format_file(),
        ];
        let at = self.directory.join(inside);
        own.iter().chain(&files).any(|own| at.starts_with(own))
    }

    /// Returns the directory with one file per run that goes on, locked by whoever runs it.
    pub fn runs(&self) -> PathBuf {
        self.directory.join("runs")
    }

    /// Returns the file of one run.
    pub fn run(&self, transaction: &TransactionId) -> PathBuf {
        self.runs().join(transaction.to_string())
    }

    /// Returns the file that names the boot in which recovery last looked at everything.
    pub fn boot(&self) -> PathBuf {
        self.directory.join("boot")
    }

    /// Returns the file whose time says when something was last tidied up, and whose lock whoever does it holds.
    pub fn cleaned(&self) -> PathBuf {
        self.directory.join("cleaned")
    }

    /// Returns the epoch.
    pub fn epoch(&self) -> Epoch {
        Epoch::new(self.directory.join("epoch"))
    }

    fn skeleton(&self) -> PathBuf {
        self.directory.join(".git")
    }

    fn identity_file(&self) -> PathBuf {
        self.skeleton().join("registry")
    }

    fn format_file(&self) -> PathBuf {
        self.directory.join("format")
    }
}

fn refuse_network_disk(root: &Path) -> Result<(), WorkspaceError> {
    match filesystem::kind(root)? {
        FsKind::Local | FsKind::Btrfs => Ok(()),
        FsKind::Network(kind) => Err(WorkspaceError::Network {
            path: root.to_owned(),
            kind,
        }),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests arrange files by hand")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn making_it_twice_is_harmless_and_opening_finds_it_from_below() {
        let sandbox = tempfile::tempdir().unwrap();
        let (layout, is_new) = Layout::create(sandbox.path()).unwrap();
        assert!(is_new);
        assert!(matches!(
            Layout::open(sandbox.path()),
            Err(WorkspaceError::Incomplete { .. })
        ));
        layout.complete().unwrap();
        assert_eq!(Layout::create(sandbox.path()).unwrap(), (layout.clone(), false));
        let below = sandbox.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        assert_eq!(Layout::discover(&below).unwrap(), Some(layout));
    }

    #[test]
    fn a_directory_that_is_not_safely_ours_is_refused() {
        let sandbox = tempfile::tempdir().unwrap();
        let (layout, _) = Layout::create(sandbox.path()).unwrap();
        fs::set_permissions(layout.directory(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(
            Layout::open(sandbox.path()),
            Err(WorkspaceError::Shared { .. })
        ));

        let other = tempfile::tempdir().unwrap();
        symlink(layout.directory(), other.path().join(DIRECTORY)).unwrap();
        assert!(matches!(
            Layout::open(other.path()),
            Err(WorkspaceError::Foreign { .. })
        ));
    }

    #[test]
    fn a_newer_format_and_a_half_made_directory_are_refused_by_name() {
        let sandbox = tempfile::tempdir().unwrap();
        let (layout, _) = Layout::create(sandbox.path()).unwrap();
        fs::write(layout.format_file(), "2\n").unwrap();
        assert!(matches!(
            Layout::open(sandbox.path()),
            Err(WorkspaceError::Format { .. })
        ));
        fs::remove_file(layout.format_file()).unwrap();
        assert!(matches!(
            Layout::open(sandbox.path()),
            Err(WorkspaceError::Incomplete { .. })
        ));
        assert!(Layout::create(sandbox.path()).unwrap().1);
    }

    #[test]
    fn the_epoch_is_odd_only_while_applying() {
        let sandbox = tempfile::tempdir().unwrap();
        let (layout, _) = Layout::create(sandbox.path()).unwrap();
        let epoch = layout.epoch();
        assert_eq!(epoch.read().unwrap(), 0);
        epoch.begin().unwrap();
        epoch.begin().unwrap();
        assert_eq!(epoch.read().unwrap(), 1);
        epoch.end().unwrap();
        epoch.end().unwrap();
        assert_eq!(epoch.read().unwrap(), 2);
    }
}
