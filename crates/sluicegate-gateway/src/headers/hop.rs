//! Headers that end at this hop, and claims that a client has no right to make.
//!
//! Most requests carry nothing of all this. One pass over the names finds out what is there, and only that is removed:
//! twenty blind removals would cost twenty hashes.
//!
//! Source: RFC 9110 §7.6.1 (`Connection` and the fields it names), §10.1.4 (`TE`), RFC 9112 §9.

use http::header::{
    CONNECTION, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName};

use super::forwarded::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use super::method::is_override;

/// Removes what ends at this hop, and what only a trusted hop may say about the client: the forwarded headers stay for
/// [`write_forwarded`](super::write_forwarded) to judge, their relatives and imitations go.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    strip(headers, |name| match fate_in_both(name) {
        Fate::Keep => fate_in_request(name),
        fate => fate,
    });
}

/// Removes from an answer what ends at this hop.
pub(crate) fn strip_answer(headers: &mut HeaderMap) {
    strip(headers, fate_in_both);
}

/// What becomes of a header at this hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
    /// `Connection`: goes, and takes with it what it names.
    DropWithNamed,
}

fn fate_in_both(name: &HeaderName) -> Fate {
    match name.as_str() {
        "connection" => Fate::DropWithNamed,
        // `Upgrade` is written anew where an upgrade is passed on; what belongs to h2c never is.
        "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "http2-settings" => Fate::Drop,
        // Proxy-Connection, Proxy-Authenticate, …: between a client and a proxy it chose, which this is not.
        other if other.starts_with("proxy-") => Fate::Drop,
        _ => Fate::Keep,
    }
}

fn fate_in_request(name: &HeaderName) -> Fate {
    let name = name.as_str();
    match name {
        // `Expect` is answered here: hyper sends the 100 when the upstream connection first asks for the body. `Proxy` a
        // CGI upstream would read as the variable HTTP_PROXY.
        "expect" | "proxy" => Fate::Drop,
        "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" => Fate::Keep,
        _ if has_no_right(name) => Fate::Drop,
        // CGI and WSGI turn `-` into `_`, so that `X_Real_IP` would be read as `X-Real-IP`.
        _ if name.contains('_') && has_no_right(&name.replace('_', "-")) => Fate::Drop,
        _ => Fate::Keep,
    }
}

/// Whether a header, by its name, would make a server believe or do what nobody has counted.
fn has_no_right(name: &str) -> bool {
    is_claim(name) || (name.starts_with('x') && is_override(name))
}

/// Whether a header, by its name, says something about the client's address or its connection that upstreams believe.
fn is_claim(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'x') => {
            name.starts_with("x-forwarded-") || matches!(name, "x-real-ip" | "x-client-ip" | "x-original-forwarded-for")
        }
        Some(b't') => name == "true-client-ip",
        Some(b'c') => name == "cf-connecting-ip",
        // As such it is handled with the forwarded headers; spelt with an underscore it cannot be.
        _ => false,
    }
}

/// What `Connection` may not name away: framing and routing of the message itself, and what this gateway writes.
fn is_protected(name: &HeaderName) -> bool {
    const PROTECTED: [HeaderName; 5] = [HOST, X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, FORWARDED];
    PROTECTED.contains(name) || *name == http::header::CONTENT_LENGTH
}

fn strip(headers: &mut HeaderMap, fate: impl Fn(&HeaderName) -> Fate) {
    // Names found, as a set: bit by place in `COMMON`, and a list for all others, which allocates only when used.
    let mut common = 0_u32;
    let mut others: Vec<HeaderName> = Vec::new();
    for (name, value) in &*headers {
        let fate = fate(name);
        if fate == Fate::Keep {
            continue;
        }
        match COMMON.iter().position(|known| known == name) {
            Some(place) => common |= 1 << place,
            None => others.push(name.clone()),
        }
        if fate == Fate::DropWithNamed {
            others.extend(named(value.as_bytes()));
        }
    }
    for (place, name) in COMMON.iter().enumerate() {
        if common & (1 << place) != 0 {
            headers.remove(name);
        }
    }
    for name in others {
        headers.remove(name);
    }
}

/// The headers that a `Connection` line names, without its options and what is protected.
fn named(line: &[u8]) -> impl Iterator<Item = HeaderName> {
    line.split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty() && !token.eq_ignore_ascii_case(b"close"))
        // Removed by its own name in any case; a client that says only this, as most do, costs no more.
        .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive"))
        // What is no name names nothing.
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !is_protected(name))
}

/// What turns up often enough to be found without allocating.
const COMMON: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").expect("a test's line is `name: value`");
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a test's name is one"),
                HeaderValue::from_str(value).expect("a test's value is one"),
            );
        }
        headers
    }

    #[track_caller]
    fn check(strip: fn(&mut HeaderMap), lines: &[&str], kept: &[&str]) {
        let mut headers = map(lines);
        strip(&mut headers);
        assert_eq!(headers, map(kept));
    }

    #[test]
    fn what_ends_at_this_hop_is_removed_both_ways() {
        let lines = [
            "connection: keep-alive",
            "keep-alive: timeout=5",
            "proxy-connection: keep-alive",
            "proxy-authorization: Basic eA==",
            "proxy-authenticate: Basic",
            "te: trailers",
            "trailer: expires",
            "transfer-encoding: chunked",
            "upgrade: websocket",
            "accept: */*",
        ];
        check(strip_request, &lines, &["accept: */*"]);
        check(strip_answer, &lines, &["accept: */*"]);
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        let lines = [
            "connection: close, X-Secret",
            "connection: x-other",
            "x-secret: 1",
            "x-other: 2",
            "x-third: 3",
        ];
        check(strip_request, &lines, &["x-third: 3"]);
        check(strip_answer, &lines, &["x-third: 3"]);
    }

    #[test]
    fn connection_cannot_name_away_what_the_gateway_stands_on() {
        let named = "connection: host, content-length, x-forwarded-for, x-forwarded-proto, x-forwarded-host, forwarded";
        let rest = [
            "host: a",
            "content-length: 1",
            "x-forwarded-for: 192.0.2.1",
            "forwarded: for=192.0.2.1",
        ];
        let lines = [&[named], &rest[..]].concat();
        check(strip_request, &lines, &rest);
    }

    #[test]
    fn a_connection_line_of_rubbish_names_nothing() {
        check(
            strip_request,
            &["connection: ,, ;, a b, (),", "a: 1", "b: 2"],
            &["a: 1", "b: 2"],
        );
    }

    #[test]
    fn claims_about_the_client_are_removed_in_every_spelling() {
        for name in [
            "x-real-ip",
            "X-Real-IP",
            "x_real_ip",
            "x-real_ip",
            "true-client-ip",
            "True_Client_IP",
            "cf-connecting-ip",
            "cf_connecting_ip",
            "x-client-ip",
            "x-original-forwarded-for",
            "x_original_forwarded_for",
            "x_forwarded_for",
            "x-forwarded_for",
            "X_Forwarded_Host",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "x-forwarded-server",
        ] {
            check(
                strip_request,
                &[&format!("{name}: 203.0.113.9"), "accept: */*"],
                &["accept: */*"],
            );
        }
    }

    /// T17
    #[test]
    fn a_header_that_asks_for_another_method_is_removed_in_every_spelling() {
        for name in [
            "X-HTTP-Method-Override",
            "x-http-method",
            "X-Method-Override",
            "x_http_method_override",
            "X-HTTP_Method",
        ] {
            check(strip_request, &[&format!("{name}: DELETE"), "a: b"], &["a: b"]);
        }
    }

    #[test]
    fn a_proxy_header_does_not_become_a_cgi_variable() {
        check(strip_request, &["proxy: http://evil.example"], &[]);
    }

    #[test]
    fn an_answer_may_say_what_a_request_may_not() {
        let lines = ["x-real-ip: 192.0.2.1", "x-forwarded-for: 192.0.2.1", "expect: x"];
        check(strip_answer, &lines, &lines);
    }

    #[test]
    fn ordinary_headers_are_left_as_they_are() {
        let lines = [
            "host: a",
            "user-agent: b",
            "cookie: c",
            "cookie: d",
            "authorization: e",
            "x_custom: f",
        ];
        check(strip_request, &lines, &lines);
    }
}
