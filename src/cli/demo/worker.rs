//! What each of the eight workers does. Each is a process of its own and talks in lines on its standard output.

use std::io::{BufRead as _, Cursor, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use mirror::coordinator::{
    BeginRequest, BranchChoice, CommitRequest, Coordinator, Error, Observer, Receipt, Silent, StageRequest,
    StageWhat, Wanted, WantedKind,
};
use mirror::host::Host;
use mirror::model::{Conflict, Mode, TaskId};
use mirror::store::Wait;
use serde_json::Map;

use super::scene::{BULK_FILES, Scene};

/// How often each of the three counting workers counts.
pub(super) const ROUNDS: usize = 4;

/// Longer than anybody waits here.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a worker tells about a commit that it was given a receipt for.
pub(super) const COMMITTED: &str = "committed";

/// One worker at work.
struct Worker<'a> {
    name: &'a str,
    scene: &'a Scene,
    coordinator: Coordinator,
}

/// Plays the part of `name` in `scene`. Lines on standard input tell it to go on.
pub(crate) fn work(name: &str, scene: &Scene, host: &Arc<dyn Host>) -> anyhow::Result<()> {
    let coordinator = scene.open(host)?;
    let mut worker = Worker {
        name,
        scene,
        coordinator,
    };
    match name {
        "agent-1" | "agent-2" | "agent-3" => worker.count(),
        "agent-4" => worker.change_directory(),
        "agent-5" => worker.land_branch(),
        "agent-6" => worker.run_into_conflict(),
        "agent-7" => worker.change_everything(),
        _ => bail!("There is no part for {name}"),
    }
}

/// Says who is in the way.
struct Telling<'a>(&'a str);

impl Observer for Telling<'_> {
    fn waiting(&mut self, conflicts: &[Conflict]) {
        let mut holders: Vec<&str> = conflicts
            .iter()
            .map(|conflict| conflict.holder.task.as_str())
            .collect();
        holders.dedup();
        say(&format!("waits for {} on {}", holders.join(", "), self.0));
    }
}

fn say(line: &str) {
    let mut out = anstream::stdout();
    // Nobody listens any more: the play is over.
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// Waits for the word to go on.
fn wait_for_cue() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("Failed reading the cue")?;
    Ok(())
}

impl Worker<'_> {
    fn task(&self) -> anyhow::Result<TaskId> {
        Ok(TaskId::new(self.name)?)
    }

    fn begin(&mut self, path: &str, branch: BranchChoice) -> anyhow::Result<()> {
        let wanted = Wanted {
            what: WantedKind::Path(self.scene.path(path).into()),
            mode: Mode::Write,
        };
        let request = BeginRequest {
            task: self.task()?,
            wants: vec![wanted],
            wait: Wait::UpTo(PATIENCE),
            ttl_ms: None,
            pid: Some(std::process::id()),
            reason: Some("the demonstration".to_owned()),
            metadata: Map::new(),
            branch,
            into: None,
            strategy: None,
        };
        let begun = self.coordinator.begin(&request, &mut Telling(path))?;
        say(&format!("locked {path} (token {})", begun.task.token));
        Ok(())
    }

    fn stage(&mut self, files: Vec<(String, String)>) -> anyhow::Result<()> {
        let task = self.task()?;
        let what = files.into_iter().map(|(name, text)| StageWhat::Bytes {
            path: self.scene.path(&name).into(),
            content: Box::new(Cursor::new(text.into_bytes())),
            executable: None,
        });
        let request = StageRequest {
            what: what.collect(),
            lock: false,
        };
        self.coordinator.stage(&task, request, &mut Silent)?;
        Ok(())
    }

    fn commit(&mut self, message: &str) -> Result<Receipt, Error> {
        let task = TaskId::new(self.name).map_err(|error| Error::Usage(error.to_string()))?;
        let request = CommitRequest::recorded(message);
        self.coordinator.commit(&task, &request, &mut Silent)
    }

    fn commit_and_say(&mut self, message: &str) -> anyhow::Result<()> {
        let receipt = self.commit(message)?;
        let commit = receipt.commit.context("The commit has no id")?;
        say(&format!("{COMMITTED} {commit} {message}"));
        Ok(())
    }

    /// Three of these want the same file at the same time, again and again. Every count must arrive.
    fn count(&mut self) -> anyhow::Result<()> {
        for _ in 0..ROUNDS {
            self.begin(Scene::COUNTER, BranchChoice::Never)?;
            let count: usize = self.scene.read(Scene::COUNTER)?.trim().parse()?;
            self.stage(vec![(Scene::COUNTER.to_owned(), format!("{}\n", count + 1))])?;
            self.commit_and_say(&format!("count to {}", count + 1))?;
        }
        Ok(())
    }

    /// Holds a whole directory until it is told to go on, so that somebody can run into it.
    fn change_directory(&mut self) -> anyhow::Result<()> {
        self.begin(Scene::UI, BranchChoice::Never)?;
        wait_for_cue()?;
        self.stage(
            (0..20)
                .map(|number| (Scene::ui(number), "new\n".to_owned()))
                .collect(),
        )?;
        self.commit_and_say("renew the whole directory")
    }

    /// Works on a branch while the target moves; the two fit.
    fn land_branch(&mut self) -> anyhow::Result<()> {
        self.begin(Scene::NOTES, BranchChoice::Always)?;
        let notes = self
            .scene
            .read(Scene::NOTES)?
            .replace("Line 7 of", "Line seven of");
        self.stage(vec![(Scene::NOTES.to_owned(), notes)])?;
        wait_for_cue()?;
        self.commit_and_say("spell line seven out")
    }

    /// Works on a branch while a user who ignores the locks commits to the same file: refused, and nothing is moved.
    fn run_into_conflict(&mut self) -> anyhow::Result<()> {
        self.begin(Scene::TITLE, BranchChoice::Always)?;
        self.stage(vec![(Scene::TITLE.to_owned(), "A better title\n".to_owned())])?;
        wait_for_cue()?;
        match self.commit("improve the title") {
            Err(error @ Error::MergeConflict { .. }) => say(&format!("refused: {error}")),
            Err(error) => return Err(error.into()),
            Ok(_) => bail!("The conflict went unnoticed"),
        }
        let task = self.task()?;
        self.coordinator.rollback(&task)?;
        say("rolled back");
        Ok(())
    }

    /// Changes two thousand files at once, and is killed while they are being put in place.
    fn change_everything(&mut self) -> anyhow::Result<()> {
        self.begin(Scene::BULK, BranchChoice::Never)?;
        let old = self.scene.read(&Scene::bulk(0))?;
        let version: usize = old.trim().rsplit(' ').next().unwrap_or_default().parse()?;
        let text = format!("version {}\n", version + 1);
        self.stage(
            (0..BULK_FILES)
                .map(|number| (Scene::bulk(number), text.clone()))
                .collect(),
        )?;
        say(&format!("staged {BULK_FILES} files and commits them"));
        self.commit_and_say("change two thousand files")
    }
}
