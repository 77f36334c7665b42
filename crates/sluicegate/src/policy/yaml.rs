//! The one place that reads YAML: text in, a tree out in which every value knows where it stands.
//!
//! Scalars keep their source text, because what a policy means by `10%` or `5/s` is decided by the field, not by YAML.
//! Nothing is dropped on the way: a duplicate key, a merge key or a tag that would change the meaning is a fault.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Spanned};

use super::findings::{At, Findings, Located, Spot, Step};

/// A value of the file.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Nothing, `~` or `null`.
    Empty,
    /// One word or line, with what YAML takes it for.
    Scalar {
        /// As it stands in the file, without quotes.
        text: String,
        /// What YAML takes it for.
        kind: Kind,
    },
    /// `[a, b]`, or lines that begin with a dash.
    List(Vec<Located<Node>>),
    /// `name: value` pairs in file order. The spot of a value knows its name too.
    Map(Vec<(String, Located<Node>)>),
}

/// What YAML takes a scalar for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything in quotes, or that is nothing else.
    Text,
    /// `7`, `1.5`, `0x10`.
    Number,
    /// `true` or `false`, and no other spelling.
    Truth,
}

/// Reads one YAML document of at most `nodes_max` values; `None` once a fault is noted that leaves nothing to go on with.
pub(super) fn read(text: &str, nodes_max: usize, findings: &mut Findings<'_>) -> Option<Located<Node>> {
    let document = match parse(text, nodes_max, DuplicateKeyPolicy::Error) {
        Ok(document) => document,
        Err(error) => {
            note(&error, text, findings);
            // A field given twice should not hide the file's other faults: the first one is read on with.
            if !matches!(error, Error::DuplicateMappingKey { .. }) {
                return None;
            }
            parse(text, nodes_max, DuplicateKeyPolicy::FirstWins).ok()?
        }
    };
    if matches!(document.value, Parsed::Empty) {
        findings.fault_at(At::START, "the file says nothing", "begin with `version: 1`");
        return None;
    }
    let at = at(&document);
    let root = findings.spot(None, Step::Root, at, at);
    Some(Located {
        value: convert(document.value, root, text, findings),
        spot: root,
    })
}

fn parse(text: &str, nodes_max: usize, duplicate_keys: DuplicateKeyPolicy) -> Result<Spanned<Parsed>, Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: nodes_max,
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_documents: 2,
            max_aliases: ALIASES_MAX,
            max_anchors: ALIASES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPLAYED_EVENTS_MAX,
            max_replay_stack_depth: DEPTH_MAX,
        },
        duplicate_keys: duplicate_keys,
        merge_keys: MergeKeyPolicy::Error,
        // `off`, `no` and `yes` are words here; only `true` and `false` are truth values, as in YAML 1.2.
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// Values in one policy file: one of ten thousand rules has about a hundred thousand.
pub(super) const NODES_MAX: usize = 250_000;

/// Lists and maps within each other: a policy's deepest value stands six deep.
const DEPTH_MAX: usize = 24;

/// `*name` references in one file: enough to say each shared list once, too few to build a bomb from.
const ALIASES_MAX: usize = 1_000;

/// Values that references may stand for in all; ten levels of ten would be 10¹⁰.
const REPLAYED_EVENTS_MAX: usize = 100_000;

/// Puts the reader's error into our words, with a remedy.
fn note(error: &Error, text: &str, findings: &mut Findings<'_>) {
    let at = error
        .location()
        .map_or(At::START, |location| At::new(location.line(), location.column()));
    let (problem, remedy) = match innermost(error) {
        Error::DuplicateMappingKey { key, .. } => (
            format!(
                "the field `{}` is given twice",
                key.as_deref().unwrap_or_default().escape_debug()
            ),
            "remove one of the two",
        ),
        Error::MultipleDocuments { .. } => (
            "a second document begins here".to_owned(),
            "keep one document in a file, without a `---` line in its midst",
        ),
        Error::MergeKeyNotAllowed { .. } => (
            "merge keys (`<<`) are not offered".to_owned(),
            "write the fields out, or refer to a whole value with `*name`",
        ),
        Error::UnknownAnchor { .. } => (
            "this refers to a value that no `&name` names".to_owned(),
            "put `&name` before the value it should stand for; a text that begins with `*` needs quotes",
        ),
        Error::RecursiveReferencesRequireWeakTypes { .. } => (
            "this refers to the value that it is part of".to_owned(),
            "refer to a value that ends before this place",
        ),
        Error::UnsupportedTag { tag, .. } => (
            format!("the tag {tag} has no meaning here"),
            "remove it; a text that begins with `!` needs quotes",
        ),
        // Only names are ever asked for as texts.
        Error::Unexpected { .. } | Error::NullIntoString { .. } => (
            "the name of a field is no text".to_owned(),
            "write a name, a colon and a value",
        ),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => (
            format!("the file unfolds to more than a policy may hold: {}", plain(error)),
            "nest less, and refer to fewer values",
        ),
        // The scanner's own bound, met before the budget sees the value.
        error if plain(error).contains("recursion limit") => (
            format!("lists and maps stand more than {DEPTH_MAX} deep in each other"),
            "nest less",
        ),
        _ if begins_with_tab(text, at) => ("a tab stands where YAML wants spaces".to_owned(), "indent with spaces"),
        _ => (
            format!("this is not YAML: {}", plain(error)),
            "check the indentation, the colons and the quotes around here",
        ),
    };
    findings.fault_at(at, problem, remedy);
}

fn innermost(error: &Error) -> &Error {
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => innermost(error),
        error => error,
    }
}

fn begins_with_tab(text: &str, at: At) -> bool {
    let line = text.lines().nth(at.line as usize - 1).unwrap_or_default();
    line.trim_start_matches(' ').starts_with('\t')
}

/// The reader's own words in one line, without the location that we print in front.
fn plain(error: &Error) -> String {
    let message = innermost(error).to_string();
    let message = message.lines().next().unwrap_or_default();
    let end = message.find(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

fn convert(parsed: Parsed, spot: Spot, text: &str, findings: &mut Findings<'_>) -> Node {
    match parsed {
        Parsed::Empty => Node::Empty,
        Parsed::Text(text) => Node::Scalar { text, kind: Kind::Text },
        Parsed::Number(text) => Node::Scalar {
            text,
            kind: Kind::Number,
        },
        Parsed::Truth(text) => Node::Scalar {
            text: text.to_string(),
            kind: Kind::Truth,
        },
        Parsed::List(items) => Node::List(
            items
                .into_iter()
                .enumerate()
                .map(|(index, item)| {
                    let place = at(&item);
                    let spot = findings.spot(Some(spot), Step::Item(index), place, place);
                    let value = item.value.with_source_text(item.defined, text);
                    Located {
                        value: convert(value, spot, text, findings),
                        spot,
                    }
                })
                .collect(),
        ),
        Parsed::Map(entries) => Node::Map(
            entries
                .into_iter()
                .map(|(name, value)| {
                    let name_at = at(&name);
                    // A value that is not there has no place of its own; its name has.
                    let value_at = if matches!(value.value, Parsed::Empty) {
                        name_at
                    } else {
                        at(&value)
                    };
                    let spot = findings.spot(Some(spot), Step::Field(name.value.0.clone()), name_at, value_at);
                    let parsed = value.value.with_source_text(value.defined, text);
                    (
                        name.value.0,
                        Located {
                            value: convert(parsed, spot, text, findings),
                            spot,
                        },
                    )
                })
                .collect(),
        ),
    }
}

/// Where a value is written; for a reference, where the value it stands for is.
fn at<T>(spanned: &Spanned<T>) -> At {
    At::new(spanned.defined.line(), spanned.defined.column())
}

/// A value as the reader hands it over.
enum Parsed {
    Empty,
    Truth(bool),
    Number(String),
    Text(String),
    List(Vec<Spanned<Parsed>>),
    Map(Vec<(Spanned<Name>, Spanned<Parsed>)>),
}

impl Parsed {
    /// Replaces a number by its source text: `1_000` and `0x3e8` are not what a reader of the file takes for 1000.
    fn with_source_text(self, location: serde_saphyr::Location, text: &str) -> Self {
        let Self::Number(number) = self else { return self };
        let span = location.span();
        let source = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
            let start = usize::try_from(start).ok()?;
            text.get(start..start.checked_add(usize::try_from(length).ok()?)?)
        });
        Self::Number(source.map_or(number, |source| source.trim().to_owned()))
    }
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParsedVisitor)
    }
}

struct ParsedVisitor;

impl<'de> Visitor<'de> for ParsedVisitor {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Empty)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Parsed, E> {
        Ok(Parsed::Truth(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Parsed, E> {
        Ok(Parsed::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Parsed, E> {
        Ok(Parsed::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Parsed, E> {
        Ok(Parsed::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Parsed, E> {
        Ok(Parsed::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Parsed, E> {
        Ok(Parsed::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Parsed, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Parsed::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Parsed::Map(entries))
    }
}

/// The name of a field: any scalar, by its text.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}
