//! `mirror init`

use serde_json::json;

use crate::cli::assert_left;
use crate::support::{Awkward, Sandbox};

#[test]
fn a_repository_is_set_up_and_again_is_harmless() {
    let sandbox = Sandbox::repository();
    assert_left!(sandbox.mirror(["init"]), @"
    $ mirror init
    --- stdout
    Initialised [SANDBOX]/root/.mirror
    --- stderr
    Hint: open a task with `mirror begin -t NAME -w PATH`
    --- exit 0
    ");
    assert_left!(sandbox.mirror(["init"]), @"
    $ mirror init
    --- stdout
    Already initialised: [SANDBOX]/root/.mirror
    --- exit 0
    ");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
}

#[test]
fn the_document_tells_what_was_made() {
    let sandbox = Sandbox::repository();
    let root = sandbox.root().to_str().unwrap().to_owned();
    let expected = |created: bool| json!({"root": root, "directory": format!("{root}/.mirror"), "created": created, "git": true});
    assert_eq!(
        sandbox.mirror(["init", "--json"]).succeeded().json(),
        expected(true)
    );
    assert_eq!(
        sandbox.mirror(["init", "--json"]).succeeded().json(),
        expected(false)
    );
}

#[test]
fn from_a_subdirectory_the_root_is_set_up() {
    let sandbox = Sandbox::with_files(&[("src/a.rs", "")]);
    sandbox.mirror(["-C", "src", "init"]).succeeded();
    assert!(sandbox.exists(".mirror") && !sandbox.exists("src/.mirror"));
}

#[test]
fn from_a_linked_worktree_the_main_one_is_set_up() {
    let sandbox = Awkward::LinkedWorktree.build();
    let linked = sandbox.beside("linked");
    sandbox
        .mirror_program()
        .args(["init"])
        .at(&linked)
        .run()
        .succeeded();
    assert!(sandbox.exists(".mirror") && !linked.join(".mirror").exists());
    sandbox.mirror(["status"]).succeeded();
}

#[test]
fn a_directory_without_git_is_set_up_where_one_stands() {
    let sandbox = Sandbox::directory();
    assert_left!(sandbox.mirror(["init"]), @"
    $ mirror init
    --- stdout
    Initialised [SANDBOX]/root/.mirror
    --- stderr
    Hint: open a task with `mirror begin -t NAME -w PATH`
    --- exit 0
    ");
    std::fs::create_dir(sandbox.path("below")).unwrap();
    sandbox.mirror(["-C", "below", "status"]).succeeded();
}

#[test]
fn where_nothing_is_set_up_every_command_says_how_to() {
    let sandbox = Sandbox::repository();
    assert_left!(sandbox.mirror(["status"]), @"
    $ mirror status
    --- stderr
    Error: No .mirror directory here or in any directory above [SANDBOX]/root
    Hint: Run `mirror init` in the root of the repository
    --- exit 2
    ");
    assert_left!(sandbox.mirror(["--json", "begin", "-w", "a"]), @r#"
    $ mirror --json begin -w a
    --- stderr
    {"error":{"kind":"usage","message":"No .mirror directory here or in any directory above [SANDBOX]/root","hint":"Run `mirror init` in the root of the repository","conflicts":[],"paths":[]}}
    --- exit 2
    "#);
    assert!(!sandbox.exists(".mirror"));
}

#[test]
fn in_no_repository_every_command_says_so() {
    assert_left!(Sandbox::directory().mirror(["status"]), @"
    $ mirror status
    --- stderr
    Error: No .mirror directory here or in any directory above [SANDBOX]/root
    Hint: Run `mirror init` in the root of the repository
    --- exit 2
    ");
}

#[test]
fn quietly_means_without_a_word() {
    let sandbox = Sandbox::repository();
    let left = sandbox.mirror(["init", "-q"]).succeeded();
    assert_eq!((left.stdout().as_str(), left.stderr().as_str()), ("", ""));
}

#[test]
fn a_repository_of_an_unsupported_kind_is_refused_by_name() {
    let sandbox = Awkward::Sha256.build();
    let left = sandbox.mirror(["init"]);
    assert_left!(left, @"
    $ mirror init
    --- stderr
    Error: This repository uses the object format sha256, which mirror does not support
    Hint: use a repository with the object format sha1
    --- exit 2
    ");
    assert!(!sandbox.exists(".mirror"));
}

#[test]
fn a_directory_that_may_not_be_written_to_is_named_with_who_may() {
    let sandbox = Sandbox::directory();
    sandbox.shell("chmod 555 .");
    let refused = crate::run::kept_out(&sandbox, &["init"]).run().exited(1).text();
    sandbox.shell("chmod 755 .");
    assert!(refused.contains("Permission denied"), "{refused}");
    assert!(
        refused.contains("Hint: You may not: `ls -ld [SANDBOX]/root` shows who may"),
        "{refused}"
    );
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    sandbox.shell("chmod 555 .git");
    let run = ["run", "-w", "README", "-m", "x", "--", "true"];
    let refused = crate::run::kept_out(&sandbox, &run).run().exited(1).text();
    sandbox.shell("chmod 755 .git");
    assert!(
        refused.contains("`ls -ld .git .git/*` shows who may"),
        "{refused}"
    );
}
