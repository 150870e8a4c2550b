//! Bugs put into the protocol on purpose, one at a time: the tests have to see every one. A campaign that finds nothing
//! proves something only beside this.
//!
//! A mutant is a text of the source and another one in its place. It is made in a copy of the project, which is built, and
//! the tests that should see it are run; they have to fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use libtest_mimic::{Failed, Trial};

use crate::support::project;

/// A bug.
struct Mutant {
    /// What is removed or broken.
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// The test target (or `lib`), and what the names of the tests contain that should see it.
    seen_by: (&'static str, &'static str),
}

const fn mutant(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    seen_by: (&'static str, &'static str),
) -> Mutant {
    Mutant {
        name,
        file,
        from,
        to,
        seen_by,
    }
}

const SYNCS: (&str, &str) = ("campaign", "syncs:");
const POINTS: (&str, &str) = ("campaign", "points:");

#[rustfmt::skip]
const MUTANTS: &[Mutant] = &[
    // Barriers.
    mutant("first barrier", "src/coordinator/prepare.rs", "    barrier.wait()?;\n    Ok((manifest, digest))", "    drop(barrier);\n    Ok((manifest, digest))", SYNCS),
    mutant("manifest's sync", "src/disk/staged.rs", "    aside.as_file().sync_all().map_err(fail())?;\n", "", SYNCS),
    mutant("directory syncs of small commits", "src/workspace/barrier.rs", "                sync::sync_directory_if_there(directory)?;", "                let _ = directory;", SYNCS),
    mutant("second barrier", "src/coordinator/carry_out.rs", "    second_barrier(root, manifest, directory, &slots, git.as_ref())?;\n", "    let _ = second_barrier;\n", SYNCS),
    mutant("durability of the decision", "src/store/local.rs", "self.write(now, Durability::Full, |rows| ending::decide(rows, decision))", "self.write(now, Durability::Normal, |rows| ending::decide(rows, decision))", SYNCS),
    mutant("durability of DONE", "src/store/local.rs", "        let durability = if to == TransactionState::Done {", "        let durability = if false {", SYNCS),
    mutant("DONE before the second barrier", "src/coordinator/carry_out.rs", "    fault::check(\"carry-out.barrier\").map_err(disk::injected)?;", "    coordinator.store.finish(&manifest.transaction)?;\n    fault::check(\"carry-out.barrier\").map_err(disk::injected)?;", SYNCS),
    mutant("sync of git's objects", "src/disk/mod.rs", ".and_then(|()| file.sync_all()))", ")", SYNCS),
    mutant("sync of the new index", "src/coordinator/carry_out.rs", "    sync::sync_path(&new_index)?;\n", "    let _ = sync::sync_path;\n", SYNCS),
    // Applying.
    mutant("exchange becomes a rename", "src/disk/exchange.rs", "RenameFlags::EXCHANGE", "RenameFlags::empty()", ("it", "foreign")),
    mutant("NOREPLACE becomes a rename", "src/disk/exchange.rs", "RenameFlags::NOREPLACE, \"renaming\")", "RenameFlags::empty(), \"renaming\")", ("it", "foreign")),
    mutant("what a run has left is moved over what was kept", "src/disk/exchange.rs", "CWD, to, RenameFlags::NOREPLACE)", "CWD, to, RenameFlags::empty())", ("it", "run::taken_apart")),
    mutant("locks are given before what lies there is put back", "src/coordinator/allocate.rs", "fitted.and_then(|()| self.clear_granted(task, &grant.granted, wait, observer))", "fitted", ("it", "run::stuck")),
    mutant("a run in place takes what was ignored when it began", "src/coordinator/in_place/ignored.rs", "        !self.at_first.is_empty()\n            && (", "        false\n            && (", ("it", "run::ignored")),
    mutant("progress is not read from the slots", "src/workspace/apply.rs", "if lies_in_slot.is_none() || lies_in_slot != operation.staged {", "if lies_in_slot.is_none() {", POINTS),
    mutant("slots are not hashed", "src/workspace/slots.rs", "        if is_expected(&place, &stat, operation)? {", "        if is_expected(&place, &stat, operation)? || true {", ("it", "foreign")),
    mutant("no last look before the decision", "src/coordinator/prepare.rs", "    look_again(coordinator, plan)\n", "    let _ = look_again;\n    Ok(())\n", ("it", "foreign")),
    mutant("decided without a manifest's digest", "src/coordinator/recover.rs", "manifest.filter(|(_, digest)| Some(*digest) == transaction.manifest)", "manifest", ("it", "security::manifests")),
    // Recovery.
    mutant("recovery forgets git's locks", "src/coordinator/recover.rs", "        abandon::release_locks(coordinator, manifest, directory)?;\n        fault::point(\"recover.unlocked\");", "        fault::point(\"recover.unlocked\");", POINTS),
    mutant("nothing is cleared up after a loss of power", "src/coordinator/recover.rs", "    if let Err(error) = coordinator.clear_up_after_power_loss() {", "    if let Err(error) = Ok::<(), Error>(()) {", ("it", "run::power")),
    mutant("a decided commit is undone", "src/coordinator/recover.rs", "TransactionState::Open | TransactionState::Committing | TransactionState::Aborting => {", "TransactionState::Open | TransactionState::Committing | TransactionState::Decided | TransactionState::Aborting => {", POINTS),
    mutant("libgit2's lock is left", "src/git/index.rs", "        disk::remove_file_if_there(Path::new(&lock))?;\n", "        let _ = &lock;\n", ("campaign", "story")),
    mutant("an init is complete before its registry", "src/coordinator/open.rs", "        let is_new = contained::stat(&layout.registry())?.is_none();", "        layout.complete()?;\n        let is_new = contained::stat(&layout.registry())?.is_none();", ("campaign", "init")),
    // Locks of git.
    mutant("git's lock is removed whoever holds it", "src/coordinator/git_lock.rs", "    if is_ours(ours, inode, lock)? {\n        disk::remove_file(lock)?;", "    if is_ours(ours, inode, lock)? || true {\n        disk::remove_file_if_there(lock)?;", ("it", "foreign")),
    mutant("the target may move under the lock", "src/coordinator/prepare.rs", "        // Only now can nobody move it any more.\n        refuse_moved_target(coordinator, &plan.landing)?;\n", "", ("it", "foreign")),
    mutant("the index may hold anything", "src/git/index.rs", "            .map(|update| entry_of(&index, &update.path) == update.before)", "            .map(|_| true)", ("it", "foreign")),
    // The manifest.
    mutant("the manifest's checksum", "src/workspace/manifest.rs", "u32::from_str_radix(checksum, 16) != Ok(crc32c::crc32c(body))", "u32::from_str_radix(checksum, 16).is_err()", ("lib", "manifest")),
    // Leases and tokens.
    mutant("the token at the decision", "src/store/ending.rs", "if task.lost || task.token != decision.token || transaction.token != Some(decision.token) {", "if task.lost {", ("it", "store")),
    mutant("the locks at the decision", "src/store/ending.rs", "    if !decision.paths.iter().all(|path| held.covers_write(path)) {\n        return Ok(false);\n    }\n", "    let _ = held;\n", ("it", "store")),
    mutant("tokens are not raised at a boot", "src/store/sqlite/mod.rs", "            token + TOKENS_PER_BOOT", "            token", ("it", "store")),
    mutant("tokens are never synced", "src/store/sqlite/mod.rs", "&& token < durable + TOKENS_UNSYNCED_MAX", "&& token < durable + u64::MAX / 2", ("it", "store")),
    // The queue.
    mutant("earlier requests are overtaken", "src/store/judge.rs", "    if found.is_free() && rows.has_waiters()? {", "    if false && rows.has_waiters()? {", ("it", "store")),
    mutant("what is set aside for a wait is given out", "src/store/shares.rs", "            Claimed::Wish(Share::AnyOf(any)) => gone.extend(pick(any, &gone)),", "            Claimed::Wish(Share::AnyOf(_)) => {}", ("it", "store")),
    mutant("nothing is handed on past a wait", "src/store/hand_off.rs", "            if matters && claims::leaves_nothing(rows, request, share)? {", "            if matters {", ("it", "store")),
    mutant("nothing is handed on", "src/store/hand_off.rs", "    if freed.is_empty() || !rows.has_waiters()? {", "    if true || freed.is_empty() || !rows.has_waiters()? {", ("it", "store")),
    mutant("a wait for ever is not refused", "src/store/deadlock.rs", "shortest_cycle(&waits, &ended, request.task) else", "shortest_cycle(&waits, &ended, request.task).filter(|_| false) else", ("it", "store::simulation")),
    mutant("an old place is not kept", "src/store/acquire.rs", "            Attendance::Absent if asking.resumed.is_none()", "            Attendance::Absent if false && asking.resumed.is_none()", ("it", "store::simulation")),
    mutant("what lies below a directory is not seen", "src/store/sqlite/overlap.rs", "    below: \"SELECT kind, res, mode, token, task FROM lock WHERE ns = ?1 AND res >= ?2 AND res < ?3\"", "    below: \"SELECT kind, res, mode, token, task FROM lock WHERE ns = ?1 AND res > ?2 AND res < ?3 AND 0\"", ("it", "store")),
];

/// Every mutant can still be made: its text stands in the source exactly once.
pub(crate) fn trial() -> Trial {
    Trial::test("mutants: all can be made", || {
        for mutant in MUTANTS {
            let text = fs::read_to_string(project(mutant.file)).unwrap();
            let count = text.matches(mutant.from).count();
            if count != 1 {
                return Err(Failed::from(format!(
                    "{}: its text stands {count} times in {}",
                    mutant.name, mutant.file
                )));
            }
        }
        Ok(())
    })
}

/// Makes each mutant whose name contains `only`, and runs the tests that should see it.
pub(crate) fn all(only: &str) -> ExitCode {
    let started = Instant::now();
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("project");
    let copied = Command::new("cp").arg("-a").arg(project(".")).arg(&copy).status();
    assert!(copied.unwrap().success(), "the project is copied");
    let mut table = comfy_table::Table::new();
    table.set_header(["removed or broken", "first seen by"]);
    let mut survivors = 0;
    let chosen = || MUTANTS.iter().filter(|mutant| mutant.name.contains(only));
    // A test that fails without any bug sees none.
    for tests in chosen().map(|mutant| mutant.seen_by).collect::<BTreeSet<_>>() {
        let failed = first_to_see(&copy, tests);
        assert!(failed.is_none(), "without any bug: {failed:?}");
    }
    for mutant in chosen() {
        let file = copy.join(mutant.file);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen(mutant.from, mutant.to, 1)).unwrap();
        let seen = first_to_see(&copy, mutant.seen_by);
        fs::write(&file, text).unwrap();
        survivors += usize::from(seen.is_none());
        let seen = seen.unwrap_or_else(|| "NOBODY".to_owned());
        println!("{}: {seen}", mutant.name);
        table.add_row([mutant.name.to_owned(), seen]);
    }
    println!(
        "{table}\n{survivors} survived, {:.0} seconds",
        started.elapsed().as_secs_f64()
    );
    if survivors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// How long the tests of one mutant may take, building included, in seconds; and what `timeout` answers after that.
const PATIENCE: &str = "600";
const TIMED_OUT: i32 = 124;

/// Runs tests and answers the name of one that fails.
fn first_to_see(project: &Path, (target, filter): (&str, &str)) -> Option<String> {
    let targets = if target == "lib" {
        vec!["--lib"]
    } else {
        vec!["--test", target]
    };
    // Who waits for what no longer comes has seen it, too.
    let output = Command::new("timeout")
        .args([PATIENCE, env!("CARGO"), "test", "--quiet", "--all-features"])
        .args(targets)
        .args(["--", filter])
        .current_dir(project)
        .env("RUSTFLAGS", "--cap-lints=allow")
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    if output.status.success() {
        return None;
    }
    if output.status.code() == Some(TIMED_OUT) {
        return Some(format!("{target}: {filter}, which does not end"));
    }
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        !text.contains("could not compile"),
        "a mutant has to compile: {text}"
    );
    let after = text.rsplit("failures:\n").next().unwrap_or_default();
    let first = after.lines().map(str::trim).find(|line| !line.is_empty());
    Some(format!("{target}: {}", first.unwrap_or("its end")))
}
