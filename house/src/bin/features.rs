//! Prints what `./x test` checks alone: `package` for each library under `crates/`, and `package feature` for each feature.
//!
//! A library that compiles only because a neighbour in the same build turns a feature of tokio or hyper on is then found out.
//! Nobody builds on a binary, and each is built alone before it is used.
#![forbid(unsafe_code)]

use sluicegate_house::workspace::{Workspace, WorkspaceError};

fn main() -> Result<(), WorkspaceError> {
    let workspace = Workspace::read()?;
    for package in workspace.members() {
        if package.library().is_some() && package.folder().starts_with(workspace.root().join("crates")) {
            println!("{}", package.name);
        }
        for feature in &package.features {
            println!("{} {feature}", package.name);
        }
    }
    Ok(())
}
