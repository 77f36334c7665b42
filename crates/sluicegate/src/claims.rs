//! What a client writes into its query and its cookies, looked up without allocating.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName};

/// What a request says in a place that should say it once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim<T> {
    Absent,
    One(T),
    /// Two claims, of which neither is believed: servers differ in which one they take.
    Several,
}

impl<T> Claim<T> {
    /// What is claimed once.
    pub(crate) fn one(self) -> Option<T> {
        match self {
            Self::One(value) => Some(value),
            Self::Absent | Self::Several => None,
        }
    }

    fn of(mut values: impl Iterator<Item = T>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(value), None) => Self::One(value),
            (Some(_), Some(_)) => Self::Several,
        }
    }
}

/// A parameter of a query, decoded once: `%41` is `A`, `+` is a blank, as forms write them. What is no escape stays as it is.
///
/// Borrowed where nothing is to be decoded.
pub(crate) fn parameter<'q>(query: &'q str, name: &str) -> Claim<Cow<'q, [u8]>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let values = pairs.filter(|(written, _)| decoded(written).eq(name.bytes()));
    match Claim::of(values.map(|(_, value)| value)) {
        Claim::One(value) if value.contains(['%', '+']) => Claim::One(Cow::Owned(decoded(value).collect())),
        Claim::One(value) => Claim::One(Cow::Borrowed(value.as_bytes())),
        Claim::Absent => Claim::Absent,
        Claim::Several => Claim::Several,
    }
}

/// The bytes that a part of a query stands for.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut left = text.as_bytes();
    std::iter::from_fn(move || {
        let (&first, rest) = left.split_first()?;
        if let (b'%', [high, low, rest @ ..]) = (first, rest)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            left = rest;
            return Some(high << 4 | low);
        }
        left = rest;
        Some(if first == b'+' { b' ' } else { first })
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// The header that cookies stand in.
pub(crate) static COOKIE: HeaderName = header::COOKIE;

/// A cookie's value as it stands (RFC 6265, section 4.2.1), over all lines, into which HTTP/2 may split them.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Claim<&'h [u8]> {
    let lines = headers.get_all(&COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let pairs = pairs.filter_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        Some((pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii()))
    });
    Claim::of(
        pairs
            .filter(|(written, _)| *written == name.as_bytes())
            .map(|(_, value)| value),
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a table reads better without a borrow in each line"
    )]
    fn check(query: &str, expected: Claim<&str>) {
        let expected = match expected {
            Claim::One(text) => Claim::One(Cow::Borrowed(text.as_bytes())),
            Claim::Absent => Claim::Absent,
            Claim::Several => Claim::Several,
        };
        assert_eq!(parameter(query, "a b"), expected, "{query}");
    }

    #[test]
    fn a_parameter_is_decoded_once() {
        for query in ["a+b=x", "a%20b=x", "c=d&a%20b=x&&=", "a+b=%78", "%61+b=x"] {
            check(query, Claim::One("x"));
        }
        check("a+b=1%2B1+1", Claim::One("1+1 1"));
        check("a+b=%2578", Claim::One("%78"));
        check("a+b=%zz%4", Claim::One("%zz%4"));
        check("a+b", Claim::One(""));
        check("a+b=x=y", Claim::One("x=y"));
    }

    #[test]
    fn two_claims_are_none_however_they_are_written() {
        check("a+b=x&a%20b=x", Claim::Several);
        check("a b=1&a+b=2", Claim::Several);
        check("", Claim::Absent);
        check("A+b=x", Claim::Absent);
        check("a+b;c=x", Claim::Absent);
    }

    #[test]
    fn what_needs_no_decoding_is_not_copied() {
        assert!(matches!(parameter("c=%20&a=x", "a"), Claim::One(Cow::Borrowed(b"x"))));
    }

    #[test]
    fn a_cookie_is_found_in_any_line_and_believed_once() {
        let headers = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(&COOKIE, HeaderValue::from_static(line));
            }
            headers
        };
        for lines in [&["a=1"][..], &["b=2; a=1"], &["b=2", "a=1"], &["  a = 1 ;c"]] {
            assert_eq!(cookie(&headers(lines), "a"), Claim::One(&b"1"[..]), "{lines:?}");
        }
        for lines in [&["a=1; a=1"][..], &["a=1", "a=2"]] {
            assert_eq!(cookie(&headers(lines), "a"), Claim::Several, "{lines:?}");
        }
        for lines in [&[][..], &["A=1"], &["aa=1"], &["a"]] {
            assert_eq!(cookie(&headers(lines), "a"), Claim::Absent, "{lines:?}");
        }
    }
}
