//! The system calls that touch the outside: which of them change something, and which errors each can answer with.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace;
use nix::unistd::Pid;

/// A system call that a thread is about to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The descriptor that it is about, where it is about one.
    descriptor: Option<u64>,
    /// Whether that is a pipe or a socket: nothing on a disk.
    is_pipe: bool,
    /// Whether a program of the user's makes it, which mirror runs.
    pub(crate) is_foreign: bool,
}

/// What a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Opens what exists.
    Open,
    /// Opens, and may create or truncate.
    Create,
    /// Writes bytes.
    Write,
    /// Changes the length of a file.
    Resize,
    /// Changes names: makes, moves, removes them.
    Name,
    /// Changes owner, mode, times or attributes.
    Attribute,
    /// Makes durable.
    Sync,
    /// Locks a file.
    Lock,
    /// Reads bytes.
    Read,
    /// Looks at names, metadata or directories.
    Look,
    /// Makes a pipe or a socket.
    Descriptor,
    /// Ends the process.
    Exit,
}

/// The calls that are told by their number alone: number, name, kind, and whether the first argument is a descriptor that
/// the call is about.
#[rustfmt::skip]
const TABLE: &[(libc::c_long, &str, Kind, bool)] = &[
    (libc::SYS_creat, "creat", Kind::Create, false),
    (libc::SYS_write, "write", Kind::Write, true),
    (libc::SYS_pwrite64, "pwrite64", Kind::Write, true),
    (libc::SYS_writev, "writev", Kind::Write, true),
    (libc::SYS_pwritev, "pwritev", Kind::Write, true),
    (libc::SYS_pwritev2, "pwritev", Kind::Write, true),
    (libc::SYS_sendfile, "sendfile", Kind::Write, true),
    (libc::SYS_truncate, "truncate", Kind::Resize, false),
    (libc::SYS_ftruncate, "ftruncate", Kind::Resize, true),
    (libc::SYS_fallocate, "fallocate", Kind::Resize, true),
    (libc::SYS_mkdir, "mkdir", Kind::Name, false),
    (libc::SYS_mkdirat, "mkdirat", Kind::Name, false),
    (libc::SYS_rmdir, "rmdir", Kind::Name, false),
    (libc::SYS_link, "link", Kind::Name, false),
    (libc::SYS_linkat, "linkat", Kind::Name, false),
    (libc::SYS_symlink, "symlink", Kind::Name, false),
    (libc::SYS_symlinkat, "symlinkat", Kind::Name, false),
    (libc::SYS_rename, "rename", Kind::Name, false),
    (libc::SYS_renameat, "renameat", Kind::Name, false),
    (libc::SYS_renameat2, "renameat2", Kind::Name, false),
    (libc::SYS_unlink, "unlink", Kind::Name, false),
    (libc::SYS_unlinkat, "unlinkat", Kind::Name, false),
    (libc::SYS_mknodat, "mknodat", Kind::Name, false),
    (libc::SYS_bind, "bind", Kind::Name, false),
    (libc::SYS_chmod, "chmod", Kind::Attribute, false),
    (libc::SYS_fchmod, "fchmod", Kind::Attribute, true),
    (libc::SYS_fchmodat, "fchmodat", Kind::Attribute, false),
    (libc::SYS_fchmodat2, "fchmodat", Kind::Attribute, false),
    (libc::SYS_chown, "chown", Kind::Attribute, false),
    (libc::SYS_fchown, "fchown", Kind::Attribute, true),
    (libc::SYS_fchownat, "fchownat", Kind::Attribute, false),
    (libc::SYS_utimensat, "utimensat", Kind::Attribute, false),
    (libc::SYS_setxattr, "setxattr", Kind::Attribute, false),
    (libc::SYS_lsetxattr, "lsetxattr", Kind::Attribute, false),
    (libc::SYS_fsetxattr, "fsetxattr", Kind::Attribute, true),
    (libc::SYS_fsync, "fsync", Kind::Sync, true),
    (libc::SYS_fdatasync, "fdatasync", Kind::Sync, true),
    (libc::SYS_syncfs, "syncfs", Kind::Sync, true),
    (libc::SYS_sync_file_range, "sync_file_range", Kind::Sync, true),
    (libc::SYS_flock, "flock", Kind::Lock, true),
    (libc::SYS_read, "read", Kind::Read, true),
    (libc::SYS_pread64, "pread64", Kind::Read, true),
    (libc::SYS_stat, "stat", Kind::Look, false),
    (libc::SYS_lstat, "lstat", Kind::Look, false),
    (libc::SYS_fstat, "fstat", Kind::Look, true),
    (libc::SYS_newfstatat, "newfstatat", Kind::Look, false),
    (libc::SYS_statx, "statx", Kind::Look, false),
    (libc::SYS_statfs, "statfs", Kind::Look, false),
    (libc::SYS_fstatfs, "fstatfs", Kind::Look, true),
    (libc::SYS_access, "access", Kind::Look, false),
    (libc::SYS_faccessat, "faccessat", Kind::Look, false),
    (libc::SYS_faccessat2, "faccessat", Kind::Look, false),
    (libc::SYS_readlink, "readlink", Kind::Look, false),
    (libc::SYS_readlinkat, "readlinkat", Kind::Look, false),
    (libc::SYS_getdents64, "getdents64", Kind::Look, true),
    (libc::SYS_pipe2, "pipe2", Kind::Descriptor, false),
    (libc::SYS_socket, "socket", Kind::Descriptor, false),
    (libc::SYS_exit_group, "exit_group", Kind::Exit, false),
];

impl Call {
    /// Reads the call from the registers; `None` for calls that touch nothing outside the process.
    pub(crate) fn read(pid: Pid, registers: &user_regs_struct, is_foreign: bool) -> Option<Self> {
        let (first, second, third) = (registers.rdi, registers.rsi, registers.rdx);
        let number = i64::try_from(registers.orig_rax).ok()?;
        let (name, kind, descriptor) = match number {
            libc::SYS_open => ("open", open(second), None),
            libc::SYS_openat => ("openat", open(third), None),
            libc::SYS_openat2 => {
                let flags = ptrace::read(pid, third as ptrace::AddressType).unwrap_or(0);
                ("openat2", open(flags.cast_unsigned()), None)
            }
            libc::SYS_copy_file_range => ("copy_file_range", Kind::Write, Some(third)),
            libc::SYS_fcntl if is_lock(second) => ("fcntl", Kind::Lock, Some(first)),
            _ => {
                let (_, name, kind, has_descriptor) = *TABLE.iter().find(|row| row.0 == number)?;
                (name, kind, has_descriptor.then_some(first))
            }
        };
        let is_pipe =
            matches!(kind, Kind::Read | Kind::Write) && descriptor.is_some_and(|number| is_pipe(pid, number));
        Some(Self {
            name,
            kind,
            descriptor,
            is_pipe,
            is_foreign,
        })
    }

    /// Returns the files that it is about, as far as they are named: none, one, or two.
    pub(crate) fn files(&self, pid: Pid, registers: &user_regs_struct) -> [PathBuf; 2] {
        let user_regs_struct {
            rdi, rsi, rdx, r10, ..
        } = *registers;
        let here = libc::AT_FDCWD.cast_unsigned().into();
        let place = |directory, name| place(pid, directory, name);
        let nothing = PathBuf::new;
        match (self.descriptor, self.name) {
            (Some(descriptor), _) => [opened(pid, descriptor), nothing()],
            (None, "renameat" | "renameat2" | "linkat") => [place(rdi, rsi), place(rdx, r10)],
            (None, "rename" | "link") => [place(here, rdi), place(here, rsi)],
            (None, "symlinkat") => [place(rsi, rdx), nothing()],
            (None, "symlink") => [place(here, rsi), nothing()],
            (None, name) if is_relative(name) => [place(rdi, rsi), nothing()],
            _ => [place(here, rdi), nothing()],
        }
    }

    /// Tells whether it changes what others can see, or ends the process: being killed before any other call is the same
    /// as being killed before the next such one.
    pub(crate) fn changes(&self) -> bool {
        use Kind::{Attribute, Create, Exit, Lock, Name, Resize, Sync, Write};
        matches!(
            self.kind,
            Create | Write | Resize | Name | Attribute | Sync | Lock | Exit
        )
    }

    /// Tells whether it can answer with an error that is for us to bear: what a program of the user's makes of its errors is
    /// its own affair.
    pub(crate) fn can_fail(&self) -> bool {
        self.kind != Kind::Exit && !self.is_foreign
    }

    /// Tells whether it writes to the user's terminal.
    pub(crate) fn prints(&self) -> bool {
        self.kind == Kind::Write && matches!(self.descriptor, Some(1 | 2))
    }

    /// Returns the errors that it can answer with, of those that a disk, a quota or a table of the kernel gives.
    pub(crate) fn errors(&self) -> &'static [Errno] {
        use Errno::{EACCES, EDQUOT, EINTR, EIO, EMFILE, ENOLCK, ENOMEM, ENOSPC, EROFS};
        match self.kind {
            Kind::Read | Kind::Write if self.is_pipe => &[EINTR],
            Kind::Open => &[EMFILE, EACCES, EIO, EINTR],
            Kind::Create => &[EMFILE, EACCES, EIO, ENOSPC, EDQUOT, EROFS],
            Kind::Write | Kind::Resize => &[EIO, ENOSPC, EDQUOT, EINTR],
            Kind::Name | Kind::Attribute => &[EIO, ENOSPC, EDQUOT, EACCES, EROFS],
            Kind::Sync => &[EIO, ENOSPC, EDQUOT, EROFS],
            Kind::Lock => &[EINTR, ENOLCK],
            Kind::Read => &[EIO, EINTR],
            Kind::Look => &[EIO, EACCES, ENOMEM],
            Kind::Descriptor => &[EMFILE],
            Kind::Exit => &[],
        }
    }

    /// Tells whether it can move fewer bytes than it was asked to.
    pub(crate) fn can_be_short(&self) -> bool {
        matches!(self.name, "read" | "pread64" | "write" | "pwrite64")
    }
}

fn is_relative(name: &str) -> bool {
    name.ends_with("at") || matches!(name, "openat2" | "statx")
}

/// Finds what a process has opened.
fn opened(pid: Pid, descriptor: u64) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).unwrap_or_default()
}

/// Finds the place of a name that lies in memory at `name`, seen from an opened directory.
fn place(pid: Pid, directory: u64, name: u64) -> PathBuf {
    let name = text_at(pid, name).unwrap_or_default();
    if let Ok(own) = name.strip_prefix("/proc/self") {
        return fs::read_link(Path::new("/proc").join(pid.to_string()).join(own)).unwrap_or_default();
    }
    // It has 32 bits of the register, whatever is in the others.
    let directory = directory & u64::from(u32::MAX);
    let directory = if directory == u64::from(libc::AT_FDCWD.cast_unsigned()) {
        fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default()
    } else {
        opened(pid, directory)
    };
    let mut place = PathBuf::new();
    for component in directory.join(name).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                place.pop();
            }
            other => place.push(other),
        }
    }
    place
}

/// Reads a name out of another process's memory.
fn text_at(pid: Pid, address: u64) -> Option<PathBuf> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = [0; 4096];
    let read = memory.read_at(&mut bytes, address).ok()?;
    let end = bytes[..read].iter().position(|byte| *byte == 0)?;
    Some(PathBuf::from(OsStr::from_bytes(&bytes[..end])))
}

fn is_pipe(pid: Pid, descriptor: u64) -> bool {
    let target = fs::read_link(format!("/proc/{pid}/fd/{descriptor}"));
    let target = target.unwrap_or_default().into_os_string();
    let target = target.to_string_lossy();
    target.starts_with("pipe:") || target.starts_with("socket:")
}

fn open(flags: u64) -> Kind {
    let creating = libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE & !libc::O_DIRECTORY;
    if flags & u64::from(creating.unsigned_abs()) == 0 {
        Kind::Open
    } else {
        Kind::Create
    }
}

fn is_lock(command: u64) -> bool {
    let locks = [
        libc::F_SETLK,
        libc::F_SETLKW,
        libc::F_OFD_SETLK,
        libc::F_OFD_SETLKW,
    ];
    locks.iter().any(|lock| u64::from(lock.unsigned_abs()) == command)
}
