//! Turns what users type into resources.
//!
//! The same file gives the same lock however it is written: from a subdirectory, as an absolute path, through a
//! symlinked directory. Containing directories are therefore resolved as the kernel would resolve them; the last
//! component is not, since a symlink is a file of its own. Nothing outside the working tree can be named.
//! Names that do not exist yet are as good as others.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::coordinator::provider::{Which, Wish};
use crate::coordinator::{Coordinator, Error, Wanted, WantedKind, nested};
use crate::disk::expand::{ExpandError, expand};
use crate::git::Git;
use crate::model::{
    Amount, Depth, Lock, LockSet, MemberName, PathError, Pool, PoolName, RefName, RepoPath, Resource,
    ServiceName,
};

/// The characters that make a pattern of a name.
const GLOB_CHARACTERS: &[u8] = b"*?[{";

/// Resolves everything that a task asks for into one lock set, with shares of what is shared out.
pub(super) fn request(coordinator: &Coordinator, wants: &[Wanted]) -> Result<LockSet, Error> {
    let locks = lock_set(coordinator, wants)?;
    let is_own = |resource: &Resource| matches!(resource, Resource::Worktree(_) | Resource::Landing(_));
    let own = locks.iter().find(|lock| is_own(&lock.resource));
    if let Some(lock) = own {
        let what = format!("{} is given out by `mirror run` alone", lock.resource);
        return Err(Error::Usage(what));
    }
    nested::refuse_inside(coordinator, &locks)?;
    Ok(locks)
}

/// Resolves everything that was typed into one lock set.
pub(super) fn lock_set(coordinator: &Coordinator, wants: &[Wanted]) -> Result<LockSet, Error> {
    let resolver = Resolver::new(coordinator);
    let mut locks = LockSet::new();
    let mut wishes = Vec::new();
    for wanted in wants {
        let WantedKind::Path(typed) = &wanted.what else {
            wishes.extend(wish(wanted));
            continue;
        };
        for resource in resolver.resources(typed)? {
            locks.insert(Lock {
                resource,
                mode: wanted.mode,
            });
        }
    }
    coordinator.providers.allocate(wishes, &mut locks)?;
    Ok(locks)
}

fn wish(wanted: &Wanted) -> Option<Wish> {
    let of = |kind: &str, name: &str, which: Which| Wish {
        kind: kind.to_owned(),
        name: name.to_owned(),
        which,
        mode: wanted.mode,
    };
    let this = |which: Option<String>| which.map_or(Which::Any, Which::This);
    match &wanted.what {
        WantedKind::Path(_) => None,
        WantedKind::Service(name) => Some(of("service", name, Which::Any)),
        WantedKind::Port(number) => Some(of("port", "", this(number.map(|number| number.to_string())))),
        WantedKind::Pool(name, member) => Some(of("pool", name, this(member.clone()))),
        WantedKind::Quota(name, amount) => Some(of("quota", name, Which::Amount(*amount))),
        WantedKind::Share(wish) => Some(wish.clone()),
    }
}

/// Resolves one typed path, directory or pattern. A pattern gives as many resources as it matches files.
pub(super) fn resources(coordinator: &Coordinator, typed: &OsStr) -> Result<Vec<Resource>, Error> {
    Resolver::new(coordinator).resources(typed)
}

/// Resolves the name of one file, in the case in which it was typed.
pub(super) fn file(coordinator: &Coordinator, typed: &OsStr) -> Result<RepoPath, Error> {
    match Resolver::new(coordinator).name(typed)? {
        Name { path: Some(path), .. } => Ok(path),
        Name { path: None, .. } => Err(PathError {
            path: typed.as_bytes().to_vec(),
            reason: "it is the root of the repository",
        }
        .into()),
    }
}

/// Tells whether names that differ only in case are one name here.
pub(super) fn folds(coordinator: &Coordinator) -> bool {
    coordinator.git.as_ref().is_some_and(Git::ignore_case)
}

/// Reads what `status` shows of anything but a path.
fn shown_resource(typed: &OsStr) -> Result<Option<Resource>, Error> {
    if let Some(name) = strip_prefix(typed, b"landing:") {
        return Ok(Some(Resource::Landing(RefName::from_shown(name.as_bytes())?)));
    }
    let Some((kind, name)) = typed.to_str().and_then(|typed| typed.split_once(':')) else {
        return Ok(None);
    };
    let number = |what| Error::Usage(format!("Invalid {what} in {kind}:{name}: a number is needed"));
    let resource = match (kind, name) {
        ("service", name) => Resource::Service(ServiceName::new(name)?),
        ("port", "*") => Resource::Pool(Pool::Ports),
        ("port", text) => Resource::Port(text.parse().map_err(|_| number("port"))?),
        ("worktree", "*") => Resource::Pool(Pool::Worktrees),
        ("worktree", text) => Resource::Worktree(text.parse().map_err(|_| number("number"))?),
        ("pool", name) => match name.split_once('/') {
            Some((pool, member)) => Resource::Member {
                pool: PoolName::new(pool)?,
                member: MemberName::new(member)?,
            },
            None => Resource::Pool(Pool::Members(PoolName::new(name)?)),
        },
        ("quota", name) => match name.split_once('=') {
            Some((quota, amount)) => Resource::Quota {
                quota: PoolName::new(quota)?,
                amount: amount
                    .parse::<Amount>()
                    .map_err(|error| Error::Usage(error.to_string()))?,
            },
            None => Resource::Pool(Pool::Quota(PoolName::new(name)?)),
        },
        _ => return Ok(None),
    };
    Ok(Some(resource))
}

/// A name inside the working tree; without a path it is the root itself.
struct Name {
    path: Option<RepoPath>,
    is_directory: bool,
}

struct Resolver<'a> {
    /// Free of symlinks.
    root: &'a Path,
    current_directory: &'a Path,
    fold: bool,
    config: &'a Config,
}

impl<'a> Resolver<'a> {
    fn new(coordinator: &'a Coordinator) -> Self {
        Self {
            root: coordinator.root.path(),
            current_directory: &coordinator.current_directory,
            fold: folds(coordinator),
            config: &coordinator.config,
        }
    }

    fn resources(&self, typed: &OsStr) -> Result<Vec<Resource>, Error> {
        // What `status` shows can be typed as it stands: it is relative to the root.
        if let Some(resource) = shown_resource(typed)? {
            return Ok(vec![resource]);
        }
        if let Some(path) = strip_prefix(typed, b"file:").or_else(|| strip_prefix(typed, b"dir:")) {
            return self.at(self.root).resources(path);
        }
        if !is_pattern(typed) {
            return Ok(vec![self.resource(self.name(typed)?)]);
        }
        // A file that really has such a name comes first.
        if let Ok(name) = self.name(typed)
            && self.exists(&name)
        {
            return Ok(vec![self.resource(name)]);
        }
        match without_escapes(typed) {
            Some(plain) => Ok(vec![self.resource(self.name(&plain)?)]),
            None => self.expand(typed),
        }
    }

    fn at<'b>(&'b self, current_directory: &'b Path) -> Resolver<'b> {
        Resolver {
            current_directory,
            ..*self
        }
    }

    fn resource(&self, name: Name) -> Resource {
        let path = name.path.map(|path| if self.fold { path.folded() } else { path });
        match path {
            Some(path) if !name.is_directory => Resource::File(path),
            directory if self.config.recursive_default => Resource::Directory(directory, Depth::Recursive),
            directory => Resource::Directory(directory, Depth::Children),
        }
    }

    /// Finds the name that `typed` means, whether or not anything has it.
    fn name(&self, typed: &OsStr) -> Result<Name, Error> {
        if typed.is_empty() {
            return Err(PathError {
                path: Vec::new(),
                reason: "it is empty",
            }
            .into());
        }
        let full = self.current_directory.join(typed);
        let (directory, last) = split_last(&full);
        let mut full = physical(&directory)?;
        if !last.is_empty() {
            full.push(&last);
        }
        let Ok(relative) = full.strip_prefix(self.root) else {
            return Err(Error::Outside {
                path: typed.into(),
                root: self.root.to_owned(),
            });
        };
        if relative.as_os_str().is_empty() {
            return Ok(Name {
                path: None,
                is_directory: true,
            });
        }
        let path = RepoPath::new(relative.as_os_str().as_bytes()).map_err(|error| PathError {
            path: typed.as_bytes().to_vec(),
            reason: error.reason,
        })?;
        let is_directory = last.is_empty() || full.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        Ok(Name {
            path: Some(path),
            is_directory,
        })
    }

    fn exists(&self, name: &Name) -> bool {
        let path = name.path.as_ref();
        path.is_none_or(|path| self.root.join(path.as_path()).symlink_metadata().is_ok())
    }

    /// Expands a pattern to the files that match it today, below the directory that its plain beginning names.
    fn expand(&self, typed: &OsStr) -> Result<Vec<Resource>, Error> {
        let pattern = || typed.to_string_lossy().into_owned();
        let bytes = typed.as_bytes();
        let first = bytes.iter().position(|byte| GLOB_CHARACTERS.contains(byte));
        let slash = first.and_then(|first| bytes[..first].iter().rposition(|byte| *byte == b'/'));
        let (directory, rest) = bytes.split_at(slash.map_or(0, |slash| slash + 1));
        let directory = match directory {
            b"" => OsStr::new("."),
            plain => OsStr::from_bytes(plain),
        };
        let below = self.name(directory)?.path;
        let rest = std::str::from_utf8(rest).map_err(|_| Error::Pattern {
            pattern: pattern(),
            reason: "it is not UTF-8".to_owned(),
        })?;
        let files = expand(self.root, below.as_ref(), rest, &self.config.ignore_patterns).map_err(
            |error| match error {
                ExpandError::Disk(error) => Error::Disk(error),
                other => Error::Pattern {
                    pattern: pattern(),
                    reason: other.to_string(),
                },
            },
        )?;
        if files.is_empty() {
            return Err(Error::NoMatch { pattern: pattern() });
        }
        let files = files.into_iter().map(|path| Name {
            path: Some(path),
            is_directory: false,
        });
        Ok(files.map(|name| self.resource(name)).collect())
    }
}

fn is_pattern(typed: &OsStr) -> bool {
    typed.as_bytes().iter().any(|byte| GLOB_CHARACTERS.contains(byte))
}

/// Returns the plain name that a pattern means whose special characters are all escaped, as in `app/\\[id\\].ts`.
fn without_escapes(typed: &OsStr) -> Option<OsString> {
    let mut plain = Vec::new();
    let mut bytes = typed.as_bytes().iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => plain.push(bytes.next()?),
            byte if GLOB_CHARACTERS.contains(&byte) => return None,
            byte => plain.push(byte),
        }
    }
    Some(OsString::from_vec(plain))
}

fn strip_prefix<'a>(typed: &'a OsStr, prefix: &[u8]) -> Option<&'a OsStr> {
    typed.as_bytes().strip_prefix(prefix).map(OsStr::from_bytes)
}

/// Splits off the last component, unless the path says in itself that it names a directory: by a slash, `.` or `..`.
fn split_last(path: &Path) -> (PathBuf, OsString) {
    let bytes = path.as_os_str().as_bytes();
    let slash = bytes
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (directory, last) = bytes.split_at(slash);
    match last {
        b"" | b"." | b".." => (path.to_owned(), OsString::new()),
        name => (
            PathBuf::from(OsStr::from_bytes(directory)),
            OsString::from_vec(name.to_vec()),
        ),
    }
}

/// Resolves as much of an absolute path as exists, as the kernel does; the rest is taken by its letters.
fn physical(path: &Path) -> Result<PathBuf, Error> {
    if let Ok(physical) = path.canonicalize() {
        return Ok(physical);
    }
    let mut resolved = PathBuf::from("/");
    let mut missing = false;
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                resolved.pop();
            }
            std::path::Component::Normal(name) if missing => resolved.push(name),
            std::path::Component::Normal(name) => {
                resolved.push(name);
                match resolved.canonicalize() {
                    Ok(physical) => resolved = physical,
                    Err(error) if is_absence(&error) => missing = true,
                    Err(source) => {
                        return Err(Error::Input {
                            path: resolved,
                            source,
                        });
                    }
                }
            }
            _ => {}
        }
    }
    Ok(resolved)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
