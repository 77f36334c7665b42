//! Requests that no rule is asked about.

use crate::condition::Condition;

/// Requests that pass without a limit, counted by themselves.
#[derive(Debug, Clone)]
pub struct Allow {
    /// Unique among entries; printable ASCII, at most 64 bytes.
    pub name: String,
    /// Which requests; it asks for what their heads say alone. A request for which it has no value is not allowed by it.
    pub when: Condition,
    /// What a reader should know.
    pub description: Option<String>,
}

/// Most entries of one policy: each is asked of every request.
pub const ALLOW_MAX: usize = 64;
