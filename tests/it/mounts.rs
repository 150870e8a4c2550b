//! What a command, a validation or a user has mounted somewhere in a tree: nothing of mirror's writes to it or removes from it.
//!
//! Each script runs in a mount namespace of its own: nobody else sees what it mounts, and it is gone with its last process.

use std::path::PathBuf;

use crate::support::Sandbox;

/// A repository, and beside it a directory `precious` with somebody's files.
struct Mountable {
    sandbox: Sandbox,
    precious: PathBuf,
}

impl Mountable {
    fn new() -> Self {
        let sandbox = Sandbox::with_files(&[
            ("src/a.js", "var a;\n"),
            ("src/b.js", "var b;\n"),
            ("data/x", "tracked\n"),
            (".gitignore", "ignored\n"),
        ]);
        sandbox.mirror(["init"]).succeeded();
        let precious = sandbox.beside("precious");
        std::fs::create_dir_all(precious.join(".git")).unwrap();
        for (path, content) in [("x", "mine\n"), ("y", "mine, too\n"), (".git/HEAD", "nothing\n")] {
            std::fs::write(precious.join(path), content).unwrap();
        }
        Self { sandbox, precious }
    }

    /// Runs a script that may mount, in which `mirror` is the binary under test, by somebody whom permissions keep out, and `$P` names what is
    /// precious. Answers what it printed; `None`, and says so, where nothing can be mounted.
    #[expect(clippy::print_stderr, reason = "what cannot be tried here is said aloud")]
    fn script(&self, script: &str) -> Option<String> {
        let script = format!(
            "mirror() {{ setpriv --bounding-set=-dac_override,-dac_read_search -- {} \"$@\"; }}; set -eu; {script}",
            env!("CARGO_BIN_EXE_mirror")
        );
        let unshare = || self.sandbox.apart(&["--mount"]);
        let tried = unshare().args(["mount", "--bind", "src", "src"]).run();
        if tried.code() != Some(0) {
            eprintln!("Nothing can be mounted here: {}", tried.text());
            return None;
        }
        let said = unshare()
            .args(["sh", "-c", &script])
            .env("P", self.precious.as_os_str())
            .run()
            .succeeded();
        self.assert_precious(&said.text());
        Some(said.text())
    }

    #[track_caller]
    fn assert_precious(&self, said: &str) {
        let listed = self.sandbox.shell("cd ../precious; grep -r . . | sort");
        assert_eq!(listed, "./.git/HEAD:nothing\n./x:mine\n./y:mine, too\n", "{said}");
    }

    /// Now that nothing is mounted any more, nothing stays of what could not be removed.
    #[track_caller]
    fn assert_clean(&self) {
        self.sandbox.mirror(["cleanup", "--force"]).succeeded();
        let left = self
            .sandbox
            .shell("find .mirror -name 'left-*' -o -name 'validation-*'");
        assert_eq!(left, "");
        self.sandbox.mirror(["doctor"]).succeeded();
        assert_eq!(self.sandbox.git(["status", "--porcelain"]), "");
    }
}

/// The directory that was shut hid the mount from whoever looked for mounts, and was opened afterwards.
#[test]
fn a_mount_in_a_directory_that_was_shut_keeps_what_is_in_it() {
    for mode in ["000", "400", "500"] {
        let mountable = Mountable::new();
        let script = format!(
            "mirror run -w src/ -m x -- sh -c 'mkdir -p d/m; mount --bind $P d/m; chmod {mode} d; exit 1' && exit 9
             mirror run -w src/ -m y -- sh -c 'ls; echo y >> src/b.js'
             mirror doctor || true; mirror cleanup --force || true"
        );
        let Some(said) = mountable.script(&script) else {
            return;
        };
        assert!(
            said.contains("A working copy could not be removed and lies in"),
            "{said}"
        );
        assert_eq!(mountable.sandbox.git(["log", "-1", "--format=%s"]), "y", "{said}");
        mountable.assert_clean();
    }
}

#[test]
fn a_mounted_file_keeps_what_is_in_it() {
    let mountable = Mountable::new();
    let script = "mirror run -w src/ -m x -- sh -c 'mkdir d; > d/f; mount --bind $P/x d/f; exit 1' && exit 9
         mirror run -w src/ -m y -- sh -c 'test ! -e d; echo y >> src/b.js'";
    if mountable.script(script).is_some() {
        mountable.assert_clean();
    }
}

/// The directory that a validation worked in was removed by somebody else's guard, which knew nothing of mounts.
#[test]
fn what_a_validation_has_mounted_keeps_what_is_in_it() {
    let mountable = Mountable::new();
    let sandbox = &mountable.sandbox;
    for (task, path) in [("one", "src/a.js"), ("two", "src/b.js"), ("three", "src/c.js")] {
        sandbox.mirror(["begin", "-t", task, "-w", path]).succeeded();
        sandbox.stage(task, path, format!("{task}\n"));
    }
    let script = "mirror commit -t one -m one --validate 'mkdir new && mount --bind $P new'
         mirror commit -t two -m two --validate 'mount --bind $P data && exit 1' && exit 9
         mirror rollback -t two
         mirror commit -t three --validate 'mount --bind $P src'
         mirror doctor || true; mirror cleanup --force; mirror undo -t three";
    let Some(said) = mountable.script(script) else {
        return;
    };
    assert_eq!(
        said.matches("What a validation worked in could not be removed")
            .count(),
        3,
        "{said}"
    );
    assert_eq!(sandbox.git(["log", "-1", "--format=%s"]), "one", "{said}");
    assert!(!sandbox.exists("src/c.js"), "{said}");
    mountable.assert_clean();
}

/// Git took what was mounted there for what it tracks, and wrote what it tracks over it.
#[test]
fn what_is_mounted_over_tracked_files_is_not_reset() {
    // Over a directory of theirs, in the place of a file, and over a directory that is empty.
    let mounted = [
        "mount --bind $P data",
        "rm src/a.js; mkdir src/a.js; mount --bind $P src/a.js",
        "mkdir -p ignored/m; mount --bind $P ignored/m",
    ];
    for mount in mounted {
        let mountable = Mountable::new();
        let script = format!(
            "mirror run -w src/ -m x -- sh -c '{mount}; exit 1' && exit 9
             mirror run -w src/ -m y -- sh -c 'test ! -e ignored; git status --porcelain; echo y >> src/b.js'
             mirror doctor || true"
        );
        let Some(said) = mountable.script(&script) else {
            return;
        };
        assert!(
            said.contains("A working copy could not be removed and lies in"),
            "{said}"
        );
        let sandbox = &mountable.sandbox;
        assert_eq!(sandbox.git(["log", "-1", "--format=%s"]), "y", "{said}");
        assert_eq!(
            sandbox.git(["show", "--name-only", "--format="]),
            "src/b.js",
            "{said}"
        );
        mountable.assert_clean();
    }
}

/// A place at which something is mounted cannot even be put aside: whoever comes next is told what to do.
#[test]
fn what_is_mounted_over_a_whole_copy_is_left_and_named() {
    let mountable = Mountable::new();
    let script = "mirror run -w src/ -m x -- sh -c 'echo $MIRROR_ROOT > $P/../copy; mount --bind $P .; exit 1' && exit 9
         mirror run -w src/ -m y -- sh -c 'echo y >> src/b.js' && exit 9
         umount $(cat $P/../copy); mirror run -w src/ -m y -- sh -c 'echo y >> src/b.js'";
    let Some(said) = mountable.script(script) else {
        return;
    };
    assert!(said.contains("Caused by: something is mounted there"), "{said}");
    assert!(said.contains("takes it away; if not, try again"), "{said}");
    mountable.assert_clean();
}

#[test]
fn what_the_validation_of_a_run_mounts_is_not_reset() {
    let mountable = Mountable::new();
    let script = "mirror run -w src/ -m x --validate 'mount --bind $P data' -- sh -c 'echo x >> src/b.js'
         mirror run -w src/ -m y --validate 'grep tracked data/x' -- sh -c 'echo y >> src/b.js'";
    if let Some(said) = mountable.script(script) {
        let log = mountable.sandbox.git(["log", "-2", "--format=%s"]);
        assert_eq!(log, "y\nx", "{said}");
        mountable.assert_clean();
    }
}

/// Who resets a copy does not see what others have mounted there in a namespace of their own, and reaches nothing of it either.
#[test]
fn what_is_mounted_where_nobody_else_sees_it_is_not_reached() {
    let mountable = Mountable::new();
    let script = "mirror run -w src/ -m x -- sh -c 'echo $MIRROR_ROOT > $P/../copy; echo x >> src/b.js'
         mkfifo $P/../ready $P/../end
         unshare --mount sh -c 'mount --bind $P $(cat $P/../copy)/data; echo > $P/../ready; cat $P/../end' &
         read ready < $P/../ready
         mirror run -w src/ -m y -- sh -c 'echo changed > data/x; echo > data/z; exit 1' && exit 9
         mirror doctor; mirror cleanup --force; test ! -e $(cat $P/../copy)
         echo > $P/../end; wait";
    if mountable.script(script).is_some() {
        mountable.assert_clean();
    }
}

/// A commit that was decided and could then not replace the file stood in everybody's way.
#[test]
fn a_file_that_is_mounted_is_refused_before_the_decision() {
    let mountable = Mountable::new();
    let sandbox = &mountable.sandbox;
    sandbox.mirror(["begin", "-t", "one", "-w", "src/"]).succeeded();
    sandbox.stage("one", "src/a.js", "one\n");
    sandbox.stage("one", "src/b.js", "one\n");
    let script = "mount --bind src/a.js src/a.js
         mirror commit -t one -m one && exit 9
         mirror run -w data/ -m two -- sh -c 'echo two > data/x'
         umount src/a.js; mirror commit -t one -m one";
    let Some(said) = mountable.script(script) else {
        return;
    };
    assert!(
        said.contains("src/a.js cannot be changed: a file system is mounted there"),
        "{said}"
    );
    assert!(said.contains("`findmnt -T src/a.js` shows"), "{said}");
    assert_eq!(sandbox.git(["log", "-2", "--format=%s"]), "one\ntwo", "{said}");
    mountable.assert_clean();
}

#[test]
fn a_directory_that_is_mounted_is_refused_by_what_it_is() {
    let mountable = Mountable::new();
    let sandbox = &mountable.sandbox;
    sandbox.mirror(["begin", "-t", "one", "-w", "data/"]).succeeded();
    sandbox.stage("one", "data/x", "one\n");
    let script = "mount --bind $P data; mirror commit -t one -m one && exit 9; umount data; mirror commit -t one -m one";
    let Some(said) = mountable.script(script) else {
        return;
    };
    assert!(
        said.contains("data/x cannot be changed: data lies in a mounted file system"),
        "{said}"
    );
    mountable.assert_clean();
}

/// A mount was taken for a repository that the command had made, and was to be moved out of the way.
#[test]
fn what_a_run_in_place_mounts_is_no_repository() {
    let mountable = Mountable::new();
    let script =
        "mirror run --in-place -w src/ -m x -- sh -c 'mkdir src/m; mount --bind $P src/m; exit 1' && exit 9
         mirror status; find .mirror/salvage; umount src/m; rmdir src/m";
    let Some(said) = mountable.script(script) else {
        return;
    };
    assert!(!said.contains("salvage/"), "{said}");
    assert!(!said.contains("kept"), "{said}");
    mountable.assert_clean();
}
