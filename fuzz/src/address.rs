//! The client's address: what a client writes into a forwarded header never moves it.
//!
//! An input is what the client sent, one field line per line of text. A trusted proxy then appends the address it saw, as
//! proxies do, in the last line or in a line of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::str;

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use sluicegate::address::{ELEMENTS_MAX, cut, find, plain};
use sluicegate::policy::checked::{ForwardedHeader, Identity};

/// What both headers are made of, and what breaks them.
pub const DICTIONARY: &[&str] = &[
    "for=",
    "For=",
    "by=",
    "proto=https",
    "host=example.com",
    ";",
    ", ",
    ",",
    "\"",
    "\\",
    "\\\"",
    "\n",
    "\t",
    "[",
    "]",
    ":4711",
    ":_port",
    "_hidden",
    "unknown",
    "10.0.0.2",
    "10.0.0.2, ",
    "for=10.0.0.2, ",
    "198.51.100.7",
    "203.0.113.9",
    "127.0.0.1",
    "0.0.0.0",
    "256.1.1.1",
    "010.0.0.1",
    "::1",
    "::ffff:10.0.0.2",
    "64:ff9b::198.51.100.7",
    "\"[2001:db8::1]:4711\"",
    "fe80::1%eth0",
    "é",
];

/// A proxy of ours, at the other end of the socket.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// Somebody of whom nobody asked anything.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200));

/// What the proxy saw.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

/// # Panics
///
/// When a stranger's headers are believed, when what a client writes hides or replaces the address that a trusted proxy
/// appends, or when a plain list gives another address than a walk over its split text.
pub fn target(data: &[u8]) {
    let lines: Vec<_> = data.split(|byte| *byte == b'\n').collect();
    for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        let identity = identity(header);
        let sent = Lines::new(header, &lines);
        check_trust(&identity, &sent);
        check_appended(&identity, &sent);
        check_unread_header(&identity, &sent);
    }
    check_plain_list(&lines);
}

fn identity(header: ForwardedHeader) -> Identity {
    let network = "10.0.0.0/8".parse().expect("it is a network");
    Identity {
        trusted_proxies: vec![network],
        forwarded_header: header,
        ..Identity::default()
    }
}

/// Nobody is asked about a stranger, and a trusted peer always leads to an address.
fn check_trust(identity: &Identity, sent: &Lines) {
    let headers = sent.headers();
    assert_eq!(find(identity, None, &headers), None, "nobody vouches for the header");
    assert_eq!(
        find(identity, Some(STRANGER), &headers),
        Some(STRANGER),
        "a stranger's header was believed"
    );
    let found = find(identity, Some(PEER), &headers);
    assert!(
        found.is_some_and(|found| plain(found) == found),
        "{found:?} is not in its plain form"
    );
    let key = found.map(|found| cut(found, identity));
    assert!(
        key.is_some_and(|key| [4, 16].contains(&key.as_bytes().len())),
        "no key of either length"
    );
}

/// The address that the last trusted proxy appended is found behind anything, also when a second proxy of ours stands between.
fn check_appended(identity: &Identity, sent: &Lines) {
    let element = |address: &str| match identity.forwarded_header {
        ForwardedHeader::XForwardedFor => address.to_owned(),
        ForwardedHeader::Forwarded => format!("for=\"{address}\";proto=https"),
    };
    for element in [
        element("203.0.113.9"),
        format!("{}, {}", element("203.0.113.9:80"), element("10.0.0.2")),
    ] {
        for headers in [sent.with_line(&element), sent.with_element(&element)] {
            let found = find(identity, Some(PEER), &headers);
            assert_eq!(found, Some(CLIENT), "the client moved its address in {headers:?}");
        }
    }
}

/// Of the two headers only the configured one is read.
fn check_unread_header(identity: &Identity, sent: &Lines) {
    let other = match identity.forwarded_header {
        ForwardedHeader::XForwardedFor => ForwardedHeader::Forwarded,
        ForwardedHeader::Forwarded => ForwardedHeader::XForwardedFor,
    };
    let unread = Lines {
        name: name(other),
        values: sent.values.clone(),
    };
    assert_eq!(
        find(identity, Some(PEER), &unread.headers()),
        Some(PEER),
        "the other header was read"
    );
}

/// A list of nothing but bare addresses, as the least clever reader would read it.
fn check_plain_list(lines: &[&[u8]]) {
    let elements: Option<Vec<IpAddr>> = lines
        .iter()
        .flat_map(|line| line.split(|byte| *byte == b','))
        .map(|element| str::from_utf8(element).ok()?.trim_matches([' ', '\t']).parse().ok())
        .collect();
    let Some(elements) = elements.filter(|elements| elements.len() <= ELEMENTS_MAX) else {
        return;
    };
    let identity = identity(ForwardedHeader::XForwardedFor);
    let is_ours = |address: &IpAddr| identity.trusted_proxies.iter().any(|network| network.contains(address));

    let mut expected = PEER;
    for element in elements.into_iter().map(plain).rev() {
        expected = element;
        if !is_ours(&expected) {
            break;
        }
    }
    let headers = Lines::new(ForwardedHeader::XForwardedFor, lines).headers();
    assert_eq!(find(&identity, Some(PEER), &headers), Some(expected), "in {headers:?}");
}

/// What the client sent, as far as HTTP lets such bytes through.
struct Lines {
    name: HeaderName,
    values: Vec<HeaderValue>,
}

impl Lines {
    fn new(header: ForwardedHeader, lines: &[&[u8]]) -> Self {
        let values = lines
            .iter()
            .filter_map(|line| HeaderValue::from_bytes(line).ok())
            .collect();
        Self {
            name: name(header),
            values,
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in &self.values {
            // More lines than a map holds would not have come through a server either.
            let _ = headers.try_append(self.name.clone(), value.clone());
        }
        headers
    }

    fn with_line(&self, line: &str) -> HeaderMap {
        let mut values = self.values.clone();
        values.extend(HeaderValue::from_str(line));
        Self {
            name: self.name.clone(),
            values,
        }
        .headers()
    }

    fn with_element(&self, element: &str) -> HeaderMap {
        let mut values = self.values.clone();
        let last = values
            .pop()
            .map(|value| [value.as_bytes(), b", "].concat())
            .unwrap_or_default();
        values.extend(HeaderValue::from_bytes(&[&last, element.as_bytes()].concat()));
        Self {
            name: self.name.clone(),
            values,
        }
        .headers()
    }
}

fn name(header: ForwardedHeader) -> HeaderName {
    match header {
        ForwardedHeader::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        ForwardedHeader::Forwarded => FORWARDED,
    }
}
