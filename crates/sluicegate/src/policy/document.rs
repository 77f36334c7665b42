//! A policy that a program puts together: the same tree that a file becomes, without a text, and through the same checks.

use std::num::NonZeroU32;

use super::check;
use super::checked::Policy;
use super::fault::{Faults, Warning};
use super::findings::{At, Findings, Located, Spot, Step};
use super::raw;
use super::shape::Shape as _;
use super::yaml::{Kind, Node};

/// A value, as it would stand in a file.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// What a file would have in quotes.
    Text(String),
    /// What a file would have without, such as `10/h`, `true` or `20`.
    Plain(String),
    /// `[a, b]`.
    List(Vec<Self>),
    /// `{name: value}`.
    Map(Vec<(&'static str, Self)>),
}

/// Reads a policy from its tree.
///
/// # Errors
///
/// Everything that is wrong with it. Faults name the field; there are no lines that they could name.
pub(crate) fn read(root: Value) -> Result<(Policy, Vec<Warning>), Faults> {
    let mut findings = Findings::new("", "");
    let root = node(root, None, Step::Root, &mut findings);
    let policy =
        raw::PolicyFields::read(root, &mut findings).and_then(|raw| check::policy(raw, NonZeroU32::MIN, &mut findings));
    findings.finish(policy)
}

fn node(value: Value, parent: Option<Spot>, step: Step, findings: &mut Findings<'_>) -> Located<Node> {
    let spot = findings.spot(parent, step, At::START, At::START);
    let value = match value {
        Value::Text(text) => Node::Scalar { text, kind: Kind::Text },
        Value::Plain(text) => Node::Scalar {
            kind: kind(&text),
            text,
        },
        Value::List(items) => Node::List(
            (0..)
                .zip(items)
                .map(|(index, item)| node(item, Some(spot), Step::Item(index), findings))
                .collect(),
        ),
        Value::Map(fields) => Node::Map(
            fields
                .into_iter()
                .map(|(name, value)| {
                    let value = node(value, Some(spot), Step::Field(name.to_owned()), findings);
                    (name.to_owned(), value)
                })
                .collect(),
        ),
    };
    Located { value, spot }
}

/// What a file's reader would take it for.
fn kind(text: &str) -> Kind {
    match text {
        "true" | "false" => Kind::Truth,
        _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => Kind::Number,
        _ => Kind::Text,
    }
}
