//! What is kept for looking back and for undo: packed, bounded, and gone when it is too old.

use std::sync::Arc;

use mirror::host::System;
use mirror::model::EventKind;
use mirror::store::{NewEvent, Place, Store};
use serde_json::Value;

use crate::support::Sandbox;

fn repository() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("a", "old\n"), ("d/x", "old\n"), ("script", "#!/bin/sh\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

fn configure(sandbox: &Sandbox, text: &str) {
    sandbox.write(".mirror/config.yaml", text);
}

/// Commits a change of every kind without recording it.
fn commit(sandbox: &Sandbox) {
    sandbox.mirror(["begin", "-t", "agent", "-w", "."]).succeeded();
    let large: Vec<u8> = (0..200_000_u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    sandbox.stage("agent", "a", large);
    sandbox.stage("agent", "new", "new\n");
    sandbox
        .mirror(["stage", "-t", "agent", "--delete", "d/x"])
        .succeeded();
    sandbox
        .mirror(["stage", "-t", "agent", "--chmod", "+x", "script"])
        .succeeded();
    sandbox.mirror(["commit", "-t", "agent"]).succeeded();
}

fn picture(sandbox: &Sandbox) -> String {
    sandbox.shell(
        "find . -path ./.git -prune -o -path ./.mirror -prune -o -printf '%p %y %m %l\\n' | sort; \
         find . -path ./.git -prune -o -path ./.mirror -prune -o -type f -print0 | sort -z | xargs -0 sha256sum",
    )
}

/// Makes everything that is kept older.
fn age(sandbox: &Sandbox, span: &str) {
    sandbox.shell(&format!(
        "find .mirror -mindepth 1 -maxdepth 2 ! -name 'registry*' -exec touch -h -d '{span} ago' {{}} +"
    ));
}

fn kept(sandbox: &Sandbox) -> usize {
    std::fs::read_dir(sandbox.path(".mirror/kept")).map_or(0, Iterator::count)
}

/// Makes the history long.
fn many_events(sandbox: &Sandbox, lines: usize) {
    let place = Place {
        registry: sandbox.path(".mirror/registry.db"),
        door: sandbox.path(".mirror/door.lock"),
        wake: sandbox.path(".mirror/wake"),
    };
    let mut store = Store::open(&place, Arc::new(System::new().unwrap())).unwrap();
    for number in 0..lines {
        let line = NewEvent {
            reason: Some(format!("the line {number} of a long history")),
            ..NewEvent::of(EventKind::ResourceRenewed)
        };
        store.record(&line).unwrap();
    }
}

#[test]
fn what_a_commit_displaced_is_undone_byte_for_byte_from_one_packed_file() {
    for compression in [true, false] {
        let sandbox = repository();
        configure(
            &sandbox,
            &format!("resource_manager: {{performance: {{compression: {compression}}}}}\n"),
        );
        let old = picture(&sandbox);
        commit(&sandbox);
        let new = picture(&sandbox);
        age(&sandbox, "2 hours");
        let document = sandbox.mirror(["cleanup", "--json"]).succeeded().json();
        assert_eq!(document["kept"].as_array().unwrap().len(), 1, "{document}");
        assert_eq!(document["transactions"], document["kept"]);
        assert_eq!(kept(&sandbox), 1);
        assert_eq!(sandbox.shell("ls .mirror/transactions"), "");
        sandbox.mirror(["undo", "-t", "agent"]).succeeded();
        assert_eq!(picture(&sandbox), old);
        // And the undo, whose displaced files are large, in the same way.
        age(&sandbox, "2 hours");
        sandbox.mirror(["cleanup"]).succeeded();
        assert_eq!(kept(&sandbox), 2);
        let bytes: u64 = std::fs::read_dir(sandbox.path(".mirror/kept"))
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(
            bytes > 500_000,
            "what cannot be packed is kept all the same: {bytes}"
        );
        sandbox.mirror(["undo", "-t", "agent"]).succeeded();
        assert_eq!(picture(&sandbox), new);
        let findings = sandbox.mirror(["doctor", "--json"]).succeeded().json();
        assert_eq!(findings["findings"], Value::Array(Vec::new()));
    }
}

#[test]
fn what_git_recorded_is_not_kept_twice() {
    let sandbox = repository();
    sandbox.mirror(["begin", "-t", "agent", "-w", "a"]).succeeded();
    sandbox.stage("agent", "a", "new\n");
    sandbox.mirror(["commit", "-t", "agent", "-m", "x"]).succeeded();
    age(&sandbox, "2 hours");
    let document = sandbox.mirror(["cleanup", "--json"]).succeeded().json();
    assert_eq!(document["transactions"].as_array().unwrap().len(), 1);
    assert_eq!(document["kept"], Value::Array(Vec::new()));
    assert_eq!(kept(&sandbox), 0);
    sandbox.mirror(["undo", "-t", "agent"]).succeeded();
    assert_eq!(sandbox.read("a"), "old\n");
}

#[test]
fn a_damaged_file_is_noticed_and_nothing_is_undone() {
    let sandbox = repository();
    commit(&sandbox);
    let new = picture(&sandbox);
    age(&sandbox, "2 hours");
    sandbox.mirror(["cleanup"]).succeeded();
    let file = sandbox
        .path(".mirror/kept")
        .join(sandbox.shell("ls .mirror/kept").trim());
    let whole = std::fs::read(&file).unwrap();
    for place in [0, 9, 20, whole.len() / 2, whole.len() - 1] {
        let mut torn = whole.clone();
        torn[place] ^= 0x10;
        std::fs::write(&file, torn).unwrap();
        let left = sandbox.mirror(["undo", "-t", "agent"]);
        assert_ne!(left.code(), Some(70), "{left}");
        if left.code() != Some(0) {
            assert_eq!(picture(&sandbox), new, "{place}: {left}");
        }
        std::fs::write(&file, &whole[..place]).unwrap();
        let left = sandbox.mirror(["undo", "-t", "agent"]);
        assert!(
            left.code() != Some(0) || place == whole.len() - 1,
            "{place}: {left}"
        );
        if left.code() == Some(0) {
            break;
        }
        assert_eq!(picture(&sandbox), new, "{place}: {left}");
    }
}

#[test]
fn what_is_too_old_goes_and_what_is_staged_stays() {
    let sandbox = repository();
    commit(&sandbox);
    age(&sandbox, "2 hours");
    sandbox.mirror(["cleanup"]).succeeded();
    sandbox
        .mirror(["begin", "-t", "open", "-w", "a", "--branch"])
        .succeeded();
    sandbox.stage("open", "a", "staged\n");
    std::fs::create_dir(sandbox.path(".mirror/quarantine/0190f3a4-0000-7000-8000-000000000001")).unwrap();
    age(&sandbox, "3 days");
    sandbox.shell("touch .mirror/quarantine; mkdir .mirror/quarantine/0190f3a4-0000-7000-8000-000000000002");
    let shown = sandbox
        .mirror(["cleanup", "--older-than", "2d", "--dry-run", "--json"])
        .succeeded()
        .json();
    assert_eq!(shown["dropped"].as_array().unwrap().len(), 1, "{shown}");
    assert_eq!(kept(&sandbox), 1);
    sandbox.mirror(["cleanup", "--older-than", "4d"]).succeeded();
    assert_eq!(kept(&sandbox), 1);
    let document = sandbox
        .mirror(["cleanup", "--older-than", "2d", "--json"])
        .succeeded()
        .json();
    assert_eq!(document["dropped"].as_array().unwrap().len(), 1, "{document}");
    assert_eq!(
        document["quarantines"],
        serde_json::json!(["0190f3a4-0000-7000-8000-000000000001"])
    );
    assert_eq!(kept(&sandbox), 0);
    assert_eq!(document["events"], 0, "nothing of the history is that old");
    let open = sandbox
        .mirror(["show", "-t", "open", "--json"])
        .succeeded()
        .json();
    assert_eq!(open["changes"].as_array().unwrap().len(), 1);
    sandbox
        .mirror(["commit", "-t", "open", "-m", "after all"])
        .exited(5);
    let left = sandbox.mirror(["undo", "-t", "agent"]).exited(2);
    assert!(left.stderr().contains("is not kept any more"), "{left}");
    let document = sandbox
        .mirror(["cleanup", "--older-than", "0s", "--json"])
        .succeeded()
        .json();
    assert!(document["events"].as_u64().unwrap() > 5, "{document}");
    assert_eq!(
        sandbox
            .mirror(["history", "--all", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(sandbox.mirror(["show", "-t", "open"]).code() == Some(0));
}

#[test]
fn the_history_reads_the_same_packed_and_unpacked() {
    let sandbox = repository();
    many_events(&sandbox, 6500);
    let all = |sandbox: &Sandbox| sandbox.mirror(["history", "--all", "--json"]).succeeded().json();
    let before = all(&sandbox);
    let count = before.as_array().unwrap().len();
    assert!(count > 6000, "{count}");
    let document = sandbox.mirror(["cleanup", "--json"]).succeeded().json();
    let packed = document["packed_events"].as_u64().unwrap();
    assert!(packed >= 3072, "{document}");
    assert_eq!(all(&sandbox), before);
    let some = sandbox
        .mirror(["history", "-n", "5000", "--json"])
        .succeeded()
        .json();
    assert_eq!(
        some.as_array().unwrap()[..],
        before.as_array().unwrap()[count - 5000..]
    );
    let log = sandbox.mirror(["log"]).succeeded().stdout();
    assert_eq!(log.lines().count(), count);
    // New lines follow the old ones.
    sandbox.mirror(["begin", "-t", "next", "-w", "a"]).succeeded();
    let after = all(&sandbox);
    assert_eq!(after.as_array().unwrap()[..count], before.as_array().unwrap()[..]);
    let last = |events: &Value| {
        events.as_array().unwrap().last().unwrap()["seq"]
            .as_u64()
            .unwrap()
    };
    assert!(last(&after) > last(&before));
    sandbox.mirror(["doctor"]).succeeded();
}

#[test]
fn the_history_takes_no_more_room_than_it_may() {
    let sandbox = repository();
    configure(
        &sandbox,
        "resource_manager: {performance: {compression: false}}\nhistory: {max_mib: 1}\n",
    );
    many_events(&sandbox, 15_000);
    let newest = sandbox
        .mirror(["history", "-n", "10", "--json"])
        .succeeded()
        .json();
    let document = sandbox.mirror(["cleanup", "--json"]).succeeded().json();
    assert!(document["events"].as_u64().unwrap() > 1000, "{document}");
    assert_eq!(
        sandbox
            .mirror(["history", "-n", "10", "--json"])
            .succeeded()
            .json(),
        newest
    );
    assert_eq!(
        sandbox.mirror(["cleanup", "--json"]).succeeded().json()["events"],
        0,
        "once is enough"
    );
}

#[test]
fn displaced_files_take_no_more_room_than_they_may_and_the_oldest_go_first() {
    let sandbox = repository();
    configure(&sandbox, "history: {max_mib: 1}\n");
    commit(&sandbox);
    for round in 0..2_u32 {
        sandbox.mirror(["begin", "-t", "agent", "-w", "a"]).succeeded();
        let large: Vec<u8> = (0..200_000_u32)
            .flat_map(|number| (number ^ round).wrapping_mul(2_246_822_519).to_le_bytes())
            .collect();
        sandbox.stage("agent", "a", large);
        sandbox.mirror(["commit", "-t", "agent"]).succeeded();
    }
    age(&sandbox, "2 hours");
    let document = sandbox.mirror(["cleanup", "--json"]).succeeded().json();
    assert_eq!(document["kept"].as_array().unwrap().len(), 3);
    assert_eq!(document["dropped"].as_array().unwrap().len(), 2, "{document}");
    assert_eq!(
        document["dropped"].as_array().unwrap()[..],
        document["kept"].as_array().unwrap()[..2]
    );
    sandbox.mirror(["undo", "-t", "agent"]).succeeded();
}

#[test]
fn some_command_tidies_up_by_the_way_but_no_hook_and_no_question() {
    let sandbox = repository();
    many_events(&sandbox, 5000);
    commit(&sandbox);
    age(&sandbox, "2 hours");
    for arguments in [
        &["status"][..],
        &["check", "a"],
        &["who", "a"],
        &["history"],
        &["hook", "status"],
    ] {
        sandbox.mirror(arguments).succeeded();
        assert_eq!(kept(&sandbox), 0, "{arguments:?}");
    }
    let all = |sandbox: &Sandbox| sandbox.mirror(["history", "--all", "--json"]).succeeded().json();
    let before = all(&sandbox).as_array().unwrap().clone();
    let left = sandbox
        .mirror(["begin", "-t", "next", "-w", "a", "--json"])
        .succeeded();
    assert_eq!(left.json()["task"], "next");
    assert_eq!(kept(&sandbox), 1);
    assert_eq!(all(&sandbox).as_array().unwrap()[..before.len()], before[..]);
    // A slice is all there is until the next time.
    let packed = |sandbox: &Sandbox| {
        sandbox.mirror(["cleanup", "--json"]).json()["packed_events"]
            .as_u64()
            .unwrap()
    };
    sandbox.mirror(["renew", "-t", "next"]).succeeded();
    assert!(packed(&sandbox) >= 1024, "one slice did not pack everything");
}

#[test]
fn a_kill_at_any_step_of_keeping_loses_nothing() {
    for point in ["cleanup.kept", "cleanup.removed"] {
        let sandbox = repository();
        let old = picture(&sandbox);
        commit(&sandbox);
        age(&sandbox, "2 hours");
        let fault = format!("{point}=kill");
        let killed = sandbox
            .mirror_program()
            .args(["cleanup"])
            .env("MIRROR_FAULT", fault)
            .run();
        assert_eq!(killed.code(), None, "{killed}");
        assert_eq!(kept(&sandbox), 1, "{point}");
        sandbox.mirror(["undo", "-t", "agent"]).succeeded();
        assert_eq!(picture(&sandbox), old, "{point}");
        sandbox.mirror(["cleanup"]).succeeded();
    }
}

#[test]
fn transactions_are_forgotten_with_the_history() {
    let sandbox = repository();
    configure(&sandbox, "history: {keep_days: 0}\n");
    sandbox.mirror(["begin", "-t", "agent", "-w", "a"]).succeeded();
    sandbox.stage("agent", "a", "new\n");
    sandbox.mirror(["commit", "-t", "agent", "-m", "x"]).succeeded();
    sandbox.mirror(["cleanup"]).succeeded();
    sandbox.mirror(["undo", "-t", "agent", "--dry-run"]).succeeded();
    age(&sandbox, "2 hours");
    sandbox.mirror(["cleanup"]).succeeded();
    sandbox.mirror(["cleanup"]).succeeded();
    let left = sandbox.mirror(["undo", "-t", "agent"]).exited(2);
    assert!(
        left.stderr()
            .contains("No committed transaction of agent is known"),
        "{left}"
    );
}

#[test]
fn branches_that_are_checked_out_or_that_mirror_did_not_name_stay() {
    let sandbox = repository();
    let ours = |number: u32| format!("mirror/agent/019a0000-0000-7000-8000-00000000000{number}");
    for branch in ["mirror/topic", &ours(1), &ours(2), &ours(3)] {
        sandbox.git(["branch", branch]);
    }
    sandbox.git(["switch", "-q", &ours(1)]);
    sandbox.shell(&format!("git worktree add -q ../linked {}", ours(2)));
    sandbox.mirror(["cleanup", "--force"]).succeeded();
    let left = sandbox.git(["for-each-ref", "--format=%(refname:short)", "refs/heads/"]);
    assert_eq!(left, format!("main\n{}\n{}\nmirror/topic", ours(1), ours(2)));
}

/// Every cleanup failed from then on.
#[test]
fn a_task_that_was_killed_before_it_had_a_directory_is_ended() {
    let sandbox = repository();
    sandbox.shell(&format!(
        "{} begin -t dead -w a --pid $$",
        env!("CARGO_BIN_EXE_mirror")
    ));
    sandbox.mirror(["begin", "-t", "other", "-w", "a"]).succeeded();
    sandbox.mirror(["rollback", "-t", "other"]).succeeded();
    sandbox.shell("rm -r .mirror/transactions/*");
    sandbox.mirror(["cleanup"]).succeeded();
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    assert_eq!(status["tasks"], serde_json::json!([]), "{status}");
    sandbox.mirror(["doctor"]).succeeded();
}
