//! Settings that somebody edited, or that a checkout put there: refused with the line, never obeyed in part, never endless.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::Sandbox;

fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e]\n\
                g: &g [*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g]\n";
    let inside = "resource_manager: {strategies: {directories: {ignore_patterns: ";
    vec![
        (
            "a million bytes too many",
            "# comment\n".repeat(200_000).into_bytes(),
        ),
        ("deep lists", "[".repeat(100_000).into_bytes()),
        ("deep maps", "{a: ".repeat(100_000).into_bytes()),
        (
            "deep blocks",
            (0..2000)
                .flat_map(|depth| (" ".repeat(depth) + "a:\n").into_bytes())
                .collect(),
        ),
        ("a bomb of anchors", bomb.into()),
        ("an anchor within itself", "git: &a {target: *a}".into()),
        (
            "a bomb where a list may stand",
            format!("{inside}&a [x, *a]}}}}}}").into(),
        ),
        ("a merge key", "x: &x {branch: always}\ngit:\n  <<: *x\n".into()),
        ("an alias to nothing", "git: {target: *nothing}".into()),
        ("no text", b"git: {target: \"\xff\xfe\"}\n\xff: 1\n".to_vec()),
        ("a NUL", b"git: {branch: always\0}\n".to_vec()),
        ("an escape sequence in a key", "\"\\e[31mgit\": {}\n".into()),
        ("a raw escape sequence", b"\x1b[2J: 1\n".to_vec()),
        (
            "a raw escape sequence in a value",
            b"git: {branch: \"\x1b]0;x\x07\"}\n".to_vec(),
        ),
        ("text that turns around", "git: {branch: \u{202e}syawla}\n".into()),
        ("a list for a map", "git: [1]\n".into()),
        ("a map for a word", "git: {target: {a: b}}\n".into()),
        (
            "a word for a number",
            "resource_manager: {lock_timeout: soon}\n".into(),
        ),
        (
            "a negative number",
            "resource_manager: {lock_timeout: -1}\n".into(),
        ),
        (
            "a number that is too large",
            "resource_manager: {lock_timeout: 18446744073709551616}\n".into(),
        ),
        (
            "a number that is none",
            "resource_manager: {lock_timeout: .nan}\n".into(),
        ),
        ("a number with a fraction", "history: {keep_days: 1e300}\n".into()),
        ("a pattern without end", format!("{inside}['[a']}}}}}}\n").into()),
        (
            "another store",
            "store: {url: 'redis://user:password@host'}\n".into(),
        ),
        (
            "a second document",
            "git: {}\n---\ngit: {branch: always}\n".into(),
        ),
        ("a tag", "git: !!python/object:os.system {x: 1}\n".into()),
        (
            "a duplicate",
            "git: {branch: never}\ngit: {branch: always}\n".into(),
        ),
    ]
}

#[test]
fn hostile_settings_are_refused_in_words() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    let user = sandbox.home().join(".config/mirror/config.yaml");
    fs::create_dir_all(user.parent().unwrap()).unwrap();
    let own = sandbox.path(".mirror/config.yaml");
    for (what, text) in hostile() {
        for place in [&own, &user] {
            fs::write(place, &text).unwrap();
            let left = sandbox.mirror(["status"]);
            assert!(matches!(left.code(), Some(1 | 2)), "{what}: {left}");
            assert!(left.stderr().starts_with("Error: "), "{what}: {left}");
            assert!(left.stderr().len() < 20_000, "{what}: {}", left.stderr().len());
            assert!(!left.stderr().contains("password"), "{what}: {left}");
            super::assert_shown(&left);
            let left = sandbox.mirror(["status", "--json"]);
            assert!(left.error_json()["error"]["message"].is_string(), "{what}");
            super::assert_shown(&left);
            fs::remove_file(place).unwrap();
        }
    }
    sandbox.mirror(["status"]).succeeded();
}

#[test]
fn settings_without_end_are_not_read_to_their_end() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    symlink("/dev/zero", sandbox.path(".mirror/config.yaml")).unwrap();
    let left = sandbox.mirror(["status"]).exited(1);
    assert!(
        left.stderr().contains("it is longer than 1048576 bytes"),
        "{left}"
    );
}

#[test]
fn hostile_variables_are_refused_in_words() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    for (name, value) in [
        ("MIRROR_GIT_BRANCH", "\u{1b}[31m"),
        ("MIRROR_GIT_BRANCH", "{a: b}"),
        ("MIRROR_RESOURCE_MANAGER_LOCK_TIMEOUT", "-1"),
        ("MIRROR_RESOURCE_MANAGER_LOCK_TIMEOUT", "99999999999999999999"),
        ("MIRROR_STORE_URL", "redis://user:password@host"),
        (
            "MIRROR_RESOURCE_MANAGER_STRATEGIES_DIRECTORIES_IGNORE_PATTERNS",
            "[[[[",
        ),
    ] {
        let left = sandbox
            .mirror_program()
            .env(name, value)
            .args(["status"])
            .run()
            .exited(2);
        assert!(!left.stderr().contains("password"), "{left}");
        super::assert_shown(&left);
    }
}
