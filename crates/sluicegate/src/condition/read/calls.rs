//! Operators and functions: which there are, and what they take.

use std::net::IpAddr;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use ipnet::IpNet;
use regex::RegexBuilder;

use super::super::fault::Fault;
use super::super::kind::Kind;
use super::super::native::{Bool, Int, Look, Operation, Relation, Text};
use super::super::text::Case;
use super::weight::{PIECES_MAX, Weight};
use super::{Form, Read, Reader, literal_text, literal_texts};
use crate::address::plain;
use crate::policy::nearest;

/// Functions, as they are written.
const FUNCTIONS: [&str; 13] = [
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "size",
    "in_network",
    "lower",
    "lowerAscii",
    "int",
    "string",
    "min",
    "max",
    "has",
];

impl Reader<'_> {
    pub(super) fn call(&mut self, call: &CallExpr) -> Result<Read, Fault> {
        let args = call.args.as_slice();
        match (call.func_name.as_str(), call.target.as_deref(), args) {
            (operators::LOGICAL_AND, None, [one, two]) => self.connect(true, one, two),
            (operators::LOGICAL_OR, None, [one, two]) => self.connect(false, one, two),
            (operators::LOGICAL_NOT, None, [inner]) => {
                let read = self.read_as(inner, &Kind::Bool, "what stands behind !")?;
                let weight = Weight::of(&[read.weight]);
                Ok(match self.bool_of(read.clone(), inner) {
                    Some(node) => Read::bool(Bool::Not(Box::new(node)), weight),
                    None => Read::residual(Kind::Bool, weight, &[&read]),
                })
            }
            (operators::NOT_STRICTLY_FALSE, None, [inner]) => {
                let read = self.read_as(inner, &Kind::Bool, "what is asked of each item")?;
                Ok(Read::residual(Kind::Bool, Weight::of(&[read.weight]), &[&read]))
            }
            (operators::CONDITIONAL, None, [question, yes, no]) => self.choose(question, yes, no),
            (operators::EQUALS, None, [one, two]) => self.compare(Relation::Same, one, two),
            (operators::NOT_EQUALS, None, [one, two]) => self.compare(Relation::Differ, one, two),
            (operators::LESS, None, [one, two]) => self.compare(Relation::Less, one, two),
            (operators::LESS_EQUALS, None, [one, two]) => self.compare(Relation::AtMost, one, two),
            (operators::GREATER, None, [one, two]) => self.compare(Relation::More, one, two),
            (operators::GREATER_EQUALS, None, [one, two]) => self.compare(Relation::AtLeast, one, two),
            (operators::ADD, None, [one, two]) => self.add(one, two),
            (operators::SUBSTRACT, None, [one, two]) => self.reckon(Operation::Subtract, "-", one, two),
            (operators::MULTIPLY, None, [one, two]) => self.reckon(Operation::Multiply, "*", one, two),
            (operators::DIVIDE, None, [one, two]) => self.reckon(Operation::Divide, "/", one, two),
            (operators::MODULO, None, [one, two]) => self.reckon(Operation::Remainder, "%", one, two),
            ("min", None, [one, two]) => self.reckon(Operation::Least, "min", one, two),
            ("max", None, [one, two]) => self.reckon(Operation::Most, "max", one, two),
            (operators::NEGATE, None, [inner]) => {
                let read = self.read_as(inner, &Kind::Int, "what stands behind -")?;
                let weight = Weight::of(&[read.weight]);
                Ok(match self.int_of(read.clone(), inner) {
                    Some(node) => Read::int(Int::Negate(Box::new(node)), weight),
                    None => Read::residual(Kind::Int, weight, &[&read]),
                })
            }
            (operators::IN, None, [item, list]) => self.is_in(item, list),
            (operators::INDEX, None, [of, index]) => match self.member_by_index(of, index) {
                Some(read) => read,
                None => self.index(of, index),
            },
            ("size", None, [of]) | ("size", Some(of), []) => self.size(of),
            ("startsWith", Some(text), [sought]) => self.look(Look::Starts, "startsWith", text, sought),
            ("endsWith", Some(text), [sought]) => self.look(Look::Ends, "endsWith", text, sought),
            ("contains", Some(text), [sought]) => self.look(Look::Contains, "contains", text, sought),
            ("matches", Some(text), [pattern]) | ("matches", None, [text, pattern]) => self.matches(text, pattern),
            ("lower", None, [text]) | ("lowerAscii", Some(text), []) => self.lower(text),
            ("int", None, [of]) => self.int(of),
            ("string", None, [of]) => self.string(of),
            ("in_network", None, [address, networks]) => self.in_network(address, networks),
            (name, _, _) => Err(unknown(name)),
        }
    }

    /// Reads a part that has to be of one kind.
    fn read_as(&mut self, part: &IdedExpr, kind: &Kind, place: &str) -> Result<Read, Fault> {
        let read = self.read(part)?;
        match read.kind.with(kind) {
            Some(_) => Ok(read),
            None => Err(Fault::kind(place, &read.kind, kind)),
        }
    }

    /// `&&` and `||`.
    fn connect(&mut self, all: bool, one: &IdedExpr, two: &IdedExpr) -> Result<Read, Fault> {
        let place = if all { "each side of &&" } else { "each side of ||" };
        let reads = [
            self.read_as(one, &Kind::Bool, place)?,
            self.read_as(two, &Kind::Bool, place)?,
        ];
        let weight = Weight::of(&[reads[0].weight, reads[1].weight]);
        let [one, two] = [self.bool_of(reads[0].clone(), one), self.bool_of(reads[1].clone(), two)];
        let (Some(one), Some(two)) = (one, two) else {
            return Ok(Read::residual(Kind::Bool, weight, &[&reads[0], &reads[1]]));
        };
        let mut parts = Vec::new();
        for node in [one, two] {
            match (node, all) {
                (Bool::All(inner), true) | (Bool::Any(inner), false) => parts.extend(inner),
                (node, _) => parts.push(node),
            }
        }
        let node = if all { Bool::All(parts) } else { Bool::Any(parts) };
        Ok(Read::bool(node, weight))
    }

    /// `question ? yes : no`
    fn choose(&mut self, question: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Result<Read, Fault> {
        let asked = self.read_as(question, &Kind::Bool, "what stands before ?")?;
        let reads = [self.read(yes)?, self.read(no)?];
        let kind = both_kinds(&reads, "both answers of ?:")?;
        let weight = Weight::of(&[asked.weight, reads[0].weight, reads[1].weight]);
        let parts = [&asked, &reads[0], &reads[1]];
        let residual = Read::residual(kind.clone(), weight, &parts);
        let Some(asked) = self.bool_of(asked, question) else {
            return Ok(residual);
        };
        let [first, second] = reads;
        let read = match kind {
            Kind::Bool => match (self.bool_of(first, yes), self.bool_of(second, no)) {
                (Some(first), Some(second)) => Some(Read::bool(Bool::If(Box::new((asked, first, second))), weight)),
                _ => None,
            },
            Kind::Int => match (self.int_of(first, yes), self.int_of(second, no)) {
                (Some(first), Some(second)) => Some(Read::int(Int::If(Box::new((asked, first, second))), weight)),
                _ => None,
            },
            Kind::Text => match (self.text_of(first, yes), self.text_of(second, no)) {
                (Some(first), Some(second)) => Some(Read::text(Text::If(Box::new((asked, first, second))), weight)),
                _ => None,
            },
            _ => None,
        };
        Ok(read.unwrap_or(residual))
    }

    fn compare(&mut self, relation: Relation, one: &IdedExpr, two: &IdedExpr) -> Result<Read, Fault> {
        let reads = [self.read(one)?, self.read(two)?];
        let weight = Weight::of(&[reads[0].weight, reads[1].weight]);
        for (address, other) in [(&reads[0], two), (&reads[1], one)] {
            if matches!(address.form, Form::Address) {
                return compare_address(relation, other, weight);
            }
        }
        let kind = both_kinds(&reads, "both sides of a comparison")?;
        let ordered = !matches!(relation, Relation::Same | Relation::Differ);
        if ordered && !matches!(kind, Kind::Int | Kind::Text) {
            return Err(Fault::new(
                format!("{kind} is neither more nor less than another"),
                "compare it with == or !=",
            ));
        }
        let residual = Read::residual(Kind::Bool, weight, &[&reads[0], &reads[1]]);
        let [first, second] = reads;
        let node = match kind {
            Kind::Bool => match (self.bool_of(first, one), self.bool_of(second, two)) {
                (Some(first), Some(second)) => {
                    let same = Bool::Same(Box::new((first, second)));
                    Some(unless(relation == Relation::Differ, same))
                }
                _ => None,
            },
            Kind::Int => match (self.int_of(first, one), self.int_of(second, two)) {
                (Some(first), Some(second)) => Some(Bool::Ints(relation, Box::new((first, second)))),
                _ => None,
            },
            Kind::Text => match (self.text_of(first, one), self.text_of(second, two)) {
                (Some(first), Some(second)) => Some(self.compare_texts(relation, first, second)?),
                _ => None,
            },
            _ => None,
        };
        Ok(node.map_or(residual, |node| Read::bool(node, weight)))
    }

    fn compare_texts(&self, relation: Relation, one: Text, two: Text) -> Result<Bool, Fault> {
        if !matches!(relation, Relation::Same | Relation::Differ) {
            return Ok(Bool::Texts(relation, Box::new((one, two))));
        }
        let (text, literal) = match (one, two) {
            (text, Text::Literal(literal)) | (Text::Literal(literal), text) => (text, literal),
            pair => return Ok(Bool::Texts(relation, Box::new(pair))),
        };
        self.judge(&text, Look::Same, &literal)?;
        let (text, case) = folded(text, &literal)?;
        let same = Bool::Looks(Box::new(text), case, Look::Same, literal);
        Ok(unless(relation == Relation::Differ, same))
    }

    /// `+`, of numbers, texts and lists.
    fn add(&mut self, one: &IdedExpr, two: &IdedExpr) -> Result<Read, Fault> {
        let reads = [self.read(one)?, self.read(two)?];
        let kind = both_kinds(&reads, "both sides of +")?;
        let joined = Weight::joined(reads[0].weight, reads[1].weight);
        match &kind {
            Kind::Int => return self.reckon(Operation::Add, "+", one, two),
            Kind::Text if joined.pieces > PIECES_MAX => {
                return Err(Fault::new(
                    format!("a text is put together from {} others", joined.pieces),
                    format!("keep it to {PIECES_MAX}"),
                ));
            }
            Kind::Text | Kind::List(_) => {}
            other => {
                return Err(Fault::new(
                    format!("{other} cannot be added"),
                    "write && or || between questions",
                ));
            }
        }
        let residual = Read::residual(kind.clone(), joined, &[&reads[0], &reads[1]]);
        if kind != Kind::Text {
            return Ok(residual);
        }
        let [first, second] = reads;
        Ok(match (self.text_of(first, one), self.text_of(second, two)) {
            (Some(first), Some(second)) => Read::text(Text::Join(Box::new((first, second))), joined),
            _ => residual,
        })
    }

    fn reckon(&mut self, operation: Operation, sign: &str, one: &IdedExpr, two: &IdedExpr) -> Result<Read, Fault> {
        let place = format!("each side of {sign}");
        let reads = [
            self.read_as(one, &Kind::Int, &place)?,
            self.read_as(two, &Kind::Int, &place)?,
        ];
        let by_zero = matches!(&reads[1].form, Form::Int(Int::Literal(0)));
        if by_zero && matches!(operation, Operation::Divide | Operation::Remainder) {
            return Err(Fault::new("nothing can be divided by 0", "divide by another number"));
        }
        let weight = Weight::of(&[reads[0].weight, reads[1].weight]);
        let residual = Read::residual(Kind::Int, weight, &[&reads[0], &reads[1]]);
        let [first, second] = reads;
        Ok(match (self.int_of(first, one), self.int_of(second, two)) {
            (Some(first), Some(second)) => Read::int(Int::Operation(operation, Box::new((first, second))), weight),
            _ => residual,
        })
    }

    fn is_in(&mut self, item: &IdedExpr, list: &IdedExpr) -> Result<Read, Fault> {
        if let Some(read) = self.has(item, list) {
            return read;
        }
        let sought = self.read(item)?;
        if matches!(sought.form, Form::Address) {
            let texts = literal_texts(list).ok_or_else(|| {
                Fault::new(
                    "an address can be in a list of addresses only",
                    "write them in quotes, as in ip in [\"192.0.2.1\", \"192.0.2.2\"]",
                )
            })?;
            let list = texts.into_iter().map(address).collect::<Result<_, _>>()?;
            return Ok(Read::bool(Bool::AddressIn(list), sought.weight));
        }
        let within = self.read(list)?;
        let weight = Weight {
            items: 0,
            ..Weight::of(&[sought.weight, within.weight])
        };
        let kind = match &within.kind {
            Kind::List(kind) => (**kind).clone(),
            Kind::Map(_) => Kind::Text,
            other => {
                return Err(Fault::new(
                    format!("what stands behind `in` is {other}, and has to be a list"),
                    "write a list, as in method in [\"POST\", \"PUT\"]",
                ));
            }
        };
        if sought.kind.with(&kind).is_none() {
            return Err(Fault::new(
                format!("{} is never in a list of which each item is {kind}", sought.kind),
                "let both be of one kind",
            ));
        }
        let residual = Read::residual(Kind::Bool, weight, &[&sought, &within]);
        if let Some(texts) = literal_texts(list)
            && kind == Kind::Text
        {
            let Some(text) = self.text_of(sought, item) else {
                return Ok(residual);
            };
            let mut case = Case::Matters;
            for literal in &texts {
                self.judge(&text, Look::Same, literal)?;
                case = folded(text.clone(), literal)?.1;
            }
            let text = match (text, case) {
                (Text::Lower(inner), Case::Folds) => *inner,
                (text, _) => text,
            };
            let mut list: Vec<Box<str>> = texts.into_iter().map(Into::into).collect();
            list.sort_unstable();
            return Ok(Read::bool(Bool::OneOf(Box::new(text), case, list.into()), weight));
        }
        if let Some(list) = literal_ints(list) {
            return Ok(match self.int_of(sought, item) {
                Some(int) => Read::bool(Bool::OneOfInts(Box::new(int), list.into()), weight),
                None => residual,
            });
        }
        Ok(residual)
    }

    /// `list[0]`, `{"free": 10}[header["x-plan"]]`.
    fn index(&mut self, of: &IdedExpr, index: &IdedExpr) -> Result<Read, Fault> {
        let within = self.read(of)?;
        let (kind, by) = match &within.kind {
            Kind::List(kind) => (kind, Kind::Int),
            Kind::Map(kind) => (kind, Kind::Text),
            other => {
                return Err(Fault::new(
                    format!("there is nothing to look up in {other}"),
                    "look into a list, a map, or attributes, as in header[\"x-plan\"]",
                ));
            }
        };
        let by = self.read_as(index, &by, "what stands in the brackets")?;
        let weight = Weight {
            items: 0,
            ..Weight::of(&[within.weight, by.weight])
        };
        Ok(Read::residual((**kind).clone(), weight, &[&within, &by]))
    }

    fn size(&mut self, of: &IdedExpr) -> Result<Read, Fault> {
        let read = self.read(of)?;
        let weight = Weight {
            items: 0,
            ..Weight::of(&[read.weight])
        };
        let residual = Read::residual(Kind::Int, weight, &[&read]);
        match read.kind {
            Kind::Text => Ok(match self.text_of(read, of) {
                Some(text) => Read::int(Int::Size(Box::new(text)), weight),
                None => residual,
            }),
            Kind::List(_) | Kind::Map(_) => Ok(residual),
            other => Err(Fault::new(
                format!("{other} has no size"),
                "ask the size of a text or a list",
            )),
        }
    }

    /// `startsWith`, `endsWith`, `contains`.
    fn look(&mut self, look: Look, name: &str, text: &IdedExpr, sought: &IdedExpr) -> Result<Read, Fault> {
        let reads = [
            self.read_as(text, &Kind::Text, &format!("what stands before .{name}"))?,
            self.read_as(sought, &Kind::Text, &format!("what {name} looks for"))?,
        ];
        let weight = Weight {
            pieces: 1,
            ..Weight::of(&[reads[0].weight, reads[1].weight])
        };
        let residual = Read::residual(Kind::Bool, weight, &[&reads[0], &reads[1]]);
        let [first, second] = reads;
        let (Some(first), Some(second)) = (self.text_of(first, text), self.text_of(second, sought)) else {
            return Ok(residual);
        };
        let node = match second {
            Text::Literal(literal) => {
                self.judge(&first, look, &literal)?;
                let (first, case) = folded(first, &literal)?;
                Bool::Looks(Box::new(first), case, look, literal)
            }
            second => Bool::LooksLike(look, Box::new((first, second))),
        };
        Ok(Read::bool(node, weight))
    }

    fn matches(&mut self, text: &IdedExpr, pattern: &IdedExpr) -> Result<Read, Fault> {
        let read = self.read_as(text, &Kind::Text, "what stands before .matches")?;
        let weight = read.weight;
        let pattern = literal_text(pattern).ok_or_else(|| {
            Fault::new(
                "a pattern has to be known before any request",
                "write it in quotes, as in path.matches(\"^/v[0-9]+/\")",
            )
        })?;
        let regex = RegexBuilder::new(pattern)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .nest_limit(PATTERN_NESTING_MAX)
            .build();
        let regex = regex.map_err(|error| {
            let said = error.to_string();
            let said = said
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            Fault::new(
                format!("{pattern:?} is no pattern: {said}"),
                "write one by the syntax of RE2, such as \"^/v[0-9]+/\"",
            )
        })?;
        let text = self.text_of(read, text).ok_or_else(|| {
            Fault::new(
                "matches() cannot be asked of what a macro names",
                "write one pattern for all items, as in path.matches(\"^/(a|b)/\")",
            )
        })?;
        Ok(Read::bool(Bool::Matches(Box::new(text), Box::new(regex)), weight))
    }

    fn lower(&mut self, text: &IdedExpr) -> Result<Read, Fault> {
        let read = self.read_as(text, &Kind::Text, "what is put into small letters")?;
        let weight = Weight::of(&[read.weight]);
        let residual = Read::residual(Kind::Text, weight, &[&read]);
        Ok(match self.text_of(read, text) {
            Some(Text::Lower(inner)) => Read::text(Text::Lower(inner), weight),
            Some(text) => Read::text(Text::Lower(Box::new(text)), weight),
            None => residual,
        })
    }

    fn int(&mut self, of: &IdedExpr) -> Result<Read, Fault> {
        let read = self.read(of)?;
        if read.kind == Kind::Int {
            return Ok(read);
        }
        let read = self.read_as(of, &Kind::Text, "what int() reads")?;
        let weight = Weight::of(&[read.weight]);
        if let Form::Text(Text::Literal(text)) = &read.form
            && text.parse::<i64>().is_err()
        {
            return Err(Fault::new(format!("{text:?} is no whole number"), "write digits"));
        }
        let residual = Read::residual(Kind::Int, weight, &[&read]);
        Ok(match self.text_of(read, of) {
            Some(text) => Read::int(Int::Parse(Box::new(text)), weight),
            None => residual,
        })
    }

    fn string(&mut self, of: &IdedExpr) -> Result<Read, Fault> {
        let read = self.read(of)?;
        if read.kind == Kind::Text {
            return Ok(read);
        }
        let read = self.read_as(of, &Kind::Int, "what string() spells")?;
        let weight = Weight::of(&[read.weight]);
        let residual = Read::residual(Kind::Text, weight, &[&read]);
        Ok(match self.int_of(read, of) {
            Some(int) => Read::text(Text::Spell(Box::new(int)), weight),
            None => residual,
        })
    }

    fn in_network(&mut self, of: &IdedExpr, networks: &IdedExpr) -> Result<Read, Fault> {
        let read = self.read_as(of, &Kind::Address, "what in_network looks for")?;
        let texts = literal_text(networks)
            .map(|text| vec![text])
            .or_else(|| literal_texts(networks));
        let texts = texts.filter(|texts| !texts.is_empty()).ok_or_else(|| {
            Fault::new(
                "a network has to be known before any request",
                "write it in quotes, as in in_network(ip, \"10.1.0.0/16\")",
            )
        })?;
        let networks = texts.into_iter().map(network).collect::<Result<_, _>>()?;
        Ok(Read::bool(Bool::NetworkIn(networks), read.weight))
    }

    /// That a request can have the value that an attribute is compared with.
    fn judge(&self, text: &Text, look: Look, literal: &str) -> Result<(), Fault> {
        use super::super::Attribute;
        let Text::Attribute(attribute) = text else {
            return Ok(());
        };
        // An empty text asks whether it is there at all.
        if literal.is_empty() {
            return Ok(());
        }
        let whole = look == Look::Same;
        let known = |names: &[&str], what: &str| {
            if !whole || names.contains(&literal) {
                return Ok(());
            }
            let remedy = match nearest(literal, names.iter().copied()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None if names.is_empty() => "add `routes:` with it".to_owned(),
                None => format!(
                    "write one of {}",
                    names.iter().take(LISTED_MAX).copied().collect::<Vec<_>>().join(", ")
                ),
            };
            Err(Fault::new(format!("there is no {what} {literal:?}"), remedy))
        };
        match attribute {
            Attribute::Route => self.scope.routes.map_or(Ok(()), |routes| known(routes, "route")),
            Attribute::Sensitivity => known(&crate::policy::checked::Sensitivity::NAMES, "sensitivity"),
            Attribute::Method if whole && literal != literal.to_ascii_uppercase() => Err(Fault::new(
                format!("no request has the method {literal:?}: methods are in capitals"),
                format!("write {:?}", literal.to_ascii_uppercase()),
            )),
            Attribute::Path if matches!(look, Look::Same | Look::Starts) && !literal.starts_with('/') => {
                Err(Fault::new(
                    format!("no path begins like {literal:?}"),
                    format!("write \"/{literal}\""),
                ))
            }
            Attribute::Path if literal.contains(['?', '#']) => Err(Fault::new(
                format!("no path has a query, as {literal:?} does"),
                "ask query.NAME for what stands behind the ?",
            )),
            Attribute::Host if whole && crate::request::canonical_host(literal) != literal => Err(Fault::new(
                format!("no host is written like {literal:?}: hosts are compared in small letters, without port"),
                format!("write {:?}", crate::request::canonical_host(literal)),
            )),
            _ => Ok(()),
        }
    }
}

/// Names that a remedy lists: as many as fit on a line.
const LISTED_MAX: usize = 8;

/// Bytes that a compiled pattern may take; what people write takes a few kibibytes.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// How deep the groups of a pattern may lie in each other.
const PATTERN_NESTING_MAX: u32 = 16;

fn unless(negated: bool, node: Bool) -> Bool {
    if negated { Bool::Not(Box::new(node)) } else { node }
}

/// A text as it is compared with `literal`, and whether its case matters for that.
fn folded(text: Text, literal: &str) -> Result<(Text, Case), Fault> {
    match text {
        Text::Lower(_) if literal.bytes().any(|byte| byte.is_ascii_uppercase()) => Err(Fault::new(
            format!("nothing in small letters is like {literal:?}"),
            format!("write {:?}", literal.to_ascii_lowercase()),
        )),
        Text::Lower(inner) => Ok((*inner, Case::Folds)),
        text => Ok((text, Case::Matters)),
    }
}

fn both_kinds(reads: &[Read; 2], what: &str) -> Result<Kind, Fault> {
    let [one, two] = reads;
    if let Some(kind) = one.kind.with(&two.kind)
        && kind != Kind::Family
    {
        return Ok(kind);
    }
    for (read, other) in [(one, two), (two, one)] {
        if read.kind == Kind::Family {
            return Err(Fault::kind("a family such as `header`", &Kind::Family, &other.kind));
        }
    }
    let remedy = match (&one.kind, &two.kind) {
        (Kind::Text, Kind::Int) | (Kind::Int, Kind::Text) => "write int(…) around the text",
        _ => "let both be of one kind",
    };
    Err(Fault::new(
        format!(
            "{what} have to be of one kind, and there is {} beside {}",
            one.kind, two.kind
        ),
        remedy,
    ))
}

fn compare_address(relation: Relation, other: &IdedExpr, weight: Weight) -> Result<Read, Fault> {
    let text = literal_text(other).filter(|_| matches!(relation, Relation::Same | Relation::Differ));
    let text = text.ok_or_else(|| {
        Fault::new(
            "an address can only be compared with an address in quotes, by == or !=",
            "write ip == \"192.0.2.1\", or in_network(ip, \"10.0.0.0/8\")",
        )
    })?;
    let same = Bool::AddressIn(Box::new([address(text)?]));
    Ok(Read::bool(unless(relation == Relation::Differ, same), weight))
}

fn address(text: &str) -> Result<IpAddr, Fault> {
    text.parse().map(plain).map_err(|_| {
        let remedy = if text.parse::<IpNet>().is_ok() {
            format!("write in_network(ip, {text:?})")
        } else {
            "write one such as \"192.0.2.1\"".to_owned()
        };
        Fault::new(format!("{text:?} is no address"), remedy)
    })
}

fn network(text: &str) -> Result<IpNet, Fault> {
    let network: IpNet = match text.parse::<IpAddr>() {
        Ok(address) => plain(address).into(),
        Err(_) => text.parse().map_err(|_| {
            Fault::new(
                format!("{text:?} is no network"),
                "write one such as \"10.1.0.0/16\" or \"2001:db8::/32\"",
            )
        })?,
    };
    if network.trunc() != network {
        return Err(Fault::new(
            format!("{text:?} has bits behind its prefix"),
            format!("write {:?}", network.trunc().to_string()),
        ));
    }
    Ok(network)
}

/// The numbers of a list that stand there as such.
fn literal_ints(part: &IdedExpr) -> Option<Vec<i64>> {
    let Expr::List(list) = &part.expr else { return None };
    let int = |item: &IdedExpr| match &item.expr {
        Expr::Literal(LiteralValue::Int(value)) => Some(*value.inner()),
        _ => None,
    };
    list.elements.iter().map(int).collect()
}

fn unknown(name: &str) -> Fault {
    if FUNCTIONS.contains(&name) {
        let how = match name {
            "startsWith" | "endsWith" | "contains" => format!("write it behind a text, as in path.{name}(\"/a\")"),
            "matches" => "write it behind a text, as in path.matches(\"^/v[0-9]+/\")".to_owned(),
            "lowerAscii" => "write it behind a text, as in header[\"x-plan\"].lowerAscii()".to_owned(),
            "in_network" => "write in_network(ip, \"10.1.0.0/16\")".to_owned(),
            "min" | "max" => format!("write two numbers, as in {name}(1, 2)"),
            other => format!("write one value in its brackets, as in {other}(path)"),
        };
        return Fault::new(format!("`{name}` does not take what it is given here"), how);
    }
    if name.starts_with(['_', '@', '!', '-']) {
        return Fault::new(
            "an operator of CEL is used that is no part of conditions here",
            "use ==, !=, <, <=, >, >=, in, &&, ||, !, ?:, +, -, *, / and %",
        );
    }
    let remedy = match nearest(name, FUNCTIONS) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!(
            "the functions are {}, and the macros exists, all, exists_one, map and filter",
            FUNCTIONS.join(", ")
        ),
    };
    Fault::new(format!("there is no function `{name}`"), remedy)
}
