//! Sound policy files: what they mean, what is advised, and that documents, schema and reader say the same.

mod files;
mod meaning;
mod schema;
mod sharing;
mod warnings;

use sluicegate::policy::{Policy, Warning};

const POLICY_DOC: &str = include_str!("../../../../docs/policy.md");
const IDENTITY_DOC: &str = include_str!("../../../../docs/identity.md");

#[track_caller]
fn read(text: &str) -> (Policy, Vec<Warning>) {
    Policy::parse("policy.yaml", text).unwrap_or_else(|faults| {
        let told = faults.iter().map(|fault| format!("{fault}\n{}", fault.excerpt()));
        let told = told.collect::<Vec<_>>().concat();
        unreachable!("a sound policy has faults:\n{told}\n{text}")
    })
}

#[track_caller]
fn policy(text: &str) -> Policy {
    read(text).0
}

/// The blocks of YAML in a document, in their order.
fn examples(document: &str) -> Vec<&str> {
    let blocks = document.split("```yaml\n").skip(1);
    blocks
        .filter_map(|block| block.split_once("```").map(|(yaml, _)| yaml))
        .collect()
}
