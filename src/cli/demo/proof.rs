//! Proves at the end that nothing was torn, nothing was lost, and nobody is locked out.

use std::sync::Arc;

use mirror::coordinator::Silent;
use mirror::host::Host;
use mirror::model::ObjectId;

use super::scene::{BULK_FILES, Scene};
use super::worker::ROUNDS;

/// What was seen during the play.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Every commit that a worker was given a receipt for.
    pub(super) acknowledged: Vec<ObjectId>,
    /// Whether the hook refused.
    pub(super) hook_refused: bool,
    /// The newest version that the killed worker had decided.
    pub(super) bulk_version: usize,
    /// How many files were in place when it was killed.
    pub(super) torn_at: Option<usize>,
}

/// What holds, and what does not.
struct Checks<'a> {
    tell: &'a mut dyn FnMut(&str),
    holds: bool,
}

/// Checks everything and tells each result. Answers whether all of it holds.
pub(super) fn prove(
    scene: &Scene,
    host: &Arc<dyn Host>,
    evidence: &Evidence,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<bool> {
    tell("");
    tell("Proof:");
    let mut checks = Checks { tell, holds: true };
    nothing_is_lost(scene, evidence, &mut checks)?;
    nothing_is_torn(scene, evidence, &mut checks)?;
    nobody_is_locked_out(scene, host, &mut checks)?;
    let Checks { tell, holds } = checks;
    tell("");
    tell("The end of the history:");
    let graph = scene.repository().graph(12)?;
    graph.lines().for_each(|line| tell(&format!("  {line}")));
    Ok(holds)
}

fn nothing_is_lost(scene: &Scene, evidence: &Evidence, checks: &mut Checks<'_>) -> anyhow::Result<()> {
    let expected = 3 * ROUNDS;
    let count = scene.read(Scene::COUNTER)?;
    let count = count.trim();
    checks.check(
        &format!("no edit lost: {expected} increments by three workers, and the counter says {count}"),
        count == expected.to_string(),
        || "the counter differs".to_owned(),
    );
    let mut missing = Vec::new();
    for commit in &evidence.acknowledged {
        if !scene.repository().contains(*commit)? {
            missing.push(commit.to_string());
        }
    }
    let acknowledged = evidence.acknowledged.len();
    checks.check(
        &format!("all {acknowledged} acknowledged commits are in the history of main"),
        missing.is_empty(),
        || format!("missing: {}", missing.join(", ")),
    );
    checks.check(
        "the hook refused a commit to a locked file",
        evidence.hook_refused,
        || "it did not".to_owned(),
    );
    Ok(())
}

fn nothing_is_torn(scene: &Scene, evidence: &Evidence, checks: &mut Checks<'_>) -> anyhow::Result<()> {
    let whole = scene.count_bulk(&format!("version {}\n", evidence.bulk_version));
    let torn_at = evidence.torn_at.unwrap_or(0);
    checks.check(
        &format!("the commit killed at {torn_at} of {BULK_FILES} files was completed by the next command"),
        whole == BULK_FILES,
        || format!("{whole} files are new"),
    );
    let status = scene.repository().status()?;
    checks.check(
        "working tree, index and HEAD agree (git status is empty)",
        status.trim().is_empty(),
        || status.trim().to_owned(),
    );
    let complaints = scene.repository().check_objects()?;
    checks.check(
        "every object is whole (git fsck --full --strict)",
        complaints.trim().is_empty(),
        || complaints.trim().to_owned(),
    );
    Ok(())
}

fn nobody_is_locked_out(scene: &Scene, host: &Arc<dyn Host>, checks: &mut Checks<'_>) -> anyhow::Result<()> {
    let locks = scene.git_locks()?;
    checks.check("git has no lock file left", locks.is_empty(), || locks.join(", "));
    let mut coordinator = scene.open(host)?;
    let standing = coordinator.status()?;
    let held: usize = standing.tasks.iter().map(|task| task.task.locks.len()).sum();
    checks.check(
        "nobody holds or waits for anything, and nothing is unfinished",
        held == 0 && standing.waiters.is_empty() && standing.unfinished.is_empty(),
        || format!("{held} locks are left"),
    );
    let findings = coordinator.doctor(false, &mut Silent)?;
    checks.check("mirror doctor finds nothing", findings.is_empty(), || {
        let messages: Vec<String> = findings.iter().map(|finding| finding.message.clone()).collect();
        messages.join("; ")
    });
    Ok(())
}

impl Checks<'_> {
    fn check(&mut self, claim: &str, holds: bool, otherwise: impl FnOnce() -> String) {
        self.holds &= holds;
        if holds {
            (self.tell)(&format!("  ok      {claim}"));
        } else {
            (self.tell)(&format!("  FAILED  {claim}: {}", otherwise()));
        }
    }
}
