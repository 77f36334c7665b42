//! One address in a forwarded header, with or without a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An element of `X-Forwarded-For`: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:4711`. The port is dropped.
pub(super) fn address(element: &[u8]) -> Option<IpAddr> {
    bracketed_or_v4(element).or_else(|| parse::<Ipv6Addr>(element).map(IpAddr::V6))
}

/// A node of `Forwarded` that is an address: as [`address`], but IPv6 stands in brackets (RFC 7239, section 6).
///
/// `unknown` and names with an underscore in front are nodes too, and no addresses.
pub(super) fn bracketed_or_v4(node: &[u8]) -> Option<IpAddr> {
    if let Some(rest) = node.strip_prefix(b"[") {
        let end = rest.iter().position(|byte| *byte == b']')?;
        let (inner, after) = rest.split_at_checked(end)?;
        is_end_or_port(after.strip_prefix(b"]")?).then_some(())?;
        return parse::<Ipv6Addr>(inner).map(IpAddr::V6);
    }
    let end = node.iter().position(|byte| *byte == b':').unwrap_or(node.len());
    let (host, after) = node.split_at_checked(end)?;
    is_end_or_port(after).then_some(())?;
    parse::<Ipv4Addr>(host).map(IpAddr::V4)
}

/// RFC 7239, section 6: `node-port = port / obfport`, `port = 1*5DIGIT`,
/// `obfport = "_" 1*(ALPHA / DIGIT / "." / "_" / "-")`.
fn is_end_or_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', b'_', name @ ..] => {
            !name.is_empty()
                && name
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        }
        [b':', digits @ ..] => (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// The standard library's parsers are as strict as is needed: four decimal parts without leading zeros for IPv4, no
/// zone for IPv6.
fn parse<A: std::str::FromStr>(text: &[u8]) -> Option<A> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
