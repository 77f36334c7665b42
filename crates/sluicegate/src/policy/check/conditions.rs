//! Expressions: what they may ask where they stand, and the list of what is always allowed.

use std::collections::HashMap;

use super::super::checked::{ALLOW_MAX, Allow};
use super::super::fault::quoted;
use super::super::findings::{Findings, Located, Spot};
use super::super::raw::AllowFields;
use super::super::scalar::ExpressionText;
use super::super::shape::{Field, List};
use super::routes::Routes;
use crate::condition::{Amount, Attribute, Condition, Fault, Scope};
use crate::route::PathPart;

/// Which parts of paths an expression, or a key, can ask for: those of the routes that it applies to, all routes if `on` is
/// empty. `None` where some route has faults, and may have any.
pub(super) fn path_parts(routes: &Routes, on: &[usize]) -> Option<Vec<String>> {
    let all = !routes.unreadable && routes.all.iter().all(|entry| entry.route.is_some());
    let entries = routes.all.iter().enumerate();
    let entries = entries.filter(|(index, _)| on.is_empty() || on.contains(index));
    let patterns = entries.filter_map(|(_, entry)| Some(&entry.route.as_ref()?.path));
    let mut names: Vec<String> = patterns
        .flat_map(|pattern| PathPart::all(pattern))
        .map(|part| part.name.into_string())
        .collect();
    names.sort_unstable();
    names.dedup();
    all.then_some(names)
}

/// Reads a condition of the rule for the routes `on`.
pub(super) fn condition(
    text: &Located<ExpressionText>,
    routes: &Routes,
    on: &[usize],
    findings: &mut Findings<'_>,
) -> Option<Condition> {
    noted(
        text.spot,
        within(routes, on, true, |scope| Condition::read(&text.value.0, scope)),
        findings,
    )
}

/// Reads an amount of the rule for the routes `on`.
pub(super) fn amount(
    text: &Located<ExpressionText>,
    routes: &Routes,
    on: &[usize],
    findings: &mut Findings<'_>,
) -> Option<Amount> {
    noted(
        text.spot,
        within(routes, on, true, |scope| Amount::read(&text.value.0, scope)),
        findings,
    )
}

fn within<T>(routes: &Routes, on: &[usize], body: bool, read: impl FnOnce(&Scope<'_>) -> T) -> T {
    let names: Vec<&str> = routes.by_name.keys().map(String::as_str).collect();
    let parts = path_parts(routes, on);
    let parts: Option<Vec<&str>> = parts.as_ref().map(|parts| parts.iter().map(String::as_str).collect());
    read(&Scope {
        routes: (!routes.unreadable).then_some(&names),
        path_parts: parts.as_deref(),
        body,
    })
}

fn noted<T>(spot: Spot, read: Result<T, Fault>, findings: &mut Findings<'_>) -> Option<T> {
    read.map_err(|fault| findings.fault(spot, fault.problem, fault.remedy))
        .ok()
}

/// Checks the list of what is always allowed.
pub(super) fn check_allow(
    raw: Field<List<AllowFields, 0, ALLOW_MAX>>,
    routes: &Routes,
    findings: &mut Findings<'_>,
) -> Vec<Allow> {
    let mut by_name: HashMap<String, Spot> = HashMap::new();
    let mut entries = Vec::new();
    for Located { value, spot } in raw.value().map(|list| list.0).unwrap_or_default() {
        if let Some(name) = value.name.as_ref()
            && let Some(first) = by_name.insert(name.value.0.clone(), spot)
        {
            let problem = format!(
                "{} is also the name of {}",
                quoted(&name.value.0),
                findings.place(first)
            );
            findings.fault(name.spot, problem, "give each entry a name of its own");
        }
        let when = value.when.as_ref().and_then(|text| {
            let read = within(routes, &[], false, |scope| Condition::read(&text.value.0, scope));
            let condition = noted(text.spot, read, findings)?;
            about_typed(&condition, text.spot, findings);
            Some(condition)
        });
        let name = value.name.value();
        if let (Some(name), Some(when)) = (name, when) {
            entries.push(Allow {
                name: name.0,
                when,
                description: value.description.value().map(|text| text.0),
            });
        }
    }
    entries
}

/// An entry that only asks for what a client can write is open to all who know of it.
fn about_typed(condition: &Condition, spot: Spot, findings: &mut Findings<'_>) {
    let is_verified = |attribute: &Attribute| {
        matches!(
            attribute,
            Attribute::Ip | Attribute::Tenant | Attribute::Tier | Attribute::User | Attribute::Claim(_)
        )
    };
    if condition.reads().iter().any(is_verified) {
        return;
    }
    let typed = condition.reads().iter().find(|attribute| {
        matches!(
            attribute,
            Attribute::Header(_) | Attribute::Cookie(_) | Attribute::Query(_)
        )
    });
    if let Some(typed) = typed {
        findings.warning(
            spot,
            format!("whoever writes what is asked of `{typed}` is never limited"),
            "ask for the address too, as in in_network(ip, \"10.1.0.0/16\") && …",
        );
    }
}
