//! What to type next, for every refusal that the user can act on: the one place that says so.

use std::time::Duration;

use mirror::config::{ConfigError, Fault, Origin};
use mirror::coordinator::{Error, RunRefusal, UndoError};
use mirror::model::{Conflict, Impossible, RepoPath, Resource, TransactionState, shown};

use super::path_hint::{self, list, os_word, resource_word, word, writes};
use super::repository_hint::{of_git, of_repository, of_store, of_workspace};

/// Returns what to type after `error`, the best way first.
pub(crate) fn hints(error: &Error) -> Vec<String> {
    let one = match error {
        Error::Held { conflicts, waited } => return held(conflicts, waited.is_some()),
        Error::Run(error) => return of_run(error),
        Error::HookRefused { verb, conflicts } => return refused(verb, conflicts),
        Error::NotInitialised { .. } => "Run `mirror init` in the root of the repository".to_owned(),
        Error::UnknownTask { task } => {
            format!(
                "Run `mirror status` to see all tasks, or `mirror begin -t {task} -w PATH` to open this one"
            )
        }
        Error::NoTransaction { task } => format!("Run `mirror begin -t {task}` to open one"),
        Error::AlreadyOpen { task, .. } => {
            format!(
                "Add locks with `mirror lock -t {task} -w PATH`, drop it with `mirror rollback -t {task}`, or choose another name"
            )
        }
        Error::Deadlock { .. } => {
            "Give something back first with `mirror unlock`, or commit or roll back, and ask again".to_owned()
        }
        Error::Lost { task } => {
            format!(
                "`mirror lock -t {task}` wins back the locks on what is staged, which is still there; with -w PATH those on PATH"
            )
        }
        Error::NotLocked { task, paths } => format!(
            "Run `mirror lock -t {task} {}`, or stage with --lock",
            writes(paths)
        ),
        Error::NothingStaged { task } => format!("Run `mirror stage -t {task} PATH --from FILE` first"),
        Error::BaseChanged { .. } | Error::Overtaken { .. } => of_changed(error),
        Error::TargetMoved { .. } | Error::Undetermined { .. } | Error::Interrupted { .. } => {
            "Run the same command again".to_owned()
        }
        Error::InTheWay { .. }
        | Error::MergeConflict { .. }
        | Error::GitBusy { .. }
        | Error::OperationInProgress { .. }
        | Error::Unmerged { .. }
        | Error::TargetElsewhere { .. }
        | Error::UnknownBranch { .. }
        | Error::NeedsGit { .. }
        | Error::Damaged { .. }
        | Error::Stuck { .. }
        | Error::Pending { .. }
        | Error::Unapplied { .. }
        | Error::Shut { .. } => of_repository(error),
        Error::Impossible(_)
        | Error::NotOffered { .. }
        | Error::Unusable { .. }
        | Error::NoPlaceForCopies { .. } => of_share(error),
        Error::CommandFailed { .. } | Error::Rejected { .. } | Error::ValidationFailed { .. } => {
            return of_command(error);
        }
        Error::EmptyMessage
        | Error::Unchangeable { .. }
        | Error::Outside { .. }
        | Error::NoMatch { .. }
        | Error::Path(_)
        | Error::Pattern { .. }
        | Error::Input { .. } => of_named(error),
        Error::Disk(error) => return path_hint::of_disk(error).into_iter().collect(),
        Error::Undo(error) => of_undo(error),
        Error::Hook(error) => return error.hint().into_iter().collect(),
        Error::Config(error) => return of_config(error),
        Error::Git(error) => return of_git(error).into_iter().collect(),
        Error::Store(error) => return of_store(error).into_iter().collect(),
        Error::Workspace(error) => return of_workspace(error).into_iter().collect(),
        _ => return Vec::new(),
    };
    vec![one]
}

/// Returns what to type after a command, or a validation, that failed.
fn of_command(error: &Error) -> Vec<String> {
    let one = match error {
        Error::CommandFailed { status, .. } if status.ends_with(": 127") => {
            "127 is mostly a program that was not found, see above: of a script look at the first line (`head -1`) as well; mend it and run it again".to_owned()
        }
        Error::CommandFailed { .. } => "Mend it and run it again; `mirror history` tells what happened".to_owned(),
        Error::Rejected { kept: Some(kept), .. } => {
            let all = format!("All that it printed is in {0}: `less {0}`", os_word(kept));
            return vec![all, "Mend what it found, and commit or run it again".to_owned()];
        }
        _ => "Mend what it found, and commit or run it again".to_owned(),
    };
    vec![one]
}

/// Returns what to type when what was named will not do.
fn of_named(error: &Error) -> String {
    match error {
        Error::Outside { root, .. } => format!("Name a path below {}", shown(root)),
        Error::NoMatch { .. } => {
            "For files yet to come lock their directory, as in `-w src/`; a \\ makes a special character plain".to_owned()
        }
        Error::EmptyMessage => "Say what it is about, as in `-m 'use const'`, or leave -m out; a variable in it is perhaps not set".to_owned(),
        Error::Unchangeable { path, reason } => path_hint::of_unchangeable(path, reason),
        Error::Path(error) => path_hint::of_path(error),
        Error::Pattern { .. } => {
            "Close every [ and {; where one belongs to a name, put a \\ before it, as in `-w 'app/\\[id\\].ts'`".to_owned()
        }
        Error::Input { path, source } => path_hint::of_input(path, source),
        _ => unreachable!("BUG: only what was named comes here"),
    }
}

/// Returns what to type when somebody else has changed something.
fn of_changed(error: &Error) -> String {
    match error {
        Error::BaseChanged { task, paths } => format!(
            "Look at them, then `mirror unstage -t {task} {}` and stage them anew",
            list(paths)
        ),
        _ => "Run it again on what is there now".to_owned(),
    }
}

/// Returns what to type after a wish for a share, or for a working copy, that cannot come true.
fn of_share(error: &Error) -> String {
    match error {
        Error::Impossible(Impossible::Nothing { quota }) => {
            format!("Ask for at least 1, as in `--quota {quota}=1`")
        }
        Error::Impossible(Impossible::Whole(_)) => {
            "Ask for a share with --pool NAME, --port or --quota NAME=AMOUNT".to_owned()
        }
        Error::Unusable { .. } => {
            "End the program that uses it (`ss -ltnp` shows them), or choose another resource_manager.strategies.services.port_range in .mirror/config.yaml".to_owned()
        }
        Error::NoPlaceForCopies { .. } => {
            "Name a directory beside the repository as run.worktrees.dir in .mirror/config.yaml, as in `../copies`, or leave it out; `mirror config show` tells who says it".to_owned()
        }
        Error::NotOffered { .. } => {
            "Add it under `pools` in .mirror/config.yaml, as in `db: [db-1, db-2]` or `memory: {total: 16GiB}`; `mirror status` shows what there is".to_owned()
        }
        _ => {
            "Ask for less, or raise what there is under `pools` in .mirror/config.yaml; `mirror status` shows it".to_owned()
        }
    }
}

/// Returns what to type after settings that are no good.
pub(crate) fn of_config(error: &ConfigError) -> Vec<String> {
    let mut hints: Vec<String> = error.faults.iter().map(of_fault).collect();
    hints.dedup();
    hints
}

fn of_fault(fault: &Fault) -> String {
    match &fault.origin {
        Origin::Flag(_) => "Leave --store out, or say sqlite".to_owned(),
        Origin::Variable(variable) => format!("Mend it, or `unset {variable}`"),
        Origin::File(_) => {
            "Mend it; `mirror config check` says whether all is well, `mirror config schema` what there is"
                .to_owned()
        }
    }
}

fn of_undo(error: &UndoError) -> String {
    match error {
        UndoError::Unnamed { task, found, .. } if found.len() > 1 => {
            let longer = found.last().map(ToString::to_string).unwrap_or_default();
            let of = task.as_ref().map(|task| format!("-t {task} ")).unwrap_or_default();
            format!("Name more of it, as in `mirror undo {of}{longer}`: the newest of them")
        }
        UndoError::Unknown { task, .. } | UndoError::Unnamed { task: Some(task), .. } => format!("Run `mirror history -t {task}` to see what it has committed"),
        UndoError::Unnamed { .. } => "Run `mirror history` to see what was committed".to_owned(),
        UndoError::NotCommitted { task, state: TransactionState::Open, .. } => {
            format!("Run `mirror rollback -t {task}`: what is not committed yet is dropped by that")
        }
        UndoError::NotCommitted { .. } => "Run `mirror recover`, then `mirror status`".to_owned(),
        UndoError::ChangedSince { .. } => {
            "Undo the later changes first: `mirror history` shows who made them; uncommitted ones go with `git stash`"
                .to_owned()
        }
        UndoError::NotKept { .. } => {
            "Put the files back by hand, as a task: `mirror begin -t NAME -w PATH`, then `mirror stage`".to_owned()
        }
        UndoError::Elsewhere { path, .. } => format!("Run the command there: `mirror -C {} undo …`", shown(path)),
        UndoError::Detached { transaction } => {
            format!("Go back to where it was recorded: `git switch --detach COMMIT`, with a trailer `Mirror-Transaction: {transaction}`")
        }
        UndoError::Unrecorded { .. } => "Leave -m out".to_owned(),
    }
}

fn held(conflicts: &[Conflict], waited: bool) -> Vec<String> {
    let wait = if waited {
        "Ask again: the place in the queue is kept for 10 s"
    } else {
        "`mirror begin` and `mirror lock` wait for it with --wait 30s; `mirror status` shows all holders"
    };
    [wait.to_owned()].into_iter().chain(by_force(conflicts)).collect()
}

/// Returns what to type after a run, whose task is no more.
fn of_run(error: &RunRefusal) -> Vec<String> {
    let one = match error {
        RunRefusal::Held { conflicts, waited, copies } => return run_held(conflicts, *waited, *copies),
        RunRefusal::GrowthHeld { conflicts } => {
            let paths: Vec<RepoPath> = conflicts.iter().filter_map(|conflict| path_of(&conflict.resource)).collect();
            let wait = format!("Run it again with {} and --wait 10m: --grow waits for nobody", writes(&paths));
            return [wait].into_iter().chain(by_force(conflicts)).collect();
        }
        RunRefusal::Lost { task } => format!("Run it again; `mirror history -t {task}` tells who took them, `mirror status` who works now"),
        RunRefusal::Interrupted { .. } => "Run the same command again".to_owned(),
        RunRefusal::OutsideLockSet { paths, .. } => {
            format!("Run it again with {}, or with --grow to lock on the way", writes(paths))
        }
        RunRefusal::Overtaken { paths } => format!(
            "Commit that, or put it away with `git stash push -u -- {}`, and run it again",
            list(paths)
        ),
        RunRefusal::CommittedSince { paths } => format!(
            "Run it again with {}: it begins from what they have committed, and has the locks from the start",
            writes(paths)
        ),
        RunRefusal::SwitchedSince { .. } => "Run it again: it begins from what is checked out now; or `git switch -`, and run it again then".to_owned(),
        RunRefusal::MergeConflict { .. } => "Run it again: it begins from what is there now".to_owned(),
        RunRefusal::Inside { root, .. } => format!(
            "Leave it to the run: `mirror lock -w PATH` locks more for it; another task begins outside, with `mirror -C {} …`",
            os_word(root)
        ),
        RunRefusal::GoesOn { .. } => {
            "Leave it to the run, or end it (Ctrl-C, or `kill` and its process): `mirror status` shows it".to_owned()
        }
        RunRefusal::NotFound { program, places } if places.is_empty() => format!(
            "Install it, or name a script of your own by its path: `mirror run … -- {}`",
            word(&format!("./{program}"))
        ),
        RunRefusal::NotFound { .. } => "Name it by a path from where you stand, or `git add` it: `ls -l` shows what is there".to_owned(),
        RunRefusal::NotPutBack { task, .. } | RunRefusal::NotRolledBack { task, .. } => format!(
            "Mend the cause and run `mirror recover`, or leave what is there with `mirror rollback -t {task}`: what was there before is kept"
        ),
        RunRefusal::StandsStill { .. } => {
            "End its process with `kill -KILL` (`mirror status` shows it), and run `mirror recover`".to_owned()
        }
        RunRefusal::Unstoppable { pids, .. } => {
            let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
            format!(
                "See what it waits for: `ps -o pid,stat,wchan:30,args -p {}`; in state D it ends with that, as a network file system that is back",
                pids.join(",")
            )
        }
        RunRefusal::CopyReplaced { .. } => "Run it again with a command that leaves \"$MIRROR_ROOT\" itself where it is, and may read and write it; what is in there it may change as it likes".to_owned(),
    };
    vec![one]
}

fn path_of(resource: &Resource) -> Option<RepoPath> {
    match resource {
        Resource::File(path) | Resource::Directory(Some(path), _) => Some(path.clone()),
        _ => None,
    }
}

/// Returns what to type after a run that did not get its locks.
fn run_held(conflicts: &[Conflict], waited: Option<Duration>, copies: Option<u32>) -> Vec<String> {
    let wait = match waited {
        Some(waited) => {
            let minutes = (waited.as_secs() / 60 * 2).max(10);
            format!("`mirror run --wait {minutes}m …` waits longer; `mirror status` shows who works")
        }
        None => "`mirror run --wait 10m …` waits for it; `mirror status` shows who works".to_owned(),
    };
    let mut hints = vec![wait];
    match copies {
        Some(copies) => hints.push(format!(
            "To have more of them, set run.worktrees.max in .mirror/config.yaml, now {copies}"
        )),
        None => hints.extend(by_force(conflicts)),
    }
    hints
}

/// Returns how to take what is held from somebody who is gone.
fn by_force(conflicts: &[Conflict]) -> Option<String> {
    let conflict = conflicts.iter().find(|conflict| !conflict.waiting)?;
    let (task, resource) = (&conflict.holder.task, &conflict.resource);
    // Two may hold parts of the same size.
    let whose = match resource {
        Resource::Quota { .. } => format!("-t {task} "),
        _ => String::new(),
    };
    Some(format!(
        "If {task} is gone for good: `mirror unlock --force --reason TEXT {whose}{}`",
        resource_word(resource)
    ))
}

fn refused(verb: &str, conflicts: &[Conflict]) -> Vec<String> {
    let mut hints = vec![format!(
        "Wait until it is given back (`mirror status --watch`), or leave the path out of this {verb}"
    )];
    if let Some(Conflict { holder, resource, .. }) = conflicts.first() {
        let holder = &holder.task;
        hints.push(format!("If {holder} is you: `MIRROR_TASK={holder} git {verb}`"));
        hints.push(format!(
            "If {holder} is gone for good: `mirror unlock --force --reason TEXT {}`",
            resource_word(resource)
        ));
    }
    hints.push(format!(
        "To pass all the same, recorded: `MIRROR_BYPASS=1 git {verb}`"
    ));
    hints
}
