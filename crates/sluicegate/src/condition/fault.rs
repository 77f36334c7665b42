//! What is wrong with an expression.

use super::kind::Kind;

/// What is wrong with an expression, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

impl Fault {
    pub(super) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// Something of one kind stands where another belongs.
    pub(super) fn kind(place: &str, found: &Kind, expected: &Kind) -> Self {
        Self::new(
            format!("{place} is {found}, and has to be {expected}"),
            match (found, expected) {
                (Kind::Text, Kind::Int) => "write int(…) around it".to_owned(),
                (Kind::Address, Kind::Text) => "write in_network(ip, \"10.0.0.0/8\"), or compare it with ==".to_owned(),
                (Kind::Text, Kind::Bool) => "compare it with something, as in path == \"/healthz\"".to_owned(),
                _ => format!("write {expected} there"),
            },
        )
    }
}
