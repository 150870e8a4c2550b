//! One task that stages.

use std::ffi::OsString;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mirror::config::Settings;
use mirror::coordinator::{
    BeginRequest, BranchChoice, Coordinator, Error, FileDiff, InitOptions, Silent, StageRequest, StageWhat,
    Staged, Wanted, WantedKind,
};
use mirror::host::System;
use mirror::model::{Change, Mode, TaskId};
use mirror::store::Wait;

use crate::support::Sandbox;

/// One task that stages.
pub(super) struct Worker {
    pub(super) coordinator: Coordinator,
    pub(super) task: TaskId,
}

/// Opens the repository of a sandbox, making `.mirror` first.
pub(super) fn open(sandbox: &Sandbox) -> Coordinator {
    let host = Arc::new(System::new().unwrap());
    Coordinator::init(&sandbox.root(), &InitOptions {}, host.clone()).unwrap();
    Coordinator::open(&sandbox.root(), &Settings::default(), host, &mut Silent).unwrap()
}

impl Worker {
    /// Begins a task with write locks on `paths`.
    pub(super) fn begin(sandbox: &Sandbox, task: &str, paths: &[&str]) -> Self {
        Self::begin_with(sandbox, task, paths, BranchChoice::Never)
    }

    /// Begins a task with write locks on `paths`, on a branch of its own or not.
    pub(super) fn begin_with(sandbox: &Sandbox, task: &str, paths: &[&str], branch: BranchChoice) -> Self {
        let mut coordinator = open(sandbox);
        let wants = paths.iter().map(|path| Wanted {
            what: WantedKind::Path(path.into()),
            mode: Mode::Write,
        });
        let request = BeginRequest {
            task: TaskId::new(task).unwrap(),
            wants: wants.collect(),
            wait: Wait::Never,
            ttl_ms: None,
            pid: None,
            reason: None,
            metadata: serde_json::Map::new(),
            branch,
            into: None,
            strategy: None,
        };
        let begun = coordinator.begin(&request, &mut Silent).unwrap();
        Self {
            coordinator,
            task: begun.task.id,
        }
    }

    /// Stages several things at once.
    pub(super) fn stage_all(&mut self, what: Vec<StageWhat>, lock: bool) -> Result<Staged, Error> {
        self.coordinator
            .stage(&self.task, StageRequest { what, lock }, &mut Silent)
    }

    /// Stages one thing under the locks that are held.
    pub(super) fn stage(&mut self, what: StageWhat) -> Result<Staged, Error> {
        self.stage_all(vec![what], false)
    }

    /// Lists what is staged: a word and a path each.
    #[track_caller]
    pub(super) fn staged(&mut self) -> Vec<String> {
        let shown = self.coordinator.show(&self.task).unwrap();
        shown.changes.iter().map(words).collect()
    }

    /// Returns the staged change of one path with its bytes.
    #[track_caller]
    pub(super) fn diff(&mut self, path: &str) -> FileDiff {
        let diffs = self.coordinator.diff(&self.task).unwrap();
        let found = diffs
            .into_iter()
            .find(|diff| diff.change.path.to_string() == path);
        found.unwrap_or_else(|| panic!("{path} is not staged"))
    }

    /// Counts the objects that are kept aside for the task.
    pub(super) fn objects(&mut self) -> usize {
        let transaction = self.coordinator.show(&self.task).unwrap().transaction.id;
        let slots = self
            .coordinator
            .root()
            .join(".mirror/transactions")
            .join(transaction.to_string())
            .join("s");
        std::fs::read_dir(slots).unwrap().count()
    }
}

/// Describes a change in a word and its path.
pub(super) fn words(change: &Change) -> String {
    let mut words = format!("{} {}", change.kind().as_str(), change.path);
    if let Some(from) = &change.moved_from {
        words += " from ";
        words += &from.to_string();
    }
    if let Some(to) = &change.moved_to {
        words += " to ";
        words += &to.to_string();
    }
    words
}

pub(super) fn bytes(path: &str, content: impl AsRef<[u8]>) -> StageWhat {
    StageWhat::Bytes {
        path: path.into(),
        content: Box::new(Cursor::new(content.as_ref().to_vec())),
        executable: None,
    }
}

pub(super) fn file(path: &str, from: impl AsRef<Path>) -> StageWhat {
    StageWhat::File {
        path: path.into(),
        from: from.as_ref().to_owned(),
        executable: None,
    }
}

pub(super) fn symlink(path: &str, target: &str) -> StageWhat {
    StageWhat::Symlink {
        path: path.into(),
        target: target.into(),
    }
}

pub(super) fn delete(path: &str) -> StageWhat {
    StageWhat::Delete { path: path.into() }
}

pub(super) fn moved(from: &str, to: &str) -> StageWhat {
    StageWhat::Move {
        from: OsString::from(from),
        to: to.into(),
    }
}

pub(super) fn chmod(path: &str, executable: bool) -> StageWhat {
    StageWhat::Chmod {
        path: path.into(),
        executable,
    }
}

pub(super) fn patch(diff: impl AsRef<[u8]>) -> StageWhat {
    StageWhat::Patch {
        diff: diff.as_ref().to_vec(),
    }
}

pub(super) fn tree(dir: PathBuf) -> StageWhat {
    StageWhat::Tree { dir }
}
