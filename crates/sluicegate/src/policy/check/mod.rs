//! The one fallible step from the raw shape to the checked one: what no single field can tell.
//!
//! Each part is checked whether or not another has faults, so that one run names them all. Where a field is faulty its
//! default stands in for it: the policy is not handed out, and nothing that follows from the fault is noted beside it.

mod advice;
mod buckets;
mod costs;
mod gateway;
mod limits;
mod load;
mod reach;
mod routes;
mod rules;
mod share;
mod sharing;
mod state;

use std::num::NonZeroU32;

use super::checked::{Admin, Identity, Paths, Policy, State};
use super::findings::Findings;
use super::raw::{AdminFields, IdentityFields, PathsFields, PolicyFields};
use super::shape::Field;
use sharing::Store;

/// Checks a whole file, of which at least `nodes` share the limits; `None` once a fault is noted.
pub(super) fn policy(raw: PolicyFields, nodes: NonZeroU32, findings: &mut Findings<'_>) -> Option<Policy> {
    let PolicyFields {
        version,
        gateway,
        admin,
        state,
        identity,
        paths,
        routes,
        rules,
    } = raw;
    let upstreams = gateway::names(gateway.as_ref());
    let gateway_is_faulty = matches!(gateway, Field::Faulty);

    let admin = admin
        .value()
        .map_or_else(Admin::default, |raw| check_admin(raw, findings));
    let gateway = gateway
        .given()
        .and_then(|raw| gateway::check(raw.value, &admin, findings));
    let split_spot = state
        .as_ref()
        .and_then(|raw| raw.value.split.as_ref())
        .map(|split| split.spot);
    let shares = state.as_ref().is_some_and(|raw| !raw.value.share.is_absent());
    let state = state
        .value()
        .map_or_else(State::default, |raw| state::check(raw, findings));
    let store = match &state.share {
        Some(share) => Store::Given(share),
        None if shares => Store::Faulty,
        None => Store::None,
    };
    let identity = identity
        .value()
        .map_or_else(Identity::default, |raw| check_identity(raw, findings));

    let paths = paths.value().map_or_else(Paths::default, check_paths);
    let routes = routes::check(routes, paths, upstreams, gateway_is_faulty, findings);
    let rules = rules::check(rules, &routes, (store, nodes), findings);
    if let Some(spot) = split_spot {
        state::check_needs(&state, &rules, spot, findings);
    }
    advice::give(&routes, &rules, &state, findings);

    version.value()?;
    Some(Policy {
        gateway,
        admin,
        state,
        identity,
        paths,
        routes: routes.checked(),
        rules: rules.checked(),
    })
}

fn check_admin(raw: AdminFields, findings: &mut Findings<'_>) -> Admin {
    let Field::Given(listen) = raw.listen else {
        return Admin::default();
    };
    if let Some(address) = listen.value.0
        && !address.ip().to_canonical().is_loopback()
    {
        // Metrics and health name routes and rules, and nothing asks who reads them yet.
        findings.fault(
            listen.spot,
            format!("\"{address}\" can be reached from other machines, and no token guards it yet"),
            format!(
                "write 127.0.0.1:{} and let a proxy with a login pass it on, or write off",
                address.port()
            ),
        );
    }
    Admin { listen: listen.value.0 }
}

fn check_paths(raw: PathsFields) -> Paths {
    let default = Paths::default();
    Paths {
        merge_slashes: raw.merge_slashes.value().map_or(default.merge_slashes, |truth| truth.0),
        trailing_slash: raw.trailing_slash.value().unwrap_or(default.trailing_slash),
        matrix_params: raw.matrix_params.value().unwrap_or(default.matrix_params),
        encoded_slash: raw.encoded_slash.value().unwrap_or(default.encoded_slash),
    }
}

fn check_identity(raw: IdentityFields, findings: &mut Findings<'_>) -> Identity {
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
    let Some(prefix) = raw.address_prefix.value() else {
        return identity;
    };
    // Whole<8, 32> and Whole<32, 128> fit in a byte.
    if let Some(bits) = prefix.v4.value().and_then(|bits| u8::try_from(bits.0).ok()) {
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
    identity
}

/// Networks shorter than these hold more than one organisation's proxies: 10.0.0.0/8 is the widest private network,
/// and a /16 of IPv6 more than any registry hands out.
const WIDE_V4: u8 = 8;
const WIDE_V6: u8 = 16;
