//! Server-sent events: the last values are those that a reader which holds the whole stream finds.

use std::mem;

use sluicegate::body::{Media, Pointer, Pointers, Value};

use crate::reader::{At, Found, Node, is_beyond_serde_json, read_response};

/// What event streams are made of, and what breaks them.
pub const DICTIONARY: &[&str] = &[
    "data: ",
    "data:",
    "data",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\r\r\n",
    ":",
    ": ",
    " ",
    "event: message\n",
    "id: 1\n",
    "retry: 5\n",
    ": comment\n",
    "\u{feff}",
    "data: [DONE]\n\n",
    "data: {\"n\":1}\n\n",
    "data: {\"usage\":{\"total\":2}}\n\n",
    "{\"n\":",
    "{\"usage\":{\"total\":",
    "null",
    "}",
    "\"",
    "\"n\"",
    ",",
    "3",
    "-4.5",
    "\u{0}",
    "é",
];

/// # Panics
///
/// When the answer depends on how the stream is cut into pieces, or is not what the standard's words make of it.
pub fn target(data: &[u8]) {
    let pointers = ["/usage/total", "/n", "/usage"].map(|text| Pointer::parse(text).expect(text));
    let pointers = Pointers::new(pointers).expect("three are not too many");
    // Where a stream was cut off, more is read than the standard has it: no second reader says how much.
    let _ = read_response(Media::EventStream, &pointers, data);
    let ended = [data, b"\n\n"].concat();
    let found = read_response(Media::EventStream, &pointers, &ended);
    if let Some(expected) = last_values(&pointers, &ended) {
        for (found, expected) in found.iter().zip(&expected) {
            let is_it = match (found, expected) {
                (Some(found), Some(expected)) => expected.is(found),
                (None, None) => true,
                _ => false,
            };
            assert!(is_it, "{found:?} is not {expected:?}");
        }
    }
}

/// The last values that are not `null`; `None` where serde_json or a bound of ours would have another say.
///
/// Source: WHATWG HTML, section 9.2.6.
fn last_values(pointers: &Pointers, stream: &[u8]) -> Option<Vec<Option<Node>>> {
    let mut last = vec![None; pointers.len()];
    let mut data = Vec::new();
    for line in lines(stream) {
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[..0]),
        };
        if name == b"data" {
            data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            data.push(b'\n');
        }
        if !line.is_empty() {
            continue;
        }
        let event = mem::take(&mut data);
        if event.len() > Value::BYTES_MAX {
            return None;
        }
        let document = match serde_json::from_slice::<Node>(&event) {
            Ok(document) => document,
            Err(error) if is_beyond_serde_json(&error) => return None,
            Err(_) => continue,
        };
        let places: Vec<_> = pointers.iter().map(|pointer| document.at(pointer)).collect();
        if places.contains(&At::Many) {
            continue;
        }
        for (last, place) in last.iter_mut().zip(places) {
            match place {
                At::One(Node::Scalar(Found::Null)) => {}
                At::One(node) => *last = Some(node.clone()),
                _ => {}
            }
        }
    }
    Some(last)
}

/// The lines of a stream that ends with one, without their ends.
fn lines(stream: &[u8]) -> Vec<&[u8]> {
    let mut rest = stream.strip_prefix("\u{feff}".as_bytes()).unwrap_or(stream);
    let mut lines = Vec::new();
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        lines.push(&rest[..end]);
        let length = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + length..];
    }
    lines
}
