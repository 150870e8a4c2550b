//! The campaign at full length, one kind of fault at a time: as many experiments as asked for, spread over all situations
//! and all processors, with progress, a table at the end, and for each violation the command that repeats it.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::bench::{Bench, Violation, panic_text};
use super::calls::Call;
use super::kill::Among;
use super::power::{self, FileSystem, Recording};
use super::situation::{self, Situation};
use super::tally::{self, Tally};
use super::trace::{Fault, Victim};
use super::{crowd, errors, kill, mutants, pause};

/// Runs the whole fault campaign, or the part that is asked for.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo test --test campaign -- whole")]
struct Arguments {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Kill at every call that changes something
    Kill(Extent),
    /// Kill there, and the recovery as well; every tenth time the next recovery too
    Double(Extent),
    /// Let calls fail or fall short
    Errors(Extent),
    /// Stop everything before a call, and let somebody else take the locks
    Pause(Extent),
    /// Lose power at every instant
    Power(PowerExtent),
    /// Let a crowd of processes loose on one repository, and kill, stop and rob them
    Crowd {
        /// How many processes
        #[arg(long, default_value_t = 1000)]
        processes: usize,
        /// How many times, each with another seed
        #[arg(long, default_value_t = 1)]
        rounds: u64,
        /// What chooses everything
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Put bugs in, one at a time, and see each of them found
    Mutants {
        /// Only mutants whose name contains this
        #[arg(long, default_value = "")]
        only: String,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct Extent {
    /// How many experiments; without it, each point once
    #[arg(long)]
    experiments: Option<usize>,
    /// What chooses the points
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only situations whose name contains this
    #[arg(long, default_value = "")]
    situation: String,
    /// How many run at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Kill at every call that touches files, not only at those that change something
    #[arg(long)]
    every_call: bool,
    /// Only this call
    #[arg(long)]
    at: Option<u32>,
    /// Only this victim
    #[arg(long, requires = "at")]
    victim: Option<VictimName>,
    /// Leave what the fault left as it is, and list the calls around it
    #[arg(long, requires = "at")]
    keep: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct PowerExtent {
    /// The file systems
    #[arg(long = "file-system", value_delimiter = ',', default_value = "btrfs,ext4,xfs")]
    file_systems: Vec<FileSystem>,
    /// How many random choices of unflushed writes for each instant and each of three probabilities
    #[arg(long, default_value_t = 3)]
    draws: u64,
    /// How many states of each recording; without it, all
    #[arg(long)]
    states: Option<usize>,
    /// What chooses the states
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only situations whose name contains this
    #[arg(long, default_value = "")]
    situation: String,
    /// How many run at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VictimName {
    Caller,
    Program,
    Group,
}

/// One experiment of a situation.
#[derive(Debug, Clone, Copy)]
enum Experiment {
    Kill(kill::Point),
    Double(kill::Point, u32, Option<u32>),
    Fail(errors::Point),
    Pause(pause::Point),
}

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse_from(std::env::args_os().skip(1));
    let extent = match &arguments.kind {
        Kind::Kill(extent) | Kind::Double(extent) | Kind::Errors(extent) | Kind::Pause(extent) => extent,
        Kind::Power(extent) => return power_loss(extent),
        Kind::Mutants { only } => return mutants::all(only),
        Kind::Crowd {
            processes,
            rounds,
            seed,
        } => return crowds(*processes, *seed..seed + rounds),
    };
    let started = Instant::now();
    let situations: Vec<Situation> = situation::ALL
        .iter()
        .copied()
        .filter(|situation| situation.name.contains(&extent.situation))
        .filter(|situation| !matches!(arguments.kind, Kind::Pause(_)) || pause::is_meant(situation))
        .collect();
    let tallies = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} {eta}").unwrap();
    let progress = ProgressBar::new(0).with_style(style);
    thread::scope(|scope| {
        for _ in 0..extent.jobs {
            scope.spawn(|| {
                while let Some(situation) = situations.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tally = run(&arguments.kind, extent, *situation, situations.len(), &progress);
                    progress.suspend(|| println!("{}: {tally}", situation.name));
                    tallies.lock().unwrap().insert(situation.name.to_owned(), tally);
                }
            });
        }
    });
    progress.finish_and_clear();
    tally::report(&tallies.into_inner().unwrap(), started)
}

/// Chooses the experiments of a situation.
fn experiments(kind: &Kind, extent: &Extent, bench: &Bench, share: Option<usize>) -> Vec<Experiment> {
    let mut random = fastrand::Rng::with_seed(extent.seed);
    let kills = || {
        let among = if extent.every_call {
            Among::Every
        } else {
            Among::Changes
        };
        let points = kill::points(bench, among).into_iter();
        let is_wanted = |point: &kill::Point| {
            let name = match point.victim {
                Victim::Caller => VictimName::Caller,
                Victim::Program => VictimName::Program,
                Victim::Group => VictimName::Group,
            };
            extent.at.is_none_or(|at| at == point.at) && extent.victim.is_none_or(|victim| victim == name)
        };
        points.filter(is_wanted).collect::<Vec<_>>()
    };
    let mut all: Vec<Experiment> = match kind {
        Kind::Kill(_) => kills().into_iter().map(Experiment::Kill).collect(),
        Kind::Double(_) => {
            let calls = 120;
            let double = |(index, point): (usize, kill::Point)| {
                let third = (index % 10 == 0).then(|| random.u32(1..calls));
                Experiment::Double(point, random.u32(1..calls), third)
            };
            let points = kills();
            let rounds = share.map_or(1, |share| share.div_ceil(points.len().max(1)));
            let points = (0..rounds).flat_map(|_| points.clone());
            points.enumerate().map(double).collect()
        }
        Kind::Pause(_) => {
            let all = pause::points(bench).into_iter();
            let wanted = all.filter(|point| extent.at.is_none_or(|at| at == point.at));
            wanted.map(Experiment::Pause).collect()
        }
        Kind::Power(_) | Kind::Mutants { .. } | Kind::Crowd { .. } => {
            unreachable!("they are no experiments on a bench")
        }
        Kind::Errors(_) => {
            let points = errors::points(&bench.calls(Call::can_fail)).into_iter();
            let is_wanted = |point: &Fault| match (extent.at, point) {
                (Some(wanted), Fault::Fail { at, .. } | Fault::Short(at)) => wanted == *at,
                _ => true,
            };
            points.filter(is_wanted).map(Experiment::Fail).collect()
        }
    };
    if let (true, Some(at)) = (extent.keep, extent.at) {
        let calls = bench.calls(if matches!(kind, Kind::Errors(_)) {
            Call::can_fail
        } else {
            Call::changes
        });
        for (index, seen) in calls
            .iter()
            .enumerate()
            .skip((at as usize).saturating_sub(12))
            .take(24)
        {
            println!("{:5} {seen:?}", index + 1);
        }
    }
    random.shuffle(&mut all);
    all.truncate(share.unwrap_or(usize::MAX));
    all
}

fn run(
    kind: &Kind,
    extent: &Extent,
    situation: Situation,
    situations: usize,
    progress: &ProgressBar,
) -> Tally {
    let mut tally = Tally::default();
    let share = extent
        .experiments
        .map(|experiments| experiments.div_ceil(situations));
    let ready = panic::catch_unwind(AssertUnwindSafe(|| {
        let bench = Bench::new(situation).keeping(extent.keep);
        let experiments = experiments(kind, extent, &bench, share);
        (bench, experiments)
    }));
    let (bench, experiments) = match ready {
        Ok(ready) => ready,
        Err(payload) => {
            let told = panic_text(payload.as_ref());
            progress.suspend(|| println!("VIOLATION {}: {told}", situation.name));
            tally.add(&Err(Violation(told)));
            return tally;
        }
    };
    progress.inc_length(experiments.len() as u64);
    for (number, experiment) in experiments.into_iter().enumerate() {
        let thorough = number % 8 == 0;
        let ended = panic::catch_unwind(AssertUnwindSafe(|| match experiment {
            Experiment::Kill(point) => kill::once(&bench, point, thorough),
            Experiment::Double(point, second, third) => kill::twice(&bench, point, second, third),
            Experiment::Fail(point) => errors::once(&bench, point, thorough),
            Experiment::Pause(point) => pause::once(&bench, point),
        }));
        let ended = ended.unwrap_or_else(|payload| Err(Violation(panic_text(payload.as_ref()))));
        if let Err(violation) = &ended {
            let told = format!("{}: {experiment:?}: {violation}", situation.name);
            progress.suspend(|| println!("VIOLATION {told}"));
        }
        tally.add(&ended);
        progress.inc(1);
    }
    if extent.keep {
        std::mem::forget(bench);
    }
    tally
}

fn power_loss(extent: &PowerExtent) -> ExitCode {
    let started = Instant::now();
    for file_system in &extent.file_systems {
        if let Some(missing) = power::missing(*file_system) {
            println!("Power loss on {file_system:?} cannot be tested here: {missing} missing");
            return ExitCode::FAILURE;
        }
    }
    let recordings = extent.file_systems.iter().flat_map(|file_system| {
        let wanted = power::situations().filter(|situation| situation.name.contains(&extent.situation));
        wanted.map(move |situation| (*file_system, situation))
    });
    let recordings: Vec<(FileSystem, Situation)> = recordings.collect();
    let (tallies, next) = (Mutex::new(BTreeMap::new()), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..extent.jobs {
            scope.spawn(|| {
                while let Some((file_system, situation)) =
                    recordings.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let name = format!("{file_system:?}, {}", situation.name);
                    let tally = lose_power(extent, *situation, *file_system, &name);
                    println!("{name}: {tally}");
                    tallies.lock().unwrap().insert(name, tally);
                }
            });
        }
    });
    tally::report(&tallies.into_inner().unwrap(), started)
}

fn lose_power(extent: &PowerExtent, situation: Situation, file_system: FileSystem, name: &str) -> Tally {
    let mut tally = Tally::default();
    let recorded = panic::catch_unwind(AssertUnwindSafe(|| Recording::make(situation, file_system)));
    let recording = match recorded {
        Ok(recording) => recording,
        Err(payload) => {
            let told = panic_text(payload.as_ref());
            println!("VIOLATION {name}: {told}");
            tally.add(&Err(Violation(told)));
            return tally;
        }
    };
    let mut crashes = recording.crashes(extent.draws, extent.seed);
    fastrand::Rng::with_seed(extent.seed).shuffle(&mut crashes);
    crashes.truncate(extent.states.unwrap_or(usize::MAX));
    for crash in crashes {
        let ended = recording.look(crash);
        if let Err(violation) = &ended {
            println!("VIOLATION {name}: {crash:?}: {violation}");
        }
        tally.add(&ended);
    }
    tally
}

fn crowds(processes: usize, seeds: std::ops::Range<u64>) -> ExitCode {
    for seed in seeds {
        match crowd::run(processes, seed) {
            Ok(outcome) => println!("seed {seed}: {outcome:?}"),
            Err(violation) => {
                println!("VIOLATION seed {seed}: {violation}");
                return ExitCode::FAILURE;
            }
        }
    }
    let mut freed = crowd::freed_after(40);
    freed.sort();
    println!(
        "a dead owner's lock, from the question to the grant, a process included: median {:?}, worst {:?}",
        freed[freed.len() / 2],
        freed[freed.len() - 1]
    );
    ExitCode::SUCCESS
}
