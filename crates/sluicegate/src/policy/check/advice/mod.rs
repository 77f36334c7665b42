//! What is allowed and probably not meant.

mod algorithm;

use std::time::Duration;

use super::super::checked::{CostSource, Count, Enforce, Identity, KeyPart, OnMissingKey, Rule, State, Step};
use super::super::fault::quoted;
use super::super::findings::Findings;
use super::routes::Routes;
use super::rules::{Entry, Rules};
use crate::condition::Attribute;

/// Adds the warnings that need the whole policy.
pub(super) fn give(
    routes: &Routes,
    rules: &Rules,
    (state, identity): (&State, &Identity),
    findings: &mut Findings<'_>,
) {
    if rules.all.is_empty() && !rules.unreadable {
        let text = "there are no rules: every request passes";
        let remedy = "add `rules:`, as in {name: per-client, key: ip, limit: 100/min}";
        match rules.spot {
            Some(spot) => findings.warning(spot, text, remedy),
            None => findings.warning_of_file("rules", text, remedy),
        }
        return;
    }
    let covers = Covers::new(routes, rules);
    for entry in &rules.all {
        let Some(rule) = &entry.rule else { continue };
        if rule.is_for_programs() {
            // What it counts by is the program's to judge.
            continue;
        }
        about_address_headers(entry, rule, findings);
        about_verified_key(entry, rule, identity, findings);
        about_typed_key(entry, rule, routes, &covers, findings);
        about_typed_condition(entry, rule, routes, &covers, findings);
        about_claimed_cost(entry, rule, routes, &covers, findings);
        about_victims(entry, rule, findings);
        about_bodies(entry, rule, findings);
        about_missing_key(entry, rule, findings);
        algorithm::give(entry, rule, findings);
        let keeps_secret = state.directory.is_some() || state.secret.is_some();
        if (1..100).contains(&rule.enforce.as_percent()) && !keeps_secret {
            findings.warning(
                entry.spots.enforce,
                "which keys are enforced is drawn anew at each start, because no folder keeps the secret",
                "add `state: {directory: ./state}`",
            );
        }
    }
    about_uncovered_routes(routes, &covers, findings);
}

/// Which requests some kind of rule applies to.
struct Cover {
    everywhere: bool,
    by_route: Vec<bool>,
}

impl Cover {
    fn add(&mut self, rule: &Rule) {
        self.everywhere |= rule.routes.is_empty();
        for &index in &rule.routes {
            self.by_route[index] = true;
        }
    }

    /// Requests that `rule` applies to and none of the covering kind does, as a message names them; `None` where
    /// there are none.
    fn gap(&self, rule: &Rule, routes: &Routes) -> Option<String> {
        if self.everywhere {
            return None;
        }
        if rule.routes.is_empty() {
            return Some(String::new());
        }
        let open = rule.routes.iter().find(|index| !self.by_route[**index])?;
        let route = routes.all.get(*open)?.route.as_ref()?;
        Some(format!(" on the route {}", quoted(&route.name)))
    }
}

struct Covers {
    /// Any rule.
    any: Cover,
    /// Enforced rules that limit every request by what a client cannot choose.
    by_address: Cover,
    /// Enforced rules that charge every request what the file says.
    by_count: Cover,
}

impl Covers {
    fn new(routes: &Routes, rules: &Rules) -> Self {
        let none = || Cover {
            everywhere: false,
            by_route: vec![false; routes.all.len()],
        };
        let mut covers = Self {
            any: none(),
            by_address: none(),
            by_count: none(),
        };
        for entry in &rules.all {
            let Some(rule) = &entry.rule else {
                // What a faulty rule covers is not known; silence is better than a wrong warning.
                covers.any.everywhere = true;
                covers.by_address.everywhere = true;
                covers.by_count.everywhere = true;
                continue;
            };
            if rule.is_for_programs() {
                continue;
            }
            covers.any.add(rule);
            let counts_all = rule.enforce == Enforce::ALL
                && rule.when.is_none()
                && rule.count == Count::Requests
                && matches!(rule.cost.reserve, CostSource::Fixed(1..) | CostSource::ByClass(_))
                && rule.on_missing_key != OnMissingKey::Skip;
            if counts_all {
                covers.by_count.add(rule);
                // Who has not been verified is counted by the address under `client`, too.
                let knows = |part: &KeyPart| matches!(part, KeyPart::Ip | KeyPart::IpNetwork(_) | KeyPart::Client);
                let knows_everybody = rule.key.iter().any(knows);
                if knows_everybody && !rule.key.iter().any(is_typed) {
                    covers.by_address.add(rule);
                }
            }
        }
        covers
    }
}

/// Whether a client can send any number of values for it.
fn is_typed(part: &KeyPart) -> bool {
    match part {
        KeyPart::Header(_)
        | KeyPart::Cookie(_)
        | KeyPart::Query(_)
        | KeyPart::Path
        | KeyPart::PathPart(_)
        | KeyPart::Body { .. }
        | KeyPart::Host
        | KeyPart::Ja4
        | KeyPart::Fingerprint => true,
        KeyPart::Ip
        | KeyPart::IpNetwork(_)
        | KeyPart::Route
        | KeyPart::Sensitivity
        | KeyPart::Method
        | KeyPart::Program
        // These somebody has verified, or they are absent.
        | KeyPart::Client
        | KeyPart::Tenant
        | KeyPart::Tier
        | KeyPart::User
        | KeyPart::Claim(_)
        | KeyPart::CertificateSubject
        | KeyPart::CertificateName
        | KeyPart::Spiffe => false,
    }
}

fn about_address_headers(entry: &Entry, rule: &Rule, findings: &mut Findings<'_>) {
    for part in &rule.key {
        if let KeyPart::Header(name) = part
            && ADDRESS_HEADERS.contains(&name.as_str())
        {
            findings.warning(
                entry.spots.key,
                format!("a client can write any address into `{name}`"),
                "use `ip`, and name your proxies in `identity.trusted_proxies`",
            );
        }
    }
}

fn about_verified_key(entry: &Entry, rule: &Rule, identity: &Identity, findings: &mut Findings<'_>) {
    if identity.verifies() {
        return;
    }
    if let Some(part) = rule.key.iter().find(|part| part.is_verified()) {
        findings.warning(
            entry.spots.key,
            format!("nobody has a `{part}` but callers that a program has verified: `identity` names nothing to verify them by"),
            "add `identity: {api_keys: keys.yaml}`, or count by `ip`",
        );
    }
}

fn about_typed_key(entry: &Entry, rule: &Rule, routes: &Routes, covers: &Covers, findings: &mut Findings<'_>) {
    // Failures are of the account that was named, whoever names it.
    if matches!(rule.count, Count::Failures(_)) {
        return;
    }
    let Some(typed) = rule.key.iter().find(|part| is_typed(part)) else {
        return;
    };
    if let Some(on) = covers.by_address.gap(rule, routes) {
        findings.warning(
            entry.spots.key,
            format!("whoever sends another `{typed}` with each request is not limited{on}"),
            "add an enforced rule with `key: ip` for the same routes",
        );
    }
}

/// Whether a rule applies must not be for the client to say, unless another rule has those for whom it does not.
fn about_typed_condition(entry: &Entry, rule: &Rule, routes: &Routes, covers: &Covers, findings: &mut Findings<'_>) {
    let typed = rule.asks().iter().find(|attribute| {
        matches!(
            attribute,
            Attribute::Header(_) | Attribute::Cookie(_) | Attribute::Query(_) | Attribute::Body(_)
        )
    });
    let Some(typed) = typed else { return };
    if let Some(on) = covers.by_address.gap(rule, routes) {
        findings.warning(
            entry.spots.when,
            format!("whoever sends another `{typed}` than `when` asks for is not limited{on}"),
            "add an enforced rule with `key: ip` and without `when` for the same routes",
        );
    }
}

fn about_claimed_cost(entry: &Entry, rule: &Rule, routes: &Routes, covers: &Covers, findings: &mut Findings<'_>) {
    let source = match &rule.cost.reserve {
        CostSource::Fixed(_) | CostSource::ByClass(_) => return,
        CostSource::Amount(amount) => match amount.reads().iter().find(|attribute| attribute.is_typed()) {
            Some(typed) => typed.to_string(),
            None => return,
        },
        CostSource::Header(name) => format!("header.{name}"),
        CostSource::Body(pointer) => format!("body.{pointer}"),
    };
    if rule.cost.settle.is_some() {
        return;
    }
    if let Some(on) = covers.by_count.gap(rule, routes) {
        findings.warning(
            entry.spots.cost,
            format!("whoever sends 0 as `{source}` is not limited{on}"),
            "settle the cost by the response, or add an enforced rule that counts requests for the same routes",
        );
    }
}

/// An account's name is known to others than its owner.
fn about_victims(entry: &Entry, rule: &Rule, findings: &mut Findings<'_>) {
    let locked = rule.exceed.first().map(|Step::Lock(length)| *length);
    let counts_failures = matches!(rule.count, Count::Failures(_));
    if rule.rationale.is_some() || (locked.is_none() && !counts_failures) {
        return;
    }
    let remedy = "give its owner another way in, such as a mail to reset it, and say so in `rationale`";
    let for_long = locked.map_or_else(String::new, |length| format!(" for {}", span(length)));
    if rule.key.is_empty() {
        findings.warning(
            entry.spots.key,
            format!("whoever uses this limit up keeps everybody out{for_long}"),
            "give the rule a key, or say in `rationale` why this is meant",
        );
    } else if !rule
        .key
        .iter()
        .any(|part| matches!(part, KeyPart::Ip | KeyPart::IpNetwork(_)))
        && let Some(typed) = rule.key.iter().find(|part| is_typed(part))
    {
        let what = if counts_failures { "failed attempts" } else { "requests" };
        findings.warning(
            entry.spots.key,
            format!(
                "with {} {what} whoever knows another's `{typed}` keeps its owner out{for_long}",
                rule.limit.at_once(),
            ),
            remedy,
        );
    }
}

/// A length of time in the largest unit that divides it.
fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        _ if length.subsec_nanos() != 0 => format!("{length:?}"),
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{}min", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

fn about_bodies(entry: &Entry, rule: &Rule, findings: &mut Findings<'_>) {
    if rule.routes.is_empty() && rule.reads_body() {
        let spot = if rule.key.iter().any(|part| matches!(part, KeyPart::Body { .. })) {
            entry.spots.key
        } else {
            entry.spots.cost
        };
        findings.warning(
            spot,
            "the body of every request is read for this rule before the request goes on",
            "name the routes whose bodies have this member in `routes`",
        );
    }
}

/// Headers that hold an address wherever a proxy wrote them, and anything where a client did.
const ADDRESS_HEADERS: [&str; 8] = [
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-client-ip",
    "x-original-forwarded-for",
    "x-cluster-client-ip",
];

fn about_missing_key(entry: &Entry, rule: &Rule, findings: &mut Findings<'_>) {
    let Some(spot) = entry.spots.on_missing_key else { return };
    if rule.on_missing_key == OnMissingKey::Skip {
        findings.warning(
            spot,
            "whoever leaves a part of the key out is not limited by this rule",
            "write ip, shared or refuse, unless another rule limits such requests",
        );
    } else if rule.key.is_empty() {
        findings.warning(spot, "this rule has no key that could be missing", "remove the field");
    }
}

fn about_uncovered_routes(routes: &Routes, covers: &Covers, findings: &mut Findings<'_>) {
    if covers.any.everywhere {
        return;
    }
    for (entry, covered) in routes.all.iter().zip(&covers.any.by_route) {
        if let (Some(route), Some(spot), false) = (&entry.route, entry.spot, covered) {
            findings.warning(
                spot,
                format!("no rule applies to the route {}", quoted(&route.name)),
                "name it in a rule's `routes`, or add a rule without `routes`",
            );
        }
    }
}
