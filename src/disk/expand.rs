//! Finds today's files that match a pattern.

use std::io;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use ignore::WalkBuilder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::disk::DiskError;
use crate::model::RepoPath;

/// Why a pattern gives no files.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// It is no pattern.
    #[error(transparent)]
    Pattern(#[from] globset::Error),
    /// One of the patterns of what to pass over is none.
    #[error(transparent)]
    Ignored(#[from] ignore::Error),
    /// A directory could not be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Lists the files and symlinks below `directory` (`None` is the root) whose path from there matches `pattern`, sorted.
///
/// A `*` stops at slashes and `**` does not. What git ignores is passed over, and so is what `ignored`, patterns in the
/// form of `.gitignore`, says, and every `.git` and `.mirror`. No link is followed.
pub fn expand(
    root: &Path,
    directory: Option<&RepoPath>,
    pattern: &str,
    ignored: &[String],
) -> Result<Vec<RepoPath>, ExpandError> {
    let from = directory.map_or_else(|| root.to_owned(), |directory| root.join(directory.as_path()));
    let matcher = matcher(pattern)?;
    if is_absent(&from) {
        return Ok(Vec::new());
    }
    let passed_over = passed_over(root, ignored)?;
    let walk = WalkBuilder::new(&from)
        .hidden(false)
        .ignore(false)
        .filter_entry(move |entry| {
            let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
            let ours = !matches!(entry.file_name().to_str(), Some(".git" | ".mirror"));
            ours && !passed_over.matched(entry.path(), is_directory).is_ignore()
        })
        .build();
    let mut paths = Vec::new();
    for entry in walk {
        let entry = entry.map_err(|error| of_walk(&from, error))?;
        let is_directory = entry.file_type().is_none_or(|kind| kind.is_dir());
        let below = entry.path().strip_prefix(&from).unwrap_or(entry.path());
        if !is_directory
            && matcher.is_match(below)
            && let Ok(relative) = entry.path().strip_prefix(root)
            && let Ok(path) = RepoPath::new(relative.as_os_str().as_encoded_bytes())
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Lists whatever exists below `root` with a name that matches `pattern`, files and directories alike, sorted. What git
/// ignores counts as well.
pub fn names(root: &Path, pattern: &str) -> Result<Vec<RepoPath>, DiskError> {
    let fail = |source: io::Error| DiskError::of("listing", root)(source);
    let invalid = |text: String| fail(io::Error::new(io::ErrorKind::InvalidInput, text));
    let text = root
        .to_str()
        .ok_or_else(|| invalid("its name is not UTF-8".to_owned()))?;
    let whole = format!(
        "{}/{}",
        glob::Pattern::escape(text),
        pattern.trim_end_matches('/')
    );
    let found = glob::glob(&whole).map_err(|error| invalid(error.to_string()))?;
    let mut paths = Vec::new();
    for path in found {
        let path = path.map_err(|error| fail(error.into()))?;
        if let Ok(relative) = path.strip_prefix(root)
            && let Ok(path) = RepoPath::new(relative.as_os_str().as_encoded_bytes())
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn matcher(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()?;
    Ok(glob.compile_matcher())
}

fn passed_over(root: &Path, ignored: &[String]) -> Result<Gitignore, ignore::Error> {
    let mut builder = GitignoreBuilder::new(root);
    for pattern in ignored {
        builder.add_line(None, pattern)?;
    }
    builder.build()
}

/// Tells whether there is nothing that could have files below it.
fn is_absent(directory: &Path) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    let found = directory.metadata();
    found.is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
}

fn of_walk(from: &Path, error: ignore::Error) -> DiskError {
    let text = error.to_string();
    let source = error
        .into_io_error()
        .unwrap_or_else(|| std::io::Error::other(text));
    DiskError::of("listing", from)(source)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        directory
    }

    fn expanded(tree: &tempfile::TempDir, directory: Option<&str>, pattern: &str) -> Vec<String> {
        let directory = directory.map(|directory| RepoPath::new(directory).unwrap());
        let paths = expand(
            tree.path(),
            directory.as_ref(),
            pattern,
            &["node_modules".to_owned()],
        )
        .unwrap();
        paths.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_star_stops_at_slashes_and_two_stars_do_not() {
        let tree = tree(&["a.ts", "src/b.ts", "src/ui/c.ts", "src/ui/d.js", "src/.hidden.ts"]);
        assert_eq!(expanded(&tree, None, "*.ts"), ["a.ts"]);
        assert_eq!(expanded(&tree, None, "src/*.ts"), ["src/.hidden.ts", "src/b.ts"]);
        assert_eq!(
            expanded(&tree, None, "**/*.ts"),
            ["a.ts", "src/.hidden.ts", "src/b.ts", "src/ui/c.ts"]
        );
        assert_eq!(
            expanded(&tree, Some("src"), "**/{c,d}.*"),
            ["src/ui/c.ts", "src/ui/d.js"]
        );
        assert_eq!(expanded(&tree, None, "*.rs"), [""; 0]);
        assert_eq!(expanded(&tree, Some("nowhere"), "*.ts"), [""; 0]);
        assert_eq!(expanded(&tree, Some("a.ts/below"), "*.ts"), [""; 0]);
    }

    #[test]
    fn what_git_ignores_and_what_is_to_be_passed_over_is_left_out() {
        let tree = tree(&[
            ".git/config",
            ".mirror/registry.db",
            "a.js",
            "built/b.js",
            "node_modules/c.js",
            "sub/node_modules/d.js",
            "sub/e.js",
        ]);
        fs::write(tree.path().join(".gitignore"), "built/\n").unwrap();
        assert_eq!(expanded(&tree, None, "**"), [".gitignore", "a.js", "sub/e.js"]);
    }

    #[test]
    fn nonsense_is_no_pattern() {
        assert!(matches!(
            expand(Path::new("/"), None, "a[", &[]),
            Err(ExpandError::Pattern(_))
        ));
    }
}
