//! What has to hold for any input, one function per parser. The bounded tests beside this file call them, and so do the targets
//! of `fuzz/`, which find inputs that nobody thought of.

use std::path::Path;

use mirror::config::{Config, Layer};
use mirror::git::patch;
use mirror::model::{RepoPath, TaskId, misleads};
use mirror::workspace::manifest::Manifest;

use super::git_rules::git_refuses;

/// A reason, and whether a path gives it.
type Beyond = (&'static str, fn(&[u8]) -> bool);

/// What mirror refuses although git does not: each a reason, and what such a path has in it. Nothing else may be refused.
const BEYOND_GIT: [Beyond; 6] = [
    (
        "it is longer than 3072 bytes, which is near what Linux takes",
        |path| path.len() > 3072,
    ),
    ("a component is longer than any file system takes", |path| {
        path.split(|byte| *byte == b'/')
            .any(|component| component.len() > 255)
    }),
    (".mirror, spelled as any file system spells it", |path| {
        has_word(path, b"mirr")
    }),
    ("short names of .git other than the usual first one", |path| {
        has_word(path, b"git~")
    }),
    (
        ".git by the rules of two file systems at once, or with a code point in it that Unicode calls ignorable",
        |path| {
            has_word(path, b"git") && (!path.is_ascii() || path.iter().any(|byte| b":\\. ".contains(byte)))
        },
    ),
    (
        ".git to libgit2, which reads the low byte of a code point alone",
        |path| {
            let text = String::from_utf8_lossy(path);
            let mut low = text
                .chars()
                .map(|c| u32::from(c).to_le_bytes()[0].to_ascii_lowercase());
            !path.is_ascii() && b".git".iter().all(|letter| low.any(|byte| byte == *letter))
        },
    ),
];

/// Tells whether a part of the path begins with `word` once everything is dropped that some file system may not see.
fn has_word(path: &[u8], word: &[u8]) -> bool {
    path.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| {
        let letters = part
            .iter()
            .filter(|byte| byte.is_ascii_alphanumeric() || **byte == b'~');
        letters
            .map(u8::to_ascii_lowercase)
            .take(word.len())
            .eq(word.iter().copied())
    })
}

/// What git refuses mirror refuses, and what mirror refuses beyond that is on the list.
pub(crate) fn path_rule(bytes: &[u8]) {
    let shown = || bytes.escape_ascii();
    if let Ok(path) = RepoPath::new(bytes) {
        assert!(!git_refuses(bytes, false), "git refuses {}", shown());
        let is_legal_link = path.has_gitmodules() || !git_refuses(bytes, true);
        assert!(is_legal_link, "git refuses the symlink {}", shown());
    } else {
        let is_listed = git_refuses(bytes, false)
            || bytes.contains(&0)
            || BEYOND_GIT.iter().any(|(_, applies)| applies(bytes));
        assert!(is_listed, "only mirror refuses {}", shown());
    }
}

/// The rule, and what else is promised of paths.
pub(crate) fn path(bytes: &[u8]) {
    path_rule(bytes);
    let shown = || bytes.escape_ascii();
    match RepoPath::new(bytes) {
        Ok(path) => {
            assert_eq!(path.as_bytes(), bytes);
            let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
            assert!(path.components().all(is_name), "{}", shown());
            let is_path = |above: RepoPath| RepoPath::new(above.as_bytes()).is_ok();
            assert!(path.ancestors().all(is_path), "{}", shown());
            assert!(!path.to_string().chars().any(misleads), "{path:?}");
        }
        Err(error) => assert!(!error.to_string().chars().any(misleads), "{error:?}"),
    }
    if let Ok(Some(normal)) = RepoPath::normalise(b"", bytes) {
        assert_eq!(
            RepoPath::new(normal.as_bytes()).as_ref(),
            Ok(&normal),
            "{}",
            shown()
        );
    }
}

/// A manifest that is read back names nothing outside and is worth the same when it is written again.
pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::decode(bytes) else {
        return;
    };
    for operation in &manifest.operations {
        assert!(RepoPath::new(operation.path.as_bytes()).is_ok(), "{operation:?}");
    }
    let (written, _) = manifest.encode();
    assert_eq!(Manifest::decode(&written).ok().as_ref(), Some(&manifest));
}

/// A manifest whose checksum holds, around a body that need not make sense.
pub(crate) fn manifest_body(body: &[u8]) {
    let mut bytes = format!("MIRR1 {:08x} {}\n", crc32c::crc32c(body), body.len()).into_bytes();
    bytes.extend_from_slice(body);
    manifest(&bytes);
}

/// Settings are taken or refused, and a refusal names the file and shows no control character but line ends.
pub(crate) fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let from_file = Layer::from_yaml("config.yaml", &text).and_then(|layer| Config::from_layers([layer]));
    if let Ok(config) = from_file {
        assert!(config.max_hold_ms >= config.lock_timeout_ms);
    }
    for key in mirror::config::KEYS {
        let variable = mirror::config::variable(key.name);
        drop(Layer::from_variables(|name| {
            (name == variable).then(|| text.clone().into_owned())
        }));
    }
}

/// Names and paths out of JSON obey the same rules as typed ones.
pub(crate) fn json(bytes: &[u8]) {
    if let Ok(path) = serde_json::from_slice::<RepoPath>(bytes) {
        assert!(RepoPath::new(path.as_bytes()).is_ok(), "{path:?}");
    }
    if let Ok(task) = serde_json::from_slice::<TaskId>(bytes) {
        assert!(TaskId::new(task.as_str()).is_ok(), "{task}");
    }
    manifest_body(bytes);
}

/// Git lists what a diff names or refuses it; nothing is written, whatever it says. `scratch` is an empty directory.
pub(crate) fn diff(scratch: &Path, bytes: &[u8]) {
    if let Ok(names) = patch::names(scratch, bytes) {
        for named in names {
            for name in [named.old, named.new] {
                drop(RepoPath::new(name));
            }
        }
    }
    let left = std::fs::read_dir(scratch)
        .expect("the directory is there")
        .count();
    assert_eq!(left, 0, "{}", bytes.escape_ascii());
}
