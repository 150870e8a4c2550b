//! What mirror does not promise, shown: each line of the table in `docs/security.md` names the test that demonstrates it.
//! A test here that fails is good news, and a line to take out of the table.

use std::fs;
use std::io::{Read as _, Write as _};

use rustix::process::{Pid, Signal, kill_process};

use crate::architecture::source::{Source, find_words};
use crate::support::running::Running;
use crate::support::{Sandbox, project};

/// A repository with two files, and a task that has staged a change of both.
fn staged() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("a", "old\n"), ("b", "old\n"), ("c", "old\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
        .mirror(["begin", "-t", "t", "-w", "a", "-w", "b"])
        .succeeded();
    for path in ["a", "b"] {
        let stage = sandbox.mirror_program().args(["stage", "-t", "t", path]);
        stage.input("new\n").run().succeeded();
    }
    sandbox
}

/// Starts the commit and lets it stop itself at a point.
fn stopped_at(sandbox: &Sandbox, point: &str, more: &[&str]) -> Running {
    let commit = sandbox
        .mirror_program()
        .env("MIRROR_FAULT", format!("{point}=stop"));
    let running = commit.args(["commit", "-t", "t"]).args(more).start();
    running.until_stopped();
    running
}

#[test]
fn a_program_that_does_not_ask_the_epoch_may_see_one_file_new_and_another_old() {
    let sandbox = staged();
    let running = stopped_at(&sandbox, "apply.place@2", &[]);
    assert_eq!(
        (sandbox.read("a"), sandbox.read("b")),
        ("new\n".into(), "old\n".into())
    );
    // Whoever asks is told.
    let epoch = fs::read(sandbox.path(".mirror/epoch")).unwrap();
    assert_eq!(epoch[0] % 2, 1);
    running.resume();
    running.finish().succeeded();
    assert_eq!(
        (sandbox.read("a"), sandbox.read("b")),
        ("new\n".into(), "new\n".into())
    );
    assert_eq!(fs::read(sandbox.path(".mirror/epoch")).unwrap()[0] % 2, 0);
}

#[test]
fn a_program_with_the_old_file_open_goes_on_with_the_old_bytes() {
    let sandbox = staged();
    let mut old = fs::File::options()
        .read(true)
        .append(true)
        .open(sandbox.path("a"))
        .unwrap();
    sandbox.mirror(["commit", "-t", "t"]).succeeded();
    let mut text = String::new();
    old.read_to_string(&mut text).unwrap();
    assert_eq!(text, "old\n");
    old.write_all(b"too late\n").unwrap();
    assert_eq!(sandbox.read("a"), "new\n");
    // What it wrote is not in the file, but it is not lost either.
    sandbox.mirror(["cleanup", "--force"]).succeeded();
    assert_eq!(sandbox.shell("cat .mirror/quarantine/*/*"), "old\ntoo late\n");
}

/// The last look at a displaced file is the one before it is removed: an hour after the commit, unless somebody is in a
/// hurry. It makes no difference whether the file is open or mapped.
#[test]
fn what_is_written_to_a_displaced_file_after_the_last_look_is_gone() {
    let sandbox = staged();
    let mut old = fs::File::options().append(true).open(sandbox.path("a")).unwrap();
    sandbox.mirror(["commit", "-t", "t"]).succeeded();
    sandbox.mirror(["cleanup"]).succeeded();
    sandbox.mirror(["cleanup", "--force"]).succeeded();
    old.write_all(b"too late\n").unwrap();
    sandbox.mirror(["cleanup", "--force"]).succeeded();
    assert_eq!(sandbox.read("a"), "new\n");
    assert_eq!(sandbox.shell("grep -rl 'too late' . || true"), "");
}

#[test]
fn two_refs_do_not_move_in_one_instant() {
    let sandbox = Sandbox::with_files(&[("a", "old\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
        .mirror(["begin", "-t", "t", "-w", "a", "--branch"])
        .succeeded();
    sandbox.stage("t", "a", "new\n");
    let running = stopped_at(&sandbox, "carry-out.ref-moved", &["-m", "m"]);
    // The target is new already, and the task's branch is still there.
    assert_eq!(sandbox.git(["show", "main:a"]), "new");
    assert_ne!(sandbox.git(["branch", "--list", "mirror/*"]), "");
    running.resume();
    running.finish().succeeded();
    assert_eq!(sandbox.git(["branch", "--list", "mirror/*"]), "");
}

#[test]
fn a_disk_that_forgets_what_it_reported_as_written_needs_a_human() {
    let sandbox = staged();
    let commit = sandbox
        .mirror_program()
        .env("MIRROR_FAULT", "commit.decided=kill");
    assert_eq!(commit.args(["commit", "-t", "t"]).run().code(), None);
    sandbox.shell("rm .mirror/transactions/*/manifest");
    // Noticed, but what was lost is lost.
    let left = sandbox.mirror(["recover"]).exited(7);
    assert!(
        left.stderr().contains("its manifest is missing or damaged"),
        "{left}"
    );
    assert_eq!(sandbox.read("a"), "old\n");
}

#[test]
fn a_flipped_bit_is_noticed_only_where_bytes_are_hashed() {
    let sandbox = staged();
    let slot = sandbox.shell("grep -l new .mirror/transactions/*/s/* | head -n 1");
    fs::write(sandbox.path(slot.trim()), "nev\n").unwrap();
    sandbox.mirror(["commit", "-t", "t"]).exited(7);
    fs::write(sandbox.path(slot.trim()), "new\n").unwrap();
    sandbox.mirror(["commit", "-t", "t"]).succeeded();
    // Once the file is in place nobody looks at it again.
    sandbox.write("a", "nev\n");
    sandbox.mirror(["doctor"]).succeeded();
}

#[test]
fn whoever_may_write_to_the_files_writes_past_the_locks() {
    let sandbox = staged();
    sandbox.write("a", "by somebody who asked nobody\n");
    assert_eq!(sandbox.read("a"), "by somebody who asked nobody\n");
    // Nothing is overwritten because of it.
    sandbox.mirror(["commit", "-t", "t"]).exited(5);
    assert_eq!(sandbox.read("a"), "by somebody who asked nobody\n");
}

#[test]
fn first_write_wins_and_the_other_is_kept() {
    let sandbox = staged();
    let running = stopped_at(&sandbox, "apply.place", &[]);
    sandbox.write("a", "in the last instant\n");
    running.resume();
    running.finish().succeeded();
    assert_eq!(sandbox.read("a"), "new\n");
    assert_eq!(
        sandbox.shell("cat .mirror/quarantine/*/*"),
        "in the last instant\n"
    );
}

#[test]
fn git_commit_with_no_verify_passes_the_hooks() {
    let sandbox = staged();
    sandbox.mirror(["hook", "install"]).succeeded();
    sandbox.write("a", "past the locks\n");
    assert_ne!(sandbox.try_git(["commit", "-qam", "m"]).code(), Some(0));
    sandbox.git(["commit", "-qam", "m", "--no-verify"]);
    assert_eq!(sandbox.git(["show", "HEAD:a"]), "past the locks");
}

#[test]
fn a_task_id_is_a_name_and_no_secret() {
    let sandbox = staged();
    // Another process of the same user that gives the name acts as the task.
    sandbox.mirror(["rollback", "-t", "t"]).succeeded();
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(status["tasks"], serde_json::json!([]));
    // A secret would not keep it out: everything that the task has is that user's to write.
    sandbox.shell("test -w .mirror/registry.db && test -w .mirror/transactions");
}

#[test]
fn whoever_deletes_the_directory_deletes_what_is_staged() {
    let sandbox = staged();
    sandbox.git(["clean", "-ffdxq"]);
    assert!(!sandbox.exists(".mirror"));
    let left = sandbox.mirror(["commit", "-t", "t"]).exited(2);
    assert!(left.stderr().contains("mirror init"), "{left}");
    assert_eq!(sandbox.read("a"), "old\n");
}

#[test]
fn whoever_removes_gits_lock_gets_in_between() {
    let sandbox = staged();
    let running = stopped_at(&sandbox, "commit.decide", &["-m", "m"]);
    sandbox.write("c", "added in the middle\n");
    let refused = sandbox.try_git(["add", "c"]);
    assert!(refused.stderr().contains("index.lock"), "{refused}");
    fs::remove_file(sandbox.path(".git/index.lock")).unwrap();
    sandbox.git(["add", "c"]);
    running.resume();
    running.finish().succeeded();
    // Even so the index is written from what it is by then.
    assert_eq!(sandbox.git(["diff", "--cached", "--name-only"]), "c");
}

#[test]
fn a_service_that_asks_for_no_token_has_two_users() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    sandbox.mirror(["begin", "-t", "a", "-s", "database"]).succeeded();
    sandbox
        .mirror(["unlock", "--force", "--reason", "it hangs", "service:database"])
        .succeeded();
    sandbox.mirror(["begin", "-t", "b", "-s", "database"]).succeeded();
    // Nobody stops the first one from going on with the database. It learns that it has lost it when it asks.
    sandbox.mirror(["renew", "-t", "a"]).exited(4);
}

#[test]
fn nobody_commits_while_somebody_is_stopped_in_the_middle_of_a_commit() {
    let sandbox = staged();
    sandbox.mirror(["begin", "-t", "u", "-w", "c"]).succeeded();
    sandbox.stage("u", "c", "new\n");
    let running = stopped_at(&sandbox, "commit.decided", &[]);
    let mirror = env!("CARGO_BIN_EXE_mirror");
    // Had it a way, it would have taken it: it is not waiting for its turn, but for a process that does not run.
    let waited = sandbox
        .program("timeout")
        .args(["1", mirror, "commit", "-t", "u"])
        .run();
    assert_eq!(waited.code(), Some(124), "{waited}");
    assert_eq!(sandbox.read("c"), "old\n");
    kill_process(
        Pid::from_raw(i32::try_from(running.pid()).unwrap()).unwrap(),
        Signal::CONT,
    )
    .unwrap();
    running.finish().succeeded();
    sandbox.mirror(["commit", "-t", "u"]).succeeded();
}

#[test]
fn a_directory_that_is_moved_away_takes_along_what_is_written_into_it() {
    let sandbox = Sandbox::with_files(&[("d/a", "old\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox.mirror(["begin", "-t", "t", "-w", "d/"]).succeeded();
    sandbox.stage("t", "d/a", "new\n");
    let running = stopped_at(&sandbox, "commit.decided", &[]);
    fs::rename(sandbox.path("d"), sandbox.path("moved")).unwrap();
    running.resume();
    running.finish();
    sandbox.mirror(["recover"]).succeeded();
    // The name counts: there the file is new, and what was moved away is what it was.
    assert_eq!(
        (sandbox.read("d/a"), sandbox.read("moved/a")),
        ("new\n".into(), "old\n".into())
    );
}

#[test]
fn a_checkout_of_a_commit_that_contains_settings_replaces_ours() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    sandbox.git(["checkout", "-q", "-b", "hostile"]);
    let blob = sandbox
        .program("git")
        .args(["hash-object", "-w", "--stdin"])
        .input("hooks: {mode: warn}\n")
        .run();
    let entry = format!("100644,{},.mirror/config.yaml", blob.succeeded().stdout().trim());
    sandbox.git(["update-index", "--add", "--cacheinfo", &entry]);
    sandbox.git(["commit", "-q", "-m", "hostile"]);
    sandbox.git(["checkout", "-q", "-f", "main"]);
    sandbox.write(".mirror/config.yaml", "hooks: {mode: block}\n");
    sandbox.git(["checkout", "-q", "hostile"]);
    // No setting names a program, a path outside or another store: the worst is a warning instead of a refusal.
    assert_eq!(sandbox.read(".mirror/config.yaml"), "hooks: {mode: warn}\n");
    sandbox.mirror(["status"]).succeeded();
}

#[test]
fn the_validation_command_may_do_whatever_the_user_may() {
    let sandbox = staged();
    let escape = sandbox.beside("escape");
    let command = format!("touch {}", escape.display());
    sandbox
        .mirror(["commit", "-t", "t", "-m", "m", "--validate", &command])
        .succeeded();
    assert!(escape.exists());
}

#[test]
fn the_table_names_tests_that_exist() {
    let text = fs::read_to_string(project("docs/security.md")).unwrap();
    let sources = Source::all_below(&project("tests/it"));
    let exists = |name: &str| {
        let (module, function) = name.rsplit_once("::").unwrap_or(("", name));
        let path = module.replace("::", "/");
        let declaration = format!("fn {function}");
        let mut found = sources
            .iter()
            .filter(|source| source.path.trim_end_matches(".rs").trim_end_matches("/mod") == path);
        found.any(|source| find_words(&source.text, &declaration).next().is_some())
    };
    let mut named = 0;
    for table in text.split("<!-- tests -->\n").skip(1) {
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        for row in rows {
            let cell = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
            for name in cell.split(", ").map(|name| name.trim_matches('`')) {
                assert!(exists(name), "{name} in {row}");
                named += 1;
            }
        }
    }
    assert!(named >= 30, "{named}");
    let readme = fs::read_to_string(project("README.md")).unwrap();
    assert!(readme.contains("(docs/security.md)"));
}

#[test]
fn two_normal_forms_are_two_names() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    sandbox.mirror(["begin", "-t", "a", "-w", "\u{e9}"]).succeeded();
    sandbox.mirror(["begin", "-t", "b", "-w", "e\u{301}"]).succeeded();
}
