//! Members of a JSON body: found, or refused, as a reader that holds the whole document would.
//!
//! An input is a line of pointers between tabs, and a body.

use sluicegate::body::{Media, Pointers, ReadFault, ResponseReader, Value};

use crate::reader::{At, Found, Node, is_beyond_serde_json, pointers_and_body, read, read_response};

/// What JSON and pointers are made of, and what breaks them.
pub const DICTIONARY: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\\"",
    "\\u0061",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\udc00",
    "\\n",
    "/",
    "~0",
    "~1",
    "~2",
    "\t",
    "\n",
    "/a",
    "/b",
    "/0",
    "/1",
    "\"a\":",
    "\"b\":",
    "\"a\":{",
    ",\"a\":1",
    "[{\"a\":",
    "[[",
    "{\"b\":[1,2]}",
    "true",
    "false",
    "null",
    "0",
    "-1",
    "1.5",
    "1e3",
    "E+",
    "18446744073709551616",
    "é",
    "\u{1f600}",
    "\u{feff}",
    "\u{0}",
    "\u{7f}",
    "\u{1f}",
];

/// # Panics
///
/// When the answer depends on how the body is cut into pieces; when a body is accepted, refused or found to hold other than
/// serde_json says; when a value that was found in a beginning is not found in the whole.
pub fn target(data: &[u8]) {
    let (pointers, body) = pointers_and_body(data);
    let judged = read(Media::Json, &pointers, body);
    check_judgement(&judged, &pointers, body);

    let response = read_response(Media::Json, &pointers, body);
    let mut reader = ResponseReader::new(Media::Json, &pointers).expect("responses are JSON");
    reader.feed(body);
    assert_eq!(reader.is_whole(), judged.is_ok(), "whole otherwise as a response");
    if let Ok(values) = &judged {
        assert_eq!(*values, response, "read otherwise as a response");
    }
    let beginning = &body[..body.len() / 2];
    for (early, late) in read_response(Media::Json, &pointers, beginning).iter().zip(&response) {
        assert!(early.is_none() || early == late, "{early:?} became {late:?}");
    }
}

fn check_judgement(judged: &Result<Vec<Option<Found>>, ReadFault>, pointers: &Pointers, body: &[u8]) {
    let document = match serde_json::from_slice::<Node>(body) {
        Ok(document) => document,
        Err(error) => {
            assert!(judged.is_err() || is_beyond_serde_json(&error), "accepted: {error}");
            return;
        }
    };
    let places: Vec<_> = pointers.iter().map(|pointer| document.at(pointer)).collect();
    match judged {
        Ok(values) => {
            for (value, place) in values.iter().zip(places) {
                let is_it = match (value, &place) {
                    (Some(found), At::One(node)) => node.is(found),
                    (None, At::Nothing) => true,
                    _ => false,
                };
                assert!(is_it, "{value:?} is not {place:?}");
            }
        }
        Err(ReadFault::Duplicate) => assert!(places.contains(&At::Many), "nothing stands there twice"),
        Err(ReadFault::TooLong) => assert!(body.len() > Value::BYTES_MAX, "nothing is that long"),
        Err(_) => assert_eq!(judged.as_ref().err(), None, "although it is JSON"),
    }
}
