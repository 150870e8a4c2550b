//! Rust files as the architecture test reads them: without comments, strings and unit tests, line numbers kept.

use std::fs;
use std::path::Path;

use walkdir::WalkDir;

/// One file.
pub(crate) struct Source {
    /// Relative to the directory that was walked, such as `store/sqlite/door.rs`.
    pub(crate) path: String,
    /// As it stands, unit tests included.
    pub(crate) text: String,
    /// Comments blanked out, the unit tests at the end cut off.
    pub(crate) code: String,
    /// As `code`, with the content of strings blanked out as well.
    pub(crate) bare: String,
}

impl Source {
    /// Reads every Rust file below `directory`, in order.
    pub(crate) fn all_below(directory: &Path) -> Vec<Self> {
        let files = WalkDir::new(directory)
            .sort_by_file_name()
            .into_iter()
            .map(Result::unwrap);
        let rust = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "rs"));
        rust.map(|file| {
            let path = file
                .path()
                .strip_prefix(directory)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            Self::new(path, fs::read_to_string(file.path()).unwrap())
        })
        .collect()
    }

    pub(crate) fn new(path: String, text: String) -> Self {
        let code = without_unit_tests(&blank(&text, false)).to_owned();
        let bare = blank(&code, true);
        Self {
            path,
            text,
            code,
            bare,
        }
    }

    /// Returns the module at the top that this file belongs to: `store` for `store/mod.rs` and `store.rs` alike.
    pub(crate) fn top_module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Returns how many modules deep the file is: 1 for `store.rs` and `store/mod.rs`.
    pub(crate) fn depth(&self) -> usize {
        self.path.trim_end_matches("/mod.rs").split('/').count()
    }

    /// Returns the lines before the unit tests.
    pub(crate) fn line_count(&self) -> usize {
        self.code.lines().count()
    }
}

/// Returns where in `text` the byte `offset` lies, counting lines from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Finds `word` where no longer word contains it. What begins or ends with punctuation need not be a word on that side.
pub(crate) fn find_words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (first, last) = (word.chars().next(), word.chars().last());
    text.match_indices(word)
        .map(|(offset, _)| offset)
        .filter(move |offset| {
            let before = text[..*offset].chars().next_back();
            let after = text[offset + word.len()..].chars().next();
            let goes_on = is_part(first) && is_part(before) || is_part(last) && is_part(after);
            !goes_on
        })
}

/// The unit tests stand at the end of a file, by the order that every file keeps.
fn without_unit_tests(code: &str) -> &str {
    let begins_module = |offset: &usize| {
        // Attributes may stand between the two, on several lines.
        let is_attribute = |line: &&str| line.starts_with("#[") || line.starts_with([' ', ')']);
        let declaration = code[*offset..].lines().find(|line| !is_attribute(line));
        declaration.is_some_and(|line| line.starts_with("mod ") && line.trim_end().ends_with('{'))
    };
    let start = code
        .match_indices("#[cfg(test)]\n")
        .map(|(offset, _)| offset)
        .find(begins_module);
    &code[..start.unwrap_or(code.len())]
}

/// Replaces comments by spaces, and the content of strings too when `strings` says so. Line ends stay.
fn blank(text: &str, strings: bool) -> String {
    let mut blanked = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_word = false;
    while let Some(first) = rest.chars().next() {
        let (length, is_blank) = match token(rest, in_word) {
            Token::Comment(length) => (length, true),
            Token::Text(length) => (length, strings),
            Token::Other => (first.len_utf8(), false),
        };
        let (piece, behind) = rest.split_at(length);
        if is_blank {
            blanked.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            blanked.push_str(piece);
        }
        in_word = piece.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        rest = behind;
    }
    blanked
}

enum Token {
    Comment(usize),
    Text(usize),
    Other,
}

fn token(rest: &str, in_word: bool) -> Token {
    let end = |found: Option<usize>| found.unwrap_or(rest.len());
    if rest.starts_with("//") {
        return Token::Comment(end(rest.find('\n')));
    }
    if let Some(inside) = rest.strip_prefix("/*") {
        return Token::Comment(end(inside.find("*/").map(|length| length + 4)));
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return Token::Text(end(closing_quote(inside, '"').map(|length| length + 2)));
    }
    if let Some(inside) = rest.strip_prefix('\'') {
        return character_length(inside).map_or(Token::Other, |length| Token::Text(length + 2));
    }
    let hashes = rest
        .strip_prefix('r')
        .filter(|_| !in_word)
        .map(|raw| raw.len() - raw.trim_start_matches('#').len());
    match hashes {
        Some(hashes) if rest[1 + hashes..].starts_with('"') => {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = 2 + hashes;
            Token::Text(end(rest[start..]
                .find(&close)
                .map(|length| start + length + close.len())))
        }
        _ => Token::Other,
    }
}

fn closing_quote(inside: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    inside.char_indices().find_map(|(offset, c)| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(offset)
    })
}

/// Tells a character literal from a lifetime: returns the length of what is between the quotes.
fn character_length(inside: &str) -> Option<usize> {
    if inside.starts_with('\\') {
        return closing_quote(inside, '\'');
    }
    let first = inside.chars().next()?.len_utf8();
    inside[first..].starts_with('\'').then_some(first)
}

#[test]
fn comments_strings_and_unit_tests_do_not_count_as_code() {
    let text = concat!(
        "use crate::a; // crate::b\n",
        "/* crate::c\n */ fn f<'a>(x: &'a str) { let q = '\"'; g(\"crate::d // \\\" x\") }\n",
        "let raw = r#\"\"git2\"\"#; /// crate::e\n",
        "#[cfg(test)]\n#[expect(\n    clippy::x,\n    reason = \"why\"\n)]\nmod tests {\n    use crate::f;\n}\n"
    );
    let source = Source::new("x/y.rs".to_owned(), text.to_owned());
    assert_eq!(source.code.matches("crate::").count(), 2, "{}", source.code);
    assert_eq!(source.bare.matches("crate::").count(), 1, "{}", source.bare);
    assert!(!source.bare.contains("git2"));
    assert!(source.bare.contains("fn f<'a>(x: &'a str)"));
    assert_eq!(source.line_count(), 4);
    assert_eq!((source.top_module(), source.depth()), ("x", 2));
    assert_eq!(line_of(text, text.find("crate::c").unwrap()), 2);
    assert_eq!(
        find_words("git2 git22 _git2 git2::x", "git2").collect::<Vec<_>>(),
        [0, 17]
    );
}
