//! A `.mirror` that is not safely ours: somebody else's, open to others, a link, elsewhere, or brought by the repository.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use crate::support::Sandbox;

/// What every command has to refuse before it reads or writes anything.
const COMMANDS: &[&[&str]] = &[
    &["status"],
    &["begin", "-t", "t", "-w", "f"],
    &["commit", "-t", "t"],
    &["rollback", "-t", "t"],
    &["recover"],
    &["doctor"],
    &["cleanup", "--force"],
    &["history"],
    &["init"],
];

/// Another user, of whom nobody has heard.
const STRANGER: u32 = 54_321;

fn initialised() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("f", "one\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox
}

/// Runs every command and expects a refusal that says why, and what to type.
#[track_caller]
fn assert_refused(sandbox: &Sandbox, why: &str, hint: &str) {
    let before = sandbox.shell("find -L .mirror -printf '%p %m %U %s\\n' | sort; git status --porcelain");
    for command in COMMANDS {
        let left = sandbox.mirror(*command);
        assert_ne!(left.code(), Some(0), "{left}");
        assert!(left.stderr().contains(why), "{left}");
        assert!(left.stderr().contains(hint), "{left}");
    }
    let after = sandbox.shell("find -L .mirror -printf '%p %m %U %s\\n' | sort; git status --porcelain");
    assert_eq!(after, before);
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    for mode in [0o770, 0o702, 0o777, 0o1777, 0o2770] {
        let sandbox = initialised();
        let directory = sandbox.path(".mirror");
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        assert_refused(&sandbox, "others may write to it", "chmod 700");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        sandbox.mirror(["status"]).succeeded();
    }
}

#[test]
fn a_link_or_a_file_in_its_place_is_refused() {
    let sandbox = initialised();
    let (directory, moved) = (sandbox.path(".mirror"), sandbox.beside("moved"));
    fs::rename(&directory, &moved).unwrap();
    symlink(&moved, &directory).unwrap();
    assert_refused(&sandbox, "it is a symlink", "move it away");
    fs::remove_file(&directory).unwrap();
    fs::write(&directory, "").unwrap();
    assert_refused(&sandbox, "it is no directory", "move it away");
}

#[test]
fn a_link_in_it_is_refused() {
    for name in ["transactions", "quarantine", "wake", "worktrees", ".git"] {
        let sandbox = initialised();
        let (inside, outside) = (sandbox.path(".mirror").join(name), sandbox.beside("outside"));
        fs::rename(&inside, &outside).unwrap();
        symlink(&outside, &inside).unwrap();
        assert_refused(&sandbox, "a directory in it is a link", "move it away");
    }
}

#[test]
fn what_belongs_to_another_user_is_refused() {
    // Only root can give a directory away; everybody else can at least be lied to by a name space.
    let sandbox = initialised();
    let directory = sandbox.path(".mirror");
    if chown(&directory, Some(STRANGER), None).is_ok() {
        assert_refused(&sandbox, "it belongs to another user", "move it away");
        chown(&directory, Some(0), None).unwrap();
        chown(directory.join("transactions"), Some(STRANGER), None).unwrap();
        assert_refused(&sandbox, "belongs to another user", "move it away");
        chown(directory.join("transactions"), Some(0), None).unwrap();
        chown(sandbox.path(".git"), Some(STRANGER), None).unwrap();
        chown(sandbox.root(), Some(STRANGER), None).unwrap();
        let left = sandbox.mirror(["status"]).exited(1);
        assert!(left.stderr().contains("belongs to another user"), "{left}");
        assert!(left.stderr().contains("safe.directory"), "{left}");
    } else {
        fs::remove_dir_all(&directory).unwrap();
        // Root's own, seen by somebody who is not root.
        symlink("/proc/1", &directory).unwrap();
        assert_refused(&sandbox, "it is a symlink", "move it away");
    }
}

#[test]
fn another_file_system_is_refused() {
    let sandbox = initialised();
    let mirror = env!("CARGO_BIN_EXE_mirror");
    // A mount of its own needs a name space of its own; where the system grants none, nobody can mount there either.
    let script = format!(
        "unshare -rm true 2>/dev/null || {{ echo no name spaces; exit 0; }}
         unshare -rm sh -c 'mount -t tmpfs -o mode=0700 none .mirror && ! {mirror} init 2>&1'"
    );
    let told = sandbox.shell(&script);
    let refused =
        told.contains("it lies on another file system than the working tree") && told.contains("Hint: ");
    assert!(refused || told == "no name spaces\n", "{told}");
}

/// Makes a `.mirror` with a decided commit in it that removes `precious` from `victim`, and answers where it lies.
fn trap(sandbox: &Sandbox) -> std::path::PathBuf {
    let victim = sandbox.beside("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("precious"), "kept\n").unwrap();
    let mirror = |arguments: &[&str], fault: &str| {
        let program = sandbox.mirror_program().at(&victim).env("MIRROR_FAULT", fault);
        program.args(arguments).run()
    };
    mirror(&["init"], "").succeeded();
    mirror(&["begin", "-t", "t", "-w", "precious"], "").succeeded();
    mirror(&["stage", "-t", "t", "--delete", "precious"], "").succeeded();
    assert_eq!(mirror(&["commit", "-t", "t"], "commit.decided=kill").code(), None);
    assert!(victim.join("precious").exists());
    let trap = sandbox.beside("trap");
    fs::rename(victim.join(".mirror"), &trap).unwrap();
    trap
}

fn copy(sandbox: &Sandbox, from: &Path, to: &Path) {
    sandbox
        .program("cp")
        .args(["-a".as_ref(), from.as_os_str(), to.as_os_str()])
        .run()
        .succeeded();
}

#[test]
fn what_a_clone_brings_is_refused() {
    let sandbox = initialised();
    let trap = trap(&sandbox);
    fs::remove_dir_all(sandbox.path(".mirror")).unwrap();
    copy(&sandbox, &trap, &sandbox.path(".mirror"));
    // Git takes no path with `.git` in it; everything else it carries anywhere.
    fs::remove_dir_all(sandbox.path(".mirror/.git")).unwrap();
    sandbox.git(["add", "--force", ".mirror"]);
    sandbox.git(["commit", "--quiet", "-m", "hostile"]);
    let clone = sandbox.beside("clone");
    sandbox.git(["clone", "--quiet", ".", clone.to_str().unwrap()]);
    for umask in [0o700, 0o755] {
        fs::set_permissions(clone.join(".mirror"), fs::Permissions::from_mode(umask)).unwrap();
        for command in COMMANDS {
            let left = sandbox.mirror_program().at(&clone).args(*command).run().exited(1);
            assert!(left.stderr().contains("it came with the repository"), "{left}");
            assert!(left.stderr().contains("Hint: "), "{left}");
        }
    }
    assert!(sandbox.beside("victim/precious").exists());
}

#[test]
fn a_registry_that_a_checkout_replaced_is_refused() {
    let sandbox = initialised();
    let trap = trap(&sandbox);
    sandbox.git(["checkout", "--quiet", "-b", "hostile"]);
    let blob = |name: &str| sandbox.git(["hash-object", "-w", trap.join(name).to_str().unwrap()]);
    for name in ["registry.db", "registry.db-wal"] {
        let entry = format!("100644,{},.mirror/{name}", blob(name));
        sandbox.git(["update-index", "--add", "--cacheinfo", &entry]);
    }
    sandbox.git(["commit", "--quiet", "-m", "hostile"]);
    // Git replaces what it ignores without a word.
    sandbox.git(["checkout", "--quiet", "--force", "main"]);
    sandbox.mirror(["init"]).succeeded();
    sandbox.git(["checkout", "--quiet", "hostile"]);
    let left = sandbox.mirror(["status"]);
    assert_ne!(left.code(), Some(0), "{left}");
    assert!(left.stderr().contains("its registry was replaced"), "{left}");
    assert!(left.stderr().contains("Hint: "), "{left}");
    sandbox.mirror(["recover"]);
    assert!(sandbox.beside("victim/precious").exists());
}

#[test]
fn a_whole_directory_of_somebody_else_reaches_nothing_around_it() {
    let sandbox = Sandbox::directory();
    let trap = trap(&sandbox);
    let unpacked = sandbox.beside("unpacked");
    fs::create_dir(&unpacked).unwrap();
    fs::write(unpacked.join("precious"), "theirs\n").unwrap();
    // An archive can carry everything, the skeleton too.
    copy(&sandbox, &trap, &unpacked.join(".mirror"));
    for command in [&["status"][..], &["recover"], &["init"], &["status"]] {
        drop(sandbox.mirror_program().at(&unpacked).args(command).run());
    }
    assert!(sandbox.beside("victim/precious").exists());
}
