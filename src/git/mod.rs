//! Branches, commits, merges, the index, and the hooks: everything that knows git.
//!
//! libgit2 does what it does exactly as git does; the git program does the rest (overlapping merges, filters, worktrees).
//! Repositories of a kind that libgit2 misreads are refused by name before anything else happens, from their
//! configuration, never by trying.

mod attribute_files;
mod attributes;
mod branch;
mod cached_tree;
mod changed;
mod checkout;
mod error;
mod find;
pub mod hooks;
mod index;
mod inspect;
mod merge;
mod object_files;
mod objects;
pub mod patch;
mod preflight;
mod program;
mod reference;
mod scratch;
mod tree;
mod tree_difference;
mod worktree;

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository, RepositoryOpenFlags};

pub use changed::{PushedRef, ReceivedRef};
pub use error::GitError;
pub use find::main_root_of;
pub use index::{IndexUpdate, IndexView};
pub use inspect::TreeDifference;
pub use merge::{Merge, MergeConflict};
pub use objects::{NewCommit, Objects, Source};
pub use program::POINTERS;
pub use reference::{Head, RefFile, is_ref_name};
pub use scratch::ScratchRepository;

use crate::model::{FileMode, ObjectId, TreeEntry};

type Result<T> = std::result::Result<T, GitError>;

/// Repositories are looked for up to the root of the file system.
const NO_CEILINGS: [&Path; 0] = [];

const BARE: GitError = GitError::Unsupported {
    feature: "a bare repository",
    hint: "use a clone with a working tree",
};

/// One working tree of a repository.
pub struct Git {
    repository: Repository,
    root: PathBuf,
    main_root: PathBuf,
}

impl Git {
    /// Finds the repository that contains `directory`; `None` when there is none. Refuses by name what cannot be handled
    /// rightly.
    pub fn open(directory: &Path) -> Result<Option<Self>> {
        let git_dir = match Repository::discover_path(directory, None::<&Path>) {
            Ok(path) => path,
            Err(error) if error.code() == ErrorCode::NotFound => {
                // To libgit2 a `.git` that cannot be looked at is none. To us it must not be: everything would go on as
                // in a directory without git.
                return match find::refuse_hidden(directory)? {
                    None => Ok(None),
                    Some(hidden) => Err(GitError::opening(&hidden, error)),
                };
            }
            Err(error) => return Err(GitError::of("looking for the repository")(error)),
        };
        preflight::refuse_unsupported(&git_dir)?;
        // Opened from the working tree: from a git directory that lies elsewhere libgit2 would take the directory around
        // that one for the working tree, and files would be written there.
        let repository = Repository::open_ext(directory, RepositoryOpenFlags::CROSS_FS, NO_CEILINGS)
            .map_err(|error| GitError::opening(&git_dir, error))?;
        let root = workdir(&repository)?;
        let main_root = if repository.is_worktree() {
            canonical(&find::main_root_of(&git_dir).ok_or_else(|| without_main_root(&repository))?)?
        } else {
            root.clone()
        };
        Ok(Some(Self {
            repository,
            root,
            main_root,
        }))
    }

    /// Returns this working tree.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the main working tree, where `.mirror` lies.
    pub fn main_root(&self) -> &Path {
        &self.main_root
    }

    /// Returns git's directory of this working tree: index and `HEAD` are in it.
    pub fn git_dir(&self) -> &Path {
        self.repository.path()
    }

    /// Returns git's directory of all working trees: objects and refs are in it.
    pub fn common_dir(&self) -> &Path {
        self.repository.commondir()
    }

    /// Returns git's object store.
    fn objects_dir(&self) -> PathBuf {
        self.common_dir().join("objects")
    }

    /// Tells whether names that differ only in case are the same file here.
    pub fn ignore_case(&self) -> bool {
        self.flag("core.ignorecase", false)
    }

    /// Returns whether the file system is trusted with who may execute a file.
    pub fn modes(&self) -> Modes {
        Modes {
            are_trusted: self.flag("core.filemode", true),
        }
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        self.repository
            .config()
            .and_then(|config| config.get_bool(key))
            .unwrap_or(default)
    }
}

/// Whether the file system is trusted with who may execute a file (`core.fileMode`): on some, everything is executable.
#[derive(Debug, Clone, Copy)]
pub struct Modes {
    are_trusted: bool,
}

impl Modes {
    /// Tells whether the permissions of a file mean anything.
    pub fn are_trusted(self) -> bool {
        self.are_trusted
    }

    /// Tells whether a file counts as executable: where the file system is not trusted with that, as git has it on record.
    pub fn is_executable(self, on_disk: bool, recorded: Option<TreeEntry>) -> bool {
        if self.are_trusted {
            on_disk
        } else {
            recorded.is_some_and(|recorded| recorded.mode == FileMode::Executable)
        }
    }
}

fn workdir(repository: &Repository) -> Result<PathBuf> {
    let path = canonical(repository.workdir().ok_or(BARE)?)?;
    // Git starts hooks there with nothing but its environment to tell of the repository, and people stand there too.
    if !find::is_root(&path) {
        return Err(GitError::Unsupported {
            feature: "a working tree without .git in it",
            hint: "set core.worktree to the directory that has .git in it, or unset it",
        });
    }
    Ok(path)
}

/// A linked working tree whose main one nobody can find: there is none, or git's own directory lies apart from it.
fn without_main_root(repository: &Repository) -> GitError {
    let main = Repository::open(repository.commondir());
    if main.is_ok_and(|main| main.is_bare()) {
        return BARE;
    }
    GitError::Unsupported {
        feature: "a git directory apart from its working tree, which linked working trees do not lead to",
        hint: "in the main working tree: git config core.worktree \"$(git rev-parse --show-toplevel)\"",
    }
}

fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|source| GitError::Io {
        doing: "resolving",
        path: path.to_owned(),
        source,
    })
}

/// Turns libgit2's name of an object into ours.
fn object_id(oid: git2::Oid) -> ObjectId {
    let mut bytes = [0; 20];
    let length = oid.as_bytes().len().min(20);
    bytes[..length].copy_from_slice(&oid.as_bytes()[..length]);
    ObjectId::from_bytes(bytes)
}

/// Turns our name of an object into libgit2's.
fn oid(id: ObjectId) -> git2::Oid {
    git2::Oid::from_bytes(id.as_bytes())
        .unwrap_or_else(|error| unreachable!("BUG: twenty bytes are always an object id: {error}"))
}

/// Reads a mode and a name as an entry; `None` for a directory.
fn tree_entry(mode: i32, id: git2::Oid) -> Option<TreeEntry> {
    let mode = FileMode::from_bits(u32::try_from(mode).ok()?)?;
    Some(TreeEntry {
        mode,
        id: object_id(id),
    })
}

/// Returns bytes of git as a path for the system.
fn system_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
