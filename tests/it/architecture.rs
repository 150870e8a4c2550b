//! The shape of the code, held by tests: imports only point down, and some words appear only where they belong.

pub(crate) mod source;

use std::collections::BTreeSet;

use self::source::{Source, find_words, line_of};
use crate::support::project;

/// Which floor each top-level module stands on. A module imports from lower floors; two modules on one floor are
/// strangers and meet further up.
const FLOORS: [(&str, u32); 10] = [
    ("model", 0),
    ("disk", 1),
    ("config", 1),
    ("host", 1),
    ("store", 2),
    ("workspace", 2),
    ("git", 2),
    ("coordinator", 3),
    ("embed", 4),
    ("cli", 5),
];

/// The roots of the two crates: the library's declares all modules, the binary's is part of the command line.
const LIBRARY_ROOT: &str = "lib.rs";
const BINARY_ROOT: &str = "main.rs";

/// The most lines that a file may have before its unit tests.
const FILE_LINES_MAX: usize = 400;

/// Words that belong to one place.
struct Fence {
    what: &'static str,
    words: &'static [&'static str],
    /// Directories end in a slash.
    allowed: &'static [&'static str],
    /// Whether the words are looked for inside strings as well.
    in_strings: bool,
}

const FENCES: [Fence; 11] = [
    Fence {
        what: "libgit2",
        words: &["git2"],
        allowed: &["git/"],
        in_strings: false,
    },
    Fence {
        what: "the git program",
        words: &["Command::new(\"git"],
        allowed: &["git/"],
        in_strings: true,
    },
    Fence {
        what: "SQL",
        words: &["rusqlite", "rusqlite_migration"],
        allowed: &["store/"],
        in_strings: false,
    },
    Fence {
        what: "raw writes, renames and removals",
        words: &[
            "fs::write",
            "fs::rename",
            "fs::copy",
            "fs::remove_file",
            "fs::remove_dir",
            "fs::remove_dir_all",
            "fs::create_dir",
            "fs::create_dir_all",
            "fs::set_permissions",
            "fs::hard_link",
            "File::create",
            "File::create_new",
            "OpenOptions",
            "DirBuilder",
            "unix::fs::symlink",
            "set_len",
            "UnixDatagram::bind",
            "UnixListener::bind",
            "tempfile",
            "renameat",
            "renameat_with",
            "unlinkat",
            "linkat",
            "symlinkat",
            "mkdirat",
            "chmodat",
            "fchmod",
            "utimensat",
            "ftruncate",
        ],
        allowed: &["disk/"],
        in_strings: false,
    },
    Fence {
        what: "directories that are removed with whatever is mounted in them",
        words: &["tempdir", "tempdir_in", "TempDir", "fs::remove_dir_all"],
        allowed: &["disk/scratch.rs"],
        in_strings: false,
    },
    Fence {
        what: "fs2",
        words: &["fs2"],
        allowed: &["disk/lock.rs"],
        in_strings: false,
    },
    Fence {
        what: "anyhow",
        words: &["anyhow"],
        allowed: &["cli/", "main.rs"],
        in_strings: false,
    },
    Fence {
        what: "the YAML parser",
        words: &["serde_saphyr"],
        allowed: &["config/layer.rs"],
        in_strings: false,
    },
    Fence {
        what: "printing",
        words: &[
            "println!",
            "print!",
            "eprintln!",
            "eprint!",
            "io::stdout",
            "io::stderr",
            "io::stdin",
        ],
        allowed: &["cli/", "main.rs"],
        in_strings: false,
    },
    Fence {
        what: "the environment",
        words: &[
            "env::var",
            "env::var_os",
            "env::vars",
            "env::vars_os",
            "env::args",
            "env::args_os",
            "env::current_dir",
        ],
        allowed: &["cli/", "main.rs"],
        in_strings: false,
    },
    Fence {
        what: "clocks",
        words: &[
            "SystemTime::now",
            "Instant::now",
            "clock_gettime",
            "Timestamp::now",
            "Zoned::now",
            "now_v7",
        ],
        allowed: &["host.rs"],
        in_strings: false,
    },
];

#[test]
fn imports_only_point_down() {
    assert_none(
        "Imports that point up or sideways",
        sources().iter().flat_map(misdirected_imports),
    );
}

#[test]
fn every_top_level_module_has_a_floor() {
    let sources = sources();
    let modules: BTreeSet<&str> = sources
        .iter()
        .filter(|source| source.path != LIBRARY_ROOT && source.path != BINARY_ROOT)
        .map(Source::top_module)
        .collect();
    let homeless = modules
        .into_iter()
        .filter(|module| floor(module).is_none())
        .map(str::to_owned);
    assert_none("Modules without a floor in tests/it/architecture.rs", homeless);
}

#[test]
fn words_stay_inside_their_fences() {
    let sources = sources();
    let escaped = sources
        .iter()
        .flat_map(|source| FENCES.iter().flat_map(|fence| escaped_words(source, fence)));
    assert_none("Words outside their fence", escaped);
}

#[test]
fn no_file_outgrows_its_budget() {
    let sources = sources();
    let large = sources
        .iter()
        .filter(|source| source.line_count() > FILE_LINES_MAX);
    let named = large.map(|source| format!("src/{}: {} lines", source.path, source.line_count()));
    assert_none("Files over 400 lines, unit tests not counted", named);
}

fn sources() -> Vec<Source> {
    Source::all_below(&project("src"))
}

fn floor(module: &str) -> Option<u32> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

#[track_caller]
fn assert_none(what: &str, found: impl IntoIterator<Item = String>) {
    let found: Vec<String> = found.into_iter().collect();
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn misdirected_imports(source: &Source) -> Vec<String> {
    let own = match source.path.as_str() {
        LIBRARY_ROOT => return Vec::new(),
        BINARY_ROOT => "cli",
        _ => source.top_module(),
    };
    let (Some(own_floor), imports) = (floor(own), imports(source)) else {
        return Vec::new();
    };
    let misdirected = imports
        .into_iter()
        .filter(|(_, module)| module != own && floor(module).is_some_and(|floor| floor >= own_floor));
    misdirected
        .map(|(offset, module)| {
            format!(
                "src/{}:{}: {own} imports {module}",
                source.path,
                line_of(&source.bare, offset)
            )
        })
        .collect()
}

/// Finds every top-level module that a file names, by the path of either crate's root, together with where.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let up = "super::".repeat(source.depth());
    let roots = ["crate::", "mirror::", &up];
    let mut found = Vec::new();
    for root in roots {
        for offset in find_words(&source.bare, root) {
            // A longer chain of `super::` was found already at its beginning, and would be too long to compile.
            let behind = &source.bare[offset + root.len()..];
            if !behind.starts_with("super::") {
                found.extend(first_names(behind).into_iter().map(|name| (offset, name)));
            }
        }
    }
    found
}

/// Returns the first name of a path, or of every path in a group: `a::b` gives `a`, `{a::b, c::{d, e}}` gives `a`, `c`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let mut depth = 0;
    let mut names = vec![name(group)];
    for (offset, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[offset + 1..])),
            _ => {}
        }
    }
    names
}

fn escaped_words(source: &Source, fence: &Fence) -> Vec<String> {
    let allowed = |place: &&str| match place.strip_suffix('/') {
        Some(module) => source.top_module() == module,
        None => source.path == **place,
    };
    if fence.allowed.iter().any(allowed) {
        return Vec::new();
    }
    let text = if fence.in_strings {
        &source.code
    } else {
        &source.bare
    };
    let words = fence
        .words
        .iter()
        .flat_map(|word| find_words(text, word).map(move |offset| (offset, word)));
    words
        .map(|(offset, word)| {
            let (path, line) = (&source.path, line_of(text, offset));
            format!(
                "src/{path}:{line}: {word}: {} only in {}",
                fence.what,
                fence.allowed.join(" and ")
            )
        })
        .collect()
}

#[test]
fn an_import_that_points_up_is_named_with_its_file_and_line() {
    let check = |path: &str, text: &str| misdirected_imports(&Source::new(path.to_owned(), text.to_owned()));
    let good = "use crate::model::Lock;\nuse super::backend::Backend;\n/// See [`crate::coordinator`].\n";
    assert_eq!(check("store/sqlite/door.rs", good), Vec::<String>::new());
    assert_eq!(
        check(
            "store/sqlite/door.rs",
            "\nuse crate::{\n    model::{Lock, Mode},\n    git::Git,\n};"
        ),
        ["src/store/sqlite/door.rs:2: store imports git"]
    );
    assert_eq!(
        check("disk/sync.rs", "use super::super::host::Host;"),
        ["src/disk/sync.rs:1: disk imports host"]
    );
    assert_eq!(
        check("model/path.rs", "fn f() { crate::disk::sync() }"),
        ["src/model/path.rs:1: model imports disk"]
    );
    assert_eq!(
        check("cli/mod.rs", "use mirror::coordinator::Coordinator;"),
        Vec::<String>::new()
    );
}

#[test]
fn a_word_outside_its_fence_is_named_with_its_file_and_line() {
    let check = |path: &str, text: &str| {
        let source = Source::new(path.to_owned(), text.to_owned());
        FENCES
            .iter()
            .flat_map(|fence| escaped_words(&source, fence))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        check("git/refs.rs", "use git2::Repository; // fs::write"),
        Vec::<String>::new()
    );
    assert_eq!(
        check("coordinator/begin.rs", "\nfn f() { std::fs::write(a, b); }"),
        ["src/coordinator/begin.rs:2: fs::write: raw writes, renames and removals only in disk/"]
    );
    assert_eq!(
        check("workspace/apply.rs", "Command::new(\"git\")"),
        ["src/workspace/apply.rs:1: Command::new(\"git: the git program only in git/"]
    );
    assert_eq!(
        check("disk/lock.rs", "fs2::FileExt::unlock(&file)"),
        Vec::<String>::new()
    );
    assert_eq!(check("disk/mod.rs", "fs2::FileExt::unlock(&file)").len(), 1);
}

#[test]
fn the_map_names_every_file_and_no_other() {
    let map = std::fs::read_to_string(project("docs/architecture.md")).unwrap();
    let named: BTreeSet<String> = map
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| `")?
                .split_once("` | ")
                .map(|(name, _)| name.to_owned())
        })
        .filter(|name| !name.ends_with("sql"))
        .collect();
    let present = sources().into_iter().map(|source| source.path);
    let present: BTreeSet<String> = present
        .filter(|path| path != LIBRARY_ROOT && path != BINARY_ROOT)
        .collect();
    let differences = named.symmetric_difference(&present).cloned();
    assert_none("Files that docs/architecture.md misses or makes up", differences);
}
