//! kill -9 at every call that changes something, of mirror and of the processes that it starts; and again at every such
//! call of the recovery.

use super::bench::{Bench, Ending, Expected, Violation};
use super::calls::Call;
use super::trace::{Fault, Traced, Victim};

/// Commands that begin with recovery, as all do; one of them is killed.
const RECOVERING: [&[&str]; 4] = [&["recover"], &["status"], &["doctor", "--repair"], &["cleanup"]];

/// Where somebody is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) at: u32,
    pub(crate) victim: Victim,
    pub(crate) among: Among,
}

/// Which calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Among {
    /// Those that change something.
    Changes,
    /// All that touch files. Most leave the same behind as the next change.
    Every,
}

impl Among {
    pub(crate) fn counts(self) -> fn(&Call) -> bool {
        match self {
            Self::Changes => Call::changes,
            Self::Every => |_| true,
        }
    }
}

/// Lists the points of a run. Where only one process lives, there is only one to kill.
pub(crate) fn points(bench: &Bench, among: Among) -> Vec<Point> {
    let mut points = Vec::new();
    for (index, seen) in bench.calls(among.counts()).iter().enumerate() {
        let at = u32::try_from(index + 1).unwrap();
        let victims = [
            (Victim::Caller, true),
            (Victim::Group, seen.processes > 1),
            (Victim::Program, !seen.by_program),
        ];
        let alive = victims.iter().filter(|(_, alive)| *alive);
        points.extend(alive.map(|(victim, _)| Point {
            at,
            victim: *victim,
            among,
        }));
    }
    points
}

/// Kills the command at one point. `thorough` asks for more afterwards.
pub(crate) fn once(bench: &Bench, point: Point, thorough: bool) -> Result<Ending, Violation> {
    bench.restore();
    let traced = bench.trace(
        bench.situation.arguments,
        point.among.counts(),
        Fault::Kill(point.at, point.victim),
    );
    let expected = expect(&traced)?;
    let ending = bench.judge(expected, thorough)?;
    Ok(if traced.reached {
        ending
    } else {
        Ending::NotReached
    })
}

/// Kills the command at one point and the recovery at another; `third`, where it is given, the recovery after that.
/// A recovery that makes fewer calls goes through.
pub(crate) fn twice(
    bench: &Bench,
    first: Point,
    second: u32,
    third: Option<u32>,
) -> Result<Ending, Violation> {
    bench.restore();
    let killed = bench.trace(
        bench.situation.arguments,
        first.among.counts(),
        Fault::Kill(first.at, first.victim),
    );
    let expected = expect(&killed)?;
    for at in std::iter::once(second).chain(third) {
        let command = RECOVERING[(first.at + at) as usize % RECOVERING.len()];
        let recovery = bench.trace(command, Call::changes, Fault::Kill(at, Victim::Group));
        // It was not killed, so it must have gone through, unless there is no complete `.mirror` to work in.
        let complete = bench.sandbox.exists(".mirror/format");
        let is_content = recovery.code == Some(0) || finds_only_orphans(&recovery);
        if recovery.hung || (complete && !recovery.reached && !is_content) {
            return Err(Violation(format!("{command:?}: {}", shown(&recovery))));
        }
    }
    let ending = bench.judge(expected, false)?;
    Ok(if killed.reached {
        ending
    } else {
        Ending::NotReached
    })
}

/// A directory whose row is gone stays for a while: the doctor names it, and leaves it to `cleanup`.
fn finds_only_orphans(traced: &Traced) -> bool {
    let answer: serde_json::Value = serde_json::from_slice(&traced.stdout).unwrap_or_default();
    let findings = answer["findings"].as_array();
    findings.is_some_and(|findings| findings.iter().all(|finding| finding["check"] == "directory"))
}

/// What somebody was told must hold.
fn expect(traced: &Traced) -> Result<Expected, Violation> {
    if traced.hung {
        return Err(Violation(format!("it hung: {}", shown(traced))));
    }
    // Only a whole document is an answer.
    let acknowledged = serde_json::from_slice::<serde_json::Value>(&traced.stdout).is_ok();
    Ok(if acknowledged || traced.code == Some(0) {
        Expected::After
    } else {
        Expected::Either
    })
}

pub(crate) fn shown(traced: &Traced) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let last = traced.calls.last().map(|seen| seen.call);
    let (code, stdout, stderr) = (traced.code, text(&traced.stdout), text(&traced.stderr));
    let struck = traced.struck.display();
    format!("exit {code:?}, struck {struck}, last call {last:?}\nstdout: {stdout}\nstderr: {stderr}")
}
