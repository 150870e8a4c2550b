//! The demonstration proves what it shows, in a repository of its own and on a clone of somebody's.

use crate::support::{Awkward, Sandbox};

#[track_caller]
fn assert_holds(sandbox: &Sandbox, arguments: &[&str]) {
    let played = sandbox
        .mirror_program()
        .args(["--json", "demo"])
        .args(arguments)
        .run();
    let document = played.succeeded().json();
    assert_eq!(document["holds"], true, "{document:#}");
    let lines = document["lines"].as_array().unwrap();
    let has = |words: &str| lines.iter().any(|line| line.as_str().unwrap().contains(words));
    for words in [
        "waits for",
        "is refused by the hook",
        "conflicts in",
        "kill -9",
        "ok      no edit lost",
    ] {
        assert!(has(words), "{words}: {document:#}");
    }
    assert!(!has("FAILED"), "{document:#}");
}

#[test]
fn in_a_scratch_repository() {
    assert_holds(&Sandbox::directory(), &[]);
}

#[test]
fn on_a_clone_of_a_repository_that_stays_as_it_is() {
    let sandbox = Awkward::EveryKind.build();
    let before = sandbox.git(["for-each-ref"]);
    assert_holds(&sandbox, &["--repo", "."]);
    assert_eq!(sandbox.git(["for-each-ref"]), before);
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert!(!sandbox.exists(".mirror"));
}
