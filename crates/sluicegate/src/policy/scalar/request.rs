//! What a request is told by: attributes of a key, methods, hosts and paths.

use std::net::Ipv6Addr;

use http::{HeaderName, Method};
use serde_json::{Value, json};

use super::super::checked::KeyPart;
use super::super::nearest::nearest;
use super::{Scalar, Wrong, wrong};

impl Scalar for KeyPart {
    const EXPECTED: &'static str = "ip, route, method, host or header.NAME";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(name) = text.strip_prefix("header.") {
            return HeaderName::from_bytes(name.as_bytes()).map(Self::Header).or_else(|_| {
                wrong(
                    "names no header",
                    "write header. and the header's name, as in header.x-api-key",
                )
            });
        }
        match text {
            "ip" => Ok(Self::Ip),
            "route" => Ok(Self::Route),
            "method" => Ok(Self::Method),
            "host" => Ok(Self::Host),
            _ => {
                let stem = text.split(['.', ':']).next().unwrap_or_default();
                if KEYS_TO_COME.contains(&stem) {
                    return wrong(
                        "is not offered yet as a key",
                        "use ip, route, method, host or header.NAME",
                    );
                }
                let remedy = match nearest(text, KEYS) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "use ip, route, method, host or header.NAME".to_owned(),
                };
                wrong("is no attribute of a request", remedy)
            }
        }
    }

    fn grammar() -> Value {
        json!({ "anyOf": [{ "enum": KEYS }, { "type": "string", "pattern": "^header\\.[!#$%&'*+.^_`|~0-9A-Za-z-]+$" }] })
    }
}

const KEYS: [&str; 4] = ["ip", "route", "method", "host"];

/// Attributes that later versions will know.
const KEYS_TO_COME: [&str; 14] = [
    "client",
    "user",
    "tenant",
    "tier",
    "key",
    "certificate",
    "fingerprint",
    "ja4",
    "jwt",
    "body",
    "query",
    "cookie",
    "path",
    "asn",
];

impl Scalar for Method {
    const EXPECTED: &'static str = "a method such as GET";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "*" {
            return wrong("is no method", "leave `methods` out for every method");
        }
        let upper = text.to_ascii_uppercase();
        if text != upper {
            // RFC 9110, section 9.1: methods are case-sensitive, and all that are registered are in capitals.
            return wrong(
                "would match no request: methods are in capitals",
                format!("write {upper}"),
            );
        }
        Self::from_bytes(text.as_bytes()).or_else(|_| wrong("is no method", "write one such as GET or POST"))
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Z-]+$", "examples": ["GET", "POST"] })
    }
}

/// A canonical host, or `*.` and a host for every name below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct HostPattern(pub(in crate::policy) String);

impl Scalar for HostPattern {
    const EXPECTED: &'static str = "a host such as api.example.com";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if host == "*" {
            return wrong("is every host", "leave `hosts` out for every host");
        }
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return match address.parse::<Ipv6Addr>() {
                Ok(address) => Ok(Self(format!("[{address}]"))),
                Err(_) => wrong("has no IPv6 address in its brackets", "write it as in [2001:db8::1]"),
            };
        }
        if host.parse::<Ipv6Addr>().is_ok() {
            return wrong("is an IPv6 address without brackets", format!("write [{host}]"));
        }
        if host.contains("://") || host.contains('/') {
            return wrong(
                "is more than a host",
                "write the host alone; paths have a field of their own",
            );
        }
        if host.contains(':') {
            return wrong("has a port", "write the host alone; its port does not matter");
        }
        if !host.is_ascii() {
            return wrong("is not in ASCII", "write the name as it travels, `xn--…`");
        }
        let name = host.strip_prefix("*.").unwrap_or(&host);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        // RFC 1035, section 2.3.4: 63 octets a label, 253 characters in all.
        if name.len() > 253 || !name.split('.').all(is_label) {
            return wrong(
                "is no host",
                "write a name such as api.example.com, or *.example.com for every name below",
            );
        }
        Ok(Self(host))
    }

    fn grammar() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 255, "examples": ["api.example.com", "*.example.com"] })
    }
}

/// A path pattern: literal segments, `{name}` for one segment, a last `{*name}` for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct PathPattern(pub(in crate::policy) String);

impl Scalar for PathPattern {
    const EXPECTED: &'static str = "a path such as /items/{id}";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let Some(path) = text.strip_prefix('/') else {
            return wrong("does not begin with /", format!("write /{}", text.trim_start()));
        };
        if text.len() > PATH_MAX {
            return wrong(format!("has {} bytes", text.len()), format!("keep it to {PATH_MAX}"));
        }
        if let Some(c) = text.chars().find(|c| !matches!(c, '!'..='~')) {
            return wrong(
                format!("has the character {c:?}"),
                "write it percent-encoded, as it travels",
            );
        }
        if text.contains(['?', '#']) {
            return wrong(
                "has a query or fragment",
                "write the path alone; routes do not look at queries",
            );
        }
        let segments: Vec<&str> = path.split('/').collect();
        for (index, segment) in segments.iter().enumerate() {
            let Some(inner) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
                if segment.contains(['{', '}']) {
                    return wrong(
                        "has a brace inside a segment",
                        "a {name} stands for a whole segment, between two slashes",
                    );
                }
                if *segment == "*" || *segment == "**" {
                    return wrong(
                        "has a bare star",
                        "write {name} for one segment, {*name} at the end for the rest",
                    );
                }
                continue;
            };
            let name = inner.strip_prefix('*').unwrap_or(inner);
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return wrong(
                    "has a parameter without a plain name",
                    "name it with letters, digits and _, as in {id}",
                );
            }
            if inner.starts_with('*') && index + 1 < segments.len() {
                return wrong(
                    format!("has {{*{name}}} before its end"),
                    "only the last segment can stand for the rest",
                );
            }
        }
        Ok(Self(text.to_owned()))
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^/[!-~]*$", "maxLength": PATH_MAX, "examples": ["/items/{id}", "/{*rest}"] })
    }
}

/// Bytes of a path pattern; longer paths do not pass common proxies.
const PATH_MAX: usize = 2_048;
