//! What kinds of values there are.

use std::fmt;

/// The kind of a value, known of every part of an expression when it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Text,
    Address,
    List(Box<Kind>),
    /// From texts.
    Map(Box<Kind>),
    /// A family of attributes such as `header`, of which one has to be named.
    Family,
    /// Of the items of an empty list: any kind will do.
    Any,
}

impl Kind {
    /// The kind of what may be either; `None` where that is two kinds.
    pub(super) fn with(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, kind) | (kind, Self::Any) => Some(kind.clone()),
            (Self::List(one), Self::List(two)) => Some(Self::List(Box::new(one.with(two)?))),
            (Self::Map(one), Self::Map(two)) => Some(Self::Map(Box::new(one.with(two)?))),
            _ => (self == other).then(|| self.clone()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "true or false",
            Self::Int => "a whole number",
            Self::Text => "a text",
            Self::Address => "an address",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Family => "a family of attributes",
            Self::Any => "nothing",
        })
    }
}
