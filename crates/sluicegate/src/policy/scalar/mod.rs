//! The values that stand on one line, each with the grammar of its text.

mod expression;
mod limit;
mod measure;
mod moment;
mod name;
mod net;
mod path;
mod request;
mod source;
mod store;
mod token;
mod words;

use serde_json::{Value, json};

use super::fault::quoted;
use super::findings::{Findings, Located};
use super::shape::{Shape, unexpected};
use super::yaml::{Kind, Node};

pub(super) use expression::ExpressionText;
pub(super) use limit::{LimitText, OverflowText};
pub(super) use measure::{Day, Percent, Size, SizeOrUnbounded, Span, SpanOrOff, Whole};
pub(super) use moment::Moment;
pub(super) use name::{FilePath, Name, Prose, read_name};
pub(super) use net::AddressOrOff;
pub(super) use path::{HostPattern, PathPattern};
pub(super) use source::FailureSign;
pub(super) use store::{Username, Variable};
pub(super) use token::{Party, TokenAlgorithm};
pub(super) use words::{AlgorithmWord, CountWord, Truth, Version};

/// A value with a grammar of its own.
pub(super) trait Scalar: Sized {
    /// What belongs here, as a message says it.
    const EXPECTED: &'static str;
    /// Whether a text that is no such value may be a secret, which nothing that is said of the file shows.
    const IS_SECRET: bool = false;

    /// What YAML must take `text` for.
    fn kind(_text: &str) -> Kind {
        Kind::Text
    }

    /// Reads the text.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what to write instead.
    fn parse(text: &str) -> Result<Self, Wrong>;

    /// What a JSON Schema can say of it.
    fn grammar() -> Value {
        json!({ "type": "string" })
    }
}

/// Why a text is not a value: the problem (the value is put before it) and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    problem: String,
    remedy: String,
}

pub(super) fn wrong<T>(problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong {
        problem: problem.into(),
        remedy: remedy.into(),
    })
}

impl<T: Scalar> Shape for T {
    fn expected() -> &'static str {
        T::EXPECTED
    }

    fn read(node: Located<Node>, findings: &mut Findings<'_>) -> Option<Self> {
        let Node::Scalar { text, kind } = &node.value else {
            if T::IS_SECRET {
                findings.hide(node.spot);
            }
            unexpected(&node.value, node.spot, T::EXPECTED, findings);
            return None;
        };
        match T::parse(text) {
            Err(Wrong { problem, remedy }) => {
                if T::IS_SECRET {
                    findings.hide(node.spot);
                    findings.fault(node.spot, format!("what stands here {problem}"), remedy);
                } else {
                    findings.fault(node.spot, format!("{} {problem}", quoted(text)), remedy);
                }
                None
            }
            Ok(value) if *kind == T::kind(text) => Some(value),
            // `name: 404` would be a number to every other reader of the file.
            Ok(_) if T::kind(text) == Kind::Text => {
                findings.fault(
                    node.spot,
                    format!("{text} is a {}", kind_name(*kind)),
                    format!("put it in quotes: \"{text}\""),
                );
                None
            }
            Ok(_) => {
                findings.fault(
                    node.spot,
                    format!("{} is a text", quoted(text)),
                    "write it without quotes",
                );
                None
            }
        }
    }

    fn schema() -> Value {
        T::grammar()
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Number => "number to YAML",
        Kind::Truth => "truth value to YAML",
    }
}

/// What YAML must take a text for that is a number where it is made of digits alone.
fn number_or_text(text: &str) -> Kind {
    if is_plain_digits(text) {
        Kind::Number
    } else {
        Kind::Text
    }
}

fn is_plain_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}
