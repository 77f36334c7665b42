//! Routes: that their names are their own, that each has somewhere to go, and that each can be reached.

use std::collections::{BTreeMap, HashMap};

use http::Method;
use matchit::Router;

use super::super::checked::{IMPLICIT_ROUTE, Route};
use super::super::fault::quoted;
use super::super::findings::{Findings, Located, Spot};
use super::super::nearest::nearest;
use super::super::raw::RouteFields;
use super::super::shape::{Field, List};

/// The file's routes. A faulty one keeps its place, so that the others keep their numbers.
pub(super) struct Routes {
    pub(super) all: Vec<Entry>,
    /// Which route a name means.
    pub(super) by_name: HashMap<String, usize>,
    /// Whether the list itself could not be read, so that no name can be called unknown.
    pub(super) unreadable: bool,
}

/// One route of the file.
pub(super) struct Entry {
    /// `None` where the route has faults.
    pub(super) route: Option<Route>,
    /// `None` for the route that no file lists.
    pub(super) spot: Option<Spot>,
}

impl Routes {
    pub(super) fn checked(self) -> Vec<Route> {
        self.all.into_iter().filter_map(|entry| entry.route).collect()
    }
}

/// Checks the list; `upstreams` are the gateway's, `None` where there is no (readable) gateway.
pub(super) fn check<const MIN: usize, const MAX: usize>(
    raw: Field<List<RouteFields, MIN, MAX>>,
    upstreams: Option<Vec<String>>,
    gateway_is_faulty: bool,
    findings: &mut Findings<'_>,
) -> Routes {
    let mut routes = Routes {
        all: Vec::new(),
        by_name: HashMap::new(),
        unreadable: matches!(raw, Field::Faulty),
    };
    let list = raw.given();
    let list_spot = list.as_ref().map(|list| list.spot);
    let list = list.map(|list| list.value.0).unwrap_or_default();

    if list.is_empty()
        && !routes.unreadable
        && let Some(upstreams) = &upstreams
    {
        implicit(&mut routes, upstreams, list_spot, findings);
        return routes;
    }
    let upstreams = Upstreams::new(upstreams, gateway_is_faulty);
    let mut hosts_and_methods = 0;
    for Located { value, spot } in list {
        let index = routes.all.len();
        if let Some(name) = value.name.as_ref() {
            if let Some(first) = routes
                .by_name
                .get(&name.value.0)
                .and_then(|first| routes.all[*first].spot)
            {
                let problem = format!(
                    "{} is also the name of {}",
                    quoted(&name.value.0),
                    findings.place(first)
                );
                findings.fault(name.spot, problem, "give each route a name of its own");
            } else {
                routes.by_name.insert(name.value.0.clone(), index);
            }
        }
        let route = check_one(value, spot, &upstreams, findings);
        hosts_and_methods += route
            .as_ref()
            .map_or(0, |route| route.hosts.len().max(1) * route.methods.len().max(1));
        routes.all.push(Entry {
            route,
            spot: Some(spot),
        });
    }
    if hosts_and_methods > COMBINATIONS_MAX {
        if let Some(spot) = list_spot {
            let problem = format!("the routes have {hosts_and_methods} combinations of host and method");
            findings.fault(
                spot,
                problem,
                format!("keep it to {COMBINATIONS_MAX}; leave out what is the same for all"),
            );
        }
    } else {
        check_reach(&routes.all, list_spot, findings);
    }
    routes
}

/// Combinations of host and method over all routes, and places in the routing tables made of them: a table is made
/// for each pair, and loading must stay a matter of milliseconds.
const COMBINATIONS_MAX: usize = 100_000;

/// A gateway without routes passes everything to its one upstream.
fn implicit(routes: &mut Routes, upstreams: &[String], list_spot: Option<Spot>, findings: &mut Findings<'_>) {
    if let [_] = upstreams {
        let route = Route {
            name: IMPLICIT_ROUTE.to_owned(),
            methods: Vec::new(),
            hosts: Vec::new(),
            path: "/{*rest}".to_owned(),
            upstream: Some(0),
            description: None,
        };
        routes.by_name.insert(route.name.clone(), 0);
        routes.all.push(Entry {
            route: Some(route),
            spot: None,
        });
    } else if upstreams.len() > 1 {
        let problem = format!(
            "there are {} upstreams and no routes that choose between them",
            upstreams.len()
        );
        let remedy = "add `routes:`, each with `name`, `path` and `upstream`";
        match list_spot {
            Some(spot) => findings.fault(spot, problem, remedy),
            None => findings.fault_of_file("routes", problem, remedy),
        }
    }
}

/// The fault is noted already.
struct Noted;

/// What an `upstream` field may say.
struct Upstreams {
    names: Option<Vec<String>>,
    by_name: HashMap<String, usize>,
    /// The gateway is there and cannot be read, so that no name can be called unknown.
    unknowable: bool,
}

impl Upstreams {
    fn new(names: Option<Vec<String>>, unknowable: bool) -> Self {
        let by_name = names
            .iter()
            .flatten()
            .enumerate()
            .map(|(index, name)| (name.clone(), index))
            .collect();
        Self {
            names,
            by_name,
            unknowable,
        }
    }

    /// The upstream of a route; `None` where there is no gateway.
    fn choose(
        &self,
        field: Field<super::super::scalar::Name>,
        route: Spot,
        findings: &mut Findings<'_>,
    ) -> Result<Option<usize>, Noted> {
        let Some(names) = &self.names else {
            if let Field::Given(name) = field
                && !self.unknowable
            {
                let problem = format!("there is no gateway to pass requests on to {}", quoted(&name.value.0));
                findings.fault(
                    name.spot,
                    problem,
                    "add `gateway:` with its `upstreams`, or remove this field",
                );
            }
            return Ok(None);
        };
        match field {
            Field::Faulty => Err(Noted),
            Field::Absent if names.len() == 1 => Ok(Some(0)),
            Field::Absent => {
                findings.missing(route, "upstream", format!("say which of {} answers", listed(names)));
                Err(Noted)
            }
            Field::Given(name) => {
                if let Some(index) = self.by_name.get(&name.value.0) {
                    return Ok(Some(*index));
                }
                let remedy = if findings.is_full() {
                    None
                } else {
                    nearest(&name.value.0, names.iter().map(String::as_str))
                };
                let remedy = remedy.map_or_else(
                    || format!("the upstreams are {}", listed(names)),
                    |meant| format!("did you mean `{meant}`?"),
                );
                findings.fault(
                    name.spot,
                    format!("there is no upstream {}", quoted(&name.value.0)),
                    remedy,
                );
                Err(Noted)
            }
        }
    }
}

/// A few names of many.
pub(super) fn listed(names: &[String]) -> String {
    let mut text = names
        .iter()
        .take(LISTED_MAX)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > LISTED_MAX {
        text.push_str(", …");
    }
    text
}

/// Names that a remedy lists: as many as fit on a line.
const LISTED_MAX: usize = 8;

fn check_one(raw: RouteFields, spot: Spot, upstreams: &Upstreams, findings: &mut Findings<'_>) -> Option<Route> {
    let hosts = distinct(
        &raw.hosts.value().map(|list| list.0).unwrap_or_default(),
        |host| host.0.clone(),
        findings,
    );
    let methods = distinct(
        &raw.methods.value().map(|list| list.0).unwrap_or_default(),
        Clone::clone,
        findings,
    );
    let upstream = upstreams.choose(raw.upstream, spot, findings);
    Some(Route {
        name: raw.name.value()?.0,
        methods,
        hosts,
        path: raw.path.value()?.0,
        upstream: upstream.ok()?,
        description: raw.description.value().map(|text| text.0),
    })
}

/// The entries' values, each of which may stand once.
fn distinct<T, V: Clone + Eq + std::hash::Hash + std::fmt::Display>(
    list: &[Located<T>],
    value: impl Fn(&T) -> V,
    findings: &mut Findings<'_>,
) -> Vec<V> {
    let mut seen = std::collections::HashSet::new();
    for item in list {
        let value = value(&item.value);
        if !seen.insert(value.clone()) {
            findings.fault(
                item.spot,
                format!("\"{value}\" is listed twice"),
                "remove one of the two",
            );
        }
    }
    list.iter().map(|item| value(&item.value)).collect()
}

/// Notes each route that can take in no request because an earlier one ties with it.
///
/// The tables are those that a router makes: one for each host and each method that is named there, in which the
/// routes for every method stand too unless one for this method has the same path.
fn check_reach(routes: &[Entry], list_spot: Option<Spot>, findings: &mut Findings<'_>) {
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
                method: method.clone(),
                shape: shape.clone(),
            }) {
                std::collections::hash_map::Entry::Occupied(first) => Some((*first.get(), method)),
                std::collections::hash_map::Entry::Vacant(place) => {
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

#[derive(PartialEq, Eq, Hash)]
struct Tie<'r> {
    host: &'r str,
    method: Option<Method>,
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
        let none = Vec::new();
        for named in by_method.named.values().chain(std::iter::once(&none)) {
            let mut members: Vec<usize> = named.iter().chain(&by_method.any).copied().collect();
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
                    matchit::InsertError::Conflict { with } => with.clone(),
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

/// The hosts and methods of a route; an empty host and no method stand for every one. `GET` takes in `HEAD`.
fn pairs(route: &Route) -> impl Iterator<Item = (&str, Option<Method>)> {
    let hosts: Vec<&str> = if route.hosts.is_empty() {
        vec![""]
    } else {
        route.hosts.iter().map(String::as_str).collect()
    };
    let mut methods: Vec<Option<Method>> = route.methods.iter().cloned().map(Some).collect();
    if route.methods.is_empty() {
        methods.push(None);
    } else if route.methods.contains(&Method::GET) && !route.methods.contains(&Method::HEAD) {
        methods.push(Some(Method::HEAD));
    }
    hosts
        .into_iter()
        .flat_map(move |host| methods.clone().into_iter().map(move |method| (host, method)))
}

/// A path without the names of its parameters: two paths of one shape take in the same requests.
fn shape(path: &str) -> String {
    let segment = |segment: &str| match segment.as_bytes() {
        [b'{', b'*', ..] => "{*}".to_owned(),
        [b'{', ..] => "{}".to_owned(),
        _ => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}
