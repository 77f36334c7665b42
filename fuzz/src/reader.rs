//! What the targets for bodies share: where an input's pointers stand, bodies in pieces, and JSON with all its members.

use std::{fmt, str};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use sluicegate::body::BodyReader;
use sluicegate::body::{Media, Pointer, Pointers, ReadFault, ResponseReader, Value, Values};

/// Parts an input: its first line holds pointers between tabs, the rest is the body.
///
/// # Panics
///
/// When a text that is no pointer has a fault that points beside it, or says nothing.
pub fn pointers_and_body(data: &[u8]) -> (Pointers, &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let body = data.get(end + 1..).unwrap_or_default();
    let line = str::from_utf8(&data[..end]).unwrap_or_default();
    let texts = line.split('\t').filter_map(pointer).take(Pointers::MAX);
    (Pointers::new(texts).expect("no more were taken"), body)
}

fn pointer(text: &str) -> Option<Pointer> {
    match Pointer::parse(text) {
        Ok(pointer) => {
            assert_eq!(pointer.to_string(), text);
            Some(pointer)
        }
        Err(error) => {
            assert!(
                text.get(error.span()).is_some(),
                "{text:?}: no such span: {:?}",
                error.span()
            );
            assert!(
                !error.to_string().is_empty() && !error.remedy().is_empty(),
                "{text:?}: a fault without words"
            );
            None
        }
    }
}

/// The names that lead to a place, unescaped by the least clever means.
pub fn tokens(pointer: &Pointer) -> Vec<String> {
    let unescape = |token: &str| token.replace("~1", "/").replace("~0", "~");
    pointer.as_str().split('/').skip(1).map(unescape).collect()
}

/// A value that outlives its reader, and shows what it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// The number as it was written.
    Number(String),
    /// The text, decoded.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// An object or an array.
    Container,
}

fn found(values: &Values) -> Vec<Option<Found>> {
    let found = |value| match value {
        Value::Number(text) => Found::Number(text.to_owned()),
        Value::String(text) | Value::Field(text) => Found::Text(text.to_owned()),
        Value::Bool(value) => Found::Bool(value),
        Value::Null => Found::Null,
        Value::Container => Found::Container,
    };
    (0..values.len()).map(|place| values.get(place).map(found)).collect()
}

/// What a request's body holds.
///
/// # Errors
///
/// The reader's fault.
///
/// # Panics
///
/// When that depends on the pieces in which the body arrives.
pub fn read(media: Media, pointers: &Pointers, body: &[u8]) -> Result<Vec<Option<Found>>, ReadFault> {
    let in_pieces = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut reader = BodyReader::new(media, pointers, u64::MAX)?;
        for piece in pieces {
            reader.feed(piece)?;
        }
        reader.finish().map(|values| found(&values))
    };
    let whole = in_pieces(&mut [body].into_iter());
    for length in PIECES {
        assert_eq!(in_pieces(&mut body.chunks(length)), whole, "in pieces of {length}");
    }
    whole
}

/// What a response's body holds.
///
/// # Panics
///
/// When that depends on the pieces in which the body arrives.
pub fn read_response(media: Media, pointers: &Pointers, body: &[u8]) -> Vec<Option<Found>> {
    let in_pieces = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut reader = ResponseReader::new(media, pointers).expect("it is a response's kind");
        pieces.for_each(|piece| reader.feed(piece));
        found(&reader.finish())
    };
    let whole = in_pieces(&mut [body].into_iter());
    for length in PIECES {
        assert_eq!(in_pieces(&mut body.chunks(length)), whole, "in pieces of {length}");
    }
    whole
}

/// Lengths of pieces: single bytes, short of a word of eight, and beyond one.
const PIECES: [usize; 4] = [1, 3, 7, 13];

/// A JSON value with every member that was written, also those of one name.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Any other scalar than a number.
    Scalar(Found),
    /// A number as serde_json reads it.
    Number(Number),
    /// The elements.
    Array(Vec<Node>),
    /// The members in their order.
    Object(Vec<(String, Node)>),
}

/// What stands at a pointer.
#[derive(Debug, Clone, PartialEq)]
pub enum At<'n> {
    /// Nothing.
    Nothing,
    /// This alone.
    One(&'n Node),
    /// More than one member on the way there has the same name.
    Many,
}

impl Node {
    /// What stands at `pointer`.
    pub fn at(&self, pointer: &Pointer) -> At<'_> {
        let mut node = self;
        for token in tokens(pointer) {
            let next = match node {
                Self::Scalar(_) | Self::Number(_) => None,
                // A number of another length than its text is `01` or `+1`.
                Self::Array(elements) => token
                    .parse()
                    .ok()
                    .filter(|index: &usize| index.to_string() == token)
                    .and_then(|index| elements.get(index)),
                Self::Object(members) => {
                    let mut named = members.iter().filter(|(name, _)| *name == token);
                    let first = named.next();
                    if named.next().is_some() {
                        return At::Many;
                    }
                    first.map(|(_, node)| node)
                }
            };
            let Some(next) = next else { return At::Nothing };
            node = next;
        }
        At::One(node)
    }

    /// Whether this is what was found.
    pub fn is(&self, found: &Found) -> bool {
        match (self, found) {
            (Self::Number(expected), Found::Number(found)) => {
                serde_json::from_str::<Number>(found).is_ok_and(|found| found == *expected)
            }
            (Self::Number(_), _) => false,
            (Self::Scalar(expected), found) => expected == found,
            (Self::Array(_) | Self::Object(_), found) => *found == Found::Container,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Found::Bool(value)))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Found::Null))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        // No text of JSON is a NaN or infinite; serde_json has no such number either.
        Ok(Number::from_f64(value).map_or(Node::Scalar(Found::Null), Node::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(Found::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            elements.push(element);
        }
        Ok(Node::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Node::Object(members))
    }
}

/// Why a second reader has no say: it refuses numbers beyond `f64`, and nests one level less deep.
pub fn is_beyond_serde_json(error: &serde_json::Error) -> bool {
    let message = error.to_string();
    message.starts_with("number out of range") || message.starts_with("recursion limit exceeded")
}
