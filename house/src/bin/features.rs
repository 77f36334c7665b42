//! Prints one line for each package of the workspace, `package`, and one for each of its features, `package feature`.
//!
//! `./x test` checks each line alone. A package that compiles only because a neighbour in the same build turns a feature
//! of tokio or hyper on is then found out.
#![forbid(unsafe_code)]

use sluicegate_house::workspace::{Workspace, WorkspaceError};

fn main() -> Result<(), WorkspaceError> {
    for package in Workspace::read()?.members() {
        println!("{}", package.name);
        for feature in &package.features {
            println!("{} {feature}", package.name);
        }
    }
    Ok(())
}
