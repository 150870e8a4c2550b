//! Git's own rule for paths (`verify_path` in `read-cache.c`, with `core.protectHFS` and `core.protectNTFS`), written down once
//! more so that it can be asked a hundred million times; and libgit2's. A test compares the former with the git program.

use std::path::Path;

use git2::{Index, IndexEntry, IndexTime, Oid, Repository};

/// Tells whether git refuses a path, as a file or as a symlink.
pub(crate) fn git_refuses(path: &[u8], is_symlink: bool) -> bool {
    let at = |index: usize| path.get(index).copied().unwrap_or(0);
    let mut begins = true;
    for index in 0..=path.len() {
        let byte = at(index);
        if begins {
            let rest = &path[index..];
            if is_hfs(rest, b"git")
                || is_ntfs_dotgit(rest)
                || byte == b'.' && !is_legal_dotfile(&rest[1..], is_symlink)
            {
                return true;
            }
            if is_symlink && (is_hfs(rest, b"gitmodules") || is_ntfs_gitmodules(rest)) {
                return true;
            }
            if matches!(byte, b'/' | 0) {
                return true;
            }
        } else if byte == b'\\' {
            let rest = &path[index + 1..];
            if is_ntfs_dotgit(rest) || is_symlink && is_ntfs_gitmodules(rest) {
                return true;
            }
        }
        begins = byte == b'/';
    }
    false
}

fn ends(rest: &[u8]) -> bool {
    matches!(rest.first(), None | Some(b'/'))
}

/// What follows a dot at the beginning of a component.
fn is_legal_dotfile(rest: &[u8], is_symlink: bool) -> bool {
    let starts = |word: &[u8]| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word);
    let is_own = starts(b"git") && ends(&rest[3..]);
    let is_modules = is_symlink && starts(b"gitmodules") && ends(&rest[10..]);
    let is_above = rest.first() == Some(&b'.') && ends(&rest[1..]);
    !(ends(rest) || is_own || is_modules || is_above)
}

/// The next character that HFS+ sees; `None` at the end and where the text is no UTF-8.
fn next_hfs(rest: &mut &[u8]) -> Option<char> {
    loop {
        let length = match rest.first()? {
            0 => return None,
            0x01..=0x7f => 1,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            _ => 4,
        };
        let c = std::str::from_utf8(rest.get(..length)?).ok()?.chars().next()?;
        *rest = &rest[length..];
        match c {
            '\u{fffe}' | '\u{ffff}' => return None,
            '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}' => {}
            seen => return Some(seen),
        }
    }
}

fn is_hfs(mut rest: &[u8], word: &[u8]) -> bool {
    let dot = next_hfs(&mut rest) == Some('.');
    dot && word.iter().all(|letter| {
        next_hfs(&mut rest).is_some_and(|c| c.is_ascii() && c.to_ascii_lowercase() == char::from(*letter))
    }) && matches!(next_hfs(&mut rest), None | Some('/'))
}

fn is_ntfs_dotgit(rest: &[u8]) -> bool {
    let starts = |word: &[u8]| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word);
    let length = if starts(b".git") {
        4
    } else if starts(b"git~1") {
        5
    } else {
        return false;
    };
    for byte in &rest[length..] {
        match byte {
            0 | b'\\' | b'/' | b':' => return true,
            b'.' | b' ' => {}
            _ => return false,
        }
    }
    true
}

fn is_ntfs_gitmodules(rest: &[u8]) -> bool {
    let at = |index: usize| rest.get(index).copied().unwrap_or(0);
    let starts = |word: &[u8]| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word);
    let only_spaces_and_dots = |from: usize| {
        let end = rest[from.min(rest.len())..]
            .iter()
            .find(|byte| !matches!(byte, b'.' | b' '));
        matches!(end, None | Some(0 | b':'))
    };
    if starts(b".gitmodules") {
        return only_spaces_and_dots(11);
    }
    if starts(b"gitmod") && at(6) == b'~' && (b'1'..=b'4').contains(&at(7)) {
        return only_spaces_and_dots(8);
    }
    let (mut index, mut saw_tilde) = (0, false);
    while index < 8 {
        let byte = at(index);
        if saw_tilde {
            if !byte.is_ascii_digit() {
                return false;
            }
        } else if byte == b'~' {
            index += 1;
            if !(b'1'..=b'9').contains(&at(index)) {
                return false;
            }
            saw_tilde = true;
        } else if index >= 6 || byte.to_ascii_lowercase() != b"gi7eba"[index] {
            return false;
        }
        index += 1;
    }
    only_spaces_and_dots(index)
}

/// Libgit2's rule, asked by adding to an index.
pub(crate) struct Libgit2 {
    index: Index,
    _repository: Repository,
    entry: IndexEntry,
}

impl Libgit2 {
    /// Makes a repository in `directory` that protects every file system.
    pub(crate) fn new(directory: &Path) -> Self {
        let repository = Repository::init_bare(directory).expect("a new repository is made");
        let mut config = repository.config().expect("a new repository has settings");
        for key in ["core.protectHFS", "core.protectNTFS"] {
            config.set_bool(key, true).expect("a setting is written");
        }
        let id = repository.blob(b"").expect("a blob is written");
        let entry = entry(id);
        Self {
            index: repository.index().expect("a new repository has an index"),
            _repository: repository,
            entry,
        }
    }

    /// Tells whether it refuses a path.
    pub(crate) fn refuses(&mut self, path: &[u8], is_symlink: bool) -> bool {
        self.entry.path.clear();
        self.entry.path.extend_from_slice(path);
        self.entry.mode = if is_symlink { 0o120_000 } else { 0o100_644 };
        let refused = self.index.add(&self.entry).is_err();
        if !refused {
            self.index.clear().expect("an index is emptied");
        }
        refused
    }
}

fn entry(id: Oid) -> IndexEntry {
    IndexEntry {
        ctime: IndexTime::new(0, 0),
        mtime: IndexTime::new(0, 0),
        dev: 0,
        ino: 0,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: Vec::new(),
    }
}
