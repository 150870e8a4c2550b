//! What the README says is so.

use std::fs;
use std::path::PathBuf;

use crate::support::{Sandbox, project};

fn readme() -> String {
    fs::read_to_string(project("README.md")).unwrap()
}

/// Returns the block of code behind a marker such as `<!-- tour -->`.
pub(crate) fn block(marker: &str) -> String {
    let text = readme();
    let (_, rest) = text.split_once(&format!("<!-- {marker} -->\n```")).unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_tour_works_as_it_stands() {
    let sandbox = Sandbox::with_files(&[("src/parser.rs", "old\n"), ("docs/a.md", "a\n")]);
    let program = PathBuf::from(env!("CARGO_BIN_EXE_mirror"));
    let search_path = std::env::var_os("PATH").unwrap();
    let directories = [program.parent().unwrap().to_owned()].into_iter();
    let search_path = std::env::join_paths(directories.chain(std::env::split_paths(&search_path))).unwrap();
    let tour = block("tour");
    let ran = sandbox
        .program("sh")
        .env("PATH", search_path)
        .args(["-euc", &tour])
        .run()
        .succeeded();
    assert!(ran.stdout().contains("+new"), "{}", ran.text());
    assert_eq!(sandbox.read("src/parser.rs"), "new\n");
    assert_eq!(
        sandbox.git(["log", "--format=%s", "-1"]),
        "parser: accept trailing commas"
    );
    assert_eq!(sandbox.git(["status", "--porcelain"]), "");
}

#[test]
fn every_command_is_in_the_table_and_every_exit_code_too() {
    let sandbox = Sandbox::repository();
    let help = sandbox.mirror(["--help"]).succeeded().stdout();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let text = readme();
    for line in commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
    {
        let name = line.split_whitespace().next().unwrap();
        assert!(name == "help" || text.contains(&format!("`{name}`")), "{name}");
    }
    let (_, table) = text.split_once("<!-- exit-codes -->\n").unwrap();
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = words(&codes.replace('`', ""));
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<String> = row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let line = match cells[2].as_str() {
            "" => format!("{} {}", cells[1], cells[3]),
            kind => format!("{} {kind}: {}", cells[1], cells[3]),
        };
        assert!(shown.contains(&line), "{line}\n{shown}");
    }
}

#[test]
fn the_configuration_shown_is_the_default_and_names_every_key() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    let shown = block("configuration");
    sandbox.write(".mirror/config.yaml", &shown);
    sandbox.mirror(["status"]).succeeded();
    for key in mirror::config::KEYS {
        let name = key.name.rsplit('.').next().unwrap();
        assert!(shown.contains(&format!("{name}:")), "{}", key.name);
    }
}
