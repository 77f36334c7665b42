//! What is allowed and probably not meant.

use super::super::checked::{Enforce, KeyPart, OnMissingKey, Rule, State};
use super::super::fault::quoted;
use super::super::findings::Findings;
use super::routes::Routes;
use super::rules::{Entry, Rules};

/// Adds the warnings that need the whole policy.
pub(super) fn give(routes: &Routes, rules: &Rules, state: &State, findings: &mut Findings<'_>) {
    if rules.all.is_empty() && !rules.unreadable {
        let text = "there are no rules: every request passes";
        let remedy = "add `rules:`, as in {name: per-client, key: ip, limit: 100/min}";
        match rules.spot {
            Some(spot) => findings.warning(spot, text, remedy),
            None => findings.warning_of_file("rules", text, remedy),
        }
        return;
    }
    let guard = Guard::new(routes, rules);
    for entry in &rules.all {
        let Some(rule) = &entry.rule else { continue };
        about_typed_key(entry, rule, routes, &guard, findings);
        about_missing_key(entry, rule, findings);
        if (1..100).contains(&rule.enforce.as_percent()) && state.directory.is_none() {
            findings.warning(
                entry.enforce_spot,
                "which keys are enforced is drawn anew at each start, because no folder keeps the secret",
                "add `state: {directory: ./state}`",
            );
        }
    }
    about_uncovered_routes(routes, &guard, findings);
}

/// Which requests are limited by what a client cannot choose.
struct Guard {
    /// An enforced rule by address applies to every request.
    everywhere: bool,
    /// An enforced rule by address applies to this route.
    by_route: Vec<bool>,
    /// Some rule applies to every request.
    covered_everywhere: bool,
    /// Some rule applies to this route.
    covered: Vec<bool>,
}

impl Guard {
    fn new(routes: &Routes, rules: &Rules) -> Self {
        let mut guard = Self {
            everywhere: false,
            by_route: vec![false; routes.all.len()],
            covered_everywhere: false,
            covered: vec![false; routes.all.len()],
        };
        for entry in &rules.all {
            let Some(rule) = &entry.rule else {
                // What a faulty rule covers is not known; silence is better than a wrong warning.
                guard.covered_everywhere = true;
                guard.everywhere = true;
                continue;
            };
            let guards =
                rule.enforce == Enforce::ALL && rule.key.contains(&KeyPart::Ip) && !rule.key.iter().any(is_typed);
            if rule.routes.is_empty() {
                guard.everywhere |= guards;
                guard.covered_everywhere = true;
            }
            for &index in &rule.routes {
                guard.by_route[index] |= guards;
                guard.covered[index] = true;
            }
        }
        guard
    }

    /// A request that `rule` applies to and no address rule does: the route's name, or all that no route takes in.
    fn gap<'r>(&self, rule: &Rule, routes: &'r Routes) -> Option<&'r str> {
        if self.everywhere {
            return None;
        }
        if rule.routes.is_empty() {
            return Some("every route");
        }
        let open = rule.routes.iter().find(|index| !self.by_route[**index])?;
        routes.all.get(*open)?.route.as_ref().map(|route| route.name.as_str())
    }
}

/// Whether a client can send any number of values for it.
fn is_typed(part: &KeyPart) -> bool {
    match part {
        KeyPart::Header(_) | KeyPart::Body { .. } | KeyPart::Host => true,
        KeyPart::Ip | KeyPart::Route | KeyPart::Method => false,
    }
}

fn about_typed_key(entry: &Entry, rule: &Rule, routes: &Routes, guard: &Guard, findings: &mut Findings<'_>) {
    for part in &rule.key {
        if let KeyPart::Header(name) = part
            && ADDRESS_HEADERS.contains(&name.as_str())
        {
            findings.warning(
                entry.key_spot,
                format!("a client can write any address into `{name}`"),
                "use `ip`, and name your proxies in `identity.trusted_proxies`",
            );
        }
    }
    let Some(typed) = rule.key.iter().find(|part| is_typed(part)) else {
        return;
    };
    let Some(route) = guard.gap(rule, routes) else { return };
    let typed = match typed {
        KeyPart::Header(name) => format!("header.{name}"),
        KeyPart::Body { pointer, .. } => format!("body.{pointer}"),
        _ => "host".to_owned(),
    };
    let on = if rule.routes.is_empty() {
        String::new()
    } else {
        format!(" on the route {}", quoted(route))
    };
    findings.warning(
        entry.key_spot,
        format!("whoever sends another `{typed}` with each request is not limited{on}"),
        "add an enforced rule with `key: ip` for the same routes",
    );
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
    let Some(spot) = entry.on_missing_key_spot else { return };
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

fn about_uncovered_routes(routes: &Routes, guard: &Guard, findings: &mut Findings<'_>) {
    if guard.covered_everywhere {
        return;
    }
    for (entry, covered) in routes.all.iter().zip(&guard.covered) {
        if let (Some(route), Some(spot), false) = (&entry.route, entry.spot, covered) {
            findings.warning(
                spot,
                format!("no rule applies to the route {}", quoted(&route.name)),
                "name it in a rule's `routes`, or add a rule without `routes`",
            );
        }
    }
}
