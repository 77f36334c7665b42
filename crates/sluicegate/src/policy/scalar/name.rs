//! Names, texts for people, folders and files.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::fault::quoted;
use super::super::findings::{Findings, Spot};
use super::{Scalar, Wrong, wrong};

/// The name of a rule, a route or an upstream: it goes into header fields and metrics as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Name(pub(in crate::policy) String);

impl Scalar for Name {
    const EXPECTED: &'static str = "a name";

    fn parse(text: &str) -> Result<Self, Wrong> {
        // RFC 9651, section 3.3.3: a String holds the visible ASCII characters and the blank.
        if let Some(c) = text.chars().find(|c| !matches!(c, ' '..='~')) {
            return wrong(
                format!("has the character {c:?}"),
                "use ASCII letters, digits, blanks and signs; names go into header fields",
            );
        }
        match text.len() {
            0 => wrong("is empty", "give it a name"),
            1..=NAME_MAX => Ok(Self(text.to_owned())),
            length => wrong(
                format!("has {length} characters"),
                format!("use at most {NAME_MAX}; names go into every response"),
            ),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[ -~]+$", "minLength": 1, "maxLength": NAME_MAX })
    }
}

/// Reads the name of an entry in a map that makes up its own names.
pub(in crate::policy) fn read_name(text: &str, spot: Spot, findings: &mut Findings<'_>) -> Option<Name> {
    match Name::parse(text) {
        Ok(name) => Some(name),
        Err(Wrong { problem, remedy }) => {
            findings.fault_in_name(spot, format!("{} {problem}", quoted(text)), remedy);
            None
        }
    }
}

/// Bytes of a name. Sixteen rules may be announced in one response, so that this bounds the field to about 1 KiB of
/// names, well inside the 8 KiB that common proxies allow for a whole head.
const NAME_MAX: usize = 64;

/// Any text, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Prose(pub(in crate::policy) String);

impl Scalar for Prose {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Ok(Self(text.to_owned()))
    }
}

impl Scalar for PathBuf {
    const EXPECTED: &'static str = "a folder such as ./state";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.contains('\0') {
            return wrong("is no path", "write a folder such as ./state");
        }
        Ok(Self::from(text))
    }
}

/// A file that is read by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct FilePath(pub(in crate::policy) PathBuf);

impl Scalar for FilePath {
    const EXPECTED: &'static str = "a file such as ./secret";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.ends_with('/') || text.contains('\0') {
            return wrong("is no file", "write a path such as ./secret");
        }
        Ok(Self(PathBuf::from(text)))
    }
}
