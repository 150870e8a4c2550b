//! Makes a planned commit durable while nothing of it is visible: the last steps before the decision.
//!
//! Order, each step before the next for a reason that `docs/crash-safety.md` argues: the commit lock; what a dead
//! predecessor left; the target has not moved; the row `committing`; the manifest; the first barrier; git's index lock;
//! git's ref lock; everything looked at once more. A failure anywhere gives the attempt up: the changes, the locks and
//! the branch stay, and the task can commit again.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::coordinator::backoff::Backoff;
use crate::coordinator::commit::{Backing, CommitRequest};
use crate::coordinator::plan::{Landing, Order, Plan, plan};
use crate::coordinator::validate::validate;
use crate::coordinator::{Coordinator, Error, Observer, abandon, clean, git_lock, recover, task_branch};
use crate::disk::lock::FileLock;
use crate::disk::{self, contained, fault, staged};
use crate::git::Head;
use crate::model::{Digest, TaskId, Token};
use crate::store::Attempt;
use crate::workspace::TransactionDirectory;
use crate::workspace::barrier::Barrier;
use crate::workspace::manifest::{IndexUpdate, Inode, Manifest, Operation, Place, RefUpdate};
use crate::workspace::present::{self, Present};

/// How often a plan is made anew in all. Under the commit lock only git itself still moves the target.
const ROUNDS_MAX: usize = 16;

/// How long to wait at first for a git command that is between its two steps, or that holds one of git's locks.
const PASSING_PAUSE: Duration = Duration::from_millis(20);

/// How long to wait at first when somebody has moved the target, so that they get out of the way.
const MOVED_PAUSE: Duration = Duration::from_millis(2);

/// Among how many tries the wait for a lock of git is divided, at most: each of them has to be worth it.
const RETRIES_SHARING: u32 = 9;

/// A commit that only needs its decision: durable, locked, verified, invisible.
#[must_use = "a prepared commit is decided or abandoned"]
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) manifest: Manifest,
    /// The SHA-256 of the manifest, which the decision records.
    pub(super) digest: Digest,
    pub(super) directory: TransactionDirectory,
    /// Held until the receipt, or until the attempt is given up.
    pub(super) commit_lock: FileLock,
}

/// What preparing came to.
pub(super) enum Preparation {
    /// There is something to decide.
    Prepared(Box<Prepared>),
    /// Carrying it out would change nothing.
    Nothing(Box<Plan>),
}

/// Plans and prepares the commit of `task`, anew for as long as the target moves under it.
pub(super) fn prepare(
    coordinator: &mut Coordinator,
    task: &TaskId,
    request: &CommitRequest,
    backing: &Backing,
    observer: &mut dyn Observer,
) -> Result<Preparation, Error> {
    let retries = coordinator.config.max_retries;
    let mut moved = Backoff::new(retries, MOVED_PAUSE);
    let mut busy = Backoff::new(retries, PASSING_PAUSE);
    let mut passing = Passing::new(retries);
    for round in 0.. {
        coordinator.refuse_interrupted(task)?;
        // Under the lock nobody of ours moves the target any more, and git's lock on the ref settles the rest.
        let early_lock = if moved.is_spent() {
            Some(coordinator.lock_commits_for(task)?)
        } else {
            None
        };
        let order = Order::read(coordinator, task, request.message.clone())?;
        let transaction = order.transaction.clone();
        let moment = Moment::of(coordinator)?;
        let planned = plan(coordinator, order);
        if matches!(planned, Err(Error::InTheWay { .. }))
            && round < ROUNDS_MAX
            && passing.waits(coordinator, &moment)?
        {
            continue;
        }
        if let Err(Error::MergeConflict { work: Some(work), .. }) = &planned {
            task_branch::keep_work(coordinator, &transaction, *work, early_lock, observer)?;
            return Err(planned
                .err()
                .unwrap_or_else(|| unreachable!("BUG: it was a conflict a line above")));
        }
        let planned = planned?;
        if planned.is_empty() {
            return Ok(Preparation::Nothing(Box::new(planned)));
        }
        if let Some(validation) = &request.validate {
            validate(coordinator, &planned, validation, backing, observer)?;
        }
        fault::check("prepare.planned").map_err(disk::injected)?;
        let commit_lock = match early_lock {
            Some(lock) => lock,
            None => coordinator.lock_commits_for(task)?,
        };
        recover::finish_predecessors(coordinator, observer)?;
        match attempt(coordinator, planned, commit_lock) {
            Err(Error::TargetMoved { .. }) if round < ROUNDS_MAX => {
                observer.notice("The target moved; planning the commit again.");
                moved.again();
            }
            Err(Error::InTheWay { .. }) if round < ROUNDS_MAX && passing.waits(coordinator, &moment)? => {}
            // Nothing of ours is held meanwhile, so that others can commit.
            Err(Error::GitBusy { .. }) if round < ROUNDS_MAX && busy.again() => {
                observer.notice("Another git process is at work; trying the commit again.");
            }
            settled => return settled.map(|prepared| Preparation::Prepared(Box::new(prepared))),
        }
    }
    unreachable!("BUG: the loop above only ends by returning")
}

/// What git shows of a command of the user's that is under way. It moves the branch first and the index after, so in
/// between the index looks as if the user had staged the opposite of what they have just committed.
#[derive(PartialEq, Eq)]
struct Moment {
    head: Option<Head>,
    index: Option<(u64, i128)>,
    locked: bool,
}

impl Moment {
    fn of(coordinator: &Coordinator) -> Result<Self, Error> {
        let Some(git) = &coordinator.git else {
            return Ok(Self {
                head: None,
                index: None,
                locked: false,
            });
        };
        Ok(Self {
            head: Some(git.head()?),
            index: contained::stat(&git.index_path())?.map(|stat| (stat.ino, stat.mtime_ns)),
            locked: contained::stat(&git.index_lock_path())?.is_some(),
        })
    }
}

/// Waits for git to go on.
struct Passing {
    retries: u32,
    backoff: Backoff,
}

impl Passing {
    fn new(retries: u32) -> Self {
        let backoff = Backoff::new(retries, PASSING_PAUSE);
        Self { retries, backoff }
    }

    /// Waits if git has gone on since `moment`, or is about to, and answers whether it was worth it.
    fn waits(&mut self, coordinator: &Coordinator, moment: &Moment) -> Result<bool, Error> {
        let now = Moment::of(coordinator)?;
        if now.head != moment.head || now.index != moment.index {
            // It is another command by now that is in the way.
            *self = Self::new(self.retries.max(1));
        } else if !now.locked {
            return Ok(now != *moment);
        }
        Ok(self.backoff.again())
    }
}

fn refuse_moved_target(coordinator: &Coordinator, landing: &Landing) -> Result<(), Error> {
    let (Some(reference), Some(git)) = (&landing.reference, &coordinator.git) else {
        return Ok(());
    };
    if git.tip(&reference.name)? == reference.old {
        return Ok(());
    }
    Err(Error::TargetMoved {
        target: reference.name.clone(),
    })
}

/// Refuses when git has removed the commit that was made a moment ago: `git gc --prune=now` spares nothing that no ref
/// reaches. The next round makes it again.
fn refuse_pruned(coordinator: &Coordinator, landing: &Landing) -> Result<(), Error> {
    let (Some(reference), Some(git)) = (&landing.reference, &coordinator.git) else {
        return Ok(());
    };
    if git.has_commit(reference.new)? {
        return Ok(());
    }
    Err(Error::TargetMoved {
        target: reference.name.clone(),
    })
}

/// Steps from the row `committing` to the last look.
fn attempt(coordinator: &mut Coordinator, plan: Plan, commit_lock: FileLock) -> Result<Prepared, Error> {
    refuse_moved_target(coordinator, &plan.landing)?;
    refuse_pruned(coordinator, &plan.landing)?;
    let transaction = plan.order.transaction.id;
    let directory = coordinator.layout.transaction(&transaction);
    let token = coordinator.store.begin_commit(
        &transaction,
        &Attempt {
            reference: plan
                .landing
                .reference
                .as_ref()
                .map(|reference| reference.name.clone()),
            old: plan
                .landing
                .reference
                .as_ref()
                .and_then(|reference| reference.old),
            new: plan.landing.reference.as_ref().map(|reference| reference.new),
        },
    )?;
    fault::point("prepare.committing");
    let written = write(coordinator, &plan, token, &directory);
    let (manifest, digest) = match written {
        Ok(written) => written,
        Err(error) => {
            return Err(abandon::before_locks(
                coordinator,
                &transaction,
                &directory,
                error,
            ));
        }
    };
    if let Err(error) = lock_and_look(coordinator, &plan, &manifest, &directory) {
        return Err(abandon::attempt(coordinator, &manifest, &directory, error));
    }
    Ok(Prepared {
        plan,
        manifest,
        digest,
        directory,
        commit_lock,
    })
}

/// Writes the lock files' inodes and the manifest, then the first barrier.
fn write(
    coordinator: &Coordinator,
    plan: &Plan,
    token: Token,
    directory: &TransactionDirectory,
) -> Result<(Manifest, Digest), Error> {
    let mut barrier = Barrier::new(coordinator.root.fd(), plan.operations.len());
    let reference = match &plan.landing.reference {
        Some(planned) => {
            let lock = git_lock::new_file(&directory.ref_lock(), format!("{}\n", planned.new).as_bytes())?;
            barrier.file(directory.ref_lock());
            let (name, message) = (planned.name.clone(), planned.message.clone());
            Some(RefUpdate {
                name,
                old: planned.old,
                new: planned.new,
                lock,
                message,
            })
        }
        None => None,
    };
    let index = match (&coordinator.git, plan.operations.is_empty()) {
        (Some(git), false) => {
            let lock = git_lock::new_file(&directory.index_lock(), b"")?;
            barrier.file(directory.index_lock());
            let head = git.head()?.branch().map(str::to_owned);
            Some(IndexUpdate {
                lock,
                head,
                rewrite: plan.landing.rewrite_index,
            })
        }
        _ => None,
    };
    let manifest = Manifest {
        transaction: plan.order.transaction.id,
        task: plan.order.task.id.clone(),
        token,
        root: Place::new(coordinator.seen_from_main_root()),
        operations: plan.operations.clone(),
        reference,
        index,
    };
    let (bytes, digest) = manifest.encode();
    fault::check("prepare.manifest").map_err(disk::injected)?;
    staged::persist(&directory.manifest(), &bytes, 0o600)?;
    for operation in plan
        .operations
        .iter()
        .filter(|operation| operation.staged.is_some())
    {
        barrier.file(plan.order.slots.path(operation.slot));
    }
    plan.landing
        .written
        .iter()
        .for_each(|path| barrier.directory(path.clone()));
    plan.order
        .slots
        .directories()
        .into_iter()
        .for_each(|path| barrier.directory(path));
    barrier.directory(coordinator.layout.transactions());
    fault::check("prepare.barrier").map_err(disk::injected)?;
    barrier.wait()?;
    Ok((manifest, digest))
}

/// Takes git's locks, index first, and looks once more at everything the decision relies on.
fn lock_and_look(
    coordinator: &Coordinator,
    plan: &Plan,
    manifest: &Manifest,
    directory: &TransactionDirectory,
) -> Result<(), Error> {
    let wait = git_lock::BUSY_WAIT_MAX / (coordinator.config.max_retries.min(RETRIES_SHARING) + 1);
    if let (Some(index), Some(git)) = (&manifest.index, &coordinator.git) {
        fault::check("prepare.index-lock").map_err(disk::injected)?;
        git_lock::take(&directory.index_lock(), index.lock, &git.index_lock_path(), wait)?;
        if index.rewrite {
            let recorded: Vec<_> = plan.operations.iter().map(|operation| operation.before).collect();
            let paths = plan.operations.iter().map(|operation| &operation.path);
            clean::refuse_staged(&git.index()?, paths, &recorded)?;
        }
        if git.head()?.branch().map(str::to_owned) != index.head {
            return Err(Error::Usage(
                "HEAD moved to another branch while the commit was prepared".to_owned(),
            ));
        }
    }
    if let (Some(reference), Some(git)) = (&manifest.reference, &coordinator.git) {
        fault::check("prepare.ref-lock").map_err(disk::injected)?;
        git_lock::take(
            &directory.ref_lock(),
            reference.lock,
            &git.ref_file(&reference.name)?.lock,
            wait,
        )?;
        // Only now can nobody move it any more.
        refuse_moved_target(coordinator, &plan.landing)?;
    }
    fault::check("prepare.look").map_err(disk::injected)?;
    look_again(coordinator, plan)
}

/// Refuses unless every path and every slot is what it was when the plan was made.
fn look_again(coordinator: &Coordinator, plan: &Plan) -> Result<(), Error> {
    let (mut changed, mut damaged) = (Vec::new(), Vec::new());
    let deleted = plan
        .operations
        .iter()
        .filter(|operation| operation.post.is_none());
    let deleted: BTreeSet<_> = deleted.map(|operation| operation.path.clone()).collect();
    for operation in &plan.operations {
        let slot = plan.order.slots.at(operation.slot).stat()?;
        if slot.map(|stat| Inode::of(&stat)) != operation.staged {
            damaged.push(operation.path.clone());
        }
        if operation.pre.is_none() && operation.path.ancestors().any(|above| deleted.contains(&above)) {
            continue;
        }
        let stat = match coordinator.root.parent(&operation.path)? {
            Some(place) => place.stat()?,
            None => None,
        };
        let untouched = Present::is_untouched(stat.as_ref(), operation.pre.as_ref());
        if !untouched && !holds_the_same(coordinator, operation)? {
            changed.push(operation.path.clone());
        }
    }
    let task = plan.order.task.id.clone();
    if !damaged.is_empty() {
        return Err(Error::Damaged {
            task,
            what: "What was staged",
            paths: damaged,
        });
    }
    if !changed.is_empty() {
        return Err(Error::BaseChanged { task, paths: changed });
    }
    Ok(())
}

/// The numbers moved: a backup made a hard link, or somebody wrote. Only the content tells.
fn holds_the_same(coordinator: &Coordinator, operation: &Operation) -> Result<bool, Error> {
    let present = present::look(&coordinator.root, &operation.path)?;
    Ok(present.before.is_some() == operation.pre.is_some()
        && present.entry() == operation.pre.and_then(|before| before.entry))
}
