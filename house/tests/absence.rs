//! `unsafe`, the clock, the environment and files stay where they are allowed.
//!
//! The compiler and clippy refuse them; these tests hold the list of exceptions, so that a new one is a decision that shows
//! in the same commit, and one that is gone does not stay on the list.

use std::error::Error;
use std::fs;

use sluicegate_house::sources::Source;
use sluicegate_house::workspace::{Package, Workspace};

/// Where a method of `clippy.toml` may be called.
const OUTSIDE_AS_ARGUMENT: &[&str] = &[
    // The machine's clock.
    "crates/sluicegate-state/src/clock.rs",
    // The gateway's deadlines, which are beside the limits and need no more than a tick.
    "crates/sluicegate-gateway/src/pulse.rs",
    // Arguments and environment.
    "crates/sluicegate-cli/src/environment.rs",
];

/// Where files are opened.
const FILES: &[&str] = &[
    // The policy.
    "crates/sluicegate/src/policy/mod.rs",
    // The installation's secret.
    "crates/sluicegate/src/secret.rs",
    // What a server of the store asks for.
    "crates/sluicegate/src/password.rs",
    // By which certificates it is judged, and what is shown to it.
    "crates/sluicegate/src/certificate.rs",
    // What a node remembers, across a restart.
    "crates/sluicegate-state/src/snapshot/file.rs",
    // The lock of the state directory.
    "crates/sluicegate-cli/src/directory.rs",
    // Whether a file that changed is the policy by another name: looked at, not opened.
    "crates/sluicegate-cli/src/reload/watch.rs",
    // The file of keys, for who issues and revokes them.
    "crates/sluicegate-cli/src/keys/file.rs",
    // Pictures, into a folder that the command line names.
    "crates/sluicegate-cli/src/draw/folder.rs",
];

/// Tools of the project and of its tests: they open, measure and wait for what the product must not.
const TOOLS: &[&str] = &[
    "sluicegate-bench",
    "sluicegate-fuzz",
    "sluicegate-house",
    "sluicegate-testkit",
];

#[test]
fn every_root_forbids_unsafe_and_every_package_takes_the_workspace_lints() -> Result<(), Box<dyn Error>> {
    let workspace = Workspace::read()?;
    let mut faults = Vec::new();
    for package in workspace.members() {
        for root in package
            .roots
            .iter()
            .filter(|root| ["lib", "bin", "proc-macro"].contains(&root.kind.as_str()))
        {
            if !Source::read(&root.path)?.has_inner_attribute("forbid(unsafe_code)") {
                faults.push(format!("{} does not say #![forbid(unsafe_code)]", root.path.display()));
            }
        }
        // Tests and benches have roots of their own: for them it is this table that forbids.
        if !fs::read_to_string(&package.manifest)?.contains("[lints]\nworkspace = true\n") {
            faults.push(format!(
                "{} does not take the lints of the workspace",
                package.manifest.display()
            ));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    Ok(())
}

#[test]
fn clock_environment_and_exit_are_reached_for_only_where_the_list_says() -> Result<(), Box<dyn Error>> {
    assert_only_in(OUTSIDE_AS_ARGUMENT, |line| line.contains("clippy::disallowed_methods"))
}

#[test]
fn files_are_opened_only_where_the_list_says() -> Result<(), Box<dyn Error>> {
    assert_only_in(FILES, opens_files)
}

/// Whether the line names the file system: as a module, or as one of its types.
fn opens_files(line: &str) -> bool {
    let names_module = line.match_indices("fs").any(|(at, _)| {
        let stands_alone = |text: Option<char>| text.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_');
        stands_alone(line[..at].chars().next_back()) && stands_alone(line[at + 2..].chars().next())
    });
    names_module || line.contains("File::") || line.contains("OpenOptions")
}

#[test]
fn a_line_opens_files_only_when_it_names_the_file_system() {
    for line in [
        "use std::fs;",
        "use std::{fs, io};",
        "tokio::fs::read(path)",
        "File::open(path)",
        "fs::write(a, b)",
    ] {
        assert!(opens_files(line), "{line}");
    }
    for line in ["let offs = 1;", "use std::ffi;", "fsync", "self.files", "prefs::read()"] {
        assert!(!opens_files(line), "{line}");
    }
}

/// Fails for every line of the product's code that `is_it` outside `allowed`, and for every file of `allowed` without one.
fn assert_only_in(allowed: &[&str], is_it: impl Fn(&str) -> bool) -> Result<(), Box<dyn Error>> {
    let workspace = Workspace::read()?;
    let is_product = |package: &&Package| !TOOLS.contains(&package.name.as_str());
    let mut faults = Vec::new();
    let mut found = Vec::new();
    for package in workspace.members().filter(is_product) {
        for source in Source::under(&package.folder().join("src"))? {
            let path = source
                .path
                .strip_prefix(workspace.root())?
                .to_string_lossy()
                .into_owned();
            for (number, line) in source.code().filter(|(_, line)| is_it(line)) {
                if !allowed.contains(&path.as_str()) {
                    faults.push(format!("{path}:{number} is not on the list: {}", line.trim()));
                }
                found.push(path.clone());
            }
        }
    }
    faults.extend(
        allowed
            .iter()
            .filter(|path| !found.iter().any(|found| found == *path))
            .map(|path| format!("{path} is on the list without need")),
    );
    assert!(faults.is_empty(), "{faults:#?}");
    Ok(())
}
