//! Repositories in which a command is about to run: what the crash tests and the fault campaign kill it in.

use std::fmt::Write as _;

use std::sync::Arc;

use mirror::host::System;
use mirror::model::EventKind;
use mirror::store::{NewEvent, Place, Store};

use crate::support::{Awkward, Sandbox};

/// A repository that is prepared for a command. Preparing twice gives the same, apart from uuids, inodes and times.
#[derive(Clone, Copy)]
pub(crate) struct Situation {
    /// What the command is about to do, in words.
    pub(crate) name: &'static str,
    /// Makes the repository.
    pub(crate) prepare: fn() -> Sandbox,
    /// The command line of mirror.
    pub(crate) arguments: &'static [&'static str],
    /// Where it is run, seen from the sandbox's root.
    pub(crate) at: &'static str,
    /// How the command exits.
    pub(crate) exit: i32,
    /// What the hint says to type first when a fault that lasted has left something in the way of the same command.
    pub(crate) retreat: Option<&'static [&'static str]>,
    /// Whether what it answers survives power loss. Locks, leases and staging do not have to: they are of no use to anybody
    /// after it.
    pub(crate) durable: bool,
    /// Runs on paths that it has nothing to do with: each may come in while it stands still, and both come through.
    pub(crate) neighbours: &'static [&'static [&'static str]],
    /// Whether a crash may also leave something between before and after, which the same command then completes: true
    /// of commands that promise this for each of their steps only.
    pub(crate) in_steps: bool,
}

/// Every situation, by name.
pub(crate) const ALL: &[Situation] = &[
    whole("commit without a message", staged, &["commit", "-t", "agent"]),
    whole(
        "commit in a directory without git",
        staged_without_git,
        &["commit", "-t", "agent"],
    ),
    whole("commit with a message", staged_beside_the_user, COMMIT),
    whole("commit of one file", staged_one, COMMIT),
    whole("commit of forty files", staged_forty, COMMIT),
    whole("commit that is fast-forwarded", staged_on_branch, COMMIT),
    whole("commit that is merged by path", staged_behind_target, COMMIT),
    whole("commit that is merged by content", staged_into_same_file, COMMIT),
    Situation {
        exit: 5,
        ..whole("commit whose merge conflicts", staged_in_conflict, COMMIT)
    },
    whole(
        "commit onto a target that is not checked out",
        staged_into_other,
        COMMIT,
    ),
    whole("first commit of all", staged_unborn, COMMIT),
    whole("commit on a detached head", staged_detached, COMMIT),
    Situation {
        at: "../linked",
        ..whole("commit in a linked worktree", staged_in_worktree, COMMIT)
    },
    whole("commit through filters", staged_converted, COMMIT),
    whole(
        "commit through the user's own filters",
        staged_converted_at_home,
        COMMIT,
    ),
    Situation {
        neighbours: &[NEIGHBOUR],
        ..whole(
            "commit that is validated",
            staged_on_branch,
            &[
                "commit",
                "-t",
                "agent",
                "-m",
                "every kind",
                "--validate",
                "test -e work/empty",
            ],
        )
    },
    whole("run", repository, RUN),
    whole("run in a copy that is there", after_a_run, RUN),
    whole("run without a message", beside_the_user, RUN_UNRECORDED),
    whole("run without git", directory, RUN_UNRECORDED),
    Situation {
        neighbours: &[NEIGHBOUR, HASTY_NEIGHBOUR],
        ..whole("run that is validated", after_a_run, RUN_VALIDATED)
    },
    Situation {
        neighbours: &[NEIGHBOUR],
        ..whole("run on a branch of its own", after_a_run, RUN_ON_BRANCH)
    },
    Situation {
        neighbours: &[NEIGHBOUR],
        ..whole("run that grows", after_a_run, RUN_GROWING)
    },
    Situation {
        exit: 6,
        ..whole("run whose command fails", after_a_run, RUN_FAILING)
    },
    whole("run in place", repository, RUN_IN_PLACE),
    Situation {
        exit: 6,
        ..whole(
            "run in place whose command fails",
            repository,
            RUN_IN_PLACE_FAILING,
        )
    },
    whole("rollback", staged_on_branch, &["rollback", "-t", "agent"]),
    in_steps("optimistic commit", staged_optimistically, COMMIT),
    in_steps(
        "optimistic commit that is merged by content",
        staged_optimistically_into_same_file,
        COMMIT,
    ),
    Situation {
        neighbours: &[NEIGHBOUR],
        ..in_steps("undo of a recorded commit", committed_with_message, UNDO)
    },
    in_steps("undo of a commit that git did not record", committed, UNDO),
    Situation {
        neighbours: &[NEIGHBOUR],
        ..in_steps("undo of a merged branch", merged, UNDO)
    },
    Situation {
        retreat: Some(&["rollback", "-t", "agent"]),
        durable: false,
        ..in_steps(
            "begin",
            repository,
            &[
                "begin", "-t", "agent", "-w", "work/", "-r", "other", "-s", "db", "--branch",
            ],
        )
    },
    whole(
        "lock",
        begun,
        &["lock", "-t", "agent", "-w", "other", "-w", "new/", "-s", "db"],
    ),
    Situation {
        exit: 3,
        durable: false,
        ..whole("lock that waits", begun_behind_another, LOCK_WAITING)
    },
    whole("unlock", begun_with_more, &["unlock", "-t", "agent", "other"]),
    whole(
        "unlock by force",
        begun_with_more,
        &["unlock", "--force", "--reason", "gone", "other"],
    ),
    in_steps("renew", begun, &["renew", "-t", "agent"]),
    whole(
        "stage",
        begun,
        &[
            "stage", "-t", "agent", "work/new", "--from", "other", "--delete", "work/one",
        ],
    ),
    whole(
        "stage a tree",
        begun_beside_copy,
        &["stage", "-t", "agent", "--tree", "../copy"],
    ),
    whole(
        "stage a patch",
        begun_with_patch,
        &["stage", "-t", "agent", "--patch", "../patch"],
    ),
    whole(
        "unstage",
        staged,
        &["unstage", "-t", "agent", "work/modified", "work/deleted"],
    ),
    in_steps("init", without_mirror, &["init"]),
    in_steps("init with hooks", without_mirror, &["init", "--hooks"]),
    in_steps("hook install", beside_hooks, &["hook", "install"]),
    in_steps("hook uninstall", hooked, &["hook", "uninstall"]),
    in_steps("cleanup", with_remains, &["cleanup", "--force"]),
    in_steps("cleanup with packing", with_old_files, &["cleanup"]),
    in_steps(
        "cleanup of what was packed",
        with_packed_files,
        &["cleanup", "--older-than", "1h"],
    ),
    in_steps(
        "unlock that tidies up",
        with_cleanup_due,
        &["unlock", "-t", "mover", "other"],
    ),
    in_steps("doctor", with_remains, &["doctor", "--repair"]),
];

const COMMIT: &[&str] = &["commit", "-t", "agent", "-m", "every kind"];

/// What a run's command does: a little of everything.
const WORK: &str = "set -e; echo changed > work/modified; rm work/deleted; mkdir work/deep; echo new > work/deep/created; ln -sfn elsewhere work/link";

const RUN: &[&str] = &[
    "run",
    "-t",
    "agent",
    "-w",
    "work/",
    "-m",
    "every kind",
    "--",
    "sh",
    "-c",
    WORK,
];

const RUN_UNRECORDED: &[&str] = &["run", "-t", "agent", "-w", "work/", "--", "sh", "-c", WORK];

const RUN_VALIDATED: &[&str] = &[
    "run",
    "-t",
    "agent",
    "-w",
    "work/",
    "-m",
    "every kind",
    "--validate",
    "test -e work/deep/created && git rev-parse HEAD^{tree} >> $(git rev-parse --git-common-dir)/validated",
    "--",
    "sh",
    "-c",
    WORK,
];

/// Finishes at about the same time, and lands on the same branch.
const NEIGHBOUR: &[&str] = &[
    "run",
    "-t",
    "neighbour",
    "-w",
    "next/",
    "--wait",
    "30s",
    "-m",
    "beside it",
    "--validate",
    "test -e next/door && git rev-parse HEAD^{tree} >> $(git rev-parse --git-common-dir)/validated",
    "--",
    "sh",
    "-c",
    "mkdir next; echo neighbour > next/door",
];

/// The same without a validation: it waits for nobody's, and moves the branch under those that are validated.
const HASTY_NEIGHBOUR: &[&str] = &[
    "run",
    "-t",
    "neighbour",
    "-w",
    "next/",
    "-m",
    "hastily beside it",
    "--",
    "sh",
    "-c",
    "mkdir next; echo neighbour > next/door",
];

/// Most of what it changes is not locked when it begins.
const RUN_GROWING: &[&str] = &[
    "run",
    "-t",
    "agent",
    "-w",
    "work/deep/",
    "--grow",
    "-m",
    "every kind",
    "--",
    "sh",
    "-c",
    WORK,
];

/// Whoever holds it does not give it back while nothing else happens.
const LOCK_WAITING: &[&str] = &[
    "lock",
    "-t",
    "agent",
    "-w",
    "work/modified",
    "-w",
    "new/",
    "--wait",
    "300ms",
];

const RUN_ON_BRANCH: &[&str] = &[
    "run",
    "-t",
    "agent",
    "-w",
    "work/",
    "-m",
    "every kind",
    "--branch",
    "--",
    "sh",
    "-c",
    WORK,
];

const RUN_FAILING: &[&str] = &[
    "run",
    "-t",
    "agent",
    "-w",
    "work/",
    "-m",
    "every kind",
    "--",
    "sh",
    "-c",
    "echo half > work/modified; rm work/one; exit 1",
];

const RUN_IN_PLACE: &[&str] = &[
    "run",
    "-t",
    "agent",
    "-w",
    "work/",
    "-m",
    "every kind",
    "--in-place",
    "--",
    "sh",
    "-c",
    WORK,
];

const RUN_IN_PLACE_FAILING: &[&str] = &[
    "run",
    "-t",
    "agent",
    "-w",
    "work/",
    "-m",
    "every kind",
    "--in-place",
    "--",
    "sh",
    "-c",
    "echo half > work/modified; rm work/one; echo new > work/new; exit 1",
];

const UNDO: &[&str] = &["undo", "-t", "agent"];

const fn whole(
    name: &'static str,
    prepare: fn() -> Sandbox,
    arguments: &'static [&'static str],
) -> Situation {
    Situation {
        name,
        prepare,
        arguments,
        at: ".",
        exit: 0,
        retreat: None,
        durable: true,
        neighbours: &[],
        in_steps: false,
    }
}

const fn in_steps(
    name: &'static str,
    prepare: fn() -> Sandbox,
    arguments: &'static [&'static str],
) -> Situation {
    Situation {
        in_steps: true,
        ..whole(name, prepare, arguments)
    }
}

impl Situation {
    /// Makes the repository, in a home where nothing is tidied up by the way.
    pub(crate) fn repository(&self) -> Sandbox {
        let sandbox = (self.prepare)();
        let place = sandbox.home().join(".config/mirror");
        std::fs::create_dir_all(&place).unwrap();
        let never = "resource_manager: {cleanup_interval: 4294967295}\n";
        std::fs::write(place.join("config.yaml"), never).unwrap();
        sandbox
    }

    /// Returns the situation of this name.
    pub(crate) fn named(name: &str) -> Self {
        let found = ALL.iter().find(|situation| situation.name == name);
        *found.unwrap_or_else(|| panic!("no situation {name:?}"))
    }
}

const FILES: &[(&str, &str)] = &[
    ("work/modified", "old\n"),
    ("work/deleted", "old\n"),
    ("work/mode", "#!/bin/sh\n"),
    ("work/was-directory/a", "a\n"),
    ("work/was-directory/b", "b\n"),
    ("work/was-file", "file\n"),
    ("work/one", "one\n"),
    ("work/two", "two\n"),
    ("work/link", "will be a link\n"),
    ("other", "untouched\n"),
];

fn without_mirror() -> Sandbox {
    Sandbox::with_files(FILES)
}

fn repository() -> Sandbox {
    let sandbox = without_mirror();
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

/// Changes a copy of the working directory in every way there is, and stages the difference.
fn stage_every_kind(sandbox: &Sandbox) {
    copy_and_change(sandbox);
    let copy = sandbox.beside("copy");
    let stage = ["stage", "-t", "agent", "--tree", copy.to_str().unwrap()];
    sandbox.mirror(stage).succeeded();
}

fn copy_and_change(sandbox: &Sandbox) {
    sandbox.shell(
        "cp -a . ../copy; cd ../copy; rm -rf .git .mirror; cd work
        echo changed > modified; rm deleted; mkdir -p deep/er; echo new > deep/er/created; chmod +x mode
        rm -r was-directory; echo file > was-directory; rm was-file; mkdir was-file; echo below > was-file/below
        mv one swap; mv two one; mv swap two; ln -sfn elsewhere link; : > empty; printf '\\000\\001' > binary",
    );
}

/// A repository is put back as it was for hundreds of experiments, on machines of any speed: its leases outlast them.
const LEASE: &str = "24h";

fn begin(sandbox: &Sandbox, more: &[&str]) {
    let begin = ["begin", "-t", "agent", "--lease", LEASE, "-w", "work/"];
    sandbox.mirror(begin.iter().chain(more)).succeeded();
}

fn stage(sandbox: &Sandbox, path: &str, content: &str) {
    let stage = sandbox.mirror_program().args(["stage", "-t", "agent", path]);
    stage.input(content).run().succeeded();
}

fn staged() -> Sandbox {
    let sandbox = repository();
    begin(&sandbox, &[]);
    stage_every_kind(&sandbox);
    sandbox
}

fn staged_without_git() -> Sandbox {
    let sandbox = directory();
    begin(&sandbox, &[]);
    stage_every_kind(&sandbox);
    sandbox
}

fn directory() -> Sandbox {
    let sandbox = Sandbox::directory();
    for (path, content) in FILES {
        sandbox.write(path, content);
    }
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

/// The pool has a working copy.
fn after_a_run() -> Sandbox {
    let sandbox = repository();
    let run = [
        "run",
        "-w",
        "other",
        "-m",
        "before",
        "--",
        "sh",
        "-c",
        "echo before > other",
    ];
    sandbox.mirror(run).succeeded();
    sandbox
}

fn beside_the_user() -> Sandbox {
    let sandbox = repository();
    sandbox.write("work/two", "being edited\n");
    sandbox.write("untracked", "notes\n");
    sandbox
}

/// The user is at something else meanwhile.
fn staged_beside_the_user() -> Sandbox {
    let sandbox = repository();
    sandbox.write("other", "being edited\n");
    sandbox.write("staged", "to be committed\n");
    sandbox.git(["add", "staged"]);
    sandbox.write("untracked", "notes\n");
    begin(&sandbox, &[]);
    stage_every_kind(&sandbox);
    sandbox
}

/// Few enough that each file is synced for itself.
fn staged_one() -> Sandbox {
    let sandbox = begun();
    stage(&sandbox, "work/modified", "new\n");
    sandbox
}

/// Enough that whole file systems are synced.
fn staged_forty() -> Sandbox {
    let sandbox = begun();
    let mut script = "cp -a . ../copy; cd ../copy; rm -rf .git .mirror; cd work\n".to_owned();
    for number in 0..40 {
        let directory = number % 4;
        writeln!(
            script,
            "mkdir -p {directory}; echo {number} > {directory}/{number}"
        )
        .unwrap();
    }
    sandbox.shell(&script);
    let copy = sandbox.beside("copy");
    let stage = ["stage", "-t", "agent", "--tree", copy.to_str().unwrap()];
    sandbox.mirror(stage).succeeded();
    sandbox
}

fn staged_on_branch() -> Sandbox {
    let sandbox = repository();
    begin(&sandbox, &["--branch"]);
    stage_every_kind(&sandbox);
    sandbox
}

fn staged_behind_target() -> Sandbox {
    let sandbox = staged_on_branch();
    sandbox.write("other", "moved on\n");
    sandbox.commit_all("the target moves");
    sandbox
}

fn staged_into_same_file() -> Sandbox {
    let lines = |first: &str, last: &str| format!("{first}\n2\n3\n4\n5\n6\n7\n8\n{last}\n");
    let sandbox = Sandbox::with_files(&[("work/modified", &lines("1", "9")), ("other", "untouched\n")]);
    sandbox.mirror(["init"]).succeeded();
    begin(&sandbox, &["--branch"]);
    stage(&sandbox, "work/modified", &lines("one", "9"));
    sandbox.write("work/modified", lines("1", "nine"));
    sandbox.commit_all("the target moves");
    sandbox
}

fn staged_in_conflict() -> Sandbox {
    let sandbox = staged_into_same_file();
    sandbox.write("work/modified", "ONE\n");
    sandbox.commit_all("the same line");
    sandbox
}

fn staged_into_other() -> Sandbox {
    let sandbox = repository();
    sandbox.git(["switch", "-q", "-c", "elsewhere"]);
    begin(&sandbox, &["--branch", "--into", "main"]);
    stage_every_kind(&sandbox);
    sandbox
}

fn staged_unborn() -> Sandbox {
    let sandbox = Sandbox::unborn();
    sandbox.mirror(["init"]).succeeded();
    begin(&sandbox, &[]);
    stage(&sandbox, "work/a", "first\n");
    sandbox
}

fn staged_detached() -> Sandbox {
    let sandbox = repository();
    sandbox.git(["switch", "-q", "--detach"]);
    begin(&sandbox, &[]);
    stage_every_kind(&sandbox);
    sandbox
}

fn staged_in_worktree() -> Sandbox {
    let sandbox = Awkward::LinkedWorktree.build();
    sandbox.mirror(["init"]).succeeded();
    let linked = sandbox.beside("linked");
    let mirror = |arguments: &[&str]| sandbox.mirror_program().at(&linked).args(arguments);
    let begin = mirror(&["begin", "-t", "agent", "--lease", LEASE, "-w", "a", "-w", "new/"]);
    begin.run().succeeded();
    for path in ["a", "new/b"] {
        let stage = mirror(&["stage", "-t", "agent", path]);
        stage.input("from the worktree\n").run().succeeded();
    }
    sandbox
}

fn staged_converted() -> Sandbox {
    let sandbox = Awkward::Conversions.build();
    stage_converted(&sandbox);
    sandbox
}

/// The attributes are in no commit and in no index.
fn staged_converted_at_home() -> Sandbox {
    let sandbox = Awkward::Conversions.build();
    sandbox.shell("mkdir -p .git/info; mv .gitattributes .git/info/attributes");
    sandbox.commit_all("no attributes");
    stage_converted(&sandbox);
    sandbox
}

fn stage_converted(sandbox: &Sandbox) {
    sandbox.mirror(["init"]).succeeded();
    let paths = ["lines.crlf", "name.ident", "voice.shout", "wide.utf16"];
    let begin = ["begin", "-t", "agent", "--lease", LEASE].into_iter();
    let writes = paths.iter().flat_map(|path| ["-w", path]);
    sandbox.mirror(begin.chain(writes)).succeeded();
    stage(sandbox, "lines.crlf", "one\r\nthree\r\n");
    stage(sandbox, "name.ident", "$Id$\nmore\n");
    stage(sandbox, "voice.shout", "louder\n");
    stage(sandbox, "wide.utf16", "b\0\n\0");
}

fn staged_optimistically() -> Sandbox {
    let sandbox = repository();
    begin(&sandbox, &["--optimistic", "--branch=never"]);
    stage_every_kind(&sandbox);
    sandbox
}

fn staged_optimistically_into_same_file() -> Sandbox {
    let lines = |first: &str, last: &str| format!("{first}\n2\n3\n4\n5\n6\n7\n8\n{last}\n");
    let sandbox = Sandbox::with_files(&[("work/modified", &lines("1", "9")), ("other", "untouched\n")]);
    sandbox.mirror(["init"]).succeeded();
    begin(&sandbox, &["--optimistic"]);
    stage(&sandbox, "work/modified", &lines("one", "9"));
    sandbox.write("work/modified", lines("1", "nine"));
    sandbox.commit_all("the target moves");
    sandbox
}

fn committed() -> Sandbox {
    let sandbox = staged();
    sandbox.mirror(["commit", "-t", "agent"]).succeeded();
    sandbox
}

fn committed_with_message() -> Sandbox {
    let sandbox = staged_beside_the_user();
    sandbox.mirror(COMMIT).succeeded();
    sandbox
}

fn merged() -> Sandbox {
    let sandbox = staged_behind_target();
    sandbox.mirror(COMMIT).succeeded();
    sandbox
}

fn begun() -> Sandbox {
    let sandbox = repository();
    begin(&sandbox, &[]);
    sandbox
}

fn begun_behind_another() -> Sandbox {
    let sandbox = repository();
    let begin = ["begin", "-t", "agent", "--lease", LEASE, "-w", "work/one"];
    sandbox.mirror(begin).succeeded();
    let begin = ["begin", "-t", "holder", "--lease", LEASE, "-w", "work/modified"];
    sandbox.mirror(begin).succeeded();
    sandbox
}

fn begun_with_more() -> Sandbox {
    let sandbox = repository();
    begin(&sandbox, &["-w", "other", "-s", "db"]);
    sandbox
}

fn begun_beside_copy() -> Sandbox {
    let sandbox = begun();
    copy_and_change(&sandbox);
    sandbox
}

fn begun_with_patch() -> Sandbox {
    let sandbox = begun();
    copy_and_change(&sandbox);
    sandbox.shell(
        "cp -a .git ../copy/.git; cd ../copy; git add --all; git diff --cached --binary -M HEAD > ../patch; rm -rf .git",
    );
    sandbox
}

/// Hooks of the user's own, of both kinds: a shell script, and something else.
fn beside_hooks() -> Sandbox {
    let sandbox = repository();
    sandbox.write_executable(".git/hooks/pre-commit", "#!/bin/sh\nexit 0\n");
    sandbox.write_executable(".git/hooks/pre-push", "#!/usr/bin/env python3\nimport sys\n");
    sandbox
}

fn hooked() -> Sandbox {
    let sandbox = beside_hooks();
    sandbox.mirror(["hook", "install"]).succeeded();
    sandbox
}

/// What a commit displaced two hours ago, and a history that is long enough to be packed.
fn with_old_files() -> Sandbox {
    let sandbox = committed();
    let place = Place {
        registry: sandbox.path(".mirror/registry.db"),
        door: sandbox.path(".mirror/door.lock"),
        wake: sandbox.path(".mirror/wake"),
    };
    let mut store = Store::open(&place, Arc::new(System::new().unwrap())).unwrap();
    for _ in 0..3200 {
        store.record(&NewEvent::of(EventKind::ResourceRenewed)).unwrap();
    }
    sandbox.shell("touch -d '2 hours ago' .mirror/transactions/*");
    sandbox
}

fn with_packed_files() -> Sandbox {
    let sandbox = with_old_files();
    sandbox.mirror(["cleanup"]).succeeded();
    assert!(sandbox.shell("ls .mirror/kept").lines().count() == 1);
    sandbox
}

/// Commands of the campaign tidy up only where that is what is looked at: when it is due depends on how long an experiment
/// takes.
fn with_cleanup_due() -> Sandbox {
    let sandbox = with_old_files();
    sandbox
        .mirror([
            "begin", "-t", "mover", "--lease", LEASE, "-w", "other", "-w", "work/",
        ])
        .succeeded();
    sandbox.write(".mirror/config.yaml", "resource_manager: {cleanup_interval: 1}\n");
    sandbox.shell("touch -d yesterday .mirror/cleaned");
    sandbox
}

/// What an ended task and a crashed program leave.
fn with_remains() -> Sandbox {
    let sandbox = staged_on_branch();
    sandbox.mirror(COMMIT).succeeded();
    begin(&sandbox, &["--branch"]);
    stage(&sandbox, "work/modified", "newer\n");
    let stage = sandbox
        .mirror_program()
        .args(["stage", "-t", "agent", "work/two"]);
    let killed = stage
        .input("lost\n")
        .env("MIRROR_FAULT", "stage.written=kill")
        .run();
    assert_eq!(killed.code(), None, "{killed}");
    sandbox
}
