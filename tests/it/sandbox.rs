//! The tests' own ground: a sandbox that leaked, or a runner that missed an end, would make every other test lie.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Awkward, Sandbox, at_once, project};

#[test]
fn programs_see_the_sandbox_and_nothing_else() {
    let sandbox = Sandbox::repository();
    let variables = sandbox
        .shell("env | sed 's/=.*//' | grep -v -e '^LLVM_PROFILE_FILE$' -e '^_$' | sort | tr '\\n' ' '");
    assert_eq!(
        variables,
        "GIT_AUTHOR_DATE GIT_CEILING_DIRECTORIES GIT_COMMITTER_DATE GIT_CONFIG_GLOBAL GIT_CONFIG_NOSYSTEM \
         GIT_TERMINAL_PROMPT HOME LC_ALL PATH PWD TMPDIR TZ "
    );
    assert_eq!(
        sandbox.git(["log", "--format=%an %ae %s %ct %D"]),
        "Test User test@example.com first 1700000000 HEAD -> main"
    );
    assert_eq!(
        sandbox.git(["rev-parse", "--show-toplevel"]),
        sandbox.root().to_str().unwrap()
    );
    let origins = sandbox.git(["config", "--list", "--show-origin"]);
    let foreign = origins
        .lines()
        .filter(|line| !line.starts_with("file:.git/config") && !line.contains("home/.gitconfig"));
    assert_eq!(foreign.collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(sandbox.git_config().starts_with(sandbox.home()));
}

#[test]
fn a_directory_without_git_lies_in_no_repository() {
    let sandbox = Sandbox::directory();
    sandbox.try_git(["rev-parse", "--git-dir"]).exited(128);
}

#[test]
fn what_a_program_leaves_is_one_text() {
    let sandbox = Sandbox::directory();
    std::fs::create_dir(sandbox.beside("other")).unwrap();
    let script = "cat; pwd >&2; printf '{\"a\": \"%s\"}' \"$WORD\"; exit 3";
    let finished = sandbox
        .program("sh")
        .args(["-c", script])
        .env("WORD", "b")
        .input("in\n")
        .at(sandbox.beside("other"))
        .run();
    assert_eq!(
        finished.clone().exited(3).text(),
        format!(
            "$ sh -c {script}\n--- stdout\nin\n{{\"a\": \"b\"}}[no line end]\n--- stderr\n[SANDBOX]/other\n--- exit 3\n"
        )
    );
    assert_eq!(finished.stdout_bytes(), b"in\n{\"a\": \"b\"}");
    assert!(finished.stderr().ends_with("/other\n"));
    let document = |stream: &str| {
        sandbox
            .program("sh")
            .args(["-c", &format!("echo '[1]' {stream}")])
            .run()
    };
    assert_eq!(document("").json(), document(">&2").error_json());
}

#[test]
fn files_keep_their_bytes_and_modes() {
    let sandbox = Sandbox::unborn();
    sandbox.write_executable("bin/tool", "#!/bin/sh\necho ran\n");
    assert_eq!(sandbox.read("bin/tool"), "#!/bin/sh\necho ran\n");
    assert_eq!(
        sandbox.path("bin/tool").metadata().unwrap().permissions().mode() & 0o777,
        0o755
    );
    assert!(sandbox.exists("bin") && !sandbox.exists("lib"));
    let commit = sandbox.commit_all("tool");
    assert_eq!(
        sandbox.git(["ls-tree", "-r", "--format=%(objectmode) %(path)", &commit]),
        "100755 bin/tool"
    );
}

#[test]
fn a_running_program_can_be_heard_stopped_and_killed() {
    let sandbox = Sandbox::directory();
    let script = "echo ready; echo trouble >&2; kill -STOP $$; echo resumed; exec cat /dev/zero >/dev/null";
    let running = sandbox.program("sh").args(["-c", script]).start();
    running.until_stdout("ready");
    running.until_stderr("trouble");
    running.until_stopped();
    running.resume();
    running.until_stdout("resumed");
    assert!(running.pid() > 1);
    let finished = running.kill();
    assert_eq!(
        (finished.code(), finished.stdout().as_str()),
        (None, "ready\nresumed\n")
    );
}

#[test]
fn a_crowd_begins_together_and_answers_in_order() {
    let sandbox = Sandbox::directory();
    let answers = at_once(8, |index| {
        sandbox
            .program("echo")
            .args([index.to_string()])
            .run()
            .succeeded()
            .stdout()
    });
    assert_eq!(answers.concat(), "0\n1\n2\n3\n4\n5\n6\n7\n");
}

#[test]
fn the_binary_under_test_is_at_hand() {
    let sandbox = Sandbox::directory();
    sandbox.mirror(["--version"]).succeeded();
}

#[test]
fn every_awkward_repository_can_be_made_and_no_script_is_left_over() {
    for awkward in Awkward::ALL {
        let sandbox = awkward.build();
        assert!(sandbox.exists(".git") || awkward == Awkward::Bare, "{awkward:?}");
    }
    let mut scripts: Vec<_> = std::fs::read_dir(project("fixtures/repos"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    scripts.sort();
    let mut named = Awkward::ALL.map(|awkward| awkward.script().to_owned());
    named.sort();
    assert_eq!(scripts, named);
}
