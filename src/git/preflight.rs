//! Refuses, by name and from the configuration alone, repositories that libgit2 misreads.
//!
//! A reftable repository would show fake refs, a sparse checkout every skipped file as deleted, a partial clone missing
//! objects. Trying would find that out too late, so nothing is tried.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use git2::Config;

use crate::git::{GitError, Result, system_path};

/// Where the split index's extension stands from the beginning of its block: its name.
const SPLIT_INDEX_MARK: &[u8] = b"link";

/// Refuses the repository whose git directory this is, if it is of an unsupported kind.
pub(super) fn refuse_unsupported(git_dir: &Path) -> Result<()> {
    let common = common_dir(git_dir)?;
    let mut config = Config::new().map_err(GitError::of("reading the configuration"))?;
    for (path, level) in [
        (common.join("config"), git2::ConfigLevel::Local),
        (git_dir.join("config.worktree"), git2::ConfigLevel::Worktree),
    ] {
        if path.exists() {
            config
                .add_file(&path, level, false)
                .map_err(GitError::of("reading the configuration"))?;
        }
    }
    refuse_formats(&config)?;
    refuse_partial_checkouts(&config)?;
    refuse_split_index(git_dir, &config)
}

fn refuse_formats(config: &Config) -> Result<()> {
    if text(config, "extensions.objectformat").is_some_and(|format| format != "sha1") {
        return Err(GitError::Unsupported {
            feature: "the object format sha256",
            hint: "use a repository with the object format sha1",
        });
    }
    if text(config, "extensions.refstorage").is_some_and(|format| format != "files") {
        return Err(GitError::Unsupported {
            feature: "the ref storage reftable",
            hint: "git refs migrate --ref-format=files",
        });
    }
    let partial = text(config, "extensions.partialclone").is_some()
        || matches_any(config, r"^remote\..*\.promisor$", "true")
        || matches_any(config, r"^remote\..*\.partialclonefilter$", "");
    if partial {
        return Err(GitError::Unsupported {
            feature: "a partial clone",
            hint: "clone again without --filter",
        });
    }
    Ok(())
}

fn refuse_partial_checkouts(config: &Config) -> Result<()> {
    if flag(config, "core.sparsecheckout") || flag(config, "index.sparse") {
        return Err(GitError::Unsupported {
            feature: "a sparse checkout",
            hint: "git sparse-checkout disable",
        });
    }
    Ok(())
}

fn refuse_split_index(git_dir: &Path, config: &Config) -> Result<()> {
    if !flag(config, "core.splitindex") && !has_split_index(&git_dir.join("index"))? {
        return Ok(());
    }
    Err(GitError::Unsupported {
        feature: "a split index",
        hint: "git update-index --no-split-index",
    })
}

/// A split index needs a shared one beside it, whatever the configuration says today.
fn has_split_index(index: &Path) -> Result<bool> {
    let Some(directory) = index.parent() else {
        return Ok(false);
    };
    let is_shared = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("sharedindex.");
    if !crate::disk::list(directory)?.iter().any(is_shared) {
        return Ok(false);
    }
    // A shared index may be a leftover. The extension's name stands in the index that really refers to it.
    let mut bytes = Vec::new();
    match std::fs::File::open(index).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Ok(bytes
            .windows(SPLIT_INDEX_MARK.len())
            .any(|window| window == SPLIT_INDEX_MARK)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(GitError::Io {
            doing: "reading",
            path: index.to_owned(),
            source,
        }),
    }
}

/// Returns the directory that a linked worktree shares with the main one.
fn common_dir(git_dir: &Path) -> Result<PathBuf> {
    let link = git_dir.join("commondir");
    let Some(text) = crate::disk::read_if_there(&link)? else {
        return Ok(git_dir.to_owned());
    };
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    Ok(git_dir.join(system_path(text)))
}

fn text(config: &Config, key: &str) -> Option<String> {
    config
        .get_string(key)
        .ok()
        .map(|value| value.to_ascii_lowercase())
}

fn flag(config: &Config, key: &str) -> bool {
    config.get_bool(key).unwrap_or(false)
}

fn matches_any(config: &Config, pattern: &str, value: &str) -> bool {
    let Ok(mut entries) = config.entries(Some(pattern)) else {
        return false;
    };
    while let Some(Ok(entry)) = entries.next() {
        if value.is_empty() || entry.value().is_ok_and(|found| found.eq_ignore_ascii_case(value)) {
            return true;
        }
    }
    false
}
