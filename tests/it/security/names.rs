//! Names that are meant to reach what is not theirs: git's own directory, mirror's, the outside, the command line of git.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::time::Duration;

use rstest::rstest;

use crate::support::Sandbox;

/// A repository with one file, a task `t` that may write everywhere, and bytes to stage beside it.
fn with_task() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("f", "one\n"), ("d/g", "two\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox.mirror(["begin", "-t", "t", "-w", "."]).succeeded();
    fs::write(sandbox.beside("new"), "new\n").unwrap();
    sandbox
}

fn staged(sandbox: &Sandbox) -> serde_json::Value {
    sandbox.mirror(["show", "-t", "t", "--json"]).succeeded().json()["changes"].clone()
}

/// What is in git's directory and in mirror's skeleton, apart from what a look changes.
fn guarded(sandbox: &Sandbox) -> String {
    sandbox.shell("find .git .mirror/.git .mirror/format .mirror/config.yaml -type f 2>/dev/null | sort | xargs sha256sum")
}

const ALIASES: &[&str] = &[
    ".git",
    ".GIT",
    ".Git/config",
    ".git.",
    ".git ",
    ".git. .",
    "git~1",
    "GIT~1/hooks/pre-commit",
    "git~2",
    ".git::$INDEX_ALLOCATION",
    ".git:x",
    "d/.git/config",
    "d\\.git\\config",
    ".git\\config",
    ".g\u{200c}it/config",
    ".\u{feff}git",
    ".git\u{200d}",
    ".g\u{ad}it",
    ".gi\u{fe0f}t",
    ".\u{ff47}it",
    ".mirror",
    ".MIRROR/registry.db",
    ".mirror.",
    "mirror~1",
    ".mirror::$DATA",
    ".mir\u{200b}ror/config.yaml",
    "d/.mirror/x",
];

#[test]
fn no_spelling_of_git_or_mirror_is_taken_in() {
    let sandbox = with_task();
    let before = guarded(&sandbox);
    let new = sandbox.beside("new").to_str().unwrap().to_owned();
    for alias in ALIASES {
        let nested = format!("{alias}/x");
        for arguments in [
            &["stage", "-t", "t", alias, "--from", &new][..],
            &["stage", "-t", "t", &nested, "--from", &new],
            &["stage", "-t", "t", alias, "--symlink", "f"],
            &["stage", "-t", "t", "--delete", alias],
            &["stage", "-t", "t", "--move", "f", alias],
            &["stage", "-t", "t", "--move", alias, "h"],
            &["stage", "-t", "t", "--chmod", "+x", alias],
            &["begin", "-t", "u", "-w", alias],
            &["lock", "-t", "t", "-r", alias],
            &["who", alias],
        ] {
            let left = sandbox.mirror(arguments).exited(2);
            assert!(left.stderr().starts_with("Error: "), "{left}");
        }
    }
    assert_eq!(staged(&sandbox), serde_json::json!([]));
    assert_eq!(guarded(&sandbox), before);
}

#[test]
fn no_diff_and_no_directory_brings_one_in() {
    let sandbox = with_task();
    let before = guarded(&sandbox);
    for name in ALIASES
        .iter()
        .chain(&["../escape", "/tmp/escape", "d/../../escape"])
    {
        let quoted = name.replace('\\', "\\\\");
        for diff in [
            format!("--- /dev/null\n+++ \"b/{quoted}\"\n@@ -0,0 +1 @@\n+hostile\n"),
            format!(
                "diff --git \"a/f\" \"b/{quoted}\"\nsimilarity index 100%\nrename from f\nrename to \"{quoted}\"\n"
            ),
            format!(
                "diff --git \"a/{quoted}\" \"b/{quoted}\"\nnew file mode 120000\n--- /dev/null\n+++ \"b/{quoted}\"\n\
                 @@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n"
            ),
        ] {
            let patched = sandbox
                .mirror_program()
                .args(["stage", "-t", "t", "--patch", "-"]);
            let left = patched.input(diff).run().exited(2);
            assert!(left.stderr().starts_with("Error: "), "{left}");
        }
        // As a directory to take over, where the file system has such a name at all.
        let tree = sandbox.beside("tree");
        if !name.starts_with(['/', '.']) && !name.contains('/') {
            fs::create_dir_all(tree.join(name)).unwrap();
            fs::write(tree.join(name).join("x"), "hostile").unwrap();
            let left = sandbox
                .mirror(["stage", "-t", "t", "--tree", tree.to_str().unwrap()])
                .exited(2);
            assert!(left.stderr().starts_with("Error: "), "{left}");
            fs::remove_dir_all(&tree).unwrap();
        }
    }
    assert_eq!(staged(&sandbox), serde_json::json!([]));
    assert_eq!(guarded(&sandbox), before);
    assert!(!sandbox.beside("escape").exists());
}

#[rstest]
#[case::plain(".gitmodules")]
#[case::folded("d/.GITMODULES")]
#[case::dots(".gitmodules. ")]
#[case::short("gitmod~1")]
#[case::fallback("GI7EBA~1")]
#[case::ignored(".git\u{200c}modules")]
fn a_symlink_never_stands_for_gitmodules(#[case] name: &str) {
    let sandbox = with_task();
    let left = sandbox
        .mirror(["stage", "-t", "t", name, "--symlink", "f"])
        .exited(2);
    assert!(
        left.stderr().contains("a symlink that stands for .gitmodules"),
        "{left}"
    );
    symlink("f", sandbox.path("link")).unwrap();
    sandbox
        .mirror(["stage", "-t", "t", "--move", "link", name])
        .exited(2);
    assert_eq!(staged(&sandbox), serde_json::json!([]));
    // A file of this name is git's list of submodules, as ever.
    let new = sandbox.beside("new");
    sandbox
        .mirror(["stage", "-t", "t", name, "--from", new.to_str().unwrap()])
        .succeeded();
}

#[test]
fn a_symlink_for_gitmodules_in_the_target_is_never_checked_out() {
    let sandbox = with_task();
    sandbox.mirror(["rollback", "-t", "t"]).succeeded();
    sandbox
        .mirror(["begin", "-t", "b", "-w", "f", "--branch"])
        .succeeded();
    sandbox.stage("b", "f", "x\n");
    // Git itself refuses to make such a commit, so a hostile one is put together by hand.
    sandbox.shell(
        "blob=$(printf /etc/passwd | git hash-object -w --stdin)
         tree=$( (git ls-tree HEAD; printf '120000 blob %s\\t.gitmodules\\n' $blob) | git mktree)
         git update-ref refs/heads/main $(git commit-tree -p HEAD -m hostile $tree)",
    );
    sandbox.mirror(["commit", "-t", "b", "-m", "m"]).succeeded();
    assert!(!sandbox.exists(".gitmodules"));
    assert_eq!(sandbox.read("f"), "x\n");
}

#[test]
fn names_that_are_one_where_case_does_not_count_are_refused_together() {
    let sandbox = with_task();
    sandbox.git(["config", "core.ignorecase", "true"]);
    let new = sandbox.beside("new");
    let stage = |path: &str| sandbox.mirror(["stage", "-t", "t", path, "--from", new.to_str().unwrap()]);
    for (first, second) in [
        ("README", "readme"),
        ("\u{c4}b", "\u{e4}B"),
        ("K", "\u{212a}"),
        ("x/Y", "X/y"),
    ] {
        stage(first).succeeded();
        let left = stage(second).exited(2);
        assert!(
            left.stderr().contains("core.ignorecase makes them one name"),
            "{left}"
        );
        sandbox.mirror(["unstage", "-t", "t", first]).succeeded();
    }
    // A rename that changes nothing but the case is one name after another, not two at once.
    sandbox
        .mirror(["stage", "-t", "t", "--move", "f", "F"])
        .succeeded();
    sandbox.mirror(["commit", "-t", "t", "-m", "case"]).succeeded();
    assert_eq!(sandbox.git(["ls-files"]), "F\nd/g");
}

#[test]
fn locks_of_names_that_differ_only_in_case_are_one_lock_there() {
    let sandbox = Sandbox::repository();
    sandbox.git(["config", "core.ignorecase", "true"]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
        .mirror(["begin", "-t", "a", "-w", "Src/\u{c4}"])
        .succeeded();
    sandbox.mirror(["begin", "-t", "b", "-w", "sRC/\u{e4}"]).exited(3);
}

#[test]
fn a_task_id_is_a_plain_word() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    let huge = "x".repeat(100_000);
    for id in [
        "",
        ".",
        "..",
        "-",
        "--help",
        "-t",
        "a b",
        "a/b",
        "../a",
        "a\nb",
        "a\x1b[31m",
        "a\u{202e}b",
        "\u{e4}",
        "a..b",
        "a.lock",
        "a.LOCK",
        "a.",
        "@{u}",
        "a~1",
        "a:b",
        "*",
        &huge,
    ] {
        let word = format!("--task={id}");
        let left = sandbox.mirror(["begin", &word, "-w", "README"]).exited(2);
        super::assert_shown(&left);
        let from_environment = sandbox
            .mirror_program()
            .env("MIRROR_TASK", id)
            .args(["stage", "--delete", "README"]);
        let left = from_environment.run().exited(2);
        super::assert_shown(&left);
    }
    assert_eq!(
        sandbox.mirror(["status", "--json"]).succeeded().json()["tasks"],
        serde_json::json!([])
    );
}

#[test]
fn a_message_is_text_and_nothing_else() {
    let messages = [
        "-m",
        "--amend",
        "-F/etc/passwd",
        "\u{1b}]0;title\u{7}",
        "one\n\ntwo\n\nMirror-Task: somebody-else",
        "# no comment",
        "a\r\nb",
        "\u{202e}gnp.exe",
        "$(touch escape) `touch escape` ; touch escape",
        "%h %n {} \\0",
        "\t tabs ",
    ];
    for message in messages {
        let sandbox = with_task();
        sandbox.stage("t", "f", "x\n");
        let word = format!("--message={message}");
        let left = sandbox.mirror(["commit", "-t", "t", &word]).succeeded();
        super::assert_shown(&left);
        let kept = sandbox.git(["log", "-1", "--format=%B"]);
        assert!(kept.starts_with(message.trim_end()), "{kept:?}");
        // Whatever the message claims, the last word is mirror's.
        let task = sandbox.git(["log", "-1", "--format=%(trailers:key=Mirror-Task,valueonly)"]);
        assert_eq!(task.trim().lines().next_back(), Some("t"), "{kept:?}");
        assert_eq!(
            sandbox.git(["reflog", "--format=%gs"]).lines().count(),
            2,
            "one line for each commit"
        );
        sandbox.git(["fsck", "--strict", "--no-progress"]);
        assert!(!sandbox.exists("escape"));
    }
}

#[test]
fn a_huge_message_is_kept_whole() {
    let sandbox = with_task();
    sandbox.stage("t", "f", "x\n");
    let message = "long line ".repeat(10_000);
    sandbox.mirror(["commit", "-t", "t", "-m", &message]).succeeded();
    let kept = sandbox.git(["log", "-1", "--format=%s"]);
    assert_eq!(kept, message.trim_end());
}

#[test]
fn a_file_to_take_in_may_have_any_name_but_must_be_a_file() {
    let sandbox = with_task();
    for name in [
        "-",
        "--help",
        "-rf",
        "a\nb",
        "\u{1b}[31m",
        "$(touch escape)",
        "*",
        "\u{202e}x",
    ] {
        let path = sandbox.path(name);
        fs::write(&path, name).unwrap();
        let word = format!("--from=./{name}");
        let left = sandbox.mirror(["stage", "-t", "t", "f", &word]).succeeded();
        super::assert_shown(&left);
        fs::remove_file(path).unwrap();
        let left = sandbox.mirror(["stage", "-t", "t", "f", &word]).exited(2);
        super::assert_shown(&left);
    }
    let odd = std::ffi::OsStr::from_bytes(b"a\xff");
    fs::write(sandbox.path(odd), "odd").unwrap();
    sandbox
        .mirror([
            "stage".as_ref(),
            "-t".as_ref(),
            "t".as_ref(),
            "f".as_ref(),
            "--from".as_ref(),
            odd,
        ])
        .succeeded();
    sandbox.shell("mkfifo pipe; ln -s pipe link; ln -s /dev/zero zero");
    for stream in [
        "pipe",
        "link",
        "zero",
        "/dev/zero",
        "/dev/tty",
        "/proc",
        "d",
        "/dev/stdin",
    ] {
        // The deadline of the runner is the test: none of these is ever waited for.
        sandbox
            .mirror(["stage", "-t", "t", "f", "--from", stream])
            .exited(2);
    }
    assert!(!sandbox.exists("escape"));
}

#[test]
fn a_branch_name_leads_nowhere_else() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    for name in [
        "../../../escape",
        "-D",
        "--exec=x",
        "refs/heads/../../../escape",
        "a..b",
        "@{-1}",
        "HEAD^",
        "a\nb",
        "a b",
        "/x",
        "x.lock",
    ] {
        let word = format!("--into={name}");
        let left = sandbox.mirror(["begin", "-t", "t", "-w", "README", "--branch", &word]);
        assert_eq!(left.code(), Some(2), "{left}");
        super::assert_shown(&left);
        sandbox.write(
            ".mirror/config.yaml",
            format!("git: {{target: {}}}\n", serde_json::json!(name)),
        );
        let left = sandbox.mirror(["begin", "-t", "t", "-w", "README", "--branch"]);
        assert_eq!(left.code(), Some(2), "{left}");
        fs::remove_file(sandbox.path(".mirror/config.yaml")).unwrap();
    }
    assert!(!sandbox.beside("escape").exists());
    assert_eq!(sandbox.git(["branch", "--format=%(refname)"]), "refs/heads/main");
}

#[test]
fn a_symlink_that_is_staged_leads_not_outside() {
    let sandbox = with_task();
    for target in ["..", "/etc/passwd", "../../x", "d/../../x", "./../x", "//etc"] {
        let word = format!("--symlink={target}");
        sandbox.mirror(["stage", "-t", "t", "l", &word]).exited(2);
    }
    assert_eq!(staged(&sandbox), serde_json::json!([]));
}

#[test]
fn a_deep_and_a_wide_name_are_refused_before_they_cost_anything() {
    let sandbox = with_task();
    let began = std::time::Instant::now();
    for name in [
        "a/".repeat(5000) + "x",
        "x".repeat(120_000),
        "../".repeat(20_000) + "x",
        "a*".repeat(500) + "/**/" + &"{a,".repeat(200),
    ] {
        let left = sandbox.mirror(["lock", "-t", "t", "-w", &name]).exited(2);
        super::assert_shown(&left);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn a_repository_may_lie_in_a_directory_whose_name_is_no_text() {
    let sandbox = Sandbox::repository();
    let odd = sandbox.beside("odd");
    let odd = std::path::PathBuf::from(std::ffi::OsString::from_iter([
        odd.as_os_str(),
        std::ffi::OsStr::from_bytes(b"\xff\n"),
    ]));
    sandbox.git([
        "clone".as_ref(),
        "-q".as_ref(),
        sandbox.root().as_os_str(),
        odd.as_os_str(),
    ]);
    let mirror = |arguments: &[&str]| {
        let left = sandbox
            .mirror_program()
            .at(&odd)
            .args(arguments)
            .input("new\n")
            .run();
        super::assert_shown(&left);
        left
    };
    mirror(&["init"]).succeeded();
    mirror(&["begin", "-t", "t", "-w", "README"]).succeeded();
    mirror(&["stage", "-t", "t", "README"]).succeeded();
    mirror(&["commit", "-t", "t", "-m", "m", "--validate", "grep -q new README"]).succeeded();
    assert_eq!(fs::read_to_string(odd.join("README")).unwrap(), "new\n");
    // Nothing was written into a directory whose name only looks the same.
    let beside: Vec<_> = fs::read_dir(odd.parent().unwrap()).unwrap().collect();
    assert_eq!(beside.len(), 3, "{beside:?}");
}
