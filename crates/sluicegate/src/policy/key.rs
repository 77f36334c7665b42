//! One part of a key: a word, or a map where a member of the body needs more said.

use serde_json::{Value, json};

use super::checked::KeyPart;
use super::findings::{Findings, Located};
use super::raw::KeyMemberFields;
use super::scalar::Scalar as _;
use super::shape::Shape;
use super::yaml::Node;

/// One entry of `key`.
#[derive(Debug)]
pub(super) struct KeyItem(pub(super) KeyPart);

impl Shape for KeyItem {
    fn expected() -> &'static str {
        KeyPart::EXPECTED
    }

    fn read(node: Located<Node>, findings: &mut Findings<'_>) -> Option<Self> {
        if !matches!(node.value, Node::Map(_)) {
            return KeyPart::read(node, findings).map(Self);
        }
        let fields = KeyMemberFields::read(node, findings)?;
        Some(Self(KeyPart::Body {
            pointer: fields.body.value()?,
            trim: fields.trim.value().is_some_and(|truth| truth.0),
            lowercase: fields.lowercase.value().is_some_and(|truth| truth.0),
        }))
    }

    fn schema() -> Value {
        json!({ "anyOf": [KeyPart::schema(), KeyMemberFields::schema()] })
    }
}
