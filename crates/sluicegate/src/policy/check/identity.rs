//! Who is asking: whom to believe, and what is verified.

use std::sync::Arc;

use http::HeaderName;
use http::header::AUTHORIZATION;
use sluicegate_identity::Directory;
use sluicegate_identity::jwt::{Algorithm, Terms};

use super::super::checked::{ApiKeys, CLAIMS_KEPT_MAX, ClaimName, Identity, Jwt, KeyPart};
use super::super::findings::{Findings, Located};
use super::super::raw::{AddressPrefixFields, ApiKeysFields, IdentityFields, JwtFields};
use super::super::shape::Field;
use super::rules::Rules;

/// Where a fault is noted, the default stands in.
pub(super) fn check(raw: IdentityFields, findings: &mut Findings<'_>) -> Identity {
    let mut identity = Identity::default();
    if let Field::Given(header) = &raw.forwarded_header
        && (raw.trusted_proxies.is_absent() || raw.trusted_proxies.as_ref().is_some_and(|list| list.value.0.is_empty()))
    {
        findings.warning(
            header.spot,
            "no forwarded header is read, because no proxy is trusted",
            "name the proxies' networks in `trusted_proxies`, or leave this field out",
        );
    }
    for network in raw.trusted_proxies.value().map(|list| list.0).unwrap_or_default() {
        let least = if network.value.addr().is_ipv4() {
            WIDE_V4
        } else {
            WIDE_V6
        };
        if network.value.prefix_len() < least {
            findings.warning(
                network.spot,
                format!("everybody in {} can name any address as the client's", network.value),
                "name only the networks that your proxies stand in",
            );
        }
        identity.trusted_proxies.push(network.value);
    }
    // Size<1024, 1048576> fits in a word of any size.
    if let Some(bytes) = raw.body_bytes.value().and_then(|size| usize::try_from(size.0).ok()) {
        identity.body_bytes = bytes;
    }
    if let Some(header) = raw.forwarded_header.value() {
        identity.forwarded_header = header;
    }
    if let Some(prefix) = raw.address_prefix.value() {
        check_prefix(&prefix, &mut identity, findings);
    }
    if let Some(header) = raw.ja4_header.as_ref()
        && identity.trusted_proxies.is_empty()
    {
        findings.warning(
            header.spot,
            "nobody is believed what it says there, because no proxy is trusted",
            "name the proxies' networks in `trusted_proxies`, or leave this field out",
        );
    }
    identity.ja4_header = raw.ja4_header.value();
    identity.api_keys = raw.api_keys.value().and_then(check_api_keys);
    identity.jwt = raw.jwt.given().and_then(|jwt| check_jwt(jwt, findings));
    identity
}

fn check_prefix(prefix: &AddressPrefixFields, identity: &mut Identity, findings: &mut Findings<'_>) {
    // Whole<8, 32> and Whole<32, 128> fit in a byte.
    if let Some(bits) = prefix.v4.as_ref().and_then(|bits| u8::try_from(bits.value.0).ok()) {
        identity.v4_prefix = bits;
    }
    if let Field::Given(v6) = &prefix.v6 {
        if v6.value.0 > 64 {
            findings.warning(
                v6.spot,
                format!(
                    "one customer has 2^{} addresses that differ in the first {} bits",
                    v6.value.0 - 64,
                    v6.value.0
                ),
                "write 64, the smallest network that a customer is given, or fewer",
            );
        }
        identity.v6_prefix = u8::try_from(v6.value.0).unwrap_or(identity.v6_prefix);
    }
}

/// `None` once a fault is noted.
fn check_api_keys(raw: ApiKeysFields) -> Option<ApiKeys> {
    let header = match raw.header {
        Field::Absent => HeaderName::from_static("x-api-key"),
        Field::Faulty => return None,
        Field::Given(header) => header.value,
    };
    Some(ApiKeys {
        header,
        file: raw.file.value()?.0,
        directory: Arc::new(Directory::default()),
    })
}

/// `None` once a fault is noted.
fn check_jwt(raw: Located<JwtFields>, findings: &mut Findings<'_>) -> Option<Jwt> {
    let Located { value: raw, spot } = raw;
    if !cfg!(feature = "jwt") {
        findings.fault_in_name(
            spot,
            "tokens are not read by this program: it was built without them",
            "build it with the feature `jwt`, or leave this out",
        );
        return None;
    }
    let mut algorithms = Vec::new();
    match raw.algorithms {
        Field::Absent => algorithms.extend(ALGORITHMS_DEFAULT),
        Field::Faulty => return None,
        Field::Given(list) => {
            for Located { value, spot } in list.value.0 {
                if algorithms.contains(&value.0) {
                    findings.fault(
                        spot,
                        format!("\"{}\" is listed twice", value.0),
                        "remove one of the two",
                    );
                }
                algorithms.push(value.0);
            }
        }
    }
    let name = |field: Field<ClaimName>| field.value().map(|name| name.as_str().to_owned());
    Some(Jwt {
        header: raw.header.value().unwrap_or(AUTHORIZATION),
        keys_from: raw.jwks.value()?,
        terms: Terms {
            issuer: raw.issuer.value()?.0,
            audience: raw.audience.value()?.0,
            algorithms,
            user: name(raw.user).unwrap_or_else(|| USER_DEFAULT.to_owned()),
            tenant: name(raw.tenant),
            tier: name(raw.tier),
            claims: Vec::new(),
        },
        #[cfg(feature = "jwt")]
        keys: None,
    })
}

/// What nearly all issuers sign by.
const ALGORITHMS_DEFAULT: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

/// The claim that is there to name whom a token is about (RFC 7519, section 4.1.2).
const USER_DEFAULT: &str = "sub";

/// Has tokens keep the claims that rules count by.
pub(super) fn keep_claims(identity: &mut Identity, rules: &Rules, findings: &mut Findings<'_>) {
    let mut names: Vec<&str> = Vec::new();
    for entry in &rules.all {
        for part in entry.rule.iter().flat_map(|rule| &rule.key) {
            let KeyPart::Claim(name) = part else { continue };
            if names.contains(&name.as_str()) {
                continue;
            }
            if names.len() == CLAIMS_KEPT_MAX {
                findings.fault(
                    entry.spots.key,
                    format!("\"{part}\" is one claim more than may be kept of a token"),
                    format!("count by at most {CLAIMS_KEPT_MAX} different claims"),
                );
                return;
            }
            names.push(name.as_str());
        }
    }
    if let Some(jwt) = &mut identity.jwt {
        jwt.terms.claims = names.into_iter().map(str::to_owned).collect();
    }
}

/// Networks shorter than these hold more than one organisation's proxies: 10.0.0.0/8 is the widest private network,
/// and a /16 of IPv6 more than any registry hands out.
const WIDE_V4: u8 = 8;
const WIDE_V6: u8 = 16;
