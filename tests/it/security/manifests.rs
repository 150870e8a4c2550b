//! Manifests that somebody edited, and recovery run on them: nothing outside is touched, and nothing is believed that the
//! decision does not vouch for.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::Sandbox;

/// Kills a commit at a point and answers where its manifest lies.
fn killed_at(point: &str) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::with_files(&[("f", "old\n"), ("d/g", "old\n"), ("kept", "kept\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox.mirror(["begin", "-t", "t", "-w", "."]).succeeded();
    sandbox.stage("t", "f", "new\n");
    sandbox.stage("t", "d/n", "new\n");
    sandbox
        .mirror(["stage", "-t", "t", "--delete", "d/g"])
        .succeeded();
    let commit = sandbox
        .mirror_program()
        .env("MIRROR_FAULT", format!("{point}=kill"));
    assert_eq!(commit.args(["commit", "-t", "t", "-m", "m"]).run().code(), None);
    let found = sandbox.shell("ls .mirror/transactions/*/manifest");
    let manifest = sandbox.path(found.trim());
    // What lies around, with a lock of git's that the hostile manifest will claim.
    let outside = sandbox.beside("outside");
    sandbox.git(["init", "--quiet", outside.to_str().unwrap()]);
    fs::write(outside.join("f"), "outside\n").unwrap();
    fs::write(outside.join("kept"), "outside\n").unwrap();
    fs::write(outside.join(".git/index.lock"), "").unwrap();
    fs::write(outside.join("lock.lock"), "").unwrap();
    (sandbox, manifest)
}

fn body(bytes: &[u8]) -> Value {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    serde_json::from_slice(&bytes[end + 1..]).unwrap()
}

fn sealed(body: &Value) -> Vec<u8> {
    let body = serde_json::to_vec(body).unwrap();
    let mut bytes = format!("MIRR1 {:08x} {}\n", crc32c::crc32c(&body), body.len()).into_bytes();
    bytes.extend(body);
    bytes
}

/// Everything beside the repository, and the working tree in it.
fn world(sandbox: &Sandbox) -> String {
    sandbox.shell(
        "cd ..; find outside -path '*/.git/*' ! -name index.lock -prune -o -printf '%p %i %s %T@\\n' | sort
         find . -maxdepth 1 | sort; cd root; cat f kept; ls d; git rev-parse HEAD",
    )
}

/// Every field, edited so that the checksum still holds.
fn edits(sandbox: &Sandbox) -> Vec<(&'static str, Value)> {
    let outside = sandbox.beside("outside");
    let bytes = |text: &str| text.bytes().collect::<Vec<u8>>();
    let lock = fs::metadata(outside.join(".git/index.lock")).unwrap();
    let other = fs::metadata(outside.join("kept")).unwrap();
    let inode = |metadata: &fs::Metadata| json!(metadata.ino());
    let mut edits = vec![
        ("/root", json!(bytes(outside.to_str().unwrap()))),
        ("/root", json!(bytes("/"))),
        ("/root", json!(bytes("."))),
        ("/root", json!(bytes("../outside"))),
        ("/root", json!([])),
        ("/transaction", json!("0190f3a4-0000-7000-8000-000000000001")),
        ("/transaction", json!("../../../outside")),
        ("/task", json!("../t")),
        ("/task", json!("somebody-else")),
        ("/token", json!("18446744073709551615")),
        ("/token", json!(-1)),
        ("/reference/name", json!("refs/heads/../../../../outside/lock")),
        ("/reference/name", json!("../../outside/lock")),
        ("/reference/name", json!("/etc/passwd")),
        ("/reference/name", json!("HEAD")),
        ("/reference/name", json!("refs/heads/\u{1b}[31m")),
        (
            "/reference/new",
            json!("0000000000000000000000000000000000000000"),
        ),
        ("/reference/new", json!("x")),
        ("/reference/lock", inode(&lock)),
        ("/reference/message", json!("a\nb\u{1b}[31m")),
        ("/index/lock", inode(&lock)),
        ("/index/head", json!("refs/heads/../../x")),
        ("/index/rewrite", json!("yes")),
        ("/operations", json!(null)),
        (
            "/operations/0/slot",
            json!({"Staged": "../../../../outside/kept"}),
        ),
        ("/operations/0/slot", json!({"Staged": 4_294_967_295_u32})),
        ("/operations/0/slot", json!({"Other": 1})),
        ("/operations/0/staged", inode(&other)),
        ("/operations/0/staged", json!(null)),
        ("/operations/0/post", json!(null)),
        ("/operations/0/pre", json!(null)),
        ("/operations/0/more", json!(1)),
        ("/more", json!(1)),
    ];
    for path in [
        "../outside/kept",
        "/etc/passwd",
        ".git/config",
        ".GIT/config",
        "a/../../outside/kept",
        "",
        ".mirror/format",
        "kept",
    ] {
        edits.push(("/operations/0/path", json!(path)));
        edits.push(("/operations/0/path", json!(path.as_bytes())));
    }
    edits
}

fn with_edit(original: &[u8], (pointer, value): &(&str, Value)) -> Vec<u8> {
    let mut body = body(original);
    if let Some(place) = body.pointer_mut(pointer) {
        *place = value.clone();
    } else {
        let (above, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(above).unwrap()[name] = value.clone();
    }
    sealed(&body)
}

/// Damage that the checksum or the length gives away.
fn damages(original: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(original);
    let (header, rest) = text.split_once('\n').unwrap();
    let words: Vec<&str> = header.split(' ').collect();
    let mut damages = vec![
        Vec::new(),
        b"MIRR1".to_vec(),
        original[..original.len() - 1].to_vec(),
        [original, b" "].concat(),
        format!("MIRR1 00000000 {}\n{rest}", words[2]).into_bytes(),
        format!("MIRR1 {} 18446744073709551615\n{rest}", words[1]).into_bytes(),
        format!("MIRR1 {} 99999999999999999999999999\n{rest}", words[1]).into_bytes(),
        format!("MIRR1 {} -1\n{rest}", words[1]).into_bytes(),
        format!("MIRR1 {} {}\n{rest}", words[1], "0".repeat(100_000)).into_bytes(),
        sealed(&serde_json::from_str(&("[".repeat(100) + &"]".repeat(100))).unwrap()),
        vec![0; 4096],
    ];
    let nested = "[".repeat(200_000);
    damages.push(
        format!(
            "MIRR1 {:08x} {}\n{nested}",
            crc32c::crc32c(nested.as_bytes()),
            nested.len()
        )
        .into_bytes(),
    );
    damages
}

#[test]
fn before_the_decision_an_edited_manifest_undoes_nothing_but_its_own_attempt() {
    let (sandbox, path) = killed_at("prepare.ref-lock");
    let before = world(&sandbox);
    let original = fs::read(&path).unwrap();
    let count = edits(&sandbox).len();
    let damages = damages(&original);
    for number in 0..count + damages.len() {
        let original = fs::read(&path).unwrap();
        let (what, bytes) = match edits(&sandbox).get(number) {
            Some(edit) => (format!("{edit:?}"), with_edit(&original, edit)),
            None => ("damage".to_owned(), damages[number - count].clone()),
        };
        fs::write(&path, bytes).unwrap();
        let left = sandbox.mirror(["recover"]);
        assert!(matches!(left.code(), Some(0 | 1 | 2 | 7)), "{what}: {left}");
        super::assert_shown(&left);
        assert_eq!(world(&sandbox), before, "{what}: {left}");
        // Locks that no manifest claims any more are nobody's: a person removes them, as after a crash of git.
        sandbox.shell("rm -f .git/index.lock .git/refs/heads/main.lock");
        let commit = sandbox
            .mirror_program()
            .env("MIRROR_FAULT", "prepare.ref-lock=kill");
        let left = commit.args(["commit", "-t", "t", "-m", "m"]).run();
        assert_eq!(left.code(), None, "{what}: {left}");
    }
    // The one that mirror wrote is believed.
    let undone = sandbox.mirror(["recover", "--json"]).succeeded().json();
    assert_eq!(undone["undone"].as_array().map(Vec::len), Some(1), "{undone}");
    assert!(!sandbox.exists(".git/index.lock"));
    sandbox.mirror(["commit", "-t", "t", "-m", "m"]).succeeded();
}

#[test]
fn after_the_decision_only_the_manifest_that_was_decided_is_carried_out() {
    let (sandbox, path) = killed_at("commit.decided");
    let original = fs::read(&path).unwrap();
    let before = world(&sandbox);
    let edited = edits(&sandbox)
        .into_iter()
        .map(|edit| (format!("{edit:?}"), with_edit(&original, &edit)));
    let damaged = damages(&original)
        .into_iter()
        .map(|bytes| ("damage".to_owned(), bytes));
    for (what, bytes) in edited.chain(damaged) {
        if bytes == original {
            continue;
        }
        fs::write(&path, bytes).unwrap();
        for command in ["recover", "status", "doctor"] {
            let left = sandbox.mirror([command]).exited(7);
            assert!(
                left.stderr().contains("its manifest is missing or damaged"),
                "{what}: {left}"
            );
            super::assert_shown(&left);
        }
        assert_eq!(world(&sandbox), before, "{what}");
    }
    fs::remove_file(&path).unwrap();
    for link in ["/dev/zero", "/etc/passwd", "manifest"] {
        symlink(link, &path).unwrap();
        sandbox.mirror(["recover"]).exited(7);
        fs::remove_file(&path).unwrap();
    }
    fs::create_dir(&path).unwrap();
    sandbox.mirror(["recover"]).exited(7);
    fs::remove_dir(&path).unwrap();
    // No harm was done: with the real one everything is completed.
    fs::write(&path, original).unwrap();
    sandbox.mirror(["recover"]).succeeded();
    assert_eq!(sandbox.read("f"), "new\n");
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
}

#[test]
fn a_manifest_of_a_newer_mirror_is_left_alone() {
    for point in ["prepare.ref-lock", "commit.decided"] {
        let (sandbox, path) = killed_at(point);
        let original = fs::read(&path).unwrap();
        let newer = String::from_utf8(original).unwrap().replacen("MIRR1", "MIRR2", 1);
        fs::write(&path, &newer).unwrap();
        let left = sandbox.mirror(["status"]).exited(7);
        assert!(left.stderr().contains("the format MIRR2"), "{left}");
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
        assert!(sandbox.exists(".git/index.lock"));
    }
}

#[test]
fn staged_bytes_that_somebody_exchanged_are_not_committed() {
    let sandbox = Sandbox::with_files(&[("f", "old\n")]);
    sandbox.mirror(["init"]).succeeded();
    sandbox.mirror(["begin", "-t", "t", "-w", "f"]).succeeded();
    sandbox.stage("t", "f", "new\n");
    let slot = sandbox.path(sandbox.shell("ls .mirror/transactions/*/s/*").trim());
    fs::write(sandbox.beside("secret"), "secret\n").unwrap();
    let exchanges: [&dyn Fn(); 3] = [
        &|| fs::write(&slot, "NEW\n").unwrap(),
        &|| symlink(sandbox.beside("secret"), &slot).unwrap(),
        &|| fs::create_dir(&slot).unwrap(),
    ];
    for exchange in exchanges {
        if slot.is_dir() && !slot.is_symlink() {
            fs::remove_dir(&slot).unwrap();
        } else {
            fs::remove_file(&slot).unwrap();
        }
        exchange();
        sandbox.mirror(["commit", "-t", "t", "-m", "m"]).exited(7);
        assert_eq!(sandbox.read("f"), "old\n");
    }
}
