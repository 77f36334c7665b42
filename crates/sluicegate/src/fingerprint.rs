//! What kind of program a client is, by its handshake and by how it writes its requests.

use http::{HeaderMap, HeaderName};
use sluicegate_identity::Ja4;

/// A client's JA4 and the order in which it sends its header lines, hashed together.
///
/// Two programs that share a TLS library often write their headers in another order. Names alone are looked at, and only those that a
/// client sends with every request or none: what changes from one request to the next would make a new fingerprint of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Takes a microsecond. No allocation.
    pub(crate) fn of(ja4: Ja4, headers: &HeaderMap) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(ja4.as_str().as_bytes());
        let names = headers.keys().filter(|name| is_steady(name)).take(NAMES_MAX);
        for name in names {
            // No name holds one.
            hasher.update(b",");
            hasher.update(name.as_str().as_bytes());
        }
        let mut print = [0; 16];
        hasher.finalize_xof().fill(&mut print);
        Self(print)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether a client that sends the header sends it with every request.
fn is_steady(name: &HeaderName) -> bool {
    let name = name.as_str();
    let varies = matches!(
        name,
        "authorization"
            | "cookie"
            | "expect"
            | "forwarded"
            | "if"
            | "origin"
            | "priority"
            | "range"
            | "referer"
            | "te"
            | "via"
    );
    let families = ["content-", "if-", "sec-fetch-", "sec-websocket-", "x-"];
    !varies && !families.iter().any(|family| name.starts_with(family))
}

/// More names than a browser sends; the rest tells nothing more.
const NAMES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn print(names: &[&'static str]) -> Fingerprint {
        let ja4 = Ja4::parse("t13d1516h2_8daaf6152771_e5627efa2ab1").expect("it is one");
        let names = names
            .iter()
            .map(|name| (HeaderName::from_static(name), "x".parse().expect("a value")));
        Fingerprint::of(ja4, &names.collect())
    }

    #[test]
    fn the_order_of_steady_headers_counts_and_what_varies_does_not() {
        let first = print(&["host", "user-agent", "accept"]);
        assert_ne!(first, print(&["host", "accept", "user-agent"]));
        assert_ne!(first, print(&["host", "user-agent"]));
        assert_eq!(
            first,
            print(&[
                "host",
                "cookie",
                "user-agent",
                "content-length",
                "accept",
                "x-request-id",
                "if-none-match"
            ])
        );
    }
}
