//! From the tree to raw shapes, noting every fault on the way; and from the same definition, the JSON Schema.
//!
//! A [`Shape`] is anything that can stand in the file: a scalar with a grammar of its own ([`super::scalar::Scalar`]),
//! a list, a map from names, or a struct made by [`shape!`](super::shape::shape), whose one definition yields the
//! struct, its reader and its schema. Reading never stops at a fault: the struct comes out with that field
//! [`Field::Faulty`], so that what stands beside it is still looked at.

use serde_json::{Map, Value, json};

use super::findings::{Findings, Located, Spot};
use super::nearest::nearest;
use super::scalar::{Name, Scalar as _, read_name};
use super::yaml::Node;

/// Something that can stand in the file.
pub(super) trait Shape: Sized {
    /// What belongs here, as a message says it: `a list of rules`.
    fn expected() -> &'static str;

    /// Reads it; `None` once a fault is noted.
    fn read(node: Located<Node>, findings: &mut Findings<'_>) -> Option<Self>;

    /// Its JSON Schema.
    fn schema() -> Value;
}

/// What became of one field.
#[derive(Debug)]
pub(super) enum Field<T> {
    /// The file does not have it.
    Absent,
    /// It is not what it should be; the fault is noted, so no policy comes of this file.
    Faulty,
    /// Its value.
    Given(Located<T>),
}

impl<T> Field<T> {
    /// The value with its spot, if there is one.
    pub(super) fn given(self) -> Option<Located<T>> {
        match self {
            Self::Given(located) => Some(located),
            Self::Absent | Self::Faulty => None,
        }
    }

    /// The value, if there is one.
    pub(super) fn value(self) -> Option<T> {
        self.given().map(|located| located.value)
    }

    pub(super) fn as_ref(&self) -> Option<&Located<T>> {
        match self {
            Self::Given(located) => Some(located),
            Self::Absent | Self::Faulty => None,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T: Shape> Field<T> {
    fn read(node: Located<Node>, findings: &mut Findings<'_>) -> Self {
        let spot = node.spot;
        T::read(node, findings).map_or(Self::Faulty, |value| Self::Given(Located { value, spot }))
    }
}

/// The fields of a map, taken one by one; what is left over is unknown.
pub(super) struct Fields {
    spot: Spot,
    entries: Vec<(String, Located<Node>)>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Opens the map at `node`. A bare value stands for the map with only the field `short`, where there is one.
    pub(super) fn open(
        node: Located<Node>,
        expected: &str,
        short: Option<&'static str>,
        findings: &mut Findings<'_>,
    ) -> Option<Self> {
        let spot = node.spot;
        let entries = match (node.value, short) {
            (Node::Map(entries), _) => entries,
            (scalar @ Node::Scalar { .. }, Some(short)) => {
                vec![(short.to_owned(), Located { value: scalar, spot })]
            }
            (other, _) => {
                unexpected(&other, spot, expected, findings);
                return None;
            }
        };
        Some(Self {
            spot,
            entries,
            known: Vec::new(),
        })
    }

    /// A field that may be left out.
    pub(super) fn optional<T: Shape>(&mut self, name: &'static str, findings: &mut Findings<'_>) -> Field<T> {
        self.known.push(name);
        let Some(index) = self.entries.iter().position(|(given, _)| given == name) else {
            return Field::Absent;
        };
        let (_, node) = self.entries.swap_remove(index);
        Field::read(node, findings)
    }

    /// A field that must be there.
    pub(super) fn required<T: Shape>(&mut self, name: &'static str, findings: &mut Findings<'_>) -> Field<T> {
        let field = self.optional(name, findings);
        if field.is_absent() {
            findings.missing(self.spot, name, format!("add `{name}:` with {}", T::expected()));
        }
        field
    }

    /// Notes the fields that nobody took.
    pub(super) fn close(self, not_yet: &[(&str, &str)], elsewhere: &[(&str, &str)], findings: &mut Findings<'_>) {
        for (name, node) in self.entries {
            if findings.is_full() {
                // Counted all the same; looking for what was meant would be wasted.
                findings.fault_in_name(node.spot, "", "");
            } else if let Some((_, remedy)) = not_yet.iter().find(|(later, _)| *later == name) {
                findings.fault_in_name(node.spot, format!("`{name}` is not offered yet"), *remedy);
            } else {
                let problem = format!("there is no field {}", super::fault::quoted(&name));
                let remedy = if let Some((_, how)) = elsewhere.iter().find(|(other, _)| *other == name) {
                    (*how).to_owned()
                } else {
                    match nearest(&name, self.known.iter().copied()) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None => format!("the fields here are {}", self.known.join(", ")),
                    }
                };
                findings.fault_in_name(node.spot, problem, remedy);
            }
        }
    }
}

/// Defines a struct of located fields, its reader, and its JSON Schema with the doc comments as descriptions.
///
/// Each line says whether the field is `required` or `optional`, its name in the file, its shape and, as a text, the
/// default that the schema names. `short for FIELD` lets a bare value stand for a map of that one field. `not offered
/// yet` lists fields that will come, each with what to do until then; `said elsewhere` those that other programs have.
macro_rules! shape {
    (
        $(#[doc = $about:literal])+
        $name:ident $(short for $short:ident)? {
            $( $(#[doc = $doc:literal])+ $presence:ident $field:ident : $shape:ty $(= $default:literal)?, )+
        }
        $( not offered yet { $( $later:literal : $until_then:literal, )+ } )?
        $( said elsewhere { $( $elsewhere:literal : $how:literal, )+ } )?
    ) => {
        $(#[doc = $about])+
        #[derive(Debug)]
        pub(super) struct $name {
            $( $(#[doc = $doc])+ pub(super) $field: $crate::policy::shape::Field<$shape>, )+
        }

        impl $crate::policy::shape::Shape for $name {
            fn expected() -> &'static str {
                concat!("a map with the fields " $(, stringify!($field), ", ")+).trim_end_matches(", ")
            }

            fn read(
                node: $crate::policy::findings::Located<$crate::policy::yaml::Node>,
                findings: &mut $crate::policy::findings::Findings<'_>,
            ) -> Option<Self> {
                let short: &[&'static str] = &[ $( stringify!($short) )? ];
                let mut fields =
                    $crate::policy::shape::Fields::open(node, Self::expected(), short.first().copied(), findings)?;
                let shape = Self { $( $field: fields.$presence(stringify!($field), findings), )+ };
                fields.close(&[ $( $( ($later, $until_then), )+ )? ], &[ $( $( ($elsewhere, $how), )+ )? ], findings);
                Some(shape)
            }

            fn schema() -> ::serde_json::Value {
                let fields = [ $( $crate::policy::shape::FieldSchema {
                    name: stringify!($field),
                    about: concat!($($doc, "\n"),+),
                    required: stringify!($presence) == "required",
                    default: [ $($default)? ].as_slice().first().copied(),
                    schema: <$shape as $crate::policy::shape::Shape>::schema(),
                }, )+ ];
                let short: &[&str] = &[ $( stringify!($short) )? ];
                $crate::policy::shape::object(concat!($($about, "\n"),+), &fields, short.first().copied())
            }
        }
    };
}
pub(super) use shape;

/// One property of an object's schema.
pub(super) struct FieldSchema {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) required: bool,
    pub(super) default: Option<&'static str>,
    pub(super) schema: Value,
}

/// The schema of a map with these fields and no others, or of its short form.
pub(super) fn object(about: &str, fields: &[FieldSchema], short: Option<&str>) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let mut schema = field.schema.clone();
        schema["description"] = json!(paragraph(field.about));
        if let Some(default) = field.default {
            // Numbers and truth values are written as such in the file.
            schema["default"] = match default {
                "true" | "false" => json!(default == "true"),
                _ => default
                    .parse::<u64>()
                    .map_or_else(|_| json!(default), |number| json!(number)),
            };
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name)
        .collect();
    let object = json!({
        "type": "object",
        "description": paragraph(about),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    match short.and_then(|short| fields.iter().find(|field| field.name == short)) {
        Some(field) => json!({ "anyOf": [field.schema, object] }),
        None => object,
    }
}

/// A doc comment as one paragraph of prose.
fn paragraph(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A list of `MIN` to `MAX` items.
#[derive(Debug)]
pub(super) struct List<T, const MIN: usize, const MAX: usize>(pub(super) Vec<Located<T>>);

impl<T: Shape, const MIN: usize, const MAX: usize> Shape for List<T, MIN, MAX> {
    fn expected() -> &'static str {
        "a list"
    }

    fn read(node: Located<Node>, findings: &mut Findings<'_>) -> Option<Self> {
        match node.value {
            Node::List(nodes) => items::<T, MIN, MAX>(nodes, node.spot, findings).map(Self),
            other => {
                unexpected(&other, node.spot, Self::expected(), findings);
                None
            }
        }
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema(), "minItems": MIN, "maxItems": MAX })
    }
}

/// A list of `MIN` to `MAX` items; a single one may stand without brackets.
#[derive(Debug)]
pub(super) struct OneOrMany<T, const MIN: usize, const MAX: usize>(pub(super) Vec<Located<T>>);

impl<T: Shape, const MIN: usize, const MAX: usize> Shape for OneOrMany<T, MIN, MAX> {
    fn expected() -> &'static str {
        T::expected()
    }

    fn read(node: Located<Node>, findings: &mut Findings<'_>) -> Option<Self> {
        let spot = node.spot;
        match node.value {
            Node::List(nodes) => items::<T, MIN, MAX>(nodes, spot, findings).map(Self),
            one => {
                let value = T::read(Located { value: one, spot }, findings)?;
                Some(Self(vec![Located { value, spot }]))
            }
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [T::schema(), { "type": "array", "items": T::schema(), "minItems": MIN, "maxItems": MAX }] })
    }
}

/// The items that can be read; `None` where their number is wrong.
fn items<T: Shape, const MIN: usize, const MAX: usize>(
    nodes: Vec<Located<Node>>,
    spot: Spot,
    findings: &mut Findings<'_>,
) -> Option<Vec<Located<T>>> {
    if nodes.len() < MIN {
        findings.fault(
            spot,
            "the list is empty",
            format!("add {}, or leave the field out", T::expected()),
        );
        return None;
    }
    if nodes.len() > MAX {
        findings.fault(
            spot,
            format!("the list has {} entries", nodes.len()),
            format!("keep it to {MAX}"),
        );
        return None;
    }
    let read = |node: Located<Node>| {
        let spot = node.spot;
        T::read(node, findings).map(|value| Located { value, spot })
    };
    Some(nodes.into_iter().filter_map(read).collect())
}

/// A map from names that the file makes up to values of one shape, in file order.
#[derive(Debug)]
pub(super) struct Named<T, const MAX: usize>(pub(super) Vec<(String, Field<T>)>);

impl<T: Shape, const MAX: usize> Shape for Named<T, MAX> {
    fn expected() -> &'static str {
        "a map from names"
    }

    fn read(node: Located<Node>, findings: &mut Findings<'_>) -> Option<Self> {
        let entries = match node.value {
            Node::Map(entries) => entries,
            other => {
                unexpected(&other, node.spot, Self::expected(), findings);
                return None;
            }
        };
        if entries.is_empty() || entries.len() > MAX {
            let remedy = format!("name 1 to {MAX} of them");
            findings.fault(node.spot, format!("the map has {} entries", entries.len()), remedy);
            return None;
        }
        let read = |(name, node): (String, Located<Node>)| {
            let spot = node.spot;
            let name = read_name(&name, spot, findings);
            let value = Field::read(node, findings);
            Some((name?.0, value))
        };
        Some(Self(entries.into_iter().filter_map(read).collect()))
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "propertyNames": Name::grammar(),
            "additionalProperties": T::schema(),
            "minProperties": 1,
            "maxProperties": MAX,
        })
    }
}

/// Notes that something else stands where `expected` belongs.
pub(super) fn unexpected(found: &Node, spot: Spot, expected: &str, findings: &mut Findings<'_>) {
    match found {
        Node::Empty => findings.fault(
            spot,
            "has no value",
            format!("write {expected}, or leave the field out"),
        ),
        Node::Scalar { text, .. } => {
            findings.fault(
                spot,
                format!("{} stands here", super::fault::quoted(text)),
                format!("write {expected}"),
            );
        }
        Node::List(_) => findings.fault(spot, "a list stands here", format!("write {expected}")),
        Node::Map(_) => findings.fault(spot, "a map stands here", format!("write {expected}")),
    }
}
