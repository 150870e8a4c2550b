//! `stage --patch`: git itself applies the diff, in a scratch directory that holds nothing but the paths it names.
//!
//! What the task sees at these paths is copied there; what the diff made of it is staged. So a diff with renames, copies,
//! modes, binary parts and symlinks means here exactly what it means to git, and one that does not apply is refused in
//! git's own words, without any effect.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::coordinator::Error;
use crate::coordinator::ground::{Ground, Held};
use crate::coordinator::stage_step::Adoption;
use crate::disk::contained::Root;
use crate::disk::{self, staged};
use crate::git::patch::{self, Filters, PatchError};
use crate::model::{Entry, RepoPath};
use crate::workspace::present;

/// Where git keeps attributes, in any directory.
const ATTRIBUTES: &[u8] = b".gitattributes";

/// A directory that goes when it is dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

/// Applies the diff below `scratch`, and answers what it changes.
pub(super) fn prepare(ground: &Ground, diff: &[u8], scratch: &Path) -> Result<Adoption, Error> {
    let scratch = Scratch::create(scratch)?;
    let named = patch::names(&scratch.0, diff)
        .map_err(refusal)?
        .into_iter()
        .map(|named| Ok((RepoPath::new(named.old)?, RepoPath::new(named.new)?, named.grows)))
        .collect::<Result<Vec<_>, Error>>()?;
    let paths: BTreeSet<&RepoPath> = named.iter().flat_map(|(old, new, _)| [old, new]).collect();
    let root = Root::open(&scratch.0)?;
    let mut before = BTreeMap::new();
    for path in &paths {
        before.insert((*path).clone(), lay_out(&root, path, ground.held(path)?)?);
    }
    let filters = lay_out_attributes(ground, &root, &paths)?;
    patch::apply(ground.git, filters, &scratch.0, diff).map_err(refusal)?;
    let mut after = BTreeMap::new();
    for path in before.keys() {
        after.insert(path.clone(), entry_at(&root, path)?);
    }
    refuse_lost(&named, &before, &after)?;
    let paths: Vec<RepoPath> = before
        .iter()
        .filter(|(path, was)| after[*path] != **was)
        .map(|(path, _)| path.clone())
        .collect();
    let bytes = paths
        .iter()
        .filter_map(|path| after[path])
        .map(|entry| entry.size())
        .sum();
    // A copy has two names as well, but its source is still there.
    let is_gone = |path: &RepoPath| before[path].is_some() && after[path].is_none();
    let moves = named
        .into_iter()
        .filter(|(old, new, _)| old != new && is_gone(old))
        .map(|(old, new, _)| (old, new))
        .collect();
    Ok(Adoption {
        from: root,
        paths,
        moves,
        bytes,
        _scratch: Some(scratch),
    })
}

/// Refuses when a file is missing that the diff creates or adds lines to: `git apply` reports success although it could
/// not make a directory for it.
fn refuse_lost(
    named: &[(RepoPath, RepoPath, bool)],
    before: &BTreeMap<RepoPath, Option<Entry>>,
    after: &BTreeMap<RepoPath, Option<Entry>>,
) -> Result<(), Error> {
    // A path that several parts name may be gone again in the end.
    let is_named_once = |path: &RepoPath| named.iter().filter(|(_, new, _)| new == path).count() == 1;
    let lost = named.iter().find(|(_, new, grows)| {
        after[new].is_none() && (*grows || before[new].is_none()) && is_named_once(new)
    });
    match lost {
        None => Ok(()),
        Some((_, path, _)) => Err(Error::Patch {
            reason: format!("git apply did not write {path}"),
        }),
    }
}

fn refusal(error: PatchError) -> Error {
    match error {
        PatchError::Refused(reason) => Error::Patch { reason },
        PatchError::Git(error) => error.into(),
    }
}

/// Copies what a path holds into the scratch directory.
fn lay_out(scratch: &Root, path: &RepoPath, held: Held) -> Result<Option<Entry>, Error> {
    match held {
        // A file may take the place of a directory whose files the same diff deletes; whether it does is seen later.
        Held::Nothing | Held::Directory => return Ok(None),
        Held::File {
            executable,
            mut content,
        } => {
            let mode = if executable { 0o700 } else { 0o600 };
            staged::write_new(&scratch.make_parents(path)?, content.as_mut(), mode)?;
        }
        Held::Symlink(text) => staged::symlink_new(&scratch.make_parents(path)?, &text)?,
    }
    Ok(entry_at(scratch, path)?)
}

/// Lays out the attributes that count for `paths`, as they are without anything staged, and answers whether the programs
/// that they name may run: never when the diff brings attributes itself.
fn lay_out_attributes(
    ground: &Ground,
    scratch: &Root,
    paths: &BTreeSet<&RepoPath>,
) -> Result<Filters, Error> {
    if ground.git.is_none() {
        return Ok(Filters::Off);
    }
    let mut places = BTreeSet::from([RepoPath::new(ATTRIBUTES)?]);
    for above in paths.iter().flat_map(|path| path.ancestors()) {
        places.insert(above.join(ATTRIBUTES)?);
    }
    let mut filters = Filters::On;
    for place in places {
        if paths.contains(&place) {
            filters = Filters::Off;
        } else if let held @ Held::File { .. } = ground.held_without_staged(&place)? {
            lay_out(scratch, &place, held)?;
        }
    }
    Ok(filters)
}

fn entry_at(scratch: &Root, path: &RepoPath) -> disk::Result<Option<Entry>> {
    match scratch.find(path)? {
        Some((place, stat)) => present::entry_of(&place, &stat),
        None => Ok(None),
    }
}

impl Scratch {
    fn create(path: &Path) -> disk::Result<Self> {
        disk::remove_dir_all(path)?;
        disk::create_dir_all(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What a kill leaves is removed by the next diff, or goes with the transaction.
        drop(disk::remove_dir_all(&self.0));
    }
}
