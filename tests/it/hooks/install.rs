//! Installing and uninstalling, through the library.

use std::fs;
use std::os::unix::fs::symlink;

use mirror::git::Git;
use mirror::git::hooks::{HookError, HookName, HookState, Hooks};
use mirror::model::Kind;

use super::layouts::{self, everything, hook, set_mode};
use crate::support::Sandbox;

fn hooks(sandbox: &Sandbox) -> Hooks {
    try_hooks(sandbox).unwrap()
}

fn try_hooks(sandbox: &Sandbox) -> Result<Hooks, HookError> {
    Git::open(&sandbox.root()).unwrap().unwrap().hooks()
}

fn states(hooks: &Hooks) -> Vec<HookState> {
    hooks
        .states()
        .unwrap()
        .into_iter()
        .map(|report| report.state)
        .collect()
}

#[test]
fn installing_twice_and_uninstalling_once_gives_back_the_same_bytes_and_modes() {
    for layout in layouts::ALL {
        let sandbox = Sandbox::repository();
        (layout.make)(&sandbox);
        let before = everything(&sandbox);
        let hooks = hooks(&sandbox);
        hooks.install(&HookName::OF_A_WORKER).unwrap();
        assert_eq!(states(&hooks), [HookState::Installed; 4], "{}", layout.name);
        let installed = everything(&sandbox);
        assert_ne!(installed, before, "{}", layout.name);
        hooks.install(&HookName::OF_A_WORKER).unwrap();
        assert_eq!(everything(&sandbox), installed, "{}", layout.name);
        hooks.uninstall().unwrap();
        assert_eq!(everything(&sandbox), before, "{}", layout.name);
        hooks.uninstall().unwrap();
        assert_eq!(everything(&sandbox), before, "{}", layout.name);

        sandbox.write("README", "changed\n");
        sandbox.git(["commit", "--quiet", "-a", "-m", "x"]);
        let ran = if sandbox.exists("ran") {
            sandbox.read("ran")
        } else {
            String::new()
        };
        assert_eq!(ran, layout.ran, "{}", layout.name);
    }
}

#[test]
fn lines_that_somebody_adds_to_ours_stay() {
    let sandbox = Sandbox::repository();
    let hooks = hooks(&sandbox);
    hooks.install(&HookName::OF_A_WORKER).unwrap();
    let ours = sandbox.read(".git/hooks/pre-commit");
    sandbox.write(".git/hooks/pre-commit", format!("{ours}echo mine\n"));
    hooks.install(&HookName::OF_A_WORKER).unwrap();
    assert!(hooks.states().unwrap()[0].beside);
    hooks.uninstall().unwrap();
    assert_eq!(sandbox.read(".git/hooks/pre-commit"), "#!/bin/sh\necho mine\n");
}

#[test]
fn an_old_or_switched_off_block_is_renewed() {
    let sandbox = Sandbox::repository();
    hook(&sandbox, "#!/bin/sh\necho mine\n");
    let hooks = hooks(&sandbox);
    hooks.install(&HookName::OF_A_WORKER).unwrap();
    let path = ".git/hooks/pre-commit";
    let installed = sandbox.read(path);
    sandbox.write(path, installed.replace("mirror hook run", "mirror hook walk"));
    assert_eq!(states(&hooks)[0], HookState::Outdated);
    hooks.install(&HookName::OF_A_WORKER).unwrap();
    assert_eq!(sandbox.read(path), installed);
    set_mode(&sandbox.path(path), 0o644);
    assert_eq!(states(&hooks)[0], HookState::Disabled);
    hooks.install(&HookName::OF_A_WORKER).unwrap();
    assert_eq!(states(&hooks)[0], HookState::Installed);
}

#[test]
fn damaged_markers_are_refused_by_name_and_nothing_changes() {
    let sandbox = Sandbox::repository();
    hook(&sandbox, "#!/bin/sh\n# >>> mirror hook (added) >>>\n");
    let hooks = hooks(&sandbox);
    let before = everything(&sandbox);
    assert_eq!(states(&hooks)[0], HookState::Damaged);
    for error in [
        hooks.install(&HookName::OF_A_WORKER).unwrap_err(),
        hooks.uninstall().unwrap_err(),
    ] {
        assert!(error.to_string().contains(".git/hooks/pre-commit"), "{error}");
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.hint().is_some());
    }
    assert_eq!(everything(&sandbox), before);
}

#[test]
fn two_hooks_that_both_need_to_be_kept_are_both_kept() {
    let sandbox = Sandbox::repository();
    hook(&sandbox, "#!/usr/bin/env perl\n");
    let hooks = hooks(&sandbox);
    hooks.install(&HookName::OF_A_WORKER).unwrap();
    // Another tool puts its own in the place of ours.
    fs::remove_file(sandbox.path(".git/hooks/pre-commit")).unwrap();
    symlink("another", sandbox.path(".git/hooks/pre-commit")).unwrap();
    let report = hooks.states().unwrap().swap_remove(0);
    assert_eq!(
        (report.state, report.left_aside.is_some()),
        (HookState::Foreign, true)
    );
    let error = hooks.install(&HookName::OF_A_WORKER).unwrap_err();
    assert!(matches!(error, HookError::Taken { .. }), "{error}");
    hooks.uninstall().unwrap();
    assert_eq!(
        fs::read_link(sandbox.path(".git/hooks/pre-commit"))
            .unwrap()
            .to_str(),
        Some("another")
    );
    assert_eq!(
        sandbox.read(".git/hooks/mirror-kept/pre-commit"),
        "#!/usr/bin/env perl\n"
    );
    // Without it the kept one comes back.
    fs::remove_file(sandbox.path(".git/hooks/pre-commit")).unwrap();
    hooks.install(&HookName::OF_A_WORKER).unwrap();
    assert!(hooks.states().unwrap()[0].beside);
    hooks.uninstall().unwrap();
    assert_eq!(sandbox.read(".git/hooks/pre-commit"), "#!/usr/bin/env perl\n");
    assert!(!sandbox.exists(".git/hooks/mirror-kept"));
}

#[test]
fn an_edited_script_of_ours_is_not_thrown_away_with_the_edit() {
    let sandbox = Sandbox::repository();
    hook(&sandbox, "#!/usr/bin/env perl\n");
    let hooks = hooks(&sandbox);
    hooks.install(&HookName::OF_A_WORKER).unwrap();
    let ours = sandbox.read(".git/hooks/pre-commit");
    sandbox.write(".git/hooks/pre-commit", format!("{ours}echo mine\n"));
    let error = hooks.uninstall().unwrap_err();
    assert!(matches!(error, HookError::Edited { .. }), "{error}");
    assert!(sandbox.read(".git/hooks/pre-commit").ends_with("echo mine\n"));
}

#[test]
fn a_directory_or_a_device_is_no_hook() {
    let sandbox = Sandbox::repository();
    fs::create_dir(sandbox.path(".git/hooks/pre-commit")).unwrap();
    let error = hooks(&sandbox).install(&HookName::OF_A_WORKER).unwrap_err();
    assert!(matches!(error, HookError::NoFile { .. }), "{error}");
    sandbox.git(["config", "core.hooksPath", "/dev/null"]);
    let error = try_hooks(&sandbox).unwrap_err();
    assert!(matches!(error, HookError::NoDirectory { .. }), "{error}");
}

#[test]
fn linked_worktrees_get_the_hooks_that_git_looks_for_in_them() {
    let sandbox = Sandbox::with_files(&[(".githooks/pre-commit", "#!/bin/sh\n")]);
    set_mode(&sandbox.path(".githooks/pre-commit"), 0o755);
    sandbox.commit_all("executable");
    let linked = sandbox.beside("linked");
    sandbox.git([
        "worktree",
        "add",
        "--quiet",
        "-b",
        "other",
        linked.to_str().unwrap(),
    ]);
    let from_linked = || Git::open(&linked).unwrap().unwrap().hooks().unwrap();
    assert_eq!(from_linked().directory(), sandbox.path(".git/hooks"));
    sandbox.git(["config", "core.hooksPath", ".githooks"]);
    assert_eq!(from_linked().directory(), linked.join(".githooks"));
    let before = everything(&sandbox);
    from_linked().install(&HookName::OF_A_WORKER).unwrap();
    assert_eq!(states(&hooks(&sandbox)), [HookState::Installed; 8]);
    hooks(&sandbox).uninstall().unwrap();
    assert_eq!(
        states(&from_linked())[..4],
        [
            HookState::Foreign,
            HookState::Absent,
            HookState::Absent,
            HookState::Absent
        ]
    );
    assert_eq!(everything(&sandbox), before);
}
