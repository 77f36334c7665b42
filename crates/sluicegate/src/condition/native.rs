//! Expressions as trees of our own, each node of a kind that is known: what is common is answered without allocating.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;

use super::residue::Residue;
use super::text::Case;
use super::{Attribute, Facts, NoValue};

/// What is true or false.
#[derive(Debug, Clone)]
pub(super) enum Bool {
    Literal(bool),
    Not(Box<Bool>),
    /// All of them; one that is false decides even where another has no value.
    All(Vec<Bool>),
    /// Any of them; one that is true decides even where another has no value.
    Any(Vec<Bool>),
    If(Box<(Bool, Bool, Bool)>),
    Same(Box<(Bool, Bool)>),
    Ints(Relation, Box<(Int, Int)>),
    Texts(Relation, Box<(Text, Text)>),
    /// The text stands in the list, which is sorted.
    OneOf(Box<Text>, Case, Box<[Box<str>]>),
    OneOfInts(Box<Int>, Box<[i64]>),
    Looks(Box<Text>, Case, Look, Box<str>),
    /// The same where what is looked for is not known before.
    LooksLike(Look, Box<(Text, Text)>),
    Matches(Box<Text>, Box<Regex>),
    /// The client's address is one of these.
    AddressIn(Box<[IpAddr]>),
    /// The client's address lies in one of these.
    NetworkIn(Box<[IpNet]>),
    Has(Attribute),
    Interpreted(Box<Residue>),
}

/// A whole number.
#[derive(Debug, Clone)]
pub(super) enum Int {
    Literal(i64),
    /// How many characters.
    Size(Box<Text>),
    /// The number that a text spells.
    Parse(Box<Text>),
    Negate(Box<Int>),
    Operation(Operation, Box<(Int, Int)>),
    If(Box<(Bool, Int, Int)>),
    Interpreted(Box<Residue>),
}

/// A text.
#[derive(Debug, Clone)]
pub(super) enum Text {
    Literal(Box<str>),
    Attribute(Attribute),
    /// With its capitals as small letters.
    Lower(Box<Text>),
    Join(Box<(Text, Text)>),
    /// The digits of a number.
    Spell(Box<Int>),
    If(Box<(Bool, Text, Text)>),
    Interpreted(Box<Residue>),
}

/// How two values stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Same,
    Differ,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Relation {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Same => ordering.is_eq(),
            Self::Differ => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::More => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
        }
    }
}

/// What is looked for in a text, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Same,
    Starts,
    Ends,
    Contains,
}

impl Look {
    #[inline]
    fn holds(self, case: Case, text: &str, literal: &str) -> bool {
        match self {
            Self::Same => case.same(text, literal),
            Self::Starts => case.starts(text, literal),
            Self::Ends => case.ends(text, literal),
            Self::Contains => case.contains(text, literal),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Least,
    Most,
}

impl Operation {
    fn of(self, one: i64, two: i64) -> Result<i64, NoValue> {
        match self {
            Self::Add => one.checked_add(two),
            Self::Subtract => one.checked_sub(two),
            Self::Multiply => one.checked_mul(two),
            Self::Divide => one.checked_div(two),
            Self::Remainder => one.checked_rem(two),
            Self::Least => Some(one.min(two)),
            Self::Most => Some(one.max(two)),
        }
        .ok_or(NoValue)
    }
}

impl Bool {
    pub(super) fn holds(&self, facts: &dyn Facts) -> Result<bool, NoValue> {
        match self {
            Self::Literal(value) => Ok(*value),
            Self::Not(inner) => inner.holds(facts).map(|value| !value),
            Self::All(parts) => decided_by(false, parts, facts),
            Self::Any(parts) => decided_by(true, parts, facts),
            Self::If(parts) => {
                let (question, yes, no) = &**parts;
                if question.holds(facts)? { yes } else { no }.holds(facts)
            }
            Self::Same(pair) => Ok(pair.0.holds(facts)? == pair.1.holds(facts)?),
            Self::Ints(relation, pair) => {
                let (one, two) = (pair.0.value(facts)?, pair.1.value(facts)?);
                Ok(relation.holds(one.cmp(&two)))
            }
            Self::Texts(relation, pair) => {
                let (one, two) = (pair.0.value(facts)?, pair.1.value(facts)?);
                // Bytes of UTF-8 stand in the order of the characters that they spell.
                Ok(relation.holds(one.cmp(&two)))
            }
            Self::OneOf(text, case, list) => {
                let text = text.value(facts)?;
                Ok(match case {
                    Case::Matters => list.binary_search_by(|item| (**item).cmp(&text)).is_ok(),
                    Case::Folds => list.iter().any(|item| case.same(&text, item)),
                })
            }
            Self::OneOfInts(int, list) => Ok(list.contains(&int.value(facts)?)),
            Self::Looks(text, case, look, literal) => Ok(look.holds(*case, &text.value(facts)?, literal)),
            Self::LooksLike(look, pair) => {
                let (text, sought) = (pair.0.value(facts)?, pair.1.value(facts)?);
                Ok(look.holds(Case::Matters, &text, &sought))
            }
            Self::Matches(text, regex) => Ok(regex.is_match(&text.value(facts)?)),
            Self::AddressIn(list) => Ok(facts.address().is_some_and(|address| list.contains(&address))),
            Self::NetworkIn(list) => {
                let address = facts.address();
                Ok(address.is_some_and(|address| list.iter().any(|network| network.contains(&address))))
            }
            Self::Has(attribute) => Ok(facts.has(attribute)),
            Self::Interpreted(residue) => residue.truth(facts),
        }
    }
}

/// The first part of the value `decisive` decides; else a part without a value leaves all without one.
fn decided_by(decisive: bool, parts: &[Bool], facts: &dyn Facts) -> Result<bool, NoValue> {
    let mut answer = Ok(!decisive);
    for part in parts {
        match part.holds(facts) {
            Ok(value) if value == decisive => return Ok(decisive),
            Ok(_) => {}
            Err(none) => answer = Err(none),
        }
    }
    answer
}

impl Int {
    pub(super) fn value(&self, facts: &dyn Facts) -> Result<i64, NoValue> {
        match self {
            Self::Literal(value) => Ok(*value),
            Self::Size(text) => {
                let characters = text.value(facts)?.chars().count();
                i64::try_from(characters).map_err(|_| NoValue)
            }
            Self::Parse(text) => number(&text.value(facts)?),
            Self::Negate(int) => int.value(facts)?.checked_neg().ok_or(NoValue),
            Self::Operation(operation, pair) => operation.of(pair.0.value(facts)?, pair.1.value(facts)?),
            Self::If(parts) => {
                let (question, yes, no) = &**parts;
                if question.holds(facts)? { yes } else { no }.value(facts)
            }
            Self::Interpreted(residue) => residue.number(facts),
        }
    }
}

/// A number in plain digits, with a sign or without; what other readers take for one, such as `+5` or `5e3`, is none.
fn number(text: &str) -> Result<i64, NoValue> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| NoValue)
    } else {
        Err(NoValue)
    }
}

impl Text {
    #[inline]
    pub(super) fn value<'a>(&'a self, facts: &'a dyn Facts) -> Result<Cow<'a, str>, NoValue> {
        match self {
            Self::Literal(text) => Ok(Cow::Borrowed(text)),
            Self::Attribute(attribute) => facts.text(attribute),
            _ => self.made(facts),
        }
    }

    /// A text that may have to be made.
    fn made<'a>(&'a self, facts: &'a dyn Facts) -> Result<Cow<'a, str>, NoValue> {
        match self {
            Self::Literal(_) | Self::Attribute(_) => self.value(facts),
            Self::Lower(inner) => {
                let mut text = inner.value(facts)?;
                if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    text.to_mut().make_ascii_lowercase();
                }
                Ok(text)
            }
            Self::Join(pair) => {
                let mut text = pair.0.value(facts)?.into_owned();
                text.push_str(&pair.1.value(facts)?);
                Ok(Cow::Owned(text))
            }
            Self::Spell(int) => Ok(Cow::Owned(int.value(facts)?.to_string())),
            Self::If(parts) => {
                let (question, yes, no) = &**parts;
                if question.holds(facts)? { yes } else { no }.value(facts)
            }
            Self::Interpreted(residue) => residue.text(facts).map(Cow::Owned),
        }
    }
}
