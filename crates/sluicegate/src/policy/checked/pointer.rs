//! Which member of a body is meant.

use std::fmt;

/// A JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pointer(Box<str>);

impl Pointer {
    /// Reads a pointer, `/` in front; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() > 1 && text.starts_with('/')).then(|| Self(text.into()))
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
