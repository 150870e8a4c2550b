//! Why a verb refuses or fails.
//!
//! Refusals that the user can act on are variants with data; the faces render them and add what to type next.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::ConfigError;
use crate::coordinator::error_text::{
    cycle_text, held_text, known_text, merge_list, path_list, printed_text,
};
use crate::disk::DiskError;
use crate::git::hooks::HookError;
use crate::git::{GitError, MergeConflict};
use crate::host::HostError;
use crate::model::{
    Conflict, Impossible, ObjectId, PathError, RepoPath, ResourceError, TaskId, TransactionId, shown,
};
use crate::store::StoreError;
use crate::workspace::WorkspaceError;

/// Why a verb refuses or fails. Unless the kind is `pending` or `unknown`, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no `.mirror` here or above.
    #[error("No .mirror directory here or in any directory above {}", shown(at))]
    NotInitialised {
        /// Where the search began.
        at: PathBuf,
    },
    /// The task is not known.
    #[error("There is no task {task}")]
    UnknownTask {
        /// The asked-for task.
        task: TaskId,
    },
    /// The task exists already and holds an open transaction.
    #[error("The task {task} is already open")]
    AlreadyOpen {
        /// The task.
        task: TaskId,
        /// Its transaction; `None` while it still waits for its first locks.
        transaction: Option<TransactionId>,
    },
    /// The task has no open transaction.
    #[error("The task {task} has no open transaction")]
    NoTransaction {
        /// The task.
        task: TaskId,
    },
    /// Others hold what was asked for.
    #[error("{}", held_text(conflicts, *waited))]
    Held {
        /// What is in the way.
        conflicts: Vec<Conflict>,
        /// How long the request waited before its time ran out; `None` when it did not wait.
        waited: Option<Duration>,
    },
    /// Working copies cannot lie where the settings want them.
    #[error("Working copies cannot lie in {}: {why}", shown(path))]
    NoPlaceForCopies {
        /// What `run.worktrees.dir` names.
        path: PathBuf,
        /// What they would be in the way of.
        why: String,
    },
    /// A git hook refuses: others hold what git is about to record.
    #[error("git {verb} changes what others hold")]
    HookRefused {
        /// The git command: `commit`, `merge`, `am`, `push`.
        verb: &'static str,
        /// What is in the way.
        conflicts: Vec<Conflict>,
    },
    /// Waiting would close a cycle.
    #[error("Waiting would be a deadlock: {}", cycle_text(cycle))]
    Deadlock {
        /// The tasks of the cycle, each waiting for the next, the last for the first.
        cycle: Vec<TaskId>,
    },
    /// The lease was taken by another.
    #[error("The task {task} lost its locks: its lease ran out and was taken, or was taken by force")]
    Lost {
        /// The task.
        task: TaskId,
    },
    /// Somebody interrupted before the commit was decided, or while locks were waited for.
    #[error(
        "The task {task} was interrupted before its commit was decided: it is as it was, and nothing is committed"
    )]
    Interrupted {
        /// The task.
        task: TaskId,
    },
    /// Paths outside the task's write locks.
    #[error("The task {task} holds no write lock on {}", path_list(paths))]
    NotLocked {
        /// The task.
        task: TaskId,
        /// The paths.
        paths: Vec<RepoPath>,
    },
    /// Nothing was staged.
    #[error("The task {task} has staged nothing")]
    NothingStaged {
        /// The task.
        task: TaskId,
    },
    /// Paths that no longer hold what they held when the task staged them.
    #[error("Changed since the task {task} staged it: {}", path_list(paths))]
    BaseChanged {
        /// The task.
        task: TaskId,
        /// The paths.
        paths: Vec<RepoPath>,
    },
    /// Others wrote to paths while a working copy of them was worked in.
    #[error("Changed while it was worked on in a copy: {}", path_list(paths))]
    Overtaken {
        /// The paths.
        paths: Vec<RepoPath>,
    },
    /// The user's own work stands where the commit would write.
    #[error("{what} in the way: {}", path_list(paths))]
    InTheWay {
        /// What is in the way, in words: `Uncommitted changes`, `Untracked files`, `Staged changes`.
        what: &'static str,
        /// The paths.
        paths: Vec<RepoPath>,
    },
    /// The target moved, and both sides changed the same thing.
    #[error("Merging {} into {target} conflicts in {}", branch.as_deref().unwrap_or("the changes"), merge_list(conflicts))]
    MergeConflict {
        /// The branch that is left for a human.
        branch: Option<String>,
        /// The commit that it is left at.
        work: Option<ObjectId>,
        /// The target.
        target: String,
        /// What conflicts.
        conflicts: Vec<MergeConflict>,
    },
    /// Git's own lock file is held by somebody else.
    #[error("Another git process holds {}", shown(path))]
    GitBusy {
        /// The lock file.
        path: PathBuf,
    },
    /// A merge, rebase or similar is under way in this working tree.
    #[error("A {operation} is in progress in this working tree")]
    OperationInProgress {
        /// Which.
        operation: &'static str,
    },
    /// The index has conflict entries.
    #[error("The index has unmerged paths: {}", path_list(paths))]
    Unmerged {
        /// The paths.
        paths: Vec<RepoPath>,
    },
    /// The target moved between planning and locking it, several times in a row.
    #[error("{target} moved while the commit was prepared")]
    TargetMoved {
        /// The target.
        target: String,
    },
    /// The target is checked out in another working tree.
    #[error("{target} is checked out in {}", shown(path))]
    TargetElsewhere {
        /// The target.
        target: String,
        /// Where.
        path: PathBuf,
    },
    /// There is no such branch, or it has no commit yet.
    #[error("There is no branch {name} with a commit")]
    UnknownBranch {
        /// What was given.
        name: String,
    },
    /// Something that only a git repository can do was asked for elsewhere.
    #[error("{what} needs a git repository, and this directory is none")]
    NeedsGit {
        /// What was asked for.
        what: &'static str,
    },
    /// The command of a run failed.
    #[error("The command failed ({status}) and is rolled back: {command}")]
    CommandFailed {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
    },
    /// The validation failed on the exact result.
    #[error("The validation failed ({status}): {command}{}", printed_text(output, *left_out))]
    Rejected {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
        /// How many bytes before that are left out.
        left_out: u64,
        /// Where all of it is kept, if any of it is left out.
        kept: Option<PathBuf>,
    },
    /// The program's own check found something wrong with the exact result.
    #[error("The validation failed")]
    ValidationFailed {
        /// What it found.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Staged bytes, or the record of them, are damaged.
    #[error("{what} of {task} is damaged: {}", path_list(paths))]
    Damaged {
        /// The task.
        task: TaskId,
        /// What.
        what: &'static str,
        /// The paths.
        paths: Vec<RepoPath>,
    },
    /// The commit is decided, and something kept it from being applied.
    #[error("The commit {transaction} is decided, but applying it is pending")]
    Pending {
        /// The transaction.
        transaction: TransactionId,
        /// What kept it.
        #[source]
        cause: Box<Error>,
    },
    /// Nobody can say yet whether the commit is decided.
    #[error("Whether the commit {transaction} is decided is unknown; recovery will settle it")]
    Undetermined {
        /// The transaction.
        transaction: TransactionId,
        /// What the store said.
        #[source]
        cause: StoreError,
    },
    /// A decided commit cannot be completed, because somebody forced the target elsewhere.
    #[error("A decided commit cannot be completed: {reason}")]
    Stuck {
        /// The transaction, where the one who reports it knows.
        transaction: Option<TransactionId>,
        /// Why.
        reason: String,
    },
    /// Not enough room on the disk.
    #[error("Not enough space in {}: {needed} bytes needed, {available} free", shown(at))]
    Space {
        /// Where.
        at: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        available: u64,
    },
    /// A path of a kind that cannot be staged or replaced.
    #[error("{path} cannot be changed: {reason}")]
    Unchangeable {
        /// The path.
        path: RepoPath,
        /// Why.
        reason: String,
    },
    /// A directory in which nothing may be changed, or a file that may not be replaced.
    #[error(
        "{} may not be changed by you: its permissions, its owner or its marks do not allow it",
        shown(path)
    )]
    Shut {
        /// Its whole path.
        path: PathBuf,
    },
    /// An earlier commit is decided and cannot be applied: until it is, git's locks are its own.
    #[error("The commit {transaction} of {task} is decided, but cannot be applied: {reason}")]
    Unapplied {
        /// Its task.
        task: TaskId,
        /// Its transaction.
        transaction: TransactionId,
        /// What keeps it.
        reason: String,
    },
    /// A diff that does not apply.
    #[error("The patch does not apply: {reason}")]
    Patch {
        /// Git's words.
        reason: String,
    },
    /// A path that leads outside the working tree.
    #[error("{} is outside the repository {}", shown(path), shown(root))]
    Outside {
        /// The path as it was typed.
        path: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// A glob that matches no file.
    #[error("No file matches {pattern}")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// An invalid glob.
    #[error("Invalid pattern {pattern}: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A message that no commit can have.
    #[error("The message is empty")]
    EmptyMessage,
    /// A request that makes no sense as it stands.
    #[error("{0}")]
    Usage(String),
    /// A path that is not inside the repository.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A name that is no resource.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// Something that no provider has.
    #[error("There is no {what}{}", known_text(known))]
    NotOffered {
        /// What was asked for.
        what: String,
        /// What there is of that kind.
        known: Vec<String>,
    },
    /// What was granted is no good, and nothing else is left.
    #[error("{what} cannot be used: {reason}")]
    Unusable {
        /// What was asked for.
        what: String,
        /// Why.
        reason: String,
    },
    /// A provider failed.
    #[error("The provider of {kind} failed: {reason}")]
    Provider {
        /// What it calls itself.
        kind: String,
        /// In its own words.
        reason: String,
    },
    /// More is asked for than there is.
    #[error(transparent)]
    Impossible(#[from] Impossible),
    /// A file that the user named could not be read.
    #[error("Failed to read {}", shown(path))]
    Input {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A run comes to nothing.
    #[error(transparent)]
    Run(#[from] crate::coordinator::RunRefusal),
    /// A commit cannot be taken back.
    #[error(transparent)]
    Undo(#[from] crate::coordinator::UndoError),
    /// The git hooks cannot be put in place or taken out.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The configuration is no good.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The host would not say who or when we are.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The store failed or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Git failed or the repository is of an unsupported kind.
    #[error(transparent)]
    Git(#[from] GitError),
    /// `.mirror` cannot be used.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The file system failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
