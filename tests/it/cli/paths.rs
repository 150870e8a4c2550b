//! What users type, and which locks come out of it.

use std::os::unix::fs::symlink;
use std::path::Path;

use rstest::rstest;

use crate::cli::{assert_left, initialised};
use crate::support::{Awkward, Sandbox};

/// Begins a task in `directory` with these arguments and returns its locks, such as `write file:a`.
fn locks_at(sandbox: &Sandbox, directory: &Path, arguments: &[&str]) -> Vec<String> {
    let words = ["begin", "--json", "-t", "a"].iter().chain(arguments);
    let left = sandbox
        .mirror_program()
        .args(words)
        .at(directory)
        .run()
        .succeeded();
    let document = left.json();
    let locks = document["locks"].as_array().unwrap().iter();
    let text = |lock: &serde_json::Value, key: &str| lock[key].as_str().unwrap().to_owned();
    locks
        .map(|lock| format!("{} {}", text(lock, "mode"), text(lock, "resource")))
        .collect()
}

fn locks(arguments: &[&str]) -> Vec<String> {
    let sandbox = initialised();
    locks_at(&sandbox, &sandbox.root(), arguments)
}

#[rstest]
#[case::plain(&["-w", "src/a.rs"], &["write file:src/a.rs"])]
#[case::roundabout(&["-w", "./src//ui/../a.rs"], &["write file:src/a.rs"])]
#[case::not_there_yet(&["-w", "new/x.rs"], &["write file:new/x.rs"])]
#[case::existing_directory(&["-w", "src"], &["write dir:src/"])]
#[case::slash(&["-w", "new/"], &["write dir:new/"])]
#[case::root(&["-r", "."], &["read dir:./"])]
#[case::stronger_mode_wins(&["-r", "README", "-w", "README"], &["write file:README"])]
#[case::pattern(&["-w", "src/**/*.ts"], &["write file:src/ui/b.ts", "write file:src/ui/deep/c.ts"])]
#[case::pattern_of_one_level(&["-w", "src/ui/*"], &["write file:src/ui/b.ts"])]
#[case::escaped(&["-w", r"src/\[id\].ts"], &["write file:src/[id].ts"])]
#[case::service(&["-s", "database"], &["write service:database"])]
#[case::service_for_reading(&["-r", "service:database:5432"], &["read service:database:5432"])]
#[case::what_status_shows(&["-w", "dir:src/", "-r", "file:README"], &["read file:README", "write dir:src/"])]
fn what_is_typed_becomes_locks(#[case] arguments: &[&str], #[case] expected: &[&str]) {
    assert_eq!(locks(arguments), expected);
}

#[test]
fn the_same_file_gives_the_same_lock_from_everywhere() {
    let expected = ["write file:src/a.rs"];
    let sandbox = initialised();
    let absolute = sandbox.path("src/a.rs");
    let elsewhere = sandbox.beside("elsewhere");
    symlink(sandbox.root(), &elsewhere).unwrap();
    symlink("src", sandbox.path("link")).unwrap();
    let through_link = elsewhere.join("src/a.rs");
    let again = |directory: &Path, typed: &Path| {
        let found = locks_at(&sandbox, directory, &["-w", typed.to_str().unwrap()]);
        sandbox.mirror(["rollback", "-t", "a"]).succeeded();
        found
    };
    assert_eq!(again(&sandbox.path("src/ui"), Path::new("../a.rs")), expected);
    assert_eq!(again(&sandbox.root(), &absolute), expected);
    assert_eq!(again(&sandbox.path("src"), &through_link), expected);
    assert_eq!(again(&elsewhere.join("src"), Path::new("a.rs")), expected);
    assert_eq!(again(&sandbox.root(), Path::new("link/a.rs")), expected);
    assert_eq!(again(&sandbox.path("src"), Path::new("file:src/a.rs")), expected);
    // The link itself is a file like any other.
    assert_eq!(again(&sandbox.root(), Path::new("link")), ["write file:link"]);
}

#[test]
fn a_pattern_starts_where_the_user_stands() {
    let sandbox = initialised();
    assert_eq!(
        locks_at(
            &sandbox,
            &sandbox.path("src/ui"),
            &["-w", "../*.rs", "-r", "deep/*"]
        ),
        ["write file:src/a.rs", "read file:src/ui/deep/c.ts"]
    );
}

#[test]
fn the_option_c_is_where_the_user_stands() {
    let sandbox = initialised();
    let left = sandbox
        .mirror(["-C", "src/ui", "begin", "-q", "-t", "a", "-w", "b.ts"])
        .succeeded();
    assert_eq!(left.stdout(), "a\n");
    let who = sandbox
        .mirror(["who", "--json", "src/ui/b.ts"])
        .succeeded()
        .json();
    assert_eq!(who[0]["holders"][0]["task"], "a");
}

#[test]
fn a_linked_worktree_has_the_same_names() {
    let sandbox = Awkward::LinkedWorktree.build();
    sandbox.mirror(["init"]).succeeded();
    let linked = sandbox.beside("linked");
    assert_eq!(locks_at(&sandbox, &linked, &["-w", "new"]), ["write file:new"]);
    let left = sandbox.mirror(["begin", "-t", "b", "-w", "new"]).exited(3);
    assert!(left.stderr().contains("file:new is held by a"), "{left}");
}

#[test]
fn names_fold_where_git_ignores_case() {
    let sandbox = initialised();
    sandbox.git(["config", "core.ignorecase", "true"]);
    assert_eq!(
        locks_at(&sandbox, &sandbox.root(), &["-w", "Src/A.rs"]),
        ["write file:src/a.rs"]
    );
}

#[test]
fn directories_reach_one_level_if_the_configuration_says_so() {
    let sandbox = initialised();
    sandbox.write(
        ".mirror/config.yaml",
        "resource_manager: {strategies: {directories: {recursive_default: false, ignore_patterns: [deep]}}}\n",
    );
    assert_eq!(
        locks_at(&sandbox, &sandbox.root(), &["-w", "src", "-r", "src/**/*.ts"]),
        ["read file:src/ui/b.ts", "write dir:src/*"]
    );
}

#[test]
fn what_git_ignores_is_not_expanded() {
    let sandbox = initialised();
    sandbox.write(".gitignore", "b.ts\n");
    assert_eq!(
        locks_at(&sandbox, &sandbox.root(), &["-w", "src/**/*.ts"]),
        ["write file:src/ui/deep/c.ts"]
    );
}

#[test]
fn an_odd_name_that_exists_is_no_pattern() {
    let sandbox = initialised();
    sandbox.write("src/[a].rs", "");
    assert_eq!(
        locks_at(&sandbox, &sandbox.root(), &["-w", "src/[a].rs"]),
        ["write file:src/[a].rs"]
    );
}

#[rstest]
#[case::above("../x")]
#[case::absolute("/etc/passwd")]
#[case::git(".git/config")]
#[case::git_alias("sub/.GIT/x")]
#[case::mirror(".mirror")]
#[case::empty("")]
#[case::bad_pattern("src/[a")]
#[case::no_match("src/**/*.py")]
fn what_cannot_be_locked_is_refused(#[case] typed: &str) {
    let sandbox = initialised();
    let left = sandbox.mirror(["begin", "-t", "a", "-w", typed]).exited(2);
    assert!(left.stderr().starts_with("Error: "), "{left}");
    assert!(left.stderr().contains("\nHint: "), "{left}");
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(status["tasks"], serde_json::json!([]));
}

#[test]
fn a_path_outside_names_the_root() {
    let sandbox = initialised();
    assert_left!(sandbox.mirror(["begin", "-t", "a", "-w", "../other"]), @"
    $ mirror begin -t a -w ../other
    --- stderr
    Error: ../other is outside the repository [SANDBOX]/root
    Hint: Name a path below [SANDBOX]/root
    --- exit 2
    ");
}

#[test]
fn a_pattern_without_a_match_says_how_to_lock_files_yet_to_come() {
    let sandbox = initialised();
    assert_left!(sandbox.mirror(["begin", "-t", "a", "-w", "src/**/*.py"]), @r"
    $ mirror begin -t a -w src/**/*.py
    --- stderr
    Error: No file matches src/**/*.py
    Hint: For files yet to come lock their directory, as in `-w src/`; a \ makes a special character plain
    --- exit 2
    ");
    let nowhere = sandbox
        .mirror(["begin", "-t", "a", "-w", "nowhere/*.py"])
        .exited(2)
        .stderr();
    assert!(
        nowhere.starts_with("Error: No file matches nowhere/*.py\nHint: For files yet to come"),
        "{nowhere}"
    );
}

#[test]
fn a_symlink_that_leads_outside_is_refused() {
    let sandbox = initialised();
    symlink("/etc", sandbox.path("out")).unwrap();
    sandbox.mirror(["begin", "-t", "a", "-w", "out/passwd"]).exited(2);
}

#[rstest]
#[case::nothing(&["stage", "-t", "a", "--delete", "nothing"], "`git ls-files` lists what there is")]
#[case::not_staged(&["unstage", "-t", "a", "src/a.rs"], "`mirror show -t ID` lists what is staged")]
#[case::taken(&["stage", "-t", "a", "--move", "src/a.rs", "README"], "`mirror stage -t ID --delete README`")]
#[case::fifo(&["stage", "-t", "a", "pipe", "--from", "README"], "`mv pipe ..` puts it out of the way")]
#[case::unread(&["stage", "-t", "a", "new", "--from", "src/nowhere"], "`ls -la [SANDBOX]/root/src` shows what there is")]
#[case::dash(&["lock", "-t", "a", "-w", "-dash.txt"], "If -dash.txt is the value of -w: -w=-dash.txt (or -w ./-dash.txt)")]
#[case::dashed_message(&["commit", "-t", "a", "-m", "-x y"], "If -x y is the value of -m: '-m=-x y'")]
#[case::message(&["commit", "-t", "a", "-m", " "], "Say what it is about, as in `-m ")]
fn what_is_refused_has_a_hint(#[case] arguments: &[&str], #[case] hint: &str) {
    let sandbox = initialised();
    sandbox.shell("mkfifo pipe");
    sandbox.mirror(["begin", "-t", "a", "-w", "."]).succeeded();
    let left = sandbox.mirror(arguments).exited(2).text();
    assert!(left.contains("Hint: ") && left.contains(hint), "{left}");
}

#[test]
fn a_name_of_two_lines_can_be_pasted_from_the_hint() {
    let sandbox = initialised();
    sandbox.mirror(["begin", "-t", "a", "-w", "src/"]).succeeded();
    let stage = ["stage", "-t", "a", "new\nline's.txt"];
    let refused = sandbox
        .mirror_program()
        .args(stage)
        .input("x")
        .run()
        .exited(5)
        .stderr();
    let hint = refused.split('`').nth(1).unwrap();
    assert_eq!(hint, r"mirror lock -t a -w $'new\nline\'s.txt'");
    let typed = hint.replacen("mirror", env!("CARGO_BIN_EXE_mirror"), 1);
    sandbox.program("bash").args(["-c", &typed]).run().succeeded();
    sandbox.mirror_program().args(stage).input("x").run().succeeded();
    let held = sandbox
        .mirror(["begin", "-t", "b", "-w", "new\nline's.txt"])
        .exited(3)
        .stderr();
    let hint = held.split("gone for good: `").nth(1).unwrap();
    let typed = hint
        .split('`')
        .next()
        .unwrap()
        .replacen("mirror", env!("CARGO_BIN_EXE_mirror"), 1);
    sandbox.program("bash").args(["-c", &typed]).run().succeeded();
}
