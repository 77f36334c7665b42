//! Whom and what a request is for: exactly one valid host, and a target in origin form.
//!
//! Source: RFC 9112 §3.2 (request target, Host), RFC 3986 §3.2.2 (host).

use http::header::{COOKIE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};

use crate::problem::Problem;

/// Makes sure that the request names exactly one valid host. An authority in the target wins over `Host`, which is
/// rewritten, so that limiter, routes and upstream all read the same.
///
/// # Errors
///
/// [`Problem::BadHost`] for none, two, or an invalid one; [`Problem::BadTarget`] for `CONNECT`.
#[inline]
pub(crate) fn settle_host<B>(request: &mut Request<B>) -> Result<(), Problem> {
    if request.method() == Method::CONNECT {
        return Err(Problem::BadTarget);
    }
    sole_host(request.headers())?;
    if request.uri().authority().is_some() {
        return adopt_authority(request);
    }
    Ok(())
}

/// As [`settle_host`], for a request in HTTP/2, whose fields differ: the authority is one of them and `Host` need not be there, but may not
/// differ from it; blanks around a value are part of it, so that there may be none; and cookies may come one by one, and are
/// put together again, as servers in HTTP/1.1 read them.
///
/// # Errors
///
/// As [`settle_host`]; [`Problem::BadTarget`] also for a scheme that is not HTTP's, and [`Problem::BadField`] for blanks.
///
/// Source: RFC 9113, sections 8.2.1, 8.2.3 and 8.3.1.
pub(crate) fn settle_fields<B>(request: &mut Request<B>) -> Result<(), Problem> {
    let is_http = matches!(request.uri().scheme_str(), None | Some("http" | "https"));
    if request.method() == Method::CONNECT || !is_http {
        return Err(Problem::BadTarget);
    }
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let mut values = request.headers().values().map(HeaderValue::as_bytes);
    if values.any(|value| is_blank(value.first()) || is_blank(value.last())) {
        return Err(Problem::BadField);
    }
    join_cookies(request.headers_mut());
    let Some(authority) = request.uri().authority() else {
        return sole_host(request.headers());
    };
    let differs = |host: &HeaderValue| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
    if request.headers().get_all(HOST).iter().any(differs) {
        return Err(Problem::BadHost);
    }
    adopt_authority(request)
}

fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    if let (Some(first), Some(second)) = (lines.next(), lines.next()) {
        let joined = [first, second]
            .into_iter()
            .chain(lines)
            .collect::<Vec<_>>()
            .join(&b"; "[..]);
        // Made of values with a separator that may stand in one.
        if let Ok(joined) = HeaderValue::try_from(joined) {
            headers.insert(COOKIE, joined);
        }
    }
}

fn sole_host(headers: &HeaderMap) -> Result<(), Problem> {
    let mut lines = headers.get_all(HOST).into_iter();
    match (lines.next(), lines.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        _ => Err(Problem::BadHost),
    }
}

#[cold]
fn adopt_authority<B>(request: &mut Request<B>) -> Result<(), Problem> {
    let authority = request.uri().authority().ok_or(Problem::BadHost)?;
    if !is_host(authority.as_str().as_bytes()) {
        return Err(Problem::BadHost);
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Problem::BadHost)?;
    request.headers_mut().insert(HOST, host);
    Ok(())
}

/// `name`, `192.0.2.1` or `[2001:db8::1]`, with or without a port; no user, no blanks, nothing that would need quoting
/// where the host is repeated.
fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.first() {
        Some(b'[') => match host.iter().position(|&byte| byte == b']') {
            Some(end) if end > 1 => {
                let inner = &host[1..end];
                if !inner
                    .iter()
                    .all(|&byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
                {
                    return false;
                }
                (inner, &host[end + 1..])
            }
            _ => return false,
        },
        Some(_) => {
            let end = host.iter().position(|&byte| byte == b':').unwrap_or(host.len());
            if !host[..end].iter().all(|&byte| is_name_byte(byte)) {
                return false;
            }
            host.split_at(end)
        }
        None => return false,
    };
    let port_fits = match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !name.is_empty() && name.len() <= HOST_BYTES_MAX && port_fits
}

/// Letters, digits, `-`, `.`, and the `_` that some internal names carry. Percent-encoding and what RFC 3986 allows
/// beyond are of no use in a host that DNS resolves, and of much use to whoever looks for two parsers that differ.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// The longest name that DNS knows, with its trailing dot.
const HOST_BYTES_MAX: usize = 254;

/// Cuts scheme and authority off a target in absolute form; others are left as they are.
#[inline]
pub(crate) fn to_origin_form(uri: &mut Uri) {
    if uri.scheme().is_some() || uri.authority().is_some() {
        cut_authority(uri);
    }
}

#[cold]
fn cut_authority(uri: &mut Uri) {
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    *uri = Uri::from(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, hosts: &[&str], expected: Result<&str, Problem>) {
        let mut request = Request::builder().uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let mut request = request.body(()).expect("a test's request is one");
        let settled = settle_host(&mut request);
        let host = settled.map(|()| request.headers()[HOST].to_str().expect("a valid host is ASCII"));
        assert_eq!(host, expected, "{hosts:?}");
    }

    #[test]
    fn one_valid_host_is_taken_as_it_is() {
        for host in [
            "example.com",
            "example.com:8080",
            "EXAMPLE.com.",
            "a_b.internal",
            "192.0.2.1",
            "192.0.2.1:80",
            "[2001:db8::1]",
            "[::1]:443",
            "example.com:",
        ] {
            check("/", &[host], Ok(host));
        }
    }

    #[test]
    fn no_host_two_hosts_and_rubbish_are_refused() {
        check("/", &[], Err(Problem::BadHost));
        check("/", &["a", "a"], Err(Problem::BadHost));
        for host in [
            "", ":80", "a b", "a/b", "user@a", "a:b", "a:123456", "a:80:80", "[::1", "[]", "[::1]x", "[zz]", "a%2eb",
            "\"a\"", "a,b", "a\tb",
        ] {
            check("/", &[host], Err(Problem::BadHost));
        }
        check("/", &[&"a".repeat(HOST_BYTES_MAX + 1)], Err(Problem::BadHost));
    }

    #[test]
    fn an_authority_in_the_target_wins_over_host() {
        check("http://right.example:81/x", &["wrong.example"], Ok("right.example:81"));
        check("http://user@right.example/", &["wrong.example"], Err(Problem::BadHost));
    }

    #[test]
    fn absolute_form_still_needs_a_host_line() {
        check("http://right.example/", &[], Err(Problem::BadHost));
    }

    #[test]
    fn a_tunnel_is_refused() {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri("a:1")
            .header(HOST, "a")
            .body(())
            .expect("valid");
        assert_eq!(settle_host(&mut request), Err(Problem::BadTarget));
    }

    #[test]
    fn targets_leave_in_origin_form() {
        for (target, expected) in [
            ("/a?b=c", "/a?b=c"),
            ("http://a/b?c", "/b?c"),
            ("http://a", "/"),
            ("http://a?b", "/?b"),
            ("*", "*"),
        ] {
            let mut uri: Uri = target.parse().expect("a test's target is one");
            to_origin_form(&mut uri);
            assert_eq!(uri.to_string(), expected);
        }
    }
}
