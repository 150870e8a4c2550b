//! A call that answers with an error instead of doing its work, once or from then on, and calls that move fewer bytes
//! than they were asked to.

use nix::errno::Errno;

use super::bench::{Bench, Ending, Expected, Violation};
use super::calls::Call;
use super::kill::shown;
use super::trace::{Fault, Seen, Traced};

/// The exit code of a doctor that found something.
const FINDINGS: i32 = 7;

/// The configuration files of git: the repository's, the machine's, the user's.
const CONFIGURATION: [&str; 3] = ["config", "etc/gitconfig", ".gitconfig"];

/// An error at one call.
pub(crate) type Point = Fault;

/// Lists every error that the calls of a run can answer with.
pub(crate) fn points(calls: &[Seen]) -> Vec<Point> {
    let mut points = Vec::new();
    for (index, seen) in calls.iter().enumerate() {
        let at = u32::try_from(index + 1).unwrap();
        for &errno in seen.call.errors() {
            points.push(Fault::Fail {
                at,
                errno,
                for_ever: false,
            });
            // A call that is interrupted for ever is to be repeated for ever.
            if errno != Errno::EINTR {
                points.push(Fault::Fail {
                    at,
                    errno,
                    for_ever: true,
                });
            }
        }
        if seen.call.can_be_short() {
            points.push(Fault::Short(at));
        }
    }
    points
}

/// Lets one call fail. What the command then says has to be what is there.
pub(crate) fn once(bench: &Bench, point: Point, thorough: bool) -> Result<Ending, Violation> {
    bench.restore();
    let traced = bench.trace(bench.situation.arguments, Call::can_fail, point);
    let prints = point
        .at()
        .and_then(|at| traced.calls.get(at as usize - 1))
        .is_some_and(|seen| seen.call.prints());
    let expected = if prints {
        Expected::Either
    } else {
        expect(&traced)?
    };
    let judged = bench.judge(expected, thorough);
    let ending = judged.map_err(|violation| Violation(format!("{violation}\n{}", shown(&traced))))?;
    Ok(if traced.reached {
        ending
    } else {
        Ending::NotReached
    })
}

fn expect(traced: &Traced) -> Result<Expected, Violation> {
    let violation = |what: &str| Violation(format!("{what}: {}", shown(traced)));
    if traced.hung {
        return Err(violation("it hung"));
    }
    let is_config = CONFIGURATION.iter().any(|name| traced.struck.ends_with(name));
    let Some(code) = traced.code else {
        // libgit2 1.9 jumps into freed memory when a configuration file that it has read cannot be read again. It is
        // the same as kill -9, and has to end like that.
        let is_known = is_config && traced.stdout.is_empty();
        return if is_known {
            Ok(Expected::Either)
        } else {
            Err(violation("it was killed by a signal"))
        };
    };
    if code == 0 {
        return Ok(Expected::After);
    }
    // What the doctor finds is its answer.
    if code == FINDINGS && !traced.stdout.is_empty() {
        return Ok(Expected::Either);
    }
    // Before it there may be what the command of a run had to say.
    let lines = traced.stderr.split(|byte| *byte == b'\n');
    let last = lines.rev().find(|line| !line.is_empty()).unwrap_or_default();
    let document: Result<serde_json::Value, _> = serde_json::from_slice(last);
    let Ok(document) = document else {
        // The same jump may come down where the program just ends, without a word.
        let is_known = is_config && traced.stdout.is_empty() && traced.stderr.is_empty();
        return if is_known {
            Ok(Expected::Either)
        } else {
            Err(violation("no error document"))
        };
    };
    match document["error"]["kind"].as_str() {
        Some("pending") => Ok(Expected::After),
        Some("unknown") => Ok(Expected::Either),
        Some("bug") | None => Err(violation("no error of the system")),
        Some(_) => Ok(Expected::Before),
    }
}
