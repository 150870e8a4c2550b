//! `mirror status`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use mirror::coordinator::{
    Coordinator, Phase, Status as State, TaskStatus, Utilisation, Worktree, WorktreeState,
};
use mirror::model::{Amount, Pool, TaskId, Token, TransactionId};
use mirror::store::{Standing, Waiter};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::Context;
use crate::cli::document::{LockDocument, WantDocument};
use crate::cli::exit_code::ExitCode;
use crate::cli::output;
use crate::cli::run_line;
use crate::cli::text::{self, counted, plain};
use crate::cli::time;

const EXAMPLES: &str = "\
Examples:
  mirror status
  mirror status --watch
  mirror status --json | jq '.tasks[].task'";

/// How often a watcher looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Show who holds what, who waits for whom, and what is unfinished
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Status {
    /// Keep watching, and show it again whenever it changes
    #[arg(long)]
    watch: bool,
}

#[derive(Serialize)]
struct Document {
    root: String,
    store: &'static str,
    tasks: Vec<TaskDocument>,
    waiters: Vec<WaiterDocument>,
    resources: Vec<ResourceDocument>,
    unfinished: Vec<TransactionId>,
    worktrees: Vec<WorktreeDocument>,
    kept_work: usize,
}

#[derive(Serialize)]
struct WorktreeDocument {
    number: u32,
    state: WorktreeState,
    transaction: Option<TransactionId>,
    path: String,
}

#[derive(Serialize)]
struct ResourceDocument {
    name: String,
    kind: String,
    resource: String,
    total: u64,
    used: u64,
    free: u64,
    tags: Vec<String>,
    holders: Vec<ShareHolderDocument>,
}

#[derive(Serialize)]
struct ShareHolderDocument {
    task: TaskId,
    resource: String,
    reason: Option<String>,
    expires_in_ms: i64,
}

#[derive(Serialize)]
struct TaskDocument {
    task: TaskId,
    transaction: Option<TransactionId>,
    state: &'static str,
    run: bool,
    phase: Option<Phase>,
    validation_output: Option<String>,
    dead: bool,
    token: Token,
    locks: Vec<LockDocument>,
    staged: usize,
    host: String,
    pid: Option<u32>,
    reason: Option<String>,
    metadata: Map<String, Value>,
    since: String,
    expires_in_ms: i64,
}

#[derive(Serialize)]
struct WaiterDocument {
    task: TaskId,
    wants: Vec<WantDocument>,
    since: String,
    blocked_by: Vec<TaskId>,
    and_others: bool,
}

impl Status {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let mut coordinator = context.coordinator()?;
        if self.watch {
            return watch(context, &mut coordinator);
        }
        let state = coordinator.status()?;
        context
            .output
            .answer(&Document::from(&state), || describe(&state))?;
        Ok(ExitCode::Done)
    }
}

impl From<&State> for Document {
    fn from(state: &State) -> Self {
        Self {
            root: state.root.display().to_string(),
            store: "sqlite",
            tasks: state.tasks.iter().map(TaskDocument::from).collect(),
            waiters: state.waiters.iter().map(WaiterDocument::from).collect(),
            resources: state.resources.iter().map(ResourceDocument::from).collect(),
            unfinished: state.unfinished.clone(),
            worktrees: state.worktrees.iter().map(WorktreeDocument::from).collect(),
            kept_work: state.kept_work,
        }
    }
}

impl From<&Worktree> for WorktreeDocument {
    fn from(worktree: &Worktree) -> Self {
        Self {
            number: worktree.number,
            state: worktree.state,
            transaction: worktree.transaction,
            path: worktree.path.display().to_string(),
        }
    }
}

impl From<&Utilisation> for ResourceDocument {
    fn from(found: &Utilisation) -> Self {
        let holders = found.holders.iter().map(|holder| ShareHolderDocument {
            task: holder.task.clone(),
            resource: holder.resource.to_string(),
            reason: holder.reason.clone(),
            expires_in_ms: holder.expires_in_ms,
        });
        Self {
            name: found.name.clone(),
            kind: found.kind.clone(),
            resource: found.pool.to_string(),
            total: found.total,
            used: found.used,
            free: found.free(),
            tags: found.tags.clone(),
            holders: holders.collect(),
        }
    }
}

impl From<&TaskStatus> for TaskDocument {
    fn from(status: &TaskStatus) -> Self {
        let task = &status.task;
        Self {
            task: task.id.clone(),
            transaction: status.transaction.as_ref().map(|transaction| transaction.id),
            state: standing(status),
            run: status.is_run,
            phase: status.phase,
            validation_output: status.printed.as_ref().map(|path| path.display().to_string()),
            dead: status.is_dead,
            token: task.token,
            locks: LockDocument::all(task),
            staged: status.staged,
            host: task.owner.host.clone(),
            pid: task.owner.process.map(|process| process.pid),
            reason: task.reason.clone(),
            metadata: task.metadata.clone(),
            since: time::rfc3339(task.since),
            expires_in_ms: task.expires_in_ms,
        }
    }
}

impl From<&Waiter> for WaiterDocument {
    fn from(waiter: &Waiter) -> Self {
        Self {
            task: waiter.task.clone(),
            wants: WantDocument::all(&waiter.wants),
            since: time::rfc3339(waiter.since),
            blocked_by: waiter.blocked_by.clone(),
            and_others: waiter.and_others,
        }
    }
}

/// A task without its locks is lost, whatever its transaction still says.
fn standing(status: &TaskStatus) -> &'static str {
    match (status.task.standing, &status.transaction) {
        (Standing::Lost, _) => "lost",
        (_, Some(transaction)) => transaction.state.as_str(),
        (Standing::Waiting, None) => "waiting",
        (Standing::Holding, None) => "holding",
    }
}

fn describe(state: &State) -> String {
    let resources: String = state.resources.iter().map(describe_resource).collect();
    if state.tasks.is_empty() && state.waiters.is_empty() && state.unfinished.is_empty() {
        return format!("No tasks.\n{resources}{}", describe_kept(state));
    }
    // Who waits for the first locks is told among the waiters.
    let tasks = state
        .tasks
        .iter()
        .filter(|status| status.task.standing != Standing::Waiting);
    let mut text: String = tasks.map(|status| describe_task(state, status)).collect();
    let tasks = state.tasks.iter().map(|status| (&status.task.id, status));
    let tasks: BTreeMap<&TaskId, &TaskStatus> = tasks.collect();
    text.extend(state.waiters.iter().filter_map(|waiter| {
        let status = tasks.get(&waiter.task);
        describe_waiter(state, waiter, status.copied())
    }));
    text.push_str(&resources);
    if !state.unfinished.is_empty() {
        let commits = counted(state.unfinished.len(), "unfinished transaction");
        let _ = writeln!(text, "{commits}: run `mirror recover`.");
    }
    text + &describe_kept(state)
}

/// Tells what is kept for later runs, and of earlier ones.
fn describe_kept(state: &State) -> String {
    let mut text = describe_worktrees(&state.worktrees);
    if state.kept_work > 0 {
        let _ = writeln!(text, "Kept work: {}, in .mirror/salvage.", state.kept_work);
    }
    text
}

/// Tells how many working copies of the pool are in which state.
fn describe_worktrees(worktrees: &[Worktree]) -> String {
    let states = [
        (WorktreeState::InUse, "in use"),
        (WorktreeState::Idle, "idle"),
        (WorktreeState::Created, "being made"),
        (WorktreeState::Failed, "failed"),
    ];
    let counts = states.map(|(state, word)| {
        let count = worktrees
            .iter()
            .filter(|worktree| worktree.state == state)
            .count();
        (count > 0).then(|| format!("{count} {word}"))
    });
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    if counts.is_empty() {
        return String::new();
    }
    format!("Working copies: {}.\n", counts.join(", "))
}

fn describe_task(state: &State, status: &TaskStatus) -> String {
    let task = &status.task;
    let phase = status
        .phase
        .map(|phase| format!(", {}", run_line::how_far(state, status, phase)));
    let printed = status.printed.as_ref().map(text::printed);
    let printed = printed.map_or_else(String::new, |line| format!("  {line}"));
    if let Some(phase) = status.phase.filter(|_| status.is_run) {
        return run_line::going(state, status, phase) + &printed;
    }
    let dead = if status.is_dead { " (dead)" } else { "" };
    let process = task
        .owner
        .process
        .map(|process| format!(", process {}{dead}", process.pid));
    let mut text = format!(
        "{}  {}{}, {} staged, token {}, on {}{}, since {}, {}\n",
        task.id,
        standing(status),
        phase.unwrap_or_default(),
        status.staged,
        task.token,
        task.owner.host,
        process.unwrap_or_default(),
        time::local(task.since),
        time::lease(task.expires_in_ms),
    );
    if let Some(reason) = &task.reason {
        let _ = writeln!(text, "  {}", plain(reason));
    }
    text + &printed + &text::some_locks(task, "  ")
}

/// Describes a waiter, unless its own line says already for whom it waits.
fn describe_waiter(state: &State, waiter: &Waiter, status: Option<&TaskStatus>) -> Option<String> {
    match status {
        Some(status) if status.phase == Some(Phase::Waiting) => {
            return Some(run_line::waiting(state, status, waiter));
        }
        Some(status) if status.is_run || status.phase == Some(Phase::InLine) => return None,
        _ => {}
    }
    let mut text = format!(
        "{}  waits for {} since {}\n",
        waiter.task,
        run_line::blockers(waiter),
        time::local(waiter.since)
    );
    text += &text::wants(&waiter.wants, "  ");
    Some(text)
}

/// Says how much is left. Of ports there are always some: they are worth a line only while one is held.
fn describe_resource(found: &Utilisation) -> String {
    if found.used == 0 && found.pool == Pool::Ports {
        return String::new();
    }
    let shown = |number: u64| match found.pool {
        Pool::Quota(_) => Amount::new(number).to_string(),
        _ => number.to_string(),
    };
    let tags = match found.tags.as_slice() {
        [] => String::new(),
        tags => format!(" ({})", plain(&tags.join(", "))),
    };
    format!(
        "{}:{}  {} of {} in use, {} free{tags}\n",
        plain(&found.kind),
        plain(&found.name),
        shown(found.used),
        shown(found.total),
        shown(found.free()),
    )
}

/// Shows the state whenever it changed. On a terminal that includes the time that is left; elsewhere only what holds
/// until somebody does something.
fn watch(context: &Context, coordinator: &mut Coordinator) -> anyhow::Result<ExitCode> {
    let live = !context.output.json && output::is_terminal();
    let mut shown = None;
    loop {
        let state = coordinator.status()?;
        let text = if live { describe(&state) } else { signature(&state) };
        if shown.as_ref() != Some(&text) {
            if live {
                output::redraw(&text)?;
            } else {
                context
                    .output
                    .answer(&Document::from(&state), || describe(&state) + "\n")?;
            }
            shown = Some(text);
        }
        output::pause(INTERVAL)?;
    }
}

fn signature(state: &State) -> String {
    let tasks = state.tasks.iter().map(|status| {
        format!(
            "{} {} {:?} {} {} {}\n",
            status.task.token,
            standing(status),
            status.phase,
            status.is_dead,
            status.staged,
            text::locks(&status.task, "")
        )
    });
    let waiters = state.waiters.iter();
    let waiters = waiters.map(|waiter| format!("{} {}\n", waiter.task, run_line::blockers(waiter)));
    tasks.chain(waiters).collect::<String>() + &format!("{:?}", state.unfinished)
}
