//! Every test that `docs/requirements.md` names as its witness exists.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;

use sluicegate_house::sources::Source;
use sluicegate_house::workspace::Workspace;

#[test]
fn every_test_that_the_requirements_name_exists() -> Result<(), Box<dyn Error>> {
    let workspace = Workspace::read()?;
    let mut tests = BTreeSet::new();
    for package in workspace.members() {
        for source in Source::under(package.folder())? {
            tests.extend(functions(&source.text).map(str::to_owned));
        }
    }
    let claims = fs::read_to_string(workspace.root().join("docs/requirements.md"))?;
    let named: Vec<_> = claims
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(witnesses)
        .collect();
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(
        named.len() > 50,
        "{} witnesses were read, so the page has another form",
        named.len()
    );
    assert!(missing.is_empty(), "{missing:#?}");
    Ok(())
}

/// The names between backquotes in a row's last column that are names of tests: words joined by several underscores.
fn witnesses(row: &str) -> impl Iterator<Item = &str> {
    let last = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
    last.split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.matches('_').count() >= 3)
}

/// The names of all functions of a source.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    let name = |rest: &'_ str| {
        rest.find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len())
    };
    text.split("fn ").skip(1).map(move |rest| &rest[..name(rest)])
}
