//! Limits: a rate with its burst, or a number of permits.

use std::num::NonZeroU64;

use serde_json::{Value, json};
use sluicegate_core::{Limit, LimitFault, ParseLimitError, Permits};

use super::super::checked::{AT_ONCE_MAX, RuleLimit};
use super::super::fault::quoted;
use super::super::yaml::Kind;
use super::{Scalar, Wrong, number_or_text, wrong};

/// What `limit` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct LimitText {
    pub(in crate::policy) limit: RuleLimit,
    /// Whether it says a burst, be it the same as the count.
    pub(in crate::policy) says_burst: bool,
}

impl Scalar for LimitText {
    const EXPECTED: &'static str = "a limit such as 100/min burst 20";

    fn parse(text: &str) -> Result<Self, Wrong> {
        match text.parse::<Permits>() {
            Ok(permits) => {
                return at_once(permits).map(|limit| Self {
                    limit,
                    says_burst: false,
                });
            }
            // It would not be a rate either, and for a reason that is none.
            Err(error) if error.fault() == LimitFault::ZeroCount => return wrong(about(&error, text), error.remedy()),
            Err(_) => {}
        }
        let limit = text.parse::<Limit>();
        let limit = limit.or_else(|error| wrong(about(&error, text), error.remedy()));
        limit.map(|limit| Self {
            limit: RuleLimit::Rate(limit),
            says_burst: text.contains("burst"),
        })
    }

    fn kind(text: &str) -> Kind {
        number_or_text(text)
    }

    fn grammar() -> Value {
        json!({ "anyOf": [
            {
                "type": "string",
                "pattern": "^[ \\t]*[0-9]+([kM]|[kM]?[ \\t]*(/|per)[ \\t]*([0-9]+[ \\t]*)?[a-z]+([ \\t]+burst[ \\t]+[0-9]+[kM]?)?)[ \\t]*$",
                "examples": ["100/min", "10 per 15min", "5/s burst 10"],
            },
            { "type": "integer", "minimum": 1, "maximum": AT_ONCE_MAX },
        ] })
    }
}

fn about(error: &ParseLimitError, text: &str) -> String {
    let part = text.get(error.span()).unwrap_or_default();
    let part = if part.is_empty() || part == text.trim() {
        String::new()
    } else {
        format!(" in {}", quoted(part))
    };
    format!("is not a limit: {}{part}", error.fault())
}

fn at_once(permits: Permits) -> Result<RuleLimit, Wrong> {
    match NonZeroU64::new(permits.get()) {
        Some(count) if count.get() <= AT_ONCE_MAX => Ok(RuleLimit::AtOnce(count)),
        _ => wrong(
            format!("is above the most, {AT_ONCE_MAX}"),
            format!("write a count from 1 to {AT_ONCE_MAX}"),
        ),
    }
}

/// What `overflow` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum OverflowText {
    Shared(LimitText),
    Closed,
}

impl Scalar for OverflowText {
    const EXPECTED: &'static str = "a limit such as 1000/min, or closed";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "closed" {
            Ok(Self::Closed)
        } else {
            LimitText::parse(text).map(Self::Shared)
        }
    }

    fn kind(text: &str) -> Kind {
        number_or_text(text)
    }

    fn grammar() -> Value {
        json!({ "anyOf": [{ "const": "closed" }, LimitText::grammar()] })
    }
}
