//! Moves what a run has left to where people find it. Nothing that is there already is written over or removed: it may be all that
//! there is of somebody's work. What is moved is named by the directory that was opened, which nobody can swap for another.

use std::path::{Path, PathBuf};

use crate::coordinator::Error;
use crate::disk::contained::{self, Dir, FileKind, Parent};
use crate::disk::{self, DiskError, exchange};

/// How many things of one name are kept side by side: far more than there are recoveries of one run.
const NAMES_MAX: u32 = 10_000;

/// Opens the place of one of our own files.
pub(super) fn own(path: &Path) -> Result<Parent, Error> {
    let (above, name) = (
        path.parent().unwrap_or(path),
        path.file_name().unwrap_or_default(),
    );
    Ok(Dir::open(above)?.child(name))
}

/// Moves `from` to `path` below `out`.
pub(super) fn move_below(from: &Parent, out: &Path, path: &Path) -> Result<(), Error> {
    disk::create_dir_all(out)?;
    let mut to = out.to_owned();
    let mut names = path.iter().peekable();
    while let Some(name) = names.next() {
        to.push(name);
        if names.peek().is_some() {
            to = directory(&to)?;
        }
    }
    merge(from, &to)
}

/// Moves `from` to `to`. Two directories become one; what finds its name taken by anything else gets the next free one.
pub(super) fn merge(from: &Parent, to: &Path) -> Result<(), Error> {
    let is_directory = from.stat()?.is_some_and(|stat| stat.kind == FileKind::Directory);
    for number in 0..NAMES_MAX {
        let to = numbered(to, number);
        match exchange::move_noreplace(from, &to) {
            Err(error) if error.is_already_there() => {}
            answer => return Ok(answer?),
        }
        if is_directory && is_directory_at(&to)? {
            let inside = from.enter()?;
            for name in inside.names()? {
                merge(&inside.child(&name), &to.join(&name))?;
            }
            from.remove_directory_if_empty()?;
            return Ok(());
        }
    }
    Err(DiskError::contended("renaming to", to).into())
}

/// Makes a directory if there is none, beside whatever else has its name.
fn directory(wanted: &Path) -> Result<PathBuf, Error> {
    for number in 0..NAMES_MAX {
        let path = numbered(wanted, number);
        if contained::stat(&path)?.is_none() {
            disk::create_dir_all(&path)?;
        }
        if is_directory_at(&path)? {
            return Ok(path);
        }
    }
    Err(DiskError::contended("creating the directory", wanted).into())
}

fn is_directory_at(path: &Path) -> Result<bool, Error> {
    Ok(contained::stat(path)?.is_some_and(|stat| stat.kind == FileKind::Directory))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}
