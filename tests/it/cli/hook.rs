//! `mirror hook`. What git does with the hooks is tested beside them.

use serde_json::{Value, json};

use crate::cli::assert_left;
use crate::support::Sandbox;

/// A repository in which the task `agent` holds `held`, and in which `held` is about to be committed.
fn about_to_commit() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("held", "old\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox.mirror(["begin", "-t", "agent", "-w", "held"]).succeeded();
    sandbox.write("held", "new\n");
    sandbox.git(["add", "held"]);
    sandbox
}

#[test]
fn installing_looking_and_uninstalling_tell_what_is_where() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    sandbox.write_executable(".git/hooks/pre-commit", "#!/bin/sh\nexit 0\n");
    assert_left!(sandbox.mirror(["hook", "status"]), @"
    $ mirror hook status
    --- stdout
    pre-commit        foreign  [SANDBOX]/root/.git/hooks/pre-commit
    pre-merge-commit  absent  [SANDBOX]/root/.git/hooks/pre-merge-commit
    pre-applypatch    absent  [SANDBOX]/root/.git/hooks/pre-applypatch
    pre-push          absent  [SANDBOX]/root/.git/hooks/pre-push
    Run `mirror hook install` to put them in place.
    --- exit 0
    ");
    assert_left!(sandbox.mirror(["hook", "install"]), @"
    $ mirror hook install
    --- stdout
    Installed pre-commit, pre-merge-commit, pre-applypatch and pre-push in [SANDBOX]/root/.git/hooks.
    --- exit 0
    ");
    assert_left!(sandbox.mirror(["hook", "status"]), @"
    $ mirror hook status
    --- stdout
    pre-commit        installed, beside another hook  [SANDBOX]/root/.git/hooks/pre-commit
    pre-merge-commit  installed  [SANDBOX]/root/.git/hooks/pre-merge-commit
    pre-applypatch    installed  [SANDBOX]/root/.git/hooks/pre-applypatch
    pre-push          installed  [SANDBOX]/root/.git/hooks/pre-push
    --- exit 0
    ");
    assert_left!(sandbox.mirror(["hook", "uninstall"]), @"
    $ mirror hook uninstall
    --- stdout
    The hooks are as they were before.
    --- exit 0
    ");
    assert_left!(sandbox.mirror(["hook", "run", "post-commit"]), @"
    $ mirror hook run post-commit
    --- stderr
    Error: Invalid value 'post-commit' for '<NAME>': Unknown hook \"post-commit\"
    Hint: Run `mirror hook --help`
    --- exit 2
    ");
}

#[test]
fn the_document_names_every_hook() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    sandbox.write_executable(".git/hooks/pre-commit", "#!/bin/sh\nexit 0\n");
    let directory = sandbox.path(".git/hooks");
    let expected = |states: [(&str, bool); 4]| {
        let names = ["pre-commit", "pre-merge-commit", "pre-applypatch", "pre-push"];
        let hooks = names.into_iter().zip(states).map(|(name, (state, beside))| {
            json!({"hook": name, "path": directory.join(name), "state": state, "beside": beside})
        });
        json!({"directory": directory, "hooks": hooks.collect::<Vec<Value>>()})
    };
    let document = |act| sandbox.mirror(["--json", "hook", act]).succeeded().json();
    let absent = ("absent", false);
    let before = expected([("foreign", true), absent, absent, absent]);
    let installed = ("installed", false);
    let after = expected([("installed", true), installed, installed, installed]);
    assert_eq!(document("status"), before);
    for act in ["install", "install", "status"] {
        assert_eq!(document(act), after, "{act}");
    }
    for act in ["uninstall", "uninstall", "status"] {
        assert_eq!(document(act), before, "{act}");
    }
}

#[test]
fn an_answer_is_one_document_on_the_side_that_it_belongs_to() {
    let sandbox = about_to_commit();
    let ask = || {
        sandbox
            .mirror_program()
            .args(["--json", "hook", "run", "pre-commit"])
    };
    let refused = ask().run().exited(3);
    assert_eq!(refused.stdout(), "");
    let error = &refused.error_json()["error"];
    assert_eq!(error["kind"], "held");
    let conflict = &error["conflicts"][0];
    assert_eq!(conflict["resource"], "file:held");
    assert_eq!(conflict["holder"]["task"], "agent");
    assert!(conflict["holder"]["since"].is_string(), "{conflict}");
    assert!(conflict["holder"]["expires_in_ms"].is_i64(), "{conflict}");

    let holder = ask().env("MIRROR_TASK", "agent").run().succeeded();
    assert_eq!(holder.json(), json!({"passes": true, "conflicts": []}));
    let insists = ask().env("MIRROR_BYPASS", "1").run().succeeded();
    assert_eq!(insists.json()["passes"], true);
    assert_eq!(insists.json()["conflicts"][0]["resource"], "file:held");
}

#[test]
fn a_refusal_says_what_to_type_next() {
    let sandbox = about_to_commit();
    let refused = sandbox.mirror(["hook", "run", "pre-commit"]).exited(3);
    for hint in [
        "mirror status --watch",
        "`MIRROR_TASK=agent git commit`",
        "`mirror unlock --force --reason TEXT file:held`",
        "`MIRROR_BYPASS=1 git commit`",
    ] {
        assert!(refused.stderr().contains(hint), "{hint}: {refused}");
    }
    // What it says to type does what it says.
    let unlock = ["unlock", "--force", "--reason", "gone", "file:held"];
    sandbox.mirror(unlock).succeeded();
    sandbox.mirror(["hook", "run", "pre-commit"]).succeeded();
}

#[test]
fn without_git_there_are_no_hooks() {
    let sandbox = Sandbox::directory();
    sandbox.mirror(["init"]).succeeded();
    for act in ["install", "uninstall", "status"] {
        let refused = sandbox.mirror(["hook", act]).exited(2);
        assert!(refused.stderr().contains("git"), "{refused}");
    }
}
