//! `mirror completions`

use crate::support::Sandbox;

#[test]
fn the_script_for_bash_is_accepted_by_bash() {
    let sandbox = Sandbox::directory();
    let script = sandbox.mirror(["completions", "bash"]).succeeded().stdout();
    sandbox
        .program("bash")
        .args(["-c", "source /dev/stdin && complete -p mirror"])
        .input(script)
        .run()
        .succeeded();
}

#[test]
fn an_unknown_shell_is_refused() {
    let sandbox = Sandbox::directory();
    let left = sandbox.mirror(["completions", "tcsh"]).exited(2);
    assert!(left.stderr().contains("[possible values: bash"), "{left}");
}
