//! Hosts and paths, as routes write them.

use std::net::Ipv6Addr;

use serde_json::{Value, json};

use super::{Scalar, Wrong, wrong};

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
