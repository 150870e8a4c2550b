//! One file per subcommand: an argument struct, whose documentation is the help text, and one function.

mod begin;
mod check;
mod cleanup;
mod commit;
mod completions;
mod config;
mod demo;
mod diff;
mod doctor;
pub(crate) mod guard;
mod history;
mod hook;
mod init;
mod lock;
mod log;
mod man;
mod recover;
mod renew;
mod rollback;
mod run;
mod show;
mod stage;
mod status;
mod undo;
mod unlock;
mod unstage;
mod who;

use clap::Subcommand;

use super::Context;
use super::exit_code::ExitCode;

/// A subcommand with its arguments, in the order in which one meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Init),
    Begin(begin::Begin),
    Lock(lock::Lock),
    Unlock(unlock::Unlock),
    Renew(renew::Renew),
    Stage(stage::Stage),
    Unstage(unstage::Unstage),
    Diff(diff::Diff),
    Show(show::Show),
    Commit(commit::Commit),
    Run(run::Run),
    Guard(guard::Guard),
    Rollback(rollback::Rollback),
    Undo(undo::Undo),
    Status(status::Status),
    Who(who::Who),
    Check(check::Check),
    History(history::History),
    Log(log::Log),
    Recover(recover::Recover),
    Cleanup(cleanup::Cleanup),
    Doctor(doctor::Doctor),
    Hook(hook::Hook),
    Config(config::Config),
    Demo(demo::Demo),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Command {
    /// Tells whether the command may tidy up a little after it has answered: those that change something themselves, and for
    /// which nobody waits who has more to do, as git waits for its hooks.
    pub(crate) fn tidies_up(&self) -> bool {
        matches!(
            self,
            Self::Begin(_)
                | Self::Lock(_)
                | Self::Unlock(_)
                | Self::Renew(_)
                | Self::Stage(_)
                | Self::Unstage(_)
                | Self::Commit(_)
                | Self::Rollback(_)
                | Self::Undo(_)
                | Self::Recover(_)
        )
    }

    /// Runs the command.
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Init(command) => command.run(context),
            Self::Begin(command) => command.run(context),
            Self::Lock(command) => command.run(context),
            Self::Unlock(command) => command.run(context),
            Self::Renew(command) => command.run(context),
            Self::Stage(command) => command.run(context),
            Self::Unstage(command) => command.run(context),
            Self::Diff(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Commit(command) => command.run(context),
            Self::Run(command) => command.run(context),
            Self::Guard(command) => command.run(),
            Self::Rollback(command) => command.run(context),
            Self::Undo(command) => command.run(context),
            Self::Status(command) => command.run(context),
            Self::Who(command) => command.run(context),
            Self::Check(command) => command.run(context),
            Self::History(command) => command.run(context),
            Self::Log(command) => command.run(context),
            Self::Recover(_) => recover::Recover::run(context),
            Self::Cleanup(command) => command.run(context),
            Self::Doctor(command) => command.run(context),
            Self::Hook(command) => command.run(context),
            Self::Config(command) => command.run(context),
            Self::Demo(command) => command.run(context),
            Self::Completions(command) => command.run(),
            Self::Man(command) => command.run(),
        }
    }
}
