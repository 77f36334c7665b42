//! Costs by the class of a request: that each class is there, and that what it costs can pass.

use std::collections::HashMap;

use super::super::checked::{ClassCosts, CostBy, Route, RuleLimit, Sensitivity};
use super::super::fault::quoted;
use super::super::findings::{Findings, Located};
use super::super::nearest::nearest;
use super::super::scalar::Whole;
use super::super::shape::{Field, Named};
use super::costs::check_most;
use super::routes::Routes;

/// The costs of each class, `others` of those that are not named.
pub(super) fn check<const MOST: u64, const MAX: usize>(
    by: &Located<CostBy>,
    values: Field<Named<Whole<1, MOST>, MAX>>,
    others: u64,
    routes: &Routes,
    burst: Option<RuleLimit>,
    findings: &mut Findings<'_>,
) -> Option<ClassCosts> {
    if values.is_absent() {
        findings.fault(
            by.spot,
            "no class has a cost of its own",
            "add `values:`, as in {costly: 5, critical: 10}",
        );
    }
    if others == 0 {
        findings.fault(
            by.spot,
            "a class that is not named would cost nothing",
            "write a default of 1 or more",
        );
    }
    let mut named: HashMap<String, u64> = HashMap::new();
    let Located {
        value: Named(values),
        spot,
    } = values.given()?;
    for (name, units) in values {
        let Field::Given(units) = units else { return None };
        check_most(Some((units.value.0, units.spot)), burst, findings);
        let classes = || match by.value {
            CostBy::Sensitivity => Sensitivity::NAMES.to_vec(),
            CostBy::Route => routes.by_name.keys().map(String::as_str).collect(),
        };
        let may_be_there = by.value == CostBy::Route && routes.unreadable;
        if !may_be_there && !classes().contains(&name.as_str()) {
            let remedy = match nearest(&name, classes()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!(
                    "name one of the policy's {}",
                    match by.value {
                        CostBy::Sensitivity => "classes, low, normal, costly and critical",
                        CostBy::Route => "routes",
                    }
                ),
            };
            findings.fault(
                spot,
                format!("there is no {} {}", by.value.as_str(), quoted(&name)),
                remedy,
            );
        }
        named.insert(name, units.value.0);
    }
    let of = |name: &str| named.get(name).copied().unwrap_or(others).max(1);
    let class = |route: Option<&Route>| match by.value {
        CostBy::Route => route.map_or(others.max(1), |route| of(&route.name)),
        CostBy::Sensitivity => of(Sensitivity::of(route).as_str()),
    };
    Some(ClassCosts {
        by: by.value,
        of_routes: routes.all.iter().map(|entry| class(entry.route.as_ref())).collect(),
        of_none: class(None),
    })
}
