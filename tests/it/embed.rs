//! The library's short path: handles, what ends them, and the history as it happens.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mirror::coordinator::Status;
use mirror::model::{Conflict, Kind, Resource};
use mirror::{
    CommitRequest, Declaration, Error, EventKind, Interrupter, Mirror, Observer, Outcome, Since, TaskError,
};

use crate::support::{Sandbox, at_once};

fn repository() -> (Sandbox, Mirror) {
    let sandbox = Sandbox::with_files(&[("a", "one\n"), ("b", "two\n")]);
    let mirror = Mirror::init(sandbox.root()).unwrap();
    (sandbox, mirror)
}

fn writing(task: &str, path: &str) -> Declaration {
    Declaration::new(task).unwrap().write(path)
}

fn status(mirror: &Mirror) -> Status {
    mirror.coordinator().unwrap().status().unwrap()
}

/// Nothing is held, nothing goes on, all checks pass.
#[track_caller]
fn assert_clean(sandbox: &Sandbox, mirror: &Mirror) {
    let status = status(mirror);
    assert_eq!(status.tasks.len(), 0, "{status:?}");
    assert!(status.unfinished.is_empty(), "{status:?}");
    let marks = fs::read_dir(sandbox.path(".mirror/runs")).map_or(0, Iterator::count);
    assert_eq!(marks, 0);
    sandbox.mirror(["doctor"]).succeeded();
}

#[test]
fn what_is_staged_becomes_one_commit() {
    let (sandbox, mirror) = repository();
    let declaration = writing("one", "a").write("b").write("new");
    let mut task = mirror.begin(&declaration).unwrap();
    sandbox.write("elsewhere", "from a file\n");
    task.stage("a", "three\n").unwrap();
    task.stage_file("new", sandbox.path("elsewhere")).unwrap();
    task.delete("b").unwrap();
    assert_eq!(task.diff().unwrap().len(), 3);
    assert_eq!(sandbox.read("a"), "one\n");
    let receipt = task.commit("three files").unwrap();
    assert_eq!(receipt.changes.len(), 3);
    assert_eq!(
        sandbox.git(["rev-parse", "HEAD"]),
        receipt.commit.unwrap().to_string()
    );
    assert_eq!(
        (sandbox.read("a"), sandbox.exists("b")),
        ("three\n".to_owned(), false)
    );
    assert_eq!(sandbox.git(["log", "-1", "--format=%s"]), "three files");
    assert_clean(&sandbox, &mirror);
}

#[test]
fn without_a_message_git_records_nothing_and_without_git_it_works_as_well() {
    let sandbox = Sandbox::directory();
    let mirror = Mirror::init(sandbox.root()).unwrap();
    let mut task = mirror.begin(&writing("one", "a")).unwrap();
    task.stage("a", vec![0, 255]).unwrap();
    let receipt = task.commit(CommitRequest::unrecorded()).unwrap();
    assert_eq!((receipt.outcome, receipt.commit), (Outcome::Committed, None));
    assert_eq!(fs::read(sandbox.path("a")).unwrap(), [0, 255]);
}

#[test]
fn a_directory_that_init_has_not_seen_is_refused() {
    let sandbox = Sandbox::repository();
    let refused = Mirror::open(sandbox.root()).unwrap_err();
    assert!(matches!(refused, Error::NotInitialised { .. }), "{refused}");
}

#[test]
fn a_handle_that_is_dropped_or_unwound_rolls_back() {
    let (sandbox, mirror) = repository();
    let mut task = mirror.begin(&writing("one", "a")).unwrap();
    task.stage("a", "x").unwrap();
    drop(task);
    assert_clean(&sandbox, &mirror);

    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let mut task = mirror.begin(&writing("one", "a")).unwrap();
        task.stage("a", "x").unwrap();
        panic!("the program is at fault");
    }));
    unwound.unwrap_err();
    assert_clean(&sandbox, &mirror);

    let mut task = mirror.begin(&writing("one", "a")).unwrap();
    task.stage("a", "x").unwrap();
    assert_eq!(task.rollback().unwrap().dropped, 1);
    assert_eq!(sandbox.read("a"), "one\n");
    assert_clean(&sandbox, &mirror);
}

#[test]
fn a_handle_does_not_roll_back_a_transaction_that_is_not_its_own() {
    let (sandbox, mirror) = repository();
    let task = mirror.begin(&writing("one", "a")).unwrap();
    sandbox.mirror(["rollback", "-t", "one"]).succeeded();
    sandbox.mirror(["begin", "-t", "one", "-w", "b"]).succeeded();
    drop(task);
    assert_eq!(status(&mirror).tasks.len(), 1);
}

#[test]
fn a_commit_that_is_refused_gives_the_task_back() {
    let (sandbox, mirror) = repository();
    let mut task = mirror.begin(&writing("one", "a")).unwrap();
    task.stage("a", "x\n").unwrap();
    let seen = Mutex::new(Vec::new());
    let check = |result: &Path| {
        let text = fs::read_to_string(result.join("a")).map_err(|error| error.to_string())?;
        seen.lock().unwrap().push(text.clone());
        if text == "x\n" {
            Err("x is no word".to_owned())
        } else {
            Ok(())
        }
    };
    let commit = CommitRequest::recorded("words").validated_by(check);
    let refused = task.commit(commit.clone()).unwrap_err();
    assert_eq!(refused.kind(), Kind::Rejected);
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert_eq!(cause, "x is no word");
    let mut task = refused.into_task().unwrap();
    assert_eq!(sandbox.read("a"), "one\n");
    task.stage("a", "word\n").unwrap();
    task.commit(commit).unwrap();
    assert_eq!(sandbox.read("a"), "word\n");
    assert_eq!(*seen.lock().unwrap(), ["x\n", "word\n"]);

    let mut task = mirror.begin(&writing("one", "a")).unwrap();
    task.stage("a", "y\n").unwrap();
    let refused = task.commit(CommitRequest::recorded("y").validated_by_command("false"));
    drop(refused.unwrap_err());
    assert_clean(&sandbox, &mirror);
}

#[test]
fn a_validation_that_panics_rolls_back() {
    let (sandbox, mirror) = repository();
    let panics = || {
        CommitRequest::recorded("x").validated_by(|_: &Path| -> Result<(), String> { panic!("no opinion") })
    };
    let by_hand = catch_unwind(AssertUnwindSafe(|| {
        let mut task = mirror.begin(&writing("one", "a")).unwrap();
        task.stage("a", "x").unwrap();
        task.commit(panics())
    }));
    by_hand.unwrap_err();
    assert_clean(&sandbox, &mirror);
    let run = catch_unwind(AssertUnwindSafe(|| {
        mirror.run_task(&writing("one", "a"), panics(), |copy| {
            fs::write(copy.root.join("a"), "x")
        })
    }));
    run.unwrap_err();
    assert_eq!(sandbox.read("a"), "one\n");
    assert_clean(&sandbox, &mirror);
}

#[test]
fn work_that_fails_or_panics_leaves_nothing_and_gives_its_copy_back() {
    let (sandbox, mirror) = repository();
    let mirror = Mirror::options()
        .settings("run: {worktrees: {max: 1}}")
        .unwrap()
        .open(mirror.root())
        .unwrap();
    for _ in 0..2 {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            mirror.run_task(&writing("one", "a"), "x", |copy| -> Result<(), String> {
                fs::write(copy.root.join("a"), "x").unwrap();
                panic!("the work is at fault");
            })
        }));
        panicked.unwrap_err();
        assert_clean(&sandbox, &mirror);
    }
    let failed = mirror.run_task(&writing("one", "a"), "x", |copy| {
        fs::write(copy.root.join("a"), "x").unwrap();
        Err::<(), _>("out of ideas")
    });
    let failed = failed.unwrap_err();
    assert_eq!(failed.kind(), Kind::Rejected);
    assert!(matches!(&failed, TaskError::Work(cause) if cause.to_string() == "out of ideas"));
    let outside = mirror.run_task(&writing("one", "a"), "x", |copy| {
        fs::write(copy.root.join("b"), "x")
    });
    assert_eq!(outside.unwrap_err().kind(), Kind::Conflict);
    let grown = mirror.run_task(&writing("one", "a").growing(), "x", |copy| {
        fs::write(copy.root.join("b"), "x\n")
    });
    assert_eq!(grown.unwrap().receipt.changes.len(), 1);
    assert_eq!(
        (sandbox.read("a"), sandbox.read("b")),
        ("one\n".to_owned(), "x\n".to_owned())
    );
    assert_clean(&sandbox, &mirror);
}

#[test]
fn threads_take_turns_and_none_loses_what_it_did() {
    let (sandbox, mirror) = repository();
    sandbox.write("count", "0\n");
    sandbox.commit_all("count");
    let validated = AtomicUsize::new(0);
    at_once(6, |index| {
        let declaration = writing(&format!("adder-{index}"), "count").wait(Duration::from_mins(1));
        let commit = CommitRequest::recorded("add").validated_by(|result| {
            validated.fetch_add(1, Ordering::Relaxed);
            fs::metadata(result.join("count")).map(drop)
        });
        mirror
            .run_task(&declaration, commit, |copy| {
                let file = copy.root.join("count");
                let count: usize = fs::read_to_string(&file)?.trim().parse().unwrap();
                fs::write(&file, format!("{}\n", count + 1))
            })
            .unwrap();
    });
    assert_eq!(sandbox.read("count"), "6\n");
    assert!(validated.load(Ordering::Relaxed) >= 6);
    assert_clean(&sandbox, &mirror);
}

#[test]
fn a_task_is_told_which_shares_it_got() {
    let (sandbox, mirror) = repository();
    sandbox.write(
        ".mirror/config.yaml",
        "pools: {db: [only], memory: {total: 10}}\n",
    );
    let declaration = Declaration::unnamed()
        .write("a")
        .service("cache")
        .pool("db")
        .quota("memory", 4)
        .port();
    let task = mirror.begin(&declaration).unwrap();
    let held: Vec<String> = task.resources().map(ToString::to_string).collect();
    assert!(held.contains(&"pool:db/only".to_owned()), "{held:?}");
    assert!(held.contains(&"service:cache".to_owned()), "{held:?}");
    assert!(task.resources().any(|held| matches!(held, Resource::Port(_))));
    let refused = mirror.begin(&Declaration::unnamed().pool("db")).unwrap_err();
    assert_eq!(refused.kind(), Kind::Held);
    drop(task);
    let ran = mirror.run_task(&declaration, "none", |copy| Ok::<_, String>(copy.variables()));
    let variables = ran.unwrap().value;
    let value = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(value("MIRROR_POOL_DB"), Some("only"));
    assert_eq!(value("MIRROR_QUOTA_MEMORY"), Some("4"));
    assert_clean(&sandbox, &mirror);
}

#[test]
fn settings_come_from_the_repository_the_user_and_the_program() {
    let (sandbox, _) = repository();
    sandbox.write(".mirror/config.yaml", "history: {keep_days: 2}\n");
    let user = sandbox.beside("user.yaml");
    fs::write(&user, "history: {keep_days: 1, max_mib: 1}\ngit: {target: one}\n").unwrap();
    let options = Mirror::options().user_file(&user);
    let mirror = options
        .settings("git: {target: two}")
        .unwrap()
        .open(sandbox.root())
        .unwrap();
    let coordinator = mirror.coordinator().unwrap();
    let config = coordinator.config();
    assert_eq!(config.keep_days, 2);
    assert_eq!(config.target.as_deref(), Some("two"));
    assert!(Mirror::options().settings("gut: 1").is_err());
    Mirror::options()
        .user_file(sandbox.beside("none"))
        .open(sandbox.root())
        .unwrap();
}

/// Counts how often it is told that a request waits.
struct Waits(Arc<AtomicUsize>);

impl Observer for Waits {
    fn waiting(&mut self, _conflicts: &[Conflict]) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_observer_hears_of_waits_and_the_waiter_gets_its_turn() {
    let (sandbox, mirror) = repository();
    let waits = Arc::new(AtomicUsize::new(0));
    let observed = mirror.observed_by(Waits(Arc::clone(&waits)));
    let holder = mirror.begin(&writing("one", "a")).unwrap();
    let waiter = thread::spawn(move || {
        let declaration = writing("two", "a").wait(Duration::from_mins(1));
        observed.begin(&declaration).unwrap().rollback().unwrap();
    });
    while waits.load(Ordering::Relaxed) == 0 {
        thread::yield_now();
    }
    drop(holder);
    waiter.join().unwrap();
    assert_clean(&sandbox, &mirror);
}

#[test]
fn an_interrupter_ends_a_wait_and_nothing_of_it_stays() {
    let (sandbox, mirror) = repository();
    let (waits, interrupter) = (Arc::new(AtomicUsize::new(0)), Interrupter::default());
    let observed = mirror
        .observed_by(Waits(Arc::clone(&waits)))
        .interrupted_by(&interrupter);
    let holder = mirror.begin(&writing("one", "a")).unwrap();
    let waiter = thread::spawn(move || {
        let declaration = writing("two", "a").wait(Duration::from_mins(1));
        observed.begin(&declaration).map(drop).unwrap_err()
    });
    while waits.load(Ordering::Relaxed) == 0 {
        thread::yield_now();
    }
    interrupter.interrupt();
    let error = waiter.join().unwrap();
    assert!(
        matches!(&error, Error::Interrupted { task } if task.as_str() == "two"),
        "{error}"
    );
    assert!(mirror.coordinator().unwrap().status().unwrap().waiters.is_empty());
    drop(holder);
    let declaration = writing("three", "a");
    let mirror = mirror.interrupted_by(&interrupter);
    let late = mirror.run_task(&declaration, "x", |copy| fs::write(copy.root.join("a"), "x"));
    assert_eq!(
        late.unwrap_err().kind(),
        Kind::Interrupted,
        "it was said for good"
    );
    assert_clean(&sandbox, &mirror);
}

#[test]
fn an_interrupter_counts_until_the_decision() {
    let (sandbox, mirror) = repository();
    let interrupter = Interrupter::default();
    let handle = mirror.interrupted_by(&interrupter);
    let mut task = handle.begin(&writing("one", "a")).unwrap();
    task.stage("a", "x\n").unwrap();
    let commit = CommitRequest::recorded("x").validated_by(|_: &Path| {
        interrupter.interrupt();
        Ok::<_, String>(())
    });
    let refused = task.commit(commit).unwrap_err();
    assert_eq!(refused.kind(), Kind::Interrupted);
    let task = refused.into_task().expect("it stays as it was");
    assert_eq!(task.rollback().unwrap().dropped, 1);
    assert_eq!(sandbox.read("a"), "one\n");
    assert_eq!(sandbox.git(["log", "--format=%s"]), "first");
    assert!(!sandbox.exists(".git/index.lock"));
    // One that asks, and gives up because of it, has not found anything wrong.
    let interrupter = Interrupter::default();
    let commit = CommitRequest::recorded("x").validated_by(|_: &Path| {
        interrupter.interrupt();
        Err("given up")
    });
    let ran = mirror
        .interrupted_by(&interrupter)
        .run_task(&writing("two", "a"), commit, |copy| {
            fs::write(copy.root.join("a"), "x\n")
        });
    assert_eq!(ran.unwrap_err().kind(), Kind::Interrupted);
    assert_eq!(sandbox.shell("cat .mirror/salvage/*/a"), "x\n");
    assert_clean(&sandbox, &mirror);
}

#[test]
fn a_command_that_validates_is_ended_with_all_that_it_has_started_without_a_guard_as_well() {
    let (sandbox, mirror) = repository();
    let left = sandbox.path("left");
    let leave = format!("setsid tail -f /dev/null & echo $! > {}", left.display());
    let gone = || {
        let pid = fs::read_to_string(&left).unwrap();
        let state = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
        assert!(state.is_empty() || state.contains("State:\tZ"), "{state}");
        fs::remove_file(&left).unwrap();
    };
    let commit = CommitRequest::recorded("x").validated_by_command(&leave);
    let mut task = mirror.begin(&writing("one", "a")).unwrap();
    task.stage("a", "x\n").unwrap();
    task.commit(commit).unwrap();
    gone();

    let interrupter = Interrupter::default();
    let handle = mirror.interrupted_by(&interrupter);
    let commit = CommitRequest::recorded("x").validated_by_command(format!("{leave}; tail -f /dev/null"));
    let run = thread::spawn(move || {
        let ran = handle.run_task(&writing("one", "b"), commit, |copy| {
            fs::write(copy.root.join("b"), "y\n")
        });
        ran.map(drop).unwrap_err()
    });
    while fs::read_to_string(&left).unwrap_or_default().is_empty() {
        thread::yield_now();
    }
    interrupter.interrupt();
    assert_eq!(run.join().unwrap().kind(), Kind::Interrupted);
    gone();
    assert_eq!(sandbox.read("b"), "two\n");
    assert_clean(&sandbox, &mirror);
}

/// Begins and ends so many tasks, in this process and in others.
fn be_busy(sandbox: &Sandbox, mirror: &Mirror, tasks: usize) {
    at_once(tasks, |index| {
        let (task, path) = (format!("busy-{index}"), format!("file-{index}"));
        if index % 2 == 0 {
            drop(mirror.begin(&writing(&task, &path)).unwrap());
        } else {
            sandbox.mirror(["begin", "-t", &task, "-w", &path]).succeeded();
            sandbox.mirror(["rollback", "-t", &task]).succeeded();
        }
    });
}

fn history(mirror: &Mirror) -> Vec<u64> {
    let events = mirror.coordinator().unwrap().events_after(0, 1_000_000).unwrap();
    events.into_iter().map(|event| event.seq).collect()
}

#[test]
fn listeners_hear_every_event_once_in_order_until_they_stop() {
    let (sandbox, mirror) = repository();
    be_busy(&sandbox, &mirror, 2);
    let before = history(&mirror);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    let subscription = mirror
        .subscribe(Since::Now, move |event| listener.lock().unwrap().push(event.seq))
        .unwrap();
    let mut events = mirror.events(Since::Beginning).unwrap();
    be_busy(&sandbox, &mirror, 8);
    let mut taken: Vec<u64> = events
        .by_ref()
        .take(before.len() + 3)
        .map(|event| event.seq)
        .collect();
    be_busy(&sandbox, &mirror, 4);
    let last = subscription.stop().unwrap();
    taken.extend(events.stop().unwrap().into_iter().map(|event| event.seq));
    let all = history(&mirror);
    assert_eq!(taken, all);
    assert_eq!(*heard.lock().unwrap(), all[before.len()..]);
    assert_eq!(last, *all.last().unwrap());

    be_busy(&sandbox, &mirror, 1);
    assert_eq!(
        heard.lock().unwrap().len(),
        all.len() - before.len(),
        "it has stopped"
    );
    let rest = mirror.events(Since::Event(last)).unwrap().stop().unwrap();
    let rest: Vec<u64> = rest.into_iter().map(|event| event.seq).collect();
    assert_eq!(rest, history(&mirror)[all.len()..]);
}

#[test]
fn events_wait_for_who_takes_them_and_end_when_dropped() {
    let (_sandbox, mirror) = repository();
    let mut task = mirror.begin(&writing("one", "a")).unwrap();
    // More than wait to be taken at once.
    for number in 0..1_500 {
        task.stage("a", format!("{number}\n")).unwrap();
    }
    task.commit("many").unwrap();
    let all = history(&mirror);
    assert!(all.len() > 1_500);
    let mut events = mirror.events(Since::Beginning).unwrap();
    assert_eq!(events.next().unwrap().seq, all[0]);
    drop(events);
    let taken = mirror.events(Since::Beginning).unwrap().stop().unwrap();
    assert_eq!(taken.len(), all.len());
    assert_eq!(taken.last().unwrap().kind, EventKind::ResourceUnlocked);
    let mut silent = mirror.events(Since::Now).unwrap();
    assert_eq!(silent.next_within(Duration::from_millis(1)), None);
}

#[test]
fn a_listener_that_panics_is_told_of_when_it_is_stopped() {
    let (_sandbox, mirror) = repository();
    let subscription = mirror
        .subscribe(Since::Now, |_| panic!("the listener is at fault"))
        .unwrap();
    drop(mirror.begin(&writing("one", "a")).unwrap());
    while !subscription.is_over() {
        thread::yield_now();
    }
    catch_unwind(AssertUnwindSafe(|| subscription.stop())).unwrap_err();
}
