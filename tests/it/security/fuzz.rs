//! Every parser against seeded nonsense, for a few seconds. `fuzz/README.md` says how to go on for hours.

use mirror::model::{RepoPath, TaskId, Token};
use mirror::workspace::manifest::{Inode, Manifest, Operation, Place, Slot};

use super::git_rules::{Libgit2, git_refuses};
use super::grammar::Seed;
use super::{ROUNDS, bodies};
use crate::support::Sandbox;

#[test]
fn what_git_refuses_is_refused() {
    let (mut seed, mut text) = (Seed::new(1), Vec::new());
    for _ in 0..200_000 * *ROUNDS {
        seed.path(&mut text);
        bodies::path(&text);
    }
}

#[test]
fn what_libgit2_refuses_is_refused() {
    let sandbox = Sandbox::directory();
    let mut libgit2 = Libgit2::new(&sandbox.beside("bare"));
    let (mut seed, mut text) = (Seed::new(2), Vec::new());
    for _ in 0..20_000 * *ROUNDS {
        seed.path(&mut text);
        if let Ok(path) = RepoPath::new(&text[..]) {
            assert!(!libgit2.refuses(&text, false), "{}", text.escape_ascii());
            assert!(
                path.has_gitmodules() || !libgit2.refuses(&text, true),
                "{}",
                text.escape_ascii()
            );
        }
    }
}

#[test]
fn the_rule_of_git_that_is_compared_with_is_the_one_of_the_git_program() {
    let sandbox = Sandbox::unborn();
    sandbox.git(["config", "core.protectHFS", "true"]);
    sandbox.git(["config", "core.protectNTFS", "true"]);
    let (mut seed, mut text) = (Seed::new(3), Vec::new());
    for _ in 0..5 * *ROUNDS {
        let mut paths = Vec::new();
        while paths.len() < 4000 {
            seed.path(&mut text);
            // Git's front end resolves these before its rule sees them, and one NUL ends a path.
            let is_plain = text
                .split(|byte| *byte == b'/')
                .all(|name| !matches!(name, b"" | b"." | b".."));
            if is_plain && !text.contains(&0) && text.len() < 3000 && paths.last() != Some(&text) {
                paths.push(text.clone());
            }
        }
        let asked = sandbox
            .program("git")
            .args(["update-index", "--verbose", "--force-remove", "-z", "--stdin"])
            .input(
                paths
                    .iter()
                    .flat_map(|path| [&path[..], b"\0"].concat())
                    .collect::<Vec<u8>>(),
            )
            .run()
            .succeeded();
        // Git tells what it accepts, in order, and is silent here about what it refuses.
        let mut told = asked.stdout_bytes();
        for path in &paths {
            let line = [b"remove '", &path[..], b"'\n"].concat();
            let accepted = told.strip_prefix(&line[..]);
            assert_eq!(
                accepted.is_none(),
                git_refuses(path, false),
                "{}",
                path.escape_ascii()
            );
            told = accepted.unwrap_or(told);
        }
        assert_eq!(told, b"");
    }
}

#[test]
fn the_rule_for_symlinks_is_the_one_of_the_git_program() {
    let sandbox = Sandbox::unborn();
    sandbox.git(["config", "core.protectHFS", "true"]);
    sandbox.git(["config", "core.protectNTFS", "true"]);
    let blob = sandbox.git(["hash-object", "-w", "--stdin"]);
    for path in [
        ".gitmodules",
        "a/.GITMODULES",
        ".gitmodules ",
        ".gitmodules:x",
        "gitmod~1",
        "gitmod~4",
        "gitmod~5",
        "gi7eba~1",
        "gi7eb~10",
        "~1000000",
        "gi7ebb~1",
        ".git\u{200c}modules",
        ".gitmodules2",
        "x\\.gitmodules",
        ".gitignore",
        "a",
    ] {
        let entry = format!("120000,{blob},{path}");
        let asked = sandbox.try_git(["update-index", "--add", "--cacheinfo", &entry]);
        assert_eq!(
            asked.code() != Some(0),
            git_refuses(path.as_bytes(), true),
            "{path}"
        );
        let mirror = RepoPath::new(path).map_or(true, |path| path.has_gitmodules());
        assert!(mirror || asked.code() == Some(0), "{path}");
    }
}

#[test]
fn no_manifest_confuses_its_reader() {
    let manifest = Manifest {
        transaction: "0190f3a4-0000-7000-8000-000000000001".parse().unwrap(),
        task: TaskId::new("agent-1").unwrap(),
        token: Token::new(17),
        root: Place::new("/somewhere".as_ref()),
        operations: vec![Operation {
            path: RepoPath::new("a/b").unwrap(),
            pre: None,
            post: None,
            slot: Slot::Staged(0),
            staged: Some(Inode(2)),
            before: None,
            after: None,
        }],
        reference: None,
        index: None,
    };
    let (bytes, _) = manifest.encode();
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    let (mut seed, mut text) = (Seed::new(4), Vec::new());
    for _ in 0..5_000 * *ROUNDS {
        text.clone_from(&bytes);
        seed.damage(&mut text);
        bodies::manifest(&text);
        text.clear();
        text.extend_from_slice(&bytes[end + 1..]);
        seed.damage(&mut text);
        bodies::manifest_body(&text);
    }
}

#[test]
fn no_settings_confuse_their_reader() {
    let (mut seed, mut text) = (Seed::new(5), Vec::new());
    for _ in 0..500 * *ROUNDS {
        seed.yaml(&mut text);
        bodies::config(&text);
    }
}

#[test]
fn no_json_confuses_its_reader() {
    let (mut seed, mut text) = (Seed::new(6), Vec::new());
    for _ in 0..20_000 * *ROUNDS {
        seed.json(&mut text);
        bodies::json(&text);
    }
}

#[test]
fn no_diff_writes_while_it_is_read() {
    let sandbox = Sandbox::directory();
    let (mut seed, mut text) = (Seed::new(7), Vec::new());
    for _ in 0..100 * *ROUNDS {
        seed.diff(&mut text);
        bodies::diff(&sandbox.root(), &text);
    }
}
