//! `stage`, `unstage`, `diff` and `show` as one sees them.

use super::{assert_left, initialised};
use crate::support::Sandbox;

fn begun() -> Sandbox {
    let sandbox = initialised();
    sandbox.write("src/a.rs", "one\ntwo\nthree\n");
    sandbox.commit_all("three lines");
    sandbox.mirror(["begin", "-t", "a", "-w", "src/"]).succeeded();
    sandbox
}

fn stage(sandbox: &Sandbox, path: &str, content: &str) {
    let program = sandbox.mirror_program().args(["stage", "-q", "-t", "a", path]);
    program.input(content).run().succeeded();
}

#[test]
fn what_is_staged_is_listed_and_what_is_there_already_is_not() {
    let sandbox = begun();
    let program = sandbox.mirror_program().args(["stage", "-t", "a", "src/a.rs"]);
    assert_left!(program.input("one\n2\nthree\n").run(), @"
    $ mirror stage -t a src/a.rs
    --- stdout
    Staged 1 change for a:
      modify  src/a.rs
    --- exit 0
    ");
    let program = sandbox.mirror_program().args(["stage", "-t", "a", "src/a.rs"]);
    assert_left!(program.input("one\ntwo\nthree\n").run(), @"
    $ mirror stage -t a src/a.rs
    --- stdout
    Nothing staged: the paths hold this already.
    --- exit 0
    ");
}

#[test]
fn the_diff_is_one_that_git_applies() {
    let sandbox = begun();
    stage(&sandbox, "src/a.rs", "one\n2\nthree");
    stage(&sandbox, "src/new file", "new\n");
    sandbox
        .mirror(["stage", "-q", "-t", "a", "--chmod", "+x", "src/new file"])
        .succeeded();
    let diff = sandbox.mirror(["diff", "-t", "a"]);
    assert_left!(diff, @r"
    $ mirror diff -t a
    --- stdout
    diff --git a/src/a.rs b/src/a.rs
    --- a/src/a.rs
    +++ b/src/a.rs
    @@ -1,3 +1,3 @@
     one
    -two
    -three
    +2
    +three
    \ No newline at end of file
    diff --git a/src/new file b/src/new file
    new file mode 100755
    --- /dev/null
    +++ b/src/new file
    @@ -0,0 +1 @@
    +new
    --- exit 0
    ");
    let coloured = sandbox.mirror(["diff", "-t", "a", "--color", "always"]).stdout();
    assert!(coloured.contains("\u{1b}[32m+2"), "{coloured:?}");
    let apply = sandbox.program("git").args(["apply", "--index", "-"]);
    apply
        .input(sandbox.mirror(["diff", "-t", "a"]).stdout())
        .run()
        .succeeded();
    assert_eq!(sandbox.read("src/a.rs"), "one\n2\nthree");
}

#[test]
fn mistakes_are_answered_with_what_to_type() {
    let sandbox = begun();
    assert_left!(sandbox.mirror(["stage", "-t", "a"]), @"
    $ mirror stage -t a
    --- stderr
    Error: Nothing to stage is named
    Hint: Name a path, or use --patch, --tree, --delete, --move or --chmod; `mirror stage --help` shows how
    --- exit 2
    ");
    assert_left!(sandbox.mirror(["stage", "-t", "a", "--chmod", "755", "src/a.rs"]), @"
    $ mirror stage -t a --chmod 755 src/a.rs
    --- stderr
    Error: 755 is neither +x nor -x
    Hint: Type `--chmod +x PATH` or `--chmod -x PATH`
    --- exit 2
    ");
    let program = sandbox.mirror_program().args(["stage", "-t", "a", "README"]);
    assert_left!(program.input("x").run(), @"
    $ mirror stage -t a README
    --- stderr
    Error: The task a holds no write lock on README
    Hint: Run `mirror lock -t a -w README`, or stage with --lock
    --- exit 5
    ");
    let program = sandbox
        .mirror_program()
        .args(["stage", "-t", "a", "src/a.rs", "--patch", "-"]);
    let twice = program.input("x").run().exited(2);
    assert!(
        twice.stderr().contains("cannot be read twice"),
        "{}",
        twice.text()
    );
}

#[test]
fn staged_changes_are_shown_and_taken_back() {
    let sandbox = begun();
    stage(&sandbox, "src/a.rs", "new\n");
    sandbox
        .mirror(["stage", "-q", "-t", "a", "--move", "src/a.rs", "src/b.rs"])
        .succeeded();
    let shown = sandbox.mirror(["show", "-t", "a"]).succeeded();
    assert!(
        shown.stdout().contains("src/a.rs -> src/b.rs"),
        "{}",
        shown.text()
    );
    assert_left!(sandbox.mirror(["unstage", "-t", "a"]), @"
    $ mirror unstage -t a
    --- stdout
    Took back 2 staged changes of a.
    --- exit 0
    ");
    let shown = sandbox.mirror(["show", "-t", "a", "--json"]).succeeded().json();
    assert_eq!(shown["changes"], serde_json::json!([]));
    assert_eq!(shown["locks"][0]["resource"], "dir:src/");
}
