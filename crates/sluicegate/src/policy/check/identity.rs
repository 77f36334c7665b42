//! Who is asking: whom to believe, and what is verified.

use std::sync::Arc;

use http::HeaderName;
use sluicegate_identity::Directory;

use super::super::checked::{ApiKeys, Identity};
use super::super::findings::Findings;
use super::super::raw::{AddressPrefixFields, ApiKeysFields, IdentityFields};
use super::super::shape::Field;

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
    identity.api_keys = raw.api_keys.value().and_then(check_api_keys);
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

/// Networks shorter than these hold more than one organisation's proxies: 10.0.0.0/8 is the widest private network,
/// and a /16 of IPv6 more than any registry hands out.
const WIDE_V4: u8 = 8;
const WIDE_V6: u8 = 16;
