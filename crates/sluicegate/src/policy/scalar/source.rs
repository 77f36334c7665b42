//! Where a number or a sign is read: headers and members of bodies, of a request and of its response.

use http::HeaderName;
use serde_json::{Value, json};

use super::super::checked::{CostSource, Pointer, SettleSource};
use super::super::yaml::Kind;
use super::{Scalar, Wrong, is_plain_digits, number_or_text, wrong};
use crate::body::PointerFault;

impl Scalar for Pointer {
    const EXPECTED: &'static str = "a member such as /username";

    fn parse(text: &str) -> Result<Self, Wrong> {
        pointer(text, str::to_owned)
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^/", "examples": ["/username", "/usage/total_tokens"] })
    }
}

/// The header of a text like `header.NAME`, its prefix taken off; `example` is such a text.
pub(super) fn header(name: &str, example: &str) -> Result<HeaderName, Wrong> {
    HeaderName::from_bytes(name.as_bytes()).or_else(|_| {
        let prefix = example.split_inclusive("header.").next().unwrap_or_default();
        wrong(
            "names no header",
            format!("write {prefix} and the header's name, as in {example}"),
        )
    })
}

pub(super) fn header_grammar(prefix: &str) -> Value {
    let prefix = prefix.replace('.', "\\.");
    json!({ "type": "string", "pattern": format!("^{prefix}\\.[!#$%&'*+.^_`|~0-9A-Za-z-]+$") })
}

/// The member of a text like `body./MEMBER`, its prefix taken off; `example` is such a text.
pub(super) fn member(text: &str, example: &str) -> Result<Pointer, Wrong> {
    let prefix = example.split_once('/').map_or("", |(prefix, _)| prefix);
    pointer(text, |pointer| format!("{prefix}{pointer}"))
}

pub(super) fn member_grammar(prefix: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^{prefix}\\./") })
}

/// Reads a pointer; `whole` makes of one what stands in the file.
fn pointer(text: &str, whole: impl Fn(&str) -> String) -> Result<Pointer, Wrong> {
    Pointer::parse(text).or_else(|error| {
        let remedy = match error.fault() {
            PointerFault::NoSlash => format!("write {}", whole(&format!("/{}", text.replace('.', "/")))),
            PointerFault::Empty => format!("write one such as {}", whole("/username")),
            fault => fault.remedy().to_owned(),
        };
        wrong(format!("names no member: {}", error.fault()), remedy)
    })
}

impl Scalar for CostSource {
    const EXPECTED: &'static str = "a number, header.NAME or body./MEMBER";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(name) = text.strip_prefix("header.") {
            return header(name, "header.x-cost").map(Self::Header);
        }
        if let Some(pointer) = text.strip_prefix("body.") {
            return member(pointer, "body./max_tokens").map(Self::Body);
        }
        if text.starts_with("response.") {
            return wrong(
                "is not known when the request comes",
                "reserve a number, and name the response in `settle`, as in {reserve: 500, settle: response./usage/total_tokens}",
            );
        }
        if !is_plain_digits(text) {
            return wrong("is no cost", "write a whole number, header.NAME or body./MEMBER");
        }
        text.parse().map(Self::Fixed).or_else(|_| {
            wrong(
                format!("is above the most, {}", u64::MAX),
                "write a whole number that a burst can hold",
            )
        })
    }

    fn kind(text: &str) -> Kind {
        number_or_text(text)
    }

    fn grammar() -> Value {
        let number = json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
        json!({ "anyOf": [number, header_grammar("header"), member_grammar("body")] })
    }
}

impl Scalar for SettleSource {
    const EXPECTED: &'static str = "response./MEMBER, response.header.NAME or program";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == PROGRAM {
            return Ok(Self::Program);
        }
        match of_response(text)? {
            Sign::Member(pointer) => Ok(Self::Body(pointer)),
            Sign::Header(name) => Ok(Self::Header(name)),
        }
    }

    fn grammar() -> Value {
        json!({ "anyOf": [header_grammar("response.header"), member_grammar("response"), { "const": PROGRAM }] })
    }
}

/// What stands where the program that asks by the library is meant.
const PROGRAM: &str = "program";

/// One way to tell that a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::policy) enum FailureSign {
    Status(u16),
    Member(Pointer),
    Header(HeaderName),
}

impl Scalar for FailureSign {
    const EXPECTED: &'static str = "a status such as 401, response./MEMBER or response.header.NAME";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if !is_plain_digits(text) {
            return match of_response(text)? {
                Sign::Member(pointer) => Ok(Self::Member(pointer)),
                Sign::Header(name) => Ok(Self::Header(name)),
            };
        }
        match text.parse() {
            Ok(status @ 200..=499) => Ok(Self::Status(status)),
            Ok(500..=599) => wrong(
                "says that the server failed, not the client",
                "leave it out; what such an answer had reserved is given back",
            ),
            _ => wrong("is no status of a response", "write one from 200 to 499, such as 401"),
        }
    }

    fn kind(text: &str) -> Kind {
        number_or_text(text)
    }

    fn grammar() -> Value {
        let status = json!({ "type": "integer", "minimum": 200, "maximum": 499 });
        json!({ "anyOf": [status, header_grammar("response.header"), member_grammar("response")] })
    }
}

/// A place in a response.
enum Sign {
    Member(Pointer),
    Header(HeaderName),
}

fn of_response(text: &str) -> Result<Sign, Wrong> {
    const REMEDY: &str = "write response./MEMBER or response.header.NAME";
    let Some(rest) = text.strip_prefix("response.") else {
        return wrong("is no place in a response", REMEDY);
    };
    if let Some(name) = rest.strip_prefix("header.") {
        return header(name, "response.header.x-usage").map(Sign::Header);
    }
    member(rest, "response./usage").map(Sign::Member)
}
