//! What a task declares before it begins.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::Value;

use crate::config::Strategy;
use crate::coordinator::{BeginRequest, BranchChoice, Error, Wanted, WantedKind};
use crate::host::unique_id;
use crate::model::{Amount, Mode, TaskId};
use crate::store::Wait;

/// Who a task is, and what it will need: all of it is locked when it begins, or nothing.
///
/// ```
/// # use std::time::Duration;
/// # use mirror::Declaration;
/// # fn main() -> Result<(), mirror::Error> {
/// let declaration = Declaration::new("agent-1")?
///     .write("src/parser.rs") // names that do not exist yet may be locked, too
///     .write("src/ast/") // a directory, with everything below it
///     .read("docs/")
///     .service("database")
///     .pool("test-db") // any member of a pool of the configuration
///     .wait(Duration::from_secs(30))
///     .reason("trailing commas");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a declaration does nothing until a task begins with it"]
pub struct Declaration {
    request: BeginRequest,
    growth: Growth,
}

/// What becomes of a change outside the lock set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    Refused,
    Allowed,
}

impl Growth {
    pub(super) fn is_allowed(self) -> bool {
        self == Self::Allowed
    }
}

impl Declaration {
    /// Declares a task of this name, such as `agent-1`.
    pub fn new(task: &str) -> Result<Self, Error> {
        let task = TaskId::new(task).map_err(|error| Error::Usage(error.to_string()))?;
        Ok(Self::of(task))
    }

    /// Declares a task whose name does not matter: it gets one that nobody else has.
    pub fn unnamed() -> Self {
        let unique = unique_id().simple().to_string();
        let task = TaskId::new(format!("task-{}", &unique[16..]))
            .unwrap_or_else(|_| unreachable!("BUG: letters, digits and a dash always make a task id"));
        Self::of(task)
    }

    fn of(task: TaskId) -> Self {
        let mut request = BeginRequest::writing(task, [] as [OsString; 0]);
        request.pid = Some(std::process::id());
        request.into()
    }

    /// Returns the name of the task.
    pub fn task(&self) -> &TaskId {
        &self.request.task
    }

    /// Will write to this file, to everything below this directory, or to all files that match this pattern now.
    pub fn write(self, path: impl Into<OsString>) -> Self {
        self.wanting(WantedKind::Path(path.into()), Mode::Write)
    }

    /// Will read it, and nobody shall write to it meanwhile.
    pub fn read(self, path: impl Into<OsString>) -> Self {
        self.wanting(WantedKind::Path(path.into()), Mode::Read)
    }

    /// Needs a service for itself, such as `database` or `database:5432`.
    pub fn service(self, name: impl Into<String>) -> Self {
        self.wanting(WantedKind::Service(name.into()), Mode::Write)
    }

    /// Needs a service together with others who need it so.
    pub fn shared_service(self, name: impl Into<String>) -> Self {
        self.wanting(WantedKind::Service(name.into()), Mode::Read)
    }

    /// Needs a free port. Which one it got is among the task's resources.
    pub fn port(self) -> Self {
        self.wanting(WantedKind::Port(None), Mode::Write)
    }

    /// Needs any member of a pool.
    pub fn pool(self, name: impl Into<String>) -> Self {
        self.wanting(WantedKind::Pool(name.into(), None), Mode::Write)
    }

    /// Needs so much of a quota, in bytes or whatever it counts.
    pub fn quota(self, name: impl Into<String>, amount: u64) -> Self {
        let part = WantedKind::Quota(name.into(), Amount::new(amount));
        self.wanting(part, Mode::Write)
    }

    /// Waits in line for so long when others hold something of it. Otherwise it is refused at once.
    pub fn wait(mut self, patience: Duration) -> Self {
        self.request.wait = Wait::UpTo(patience);
        self
    }

    /// Says why, for those who find the locks in their way.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.request.reason = Some(reason.into());
        self
    }

    /// Keeps something of the program's own with the task, for `status` and whoever asks.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.request.metadata.insert(key.into(), value.into());
        self
    }

    /// Works on a branch of its own, which the commit merges.
    pub fn on_branch(mut self) -> Self {
        self.request.branch = BranchChoice::Always;
        self
    }

    /// Works on a branch of its own, which the commit merges into this one instead of the one that is checked out.
    pub fn into_branch(mut self, target: impl Into<String>) -> Self {
        self.request.into = Some(target.into());
        self
    }

    /// Locks no file before the commit, which merges or refuses what others changed meanwhile. A task that is run locks all
    /// the same: what it will change is known only when it has ended.
    pub fn optimistic(mut self) -> Self {
        self.request.strategy = Some(Strategy::Optimistic);
        self
    }

    /// Locks on the way what it changes outside of what it has declared, unless others hold it. Otherwise that is refused.
    pub fn growing(mut self) -> Self {
        self.growth = Growth::Allowed;
        self
    }

    fn wanting(mut self, what: WantedKind, mode: Mode) -> Self {
        self.request.wants.push(Wanted { what, mode });
        self
    }

    pub(super) fn request(&self) -> BeginRequest {
        self.request.clone()
    }

    pub(super) fn growth(&self) -> Growth {
        self.growth
    }
}

impl From<BeginRequest> for Declaration {
    /// Everything that can be asked for. Without a `pid` the locks last as long as the lease, whether this process lives or not.
    fn from(request: BeginRequest) -> Self {
        Self {
            request,
            growth: Growth::Refused,
        }
    }
}
