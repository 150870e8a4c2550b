//! `mirror man`

use crate::support::Sandbox;

#[test]
fn there_is_a_page_for_the_whole_and_for_each_command() {
    let sandbox = Sandbox::directory();
    let whole = sandbox.mirror(["man"]).succeeded().stdout();
    assert!(
        whole.contains(".TH mirror 1") && whole.contains("Exit codes"),
        "{whole}"
    );
    let begin = sandbox.mirror(["man", "begin"]).succeeded().stdout();
    assert!(
        begin.contains(".TH mirror-begin 1") && begin.contains("Examples"),
        "{begin}"
    );
}

#[test]
fn a_page_for_no_command_is_refused() {
    let sandbox = Sandbox::directory();
    let left = sandbox.mirror(["man", "mistake"]).exited(2);
    assert!(left.stderr().contains("There is no command mistake"), "{left}");
}
