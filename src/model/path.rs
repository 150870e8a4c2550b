//! Paths inside the repository: bytes, normalised, never able to point outside.
//!
//! This is the lexical half of the defence. The other half is `disk::contained`, which opens every path below the
//! root without following a link. Neither trusts the other.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The longest path, in bytes: the kernel's `PATH_MAX` less room for the root in front.
const PATH_BYTES_MAX: usize = 3072;

/// The longest component, in bytes: what every supported file system allows.
const COMPONENT_BYTES_MAX: usize = 255;

/// The names that git and mirror keep for themselves, on any file system.
const RESERVED: [&str; 2] = [".git", ".mirror"];

/// A path relative to the root of the repository.
///
/// It is never empty, never absolute, has no `.`, `..` or empty component and no NUL, and no component that
/// is `.git` or `.mirror` or that some file system would take for one of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct RepoPath(Vec<u8>);

/// Why some bytes are no path inside the repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid path {}: {reason}", quoted(path))]
pub struct PathError {
    /// What was given.
    pub path: Vec<u8>,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl RepoPath {
    /// Checks bytes that are already relative and normalised, such as git and the registry keep them.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PathError> {
        let path = bytes.into();
        match Self::fault(&path) {
            None => Ok(Self(path)),
            Some(reason) => Err(PathError { path, reason }),
        }
    }

    /// Normalises what a user typed: resolves `.` and `..` against `base` (the current directory relative to
    /// the root, empty at the root) and drops doubled and trailing slashes.
    ///
    /// Answers `None` when the result is the root itself.
    pub fn normalise(base: &[u8], typed: &[u8]) -> Result<Option<Self>, PathError> {
        let fail = |reason| PathError {
            path: typed.to_vec(),
            reason,
        };
        if typed.is_empty() {
            return Err(fail("it is empty"));
        }
        if typed.starts_with(b"/") {
            return Err(fail("it is absolute"));
        }
        let mut components: Vec<&[u8]> = Vec::new();
        for component in base
            .split(|byte| *byte == b'/')
            .chain(typed.split(|byte| *byte == b'/'))
        {
            match component {
                b"" | b"." => {}
                b".." => {
                    components
                        .pop()
                        .ok_or_else(|| fail("it points outside the repository"))?;
                }
                name => components.push(name),
            }
        }
        if components.is_empty() {
            return Ok(None);
        }
        Self::new(components.join(&b'/'))
            .map(Some)
            .map_err(|error| fail(error.reason))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the path for the operating system, still relative to the root.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Iterates over the components.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }

    /// Returns the last component.
    pub fn name(&self) -> &[u8] {
        let start = self
            .0
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        &self.0[start..]
    }

    /// Returns the directory that contains this path, `None` when that is the root.
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|byte| *byte == b'/')?;
        Some(Self(self.0[..slash].to_vec()))
    }

    /// Iterates over the containing directories, the nearest first, without the root.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// Tells whether `self` lies below the directory `directory`.
    pub fn is_below(&self, directory: &Self) -> bool {
        self.0.len() > directory.0.len()
            && self.0.starts_with(&directory.0)
            && self.0[directory.0.len()] == b'/'
    }

    /// Appends a component or a relative path.
    pub fn join(&self, below: &[u8]) -> Result<Self, PathError> {
        Self::new([self.as_bytes(), below].join(&b'/'))
    }

    /// Returns the key under which a repository with `core.ignorecase=true` locks this path: what differs only in
    /// case folds to the same key. Bytes that are not UTF-8 fold by ASCII alone.
    #[must_use]
    pub fn folded(&self) -> Self {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Self(text.to_lowercase().into_bytes()),
            Err(_) => Self(self.0.to_ascii_lowercase()),
        }
    }

    /// Tells whether git refuses a symlink here: some file system would take a component for `.gitmodules`, which git
    /// reads without expecting a link.
    pub fn has_gitmodules(&self) -> bool {
        self.components().flat_map(aliases).any(|name| {
            name == b".gitmodules"
                || is_short_name(&name, |stem| stem == b"gitmod" || b"gi7eba".starts_with(stem))
        })
    }

    fn fault(path: &[u8]) -> Option<&'static str> {
        if path.is_empty() {
            return Some("it is empty");
        }
        if path[0] == b'/' {
            return Some("it is absolute");
        }
        if path.contains(&0) {
            return Some("it contains a NUL byte");
        }
        if path.len() > PATH_BYTES_MAX {
            return Some("it is longer than 3072 bytes");
        }
        path.split(|byte| *byte == b'/').find_map(component_fault)
    }
}

fn component_fault(component: &[u8]) -> Option<&'static str> {
    match component {
        b"" => return Some("it has an empty component"),
        b"." => return Some("it has a '.' component"),
        b".." => return Some("it points outside the repository"),
        _ if component.len() > COMPONENT_BYTES_MAX => return Some("a component is longer than 255 bytes"),
        _ => {}
    }
    is_reserved(component).then_some("it lies in .git or .mirror, which are not yours to edit")
}

/// Tells whether some file system would take `component` for `.git` or `.mirror`.
fn is_reserved(component: &[u8]) -> bool {
    aliases(component).any(|name| {
        RESERVED.iter().any(|reserved| name == reserved.as_bytes())
            || is_short_name(&name, |stem| {
                stem == b"git" || (stem.len() >= 4 && b"mirror".starts_with(stem))
            })
    })
}

/// Lists the names that something would take `component` for, in lower case. NTFS drops trailing dots and spaces, opens
/// the file itself for a stream of it, and has the backslash as a separator; HFS+, and ext4 where it folds case, do not
/// see certain code points. Libgit2 compares the low byte of a code point alone, and would refuse to make the tree.
fn aliases(component: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    component.split(|byte| *byte == b'\\').flat_map(|part| {
        let text = text_of(part);
        let low_bytes = (!text.is_ascii()).then(|| low_bytes(text));
        let low_bytes = low_bytes.filter(|name| name.starts_with(b".git"));
        let file = text.split(':').next().unwrap_or_default();
        let mut file: String = file.chars().filter(|c| !is_ignorable(*c)).collect();
        file.truncate(file.trim_end_matches(['.', ' ']).len());
        file.make_ascii_lowercase();
        [Some(file.into_bytes()), low_bytes].into_iter().flatten()
    })
}

fn low_bytes(text: &str) -> Vec<u8> {
    let seen = text.chars().filter(|c| !is_ignored_by_hfs(*c));
    let bytes = seen.map(|c| u32::from(c).to_le_bytes()[0].to_ascii_lowercase());
    bytes.take_while(|byte| *byte != 0).collect()
}

/// What is no text ends the name, as git has it: HFS+ writes such bytes in another way, and nobody can say what else a
/// file system does with them.
fn text_of(part: &[u8]) -> &str {
    let text = match std::str::from_utf8(part) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&part[..error.valid_up_to()])
            .unwrap_or_else(|_| unreachable!("BUG: the parser has just called these bytes valid")),
    };
    text.split(['\u{fffe}', '\u{ffff}']).next().unwrap_or_default()
}

/// Recognises the 8.3 names that NTFS makes of longer ones: a stem, a tilde, a number.
fn is_short_name(name: &[u8], is_stem: impl Fn(&[u8]) -> bool) -> bool {
    let Some(tilde) = name.iter().position(|byte| *byte == b'~') else {
        return false;
    };
    let (stem, number) = (&name[..tilde], &name[tilde + 1..]);
    !number.is_empty() && number.iter().all(u8::is_ascii_digit) && is_stem(stem)
}

fn is_ignored_by_hfs(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// Unicode's `Default_Ignorable_Code_Point`, which contains what HFS+ ignores.
fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Shows bytes to people: as they are when they are plain text, else quoted the way git does it.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).ok();
    if let Some(plain) = text.filter(|text| !text.is_empty() && !text.chars().any(misleads)) {
        return plain.to_owned();
    }
    let escaped = bytes.iter().map(|byte| match byte {
        b'\n' => "\\n".to_owned(),
        b'\t' => "\\t".to_owned(),
        b'"' | b'\\' => format!("\\{}", char::from(*byte)),
        b' '..=b'~' => char::from(*byte).to_string(),
        other => format!("\\{other:03o}"),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// Shows a path of the system to people, quoted like a path of the repository.
pub fn shown(path: impl AsRef<Path>) -> String {
    quoted(path.as_ref().as_os_str().as_bytes())
}

/// Tells whether a terminal obeys this character instead of showing it: control characters, and those that turn the
/// direction of the text around them, so that a name looks like another.
pub fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.0))
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a path is kept in JSON: as text where it is text, else as its bytes.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Bytes(Vec<u8>),
}

impl TryFrom<Form> for RepoPath {
    type Error = PathError;

    fn try_from(form: Form) -> Result<Self, PathError> {
        match form {
            Form::Text(text) => Self::new(text),
            Form::Bytes(bytes) => Self::new(bytes),
        }
    }
}

impl From<RepoPath> for Form {
    fn from(path: RepoPath) -> Self {
        String::from_utf8(path.0).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_of_git_and_mirror_are_refused_in_every_component() {
        for bad in [
            ".git",
            ".GIT/config",
            "a/.Git",
            "a/.git./x",
            ".git ",
            ".git::$INDEX_ALLOCATION",
            "git~1",
            "GIT~1/hooks",
            ".mirror",
            "sub/.mirror/x",
            ".MIRROR",
            "mirror~1",
            "a\\.git\\config",
            ".g\u{200c}it",
            ".mir\u{feff}ror",
            "mirr~2",
            ".g\u{ad}it",
            ".git\u{ffff}x",
            ".\u{ff47}it",
            ".git\u{100}x",
            ".\u{e0067}it",
        ] {
            assert!(RepoPath::new(bad).is_err(), "{bad}");
        }
        assert!(RepoPath::new(b".git\xffx").is_err());
        for good in [
            ".gitignore",
            ".github/x",
            "git",
            "mirror",
            "git~",
            "git~x",
            ".mirrors",
            "a\\b",
            ".gitmodules",
        ] {
            assert!(RepoPath::new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn malformed_paths_are_refused() {
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "./a",
            "a/.",
            "..",
            "a/../b",
            "a\0b",
            &"x".repeat(256),
        ] {
            assert!(RepoPath::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn typed_paths_normalise_against_the_current_directory() {
        let normal = |base: &str, typed: &str| {
            RepoPath::normalise(base.as_bytes(), typed.as_bytes())
                .map(|path| path.map(|path| path.to_string()))
                .map_err(|error| error.reason)
        };
        assert_eq!(normal("", "a//b/"), Ok(Some("a/b".into())));
        assert_eq!(normal("src/ui", "../a.rs"), Ok(Some("src/a.rs".into())));
        assert_eq!(normal("src", "./."), Ok(Some("src".into())));
        assert_eq!(normal("src", ".."), Ok(None));
        assert_eq!(normal("src", "../.."), Err("it points outside the repository"));
        assert!(normal("", "").is_err());
        assert!(normal("", "/etc/passwd").is_err());
    }

    #[test]
    fn control_characters_and_odd_bytes_are_quoted() {
        assert_eq!(RepoPath::new("a b").unwrap().to_string(), "a b");
        assert_eq!(RepoPath::new("a\x1b[31m").unwrap().to_string(), "\"a\\033[31m\"");
        assert_eq!(RepoPath::new(vec![b'a', 0xff]).unwrap().to_string(), "\"a\\377\"");
        assert_eq!(
            RepoPath::new("a\u{202e}b").unwrap().to_string(),
            "\"a\\342\\200\\256b\""
        );
    }

    #[test]
    fn names_that_git_takes_for_its_own_list_of_submodules_are_known() {
        let named = |name: &str| RepoPath::new(name).unwrap().has_gitmodules();
        for alias in [
            ".gitmodules",
            "a/.GitModules",
            ".gitmodules. ",
            ".gitmodules:x",
            "gitmod~1",
            "GI7EBA~1",
            "gi7eb~10",
            ".git\u{200c}modules",
            ".gitmodules/x",
        ] {
            assert!(named(alias), "{alias}");
        }
        for other in ["gitmodules", ".gitmodules2", ".gitattributes"] {
            assert!(!named(other), "{other}");
        }
    }
}
