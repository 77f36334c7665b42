//! What a request is told by: attributes of a key, and methods.

use http::{HeaderName, Method};
use serde_json::{Value, json};

use super::super::checked::{ClaimName, KeyPart};
use super::super::nearest::nearest;
use super::source::{header, header_grammar, member, member_grammar};
use super::{Scalar, Wrong, is_plain_digits, wrong};

impl Scalar for KeyPart {
    const EXPECTED: &'static str = "client, tenant, user, tier, claim.NAME, cert.subject, cert.san, cert.spiffe, ja4, fingerprint, ip, ip/BITS, route, \
         sensitivity, method, host, path, path.NAME, header.NAME, cookie.NAME, query.NAME, body./MEMBER or program";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(name) = text.strip_prefix("header.") {
            return header(name, "header.x-api-key").map(Self::Header);
        }
        if let Some(pointer) = text.strip_prefix("body.") {
            return member(pointer, "body./username").map(|pointer| Self::Body {
                pointer,
                trim: false,
                lowercase: false,
            });
        }
        if let Some(bits) = text.strip_prefix("ip/") {
            let bits = if is_plain_digits(bits) { bits.parse().ok() } else { None };
            return match bits {
                Some(bits @ IP_BITS_MIN..=128) => Ok(Self::IpNetwork(bits)),
                _ => wrong(
                    "is no prefix of an IPv6 address",
                    format!("write ip/{IP_BITS_MIN} to ip/128, as in ip/48"),
                ),
            };
        }
        if let Some(name) = text.strip_prefix("claim.") {
            return match ClaimName::new(name) {
                Some(name) => Ok(Self::Claim(name)),
                None => wrong("names no claim", "write claim. and the claim's name, as in claim.scope"),
            };
        }
        for (prefix, of) in [
            ("path.", Self::PathPart as fn(String) -> Self),
            ("cookie.", Self::Cookie),
            ("query.", Self::Query),
        ] {
            if let Some(name) = text.strip_prefix(prefix) {
                return member_name(name, prefix).map(of);
            }
        }
        match text {
            "client" => Ok(Self::Client),
            "tenant" => Ok(Self::Tenant),
            "user" => Ok(Self::User),
            "tier" => Ok(Self::Tier),
            "cert.subject" => Ok(Self::CertificateSubject),
            "cert.san" => Ok(Self::CertificateName),
            "cert.spiffe" => Ok(Self::Spiffe),
            "ja4" => Ok(Self::Ja4),
            "fingerprint" => Ok(Self::Fingerprint),
            "path" => Ok(Self::Path),
            "sensitivity" => Ok(Self::Sensitivity),
            "ip" => Ok(Self::Ip),
            "route" => Ok(Self::Route),
            "method" => Ok(Self::Method),
            "host" => Ok(Self::Host),
            "program" => Ok(Self::Program),
            _ => {
                let stem = text.split(['.', ':']).next().unwrap_or_default();
                if KEYS_TO_COME.contains(&stem) {
                    return wrong("is not offered yet as a key", KEY_REMEDY);
                }
                let remedy = match nearest(text, KEYS) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => KEY_REMEDY.to_owned(),
                };
                wrong("is no attribute of a request", remedy)
            }
        }
    }

    fn grammar() -> Value {
        let claim = json!({ "type": "string", "pattern": "^claim\\.[!-~]{1,64}$" });
        let plain = json!({ "enum": KEYS });
        let network = json!({ "type": "string", "pattern": "^ip/[1-9][0-9]{1,2}$" });
        json!({ "anyOf": [plain, network, claim, named_grammar(), header_grammar("header"), member_grammar("body")] })
    }
}

/// The name behind `prefix`.
fn member_name(name: &str, prefix: &str) -> Result<String, Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"&=;,%+/".contains(&byte);
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_plain) {
        return wrong(
            "names nothing",
            format!("write {prefix} and a name of 1 to {NAME_MAX} letters, digits and plain signs, as in {prefix}id"),
        );
    }
    Ok(name.to_owned())
}

fn named_grammar() -> Value {
    json!({ "type": "string", "pattern": "^(path|cookie|query)\\.[!-~]+$" })
}

/// Longest name of a cookie or a parameter; real ones have a few dozen bytes.
const NAME_MAX: usize = 128;

/// Bits of the widest network that is counted as one: registries hand a /16 to nobody.
const IP_BITS_MIN: u8 = 16;

const KEY_REMEDY: &str = "use client, tenant, user, tier, claim.NAME, cert.subject, cert.san, cert.spiffe, ja4, fingerprint, ip, ip/BITS, route, \
     sensitivity, method, host, path, path.NAME, header.NAME, cookie.NAME, query.NAME, body./MEMBER or program";

const KEYS: [&str; 16] = [
    "client",
    "tenant",
    "user",
    "tier",
    "cert.subject",
    "cert.san",
    "cert.spiffe",
    "ja4",
    "fingerprint",
    "ip",
    "route",
    "sensitivity",
    "method",
    "host",
    "path",
    "program",
];

/// Attributes that later versions will know.
const KEYS_TO_COME: [&str; 4] = ["key", "certificate", "jwt", "asn"];

impl Scalar for HeaderName {
    const EXPECTED: &'static str = "a header's name such as x-api-key";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Self::from_bytes(text.as_bytes()).or_else(|_| wrong("is no header's name", "write one such as x-api-key"))
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", "examples": ["x-api-key"] })
    }
}

impl Scalar for Method {
    const EXPECTED: &'static str = "a method such as GET";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "*" {
            return wrong("is no method", "leave `methods` out for every method");
        }
        let upper = text.to_ascii_uppercase();
        if text != upper {
            // RFC 9110, section 9.1: methods are case-sensitive, and all that are registered are in capitals.
            return wrong(
                "would match no request: methods are in capitals",
                format!("write {upper}"),
            );
        }
        Self::from_bytes(text.as_bytes()).or_else(|_| wrong("is no method", "write one such as GET or POST"))
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Z-]+$", "examples": ["GET", "POST"] })
    }
}
