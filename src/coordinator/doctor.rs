//! `doctor`: checks every invariant that a crash, a foreign hand or a fault of ours could have broken, and repairs what is
//! safe to repair.

use std::path::Path;

use crate::coordinator::{Coordinator, Error, Observer, cleanup, validate};
use crate::disk;
use crate::disk::{contained, hash};
use crate::git::Git;
use crate::model::{Entry, TransactionState, shown};
use crate::store::{Standing, Transaction};
use crate::workspace::manifest::{Manifest, Slot};
use crate::workspace::present;
use crate::workspace::slots::Slots;

/// How old a lock file of git has to be before it is worth a word, in nanoseconds.
const STALE_NS: i128 = 60_000_000_000;

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which invariant, in a word: `registry`, `locks`, `transactions`, `staged`, `git-locks`, `directory`, `branches`,
    /// `worktrees`.
    pub check: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it, if it was not repaired.
    pub hint: Option<String>,
    /// Whether it has been repaired.
    pub repaired: bool,
}

impl Finding {
    fn wrong(check: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            check,
            message: message.into(),
            hint: Some(hint.into()),
            repaired: false,
        }
    }

    fn repaired(check: &'static str, message: impl Into<String>) -> Self {
        Self {
            check,
            message: message.into(),
            hint: None,
            repaired: true,
        }
    }

    /// Something that was to be removed and is still there.
    fn left(check: &'static str, what: &str, path: &Path) -> Self {
        let path = shown(path);
        let message = format!("{what} could not be removed and lies in {path}");
        let hint = format!("Remove it as whoever may, or unmount what is in it: sudo rm -r {path}");
        Self::wrong(check, message, hint)
    }
}

impl Coordinator {
    /// Checks everything. With `repair`, mends what can be mended without a choice.
    pub fn doctor(&mut self, repair: bool, observer: &mut dyn Observer) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        let recovered = self.recover(observer)?;
        for id in &recovered.finished {
            findings.push(Finding::repaired(
                "transactions",
                format!("The decided commit {id} was completed"),
            ));
        }
        for id in &recovered.undone {
            findings.push(Finding::repaired(
                "transactions",
                format!("The dead attempt {id} was given up"),
            ));
        }
        for (id, reason) in &recovered.pending {
            let message = format!("The commit {id} is decided but not applied: {reason}");
            findings.push(Finding::wrong(
                "transactions",
                message,
                "mend the cause, then run: mirror recover",
            ));
        }
        self.check_registry(&mut findings)?;
        self.check_transactions(&mut findings)?;
        self.check_git(repair, &mut findings)?;
        self.check_directory(repair, &mut findings)?;
        self.check_worktrees(repair, &mut findings)?;
        Ok(findings)
    }

    fn check_registry(&mut self, findings: &mut Vec<Finding>) -> Result<(), Error> {
        for message in self.store.check()? {
            findings.push(Finding::wrong(
                "registry",
                message,
                "keep a copy of .mirror and report it",
            ));
        }
        for task in self.store.tasks()? {
            if task.standing == Standing::Lost {
                // Nobody's work: what it has staged is a copy of what is kept.
                self.drop_interrupted(&task.id)?;
            }
            let staged = match self.store.current_transaction(&task.id)? {
                Some(transaction) => self.store.changes(&transaction.id)?.len(),
                None => 0,
            };
            // Without anything staged there is nothing to choose: cleanup ends it.
            if task.standing == Standing::Lost && staged > 0 {
                let message = format!(
                    "The task {} lost its locks, and has staged changes ({staged})",
                    task.id
                );
                findings.push(Finding::wrong(
                    "locks",
                    message,
                    format!("mirror lock -t {0}, or: mirror rollback -t {0}", task.id),
                ));
            }
        }
        Ok(())
    }

    fn check_transactions(&mut self, findings: &mut Vec<Finding>) -> Result<(), Error> {
        for transaction in self.store.transactions()? {
            match transaction.state {
                TransactionState::Open => self.check_staged(&transaction, findings)?,
                TransactionState::Conflict => {
                    let message = format!(
                        "The commit {} of {} was decided, and its target was moved by force before it was applied",
                        transaction.id, transaction.task
                    );
                    let task = &transaction.task;
                    let by_hand = transaction
                        .new
                        .map_or_else(String::new, |new| format!("git merge {new}, then: "));
                    let hint = format!(
                        "go back to where it was (git switch) and run mirror recover; or {by_hand}mirror rollback -t {task}, \
                         which keeps its files in .mirror/quarantine"
                    );
                    findings.push(Finding::wrong("transactions", message, hint));
                }
                TransactionState::Decided => self.check_manifest(&transaction, findings)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn check_manifest(&self, transaction: &Transaction, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let path = self.layout.transaction(&transaction.id).manifest();
        let bytes = disk::read_if_there(&path)?.unwrap_or_default();
        let is_whole =
            Manifest::decode(&bytes).is_ok() && Some(hash::digest_of(&bytes)) == transaction.manifest;
        if !is_whole {
            let message = format!(
                "The manifest of the decided commit {} is missing or damaged",
                transaction.id
            );
            findings.push(Finding::wrong(
                "transactions",
                message,
                format!("look at {}", shown(&path)),
            ));
        }
        Ok(())
    }

    fn check_staged(&mut self, transaction: &Transaction, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let directory = self.layout.transaction(&transaction.id);
        let changes = self.store.changes(&transaction.id)?;
        if changes.is_empty() {
            return Ok(());
        }
        let slots = Slots::open(directory.path())?;
        for change in changes {
            let Some(post) = change.post else { continue };
            let place = slots.at(Slot::Staged(change.slot));
            let held = match place.stat()? {
                Some(stat) => present::entry_of(&place, &stat)?,
                None => None,
            };
            let is_whole =
                held.is_some_and(|held: Entry| held.sha256() == post.sha256() && held.size() == post.size());
            if !is_whole {
                let message = format!(
                    "What {} staged for {} is missing or damaged",
                    transaction.task, change.path
                );
                let hint = format!(
                    "stage it again: mirror stage -t {} {} --from FILE",
                    transaction.task, change.path
                );
                findings.push(Finding::wrong("staged", message, hint));
            }
        }
        Ok(())
    }

    fn check_git(&mut self, repair: bool, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let Some(git) = &self.git else { return Ok(()) };
        stale_index_lock(git, self.host.now().wall.ms, findings)?;
        if repair {
            git.exclude(crate::workspace::DIRECTORY)?;
        }
        Ok(())
    }

    fn check_directory(&mut self, repair: bool, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let epoch = self.layout.epoch();
        if epoch.read()? % 2 == 1 && self.store.unfinished()?.is_empty() {
            if repair {
                epoch.end()?;
                findings.push(Finding::repaired(
                    "directory",
                    "The epoch was odd although nothing is being applied",
                ));
            } else {
                let message = "The epoch is odd although nothing is being applied";
                findings.push(Finding::wrong("directory", message, "mirror doctor --repair"));
            }
        }
        for id in self.layout.transaction_ids()? {
            let row = self.store.transaction(&id)?;
            if row.is_none() {
                let message = format!("The directory of transaction {id} belongs to no task");
                findings.push(Finding::wrong("directory", message, "mirror cleanup --force"));
            }
            if cleanup::has_ended(row.as_ref()) {
                for left in validate::remove_left(&self.layout.transaction(&id))? {
                    findings.push(Finding::left("directory", "What a validation worked in", &left));
                }
            }
        }
        let quarantined = disk::list(&self.layout.quarantines())?;
        if !quarantined.is_empty() {
            let message = format!(
                "{} with foreign bytes in quarantine",
                counted(quarantined.len(), "transaction")
            );
            let hint = format!(
                "look at {}, then remove what you do not need",
                shown(self.layout.quarantines())
            );
            findings.push(Finding::wrong("directory", message, hint));
        }
        Ok(())
    }

    /// Working copies that lie where no run will look for them.
    fn check_worktrees(&mut self, repair: bool, findings: &mut Vec<Finding>) -> Result<(), Error> {
        if let Err(error) = self.pool_directory() {
            let hint = "mend run.worktrees.dir; `mirror config show` tells who says it";
            findings.push(Finding::wrong("worktrees", error.to_string(), hint));
        }
        for worktree in self.worktrees_elsewhere()? {
            let message = format!(
                "The working copy {} lies in {}, and not where run.worktrees.dir says",
                worktree.number,
                shown(&worktree.path)
            );
            let is_gone = repair && self.dispose_worktree(&worktree)?;
            findings.push(if is_gone {
                Finding::repaired("worktrees", message)
            } else {
                Finding::wrong("worktrees", message, "mirror cleanup --force")
            });
        }
        for aside in self.remove_set_aside()? {
            findings.push(Finding::left("worktrees", "A working copy", &aside));
        }
        for tree in self.forgotten_trees()? {
            let message = format!("Nothing is known of the working copy in {}", shown(&tree));
            let hint = format!("git worktree remove --force {}", shown(&tree));
            findings.push(Finding::wrong("worktrees", message, hint));
        }
        Ok(())
    }
}

/// Git's lock file is never removed by us when it is not ours; whoever looks at it should know that it is old.
fn stale_index_lock(git: &Git, now_ms: i64, findings: &mut Vec<Finding>) -> Result<(), Error> {
    let path = git.index_lock_path();
    let Some(stat) = contained::stat(&path)? else {
        return Ok(());
    };
    let age_ns = i128::from(now_ms) * 1_000_000 - stat.mtime_ns;
    if age_ns > STALE_NS {
        let message = format!(
            "{} is {} seconds old (inode {})",
            shown(&path),
            age_ns / 1_000_000_000,
            stat.ino
        );
        let hint = format!("if no git command is running: rm {}", shown(&path));
        findings.push(Finding::wrong("git-locks", message, hint));
    }
    Ok(())
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}
