//! What to type about paths: names as a shell takes them, and what helps when one cannot be had.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use mirror::disk::DiskError;
use mirror::git::GitError;
use mirror::model::{Depth, PathError, RepoPath, Resource, misleads};

/// How many paths a command to type names.
const PATHS_MAX: usize = 3;

/// What helps with a path that cannot be changed: a piece of the reason, and the hint, in which `{}` stands for the path.
const UNCHANGEABLE: [(&str, &str); 14] = [
    ("not staged", "`mirror show -t ID` lists what is staged"),
    (
        "is a submodule",
        "Work in the submodule itself, with `git -C {} …`, and leave it out here",
    ),
    (
        "repository of its own",
        "Work in that repository itself, with `mirror -C DIR …`, and leave it out here",
    ),
    (
        "socket, pipe or device",
        "Only files and symlinks are committed: `mv {} ..` puts it out of the way",
    ),
    (
        "setuid or setgid",
        "`chmod ug-s {}`: git does not record that either",
    ),
    (
        "mounted",
        "`findmnt -T {}` shows what is mounted there: unmount it, or leave it out",
    ),
    (
        "another file system",
        "Leave it out; `findmnt -T {}` shows what is mounted there",
    ),
    (
        ".gitmodules",
        "Make it a file: `mirror stage -t ID {} --from FILE`",
    ),
    (
        "symlink out of the repository",
        "Link to something inside of it, by a relative path; one that leads out of it you can commit yourself: `git add {}`",
    ),
    (
        "is staged",
        "Take that back first with `mirror unstage -t ID PATH`: `mirror show -t ID` lists what is staged",
    ),
    ("vanished", "Run `mirror doctor`"),
    (
        "into itself",
        "Choose a place outside of it: `mirror stage -t ID --move FROM TO`",
    ),
    (
        "there is nothing",
        "`git ls-files` lists what there is, `mirror show -t ID` what is staged",
    ),
    (
        "something is there already",
        "Choose another name, or stage its deletion first: `mirror stage -t ID --delete {}`",
    ),
];

/// Returns what to type when a path cannot be changed.
pub(crate) fn of_unchangeable(path: &RepoPath, reason: &str) -> String {
    let found = UNCHANGEABLE.iter().find(|(piece, _)| reason.contains(piece));
    let hint = found.map_or("`ls -ld {}` shows what stands there", |(_, hint)| *hint);
    hint.replace("{}", &path_word(path))
}

/// Returns what to type after a name that is no path of the repository.
pub(crate) fn of_path(error: &PathError) -> String {
    let hint = match error.reason {
        "it is empty" => "Name a path, as in `-w src/`; a variable in it is perhaps not set",
        reason if reason.starts_with("it lies in .git or .mirror") => {
            "Leave it to its owner: `git config` writes git's settings, `mirror hook` its hooks; .mirror/config.yaml is yours to edit without mirror"
        }
        reason if reason.contains("outside") => {
            "Name a path below the root: `git rev-parse --show-toplevel` prints it"
        }
        "it is the root of the repository" => {
            "Name something in it, as `ls` shows it; `-w .` locks all of it"
        }
        _ => "Name a path as `git ls-files` shows it, below the root of the repository",
    };
    hint.to_owned()
}

/// Returns what to type when a file that was named cannot be read.
pub(crate) fn of_input(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("`ls -ld {}` shows who may read it", os_word(path)),
        _ => format!("`ls -la {}` shows what there is", os_word(above(path))),
    }
}

/// Returns what to type after a failure of the file system that the user can do something about.
pub(crate) fn of_disk(error: &DiskError) -> Option<String> {
    of_system(error.path(), error.kind())
}

/// The same of git's.
pub(crate) fn of_git(error: &GitError) -> Option<String> {
    match error {
        GitError::Disk(error) => of_disk(error),
        GitError::Io { path, source, .. } => of_system(path, source.kind()),
        GitError::Program { stderr, .. }
            if stderr.contains("Permission denied") || stderr.contains("Read-only file system") =>
        {
            Some("You may not write there: `ls -ld .git .git/*` shows who may".to_owned())
        }
        _ => None,
    }
}

fn of_system(path: &Path, kind: io::ErrorKind) -> Option<String> {
    let at = os_word(above(path));
    match kind {
        io::ErrorKind::PermissionDenied => Some(format!("You may not: `ls -ld {at}` shows who may")),
        io::ErrorKind::ReadOnlyFilesystem => Some(format!(
            "It is mounted read-only: `findmnt -T {at}` shows what is mounted there"
        )),
        io::ErrorKind::ResourceBusy => {
            let path = os_word(path);
            Some(format!(
                "If `findmnt -T {path}` shows that something is mounted there, `umount {path}` takes it away; if not, try again"
            ))
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
            "Make room, and try again: `df -h {at}` shows how much there is"
        )),
        _ => None,
    }
}

fn above(path: &Path) -> &Path {
    let above = path.parent().unwrap_or(path);
    if above.as_os_str().is_empty() {
        Path::new(".")
    } else {
        above
    }
}

/// Returns what a shell takes for one word: what is pasted must not run anything.
pub(crate) fn word(named: &impl ToString) -> String {
    bytes_word(named.to_string().as_bytes())
}

/// Returns the name of a resource as one word for a shell, as `mirror unlock` takes it.
pub(crate) fn resource_word(resource: &Resource) -> String {
    match resource {
        Resource::File(path) => bytes_word(&[b"file:", path.as_bytes()].concat()),
        Resource::Directory(Some(path), Depth::Recursive) => {
            bytes_word(&[b"dir:", path.as_bytes(), b"/"].concat())
        }
        other => word(other),
    }
}

/// Returns a path of the system as one word for a shell.
pub(crate) fn os_word(path: &Path) -> String {
    bytes_word(path.as_os_str().as_bytes())
}

/// Returns a path as one word for a shell, and for no program an option.
fn path_word(path: &RepoPath) -> String {
    match path.as_bytes() {
        [b'-', ..] => bytes_word(&[b"./", path.as_bytes()].concat()),
        bytes => bytes_word(bytes),
    }
}

fn bytes_word(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(misleads) => text,
        // What a terminal would obey cannot be shown as it is.
        _ => return escaped(bytes),
    };
    // For an equals sign alone an argument needs no quotes.
    let rest = text.replace('=', "");
    if shlex::try_quote(&rest).is_ok_and(|quoted| quoted == rest) && !rest.is_empty() {
        return text.to_owned();
    }
    // No name has the one byte that cannot be quoted.
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), Cow::into_owned)
}

/// Quotes with `$'…'`, which POSIX has since 2024 and bash and zsh have had for long.
fn escaped(bytes: &[u8]) -> String {
    let mut word = "$'".to_owned();
    for byte in bytes {
        let _ = match byte {
            b'\n' => write!(word, "\\n"),
            b'\t' => write!(word, "\\t"),
            b'\'' | b'\\' => write!(word, "\\{}", char::from(*byte)),
            b' '..=b'~' => write!(word, "{}", char::from(*byte)),
            other => write!(word, "\\{other:03o}"),
        };
    }
    word + "'"
}

/// Lists paths for a command to type.
pub(crate) fn list(paths: &[RepoPath]) -> String {
    let names: Vec<String> = paths.iter().take(PATHS_MAX).map(path_word).collect();
    let more = if paths.len() > PATHS_MAX { " …" } else { "" };
    names.join(" ") + more
}

/// Lists paths as locks to ask for.
pub(crate) fn writes(paths: &[RepoPath]) -> String {
    let flags: Vec<String> = paths
        .iter()
        .take(PATHS_MAX)
        .map(|path| format!("-w {}", path_word(path)))
        .collect();
    let more = if paths.len() > PATHS_MAX { " …" } else { "" };
    flags.join(" ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_any_name_for_one_word() {
        let word = |bytes: &[u8]| path_word(&RepoPath::new(bytes).unwrap());
        assert_eq!(word(b"src/a.js"), "src/a.js");
        assert_eq!(word(b"a b"), "'a b'");
        assert_eq!(word(b"-dash"), "./-dash");
        assert_eq!(word(b"new\nline.txt"), r"$'new\nline.txt'");
        assert_eq!(word(b"it's\xff\t\\1"), r"$'it\'s\377\t\\1'");
        assert_eq!(word("a\u{202e}b".as_bytes()), r"$'a\342\200\256b'");
    }
}
