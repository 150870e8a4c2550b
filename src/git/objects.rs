//! New blobs, trees and commits: made in memory, written at the end, as one pack when there are many.
//!
//! A loose object costs a file each; one pack costs three syncs whatever it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Repository};

use crate::git::attributes::{Conversion, open, read};
use crate::git::object_files::Drafts;
use crate::git::{Git, GitError, Result, object_id, oid};
use crate::model::{FileMode, ObjectId, RepoPath, TreeEntry};

/// Up to this many new objects are written as loose files: many small packs slow look-ups down.
const LOOSE_MAX: usize = 8;

/// A file above this size goes straight into the object store instead of through memory, in bytes.
const IN_MEMORY_BYTES_MAX: u64 = 32 << 20;

/// Up to this many paths are asked for their attributes one by one; above it, a process of git is quicker.
const ASKED_ONE_BY_ONE_MAX: usize = 32;

/// libgit2 asks the back end with the highest number first; git's own are at 1 and 2.
const MEMORY_PRIORITY: i32 = 1000;

/// Where the bytes of a blob come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file with the bytes as they are in the working tree.
    File(PathBuf),
    /// The bytes as they are in the working tree.
    Bytes(Vec<u8>),
    /// The text of a symlink.
    Symlink(Vec<u8>),
}

/// A commit to make. Author and committer are the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit {
    /// Its tree.
    pub tree: ObjectId,
    /// Its parents.
    pub parents: Vec<ObjectId>,
    /// Its message.
    pub message: String,
}

/// Objects that are being made.
pub struct Objects<'a> {
    pub(super) git: &'a Git,
    /// A handle of our own, whose writes stay in memory.
    pub(super) memory: Repository,
    new: BTreeSet<git2::Oid>,
    conversions: BTreeMap<RepoPath, Conversion>,
    /// Where files of the object store are made; `None` for objects that are only looked at.
    drafts: Option<PathBuf>,
    /// What was written already.
    written: Vec<PathBuf>,
}

impl Git {
    /// Begins to make objects. Their files are made in `drafts`, a directory on git's own file system that need not exist: what
    /// is killed in there leaves nothing in git's directories.
    pub fn objects(&self, drafts: PathBuf) -> Result<Objects<'_>> {
        Objects::begin(self, Some(drafts))
    }
}

impl<'a> Objects<'a> {
    /// Begins to make objects that are only looked at.
    pub(super) fn scratch(git: &'a Git) -> Result<Self> {
        Self::begin(git, None)
    }

    fn begin(git: &'a Git, drafts: Option<PathBuf>) -> Result<Self> {
        let fail = || GitError::of("preparing new objects");
        let memory = Repository::open(git.root()).map_err(fail())?;
        {
            let odb = memory.odb().map_err(fail())?;
            // The back end belongs to the object store from here on; the handle on it would only reset it.
            odb.add_new_mempack_backend(MEMORY_PRIORITY).map_err(fail())?;
        }
        Ok(Self {
            git,
            memory,
            new: BTreeSet::new(),
            conversions: BTreeMap::new(),
            drafts,
            written: Vec::new(),
        })
    }

    /// Learns how the content of many paths is converted, which is quicker than one by one.
    pub fn learn<'p>(&mut self, paths: impl ExactSizeIterator<Item = &'p RepoPath>) -> Result<()> {
        if paths.len() > ASKED_ONE_BY_ONE_MAX {
            let paths: Vec<RepoPath> = paths.cloned().collect();
            self.conversions = self.git.conversions(&paths)?;
        }
        Ok(())
    }

    fn conversion(&self, path: &RepoPath) -> Result<Conversion> {
        match self.conversions.get(path) {
            Some(known) => Ok(*known),
            None => self.git.conversion(path),
        }
    }

    /// Makes the blob that git would store for a path.
    pub fn blob(&mut self, path: &RepoPath, source: &Source, executable: bool) -> Result<TreeEntry> {
        let mode = match (source, executable) {
            (Source::Symlink(_), _) => FileMode::Symlink,
            (_, true) => FileMode::Executable,
            (_, false) => FileMode::Regular,
        };
        let id = match source {
            Source::Symlink(text) => self.plain(text)?,
            Source::Bytes(bytes) => self.converted(path, bytes)?,
            Source::File(file) => self.file(path, file)?,
        };
        Ok(TreeEntry {
            mode,
            id: object_id(id),
        })
    }

    fn file(&mut self, path: &RepoPath, file: &Path) -> Result<git2::Oid> {
        let size = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        if size > IN_MEMORY_BYTES_MAX && self.conversion(path)? == Conversion::None {
            let fail = || GitError::of("storing a large file");
            let id = git2::Oid::hash_file(ObjectType::Blob, file).map_err(fail())?;
            let Some(drafts) = &self.drafts else { return Ok(id) };
            let store = self.git.repository.odb().map_err(fail())?;
            if !store.exists(id) || store.read_header(id).is_err() {
                let mut content = open(file)?;
                let drafts = Drafts::open(drafts, self.git.objects_dir())?;
                self.written
                    .extend(drafts.loose(id, ObjectType::Blob, size, &mut content)?);
            }
            return Ok(id);
        }
        self.converted(path, &read(file)?)
    }

    fn converted(&mut self, path: &RepoPath, bytes: &[u8]) -> Result<git2::Oid> {
        match self.conversion(path)? {
            Conversion::None => self.plain(bytes),
            Conversion::Program => {
                let id = self.git.hash_object(path, bytes, self.drafts.is_some())?;
                self.written.extend(self.git.directories_of(id));
                Ok(id)
            }
            Conversion::Lines => {
                let id = self
                    .git
                    .confirmed(std::iter::once(path), || self.with_lines(path, bytes))?;
                self.new.insert(id);
                Ok(id)
            }
        }
    }

    /// Lets libgit2 convert line endings and `$Id$`.
    fn with_lines(&self, path: &RepoPath, bytes: &[u8]) -> Result<git2::Oid> {
        let fail = || GitError::of("converting line endings");
        let mut writer = self.memory.blob_writer(Some(path.as_path())).map_err(fail())?;
        writer.write_all(bytes).map_err(|source| GitError::Io {
            doing: "converting",
            path: path.as_path().into(),
            source,
        })?;
        writer.commit().map_err(fail())
    }

    fn plain(&mut self, bytes: &[u8]) -> Result<git2::Oid> {
        self.write_object(ObjectType::Blob, bytes)
    }

    pub(super) fn write_object(&mut self, kind: ObjectType, bytes: &[u8]) -> Result<git2::Oid> {
        let written = self.memory.odb().and_then(|odb| odb.write(kind, bytes));
        let id = written.map_err(GitError::of("making an object"))?;
        self.new.insert(id);
        Ok(id)
    }

    pub(super) fn note(&mut self, id: git2::Oid) {
        self.new.insert(id);
    }

    /// Makes the tree of `base` with exactly these paths replaced or removed.
    pub fn commit_tree(
        &mut self,
        base: Option<ObjectId>,
        edits: &[(RepoPath, Option<TreeEntry>)],
    ) -> Result<ObjectId> {
        let base = base.map(|base| self.git.tree_id(base)).transpose()?;
        self.edit_tree(base, edits)
    }

    /// Makes a commit of the user's.
    pub fn commit(&mut self, new: &NewCommit) -> Result<ObjectId> {
        let (author, committer) = (self.git.author()?, self.git.committer()?);
        self.commit_by(new, &author, &committer)
    }

    /// Makes a commit that stays ours: nobody's name is asked for, and no branch is to have it.
    pub fn commit_of_nobody(&mut self, new: &NewCommit) -> Result<ObjectId> {
        let nobody =
            git2::Signature::now("mirror", "mirror@localhost").map_err(GitError::of("making a commit"))?;
        self.commit_by(new, &nobody, &nobody)
    }

    fn commit_by(
        &mut self,
        new: &NewCommit,
        author: &git2::Signature<'_>,
        committer: &git2::Signature<'_>,
    ) -> Result<ObjectId> {
        let fail = || GitError::of("making a commit");
        let buffer = {
            let tree = self.memory.find_tree(oid(new.tree)).map_err(fail())?;
            let parents = new
                .parents
                .iter()
                .map(|parent| self.memory.find_commit(oid(*parent)));
            let parents = parents
                .collect::<std::result::Result<Vec<_>, _>>()
                .map_err(fail())?;
            let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
            let made = self
                .memory
                .commit_create_buffer(author, committer, &new.message, &tree, &parents);
            made.map_err(fail())?.to_vec()
        };
        Ok(object_id(self.write_object(ObjectType::Commit, &buffer)?))
    }

    /// Writes what is new into git's object store. The content is durable, the names are not: answers the directories that
    /// have to be synced for that, if they are still there.
    pub fn write(&mut self) -> Result<Vec<PathBuf>> {
        self.write_out()?;
        Ok(std::mem::take(&mut self.written))
    }

    /// Notes that a program of git's has made objects, nobody knows which. It syncs their content, never their names.
    pub(super) fn made_by_git(&mut self) -> Result<()> {
        self.written.extend(self.git.object_directories()?);
        Ok(())
    }

    /// Writes what is new into git's object store.
    pub(super) fn write_out(&mut self) -> Result<()> {
        let fail = || GitError::of("writing objects");
        let missing: Vec<git2::Oid> = {
            let store = self.git.repository.odb().map_err(fail())?;
            // A name alone is not enough: power loss leaves files of other programs without content.
            let is_there = |id: &git2::Oid| store.exists(*id) && store.read(*id).is_ok();
            let new = std::mem::take(&mut self.new).into_iter();
            new.filter(|id| !is_there(id)).collect()
        };
        let Some(drafts) = self.drafts.as_ref().filter(|_| !missing.is_empty()) else {
            return Ok(());
        };
        let drafts = Drafts::open(drafts, self.git.objects_dir())?;
        let memory = self.memory.odb().map_err(fail())?;
        let objects = missing.iter().map(|id| memory.read(*id));
        let objects = objects
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(fail())?;
        if objects.len() > LOOSE_MAX {
            self.written.extend(drafts.pack(&objects)?);
            return Ok(());
        }
        for object in &objects {
            let length = object.len() as u64;
            let directories = drafts.loose(object.id(), object.kind(), length, &mut object.data())?;
            self.written.extend(directories);
        }
        Ok(())
    }
}
