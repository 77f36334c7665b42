//! That no request meets more than one decision has room for: rules, things held, and members of bodies.

use std::collections::HashSet;
use std::hash::Hash;

use sluicegate_core::RULES_MAX;

use super::super::checked::{HOLDS_MAX, MEMBERS_MAX, Pointer, Rule};
use super::super::fault::quoted;
use super::super::findings::{Findings, Spot};
use super::routes::Routes;

/// What a request meets, by its route.
pub(super) struct Load {
    rules: Meter<usize>,
    holds: Meter<usize>,
    request_members: Meter<Pointer>,
    response_members: Meter<Pointer>,
    /// How many rules were added.
    added: usize,
}

impl Load {
    pub(super) fn new(routes: &Routes) -> Self {
        let count = routes.all.len();
        Self {
            rules: Meter::new(count, RULES_MAX),
            holds: Meter::new(count, HOLDS_MAX),
            request_members: Meter::new(count, MEMBERS_MAX),
            response_members: Meter::new(count, MEMBERS_MAX),
            added: 0,
        }
    }

    /// Counts a rule in, and notes the first with which some request meets too much.
    pub(super) fn add(&mut self, rule: &Rule, spot: Spot, routes: &Routes, findings: &mut Findings<'_>) {
        if rule.is_for_programs() {
            // No request meets it.
            return;
        }
        let number = self.added;
        self.added += 1;
        if let Some(excess) = self.rules.add(&rule.routes, [number]) {
            findings.fault(
                spot,
                format!("with this rule {} meet {} rules", excess.requests(routes), excess.total),
                format!("let at most {RULES_MAX} rules apply to one request; name routes, or join rules"),
            );
        }
        if rule.holds()
            && let Some(excess) = self.holds.add(&rule.routes, [number])
        {
            findings.fault(
                spot,
                format!(
                    "with this rule {} meet {} rules that hold something until the response has ended",
                    excess.requests(routes),
                    excess.total
                ),
                format!("let at most {HOLDS_MAX} rules with permits, failures or `settle` apply to one request"),
            );
        }
        if let Some(excess) = self.request_members.add(&rule.routes, rule.request_members().cloned()) {
            findings.fault(
                spot,
                format!(
                    "with this rule {} members are read of the body of {}",
                    excess.total,
                    excess.requests(routes)
                ),
                format!("let keys and costs read at most {MEMBERS_MAX} different members on one route"),
            );
        }
        if let Some(excess) = self
            .response_members
            .add(&rule.routes, rule.response_members().cloned())
        {
            findings.fault(
                spot,
                format!(
                    "with this rule {} members are read of the body of the response to {}",
                    excess.total,
                    excess.requests(routes)
                ),
                format!("let `settle` and `failed_when` read at most {MEMBERS_MAX} different members on one route"),
            );
        }
    }
}

/// More than one request may meet.
struct Excess {
    total: usize,
    /// The route whose requests they are; `None` for all requests.
    route: Option<usize>,
}

impl Excess {
    fn requests(&self, routes: &Routes) -> String {
        let route = self.route.and_then(|index| routes.all.get(index)?.route.as_ref());
        route.map_or_else(
            || "requests".to_owned(),
            |route| format!("requests of the route {}", quoted(&route.name)),
        )
    }
}

/// Different things that the requests of each route meet.
struct Meter<T> {
    everywhere: HashSet<T>,
    /// None of these is also in `everywhere`.
    by_route: Vec<HashSet<T>>,
    /// The route with the most things of its own.
    fullest: Option<usize>,
    most: usize,
    is_noted: bool,
}

impl<T: Hash + Eq + Clone> Meter<T> {
    fn new(routes: usize, most: usize) -> Self {
        Self {
            everywhere: HashSet::new(),
            by_route: vec![HashSet::new(); routes],
            fullest: None,
            most,
            is_noted: false,
        }
    }

    /// Adds what requests of `routes` meet, of all requests where there is none; tells of the first excess.
    fn add(&mut self, routes: &[usize], things: impl IntoIterator<Item = T>) -> Option<Excess> {
        // What was noted once is mended before anything else is worth counting.
        if self.is_noted {
            return None;
        }
        for thing in things {
            if routes.is_empty() {
                self.add_everywhere(thing);
                continue;
            }
            for &index in routes {
                // Numbers come from the same list of routes.
                if !self.everywhere.contains(&thing) && self.by_route[index].insert(thing.clone()) {
                    let is_fuller = self.by_route[index].len() > self.own(self.fullest);
                    self.fullest = if is_fuller { Some(index) } else { self.fullest };
                }
            }
        }
        let total = self.everywhere.len() + self.own(self.fullest);
        self.is_noted = total > self.most;
        self.is_noted.then_some(Excess {
            total,
            route: self.fullest,
        })
    }

    /// Looks at every route, which happens at most once more than `most` allows: things that are there already do not
    /// come so far, and behind an excess nothing does.
    fn add_everywhere(&mut self, thing: T) {
        if self.everywhere.contains(&thing) {
            return;
        }
        let mut moved = false;
        for own in &mut self.by_route {
            moved |= own.remove(&thing);
        }
        self.everywhere.insert(thing);
        if moved {
            let fullest = (0..self.by_route.len()).max_by_key(|index| self.by_route[*index].len());
            self.fullest = fullest.filter(|index| !self.by_route[*index].is_empty());
        }
    }

    fn own(&self, route: Option<usize>) -> usize {
        route.map_or(0, |index| self.by_route[index].len())
    }
}
