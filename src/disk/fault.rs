//! Named stop points for crash tests.
//!
//! In a debug build, or with the feature `fault-points`, a point can kill or stop the process or inject an errno when it
//! is passed. In any other build it is nothing at all. What shall happen is installed once per process; only the command
//! line does that.

/// A point at which a test may kill or stop the process.
#[inline]
pub fn point(name: &'static str) {
    // A point cannot fail: an injected errno has nowhere to go and is a mistake in the test.
    if let Err(error) = check(name) {
        unreachable!("BUG: the fault point {name} cannot fail, use one that can: {error}");
    }
}

#[cfg(any(debug_assertions, feature = "fault-points"))]
pub use active::{check, install};

/// A point at which a test may also inject an error.
#[cfg(not(any(debug_assertions, feature = "fault-points")))]
#[inline]
pub fn check(name: &'static str) -> std::io::Result<()> {
    let _ = name;
    Ok(())
}

#[cfg(any(debug_assertions, feature = "fault-points"))]
mod active {
    use std::collections::BTreeMap;
    use std::io;
    use std::path::PathBuf;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use rustix::process::{Signal, getpid, kill_process};

    static PLAN: OnceLock<Plan> = OnceLock::new();

    struct Plan {
        target: Target,
        passages: Mutex<BTreeMap<&'static str, u32>>,
    }

    enum Target {
        /// Append the name of every point that is passed to a file.
        List(PathBuf),
        /// Do something at the n-th passage of one point.
        At { name: String, passage: u32, act: Act },
    }

    #[derive(Clone, Copy)]
    enum Act {
        Kill,
        Stop,
        Fail(i32),
    }

    /// Installs what shall happen: `name=kill`, `name=stop`, `name=error:ENOSPC`, `name@3=kill` (at the third passage), or
    /// `list:/path` (append the names of all points passed). Answers what is wrong with `spec`.
    pub fn install(spec: &str) -> Result<(), String> {
        let target = parse(spec).ok_or_else(|| format!("invalid fault {spec:?}"))?;
        let plan = Plan {
            target,
            passages: Mutex::new(BTreeMap::new()),
        };
        PLAN.set(plan)
            .map_err(|_| "a fault is installed already".to_owned())
    }

    fn parse(spec: &str) -> Option<Target> {
        if let Some(path) = spec.strip_prefix("list:") {
            return Some(Target::List(path.into()));
        }
        let (place, act) = spec.split_once('=')?;
        let (name, passage) = match place.split_once('@') {
            Some((name, passage)) => (name, passage.parse().ok()?),
            None => (place, 1),
        };
        let act = match act {
            "kill" => Act::Kill,
            "stop" => Act::Stop,
            other => Act::Fail(errno(other.strip_prefix("error:")?)?),
        };
        Some(Target::At {
            name: name.to_owned(),
            passage,
            act,
        })
    }

    fn errno(name: &str) -> Option<i32> {
        use rustix::io::Errno;
        let errno = match name {
            "EIO" => Errno::IO,
            "ENOSPC" => Errno::NOSPC,
            "EDQUOT" => Errno::DQUOT,
            "EMFILE" => Errno::MFILE,
            "EACCES" => Errno::ACCESS,
            "EROFS" => Errno::ROFS,
            "EXDEV" => Errno::XDEV,
            _ => return None,
        };
        Some(errno.raw_os_error())
    }

    /// A point at which a test may also inject an error.
    pub fn check(name: &'static str) -> io::Result<()> {
        let Some(plan) = PLAN.get() else { return Ok(()) };
        let passage = {
            let mut passages = plan.passages.lock().unwrap_or_else(PoisonError::into_inner);
            let count = passages.entry(name).or_insert(0);
            *count += 1;
            *count
        };
        match &plan.target {
            Target::List(path) => {
                let line = format!("{name}\n");
                crate::disk::append(path, line.as_bytes()).map_err(io::Error::other)
            }
            Target::At {
                name: wanted,
                passage: at,
                act,
            } if wanted == name && *at == passage => match act {
                Act::Kill => die(Signal::KILL),
                Act::Stop => die(Signal::STOP),
                Act::Fail(errno) => Err(io::Error::from_raw_os_error(*errno)),
            },
            Target::At { .. } => Ok(()),
        }
    }

    fn die(signal: Signal) -> io::Result<()> {
        kill_process(getpid(), signal).map_err(Into::into)
    }
}
