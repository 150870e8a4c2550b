//! An error of the operating system together with what we were doing, and to which path.

use crate::model::shown;
use std::io;
use std::path::{Path, PathBuf};

/// A file verb that failed.
#[derive(Debug, thiserror::Error)]
#[error("Failed {doing} {}", shown(path))]
pub struct DiskError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl DiskError {
    /// Returns a function that wraps an io error.
    pub fn of(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// Wraps an error of a system call.
    pub(crate) fn errno(doing: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self {
            doing,
            path: path.to_owned(),
            source: errno.into(),
        }
    }

    /// A name that others kept making and removing under our hands.
    pub fn contended(doing: &'static str, path: &Path) -> Self {
        let source = io::Error::new(
            io::ErrorKind::ResourceBusy,
            "somebody keeps making and removing this name",
        );
        Self {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what the system said.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Tells whether the name does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }

    /// Tells whether the name is taken.
    pub fn is_already_there(&self) -> bool {
        self.kind() == io::ErrorKind::AlreadyExists
    }

    /// Tells whether a rename would have crossed file systems, or layers of one.
    pub fn is_across_layers(&self) -> bool {
        self.kind() == io::ErrorKind::CrossesDevices
    }

    /// Tells whether something stands where a directory should be, or the other way round, or a link is in the path.
    pub fn is_wrong_kind(&self) -> bool {
        use rustix::io::Errno;
        matches!(
            Errno::from_io_error(&self.source),
            Some(Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::XDEV)
        )
    }

    /// Tells whether the disk or the quota is full.
    pub fn is_full(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// Tells whether we are not allowed to, or the file system is read-only.
    pub fn is_denied(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        )
    }
}

/// Wraps the errno that a fault point injected.
pub fn injected(source: io::Error) -> DiskError {
    DiskError {
        doing: "at the fault point",
        path: PathBuf::new(),
        source,
    }
}
