//! Starts the workers, gives the cues, kills one of them, and tells what happens as it happens.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, bail};
use mirror::host::{Host, Stopwatch};

use super::proof::{Evidence, prove};
use super::scene::{BULK_FILES, Scene};
use super::worker::COMMITTED;

/// How often the killed commit is tried: a kill may come a moment too late to hit the middle.
const KILLS_MAX: usize = 10;

/// Longer than any of this takes, also on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_mins(3);

/// A line of a worker; `None` when it ended.
type Heard = (String, Option<String>);

/// The running play.
struct Play<'a> {
    scene: &'a Scene,
    watch: Stopwatch,
    program: PathBuf,
    heard: Receiver<Heard>,
    sender: Sender<Heard>,
    tell: &'a mut dyn FnMut(&str),
    evidence: Evidence,
}

/// A worker's process.
struct Actor {
    child: Child,
    cue: Option<ChildStdin>,
}

/// Plays it all in `scene` and proves the end. `tell` hears every line. Answers whether the proof holds.
pub(crate) fn play(scene: &Scene, host: &Arc<dyn Host>, tell: &mut dyn FnMut(&str)) -> anyhow::Result<bool> {
    let (sender, heard) = channel();
    let program = std::env::current_exe().context("Failed finding this program")?;
    let mut play = Play {
        scene,
        watch: Stopwatch::start(),
        program,
        heard,
        sender,
        tell,
        evidence: Evidence::default(),
    };
    play.first_act()?;
    play.second_act()?;
    let evidence = std::mem::take(&mut play.evidence);
    prove(scene, host, &evidence, tell)
}

impl Play<'_> {
    /// Seven workers at once: three count, one holds a directory, two work on branches, one uses git alone.
    fn first_act(&mut self) -> anyhow::Result<()> {
        (self.tell)("Seven workers begin: three want the same file, one a directory, two work on branches.");
        let names = ["agent-1", "agent-2", "agent-3", "agent-4", "agent-5", "agent-6"];
        let mut actors: Vec<Actor> = names
            .iter()
            .map(|name| self.start(name))
            .collect::<Result<_, _>>()?;
        let mut waiting_for_locks: Vec<&str> = vec!["agent-4", "agent-5", "agent-6"];
        let mut counted = false;
        // The cues come when everybody holds what the scene needs, not after some time.
        while !(waiting_for_locks.is_empty() && counted) {
            let (name, line) = self.listen()?;
            let line = line.with_context(|| format!("{name} ended before its cue"))?;
            waiting_for_locks.retain(|waiting| !(name == *waiting && line.starts_with("locked")));
            counted |= line.starts_with(COMMITTED);
        }
        self.user_is_refused()?;
        self.user_ignores_the_locks()?;
        for actor in &mut actors {
            actor.go_on();
        }
        let mut left = actors.len();
        while left > 0 {
            if self.listen()?.1.is_none() {
                left -= 1;
            }
        }
        for (name, actor) in names.iter().zip(&mut actors) {
            let status = actor.child.wait().context("Failed waiting for a worker")?;
            if !status.success() {
                bail!("{name} failed: {status}");
            }
        }
        Ok(())
    }

    /// agent-8 knows nothing of locks and uses git alone: the hook refuses its commit.
    fn user_is_refused(&mut self) -> anyhow::Result<()> {
        let path = Scene::ui(0);
        self.write_as_user(&path, "an edit that nobody asked for\n")?;
        let refusal = self.git_commit(&path, "edit without asking", &self.search_path()?)?;
        let Err(words) = refusal else {
            bail!("The hook let a commit to a locked file pass")
        };
        let first = words
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .to_owned();
        self.say("agent-8", &format!("git commit is refused by the hook: {first}"));
        self.evidence.hook_refused = true;
        let repository = self.scene.repository();
        retry(|| Ok(repository.restore(&path)?))?;
        Ok(())
    }

    /// Somebody commits over a lock on purpose, which is allowed and recorded.
    fn user_ignores_the_locks(&mut self) -> anyhow::Result<()> {
        self.write_as_user(Scene::TITLE, "A title that somebody else likes\n")?;
        let program = self.scene.repository();
        retry(|| Ok(program.commit_without_hooks(Scene::TITLE, "Change the title, ignoring the lock")?))?;
        self.say("a user", "commits to a locked file with --no-verify");
        Ok(())
    }

    /// agent-7 is killed while two thousand files are being put in place; the next command of anybody completes it.
    fn second_act(&mut self) -> anyhow::Result<()> {
        for version in 1..=KILLS_MAX {
            let mut actor = self.start("agent-7")?;
            let new = format!("version {version}\n");
            let watch = Stopwatch::start();
            while self.scene.read(&Scene::bulk(0)).is_ok_and(|text| text != new) && watch.elapsed() < PATIENCE
            {
                std::thread::yield_now();
            }
            actor.child.kill().context("Failed killing a worker")?;
            actor.child.wait().context("Failed waiting for a worker")?;
            let done = self.scene.count_bulk(&new);
            while let (_, Some(_)) = self.listen()? {}
            self.evidence.bulk_version = version;
            if done < BULK_FILES {
                self.say(
                    "agent-7",
                    &format!("is killed (kill -9) with {done} of {BULK_FILES} files in place"),
                );
                self.evidence.torn_at = Some(done);
                return self.next_command();
            }
            self.say("agent-7", "was too fast for the kill, and does it again");
            self.next_command()?;
        }
        bail!("Could not hit the middle of a commit in {KILLS_MAX} tries")
    }

    /// Any command begins with recovery.
    fn next_command(&mut self) -> anyhow::Result<()> {
        let root = self.scene.root();
        let output = Command::new(&self.program)
            .arg("-C")
            .arg(root)
            .args(["--json", "status"])
            .output()
            .context("Failed starting mirror")?;
        if !output.status.success() {
            bail!(
                "mirror status failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let done = self
            .scene
            .count_bulk(&format!("version {}\n", self.evidence.bulk_version));
        self.say(
            "anybody",
            &format!("runs `mirror status`: {done} of {BULK_FILES} files in place"),
        );
        Ok(())
    }

    fn start(&self, name: &str) -> anyhow::Result<Actor> {
        let mut child = Command::new(&self.program)
            .args(["demo", "--worker", name, "--repo"])
            .arg(self.scene.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("Failed starting a worker")?;
        let stdout = child.stdout.take().context("A worker has no output")?;
        let cue = child.stdin.take();
        let (sender, name) = (self.sender.clone(), name.to_owned());
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                drop(sender.send((name.clone(), Some(line))));
            }
            drop(sender.send((name, None)));
        });
        Ok(Actor { child, cue })
    }

    /// Waits for the next line of anybody, tells it, and keeps what it proves.
    fn listen(&mut self) -> anyhow::Result<Heard> {
        let (name, line) = self
            .heard
            .recv_timeout(PATIENCE)
            .context("Nobody says anything any more")?;
        if let Some(line) = &line {
            if let Some(commit) = line
                .strip_prefix(COMMITTED)
                .and_then(|rest| rest.split_whitespace().next())
            {
                self.evidence.acknowledged.push(commit.parse()?);
            }
            self.say(&name, line);
        }
        Ok((name, line))
    }

    fn say(&mut self, name: &str, line: &str) {
        let seconds = self.watch.elapsed().as_secs_f64();
        (self.tell)(&format!("{seconds:7.3} s  {name:<8}  {line}"));
    }

    fn write_as_user(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.scene.path(name);
        mirror::disk::remove_file(&path)?;
        Ok(mirror::disk::write_new_file(&path, text.as_bytes(), 0o644)?)
    }

    fn git_commit(&self, path: &str, message: &str, search_path: &str) -> anyhow::Result<Result<(), String>> {
        let repository = self.scene.repository();
        retry(|| match repository.try_commit(path, message, search_path) {
            Ok(Err(words)) if words.contains("index.lock") => Ok(None),
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.to_string().contains("index.lock") => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    /// The hook finds this very program, wherever it was started from.
    fn search_path(&self) -> anyhow::Result<String> {
        let directory = self.program.parent().unwrap_or(Path::new("/"));
        let rest = crate::cli::env::search_path();
        let joined =
            std::env::join_paths(std::iter::once(directory.to_owned()).chain(std::env::split_paths(&rest)))?;
        joined
            .into_string()
            .map_err(|path| anyhow::anyhow!("PATH is not UTF-8: {}", path.display()))
    }
}

impl Actor {
    /// Gives the cue. A worker that has ended needs none.
    fn go_on(&mut self) {
        if let Some(mut cue) = self.cue.take() {
            drop(cue.write_all(b"go on\n"));
        }
    }
}

/// Repeats what collides with others in git's own locks: git does not wait for them, people press the key again.
fn retry<T>(mut attempt: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let watch = Stopwatch::start();
    while watch.elapsed() < PATIENCE {
        if let Some(answer) = attempt()? {
            return Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("Others were in git's way all the time")
}
