//! Files that nobody declares are not compiled, and tests in them never run: this fails when there is one.

use crate::architecture::source::{Source, find_words};
use crate::support::project;

#[test]
fn every_test_file_is_declared() {
    assert_eq!(undeclared("tests/it", &["main.rs"]), Vec::<String>::new());
}

#[test]
fn every_source_file_is_declared() {
    assert_eq!(undeclared("src", &["lib.rs", "main.rs"]), Vec::<String>::new());
}

fn undeclared(directory: &str, roots: &[&str]) -> Vec<String> {
    let sources = Source::all_below(&project(directory));
    let is_declared = |source: &Source| {
        let module = source.path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
        let (above, name) = module.rsplit_once('/').unwrap_or(("", module));
        let mut parents = match above {
            "" => roots.iter().map(|root| (*root).to_owned()).collect(),
            above => vec![format!("{above}.rs"), format!("{above}/mod.rs")],
        }
        .into_iter();
        let declaration = format!("mod {name};");
        parents.any(|parent| {
            let parent = sources.iter().find(|source| source.path == parent);
            parent.is_some_and(|parent| find_words(&parent.text, &declaration).next().is_some())
        })
    };
    let missing = sources
        .iter()
        .filter(|source| !roots.contains(&source.path.as_str()) && !is_declared(source));
    missing
        .map(|source| format!("{directory}/{}", source.path))
        .collect()
}
