//! Every file in `examples` runs, and prints what its first lines say.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Sandbox, project};

/// Builds the examples as `cargo test` does, which has usually done it already, and returns where each is.
fn build() -> BTreeMap<String, PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(project(""))
        .args(["build", "--examples", "--message-format=json", "--quiet"]);
    if cfg!(feature = "fault-points") {
        cargo.args(["--features", "fault-points"]);
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let messages = String::from_utf8(output.stdout).unwrap();
    let messages = messages
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let examples = messages.filter(|message| message["target"]["kind"][0] == "example");
    let built = examples.filter_map(|message| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, message["executable"].as_str()?.into()))
    });
    built.collect()
}

/// Returns what an example says that it prints.
fn promised<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let head = format!("//! ```text\n//! $ cargo run --example {name}\n");
    let (_, rest) = text
        .split_once(&head)
        .unwrap_or_else(|| panic!("{name}: no {head}"));
    let (lines, _) = rest.split_once("//! ```\n").unwrap();
    let lines = lines
        .lines()
        .map(|line| line.trim_start_matches("//!").trim_start());
    lines.collect()
}

#[test]
fn every_example_runs_and_prints_what_it_says() {
    let built = build();
    let mut files = 0;
    for entry in fs::read_dir(project("examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let program = built
            .get(name)
            .unwrap_or_else(|| panic!("{} is not built", path.display()));
        let ran = Sandbox::directory().program(program).run().succeeded();
        assert_eq!(
            ran.stdout().lines().collect::<Vec<_>>(),
            promised(&text, name),
            "{name}"
        );
        assert_eq!(ran.stderr(), "", "{name}");
        files += 1;
    }
    assert_eq!(files, built.len(), "{built:?}");
    assert!(files >= 3);
}
