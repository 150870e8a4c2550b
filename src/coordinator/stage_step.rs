//! One thing to stage: first looked at, without any effect, so that its paths are known; then, once they are locked,
//! written aside.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::coordinator::draft::Draft;
use crate::coordinator::ground::{Ground, Held};
use crate::coordinator::stage_patch::{self, Scratch};
use crate::coordinator::stage_tree;
use crate::coordinator::{Coordinator, Error, Observer, StageWhat, resolve};
use crate::disk;
use crate::disk::contained::{FileKind, Root};
use crate::model::{RepoPath, shown};

/// One thing to stage, looked at.
pub(super) enum Step {
    /// A file from outside.
    File {
        path: RepoPath,
        from: PathBuf,
        executable: Option<bool>,
        bytes: u64,
    },
    /// Bytes that are still in the request.
    Bytes {
        path: RepoPath,
        executable: Option<bool>,
    },
    /// A symlink.
    Symlink { path: RepoPath, text: Vec<u8> },
    /// Paths that go away.
    Delete { paths: Vec<RepoPath> },
    /// Paths that go away, each with the one that takes over what it holds.
    Move { pairs: Vec<(RepoPath, RepoPath)> },
    /// An exec bit.
    Chmod { path: RepoPath, executable: bool },
    /// What another directory holds at these paths.
    Adopt(Adoption),
}

/// Paths to be made what they are in another directory.
pub(super) struct Adoption {
    /// The directory.
    pub(super) from: Root,
    /// The paths that differ.
    pub(super) paths: Vec<RepoPath>,
    /// Paths that go away, each with the one that takes over what it holds.
    pub(super) moves: Vec<(RepoPath, RepoPath)>,
    /// How much there is to write.
    pub(super) bytes: u64,
    /// What goes when the step is over.
    pub(super) _scratch: Option<Scratch>,
}

impl Step {
    /// Returns the paths that need a write lock.
    pub(super) fn paths(&self) -> Vec<RepoPath> {
        match self {
            Self::File { path, .. }
            | Self::Bytes { path, .. }
            | Self::Symlink { path, .. }
            | Self::Chmod { path, .. } => vec![path.clone()],
            Self::Delete { paths } | Self::Adopt(Adoption { paths, .. }) => paths.clone(),
            Self::Move { pairs } => pairs
                .iter()
                .flat_map(|(from, to)| [from.clone(), to.clone()])
                .collect(),
        }
    }

    /// Returns how many bytes it will write, as far as that is known.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::File { bytes, .. } | Self::Adopt(Adoption { bytes, .. }) => *bytes,
            _ => 0,
        }
    }
}

/// Looks at what is to be staged. `scratch` is a place for a diff to be tried out.
pub(super) fn prepare(
    coordinator: &Coordinator,
    ground: &Ground,
    what: &StageWhat,
    scratch: &Path,
    observer: &mut dyn Observer,
) -> Result<Step, Error> {
    let named = |typed| resolve::file(coordinator, typed);
    match what {
        StageWhat::File {
            path,
            from,
            executable,
        } => file(
            named(path)?,
            &coordinator.current_directory.join(from),
            *executable,
        ),
        StageWhat::Bytes { path, executable, .. } => Ok(Step::Bytes {
            path: named(path)?,
            executable: *executable,
        }),
        StageWhat::Symlink { path, target } => Ok(Step::Symlink {
            path: named(path)?,
            text: target.as_bytes().to_vec(),
        }),
        StageWhat::Delete { path } => delete(ground, named(path)?),
        StageWhat::Move { from, to } => moved(ground, &named(from)?, named(to)?),
        StageWhat::Chmod { path, executable } => Ok(Step::Chmod {
            path: named(path)?,
            executable: *executable,
        }),
        StageWhat::Patch { diff } => stage_patch::prepare(ground, diff, scratch).map(Step::Adopt),
        StageWhat::Tree { dir } => {
            let directory = coordinator.current_directory.join(dir);
            stage_tree::prepare(ground, &directory, None, observer).map(Step::Adopt)
        }
        StageWhat::WorkingCopy { dir, origin } => {
            let adoption = stage_tree::prepare(ground, dir, Some(origin), observer)?;
            let overtaken = origin.overtaken(&coordinator.root, &adoption.paths)?;
            if overtaken.is_empty() {
                Ok(Step::Adopt(adoption))
            } else {
                Err(Error::Overtaken { paths: overtaken })
            }
        }
    }
}

/// Looks at a file from outside. A symlink is taken as it is, unless it leads to something that only streams.
fn file(path: RepoPath, from: &Path, executable: Option<bool>) -> Result<Step, Error> {
    let fail = |source| Error::Input {
        path: from.to_owned(),
        source,
    };
    let metadata = from.symlink_metadata().map_err(fail)?;
    let kind = metadata.file_type();
    if kind.is_symlink() {
        let text = from.read_link().map_err(fail)?.into_os_string().into_vec();
        let streams = from
            .metadata()
            .is_ok_and(|target| target.file_type().is_fifo() || target.file_type().is_char_device());
        return if streams {
            Err(unusable(from, "a stream; pipe it to standard input"))
        } else {
            Ok(Step::Symlink { path, text })
        };
    }
    if kind.is_dir() {
        return Err(unusable(from, "a directory; take all of it with --tree"));
    }
    if !kind.is_file() {
        return Err(unusable(from, "a socket, pipe or device"));
    }
    let executable = executable.or((metadata.permissions().mode() & 0o100 != 0).then_some(true));
    Ok(Step::File {
        path,
        from: from.to_owned(),
        executable,
        bytes: metadata.len(),
    })
}

fn unusable(from: &Path, what: &str) -> Error {
    Error::Usage(format!("{} is {what}", shown(from)))
}

fn delete(ground: &Ground, path: RepoPath) -> Result<Step, Error> {
    let paths = match ground.held(&path)? {
        Held::Nothing => Vec::new(),
        Held::Directory => ground.files_below(&path)?,
        Held::File { .. } | Held::Symlink(_) => vec![path.clone()],
    };
    if paths.is_empty() {
        return Err(absent(path));
    }
    Ok(Step::Delete { paths })
}

fn moved(ground: &Ground, from: &RepoPath, to: RepoPath) -> Result<Step, Error> {
    let is_directory = match ground.held(from)? {
        Held::Nothing => return Err(absent(from.clone())),
        Held::Directory => true,
        Held::File { .. } | Held::Symlink(_) => false,
    };
    let to = match ground.held(&to)? {
        Held::Nothing => to,
        Held::Directory => to.join(from.name())?,
        Held::File { .. } | Held::Symlink(_) => return Err(taken(to)),
    };
    if to == *from || to.is_below(from) {
        return Err(Error::Unchangeable {
            path: to,
            reason: format!("{from} cannot move into itself"),
        });
    }
    if !is_directory {
        return match ground.held(&to)? {
            Held::Nothing => Ok(Step::Move {
                pairs: vec![(from.clone(), to)],
            }),
            _ => Err(taken(to)),
        };
    }
    let mut pairs = Vec::new();
    for path in ground.files_below(from)? {
        let target = to.join(&path.as_bytes()[from.as_bytes().len() + 1..])?;
        if !matches!(ground.held(&target)?, Held::Nothing) {
            return Err(taken(target));
        }
        pairs.push((path, target));
    }
    if pairs.is_empty() {
        Err(absent(from.clone()))
    } else {
        Ok(Step::Move { pairs })
    }
}

fn absent(path: RepoPath) -> Error {
    Error::Unchangeable {
        path,
        reason: "there is nothing".to_owned(),
    }
}

fn taken(path: RepoPath) -> Error {
    Error::Unchangeable {
        path,
        reason: "something is there already".to_owned(),
    }
}

/// Writes aside what a step brings.
pub(super) fn perform(
    ground: &Ground,
    draft: &mut Draft,
    step: Step,
    what: &mut StageWhat,
) -> Result<(), Error> {
    match step {
        Step::File {
            path,
            from,
            executable,
            ..
        } => {
            let fail = |source| Error::Input {
                path: from.clone(),
                source,
            };
            let mut content = disk::open_regular(&from).map_err(fail)?;
            let executable = executable_or_held(ground, &path, executable)?;
            draft.put_file(&path, &mut content, executable, &from)
        }
        Step::Bytes { path, executable } => {
            let StageWhat::Bytes { content, .. } = what else {
                unreachable!("BUG: a step of bytes is only ever made of a request of bytes")
            };
            let executable = executable_or_held(ground, &path, executable)?;
            draft.put_file(&path, content.as_mut(), executable, Path::new("standard input"))
        }
        Step::Symlink { path, text } => {
            refuse_outside(ground, &path, &text)?;
            draft.put_symlink(&path, &text)
        }
        Step::Delete { paths } => paths.iter().try_for_each(|path| draft.delete(path)),
        Step::Move { pairs } => pairs.iter().try_for_each(|(from, to)| {
            put(draft, to, ground.held(from)?, from.as_path(), None)?;
            draft.came_from(to, from);
            draft.delete(from)
        }),
        Step::Chmod { path, executable } => put(
            draft,
            &path,
            ground.held(&path)?,
            path.as_path(),
            Some(executable),
        ),
        Step::Adopt(adoption) => adopt(ground, draft, &adoption),
    }
}

/// An edit keeps a script executable, unless the user says otherwise.
fn executable_or_held(ground: &Ground, path: &RepoPath, asked: Option<bool>) -> Result<bool, Error> {
    match asked {
        Some(asked) => Ok(asked),
        None => Ok(matches!(ground.held(path)?, Held::File { executable: true, .. })),
    }
}

/// Writes aside what another path holds, or the same one with another exec bit.
fn put(
    draft: &mut Draft,
    path: &RepoPath,
    held: Held,
    source: &Path,
    bit: Option<bool>,
) -> Result<(), Error> {
    match held {
        Held::File {
            executable,
            mut content,
        } => draft.put_file(path, content.as_mut(), bit.unwrap_or(executable), source),
        Held::Symlink(text) if bit.is_none() => draft.put_symlink(path, &text),
        Held::Nothing => Err(absent(path.clone())),
        Held::Symlink(_) | Held::Directory => Err(Error::Unchangeable {
            path: path.clone(),
            reason: "it is no file".to_owned(),
        }),
    }
}

fn adopt(ground: &Ground, draft: &mut Draft, adoption: &Adoption) -> Result<(), Error> {
    for path in &adoption.paths {
        match adoption.from.find(path)? {
            Some((place, stat)) if stat.kind == FileKind::File => {
                let is_executable = ground.is_executable(path, stat.is_executable())?;
                draft.put_file(path, &mut place.open()?, is_executable, place.path())?;
            }
            Some((place, stat)) if stat.kind == FileKind::Symlink => {
                let text = place.read_link()?;
                refuse_outside(ground, path, &text)?;
                draft.put_symlink(path, &text)?;
            }
            _ => draft.delete(path)?,
        }
    }
    adoption
        .moves
        .iter()
        .for_each(|(from, to)| draft.came_from(to, from));
    Ok(())
}

/// Refuses a symlink that leads out of the working tree, unless the path is that symlink already.
fn refuse_outside(ground: &Ground, path: &RepoPath, text: &[u8]) -> Result<(), Error> {
    if !leads_outside(path, text) || matches!(ground.held(path)?, Held::Symlink(held) if held == text) {
        return Ok(());
    }
    Err(Error::Unchangeable {
        path: path.clone(),
        reason: "a symlink out of the repository is not taken in".to_owned(),
    })
}

/// Follows the text of a link component by component, as if nothing on its way were a link.
fn leads_outside(path: &RepoPath, text: &[u8]) -> bool {
    if text.starts_with(b"/") {
        return true;
    }
    let mut depth = path.components().count() - 1;
    for component in text.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if depth == 0 => return true,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_leave_the_repository_are_recognised() {
        let leads = |path: &str, text: &str| leads_outside(&RepoPath::new(path).unwrap(), text.as_bytes());
        for (path, text) in [
            ("l", ".."),
            ("l", "/etc/passwd"),
            ("a/l", "../../x"),
            ("a/l", "b/../../../x"),
        ] {
            assert!(leads(path, text), "{path} {text}");
        }
        for (path, text) in [
            ("l", "a"),
            ("a/l", "../x"),
            ("a/b/l", "../../x"),
            ("l", "./a/../b"),
            ("l", ""),
        ] {
            assert!(!leads(path, text), "{path} {text}");
        }
    }
}
