//! The repository that the demonstration is played in.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use mirror::config::Settings;
use mirror::coordinator::{Coordinator, InitOptions, Silent};
use mirror::disk;
use mirror::git::ScratchRepository;
use mirror::git::hooks::HookName;
use mirror::host::Host;

/// The directory inside the repository that the demonstration adds its own files to.
const STAGE: &str = "mirror-demo";

/// How many files the killed commit changes: enough that a kill lands in the middle of putting them in place.
pub(super) const BULK_FILES: usize = 2_000;

/// Where everything is.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    root: PathBuf,
}

impl Scene {
    /// Makes a scratch repository in `root`, or clones `original` into it, adds what the play needs and sets mirror up.
    pub(crate) fn build(root: &Path, original: Option<&Path>, host: &Arc<dyn Host>) -> anyhow::Result<Self> {
        let repository = match original {
            None => {
                disk::create_dir_all(root)?;
                ScratchRepository::create(root)?
            }
            Some(original) => ScratchRepository::clone_of(original, root)
                .with_context(|| format!("Failed cloning {}", original.display()))?,
        };
        let scene = Self {
            root: root.to_owned(),
        };
        scene.write_files()?;
        repository.commit_all("Set the stage for the demonstration")?;
        Coordinator::init(root, &InitOptions::default(), Arc::clone(host))?;
        scene.open(host)?.hook_install(&HookName::OF_A_WORKER)?;
        Ok(scene)
    }

    /// Finds the scene that another process built.
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    fn write_files(&self) -> anyhow::Result<()> {
        disk::create_dir_all(&self.root.join(STAGE).join("ui"))?;
        disk::create_dir_all(&self.root.join(STAGE).join("bulk"))?;
        let write = |name: &str, text: &str| disk::write_new_file(&self.path(name), text.as_bytes(), 0o644);
        write(Self::COUNTER, "0\n")?;
        write(Self::TITLE, "A title\n")?;
        let mut notes = String::new();
        for line in 1..=40 {
            writeln!(notes, "Line {line} of the notes.")?;
        }
        write(Self::NOTES, &notes)?;
        for number in 0..20 {
            write(&Self::ui(number), "old\n")?;
        }
        for number in 0..BULK_FILES {
            write(&Self::bulk(number), "version 0\n")?;
        }
        Ok(())
    }

    /// The file that three workers count up in.
    pub(super) const COUNTER: &str = "mirror-demo/counter.txt";
    /// The file that a worker and a careless user both change.
    pub(super) const TITLE: &str = "mirror-demo/title.txt";
    /// The file that is changed on a branch.
    pub(super) const NOTES: &str = "mirror-demo/notes.md";
    /// The directory that one worker locks whole.
    pub(super) const UI: &str = "mirror-demo/ui/";
    /// The directory of the commit that is killed.
    pub(super) const BULK: &str = "mirror-demo/bulk/";

    pub(super) fn ui(number: usize) -> String {
        format!("{}part{number:02}.txt", Self::UI)
    }

    pub(super) fn bulk(number: usize) -> String {
        format!("{}{number:04}.txt", Self::BULK)
    }

    /// Returns the repository's directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns where one of its files is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Reads one of its files.
    pub(super) fn read(&self, name: &str) -> anyhow::Result<String> {
        let path = self.path(name);
        std::fs::read_to_string(&path).with_context(|| format!("Failed reading {}", path.display()))
    }

    /// Counts the files of the large change that hold `text`.
    pub(super) fn count_bulk(&self, text: &str) -> usize {
        let holds = |number: &usize| self.read(&Self::bulk(*number)).is_ok_and(|held| held == text);
        (0..BULK_FILES).filter(holds).count()
    }

    /// Opens the repository as every command does.
    pub(super) fn open(&self, host: &Arc<dyn Host>) -> anyhow::Result<Coordinator> {
        Ok(Coordinator::open(
            &self.root,
            &Settings::default(),
            Arc::clone(host),
            &mut Silent,
        )?)
    }

    /// Lists the lock files that git, or anybody in its name, left behind.
    pub(super) fn git_locks(&self) -> anyhow::Result<Vec<String>> {
        let git = self.root.join(".git");
        let mut found = Vec::new();
        for entry in walkdir::WalkDir::new(&git) {
            let entry = entry.context("Failed looking for lock files")?;
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "lock")
            {
                found.push(entry.path().display().to_string());
            }
        }
        Ok(found)
    }

    /// Returns git's view of it.
    pub(super) fn repository(&self) -> ScratchRepository {
        ScratchRepository::at(&self.root)
    }
}
