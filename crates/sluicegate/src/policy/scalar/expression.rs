//! Expressions, whose own grammar is read where it is known what they may ask.

use serde_json::{Value, json};

use super::{Scalar, Wrong};
use crate::condition::EXPRESSION_BYTES_MAX;

/// An expression in CEL, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct ExpressionText(pub(in crate::policy) String);

impl Scalar for ExpressionText {
    const EXPECTED: &'static str = "an expression such as method == \"POST\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Ok(Self(text.to_owned()))
    }

    fn grammar() -> Value {
        json!({
            "type": "string",
            "minLength": 1,
            "maxLength": EXPRESSION_BYTES_MAX,
            "examples": ["method == \"POST\" && path.startsWith(\"/search\")", "in_network(ip, \"10.1.0.0/16\")"],
        })
    }
}
