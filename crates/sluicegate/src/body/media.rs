//! Which reader a body belongs to.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::fault::ReadFault;

/// What a body says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Media {
    /// `application/json`, and every type whose suffix says that it is JSON (RFC 6839, section 3.1).
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `text/event-stream`.
    EventStream,
}

impl Media {
    /// What the headers of a request or response say about its body.
    ///
    /// Nothing is guessed from the body itself. A charset other than UTF-8, a content encoding other than `identity`, more
    /// than one `Content-Type`, none, and one that breaks the grammar of RFC 9110, section 8.3.1, are all unsupported: what
    /// we cannot read must not be a way around a rule.
    ///
    /// # Errors
    ///
    /// [`ReadFault::Unsupported`]: a request is answered with 415, a response cannot be settled from.
    pub fn of(headers: &HeaderMap) -> Result<Self, ReadFault> {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (Some(value), None) = (types.next(), types.next()) else {
            return Err(ReadFault::Unsupported);
        };
        let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
        if !encodings.all(is_identity) {
            return Err(ReadFault::Unsupported);
        }
        value.to_str().ok().and_then(parse).ok_or(ReadFault::Unsupported)
    }
}

/// RFC 9110, section 8.4: a list of codings; `identity` is none.
fn is_identity(value: &HeaderValue) -> bool {
    let is_none = |coding: &str| {
        let coding = coding.trim_matches(BLANKS);
        coding.is_empty() || coding.eq_ignore_ascii_case("identity")
    };
    value.to_str().is_ok_and(|text| text.split(',').all(is_none))
}

/// RFC 9110, section 8.3.1: `media-type = type "/" subtype parameters`.
fn parse(text: &str) -> Option<Media> {
    let (essence, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
    let media = media(essence.trim_matches(BLANKS))?;
    let mut has_charset = false;
    // Section 5.6.6: `parameters = *( OWS ";" OWS [ parameter ] )`.
    loop {
        rest = rest.trim_start_matches(BLANKS);
        if rest.is_empty() {
            return Some(media);
        }
        rest = rest.strip_prefix(';')?.trim_start_matches(BLANKS);
        if rest.is_empty() || rest.starts_with(';') {
            continue;
        }
        let (name, after) = token(rest)?;
        let (value, after) = value(after.strip_prefix('=')?)?;
        if name.eq_ignore_ascii_case("charset") {
            let is_first = !std::mem::replace(&mut has_charset, true);
            (is_first && value.eq_ignore_ascii_case("utf-8")).then_some(())?;
        }
        rest = after;
    }
}

fn media(essence: &str) -> Option<Media> {
    let (kind, subtype) = essence.split_once('/')?;
    let is = |expected: &str| essence.eq_ignore_ascii_case(expected);
    let is_token = |text| token(text).is_some_and(|(_, after)| after.is_empty());
    let suffix = subtype.rsplit_once('+').filter(|(before, _)| !before.is_empty());
    if is("application/json") {
        Some(Media::Json)
    } else if is("application/x-www-form-urlencoded") {
        Some(Media::Form)
    } else if is("text/event-stream") {
        Some(Media::EventStream)
    } else if is_token(kind) && is_token(subtype) && suffix.is_some_and(|(_, it)| it.eq_ignore_ascii_case("json")) {
        Some(Media::Json)
    } else {
        None
    }
}

/// The token that `text` begins with, and what follows it (RFC 9110, section 5.6.2).
fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// The value that `text` begins with, and what follows it. No charset and no boundary needs a backslash in its quotes, so a
/// value with one is not read.
fn value(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('"') {
        Some(inner) => inner.split_once('"').filter(|(value, _)| !value.contains('\\')),
        None => token(text),
    }
}

/// RFC 9110, section 5.6.3.
const BLANKS: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[(&'static str, &'static str)], expected: Option<Media>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        assert_eq!(Media::of(&headers).ok(), expected, "{lines:?}");
    }

    #[track_caller]
    fn check_type(value: &'static str, expected: Option<Media>) {
        check(&[("content-type", value)], expected);
    }

    #[test]
    fn the_type_says_how_a_body_is_read() {
        check_type("application/json", Some(Media::Json));
        check_type("Application/JSON", Some(Media::Json));
        check_type("application/problem+json", Some(Media::Json));
        check_type("application/vnd.api+v2+JSON", Some(Media::Json));
        check_type("application/x-www-form-urlencoded", Some(Media::Form));
        check_type("text/event-stream", Some(Media::EventStream));
        for value in [
            "",
            "json",
            "text/json",
            "text/plain",
            "application/json5",
            "application/jsonl",
            "application/x-ndjson",
            "application/+json",
            "application/a b+json",
            "multipart/form-data; boundary=x",
            "application/xml",
            "application/json, text/plain",
            "*/*",
        ] {
            check_type(value, None);
        }
    }

    #[test]
    fn the_charset_is_utf8_or_not_said() {
        for value in [
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "application/json ; charset=\"utf-8\" ; version=1",
            "application/json; profile=\"a;b, c\"; charset=utf-8",
            "application/json;",
            "application/json; ;charset=utf-8;",
        ] {
            check_type(value, Some(Media::Json));
        }
        for value in [
            "application/json; charset=utf-16",
            "application/json; charset=iso-8859-1",
            "application/json; charset=utf-8; charset=utf-16",
            "application/json; charset=utf-8; charset=utf-8",
            "application/json; charset=",
            "application/json; charset",
            "application/json; charset=\"utf-8",
            "application/json; charset=\"ut\\f-8\"",
            "application/json; charset=utf-8, text/plain",
            "application/json charset=utf-8",
        ] {
            check_type(value, None);
        }
    }

    #[test]
    fn an_encoded_body_is_not_read() {
        let json = ("content-type", "application/json");
        check(&[json, ("content-encoding", "identity")], Some(Media::Json));
        check(&[json, ("content-encoding", "Identity, ")], Some(Media::Json));
        for encoding in ["gzip", "identity, br", "deflate", "zstd", "x"] {
            check(&[json, ("content-encoding", encoding)], None);
        }
        check(
            &[json, ("content-encoding", "identity"), ("content-encoding", "gzip")],
            None,
        );
    }

    #[test]
    fn a_body_of_no_type_or_two_is_not_read() {
        check(&[], None);
        check(
            &[
                ("content-type", "application/json"),
                ("content-type", "application/json"),
            ],
            None,
        );
    }
}
