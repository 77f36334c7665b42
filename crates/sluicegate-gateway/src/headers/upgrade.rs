//! Going over to another protocol on the same connection: what a client offers, and what a server takes up.
//!
//! Source: RFC 9110 §7.8 (`Upgrade`), §15.2.2 (101), RFC 9112 §9.6.

use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

/// The protocols that a request offers to go over to, without those that are not passed on; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer(HeaderValue);

impl Offer {
    /// `None` where the request stays what it is: `Connection` and `Upgrade` must both ask for it, and no HTTP before 1.1
    /// knows of it. Call it before [`strip_request`](super::strip_request).
    #[inline]
    pub(crate) fn of(version: Version, headers: &HeaderMap) -> Option<Self> {
        if !headers.contains_key(UPGRADE) {
            return None;
        }
        Self::read(version, headers)
    }

    #[cold]
    fn read(version: Version, headers: &HeaderMap) -> Option<Self> {
        if version != Version::HTTP_11 || !tokens(headers, &CONNECTION).any(is_upgrade) {
            return None;
        }
        let mut kept = Vec::new();
        for protocol in tokens(headers, &UPGRADE).filter(|protocol| is_protocol(protocol) && !is_http(protocol)) {
            if !kept.is_empty() {
                kept.extend_from_slice(b", ");
            }
            kept.extend_from_slice(protocol);
        }
        if kept.is_empty() {
            return None;
        }
        HeaderValue::try_from(kept).ok().map(Self)
    }

    /// Makes the offer to the server. Call it after [`strip_request`](super::strip_request).
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, UPGRADE_OPTION);
        headers.insert(UPGRADE, self.0.clone());
    }

    /// What the server goes over to, by the head of its 101; `None` if that is not what was offered.
    pub(crate) fn taken_up(&self, answer: &HeaderMap) -> Option<Switch> {
        let offered = |protocol: &[u8]| split(&self.0).any(|offer| offer.eq_ignore_ascii_case(protocol));
        let mut protocols = tokens(answer, &UPGRADE).peekable();
        protocols.peek()?;
        if !protocols.all(offered) || !tokens(answer, &CONNECTION).any(is_upgrade) {
            return None;
        }
        // More than one line is a layering of protocols, which clients read from one line as well.
        let lines: Vec<&[u8]> = answer.get_all(UPGRADE).iter().map(HeaderValue::as_bytes).collect();
        HeaderValue::try_from(lines.join(&b", "[..])).ok().map(Switch)
    }
}

/// The protocols that a server has gone over to, as the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Switch(HeaderValue);

impl Switch {
    /// Tells the client. Call it after [`strip_answer`](super::strip_answer).
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        // A 101 has no body, and what follows it is not HTTP: a length could only mislead.
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONNECTION, UPGRADE_OPTION);
        headers.insert(UPGRADE, self.0);
    }
}

const UPGRADE_OPTION: HeaderValue = HeaderValue::from_static("upgrade");

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().flat_map(split)
}

fn split(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let parts = line.as_bytes().split(|&byte| byte == b',');
    parts.map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

fn is_upgrade(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"upgrade")
}

/// Whether it is HTTP by another name, in the clear or under TLS: its requests would pass inside the tunnel, counted by
/// no limit and cleared of no header.
fn is_http(protocol: &[u8]) -> bool {
    let name = protocol.split(|&byte| byte == b'/').next().unwrap_or_default();
    [&b"http"[..], b"h2c", b"h2", b"h3", b"tls"]
        .iter()
        .any(|http| name.eq_ignore_ascii_case(http))
}

/// `name` or `name/version`, each a token (RFC 9110 §5.6.2).
fn is_protocol(text: &[u8]) -> bool {
    let mut parts = text.split(|&byte| byte == b'/');
    let is_token = |part: &[u8]| !part.is_empty() && part.iter().copied().all(is_token_byte);
    parts.next().is_some_and(is_token) && parts.next().is_none_or(is_token) && parts.next().is_none()
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn offer(lines: &[(&'static str, &'static str)]) -> Option<Offer> {
        Offer::of(Version::HTTP_11, &map(lines))
    }

    #[track_caller]
    fn check_offer(connection: &'static str, upgrade: &'static str, expected: Option<&'static str>) {
        let found = offer(&[("connection", connection), ("upgrade", upgrade)]);
        assert_eq!(found, expected.map(|value| Offer(HeaderValue::from_static(value))));
    }

    #[test]
    fn connection_and_upgrade_must_both_say_so() {
        check_offer("Upgrade", "websocket", Some("websocket"));
        check_offer("keep-alive, UPGRADE", "WebSocket", Some("WebSocket"));
        check_offer("keep-alive", "websocket", None);
        check_offer("upgrades", "websocket", None);
        check_offer("upgrade", "", None);
        assert_eq!(offer(&[("connection", "upgrade")]), None);
        assert_eq!(offer(&[("upgrade", "websocket")]), None);
    }

    #[test]
    fn no_version_before_1_1_can_ask_for_it() {
        let lines = map(&[("connection", "upgrade"), ("upgrade", "websocket")]);
        assert_eq!(Offer::of(Version::HTTP_10, &lines), None);
    }

    /// Requests inside such a tunnel would be counted by no limit.
    #[test]
    fn http_by_another_name_is_not_passed_on() {
        for http in ["h2c", "H2C", "h2", "h3", "HTTP/2.0", "http", "TLS/1.0", "tls/1.3"] {
            let lines = map(&[("connection", "upgrade, http2-settings"), ("upgrade", http)]);
            assert_eq!(Offer::of(Version::HTTP_11, &lines), None, "{http}");
        }
        check_offer("upgrade", "h2c, websocket, TLS/1.2", Some("websocket"));
    }

    #[test]
    fn what_is_no_protocol_is_left_out() {
        check_offer("upgrade", "a b, foo/1, /, a/, /b, a/b/c, (x)", Some("foo/1"));
        check_offer("upgrade", ",, ;", None);
    }

    #[test]
    fn a_server_may_take_up_only_what_was_offered() {
        let offer = offer(&[("connection", "upgrade"), ("upgrade", "websocket, foo/2")]).expect("an offer");
        for (connection, upgrade, expected) in [
            ("Upgrade", "WebSocket", Some("WebSocket")),
            ("upgrade", "foo/2", Some("foo/2")),
            ("upgrade", "foo/2, websocket", Some("foo/2, websocket")),
            ("upgrade", "foo/1", None),
            ("upgrade", "h2c", None),
            ("upgrade", "websocket, h2c", None),
            ("upgrade", "", None),
            ("keep-alive", "websocket", None),
        ] {
            let answer = map(&[("connection", connection), ("upgrade", upgrade)]);
            let expected = expected.map(|value| Switch(HeaderValue::from_static(value)));
            assert_eq!(offer.taken_up(&answer), expected, "{connection}; {upgrade}");
        }
        assert_eq!(offer.taken_up(&map(&[("connection", "upgrade")])), None);
    }
}
