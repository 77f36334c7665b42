//! The pure crates are `no_std`, and so is all that they depend on.
//!
//! A crate without `std` can read no clock, open no file, start no thread and draw no randomness: that is how purity is
//! shown without trusting anybody's word. Where the target is installed, `./x test` builds them for WebAssembly as well.

use std::error::Error;

use sluicegate_house::sources::Source;
use sluicegate_house::workspace::Workspace;

const PURE: &[&str] = &["sluicegate-core"];

#[test]
fn pure_crates_and_all_they_are_built_from_are_no_std() -> Result<(), Box<dyn Error>> {
    let workspace = Workspace::read()?;
    let mut faults = Vec::new();
    for pure in PURE {
        for part in workspace.built_into(pure)? {
            let package = workspace
                .package(&part.name, &part.version)
                .ok_or_else(|| part.name.clone())?;
            let root = Source::read(package.library().ok_or_else(|| part.name.clone())?)?;
            if !is_without_std(&root.text, &part.features) {
                faults.push(format!(
                    "{pure} is built from {} {}, which uses std",
                    part.name, part.version
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    Ok(())
}

/// That the compiler refuses `std` outright in a pure crate of ours, whatever features are on.
#[test]
fn pure_crates_say_no_std_without_a_condition() -> Result<(), Box<dyn Error>> {
    let workspace = Workspace::read()?;
    for package in workspace
        .members()
        .filter(|package| PURE.contains(&package.name.as_str()))
    {
        let root = Source::read(package.library().ok_or_else(|| package.name.clone())?)?;
        assert!(
            root.has_inner_attribute("no_std"),
            "{} does not start with #![no_std]",
            package.name
        );
        for source in Source::under(&package.folder().join("src"))? {
            for (number, line) in source.code() {
                assert!(
                    !line.contains("std::"),
                    "{}:{number} uses std: {line}",
                    source.path.display()
                );
            }
        }
    }
    Ok(())
}

/// Whether a crate's root turns `std` off while these features are on. What is not understood counts as `false`.
fn is_without_std(root: &str, features: &[String]) -> bool {
    let lines: Vec<_> = root.lines().map(str::trim).collect();
    let says_so = lines
        .iter()
        .any(|line| *line == "#![no_std]" || turns_std_off(line, features));
    let links_it_always = lines
        .iter()
        .enumerate()
        .any(|(at, line)| line.contains("extern crate std") && !is_gated(&lines[..at], features));
    says_so && !links_it_always
}

/// `#![cfg_attr(not(feature = "x"), no_std)]`, `#![cfg_attr(not(any(test, feature = "x")), no_std)]` and the like, while
/// none of the features named in it is on.
fn turns_std_off(line: &str, features: &[String]) -> bool {
    line.strip_prefix("#![cfg_attr(")
        .and_then(|rest| rest.strip_suffix(", no_std)]"))
        .is_some_and(|condition| condition.starts_with("not(") && !names_one_of(condition, features))
}

/// Whether the attribute just above holds the line back: for tests, or for features that are off.
fn is_gated(above: &[&str], features: &[String]) -> bool {
    above
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#["))
        .any(|line| {
            line.strip_prefix("#[cfg(").is_some_and(|condition| {
                let is_for_tests_or_a_feature = condition.contains("test") || condition.contains("feature");
                is_for_tests_or_a_feature && !condition.contains("not(") && !names_one_of(condition, features)
            })
        })
}

fn names_one_of(condition: &str, features: &[String]) -> bool {
    features
        .iter()
        .any(|feature| condition.contains(&format!("\"{feature}\"")))
}

#[test]
fn a_root_counts_as_no_std_only_when_it_is() {
    #[track_caller]
    fn check(root: &str, features: &[&str], expected: bool) {
        let features: Vec<_> = features.iter().map(|&feature| feature.to_owned()).collect();
        assert_eq!(is_without_std(root, &features), expected, "{root} with {features:?}");
    }
    check("", &[], false);
    check("#![no_std]", &["std"], true);
    check("// #![no_std]", &[], false);
    check("#![cfg_attr(not(feature = \"std\"), no_std)]", &["alloc"], true);
    check("#![cfg_attr(not(feature = \"std\"), no_std)]", &["std"], false);
    check("#![cfg_attr(not(any(test, feature = \"std\")), no_std)]", &[], true);
    check("#![cfg_attr(feature = \"x\", no_std)]", &["x"], false);
    check("#![no_std]\nextern crate std;", &[], false);
    check("#![no_std]\n#[cfg(feature = \"std\")]\nextern crate std;", &[], true);
    check(
        "#![no_std]\n#[cfg(feature = \"std\")]\nextern crate std;",
        &["std"],
        false,
    );
    check("#![no_std]\n#[cfg(any(test, doctest))]\nextern crate std;", &[], true);
    check("#![no_std]\n#[cfg(not(test))]\nextern crate std;", &[], false);
}
