//! What the limiter looks at: one request, in one reading.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, Method};

/// A request as every door presents it.
///
/// `host` and `path` are the forms that the door also forwards; two readings of one request would be a way around a
/// limit. Doors of this project see to it; a program that asks by itself does so too.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Case-sensitive, as on the wire.
    pub method: &'a Method,
    /// Canonical (see [`canonical_host`]); empty where the request names none.
    pub host: &'a str,
    /// In the one form that [`Limiter::canonical_path`](crate::Limiter::canonical_path) gives; without query. Any other spelling is
    /// another path to the limiter, and a way around where a server takes both for one.
    pub path: &'a str,
    /// What stands behind the path's `?`, as it was written; empty where nothing does.
    pub query: &'a str,
    /// The socket's other end; `None` where it has no address, as on a Unix socket.
    pub peer: Option<IpAddr>,
    /// The header lines.
    pub headers: &'a HeaderMap,
}

/// A host in the one form in which it is compared: lower case, without a port, without the dot that ends a full name, and
/// without what may stand before an `@`.
///
/// Every port goes, not only the scheme's own: where a client connected to is its choice as little as it is ours, but which
/// port it *writes* is, and must neither make another key nor miss a route's host. Borrowed where nothing changes.
///
/// ```
/// assert_eq!(sluicegate::canonical_host("A.Example.:8080"), "a.example");
/// assert_eq!(sluicegate::canonical_host("[2001:DB8::1]:443"), "[2001:db8::1]");
/// ```
pub fn canonical_host(authority: &str) -> Cow<'_, str> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some((address_text, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match address_text.parse::<Ipv6Addr>() {
            Ok(address) => bracketed(address, &host[..address_text.len() + 2]),
            Err(_) => Cow::Borrowed(host),
        };
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_end_matches('.');
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The one spelling of an IPv6 address, borrowed if it is the one that was written.
fn bracketed(address: Ipv6Addr, written: &str) -> Cow<'_, str> {
    let spelling = format!("[{address}]");
    if spelling == written {
        Cow::Borrowed(written)
    } else {
        Cow::Owned(spelling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T14 of the threat list.
    #[test]
    fn every_spelling_of_a_host_is_one() {
        for spelling in [
            "a.example",
            "A.Example",
            "a.example.",
            "a.example..",
            "a.example:",
            "a.example:80",
            "A.example.:8080",
            "user@a.example",
        ] {
            assert_eq!(canonical_host(spelling), "a.example", "{spelling}");
        }
        for spelling in ["[2001:db8::1]", "[2001:DB8::1]", "[2001:db8::1]:443", "[2001:db8:0::1]"] {
            assert_eq!(canonical_host(spelling), "[2001:db8::1]", "{spelling}");
        }
    }

    #[test]
    fn a_canonical_host_is_not_copied() {
        assert!(matches!(canonical_host("a.example:8080"), Cow::Borrowed("a.example")));
    }

    #[test]
    fn rubbish_does_not_panic() {
        for rubbish in ["", ":", "@", "[", "[]", "]:", "[:", "é:é", "..", "a@b@c:d:e"] {
            let _ = canonical_host(rubbish);
        }
    }
}
