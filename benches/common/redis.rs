//! Redis as a peer: one Lua script for a lock set, over a unix socket, `appendonly yes`, `appendfsync everysec`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Takes every key or none. The peer knows neither directories, nor queue, nor tokens per path.
pub(crate) const ACQUIRE: &str = "
for _, key in ipairs(KEYS) do if redis.call('EXISTS', key) == 1 then return 0 end end
for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1], 'PX', 300000) end
redis.call('INCR', 'token') return 1";
pub(crate) const RELEASE: &str =
    "for _, key in ipairs(KEYS) do if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end end";

/// A Redis of our own.
pub(crate) struct Redis {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Redis {
    pub(crate) fn start(directory: &Path) -> Option<Self> {
        let socket = directory.join("redis.sock");
        let child = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
                "--dir",
            ])
            .arg(directory)
            .arg("--unixsocket")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        while connection(&socket).is_none() {
            std::thread::yield_now();
        }
        Some(Self { child, socket })
    }

    pub(crate) fn connect(&self) -> redis::Connection {
        connect(&self.socket)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn connect(socket: &Path) -> redis::Connection {
    connection(socket).unwrap()
}

fn connection(socket: &Path) -> Option<redis::Connection> {
    redis::Client::open(format!("unix://{}", socket.display()))
        .unwrap()
        .get_connection()
        .ok()
}
