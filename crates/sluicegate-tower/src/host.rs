//! Which host a request is for.

use std::borrow::Cow;

use http::header::HOST;
use http::{HeaderMap, Uri};

/// The host that a request is for, canonical: the target's authority or the one `Host` line. Empty where there is none,
/// or more than one.
#[inline]
pub(crate) fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Cow<'a, str> {
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => sole_host(headers),
    };
    sluicegate::canonical_host(host)
}

fn sole_host(headers: &HeaderMap) -> &str {
    let mut lines = headers.get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_targets_authority_wins_over_host() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("b.example"));
        assert_eq!(host_of(&Uri::from_static("http://a.example/"), &headers), "a.example");
        assert_eq!(host_of(&Uri::from_static("/"), &headers), "b.example");
    }

    #[test]
    fn no_host_and_two_hosts_are_no_host() {
        let mut headers = HeaderMap::new();
        assert_eq!(host_of(&Uri::from_static("/"), &headers), "");
        headers.append(HOST, HeaderValue::from_static("a.example"));
        headers.append(HOST, HeaderValue::from_static("b.example"));
        assert_eq!(host_of(&Uri::from_static("/"), &headers), "");
    }
}
