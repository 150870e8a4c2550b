//! The weakest disk there may be: bytes last once their file was synced, names once their directory was, in no other order.
//!
//! A real file system hides a sync that is missing: btrfs writes out names and bytes of one `syncfs` together, the journals
//! of ext4 and xfs order names. So the calls of a command are followed here on a disk that does none of this, and at each
//! step that relies on an earlier one, that one has to be synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};

use nix::libc;

use super::bench::{Bench, Violation};
use super::calls::{Call, Kind};
use super::trace::Seen;

/// Follows a command, and tells the first promise that it makes too early.
pub(crate) fn follow(bench: &Bench) -> Result<(), Violation> {
    bench.restore();
    let mut disk = Disk {
        root: bench.sandbox.path("").canonicalize().unwrap(),
        ..Disk::default()
    };
    // Staging promises nothing: the commit has to see to it.
    for path in below(&disk.transactions()) {
        disk.written(&path);
        disk.named(&path);
    }
    for seen in bench
        .named_calls(Call::changes)
        .iter()
        .filter(|seen| seen.is_done)
    {
        let broken = disk.check(seen);
        broken.map_err(|broken| {
            Violation(format!(
                "{} of {}: {broken}",
                seen.call.name,
                seen.files[0].display()
            ))
        })?;
        disk.apply(seen);
    }
    Ok(())
}

/// What was written and not synced, of one working tree with its `.git` and `.mirror`.
#[derive(Default)]
struct Disk {
    root: PathBuf,
    /// Which file a name is, of those whose names have changed. Two names may be one file.
    names: BTreeMap<PathBuf, u64>,
    files: u64,
    /// The files with bytes that may be lost.
    written: BTreeSet<u64>,
    /// The names that may be lost, or come back.
    named: BTreeSet<PathBuf>,
    /// The transaction that has a manifest.
    prepared: Option<PathBuf>,
    /// Whether the command has begun to carry out what it decided.
    is_decided: bool,
    /// Whether the registry was written after the last change of what was decided, and whether others could read it since.
    is_told: bool,
    is_seen: bool,
}

impl Disk {
    fn transactions(&self) -> PathBuf {
        self.root.join(".mirror/transactions")
    }

    fn registry(&self) -> PathBuf {
        self.root.join(".mirror/registry.db-wal")
    }

    /// Tells whether it is what a commit changes: a file of the user's, a branch, git's index.
    fn is_published(&self, path: &Path) -> bool {
        let Ok(path) = path.strip_prefix(&self.root) else {
            return false;
        };
        let is_lock = path.extension().is_some_and(|extension| extension == "lock");
        let is_git = path.starts_with(".git");
        let is_ref = path.starts_with(".git/refs") || path == Path::new(".git/index");
        // A task's own branch is of use to the task alone, which no power loss survives.
        let is_own = path.starts_with(".git/refs/heads/mirror");
        !is_lock && !is_own && !path.starts_with(".mirror") && (is_ref || !is_git)
    }

    /// Tells whether it is an object of git's, whole: its name is its content.
    fn is_object(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_temporary = name.starts_with("tmp_") || name.contains(".tmp") || name.starts_with('.');
        path.starts_with(self.root.join(".git/objects")) && !is_temporary
    }

    /// Tells whether a decision relies on it.
    fn is_relied_on(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        let is_known = ["manifest", "index-lock", "ref-lock", "s", "m"]
            .iter()
            .any(|known| name == *known);
        let is_ours = |prepared: &PathBuf| path == prepared || is_known && path.parent() == Some(prepared);
        self.prepared.as_ref().is_some_and(is_ours) || self.is_object(path)
    }

    /// Tells whether it is a copy of what was there before a run in place.
    fn is_kept(&self, path: &Path) -> bool {
        let below = path.strip_prefix(self.transactions()).ok();
        below.is_some_and(|below| {
            below
                .components()
                .nth(1)
                .is_some_and(|name| name.as_os_str() == "kept")
        })
    }

    /// Tells what a call relies on that is not on the disk.
    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let [from, to] = &seen.files;
        let is_registry = *from == self.registry();
        if seen.call.is_foreign && (self.is_published(from) || self.is_published(to)) {
            let what = "a command works in the tree, and what was there is not synced";
            self.refuse_unsynced(what, Self::is_kept)?;
        }
        match seen.call.kind {
            Kind::Name => {
                self.check_source(from, to)?;
                self.check_decision(from, to)?;
                self.check_removal(from, to)?;
            }
            Kind::Write if is_registry => self.is_told |= self.is_decided,
            Kind::Sync if is_registry && self.is_told => {
                let what = "the end is told before what was decided is synced";
                self.refuse_unsynced(what, Self::is_published)?;
            }
            // Whoever reads the end may remove what recovery needs, and knows nothing of a sync that is still to come.
            Kind::Lock if from.ends_with(".mirror/door.lock") && self.is_told && !self.is_seen => {
                let what = "others see the end before it is synced";
                self.refuse_unsynced(what, |disk, path| path == disk.registry())?;
                self.is_seen = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// What gets a name that others rely on has its bytes.
    fn check_source(&mut self, from: &Path, to: &Path) -> Result<(), String> {
        let is_ours = from.starts_with(self.transactions());
        // It is done again until all of it is synced: see `check_removal`.
        let is_put_back = is_ours && from.ends_with("kept/draft");
        if to.as_os_str().is_empty() || is_put_back || !self.is_published(to) && !self.is_object(to) {
            return Ok(());
        }
        let file = self.file(from);
        if self.written.contains(&file) {
            let to = to.display();
            return Err(format!("{to} gets its name before its content is synced"));
        }
        // Recovery knows by its slot whether a file is in its place.
        let is_slot = |above: &Path| above.ends_with("s") || above.ends_with("m");
        if is_ours && from.parent().is_some_and(is_slot) && self.named.contains(from) {
            return Err("the name of the slot is not synced".to_owned());
        }
        Ok(())
    }

    /// With its first change the command has decided.
    fn check_decision(&mut self, from: &Path, to: &Path) -> Result<(), String> {
        if to.ends_with("manifest") {
            self.prepared = to.parent().map(Path::to_owned);
        }
        let publishes = self.is_published(from) || self.is_published(to);
        if publishes && self.prepared.is_some() && !self.is_decided {
            self.refuse_unsynced("what is decided on is not synced", Self::is_relied_on)?;
            self.refuse_unsynced("the decision is not synced", |disk, path| path == disk.registry())?;
            self.is_decided = true;
        }
        Ok(())
    }

    /// What recovery needs goes when nothing is left to recover.
    fn check_removal(&mut self, from: &Path, to: &Path) -> Result<(), String> {
        if !to.as_os_str().is_empty() || !from.starts_with(self.transactions()) {
            return Ok(());
        }
        if from.ends_with("manifest") && self.is_decided {
            let what = "the end is not synced, and the manifest goes";
            self.refuse_unsynced(what, |disk, path| path == disk.registry())?;
        }
        if from.ends_with("kept/list") {
            let what = "what was put back is not synced, and the copies go";
            self.refuse_unsynced(what, Self::is_published)?;
        }
        Ok(())
    }

    fn refuse_unsynced(&mut self, what: &str, relies: impl Fn(&Self, &Path) -> bool) -> Result<(), String> {
        let is_written = |(_, file): &(&PathBuf, &u64)| self.written.contains(file);
        let written = self.names.iter().filter(is_written).map(|(path, _)| path);
        let found = written.chain(&self.named).find(|path| relies(self, path));
        found.map_or(Ok(()), |path| Err(format!("{what}: {}", path.display())))
    }

    fn apply(&mut self, seen: &Seen) {
        let [first, second] = seen.files.clone();
        match (seen.call.kind, seen.call.name) {
            (Kind::Create, _) if !seen.existed => {
                self.names.remove(&first);
                self.written(&first);
                self.named(&first);
            }
            (Kind::Create | Kind::Write | Kind::Resize, _) => self.written(&first),
            // Nobody relies on times.
            (Kind::Attribute, name) if name != "utimensat" && !first.is_dir() => self.written(&first),
            (Kind::Sync, "syncfs") => {
                self.written.clear();
                self.named.clear();
            }
            (Kind::Sync, "fsync" | "fdatasync") => {
                let file = self.file(&first);
                self.written.remove(&file);
                self.named.retain(|name| name.parent() != Some(&first));
            }
            (Kind::Name, "link" | "linkat") => {
                let file = self.file(&first);
                self.names.insert(second.clone(), file);
                self.named(&second);
            }
            (Kind::Name, "rename" | "renameat" | "renameat2") => {
                let exchanges =
                    seen.call.name == "renameat2" && seen.fifth & u64::from(libc::RENAME_EXCHANGE) != 0;
                self.renamed(&first, &second, exchanges);
            }
            (Kind::Name, _) => {
                self.names.remove(&first);
                self.named.retain(|name| !name.starts_with(&first));
                self.named(&first);
            }
            _ => {}
        }
    }

    /// Returns which file a name is.
    fn file(&mut self, path: &Path) -> u64 {
        self.files += 1;
        *self.names.entry(path.to_owned()).or_insert(self.files)
    }

    fn written(&mut self, path: &Path) {
        let file = self.file(path);
        self.written.insert(file);
    }

    fn named(&mut self, path: &Path) {
        self.named.insert(path.to_owned());
    }

    fn renamed(&mut self, from: &Path, to: &Path, exchanges: bool) {
        // A name that nobody has asked for yet is a file as well.
        self.file(from);
        self.file(to);
        let elsewhere = |path: &Path| {
            let moved = |old: &Path, new: &Path| path.strip_prefix(old).map(|rest| join(new, rest));
            moved(from, to)
                .or_else(|_| moved(to, from))
                .unwrap_or_else(|_| path.to_owned())
        };
        let stays = |path: &Path| exchanges || !path.starts_with(to);
        let known = mem::take(&mut self.names);
        self.names = known
            .into_iter()
            .filter(|(path, _)| stays(path))
            .map(|(path, file)| (elsewhere(&path), file))
            .collect();
        let pending = mem::take(&mut self.named);
        self.named = pending
            .into_iter()
            .filter(|path| stays(path))
            .map(|path| elsewhere(&path))
            .collect();
        self.named(from);
        self.named(to);
    }
}

fn join(directory: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() {
        directory.to_owned()
    } else {
        directory.join(rest)
    }
}

/// Lists everything below a directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}
