//! Everything about a repository that a crash must not leave half done.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use walkdir::WalkDir;

use crate::support::Sandbox;
use crate::support::program::Finished;

/// What can be seen of a repository. Names that differ from run to run (commits, task branches) are left out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) git: Vec<String>,
    pub(crate) tasks: Vec<String>,
}

impl State {
    /// Looks at the repository, as seen from the directory `at`. This runs `mirror status`, which recovers.
    pub(crate) fn of(sandbox: &Sandbox, at: &str) -> Self {
        let root = sandbox.path(at);
        let git = |arguments: &[&str]| {
            let finished = sandbox.program("git").at(&root).args(arguments).run();
            finished.stdout()
        };
        let tasks = tasks(sandbox, &root);
        let answers = if sandbox.exists(".git") {
            let refs = git(&["for-each-ref", "--format=%(refname) %(tree)"]);
            vec![
                anonymous(&git(&["log", "--format=%T %s"])),
                lines(&refs, |line| !line.starts_with("refs/heads/mirror/")),
                orphans(&refs, &tasks),
                git(&["ls-files", "--stage"]),
                // What HEAD names is in it. Commits differ from run to run.
                lines(&git(&["status", "--porcelain=v2", "--branch"]), |line| {
                    !line.starts_with("# branch.oid")
                }),
                hooks(&root),
            ]
        } else {
            Vec::new()
        };
        Self {
            files: files(&root),
            git: answers,
            tasks,
        }
    }
}

impl State {
    /// What git says of the working tree and the index, compared with the commit; nothing without git.
    pub(crate) fn status(&self) -> Option<&str> {
        self.git.get(STATUS).map(String::as_str)
    }
}

/// The place of that among git's answers.
const STATUS: usize = 4;

fn files(root: &Path) -> BTreeMap<String, String> {
    let ours = |name: &std::ffi::OsStr| name == ".git" || name == ".mirror";
    let walk = WalkDir::new(root).min_depth(1).into_iter();
    let entries = walk
        .filter_entry(|entry| !ours(entry.file_name()))
        .map(Result::unwrap);
    let described = entries.map(|entry| {
        let metadata = entry.metadata().unwrap();
        let name = entry.path().strip_prefix(root).unwrap().display().to_string();
        let what = if metadata.is_dir() {
            "directory".to_owned()
        } else if metadata.is_symlink() {
            format!("link to {}", fs::read_link(entry.path()).unwrap().display())
        } else {
            let bytes = fs::read(entry.path()).unwrap();
            let mode = metadata.permissions().mode() & 0o777;
            format!("{mode:o} {}", bytes.escape_ascii())
        };
        (name, what)
    });
    described.collect()
}

/// Lists the hooks with their modes and contents.
fn hooks(root: &Path) -> String {
    let directory = root.join(".git/hooks");
    if !directory.is_dir() {
        return String::new();
    }
    let is_sample = |name: &String| {
        Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "sample")
    };
    let hooks = files(&directory).into_iter().filter(|(name, _)| !is_sample(name));
    hooks
        .map(|(name, what)| [name, what].join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Lists the tasks with their locks and how much they have staged.
fn tasks(sandbox: &Sandbox, root: &Path) -> Vec<String> {
    let status = sandbox.mirror_program().at(root).args(["--json", "status"]).run();
    if status.code() == Some(2) && status.stderr().contains("Run `mirror init`") {
        return vec!["no mirror here".to_owned()];
    }
    let status = status.succeeded().json();
    assert_eq!(
        status["unfinished"],
        Value::Array(Vec::new()),
        "recovery leaves nothing over"
    );
    let tasks = status["tasks"].as_array().unwrap().iter().map(|task| {
        let locks = task["locks"].as_array().unwrap().iter();
        let locks: Vec<String> = locks
            .map(|lock| {
                format!(
                    "{} {}",
                    lock["mode"].as_str().unwrap(),
                    lock["resource"].as_str().unwrap()
                )
            })
            .collect();
        format!(
            "{} {} {locks:?} staged {}",
            task["task"], task["state"], task["staged"]
        )
    });
    tasks.collect()
}

fn lines(text: &str, keep: impl Fn(&str) -> bool) -> String {
    text.lines()
        .filter(|line| keep(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Lists the branches of tasks that are not open. An open task's branch is its own affair: a killed commit may have put
/// its work there already, and a killed rollback may have removed it.
fn orphans(refs: &str, tasks: &[String]) -> String {
    lines(refs, |line| {
        let Some(branch) = line.strip_prefix("refs/heads/mirror/") else {
            return false;
        };
        let task = branch.split('/').next().unwrap();
        !tasks.iter().any(|open| open.starts_with(&format!("\"{task}\"")))
    })
}

/// Takes out of `mirror/<id>/<uuid>` what is new in every run.
fn anonymous(text: &str) -> String {
    const BRANCH: &str = "mirror/agent/";
    const UUID_LENGTH: usize = 36;
    let mut parts = text.split(BRANCH);
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + BRANCH + &part[UUID_LENGTH..])
}

/// Lists what must never be left behind: lock files of git, and what the doctor finds.
#[track_caller]
pub(crate) fn assert_clean(sandbox: &Sandbox, at: &str, when: &str) {
    if sandbox.exists(".git") {
        let locks: Vec<_> = WalkDir::new(sandbox.path(".git"))
            .into_iter()
            .map(|entry| entry.unwrap().into_path())
            .filter(|path| path.as_os_str().as_bytes().ends_with(b".lock"))
            .collect();
        assert!(locks.is_empty(), "{when}: {locks:?}");
        let fsck = sandbox.try_git(["fsck", "--full", "--strict", "--no-dangling"]);
        assert_eq!(fsck.code(), Some(0), "{when}: {}", fsck.text());
    }
    let doctor = sandbox
        .mirror_program()
        .at(sandbox.path(at))
        .args(["doctor"])
        .run();
    // What was never set up completely says so.
    let complete = sandbox.exists(".mirror/format") || sandbox.path(at) != sandbox.root();
    let is_content = doctor.code() == Some(0) || finds_only_orphans(&doctor);
    assert_eq!(is_content, complete, "{when}: {}", doctor.text());
}

/// A directory whose row went with the power is kept for a while, and the doctor names it.
fn finds_only_orphans(doctor: &Finished) -> bool {
    let is_orphan = |line: &str| {
        line.ends_with(" belongs to no task")
            || line.starts_with("  Hint: ")
            || line.ends_with(" left to mend.")
    };
    doctor.code() == Some(7) && doctor.stdout().lines().all(is_orphan)
}
