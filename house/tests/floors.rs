//! No crate imports one from its own floor or from above.

use std::collections::BTreeMap;

use sluicegate_house::workspace::{Kind, Workspace, WorkspaceError};

/// What each crate may import. A new arrow is a design decision: it is drawn here and in `ARCHITECTURE.md` in one commit.
const ARROWS: &[(&str, &[&str])] = &[
    ("sluicegate-core", &[]),
    ("sluicegate-state", &["sluicegate-core"]),
    ("sluicegate-redis", &["sluicegate-core", "sluicegate-state"]),
    ("sluicegate-identity", &["sluicegate-core"]),
    (
        "sluicegate",
        &["sluicegate-core", "sluicegate-identity", "sluicegate-state"],
    ),
    ("sluicegate-tower", &["sluicegate"]),
    ("sluicegate-admin", &["sluicegate"]),
    (
        "sluicegate-gateway",
        &["sluicegate-identity", "sluicegate", "sluicegate-tower"],
    ),
    (
        "sluicegate-cli",
        &[
            "sluicegate-core",
            "sluicegate-state",
            "sluicegate-redis",
            "sluicegate",
            "sluicegate-tower",
            "sluicegate-admin",
            "sluicegate-gateway",
        ],
    ),
    ("sluicegate-testkit", &["sluicegate-core", "sluicegate-state"]),
];

/// Not part of the product: nothing imports them, so they may import what they measure or test.
const OUTSIDE: &[&str] = &["sluicegate-bench", "sluicegate-fuzz", "sluicegate-house"];

/// What the tests of every crate may import; nothing of the product may.
const FOR_TESTS: &[&str] = &["sluicegate-testkit"];

#[test]
fn no_crate_imports_one_from_its_own_floor_or_from_above() -> Result<(), WorkspaceError> {
    let workspace = Workspace::read()?;
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let ours: Vec<_> = workspace.members().map(|package| package.name.as_str()).collect();

    let mut faults = Vec::new();
    for package in workspace
        .members()
        .filter(|package| !OUTSIDE.contains(&package.name.as_str()))
    {
        let Some(allowed) = arrows.get(package.name.as_str()) else {
            faults.push(format!("{} has no floor yet", package.name));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| ours.contains(&dependency.name.as_str()))
        {
            let name = dependency.name.as_str();
            let is_for_tests = dependency.kind == Kind::Development
                && (FOR_TESTS.contains(&name) || is_below(name, &package.name, &arrows));
            if !allowed.contains(&name) && !is_for_tests {
                faults.push(format!("{} imports {name} ({:?})", package.name, dependency.kind));
            }
        }
    }
    assert!(faults.is_empty(), "arrows against the floors: {faults:#?}");
    Ok(())
}

#[test]
fn no_crate_builds_on_what_is_outside_the_product() -> Result<(), WorkspaceError> {
    let workspace = Workspace::read()?;
    let faults: Vec<_> = workspace
        .members()
        .filter(|package| !OUTSIDE.contains(&package.name.as_str()))
        .flat_map(|package| package.dependencies.iter().map(move |dependency| (package, dependency)))
        .filter(|(_, dependency)| {
            let name = dependency.name.as_str();
            OUTSIDE.contains(&name) || (FOR_TESTS.contains(&name) && dependency.kind != Kind::Development)
        })
        .map(|(package, dependency)| format!("{} imports {} ({:?})", package.name, dependency.name, dependency.kind))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    Ok(())
}

/// Whether arrows lead from `above` down to `name`, over however many crates: tests may set up what their crate stands on.
fn is_below(name: &str, above: &str, arrows: &BTreeMap<&str, &[&str]>) -> bool {
    let below = arrows.get(above).copied().unwrap_or_default();
    below.contains(&name) || below.iter().any(|next| is_below(name, next, arrows))
}
