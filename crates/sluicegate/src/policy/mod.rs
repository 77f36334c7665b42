//! The policy file: read, checked whole, and then beyond doubt.
//!
//! ```text
//!  text ──yaml──► located tree ──shape──► raw fields ──check──► Policy and warnings
//!                      └──────────── every fault, with line and remedy ──────────► Faults
//! ```
//!
//! [`Policy::load`] opens the file, [`Policy::parse`] takes its text, [`PolicyText`] is for who looks at a file more than once;
//! `document` takes what a program has put together. None stops at the first fault. What the fields
//! mean is said in `docs/policy.md` and, for editors, by [`schema()`].

mod check;
pub mod checked;
pub(crate) mod document;
mod fault;
mod findings;
mod key;
mod keys;
mod nearest;
mod raw;
mod scalar;
mod shape;
mod text;
mod yaml;

use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroU32;
use std::path::Path;

use serde_json::{Value, json};

pub use checked::Policy;
pub use fault::{FAULTS_MAX, Fault, Faults, PolicyError, Warning};
pub use keys::{IssuedKey, KEYS_FILE_BYTES_MAX, KeyFile, parse_keys};
pub use text::{FieldFault, PolicyText};

use findings::{At, Findings};
pub(crate) use nearest::nearest;
use shape::Shape as _;

impl Policy {
    /// Reads a policy from its text. `name` stands for the file in messages. Paths in it are kept as they stand.
    ///
    /// ```
    /// use sluicegate::policy::Policy;
    ///
    /// let text = "version: 1\nrules:\n  - {name: per-client, key: ip, limit: 5/fortnight}\n";
    /// let faults = Policy::parse("policy.yaml", text).expect_err("there is no such unit");
    /// assert_eq!(
    ///     faults.to_string(),
    ///     "policy.yaml:3:40: rules[0].limit: \"5/fortnight\" is not a limit: no such unit of time in \"fortnight\"; \
    ///      use ms, s, min, h, d or w, or their long names"
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the text, up to [`FAULTS_MAX`].
    pub fn parse(name: &str, text: &str) -> Result<(Self, Vec<Warning>), Faults> {
        parse(name, text, NonZeroU32::MIN)
    }

    /// Reads a policy file, and the files that it names of who may call. Relative paths in it are taken from the folder that the file
    /// is in.
    ///
    /// # Errors
    ///
    /// If one of the files cannot be read, or is not what it should be.
    pub fn load(path: impl AsRef<Path>) -> Result<(Self, Vec<Warning>), PolicyError> {
        let text = PolicyText::read(path)?;
        let (mut policy, warnings) = text.policy()?;
        text.complete(&mut policy)?;
        Ok((policy, warnings))
    }
}

/// The JSON Schema of the policy file (draft 2020-12), with the fields' descriptions and defaults.
pub fn schema() -> Value {
    let mut schema = raw::PolicyFields::schema();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Sluicegate policy");
    schema
}

/// Most bytes of a policy file: room for some five thousand rules with their reasons, and a bound on what reading
/// anything else by mistake can cost.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Reads a policy that at least `nodes` share.
fn parse(name: &str, text: &str, nodes: NonZeroU32) -> Result<(Policy, Vec<Warning>), Faults> {
    // Editors on some systems put a byte order mark in front; it has no meaning in UTF-8.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut findings = Findings::new(name, text);
    let policy = read(text, nodes, &mut findings);
    findings.finish(policy)
}

fn read(text: &str, nodes: NonZeroU32, findings: &mut Findings<'_>) -> Option<Policy> {
    if text.len() > FILE_BYTES_MAX {
        let problem = format!("the file has more than {FILE_BYTES_MAX} bytes");
        findings.fault_at(
            At::START,
            problem,
            "is it a policy? One of this size should be made of fewer, wider rules",
        );
        return None;
    }
    let root = yaml::read(text, yaml::NODES_MAX, findings)?;
    let raw = raw::PolicyFields::read(root, findings)?;
    check::policy(raw, nodes, findings)
}

/// The file's bytes, or one more than the `most` that may be used.
fn read_bounded(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
