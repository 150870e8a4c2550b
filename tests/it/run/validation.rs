//! Validations: nothing that they start outlives them, however they end, and nothing of the user's is ended with them.

use crate::run::{assert_clean, assert_ended, repository, run, running, signalled};
use crate::support::Sandbox;

/// A task with something to commit.
fn staged(sandbox: &Sandbox) -> String {
    let begun = sandbox.mirror(["begin", "-t", "agent", "-w", "src/", "--json"]);
    let transaction = begun.succeeded().json()["transaction"]
        .as_str()
        .unwrap()
        .to_owned();
    let stage = ["stage", "-t", "agent", "src/a.js"];
    sandbox
        .mirror_program()
        .args(stage)
        .input("staged\n")
        .run()
        .succeeded();
    transaction
}

/// Goes on, in a session of its own, with everything open that it was given, and asked to end only by force.
fn leave(sandbox: &Sandbox) -> String {
    let (left, script) = (
        sandbox.path("left"),
        "trap \"\" HUP; echo $$ > \"$0\"; exec tail -f /dev/null",
    );
    let left = left.display();
    format!("setsid sh -c '{script}' {left} & until [ -s {left} ]; do sleep 0.01; done")
}

#[test]
fn what_a_validation_leaves_running_neither_holds_it_up_nor_stays() {
    let sandbox = repository();
    let arguments = ["-w", "src/", "-m", "run", "--validate", &leave(&sandbox)];
    run(&sandbox, &arguments, "echo run > src/a.js").succeeded();
    assert_ended(&sandbox, "left");
    assert_eq!(sandbox.read("src/a.js"), "run\n");

    sandbox.shell("rm left");
    staged(&sandbox);
    let refused = format!("{}; false", leave(&sandbox));
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "commit", "--validate", &refused])
        .exited(6);
    assert_ended(&sandbox, "left");
    sandbox.shell("rm left");
    sandbox
        .mirror([
            "commit",
            "-t",
            "agent",
            "-m",
            "commit",
            "--validate",
            &leave(&sandbox),
        ])
        .succeeded();
    assert_ended(&sandbox, "left");
    assert_eq!(sandbox.read("src/a.js"), "staged\n");
    assert_clean(&sandbox);
}

#[test]
fn kill_9_ends_what_a_validation_has_started_and_nothing_that_the_user_has() {
    let sandbox = repository();
    let transaction = staged(&sandbox);
    // The user has told a shell of theirs which transaction it is about.
    let shell = sandbox
        .program("tail")
        .args(["-f", "/dev/null"])
        .env("MIRROR_TRANSACTION", &transaction)
        .start();
    let validate = format!("{}; tail -f /dev/null", leave(&sandbox));
    let commit = ["commit", "-t", "agent", "-m", "x", "--validate", &validate];
    let going = sandbox
        .mirror_program()
        .env("MIRROR_TRANSACTION", &transaction)
        .args(commit)
        .start();
    sandbox.shell("until [ -s left ]; do sleep 0.01; done");
    going.kill();
    // Nobody has to ask for it.
    assert_ended(&sandbox, "left");
    sandbox
        .mirror(["commit", "-t", "agent", "-m", "x", "--validate", "true"])
        .succeeded();
    sandbox.shell(&format!(
        "kill -0 {0} && ! grep -q 'State:.Z' /proc/{0}/status",
        shell.pid()
    ));
    drop(shell);

    sandbox.shell("rm left");
    let arguments = ["-w", "src/b.js", "-m", "y", "--validate", &validate];
    let going = running(&sandbox, &arguments, "echo y > src/b.js").start();
    sandbox.shell("until [ -s left ]; do sleep 0.01; done");
    going.kill();
    assert_ended(&sandbox, "left");
    let told = sandbox.mirror(["status"]).succeeded().stderr();
    assert!(told.contains("was killed; it is rolled back"), "{told}");
    assert!(told.contains("What it had changed is kept in "), "{told}");
    assert_eq!(sandbox.shell("cat .mirror/salvage/*/src/b.js"), "y\n");
    assert_eq!(sandbox.read("src/b.js"), "var b;\n");
    assert_clean(&sandbox);
}

#[test]
fn what_it_prints_is_told_in_order_and_only_the_end_of_it() {
    let sandbox = repository();
    let validate = "seq 1 100000; echo out; echo err >&2; echo last; exit 7";
    let arguments = ["-w", "src/", "-m", "x", "--json", "--validate", validate];
    let ran = run(&sandbox, &arguments, "echo x > src/a.js").exited(6);
    let error = ran.error_json();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("exit status: 7"), "{message}");
    assert!(message.ends_with("\n100000\nout\nerr\nlast"), "{message}");
    assert!(message.len() < 10_000, "{}", message.len());
    // It begins with a whole line, says how much is left out, and where that is.
    let (_, shown) = message.split_once(" bytes before this are left out]\n").unwrap();
    let lines: Vec<&str> = shown.lines().take(2).collect();
    let numbers = lines.iter().map(|line| line.parse::<u32>().unwrap());
    assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{lines:?}");
    let whole = sandbox.shell("cat .mirror/salvage/*.validation");
    assert_eq!(whole.lines().count(), 100_003);
    assert!(whole.ends_with(&format!("{shown}\n")));
    let hint = error["error"]["hint"].as_str().unwrap();
    assert!(hint.starts_with("All that it printed is in "), "{hint}");
    sandbox.write(".mirror/config.yaml", "history: {keep_days: 0}\n");
    sandbox.mirror(["cleanup"]).succeeded();
    assert_eq!(sandbox.shell("ls .mirror/salvage"), "");
    // What is shown in full needs no file.
    let arguments = ["-w", "src/", "-m", "x", "--validate", "echo no; false"];
    let refused = run(&sandbox, &arguments, "echo x > src/a.js").exited(6).stderr();
    assert!(
        refused.contains("(exit status: 1): echo no; false\n  no\n"),
        "{refused}"
    );
    assert_eq!(sandbox.shell("find .mirror/salvage -name '*.validation'"), "");
    // Nothing of it stays, and it is not part of what is validated.
    let validate = "test -z \"$(git status --porcelain)\" && test \"$(cat)\" = \"\"";
    run(
        &sandbox,
        &["-w", "src/", "-m", "x", "--validate", validate],
        "echo x > src/a.js",
    )
    .succeeded();
    assert_eq!(
        sandbox.shell("find .mirror/transactions -name 'validation-*'"),
        ""
    );
    assert_clean(&sandbox);
}

#[test]
fn what_a_validation_prints_can_be_read_while_it_goes_on_and_when_it_was_interrupted() {
    let sandbox = repository();
    let validate = "echo so far; echo > $SEEN; exec tail -f /dev/null";
    let arguments = ["-t", "checked", "-w", "src/", "-m", "x", "--validate", validate];
    let going = signalled(&sandbox, &arguments, "echo x > src/a.js")
        .env("SEEN", sandbox.beside("seen"))
        .start();
    sandbox.shell("until [ -e ../seen ]; do sleep 0.01; done");
    let status = sandbox.mirror(["status", "--json"]).succeeded().json();
    let file = status["tasks"][0]["validation_output"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "so far\n");
    for words in [["status"].as_slice(), &["show", "-t", "checked"]] {
        let told = sandbox.mirror(words).succeeded().stdout();
        assert!(told.contains("Its validation prints to "), "{told}");
    }
    sandbox.shell(&format!("kill -TERM {}", going.pid()));
    let told = going.finish().stderr();
    assert!(
        told.contains("What the validation had printed is kept in "),
        "{told}"
    );
    assert_eq!(sandbox.shell("cat .mirror/salvage/*.validation"), "so far\n");
    // With a document it stands in there.
    let arguments = ["--json", "-w", "src/", "-m", "x", "--validate", validate];
    let going = signalled(&sandbox, &arguments, "echo x > src/a.js")
        .env("SEEN", sandbox.beside("again"))
        .start();
    sandbox.shell("until [ -e ../again ]; do sleep 0.01; done");
    sandbox.shell(&format!("kill -TERM {}", going.pid()));
    let error = going.finish().error_json();
    let hint = error["error"]["hint"].as_str().unwrap();
    assert!(
        hint.contains("What the validation had printed is kept in "),
        "{hint}"
    );
    assert!(hint.contains("What it had changed is kept in "), "{hint}");
    assert_clean(&sandbox);
}
