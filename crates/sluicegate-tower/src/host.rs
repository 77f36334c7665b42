//! One spelling for each host, so that `A.example`, `a.example.` and `a.example:80` are one key.

use std::borrow::Cow;

use http::header::HOST;
use http::{HeaderMap, Uri};

/// The host that a request is for: the target's authority or the one `Host` line, in lower case, without a port and
/// without the dot that ends a full name. Empty where there is none, or more than one.
#[inline]
pub(crate) fn canonical_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Cow<'a, str> {
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => sole_host(headers),
    };
    canonical(host)
}

fn sole_host(headers: &HeaderMap) -> &str {
    let mut lines = headers.get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        _ => "",
    }
}

/// Which port a client connected to is no choice of the client's; which one it writes is, and must not make another key
/// or miss a route's host. So every port goes, not only the scheme's own.
#[inline]
fn canonical(authority: &str) -> Cow<'_, str> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let name = if host.starts_with('[') {
        host.find(']').map_or(host, |end| &host[..=end])
    } else {
        host.split_once(':').map_or(host, |(name, _)| name)
    };
    sluicegate::canonical_host(name, NO_PORT)
}

/// The port is gone already.
const NO_PORT: u16 = 0;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_spelling_of_a_host_is_one_key() {
        for spelling in [
            "a.example",
            "A.Example",
            "a.example.",
            "a.example:80",
            "A.example.:8080",
            "user@a.example",
        ] {
            assert_eq!(canonical(spelling), "a.example", "{spelling}");
        }
        for spelling in ["[2001:db8::1]", "[2001:DB8::1]", "[2001:db8::1]:443"] {
            assert_eq!(canonical(spelling), "[2001:db8::1]", "{spelling}");
        }
    }

    #[test]
    fn a_canonical_host_is_not_copied() {
        assert!(matches!(canonical("a.example:8080"), Cow::Borrowed("a.example")));
    }

    #[test]
    fn the_targets_authority_wins_over_host() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("b.example"));
        assert_eq!(
            canonical_host(&Uri::from_static("http://a.example/"), &headers),
            "a.example"
        );
        assert_eq!(canonical_host(&Uri::from_static("/"), &headers), "b.example");
    }

    #[test]
    fn no_host_and_two_hosts_are_no_host() {
        let mut headers = HeaderMap::new();
        assert_eq!(canonical_host(&Uri::from_static("/"), &headers), "");
        headers.append(HOST, HeaderValue::from_static("a.example"));
        headers.append(HOST, HeaderValue::from_static("b.example"));
        assert_eq!(canonical_host(&Uri::from_static("/"), &headers), "");
    }

    #[test]
    fn rubbish_does_not_panic() {
        for rubbish in ["", ".", ":", "[", "]", "[]", "@", "a@", "@:1", "[::1"] {
            let _ = canonical(rubbish);
        }
    }
}
