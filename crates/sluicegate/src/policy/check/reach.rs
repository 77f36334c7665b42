//! That every route can be reached.

use std::collections::hash_map::Entry as Place;
use std::collections::{BTreeMap, HashMap};

use http::Method;
use matchit::{InsertError, Router};

use super::super::checked::Route;
use super::super::fault::quoted;
use super::super::findings::{Findings, Spot};
use super::routes::Entry;
use crate::route::shape;

/// Notes each route that can take in no request because an earlier one ties with it.
///
/// The tables are those that a router makes: one for each host and each method that is named there, in which the
/// routes for every method stand too unless one for this method has the same path.
pub(super) fn check(routes: &[Entry], list_spot: Option<Spot>, findings: &mut Findings<'_>) {
    let mut hosts: BTreeMap<&str, ByMethod> = BTreeMap::new();
    let mut ties: HashMap<Tie<'_>, usize> = HashMap::new();
    for (index, entry) in routes.iter().enumerate() {
        let (Some(route), Some(spot)) = (&entry.route, entry.spot) else {
            continue;
        };
        let shape = shape(&route.path);
        let rival = pairs(route).find_map(|(host, method)| {
            match ties.entry(Tie {
                host,
                method,
                shape: shape.clone(),
            }) {
                Place::Occupied(first) => Some((*first.get(), method)),
                Place::Vacant(place) => {
                    place.insert(index);
                    let by_method = hosts.entry(host).or_default();
                    match method {
                        Some(method) => by_method
                            .named
                            .entry(method.as_str().to_owned())
                            .or_default()
                            .push(index),
                        None => by_method.any.push(index),
                    }
                    None
                }
            }
        });
        if let Some((rival, method)) = rival.filter(|(rival, _)| *rival != index) {
            let rival = routes[rival]
                .route
                .as_ref()
                .map(|route| quoted(&route.name))
                .unwrap_or_default();
            let requests = method.map(|method| format!(" {method}")).unwrap_or_default();
            findings.fault(
                spot,
                format!(
                    "the route {rival} takes in the same{requests} requests, {}",
                    quoted(&route.path)
                ),
                "let them differ in host, method or path, or remove one",
            );
        }
    }
    check_tables(routes, &hosts, list_spot, findings);
}

/// The routes of one host, by their place in the file.
#[derive(Default)]
struct ByMethod {
    any: Vec<usize>,
    named: BTreeMap<String, Vec<usize>>,
}

impl ByMethod {
    /// The members of each table that the router will make: one for each method named, HEAD's with the routes for GET in it,
    /// and one for all other methods.
    fn tables(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        let get = self.named.get(Method::GET.as_str());
        let head = Method::HEAD.as_str();
        let with_any = |named: &[usize]| named.iter().chain(&self.any).copied().collect::<Vec<_>>();
        let named = self.named.iter().filter(move |(method, _)| *method != head);
        let head = get.map(|get| {
            let named = self.named.get(head).into_iter().flatten();
            with_any(&named.chain(get).copied().collect::<Vec<_>>())
        });
        named
            .map(move |(_, named)| with_any(named))
            .chain(head)
            .chain([self.any.clone()])
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Tie<'r> {
    host: &'r str,
    method: Option<&'r Method>,
    shape: String,
}

/// Builds the tables, and notes what cannot stand in one beside another: `{name}` and `{*name}` in one place.
fn check_tables(
    routes: &[Entry],
    hosts: &BTreeMap<&str, ByMethod>,
    list_spot: Option<Spot>,
    findings: &mut Findings<'_>,
) {
    let places: usize = hosts
        .values()
        .map(|by| by.any.len() * (by.named.len() + 1) + by.named.values().map(Vec::len).sum::<usize>())
        .sum();
    if places > COMBINATIONS_MAX {
        if let Some(spot) = list_spot {
            let problem = format!("the routes fill {places} places in the routing tables");
            findings.fault(
                spot,
                problem,
                format!("keep it to {COMBINATIONS_MAX}; name fewer methods and hosts"),
            );
        }
        return;
    }
    let mut noted = vec![false; routes.len()];
    for by_method in hosts.values() {
        for mut members in by_method.tables() {
            members.sort_unstable();
            let mut router = Router::new();
            for index in members {
                let (Some(route), Some(spot)) = (&routes[index].route, routes[index].spot) else {
                    continue;
                };
                let Err(error) = router.insert(route.path.as_str(), index) else {
                    continue;
                };
                let rival = match &error {
                    InsertError::Conflict { with } => with.clone(),
                    _ => String::new(),
                };
                // A route for every method gives way to one for this method with the same path.
                if shape(&rival) == shape(&route.path) || std::mem::replace(&mut noted[index], true) {
                    continue;
                }
                findings.fault(
                    spot,
                    format!("the path {} cannot stand beside {}", quoted(&route.path), quoted(&rival)),
                    "where one route has {name}, another for the same host and method cannot have {*name}: add a literal segment",
                );
            }
        }
    }
}

/// The hosts and methods of a route; an empty host and no method stand for every one.
///
/// That `GET` takes in `HEAD` makes no tie: a route that names `HEAD` goes before.
fn pairs(route: &Route) -> impl Iterator<Item = (&str, Option<&Method>)> {
    let hosts = route
        .hosts
        .iter()
        .map(String::as_str)
        .chain(route.hosts.is_empty().then_some(""));
    hosts.flat_map(|host| {
        let methods = route
            .methods
            .iter()
            .map(Some)
            .chain(route.methods.is_empty().then_some(None));
        methods.map(move |method| (host, method))
    })
}

/// Combinations of host and method over all routes, and places in the routing tables made of them: a table is made
/// for each pair, and loading must stay a matter of milliseconds.
pub(super) const COMBINATIONS_MAX: usize = 100_000;
