//! Where the working copies of the pool lie: below `.mirror`, or in the directory that `run.worktrees.dir` names.
//!
//! What is known of each (its lock, its state, where it lies) is in `.mirror` all the same, so it is known when that
//! directory is not there, or is another one by now. Several repositories may name the same directory: each has one of its
//! own in there, with a file that says whose it is. Nothing is removed where that file does not name this repository.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::coordinator::worktrees::WorktreeState;
use crate::coordinator::{Coordinator, Error, set_aside};
use crate::disk::contained::{self, FileKind};
use crate::disk::{self, filesystem, hash, staged, sync};
use crate::model::TransactionId;
use crate::workspace::DIRECTORY;

/// The file in a repository's own directory that says whose it is.
const OWNER: &str = "mirror-owner";

/// The largest file that is read of what is known of a working copy, in bytes: a path, or a record.
const KNOWN_BYTES_MAX: u64 = 8192;

/// How many digits tell apart repositories whose directories have the same name.
const DIGITS: usize = 12;

/// Where one working copy lies, and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) number: u32,
    /// Where what is known of it is written down.
    directory: PathBuf,
    tree: PathBuf,
}

/// What is written down about a working copy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) state: WorktreeState,
    pub(super) transaction: Option<TransactionId>,
}

impl Place {
    /// Returns the working copy itself. Some programs name what they make after the directory that they run in, so no two
    /// of a repository have the same name.
    pub(super) fn tree(&self) -> PathBuf {
        self.tree.clone()
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    /// Reads what is written down; nothing when it cannot be understood, since then it is made anew.
    pub(super) fn read(&self) -> Result<Option<Record>, Error> {
        let bytes = disk::read_bounded(&self.directory.join("state"), KNOWN_BYTES_MAX)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    pub(super) fn write(
        &self,
        state: WorktreeState,
        transaction: Option<TransactionId>,
    ) -> Result<(), Error> {
        let record = serde_json::to_vec(&Record { state, transaction })
            .unwrap_or_else(|error| unreachable!("BUG: a word and a uuid are always JSON: {error}"));
        // Not durable: after a power loss nobody lives, and whatever it says is looked at again.
        let draft = self.directory.join("state.new");
        disk::remove_file_if_there(&draft)?;
        disk::write_new_file(&draft, &record, 0o600)?;
        Ok(disk::rename(&draft, &self.directory.join("state"))?)
    }
}

impl Coordinator {
    /// Returns the working copy `number` where it lies, or where it would, as far as anybody wrote that down.
    pub(super) fn place(&self, number: u32) -> Result<Place, Error> {
        let directory = self.layout.worktrees().join(number.to_string());
        let noted = disk::read_bounded(&directory.join("path"), KNOWN_BYTES_MAX)?;
        let noted = noted.map(|bytes| PathBuf::from(OsString::from_vec(bytes)));
        let tree = noted
            .filter(|path| path.is_absolute())
            .unwrap_or_else(|| directory.join(name_of(number)));
        Ok(Place {
            number,
            directory,
            tree,
        })
    }

    /// Returns where the working copy `number` is to lie.
    pub(super) fn wanted_tree(&self, number: u32) -> Result<PathBuf, Error> {
        Ok(match self.pool_directory()? {
            Some(own) => own.join(name_of(number)),
            None => self
                .layout
                .worktrees()
                .join(number.to_string())
                .join(name_of(number)),
        })
    }

    /// Returns the place with its working copy where the settings want it. One that lies elsewhere goes. Only whoever has the
    /// file lock of the place may ask. Answers whether it was there already.
    pub(super) fn settled(&self, place: Place) -> Result<(Place, bool), Error> {
        let tree = self.wanted_tree(place.number)?;
        self.claim_pool()?;
        if place.tree == tree {
            return Ok((place, true));
        }
        self.remove_tree(&place)?;
        self.remove_left_directory(&place)?;
        let place = Place { tree, ..place };
        if place.tree.starts_with(&place.directory) {
            // Wherever the repository is moved to, that is where it lies.
            disk::remove_file_if_there(&place.directory.join("path"))?;
        } else {
            // Durable: after a power loss nothing else would tell that it is there.
            staged::persist(
                &place.directory.join("path"),
                place.tree.as_os_str().as_bytes(),
                0o600,
            )?;
            sync::sync_directory(&self.layout.worktrees())?;
        }
        Ok((place, false))
    }

    /// Removes a working copy, and what git remembers of it. What another repository has put in its place stays.
    pub(super) fn remove_tree(&self, place: &Place) -> Result<(), Error> {
        if self.is_own(place)? {
            set_aside::remove(&place.tree)?;
        }
        if let Some(git) = &self.git {
            self.forget_linked_tree(git, &place.tree)?;
        }
        Ok(())
    }

    /// Removes the directory that held a working copy, if the settings name another by now and nothing else is in it.
    pub(super) fn remove_left_directory(&self, place: &Place) -> Result<(), Error> {
        let Some(above) = place.tree.parent() else {
            return Ok(());
        };
        // Where the settings are refused, they name no directory that is in use.
        let in_use = self.pool_directory().ok().flatten();
        let is_in_use = in_use.as_deref() == Some(above);
        let is_empty = || -> Result<bool, Error> { Ok(disk::list(above)?.iter().all(|name| name == OWNER)) };
        if !is_in_use && owner_of(above)?.is_some() && self.is_own(place)? && is_empty()? {
            disk::remove_dir_all(above)?;
        }
        Ok(())
    }

    /// Removes the directory of this repository's own in the one that the settings name, if nothing is in it. Whoever is about to make a
    /// working copy there makes it again.
    pub(super) fn remove_empty_pool(&self) -> Result<(), Error> {
        let Some(own) = self.pool_directory().ok().flatten() else {
            return Ok(());
        };
        let is_ours = owner_of(&own)? == Some(real(self.layout.root()));
        if is_ours && disk::list(&own)?.iter().all(|name| name == OWNER) {
            disk::remove_file_if_there(&own.join(OWNER))?;
            disk::remove_dir_if_empty(&own)?;
        }
        Ok(())
    }

    /// Lists working copies of this repository's that nothing is known of: its `.mirror` was made anew, perhaps.
    pub(super) fn forgotten_trees(&self) -> Result<Vec<PathBuf>, Error> {
        let Some(git) = &self.git else {
            return Ok(Vec::new());
        };
        let root = real(self.layout.root());
        let known: Vec<PathBuf> = self.worktrees()?.into_iter().map(|known| known.path).collect();
        let mut forgotten = Vec::new();
        for tree in git.linked_roots()? {
            let owner = tree.parent().map(owner_of).transpose()?;
            if owner.flatten().as_ref() == Some(&root) && !known.contains(&tree) {
                forgotten.push(tree);
            }
        }
        Ok(forgotten)
    }

    /// Returns the directory of this repository's own in the one that the settings name; `None` when that is the usual one.
    ///
    /// A place where the copies would be in anybody's way is refused.
    pub(super) fn pool_directory(&self) -> Result<Option<PathBuf>, Error> {
        let named = &self.config.worktrees_dir;
        let root = real(self.layout.root());
        let refuse = |why: String| Error::NoPlaceForCopies {
            path: named.clone(),
            why,
        };
        let at = real(&root.join(named));
        if at.components().any(|part| part == Component::ParentDir) {
            return Err(refuse(
                "it leads through a directory that is not there".to_owned(),
            ));
        }
        let own = root.join(DIRECTORY);
        if at == own.join("worktrees") {
            return Ok(None);
        }
        if let Ok(inside) = at.strip_prefix(&own) {
            if inside.as_os_str().is_empty() || self.layout.is_taken(inside) {
                return Err(refuse("mirror keeps other things there".to_owned()));
            }
        } else {
            self.refuse_in_the_way(&at).map_err(refuse)?;
        }
        if let Some(file) = at.ancestors().find(|above| above.exists() && !above.is_dir()) {
            return Err(refuse(format!("{} is no directory", file.display())));
        }
        for above in at.ancestors() {
            if let Some(owner) = owner_of(above)? {
                let why = format!("it belongs to the working copies of {}", owner.display());
                return Err(refuse(why));
            }
        }
        Ok(Some(at.join(directory_name(&root))))
    }

    /// Says what a directory outside of `.mirror` would be in the way of.
    fn refuse_in_the_way(&self, at: &Path) -> Result<(), String> {
        let is_within = |name: &str| at.components().any(|part| part.as_os_str() == name);
        if is_within(DIRECTORY) {
            return Err("it belongs to another repository's .mirror".to_owned());
        }
        let of_git = self.git.as_ref().map(|git| real(git.common_dir()));
        if is_within(".git") || of_git.is_some_and(|of_git| at.starts_with(of_git)) {
            return Err("it is inside git's own directory".to_owned());
        }
        let mut roots = vec![self.layout.root().to_owned(), self.root.path().to_owned()];
        if let Some(git) = &self.git {
            let linked = git.linked_roots().map_err(|error| error.to_string())?;
            roots.extend(linked.into_iter().filter(|root| root.join(".git").exists()));
        }
        match roots
            .iter()
            .map(|root| real(root))
            .find(|root| at.starts_with(root))
        {
            Some(root) => Err(format!(
                "it is inside the working tree {}, where git would take the copies for new files",
                root.display()
            )),
            None => Ok(()),
        }
    }

    /// Makes the directory that the settings name the repository's own.
    pub(super) fn claim_pool(&self) -> Result<(), Error> {
        self.pool_directory()?.map_or(Ok(()), |own| self.claim(&own))
    }

    /// Makes the repository's own directory, or makes sure that it is its own.
    fn claim(&self, own: &Path) -> Result<(), Error> {
        let refuse = |why: String| Error::NoPlaceForCopies {
            path: own.to_owned(),
            why,
        };
        let made = own.parent().map_or(Ok(()), disk::create_dir_all);
        made.and_then(|()| disk::create_private_dir(own))
            .map_err(|error| refuse(format!("{error}: {}", error.kind())))?;
        let is_safe = contained::stat(own)?.is_some_and(|stat| {
            stat.kind == FileKind::Directory
                && stat.uid == filesystem::current_user()
                && stat.mode & 0o022 == 0
        });
        if !is_safe {
            return Err(refuse(
                "others may write to it, or it is no directory of yours".to_owned(),
            ));
        }
        let root = real(self.layout.root());
        match owner_of(own)? {
            None => Ok(staged::persist(
                &own.join(OWNER),
                root.as_os_str().as_bytes(),
                0o600,
            )?),
            Some(owner) if owner == root => Ok(()),
            Some(owner) => Err(refuse(format!(
                "it belongs to the working copies of {}",
                owner.display()
            ))),
        }
    }

    /// Tells whether what lies at a place may be removed: it is below this repository's `.mirror`, or in a directory that
    /// says that it is this repository's.
    pub(super) fn is_own(&self, place: &Place) -> Result<bool, Error> {
        if place.tree.starts_with(&place.directory) {
            return Ok(true);
        }
        let Some(above) = place.tree.parent() else {
            return Ok(false);
        };
        Ok(owner_of(above)? == Some(real(self.layout.root())))
    }
}

/// Reads whose working copies lie in a directory.
fn owner_of(directory: &Path) -> Result<Option<PathBuf>, Error> {
    let marker = directory.join(OWNER);
    if contained::stat(&marker)?.is_none_or(|stat| stat.kind != FileKind::File) {
        return Ok(None);
    }
    let owner = disk::read_bounded(&marker, KNOWN_BYTES_MAX)?;
    Ok(owner.map(|owner| PathBuf::from(OsString::from_vec(owner))))
}

fn name_of(number: u32) -> String {
    format!("mirror-{number}")
}

/// Tells whether git may have named a working copy of the pool so: after its directory, with more digits where that is taken.
pub(super) fn is_name(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix("mirror-"));
    digits.is_some_and(|digits| digits.parse::<u64>().is_ok())
}

/// Names a repository's own directory after it, so that people know it, and after its place, so that no other has it. A dot
/// in front would hide it, and some programs refuse paths that are hidden.
fn directory_name(root: &Path) -> OsString {
    let name = root.file_name().unwrap_or_default().as_bytes();
    let dots = name.iter().take_while(|byte| **byte == b'.').count();
    let digest = hash::digest_of(root.as_os_str().as_bytes()).to_string();
    let mut named = OsString::from_vec(name[dots..].to_vec());
    named.push("-");
    named.push(&digest[..DIGITS]);
    named
}

/// Follows the links in a path, as far as it is there.
fn real(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (above.canonicalize(), path.strip_prefix(above)) {
            // Components alone: joining an empty rest ends in a slash, and then a file is not found.
            return real.components().chain(rest.components()).collect();
        }
    }
    path.to_owned()
}
