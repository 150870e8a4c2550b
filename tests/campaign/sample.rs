//! What `cargo test` runs: a seeded sample of every kind of fault.

use libtest_mimic::{Failed, Trial};

use super::bench::Bench;
use super::calls::Call;
use super::kill::Among;
use super::points::Scenario;
use super::power::{self, FileSystem, Recording};
use super::situation::{self, Situation};
use super::{crowd, errors, kill, mutants, pause, stories, syncs};

/// The sample is the same in every run: a failure can be repeated at once. The whole campaign takes other seeds.
const SEED: u64 = 20_261_121;

/// How many experiments of each kind a situation gets.
const KILLS: usize = 24;
const DOUBLE_KILLS: usize = 6;
const ERRORS: usize = 24;
const PAUSES: usize = 4;

/// What is recorded on btrfs, the file system that hides least, and how many states are looked at.
const LOSING_POWER: &[&str] = &[
    "commit with a message",
    "commit that is fast-forwarded",
    "commit of one file",
    "commit in a directory without git",
];
const POWER_STATES: usize = 40;

/// Situations that pass named fault points, each of which is visited.
const VISITED: &[&str] = &[
    "commit without a message",
    "commit in a directory without git",
    "commit with a message",
    "commit that is fast-forwarded",
    "commit that is merged by path",
    "commit onto a target that is not checked out",
    "first commit of all",
    "commit on a detached head",
    "commit in a linked worktree",
    "rollback",
    "stage",
];

pub(crate) fn trials() -> Vec<Trial> {
    let visits = VISITED.iter().map(|name| {
        trial("points", name, || {
            Scenario::new(Situation::named(name)).visit();
            Ok(())
        })
    });
    let refusals = ["ENOSPC", "EIO", "EACCES"].into_iter().flat_map(|errno| {
        ["commit that is fast-forwarded", "stage"].map(|name| {
            trial(&format!("{errno} at points"), name, move || {
                Scenario::new(Situation::named(name)).refuse(errno);
                Ok(())
            })
        })
    });
    let situations = || situation::ALL.iter().copied();
    let kills = situations().map(|situation| trial("kill", situation.name, move || kills(situation)));
    let errors = situations().map(|situation| trial("errors", situation.name, move || fail(situation)));
    let pauses = situations()
        .filter(pause::is_meant)
        .map(|situation| trial("pause", situation.name, move || pauses(situation)));
    let followed = situations().filter(|situation| situation.durable);
    let syncs = followed.map(|situation| {
        trial("syncs", situation.name, move || {
            syncs::follow(&Bench::new(situation)).map_err(|violation| violation.to_string().into())
        })
    });
    visits
        .chain(refusals)
        .chain(syncs)
        .chain(stories::trials())
        .chain(kills)
        .chain(errors)
        .chain(pauses)
        .chain([mutants::trial(), Trial::test("crowd: sixty processes", crowd)])
        .chain(
            LOSING_POWER
                .iter()
                .map(|name| trial("power", name, || lose_power(name))),
        )
        .collect()
}

fn trial(kind: &str, name: &str, run: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::test(format!("{kind}: {name}"), run)
}

fn kills(situation: Situation) -> Result<(), Failed> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let bench = Bench::new(situation);
    let points = kill::points(&bench, Among::Changes);
    for number in 0..KILLS {
        let point = random.choice(&points).unwrap();
        let ending = kill::once(&bench, *point, number % 4 == 0);
        ending.map_err(|violation| format!("{point:?}: {violation}"))?;
    }
    for _ in 0..DOUBLE_KILLS {
        let point = random.choice(&points).unwrap();
        let second = random.u32(1..60);
        let ending = kill::twice(&bench, *point, second, None);
        ending.map_err(|violation| format!("{point:?}, recovery at {second}: {violation}"))?;
    }
    Ok(())
}

fn fail(situation: Situation) -> Result<(), Failed> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let bench = Bench::new(situation);
    let points = errors::points(&bench.calls(Call::can_fail));
    for number in 0..ERRORS {
        let point = random.choice(&points).unwrap();
        let ending = errors::once(&bench, *point, number % 4 == 0);
        ending.map_err(|violation| format!("{point:?}: {violation}"))?;
    }
    Ok(())
}

fn pauses(situation: Situation) -> Result<(), Failed> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let bench = Bench::new(situation);
    let points = pause::points(&bench);
    for _ in 0..PAUSES {
        let point = random.choice(&points).unwrap();
        pause::once(&bench, *point).map_err(|violation| format!("{point:?}: {violation}"))?;
    }
    Ok(())
}

fn lose_power(name: &str) -> Result<(), Failed> {
    if let Some(missing) = power::missing(FileSystem::Btrfs) {
        println!("\n!!! POWER LOSS IS NOT TESTED HERE: {missing} missing\n");
        return Ok(());
    }
    let recording = Recording::make(Situation::named(name), FileSystem::Btrfs);
    let mut crashes = recording.crashes(1, SEED);
    fastrand::Rng::with_seed(SEED).shuffle(&mut crashes);
    for crash in crashes.into_iter().take(POWER_STATES) {
        let ended = recording.look(crash);
        ended.map_err(|violation| format!("{crash:?}: {violation}"))?;
    }
    Ok(())
}

fn crowd() -> Result<(), Failed> {
    let outcome = crowd::run(60, SEED)?;
    if outcome.committed == 0 || outcome.grants == 0 {
        return Err(format!("nobody got anywhere: {outcome:?}").into());
    }
    Ok(())
}
