//! What files carry besides their bytes, where a run works in the working tree itself.

use rustix::fs::XattrFlags;

use crate::run::{assert_clean, run, running};
use crate::support::Sandbox;

/// What the files belong to: to somebody else where that can be arranged.
fn owner() -> &'static str {
    if rustix::process::geteuid().is_root() {
        "1234:1235"
    } else {
        "$(id -u):$(id -g)"
    }
}

fn repository() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("a", "a\n"), ("b", "b\n"), ("c", "c\n"), ("tool", "#!\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox.shell(&format!(
        "chown {0} a b; chmod 640 a; chmod 600 b; chmod 644 c tool; ln -s nowhere link; git add link tool; git commit -qm more",
        owner()
    ));
    for name in ["a", "b"] {
        let path = sandbox.path(name);
        rustix::fs::setxattr(&path, "user.note", b"kept", XattrFlags::empty()).unwrap();
    }
    sandbox
}

/// Owner, group, permissions, and the note.
fn carried(sandbox: &Sandbox, names: &[&str]) -> Vec<String> {
    let one = |name: &&str| {
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(sandbox.path(name), "user.note", value.as_mut_slice());
        let note = String::from_utf8_lossy(&value[..length.unwrap_or(0)]).into_owned();
        format!(
            "{} {note}",
            sandbox.shell(&format!("stat -c %u:%g:%a {name}")).trim()
        )
    };
    names.iter().map(one).collect()
}

/// What was put back was root's, and bare.
#[test]
fn a_file_has_its_owner_and_its_attributes_again() {
    let sandbox = repository();
    let were = carried(&sandbox, &["a", "b"]);
    let place = ["--in-place", "-w", ".", "-m", "x"];
    for (end, status) in [("exit 1", 6), ("true", 0)] {
        let script = format!("echo more >> a; echo new > b.new; chmod 600 b.new; mv b.new b; {end}");
        run(&sandbox, &place, &script).exited(status);
        assert_eq!(carried(&sandbox, &["a", "b"]), were, "{end}");
        assert_clean(&sandbox);
    }
    assert_eq!(sandbox.read("b"), "new\n");
    let script = "rm a; mv b a; echo ready; tail -f /dev/null";
    let going = running(&sandbox, &place, script).start();
    going.until_stdout("ready");
    going.kill();
    sandbox.mirror(["status"]).succeeded();
    assert_eq!(carried(&sandbox, &["a", "b"]), were);
    assert_clean(&sandbox);
}

#[test]
fn permissions_that_git_does_not_record_are_put_back_when_it_fails() {
    let sandbox = repository();
    let names = ["a", "b", "c", "tool"];
    let were = carried(&sandbox, &names);
    let script = "chmod 644 a; chmod 666 b; echo more >> b; chmod 600 c; chmod 700 tool; chown 0:0 a 2>/dev/null || true";
    for (end, arguments) in [("exit 1", vec![]), ("true", vec!["--validate", "false"])] {
        let arguments = [vec!["--in-place", "-w", ".", "-m", "x"], arguments].concat();
        run(&sandbox, &arguments, &format!("{script}; {end}")).exited(6);
        assert_eq!(carried(&sandbox, &names), were, "{end}");
        assert_eq!(sandbox.git(["status", "--porcelain"]), "", "{end}");
        assert_clean(&sandbox);
    }
    for point in ["run.taken", "run.staged"] {
        let arguments = ["--in-place", "-w", ".", "-m", "x"];
        let killed = running(&sandbox, &arguments, script);
        killed.env("MIRROR_FAULT", format!("{point}=kill")).run();
        sandbox.mirror(["status"]).succeeded();
        assert_eq!(carried(&sandbox, &names), were, "{point}");
        assert_clean(&sandbox);
    }
}

#[test]
fn permissions_stay_as_the_command_left_them_when_it_ends_well() {
    let sandbox = repository();
    let script = "chmod 600 c; chmod 644 a; chmod 640 b; echo more >> b; chmod 750 tool";
    run(&sandbox, &["--in-place", "-w", ".", "-m", "x"], script).succeeded();
    assert_eq!(sandbox.shell("stat -c %a a b c"), "644\n640\n600\n");
    assert!(
        sandbox
            .shell("test -x tool && git ls-files -s tool")
            .starts_with("100755")
    );
    assert_eq!(
        sandbox.git(["show", "--name-only", "--format="]).trim(),
        "b\ntool"
    );
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
    assert_clean(&sandbox);
    // Nothing for git at all.
    run(&sandbox, &["--in-place", "-w", "."], "chmod 640 c").succeeded();
    assert_eq!(sandbox.shell("stat -c %a c"), "640\n");
    assert_clean(&sandbox);
}
