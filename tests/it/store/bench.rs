//! A store on a machine whose clock and processes are made up.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mirror::host::{Host, HostError, unique_id};
use mirror::model::{
    Amount, AnyOf, BootId, Candidates, Lock, LockSet, MemberName, Mode, Now, Owner, PoolName, Process,
    RepoPath, Resource, Share, TaskId, Token, TransactionId, Verdict, WallTime, conflict,
};
use mirror::store::{
    AcquireError, Asker, Grant, NewTask, NewTransaction, Place, Store, Task, Transaction, Wait,
};
use tempfile::TempDir;

/// A machine that does as it is told.
#[derive(Debug)]
pub(super) struct Machine {
    now: Mutex<Now>,
    dead: Mutex<BTreeSet<u32>>,
    unseen: Mutex<BTreeSet<u32>>,
}

impl Machine {
    fn new() -> Self {
        let now = Now {
            boot: BootId::new("first"),
            boottime_ns: 1_000_000_000,
            wall: WallTime { ms: 1_000_000 },
        };
        Self {
            now: Mutex::new(now),
            dead: Mutex::default(),
            unseen: Mutex::default(),
        }
    }

    /// Lets time pass.
    pub(super) fn pass(&self, span: Duration) {
        let mut now = self.now.lock().unwrap();
        now.boottime_ns += i64::try_from(span.as_nanos()).unwrap();
        now.wall.ms += i64::try_from(span.as_millis()).unwrap();
    }

    /// Starts the machine again.
    pub(super) fn reboot(&self) {
        let mut now = self.now.lock().unwrap();
        now.boot = BootId::new(unique_id().to_string());
        now.boottime_ns = 1;
    }

    /// Ends a process.
    pub(super) fn kill(&self, pid: u32) {
        self.dead.lock().unwrap().insert(pid);
    }

    /// Puts a process where nobody can see it.
    pub(super) fn hide(&self, pid: u32) {
        self.unseen.lock().unwrap().insert(pid);
    }
}

impl Host for Machine {
    fn now(&self) -> Now {
        self.now.lock().unwrap().clone()
    }

    fn owner(&self, pid: Option<u32>) -> Result<Owner, HostError> {
        let process = pid.map(|pid| Process {
            pid,
            pid_namespace: 1,
            time_namespace: 1,
            start_ticks: u64::from(pid),
        });
        Ok(Owner {
            host: "machine".to_owned(),
            boot: self.now().boot,
            process,
        })
    }

    fn verdict(&self, owner: &Owner) -> Verdict {
        let Some(process) = &owner.process else {
            return Verdict::Unknown;
        };
        if self.dead.lock().unwrap().contains(&process.pid) || owner.boot != self.now().boot {
            Verdict::Dead
        } else if self.unseen.lock().unwrap().contains(&process.pid) {
            Verdict::Unknown
        } else {
            Verdict::Alive
        }
    }

    fn watch(&self, _process: &Process) -> Option<OwnedFd> {
        None
    }
}

/// A store with its machine.
pub(super) struct Bench {
    pub(super) machine: Arc<Machine>,
    pub(super) store: Store,
    /// Whether the store outlives its handles.
    pub(super) is_kept: bool,
    place: Option<(TempDir, Place)>,
}

/// Runs `test` over every kind of store.
pub(super) fn everywhere(test: impl Fn(&mut Bench)) {
    test(&mut Bench::sqlite());
    test(&mut Bench::memory());
}

impl Bench {
    pub(super) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let place = Place {
            registry: at("registry.db"),
            door: at("door.lock"),
            wake: at("wake"),
        };
        std::fs::create_dir(&place.wake).unwrap();
        let machine = Arc::new(Machine::new());
        let store = Store::create(&place, machine.clone()).unwrap();
        Self {
            machine,
            store,
            is_kept: true,
            place: Some((directory, place)),
        }
    }

    /// A registry that an older version left behind, opened.
    pub(super) fn left_behind(script: &str) -> Self {
        let mut bench = Self::left_behind_unopened(script);
        bench.reopen();
        bench
    }

    /// A registry that an older version left behind, and that nobody has opened since. The handle is of no use.
    pub(super) fn left_behind_unopened(script: &str) -> Self {
        let bench = Self::sqlite();
        let (_, place) = bench.place.as_ref().unwrap();
        for end in ["", "-wal", "-shm"] {
            let mut path = place.registry.clone().into_os_string();
            path.push(end);
            std::fs::remove_file(path).ok();
        }
        bench.registry().execute_batch(script).unwrap();
        bench
    }

    /// Returns what opens another handle on the same registry, as another process would.
    pub(super) fn opener(&self) -> impl Fn() -> Store + Sync + use<> {
        let (_, place) = self.place.as_ref().unwrap();
        let (place, machine) = (place.clone(), self.machine.clone());
        move || Store::open(&place, machine.clone()).unwrap()
    }

    pub(super) fn memory() -> Self {
        let machine = Arc::new(Machine::new());
        let store = Store::memory(machine.clone());
        Self {
            machine,
            store,
            is_kept: false,
            place: None,
        }
    }

    /// Opens the registry as nobody but a test does.
    pub(super) fn registry(&self) -> rusqlite::Connection {
        let (_, place) = self.place.as_ref().unwrap();
        rusqlite::Connection::open(&place.registry).unwrap()
    }

    /// Opens the store anew, as another process would.
    pub(super) fn reopen(&mut self) {
        if let Some((_, place)) = &self.place {
            self.store = Store::open(place, self.machine.clone()).unwrap();
        }
    }

    pub(super) fn begin(&mut self, name: &str, wants: &[&str]) -> Result<Grant, AcquireError> {
        self.begin_as(name, None, wants)
    }

    /// Begins a task that is tied to a process.
    pub(super) fn begin_as(
        &mut self,
        name: &str,
        pid: Option<u32>,
        wants: &[&str],
    ) -> Result<Grant, AcquireError> {
        let asker = self.asker(name, pid);
        self.store
            .acquire(&asker, &locks(wants), Wait::Never, &mut |_| {})
    }

    pub(super) fn asker(&self, name: &str, pid: Option<u32>) -> Asker {
        Asker::New(NewTask {
            id: task(name),
            owner: self.machine.owner(pid).unwrap(),
            ttl_ms: 60_000,
            max_hold_ms: 3_600_000,
            reason: Some("a test".to_owned()),
            metadata: serde_json::Map::new(),
        })
    }

    /// Asks for more.
    pub(super) fn more(&mut self, name: &str, wants: &[&str]) -> Result<Grant, AcquireError> {
        self.store
            .acquire(&Asker::Task(task(name)), &locks(wants), Wait::Never, &mut |_| {})
    }

    /// Asks, is not served, and keeps its place in the queue for a while.
    pub(super) fn stand(&mut self, name: &str, wants: &[&str]) -> Result<Grant, AcquireError> {
        let asker = self.asker(name, None);
        self.store
            .acquire(&asker, &locks(wants), Wait::UpTo(Duration::ZERO), &mut |_| {})
    }

    pub(super) fn release(&mut self, name: &str) {
        self.store
            .release(&task(name), &mirror::store::Release::All)
            .unwrap();
    }

    /// Opens a transaction of a task.
    pub(super) fn open(&mut self, name: &str) -> Transaction {
        let new = NewTransaction {
            id: TransactionId::from_uuid(unique_id()),
            task: task(name),
            branch: None,
            target: None,
            base: None,
        };
        self.store.open_transaction(&new).unwrap()
    }

    /// Lists what is held: `task mode resource`.
    pub(super) fn held(&mut self) -> Vec<String> {
        let tasks = self.store.tasks().unwrap();
        let of_task = |task: &mirror::store::Task| {
            let id = task.id.clone();
            let lines = task.locks.iter();
            lines
                .map(move |held| format!("{id} {} {}", held.lock.mode.as_str(), held.lock.resource))
                .collect::<Vec<_>>()
        };
        tasks.iter().flat_map(of_task).collect()
    }
}

/// How much of the quota `memory` there is in tests.
pub(super) const MEMORY: u64 = 16;

/// Reads a wish for a share: `any:db` of three members, `any:db*2`, `any:ports` of two, `quota:memory=5`.
fn share(text: &str) -> Option<Share> {
    if let Some(amount) = text.strip_prefix("quota:memory=") {
        return Some(Share::Amount {
            quota: PoolName::new("memory").unwrap(),
            amount: amount.parse().unwrap(),
            total: Amount::new(MEMORY),
        });
    }
    let (name, count) = match text.strip_prefix("any:")?.split_once('*') {
        Some((name, count)) => (name, count.parse().unwrap()),
        None => (text.strip_prefix("any:")?, 1),
    };
    let candidates = if name == "ports" {
        Candidates::Ports {
            first: 5000,
            last: 5001,
        }
    } else {
        let member = |number: u32| MemberName::new(number.to_string()).unwrap();
        Candidates::Members {
            pool: PoolName::new(name).unwrap(),
            members: (1..=3).map(member).collect(),
        }
    };
    Some(Share::AnyOf(AnyOf {
        candidates,
        count,
        excluded: BTreeSet::new(),
    }))
}

/// Reads `w:src/a`, `r:src/`, `w:service:db`, `w:port:5000`, `w:pool:db/1`, `w:.`. A wish for a share is read as the whole
/// of it.
pub(super) fn lock(text: &str) -> Lock {
    if let Some(share) = share(text) {
        return share.in_line();
    }
    let (mode, rest) = text.split_once(':').unwrap();
    let path = |text: &str| RepoPath::new(text).unwrap();
    let resource = match rest {
        "." => Resource::Directory(None, mirror::model::Depth::Recursive),
        _ if rest.starts_with("service:") => {
            Resource::Service(mirror::model::ServiceName::new(&rest[8..]).unwrap())
        }
        _ if rest.starts_with("port:") => Resource::Port(rest[5..].parse().unwrap()),
        _ if rest.starts_with("pool:") => Resource::from_parts("M", rest[5..].into()).unwrap(),
        _ if rest.ends_with("/*") => Resource::Directory(
            Some(path(&rest[..rest.len() - 2])),
            mirror::model::Depth::Children,
        ),
        _ if rest.ends_with('/') => Resource::Directory(
            Some(path(&rest[..rest.len() - 1])),
            mirror::model::Depth::Recursive,
        ),
        _ => Resource::File(path(rest)),
    };
    Lock {
        resource,
        mode: if mode == "r" { Mode::Read } else { Mode::Write },
    }
}

pub(super) fn locks(texts: &[&str]) -> LockSet {
    let mut set = LockSet::new();
    for text in texts {
        match share(text) {
            Some(share) => set.share(share),
            None => set.insert(lock(text)),
        }
    }
    set
}

pub(super) fn task(name: &str) -> TaskId {
    TaskId::new(name).unwrap()
}

pub(super) fn token(grant: &Grant) -> Token {
    grant.task.token
}

/// Finds what two tasks of a store hold in conflict, or more than there is.
pub(super) fn out_of_order(tasks: &[Task]) -> Option<String> {
    for (index, one) in tasks.iter().enumerate() {
        for other in &tasks[index + 1..] {
            for held in &one.locks {
                if let Some(clash) = other.locks.iter().find(|other| conflict(&held.lock, &other.lock)) {
                    return Some(format!("{} and {}: {held:?} {clash:?}", one.id, other.id));
                }
            }
        }
        let parts = one.locks.iter().filter(|held| held.lock.resource.letter() == "Q");
        if parts.count() > 1 {
            return Some(format!("two parts of one quota: {one:?}"));
        }
    }
    let amount = |held: &mirror::store::HeldLock| match &held.lock.resource {
        Resource::Quota { amount, .. } => amount.get(),
        _ => 0,
    };
    let used: u64 = tasks.iter().flat_map(|task| &task.locks).map(amount).sum();
    (used > MEMORY).then(|| format!("{used} of {MEMORY}: {tasks:?}"))
}
