//! The one fallible step from the raw shape to the checked one: what no single field can tell.
//!
//! Each part is checked whether or not another has faults, so that one run names them all. Where a field is faulty its
//! default stands in for it: the policy is not handed out, and nothing that follows from the fault is noted beside it.

mod advice;
mod buckets;
mod classes;
mod conditions;
mod costs;
mod gateway;
mod identity;
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
use gateway::Trust;
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
        allow,
        rules,
    } = raw;
    let upstreams = gateway::names(gateway.as_ref());
    let gateway_is_faulty = matches!(gateway, Field::Faulty);

    let admin = admin
        .value()
        .map_or_else(Admin::default, |raw| check_admin(raw, findings));
    let gateway = gateway
        .given()
        .and_then(|raw| gateway::check(raw.value, &admin, trust(&identity), findings));
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
    let mut identity = identity
        .value()
        .map_or_else(Identity::default, |raw| identity::check(raw, findings));

    let paths = paths.value().map_or_else(Paths::default, check_paths);
    let routes = routes::check(routes, paths, upstreams, gateway_is_faulty, findings);
    let allow = conditions::check_allow(allow, &routes, findings);
    let rules = rules::check(rules, &routes, (store, nodes), findings);
    if let Some(spot) = split_spot {
        state::check_needs(&state, &rules, spot, findings);
    }
    identity::keep_claims(&mut identity, &rules, findings);
    advice::give(&routes, &rules, (&state, &identity), findings);

    version.value()?;
    Some(Policy {
        gateway,
        admin,
        state,
        identity,
        paths,
        routes: routes.checked(),
        allow,
        rules: rules.checked(),
    })
}

/// Whether proxies are trusted; a list that cannot be read may name some.
fn trust(identity: &Field<IdentityFields>) -> Trust {
    let is_empty = match identity {
        Field::Absent => true,
        Field::Faulty => false,
        Field::Given(raw) => match &raw.value.trusted_proxies {
            Field::Absent => true,
            Field::Faulty => false,
            Field::Given(list) => list.value.0.is_empty(),
        },
    };
    if is_empty { Trust::Nobody } else { Trust::Somebody }
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
