//! Who may ask, as far as a browser can be made to tell: it is the one client that strangers can make ask.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Refuses hosts that a page in a browser may have rebound to this machine, and writes that a page of somebody else's asks for; marks
/// every answer as neither to be kept nor to be guessed at.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match refusal(request.method(), request.uri(), request.headers()) {
        None => next.run(request).await,
        Some((status, told)) => (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], told).into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    if !addressed_to_us(uri, headers) {
        let told = "this listener answers to IP addresses and localhost only\n";
        return Some((StatusCode::MISDIRECTED_REQUEST, told));
    }
    if method.is_safe() {
        return None;
    }
    if !from_us(headers) {
        return Some((
            StatusCode::FORBIDDEN,
            "pages of other origins may not change anything here\n",
        ));
    }
    // A page can send the other types to anybody without asking first.
    if !headers.get_all(CONTENT_TYPE).iter().all(is_json) {
        return Some((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "only application/json is taken here\n",
        ));
    }
    None
}

/// Whether the request names us by an IP address or as localhost. A name of someone's choosing may resolve to this
/// machine (DNS rebinding); an address cannot. No host at all comes from no browser.
fn addressed_to_us(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return false,
        (Some(host), None) => host.to_str().ok().map(without_port),
        (None, None) => Some("localhost"),
    };
    let target = uri
        .authority()
        .map_or("localhost", |authority| without_port(authority.as_str()));
    host.is_some_and(is_ours) && is_ours(target)
}

/// Whether a write comes from no page at all, or from one of ours. Browsers say where from, by at least one of two headers, and pages
/// cannot write either.
fn from_us(headers: &HeaderMap) -> bool {
    let same_origin = |origin: &HeaderValue| {
        let host = headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        let bare = origin.as_bytes().strip_prefix(b"http://");
        !host.is_empty() && bare.is_some_and(|bare| bare.eq_ignore_ascii_case(host))
    };
    let same_site = |site: &HeaderValue| site == "same-origin" || site == "none";
    headers.get_all(ORIGIN).iter().all(same_origin) && headers.get_all(SEC_FETCH_SITE).iter().all(same_site)
}

fn is_json(content_type: &HeaderValue) -> bool {
    let essence = content_type.to_str().unwrap_or_default().split(';').next();
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn is_ours(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

/// What relation the asking page has to us (W3C Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// On every answer, refusals too.
const ALWAYS: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (REFERRER_POLICY, "no-referrer"),
];
