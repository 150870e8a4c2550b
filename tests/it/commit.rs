//! Commits of every kind into repositories of every kind, and what must stay untouched.

use crate::support::program::Finished;
use crate::support::{Awkward, Sandbox};

fn repository() -> Sandbox {
    let sandbox = Sandbox::with_files(&[
        ("a", "old\n"),
        ("b", "old\n"),
        ("d/x", "old\n"),
        ("user", "old\n"),
    ]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

/// Begins `agent` with these arguments and stages `content` at `path`.
#[track_caller]
fn staged(sandbox: &Sandbox, path: &str, content: &str, more: &[&str]) {
    sandbox
        .mirror(["begin", "-t", "agent", "-w", path].iter().chain(more))
        .succeeded();
    let stage = sandbox.mirror_program().args(["stage", "-t", "agent", path]);
    stage.input(content).run().succeeded();
}

fn commit(sandbox: &Sandbox) -> Finished {
    sandbox.mirror(["commit", "-t", "agent", "-m", "by the agent"])
}

#[track_caller]
fn assert_refused(sandbox: &Sandbox, code: i32, words: &[&str]) {
    let before = (
        sandbox.git(["rev-parse", "HEAD"]),
        sandbox.git(["status", "--porcelain"]),
    );
    let refused = commit(sandbox).exited(code);
    for word in words {
        assert!(refused.stderr().contains(word), "{word}: {}", refused.text());
    }
    let after = (
        sandbox.git(["rev-parse", "HEAD"]),
        sandbox.git(["status", "--porcelain"]),
    );
    assert_eq!(before, after, "a refusal changes nothing");
    let task = sandbox
        .mirror(["show", "-t", "agent", "--json"])
        .succeeded()
        .json();
    assert_eq!(task["state"], "open");
    assert_eq!(task["changes"].as_array().unwrap().len(), 1);
}

/// Git takes a file of the same size, written in the second in which it wrote the index, for one that it has to read, until
/// somebody writes the index again.
#[test]
fn what_the_user_wrote_in_the_same_second_as_git_is_not_hidden() {
    let sandbox = repository();
    // Nobody can set that time back.
    sandbox.git(["config", "core.trustctime", "false"]);
    let script = "touch -d @1700000000.1 user; git add user; git update-index --refresh; \
                  touch -d @1700000000.5 .git/index; printf 'new\\n' > user; touch -d @1700000000.9 user; \
                  git --no-optional-locks status --porcelain";
    assert_eq!(sandbox.shell(script), " M user\n");
    staged(&sandbox, "a", "of the agent\n", &[]);
    commit(&sandbox).succeeded();
    assert_eq!(sandbox.git(["status", "--porcelain"]), " M user");
}

#[test]
fn what_the_user_has_at_hand_elsewhere_stays_as_it_is() {
    let sandbox = repository();
    sandbox.write("user", "edited\n");
    sandbox.write("b", "staged\n");
    sandbox.git(["add", "b"]);
    sandbox.write("b", "edited again\n");
    sandbox.write("untracked", "notes\n");
    staged(&sandbox, "a", "new\n", &[]);
    let before = sandbox.git(["status", "--porcelain"]);
    commit(&sandbox).succeeded();
    assert_eq!(sandbox.git(["status", "--porcelain"]), before);
    assert_eq!(sandbox.git(["show", ":b"]), "staged");
    assert_eq!(
        sandbox.git(["show", "--format=%s", "--name-only"]),
        "by the agent\n\na"
    );
    let trailers = sandbox.git(["log", "-1", "--format=%(trailers:key=Mirror-Task,valueonly)"]);
    assert_eq!(trailers, "agent");
}

#[test]
fn uncommitted_work_at_the_very_path_is_refused_by_name() {
    let sandbox = repository();
    sandbox.write("a", "edited by the user\n");
    staged(&sandbox, "a", "new\n", &[]);
    assert_refused(&sandbox, 5, &["Uncommitted changes in the way: a", "git stash"]);
    let sandbox = repository();
    staged(&sandbox, "a", "new\n", &[]);
    sandbox.write("a", "staged by the user\n");
    sandbox.git(["add", "a"]);
    sandbox.git(["restore", "--worktree", "--source=HEAD", "a"]);
    assert_refused(&sandbox, 5, &["Staged changes in the way: a"]);
    let sandbox = repository();
    staged(&sandbox, "fresh", "new\n", &["--branch"]);
    sandbox.write("fresh", "untracked\n");
    assert_refused(&sandbox, 5, &["Untracked files in the way: fresh"]);
}

#[test]
fn a_base_that_changed_since_it_was_staged_is_refused_by_name() {
    let sandbox = repository();
    staged(&sandbox, "a", "new\n", &[]);
    sandbox.write("a", "meanwhile\n");
    assert_refused(&sandbox, 5, &["a", "mirror unstage -t agent a"]);
}

#[test]
fn a_conflict_is_refused_with_nothing_moved_and_the_work_on_its_branch() {
    let sandbox = repository();
    staged(&sandbox, "a", "agent\n", &["--branch"]);
    sandbox.write("a", "user\n");
    sandbox.git(["commit", "-qam", "user"]);
    assert_refused(
        &sandbox,
        5,
        &["into main conflicts in a", "git merge mirror/agent/"],
    );
    let branch = sandbox.git(["for-each-ref", "--format=%(refname)", "refs/heads/mirror/"]);
    assert_eq!(sandbox.git(["show", &format!("{branch}:a")]), "agent");
    // The hint is true: by hand it can be merged.
    let merge = sandbox.try_git(["merge", "-X", "theirs", "-m", "by hand", &branch]);
    merge.succeeded();
    assert_eq!(sandbox.read("a"), "agent\n");
}

/// What was decided against came back with the next commit.
#[test]
fn what_was_merged_by_hand_is_not_merged_again() {
    let text = |timeout: &str, name: &str| format!("timeout={timeout}\n\n\n\n\nname={name}\n");
    let sandbox = Sandbox::with_files(&[("cfg", &text("10", "base")), ("other", "1\n")]);
    sandbox.mirror(["init"]).succeeded();
    for begin in ["--branch", "--optimistic"] {
        sandbox.write("cfg", text("10", "base"));
        sandbox.git(["commit", "-q", "--allow-empty", "-am", "base"]);
        sandbox
            .mirror(["begin", "-t", "agent", "-w", "other", begin])
            .succeeded();
        let stage = sandbox
            .mirror_program()
            .args(["stage", "-t", "agent", "--lock", "cfg"]);
        stage.input(text("99", "agent")).run().succeeded();
        sandbox.write("cfg", text("10", "human"));
        sandbox.git(["commit", "-qam", "human"]);
        assert_refused(&sandbox, 5, &["git merge mirror/agent/"]);
        let branch = sandbox.git(["for-each-ref", "--format=%(refname)", "refs/heads/mirror/"]);
        sandbox.try_git(["merge", "-q", &branch]).exited(1);
        sandbox.write("cfg", text("10", "agent"));
        sandbox.git(["commit", "-qam", "by hand"]);
        let more = begin == "--optimistic";
        if more {
            sandbox.stage("agent", "other", format!("2 {begin}\n"));
        }
        let told = commit(&sandbox).text();
        assert_eq!(told.contains("Nothing to commit"), !more, "{told}");
        assert_eq!(sandbox.read("cfg"), text("10", "agent"));
        assert_eq!(
            sandbox.read("other"),
            if more { "2 --optimistic\n" } else { "1\n" }
        );
        assert_eq!(sandbox.git(["status", "--porcelain"]), "");
        assert_eq!(sandbox.git(["branch", "--list", "mirror/*"]), "");
        sandbox.mirror(["doctor"]).succeeded();
    }
}

#[test]
fn overlapping_edits_of_one_file_are_merged_as_git_merges() {
    let lines = |first: &str, last: &str| {
        let middle: String = (0..20).fold(String::new(), |text, number| format!("{text}{number}\n"));
        format!("{first}\n{middle}{last}\n")
    };
    let sandbox = Sandbox::with_files(&[("a", &lines("one", "two"))]);
    sandbox.mirror(["init"]).succeeded();
    staged(&sandbox, "a", &lines("agent", "two"), &["--branch"]);
    sandbox.write("a", lines("one", "user"));
    sandbox.git(["commit", "-qam", "user"]);
    commit(&sandbox).succeeded();
    assert_eq!(sandbox.read("a"), lines("agent", "user"));
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_eq!(sandbox.git(["log", "-1", "--format=%P"]).split(' ').count(), 2);
}

#[test]
fn a_merge_driver_of_the_repository_decides() {
    let sandbox = Sandbox::with_files(&[("list", "one\n"), (".gitattributes", "list merge=union\n")]);
    sandbox.mirror(["init"]).succeeded();
    staged(&sandbox, "list", "one\nagent\n", &["--branch"]);
    sandbox.write("list", "one\nuser\n");
    sandbox.git(["commit", "-qam", "user"]);
    commit(&sandbox).succeeded();
    assert_eq!(sandbox.read("list"), "one\nuser\nagent\n");
}

#[test]
fn filters_and_line_ends_give_what_git_itself_would_store() {
    for branch in [&[][..], &["--branch"]] {
        let sandbox = Awkward::Conversions.build();
        sandbox.mirror(["init"]).succeeded();
        for path in sandbox
            .git(["ls-files"])
            .lines()
            .filter(|path| *path != ".gitattributes")
        {
            let bytes = std::fs::read(sandbox.path(path)).unwrap();
            let more = if path.contains("utf16") {
                "more\r\nand more\n"
                    .encode_utf16()
                    .flat_map(u16::to_le_bytes)
                    .collect()
            } else {
                b"more\r\nand more\n".to_vec()
            };
            let changed = [bytes, more].concat();
            sandbox
                .mirror(["begin", "-t", "agent", "-w", path].iter().chain(branch))
                .succeeded();
            let stage = sandbox.mirror_program().args(["stage", "-t", "agent", path]);
            stage.input(changed.clone()).run().succeeded();
            commit(&sandbox).succeeded();
            let stored = sandbox.git(["rev-parse", &format!("HEAD:{path}")]);
            let copy = sandbox.beside("copy");
            std::fs::write(&copy, &changed).unwrap();
            let expected = sandbox.git(["hash-object", "--path", path, copy.to_str().unwrap()]);
            assert_eq!(stored, expected, "{path} {branch:?}");
            assert_eq!(sandbox.git(["status", "--porcelain"]), "", "{path} {branch:?}");
        }
    }
}

#[test]
fn what_is_there_already_is_nothing_to_commit() {
    let sandbox = repository();
    sandbox.mirror(["begin", "-t", "agent", "-w", "a"]).succeeded();
    let nothing = commit(&sandbox).exited(2);
    assert!(
        nothing.stderr().contains("mirror stage -t agent"),
        "{}",
        nothing.text()
    );
    let stage = sandbox.mirror_program().args(["stage", "-t", "agent", "a"]);
    let same = stage.input("old\n").run().succeeded();
    assert!(same.stdout().contains("Nothing staged"), "{}", same.text());
}

/// Git reads the index before it locks it. A `git commit` that began before one of ours and ended after it writes back
/// the entries that ours had replaced, and the next commit of the path took them for the user's own.
/// As on file systems on which everything is executable.
#[test]
fn who_may_execute_is_git_s_where_the_file_system_is_not_trusted() {
    let sandbox = Sandbox::with_files(&[("a", "old\n"), ("b", "old\n"), ("d/c", "old\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox.git(["update-index", "--chmod=+x", "b"]);
    sandbox.git(["commit", "-qm", "b"]);
    sandbox.git(["config", "core.fileMode", "false"]);
    sandbox.shell("chmod -R 777 a b d/c");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    staged(&sandbox, "a", "new\n", &["-w", "b"]);
    sandbox.stage("agent", "b", "new\n");
    sandbox.shell("chmod 666 b");
    commit(&sandbox).succeeded();
    let change = "echo new > d/c; echo new > d/new; chmod -R 777 d";
    for branch in [None, Some("--branch")] {
        let run = ["run", "-w", "d/", "-m", "x"];
        let words = run
            .iter()
            .copied()
            .chain(branch)
            .chain(["--", "sh", "-c", change]);
        let ran = sandbox.mirror(words).succeeded();
        assert!(!ran.text().contains("as long as"), "{ran}");
        sandbox.shell("chmod -R 777 d");
    }
    let modes = "git ls-tree -r HEAD | cut -c1-6,53-";
    assert_eq!(
        sandbox.shell(modes),
        "100644\ta\n100755\tb\n100644\td/c\n100644\td/new\n"
    );
    // Who asks for it gets it.
    sandbox.shell("chmod 777 b");
    sandbox.mirror(["begin", "-t", "agent", "-w", "b"]).succeeded();
    sandbox
        .mirror(["stage", "-t", "agent", "--chmod", "-x", "b"])
        .succeeded();
    commit(&sandbox).succeeded();
    assert!(sandbox.shell(modes).contains("100644\tb"));
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    sandbox.mirror(["doctor"]).succeeded();
}

#[test]
fn an_index_that_git_has_set_back_is_nobodys_work() {
    let sandbox = repository();
    staged(&sandbox, "a", "first\n", &[]);
    let index = std::fs::read(sandbox.path(".git/index")).unwrap();
    commit(&sandbox).succeeded();
    sandbox.write(".git/index", index);
    assert_eq!(sandbox.git(["diff", "--cached", "--name-only"]), "a");

    staged(&sandbox, "a", "second\n", &[]);
    commit(&sandbox).succeeded();
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_eq!(sandbox.git(["show", "HEAD:a"]), "second");
}

#[test]
fn an_empty_message_is_refused_as_git_refuses_it() {
    let sandbox = repository();
    staged(&sandbox, "a", "new\n", &[]);
    let refused = sandbox.mirror(["commit", "-t", "agent", "-m", " \n"]).exited(2);
    assert!(
        refused.stderr().contains("message is empty"),
        "{}",
        refused.text()
    );
    assert_eq!(sandbox.read("a"), "old\n");
}

#[test]
fn a_validation_sees_the_exact_result_and_decides() {
    let sandbox = repository();
    staged(&sandbox, "a", "agent\n", &["--branch"]);
    sandbox.write("b", "moved on\n");
    sandbox.git(["commit", "-qam", "user"]);
    let validated =
        |command: &str| sandbox.mirror(["commit", "-t", "agent", "-m", "x", "--validate", command]);
    let refused = validated("exit 3").exited(6);
    assert!(refused.stderr().contains("exit"), "{}", refused.text());
    assert_eq!(sandbox.read("a"), "old\n");
    // The merged tree: the task's change beside the target's own.
    validated("test \"$(cat a b d/x)\" = 'agent\nmoved on\nold'").succeeded();
    assert_eq!(sandbox.read("a"), "agent\n");
}

#[test]
fn an_operation_of_git_that_stopped_halfway_is_in_the_way() {
    let sandbox = Awkward::MergeInProgress.build();
    sandbox.mirror(["init"]).succeeded();
    sandbox
        .mirror(["begin", "-t", "agent", "-w", "fresh"])
        .succeeded();
    let stage = sandbox.mirror_program().args(["stage", "-t", "agent", "fresh"]);
    stage.input("new\n").run().succeeded();
    let refused = commit(&sandbox).exited(5);
    assert!(refused.stderr().contains("--abort"), "{}", refused.text());
}

#[test]
fn a_target_that_is_checked_out_elsewhere_is_named() {
    let sandbox = repository();
    sandbox.git(["switch", "-qc", "mine"]);
    sandbox.git(["worktree", "add", "-q", "../linked", "main"]);
    staged(&sandbox, "a", "new\n", &["--branch", "--into", "main"]);
    let refused = commit(&sandbox).exited(5);
    let linked = sandbox.beside("linked");
    assert!(
        refused.stderr().contains(linked.to_str().unwrap()),
        "{}",
        refused.text()
    );
    // The hint is true: from there it lands.
    let commit = sandbox
        .mirror_program()
        .at(&linked)
        .args(["commit", "-t", "agent", "-m", "x"]);
    commit.run().succeeded();
    assert_eq!(std::fs::read_to_string(linked.join("a")).unwrap(), "new\n");
    assert_eq!(sandbox.read("a"), "old\n");
}

#[test]
fn a_commit_without_a_message_leaves_git_to_the_user() {
    let sandbox = repository();
    staged(&sandbox, "a", "new\n", &[]);
    sandbox.mirror(["commit", "-t", "agent"]).succeeded();
    assert_eq!(sandbox.git(["status", "--porcelain"]), " M a");
    assert_eq!(sandbox.read("a"), "new\n");
}

#[test]
fn odd_names_and_every_kind_of_file_survive() {
    for kind in [Awkward::OddNames, Awkward::EveryKind] {
        let sandbox = kind.build();
        sandbox.mirror(["init"]).succeeded();
        sandbox.shell("cp -a . ../copy; rm -rf ../copy/.git ../copy/.mirror");
        sandbox.mirror(["begin", "-t", "agent", "-w", "."]).succeeded();
        // Everything goes, and then everything comes back.
        sandbox.shell("mkdir ../empty; cp .gitattributes .gitignore ../empty 2>/dev/null || :");
        let tree = |name: &str| sandbox.beside(name).to_str().unwrap().to_owned();
        sandbox
            .mirror(["stage", "-t", "agent", "--tree", &tree("empty")])
            .succeeded();
        commit(&sandbox).succeeded();
        sandbox.mirror(["begin", "-t", "agent", "-w", "."]).succeeded();
        sandbox
            .mirror(["stage", "-t", "agent", "--tree", &tree("copy")])
            .succeeded();
        commit(&sandbox).succeeded();
        assert_eq!(sandbox.git(["diff", "HEAD~2", "HEAD"]), "", "{kind:?}");
        assert_eq!(sandbox.git(["status", "--porcelain"]), "", "{kind:?}");
        sandbox.git(["fsck", "--strict"]);
    }
}

#[test]
fn foreign_bytes_that_slip_in_are_kept_and_reported() {
    let sandbox = repository();
    staged(&sandbox, "a", "agent\n", &[]);
    // Stopped between the last look and the exchange, while an editor saves.
    let commit = sandbox
        .mirror_program()
        .env("MIRROR_FAULT", "commit.decided=stop");
    let running = commit
        .args(["commit", "-t", "agent", "-m", "x", "--json"])
        .start();
    running.until_stopped();
    sandbox.write("a", "typed a moment ago\n");
    running.resume();
    let receipt = running.finish().succeeded().json();
    assert_eq!(receipt["quarantined"], serde_json::json!(["a"]));
    assert_eq!(sandbox.read("a"), "agent\n");
    let kept = sandbox.shell("cat $(find .mirror/quarantine -type f)");
    assert_eq!(kept, "typed a moment ago\n");
}

#[test]
fn eight_workers_at_once_lose_nothing() {
    let sandbox = repository();
    crate::support::at_once(8, |worker| {
        let name = format!("agent-{worker}");
        for round in 0..4 {
            let shared = sandbox.mirror([
                "begin",
                "-t",
                &name,
                "-w",
                "a",
                "-w",
                &format!("own-{worker}"),
                "--wait",
                "5m",
            ]);
            shared.succeeded();
            let count = sandbox.read("a").lines().count();
            let more = format!("{}{count} {name}\n", sandbox.read("a"));
            let stage = |path: &str, content: &str| {
                let stage = sandbox.mirror_program().args(["stage", "-t", &name, path]);
                stage.input(content).run().succeeded();
            };
            stage("a", &more);
            stage(&format!("own-{worker}"), &format!("{round}\n"));
            sandbox.mirror(["commit", "-t", &name, "-m", "count"]).succeeded();
        }
    });
    let lines = sandbox.read("a");
    assert_eq!(lines.lines().count(), 33, "{lines}");
    for (number, line) in lines.lines().enumerate().skip(1) {
        assert!(line.starts_with(&format!("{number} ")), "{line}");
    }
    assert_eq!(sandbox.git(["log", "--oneline"]).lines().count(), 33);
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    sandbox.mirror(["doctor"]).succeeded();
}

/// A decided commit whose process was killed, after which the user went to another branch.
fn forced_elsewhere() -> Sandbox {
    let sandbox = repository();
    staged(&sandbox, "a", "agent\n", &[]);
    let commit = sandbox
        .mirror_program()
        .env("MIRROR_FAULT", "commit.decided=kill");
    commit.args(["commit", "-t", "agent", "-m", "by the agent"]).run();
    // Git allows it without the index.
    sandbox.git(["switch", "-q", "-c", "elsewhere"]);
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(status["tasks"][0]["state"], "conflict");
    // Nothing more happens by itself, and git is free for the way out.
    assert!(!sandbox.exists(".git/index.lock") && !sandbox.exists(".git/refs/heads/main.lock"));
    assert_eq!(sandbox.read("a"), "old\n");
    let doctor = sandbox.mirror(["doctor"]).exited(7);
    assert!(
        doctor.stdout().contains("mirror recover") && doctor.stdout().contains("mirror rollback -t agent")
    );
    sandbox
}

#[test]
fn a_decided_commit_that_was_left_behind_is_completed_when_the_user_comes_back() {
    let sandbox = forced_elsewhere();
    let still = sandbox.mirror(["recover", "--json"]).json();
    assert_eq!(still["finished"], serde_json::json!([]), "{still}");
    sandbox.git(["switch", "-q", "main"]);
    let recovered = sandbox.mirror(["recover", "--json"]).succeeded().json();
    assert_eq!(recovered["finished"].as_array().unwrap().len(), 1);
    assert_eq!(sandbox.read("a"), "agent\n");
    assert_eq!(sandbox.git(["log", "-1", "--format=%s"]), "by the agent");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    sandbox.mirror(["doctor"]).succeeded();
}

#[test]
fn a_decided_commit_that_was_left_behind_may_be_given_up_and_all_of_it_is_kept() {
    let sandbox = forced_elsewhere();
    let given_up = sandbox.mirror(["rollback", "-t", "agent"]).succeeded();
    assert!(
        given_up.stderr().contains(".mirror/quarantine"),
        "{}",
        given_up.text()
    );
    let kept = sandbox.shell("cat $(find .mirror/quarantine -path '*/s/*' -type f)");
    assert_eq!(kept, "agent\n");
    assert_eq!(
        sandbox.mirror(["status", "--json"]).json()["tasks"],
        serde_json::json!([])
    );
    assert_eq!(sandbox.read("a"), "old\n");
    sandbox.mirror(["begin", "-t", "next", "-w", "a"]).succeeded();
}

#[test]
fn a_directory_that_the_file_system_does_not_move_still_gives_way_to_a_file() {
    let sandbox = repository();
    sandbox.mirror(["begin", "-t", "agent", "-w", "d/"]).succeeded();
    sandbox
        .mirror(["stage", "-t", "agent", "--delete", "d/x"])
        .succeeded();
    let stage = sandbox.mirror_program().args(["stage", "-t", "agent", "d"]);
    stage.input("a file now\n").run().succeeded();
    // What overlayfs answers for a directory of a lower layer.
    let commit = sandbox
        .mirror_program()
        .env("MIRROR_FAULT", "apply.exchange=error:EXDEV");
    commit
        .args(["commit", "-t", "agent", "-m", "x"])
        .run()
        .succeeded();
    assert_eq!(sandbox.read("d"), "a file now\n");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
}
