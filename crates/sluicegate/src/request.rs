//! What the limiter looks at: one request, in one reading.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, Method};

/// A request as every door presents it.
///
/// `host` and `path` are the forms that the door also forwards; two readings of one request would be a way around a
/// limit.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Case-sensitive, as on the wire.
    pub method: &'a Method,
    /// Canonical (see [`canonical_host`]); empty where the request names none.
    pub host: &'a str,
    /// Begins with `/`; without query.
    pub path: &'a str,
    /// The socket's other end; `None` where it has no address, as on a Unix socket.
    pub peer: Option<IpAddr>,
    /// The header lines.
    pub headers: &'a HeaderMap,
}

/// A host in the one form in which it is compared: lower case, without a trailing dot, without the scheme's own port.
///
/// `A.example`, `a.example.` and `a.example:80` are the same host over clear text. Borrowed where nothing changes.
///
/// ```
/// assert_eq!(sluicegate::canonical_host("A.Example.:80", 80), "a.example");
/// assert_eq!(sluicegate::canonical_host("[2001:DB8::1]:8080", 80), "[2001:db8::1]:8080");
/// ```
pub fn canonical_host(authority: &str, default_port: u16) -> Cow<'_, str> {
    // A port stands after the last colon, unless that colon is inside an IPv6 address's brackets.
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (authority, None),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let port = port.filter(|port| !port.is_empty() && port.parse() != Ok(default_port));
    let host = match port {
        None => Cow::Borrowed(name),
        Some(port) if name.len() + 1 + port.len() == authority.len() => Cow::Borrowed(authority),
        Some(port) => Cow::Owned(format!("{name}:{port}")),
    };
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T14 of the threat list: spellings of one host.
    #[test]
    fn spellings_of_one_host_are_one() {
        for spelling in [
            "a.example",
            "A.example",
            "a.example.",
            "a.example:80",
            "A.EXAMPLE.:80",
            "a.example:",
        ] {
            assert_eq!(canonical_host(spelling, 80), "a.example", "{spelling}");
        }
    }

    #[test]
    fn another_port_is_another_host() {
        assert_eq!(canonical_host("a.example:8080", 80), "a.example:8080");
        assert_eq!(canonical_host("a.example.:8080", 80), "a.example:8080");
        assert_eq!(canonical_host("[::1]", 80), "[::1]");
        assert_eq!(canonical_host("[::1]:80", 80), "[::1]");
    }
}
