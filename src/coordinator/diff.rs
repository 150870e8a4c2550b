//! `diff`: what a task has staged, with the bytes before and after.

use std::io::Read;

use crate::coordinator::ground::{Ground, Held};
use crate::coordinator::{Coordinator, Error};
use crate::disk::hash;
use crate::model::{Change, Digest, RepoPath, TaskId};

/// One staged change with its bytes.
#[derive(Debug, Clone)]
pub struct FileDiff {
    /// The change.
    pub change: Change,
    /// What the path holds without the change: the bytes of a file or the text of a symlink.
    pub before: Option<Vec<u8>>,
    /// What it shall hold.
    pub after: Option<Vec<u8>>,
    /// Whether `before` is no longer what the path held when it was staged: the commit would refuse it.
    pub base_changed: bool,
}

impl Coordinator {
    /// Reads what `task` has staged, by path. Staged bytes that are not what was staged are an error.
    pub fn diff(&mut self, task: &TaskId) -> Result<Vec<FileDiff>, Error> {
        let (_own, transaction) = self.hold_open(task)?;
        let slots = self.slots(&transaction.id)?;
        let staged = self.store.changes(&transaction.id)?;
        let ground = Ground::new(self, &transaction, &slots, staged);
        let mut diffs = Vec::with_capacity(ground.staged.len());
        let mut damaged = Vec::new();
        for (path, change) in &ground.staged {
            let before = bytes(ground.held_without_staged(path)?, path)?;
            let after = bytes(ground.held(path)?, path)?;
            if digest(after.as_deref()) != change.post.map(|post| post.sha256()) {
                damaged.push(path.clone());
            }
            let base_changed = digest(before.as_deref()) != change.base.map(|base| base.sha256());
            diffs.push(FileDiff {
                change: change.clone(),
                before,
                after,
                base_changed,
            });
        }
        if damaged.is_empty() {
            return Ok(diffs);
        }
        Err(Error::Damaged {
            task: task.clone(),
            what: "What was staged",
            paths: damaged,
        })
    }
}

fn bytes(held: Held, path: &RepoPath) -> Result<Option<Vec<u8>>, Error> {
    match held {
        Held::Nothing | Held::Directory => Ok(None),
        Held::Symlink(text) => Ok(Some(text)),
        Held::File { mut content, .. } => {
            let mut bytes = Vec::new();
            let read = content.read_to_end(&mut bytes);
            read.map_err(|source| Error::Input {
                path: path.as_path().to_owned(),
                source,
            })?;
            Ok(Some(bytes))
        }
    }
}

fn digest(bytes: Option<&[u8]>) -> Option<Digest> {
    bytes.map(hash::digest_of)
}
