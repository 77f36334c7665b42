//! What the upstream is told about the client: written here, and never copied from a peer that is not trusted.
//!
//! Source: RFC 7239 (`Forwarded`), and the customary meaning of the older `X-Forwarded-*`.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use sluicegate::address::{is_trusted, plain};
use sluicegate::policy::checked::{ForwardedHeader, Identity};

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who holds the other end of a client connection, as upstreams will read it.
pub(crate) struct Peer {
    trust: Trust,
    /// Which of the two headers is written; the other is removed.
    style: ForwardedHeader,
    /// The address as an element of `X-Forwarded-For`, or as the `for=` of an element of `Forwarded`.
    element: HeaderValue,
    scheme: Scheme,
}

/// How a client speaks to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }
}

/// Whether what a peer forwards is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// A proxy of the operator's own: its list is continued.
    Believed,
    /// Anybody: whatever it says about others is dropped.
    Ignored,
}

impl Peer {
    pub(crate) fn new(address: IpAddr, scheme: Scheme, identity: &Identity) -> Self {
        // By the same functions that find the client: two opinions on who is trusted would be a way around the limits.
        let address = plain(address);
        let trusted = is_trusted(identity, address);
        let style = identity.forwarded_header;
        let text = match (style, address) {
            (ForwardedHeader::XForwardedFor, _) => address.to_string(),
            (ForwardedHeader::Forwarded, IpAddr::V4(address)) => format!("for={address}"),
            // An address with colons has to be quoted, and IPv6 to be in brackets (RFC 7239 §6).
            (ForwardedHeader::Forwarded, IpAddr::V6(address)) => format!("for=\"[{address}]\""),
        };
        Self {
            trust: if trusted { Trust::Believed } else { Trust::Ignored },
            style,
            element: HeaderValue::try_from(text).expect("an address is written in visible ASCII"),
            scheme,
        }
    }

    /// Whether it is a proxy of the operator's own.
    pub(crate) fn is_believed(&self) -> bool {
        self.trust == Trust::Believed
    }
}

/// Writes the forwarded headers of a request that goes to an upstream. Call it after
/// [`strip_request`](super::strip_request), on a request with one `Host`.
pub(crate) fn write_forwarded(headers: &mut HeaderMap, peer: &Peer) {
    match peer.style {
        ForwardedHeader::XForwardedFor => write_x_forwarded(headers, peer),
        ForwardedHeader::Forwarded => write_rfc7239(headers, peer),
    }
}

fn write_x_forwarded(headers: &mut HeaderMap, peer: &Peer) {
    headers.remove(FORWARDED);
    let host = headers.get(HOST).cloned();
    if peer.trust == Trust::Believed {
        let chain = continued(headers, &X_FORWARDED_FOR, &peer.element);
        headers.insert(X_FORWARDED_FOR, chain);
        // The trusted hop knows what the client asked of it, if it says so.
        headers.entry(X_FORWARDED_PROTO).or_insert(peer.scheme.value());
        if let Some(host) = host {
            headers.entry(X_FORWARDED_HOST).or_insert(host);
        }
        return;
    }
    headers.insert(X_FORWARDED_FOR, peer.element.clone());
    headers.insert(X_FORWARDED_PROTO, peer.scheme.value());
    if let Some(host) = host {
        headers.insert(X_FORWARDED_HOST, host);
    }
}

fn write_rfc7239(headers: &mut HeaderMap, peer: &Peer) {
    for unused in [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST] {
        headers.remove(unused);
    }
    let mut element = String::with_capacity(96);
    element.push_str(peer.element.to_str().unwrap_or_default());
    if let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) {
        // A host that passed `settle_host` holds neither quotes nor backslashes.
        let _ = write!(element, ";host=\"{host}\"");
    }
    let _ = write!(element, ";proto={}", peer.scheme.as_str());
    let Ok(element) = HeaderValue::try_from(element) else {
        return;
    };
    let chain = match peer.trust {
        Trust::Believed => continued(headers, &FORWARDED, &element),
        Trust::Ignored => element,
    };
    headers.insert(FORWARDED, chain);
}

/// The list in all lines of `name`, with `element` at its end.
fn continued(headers: &HeaderMap, name: &HeaderName, element: &HeaderValue) -> HeaderValue {
    let mut list = Vec::with_capacity(64);
    for line in headers.get_all(name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    HeaderValue::try_from(list).unwrap_or_else(|_| element.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(trusted: &[&str], forwarded_header: ForwardedHeader) -> Identity {
        Identity {
            trusted_proxies: trusted
                .iter()
                .map(|net| net.parse().expect("a test's network is one"))
                .collect(),
            forwarded_header,
            ..Identity::default()
        }
    }

    #[track_caller]
    fn check(style: ForwardedHeader, peer: &str, lines: &[(&'static str, &str)], expected: &[(&str, &str)]) {
        let peer = Peer::new(
            peer.parse().expect("a test's peer is one"),
            Scheme::Http,
            &identity(&["10.0.0.0/8", "fd00::/8"], style),
        );
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("api.example:8080"));
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a test's value is one"));
        }
        write_forwarded(&mut headers, &peer);
        headers.remove(HOST);
        let mut written: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII")))
            .collect();
        written.sort_unstable();
        assert_eq!(written, expected);
    }

    const OLD: ForwardedHeader = ForwardedHeader::XForwardedFor;
    const NEW: ForwardedHeader = ForwardedHeader::Forwarded;

    #[test]
    fn a_stranger_is_the_client_whatever_it_claims() {
        let claims = [
            ("x-forwarded-for", "198.51.100.7"),
            ("x-forwarded-for", "10.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "admin.example"),
            ("forwarded", "for=198.51.100.7"),
        ];
        check(
            OLD,
            "192.0.2.1",
            &claims,
            &[
                ("x-forwarded-for", "192.0.2.1"),
                ("x-forwarded-host", "api.example:8080"),
                ("x-forwarded-proto", "http"),
            ],
        );
        check(
            NEW,
            "192.0.2.1",
            &claims,
            &[("forwarded", "for=192.0.2.1;host=\"api.example:8080\";proto=http")],
        );
    }

    #[test]
    fn a_trusted_hop_has_its_list_continued() {
        let lines = [
            ("x-forwarded-for", "198.51.100.7"),
            ("x-forwarded-for", "10.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "www.example"),
            ("forwarded", "for=203.0.113.9"),
        ];
        check(
            OLD,
            "10.2.2.2",
            &lines,
            &[
                ("x-forwarded-for", "198.51.100.7, 10.1.1.1, 10.2.2.2"),
                ("x-forwarded-host", "www.example"),
                ("x-forwarded-proto", "https"),
            ],
        );
        check(
            NEW,
            "10.2.2.2",
            &lines,
            &[(
                "forwarded",
                "for=203.0.113.9, for=10.2.2.2;host=\"api.example:8080\";proto=http",
            )],
        );
    }

    #[test]
    fn a_trusted_hop_that_says_nothing_starts_the_list() {
        check(
            OLD,
            "10.2.2.2",
            &[],
            &[
                ("x-forwarded-for", "10.2.2.2"),
                ("x-forwarded-host", "api.example:8080"),
                ("x-forwarded-proto", "http"),
            ],
        );
    }

    #[test]
    fn an_ipv6_peer_is_quoted_where_the_rfc_asks_for_it() {
        check(
            OLD,
            "2001:db8::1",
            &[],
            &[
                ("x-forwarded-for", "2001:db8::1"),
                ("x-forwarded-host", "api.example:8080"),
                ("x-forwarded-proto", "http"),
            ],
        );
        check(
            NEW,
            "2001:db8::1",
            &[],
            &[(
                "forwarded",
                "for=\"[2001:db8::1]\";host=\"api.example:8080\";proto=http",
            )],
        );
    }

    /// Translated addresses were once trusted where the client is looked for, and strangers here.
    #[test]
    fn a_translated_address_is_the_ipv4_it_translates() {
        check(
            OLD,
            "64:ff9b::10.2.2.2",
            &[("x-forwarded-for", "198.51.100.7")],
            &[
                ("x-forwarded-for", "198.51.100.7, 10.2.2.2"),
                ("x-forwarded-host", "api.example:8080"),
                ("x-forwarded-proto", "http"),
            ],
        );
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_it_maps() {
        check(
            NEW,
            "::ffff:10.2.2.2",
            &[],
            &[("forwarded", "for=10.2.2.2;host=\"api.example:8080\";proto=http")],
        );
    }
}
