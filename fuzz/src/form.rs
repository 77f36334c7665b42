//! Fields of a form: found, or refused, as a reader that holds the whole form would.
//!
//! An input is a line of pointers between tabs, and a body.

use std::str;

use sluicegate::body::{Media, Pointers, ReadFault, Value};

use crate::reader::{Found, pointers_and_body, read, tokens};

/// What forms are made of, and what breaks them.
pub const DICTIONARY: &[&str] = &[
    "&", "=", "+", "%", "%2", "%26", "%3D", "%2b", "%C3%A9", "%ff", "%00", "%zz", "a=", "b=", "&a=1", "&%61=2",
    "a%20b", "/a", "/b", "/a b", "/", "\t", "\n", "~1", "é", ";", "[]", "\u{0}",
];

/// # Panics
///
/// When the answer depends on how the body is cut into pieces, or is not what a split at each `&` and `=` gives.
pub fn target(data: &[u8]) {
    let (pointers, body) = pointers_and_body(data);
    match (read(Media::Form, &pointers, body), fields(body)) {
        (Ok(values), Some(fields)) => {
            for (value, expected) in values.iter().zip(wanted(&pointers, &fields)) {
                let expected: Vec<_> = expected.iter().map(|text| str::from_utf8(text).ok()).collect();
                let is_it = match (value, expected.as_slice()) {
                    (Some(Found::Text(found)), [Some(expected)]) => found == expected,
                    (None, []) => true,
                    _ => false,
                };
                assert!(is_it, "{value:?} is not {expected:?}");
            }
        }
        (Err(fault), Some(fields)) => {
            let wanted = wanted(&pointers, &fields);
            let mut values = wanted.iter().flatten();
            let is_so = match fault {
                ReadFault::Duplicate => wanted.iter().any(|values| values.len() > 1),
                ReadFault::TooLong => values.any(|value| value.len() > Value::BYTES_MAX),
                ReadFault::Malformed { .. } => values.any(|value| str::from_utf8(value).is_err()),
                _ => false,
            };
            assert!(is_so, "{fault:?}, although it is a form");
        }
        (judged, None) => assert!(judged.is_err(), "accepted with an escape that is none"),
    }
}

/// Names and values; `None` if an escape is none.
fn fields(body: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let parts = body.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    let field = |part: &[u8]| {
        let mut halves = part.splitn(2, |byte| *byte == b'=');
        let name = decode(halves.next().unwrap_or_default())?;
        Some((name, decode(halves.next().unwrap_or_default())?))
    };
    parts.map(field).collect()
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut pieces = text.split(|byte| *byte == b'%');
    let blank = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
    let mut decoded: Vec<u8> = pieces.next()?.iter().map(blank).collect();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        // The library's parser takes a sign too.
        let digits = str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend(rest.iter().map(blank));
    }
    Some(decoded)
}

/// For each pointer, the values of all fields of its name.
fn wanted<'f>(pointers: &Pointers, fields: &'f [(Vec<u8>, Vec<u8>)]) -> Vec<Vec<&'f [u8]>> {
    let of = |name: &str| {
        let named = fields.iter().filter(|(found, _)| found == name.as_bytes());
        named.map(|(_, value)| value.as_slice()).collect()
    };
    let wanted = |pointer| match tokens(pointer).as_slice() {
        [name] => of(name),
        _ => Vec::new(),
    };
    pointers.iter().map(wanted).collect()
}
