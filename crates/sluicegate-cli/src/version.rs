//! `sluicegate version`.

use std::env::consts::{ARCH, OS};

use serde::Serialize;

use crate::arguments::Version;
use crate::exit::Exit;
use crate::output;

/// This build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Serialize)]
struct Answer {
    version: &'static str,
    operating_system: &'static str,
    architecture: &'static str,
}

/// Prints which build this is.
///
/// # Errors
///
/// When standard output takes no more.
pub(crate) fn version(version: &Version) -> anyhow::Result<Exit> {
    if version.json {
        output::print_json(&Answer {
            version: VERSION,
            operating_system: OS,
            architecture: ARCH,
        })?;
    } else {
        output::print(&format!("sluicegate {VERSION} ({OS}, {ARCH})\n"))?;
    }
    Ok(Exit::Success)
}
