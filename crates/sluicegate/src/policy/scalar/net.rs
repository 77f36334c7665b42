//! Addresses, networks and servers.

use std::net::{IpAddr, SocketAddr};

use http::uri::Authority;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::{Scalar, Wrong, is_plain_digits, wrong};

impl Scalar for SocketAddr {
    const EXPECTED: &'static str = "an address with port such as 0.0.0.0:8080";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let remedy = if let Some(port) = text.strip_prefix("localhost:") {
            format!("write 127.0.0.1:{port}")
        } else if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
            format!("write 0.0.0.0:{port} for every IPv4 address, [::]:{port} for every address")
        } else if is_plain_digits(text) {
            format!("write 0.0.0.0:{text} for every IPv4 address, 127.0.0.1:{text} for this machine alone")
        } else if let Ok(address) = text.parse::<IpAddr>() {
            format!("add a port, as in {}", Self::new(address, 8080))
        } else {
            "write an address and a port, as in 0.0.0.0:8080 or [::]:8080".to_owned()
        };
        wrong("is no address with a port", remedy)
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^(\\[[0-9A-Fa-f:.]+\\]|[0-9.]+):[0-9]{1,5}$" })
    }
}

/// Where metrics and health are served, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct AddressOrOff(pub(in crate::policy) Option<SocketAddr>);

impl Scalar for AddressOrOff {
    const EXPECTED: &'static str = "an address with port such as 127.0.0.1:9900, or off";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "off" {
            Ok(Self(None))
        } else {
            SocketAddr::parse(text).map(|address| Self(Some(address)))
        }
    }

    fn grammar() -> Value {
        json!({ "anyOf": [{ "const": "off" }, SocketAddr::grammar()] })
    }
}

impl Scalar for Authority {
    const EXPECTED: &'static str = "a server such as 127.0.0.1:9001";

    fn parse(text: &str) -> Result<Self, Wrong> {
        const REMEDY: &str = "write a host and a port, as in 127.0.0.1:9001 or users.internal:8080";
        if let Some((scheme, rest)) = text.split_once("://") {
            return if scheme.eq_ignore_ascii_case("https") {
                wrong(
                    "asks for TLS towards the upstream, which is not offered yet",
                    "name a server that speaks plain HTTP/1.1",
                )
            } else {
                wrong("has a scheme", format!("write {}", rest.trim_end_matches('/')))
            };
        }
        if text.contains('@') {
            return wrong("has a user name", REMEDY);
        }
        let Ok(authority) = text.parse::<Self>() else {
            return wrong("is no server", REMEDY);
        };
        match authority.port_u16() {
            Some(1..) if !authority.host().is_empty() => Ok(authority),
            Some(0) => wrong("has port 0, which nothing listens on", REMEDY),
            None if authority.as_str() == authority.host() => wrong("has no port", format!("add one, as in {text}:80")),
            _ => wrong("is no server", REMEDY),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[^@/ ]+:[0-9]{1,5}$" })
    }
}

impl Scalar for IpNet {
    const EXPECTED: &'static str = "a network such as 10.0.0.0/8, or an address";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let Ok(network) = text.parse::<Self>().or_else(|_| text.parse::<IpAddr>().map(Self::from)) else {
            return wrong(
                "is no network",
                "write one such as 10.0.0.0/8 or 2001:db8::/32, or a single address",
            );
        };
        if network.prefix_len() == 0 {
            return wrong(
                "is every address: whoever asks could name any client",
                "name the proxies' own networks",
            );
        }
        if network != network.trunc() {
            return wrong(
                format!("has bits set beyond /{}", network.prefix_len()),
                format!("write {}", network.trunc()),
            );
        }
        if let Self::V6(v6) = network
            && let Some(v4) = v6.network().to_ipv4_mapped()
            && let Some(prefix) = v6.prefix_len().checked_sub(96)
        {
            // Peers are compared in their plain form (see `address`), so that this would match none.
            return wrong("is an IPv4 network in IPv6 clothes", format!("write {v4}/{prefix}"));
        }
        Ok(network)
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$" })
    }
}
