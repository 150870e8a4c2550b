//! What to type when the repository is in the way: git, `.mirror`, and what the user has left in them.

use mirror::coordinator::Error;
use mirror::git::GitError;
use mirror::model::shown;
use mirror::store::StoreError;
use mirror::workspace::WorkspaceError;

use super::document::short_branch;
use super::path_hint::{self, list, os_word};

/// Returns what to type when git, or the user's own work in the repository, stands in the way.
pub(crate) fn of_repository(error: &Error) -> String {
    match error {
        Error::InTheWay { paths, .. } => {
            format!(
                "Commit them, or put them away with `git stash push -u -- {}`",
                list(paths)
            )
        }
        Error::MergeConflict { branch, .. } => match short_branch(branch.as_deref()) {
            Some(branch) => {
                format!("The task's work is on the branch {branch}: `git merge {branch}` merges it by hand")
            }
            None => "Stage the changes anew on top of what is there now".to_owned(),
        },
        Error::GitBusy { path } => format!(
            "Try again; if no git command is running, one has crashed: remove {}",
            shown(path)
        ),
        Error::OperationInProgress { operation } => {
            format!("Finish it, or give it up with `git {operation} --abort`")
        }
        Error::Unmerged { .. } => "Resolve them and `git add` them".to_owned(),
        Error::TargetElsewhere { path, .. } => {
            format!("Run the command there: `mirror -C {} …`", shown(path))
        }
        Error::UnknownBranch { .. } => "Run `git branch` to see all branches".to_owned(),
        Error::NeedsGit { .. } => "Run `git init` first, or leave that option out".to_owned(),
        Error::Damaged { .. } | Error::Stuck { .. } => "Run `mirror doctor`".to_owned(),
        Error::Pending { .. } => {
            "Mend the cause and run `mirror recover`: until then the locks are kept".to_owned()
        }
        Error::Unapplied { .. } => {
            "Mend the cause and run `mirror recover`: it is completed then, and others can commit again"
                .to_owned()
        }
        Error::Shut { path } => {
            let path = os_word(path);
            format!(
                "`ls -ld {path}; lsattr -d {path}` shows why; `chmod u+wx` opens a directory of yours, `chattr -i` takes a mark away"
            )
        }
        _ => unreachable!("BUG: only what is the matter with the repository comes here"),
    }
}

/// Returns what to type after a failure of git.
pub(crate) fn of_git(error: &GitError) -> Option<String> {
    match error {
        GitError::Unsupported { hint, .. } => Some((*hint).to_owned()),
        GitError::Owner { path } => {
            // Git asks for the working tree by name.
            let root = if path.ends_with(".git") {
                path.parent()
            } else {
                None
            };
            Some(format!(
                "Run `git config --global --add safe.directory {}` if you trust it",
                shown(root.unwrap_or(path))
            ))
        }
        GitError::NoIdentity => Some(
            "Run `git config --global user.name NAME` and `git config --global user.email ADDRESS`"
                .to_owned(),
        ),
        GitError::NoProgram(_) => Some("Install git 2.38 or later".to_owned()),
        other => path_hint::of_git(other),
    }
}

/// Returns what to type after a failure of the store.
pub(crate) fn of_store(error: &StoreError) -> Option<String> {
    match error {
        StoreError::Locked { .. } => Some("Close the program that has it open, and try again".to_owned()),
        StoreError::Format { .. } => Some("Use a newer version of mirror".to_owned()),
        StoreError::Missing { .. } => Some("Run `mirror init`".to_owned()),
        StoreError::Damaged(_) => Some("Run `mirror doctor`".to_owned()),
        _ => None,
    }
}

/// Returns what to type after a failure with .mirror.
pub(crate) fn of_workspace(error: &WorkspaceError) -> Option<String> {
    match error {
        WorkspaceError::Network { .. } | WorkspaceError::Exchange { .. } => {
            Some("Move the repository to a local disk with ext4, xfs, btrfs or tmpfs".to_owned())
        }
        WorkspaceError::Incomplete { .. } => Some("Run `mirror init` to complete it".to_owned()),
        WorkspaceError::Format { .. } => Some("Use a newer version of mirror".to_owned()),
        WorkspaceError::Shared { path } => Some(format!(
            "See what others may have left in it, then `chmod 700 {}`",
            shown(path)
        )),
        WorkspaceError::Foreign { path, .. } => Some(format!(
            "Look at it; if it is not yours, move it away and run `mirror init`: mv {path} {path}.away",
            path = shown(path)
        )),
        WorkspaceError::Disk(error) => path_hint::of_disk(error),
    }
}
