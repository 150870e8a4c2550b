//! The git hooks: put in place, taken out, and answered when git calls them.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::config::HookMode;
use crate::coordinator::{Coordinator, Error};
use crate::git::hooks::{HookName, HookReport, Hooks};
use crate::git::{Git, PushedRef, ReceivedRef};
use crate::model::{Conflict, EventKind, RepoPath, TaskId};
use crate::store::NewEvent;

/// What git tells a hook.
#[derive(Debug, Clone)]
pub struct HookRequest {
    /// Which hook.
    pub hook: HookName,
    /// Who commits: what this task holds itself is not in the way.
    pub task: Option<TaskId>,
    /// Whether the user asked to pass in any case.
    pub bypass: bool,
    /// The index that git prepared, where it is not the usual one.
    pub index: Option<PathBuf>,
    /// Where git keeps the objects of a push that it has not accepted yet.
    pub quarantine: Option<PathBuf>,
    /// What follows the name of the hook; for a push the name of the other side comes first.
    pub arguments: Vec<String>,
    /// What git sends to the hook; for a push one line for each ref.
    pub input: String,
}

/// How a hook answers.
#[derive(Debug, Clone)]
pub enum HookAnswer {
    /// Nobody holds what changes.
    Pass,
    /// Others hold it, and the settings or the user say that it passes all the same.
    PassAnyway(Vec<Conflict>),
}

impl Coordinator {
    /// Puts these hooks in place, beside those that are there. Doing it again changes nothing. They are durable when this
    /// returns.
    pub fn hook_install(&self, names: &[HookName]) -> Result<Hooks, Error> {
        let hooks = self.repository("Installing git hooks")?.hooks()?;
        hooks.install(names)?;
        Ok(hooks)
    }

    /// Takes the hooks out again: what was there before is there again, byte for byte. Doing it again changes nothing.
    pub fn hook_uninstall(&self) -> Result<Hooks, Error> {
        let hooks = self.repository("Uninstalling git hooks")?.hooks()?;
        hooks.uninstall()?;
        Ok(hooks)
    }

    /// Tells what stands in the place of each hook.
    pub fn hook_status(&self) -> Result<(Hooks, Vec<HookReport>), Error> {
        let hooks = self.repository("Looking at git hooks")?.hooks()?;
        let reports = hooks.states()?;
        Ok((hooks, reports))
    }

    /// Answers git: refuses when a path that changes is held by another task. Both names of a rename count.
    ///
    /// A refusal, and a pass in spite of a conflict, are recorded in the history.
    pub fn hook_run(&mut self, request: &HookRequest) -> Result<HookAnswer, Error> {
        let paths = self.changed(request)?;
        let conflicts = self.check_paths(paths, request.task.as_ref())?;
        if conflicts.is_empty() {
            return Ok(HookAnswer::Pass);
        }
        let passes = request.bypass || self.config.hook_mode == HookMode::Warn;
        self.record_hook(request, &conflicts, passes)?;
        if passes {
            return Ok(HookAnswer::PassAnyway(conflicts));
        }
        Err(Error::HookRefused {
            verb: request.hook.verb(),
            conflicts,
        })
    }

    fn changed(&self, request: &HookRequest) -> Result<Vec<RepoPath>, Error> {
        let git = self.repository("A git hook")?;
        let paths = match request.hook {
            HookName::PreCommit | HookName::PreMergeCommit | HookName::PreApplyPatch => {
                // Git names the file from where it runs the hook, which is the top of the working tree.
                let index = match &request.index {
                    Some(named) => self.current_directory.join(named),
                    None => git.index_path(),
                };
                git.changed_in_index(&index)?
            }
            HookName::PrePush => {
                let remote = request.arguments.first().map_or("", String::as_str);
                git.changed_by_push(remote, &PushedRef::parse_all(&request.input)?)?
            }
            HookName::PreReceive => {
                let refs = ReceivedRef::parse_all(&request.input)?;
                git.changed_by_receiving(&refs, request.quarantine.as_deref())?
            }
            HookName::Update => {
                let received = ReceivedRef::of_arguments(&request.arguments)?;
                git.changed_by_receiving(&[received], request.quarantine.as_deref())?
            }
        };
        Ok(paths.into_iter().collect())
    }

    fn record_hook(
        &mut self,
        request: &HookRequest,
        conflicts: &[Conflict],
        passes: bool,
    ) -> Result<(), Error> {
        let kind = if passes {
            EventKind::HookBypassed
        } else {
            EventKind::HookRefused
        };
        let holders = conflicts
            .iter()
            .map(|conflict| Value::from(conflict.holder.task.as_str()));
        let mut details = Map::new();
        details.insert("hook".to_owned(), request.hook.as_str().into());
        details.insert("holders".to_owned(), Value::Array(holders.collect()));
        self.store.record(&NewEvent {
            task: request.task.clone(),
            resource: conflicts.first().map(|conflict| conflict.resource.to_string()),
            details,
            ..NewEvent::of(kind)
        })?;
        self.store.after_command();
        Ok(())
    }

    fn repository(&self, what: &'static str) -> Result<&Git, Error> {
        self.git.as_ref().ok_or(Error::NeedsGit { what })
    }
}
