//! A waiter's socket: one datagram wakes exactly one waiter, and a refused one tells that it died.
//!
//! The datagram is only a hint. Socket addresses end at 107 bytes and repositories lie deeper, so both sides go through
//! `/proc/self/fd/<directory>/<name>`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::disk::{self, DiskError, Result};

/// A waiter's end. The name is removed on drop, at best effort.
#[derive(Debug)]
pub struct WakeSocket {
    socket: UnixDatagram,
    path: PathBuf,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Somebody sent a datagram.
    Datagram,
    /// One of the watched processes ended: its place in the list.
    Died(usize),
    /// The time is over.
    Timeout,
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notified {
    /// It arrived, or one that says the same is waiting to be read.
    Delivered,
    /// Nobody listens under this name any more.
    NobodyThere,
}

impl WakeSocket {
    /// Listens under `name` in `directory`; only the owner may send.
    pub fn bind(directory: &Path, name: &str) -> Result<Self> {
        let path = directory.join(name);
        let fail = || DiskError::of("listening on", &path);
        let opened = File::open(directory).map_err(fail())?;
        let socket = UnixDatagram::bind(address(&opened, name)).map_err(fail())?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(fail())?;
        socket.set_nonblocking(true).map_err(fail())?;
        Ok(Self { socket, path })
    }

    /// Waits for a datagram, for the end of one of `processes`, or for `timeout`. All pending datagrams count as one.
    pub fn wait(&self, timeout: Duration, processes: &[BorrowedFd<'_>]) -> Result<Woken> {
        let mut watched = vec![PollFd::new(&self.socket, PollFlags::IN)];
        watched.extend(
            processes
                .iter()
                .map(|process| PollFd::from_borrowed_fd(*process, PollFlags::IN)),
        );
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match poll(&mut watched, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Woken::Timeout),
            Ok(_) => {}
            Err(errno) => return Err(DiskError::errno("waiting on", &self.path)(errno)),
        }
        if watched[0].revents().is_empty() {
            let died = watched
                .iter()
                .skip(1)
                .position(|process| !process.revents().is_empty());
            return Ok(died.map_or(Woken::Timeout, Woken::Died));
        }
        let mut byte = [0];
        while self.socket.recv(&mut byte).is_ok() {}
        Ok(Woken::Datagram)
    }
}

impl AsFd for WakeSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for WakeSocket {
    fn drop(&mut self) {
        // What a killed waiter leaves is removed by cleanup.
        drop(disk::remove_file_if_there(&self.path));
    }
}

/// Sends one datagram to `name` in `directory`, without ever waiting.
pub fn notify(directory: &Path, name: &str) -> Result<Notified> {
    let path = directory.join(name);
    let fail = || DiskError::of("waking", &path);
    let opened = File::open(directory).map_err(fail())?;
    let socket = UnixDatagram::unbound().map_err(fail())?;
    socket.set_nonblocking(true).map_err(fail())?;
    match socket.send_to(&[1], address(&opened, name)) {
        Ok(_) => Ok(Notified::Delivered),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Ok(Notified::Delivered),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(Notified::NobodyThere),
            _ => Err(fail()(error)),
        },
    }
}

fn address(directory: &File, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_wakes_a_waiter_deeper_than_socket_addresses_reach() {
        let sandbox = tempfile::tempdir().unwrap();
        let deep = sandbox.path().join("x".repeat(120));
        disk::create_dir_all(&deep).unwrap();
        let socket = WakeSocket::bind(&deep, "ticket").unwrap();
        assert_eq!(socket.wait(Duration::ZERO, &[]).unwrap(), Woken::Timeout);
        assert_eq!(notify(&deep, "ticket").unwrap(), Notified::Delivered);
        assert_eq!(notify(&deep, "ticket").unwrap(), Notified::Delivered);
        assert_eq!(socket.wait(Duration::from_secs(5), &[]).unwrap(), Woken::Datagram);
        assert_eq!(socket.wait(Duration::ZERO, &[]).unwrap(), Woken::Timeout);
        drop(socket);
        assert_eq!(notify(&deep, "ticket").unwrap(), Notified::NobodyThere);
    }
}
