//! Routes: that their names are their own, that each has somewhere to go, and that each can be reached.

use std::collections::HashMap;

use super::super::checked::{IMPLICIT_ROUTE, Paths, Route};
use super::super::fault::quoted;
use super::super::findings::{Findings, Located, Spot};
use super::super::nearest::nearest;
use super::super::raw::RouteFields;
use super::super::shape::{Field, List};
use super::reach::{self, COMBINATIONS_MAX};
use crate::path;

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
    paths: Paths,
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
        let route = check_one(value, spot, paths, &upstreams, findings);
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
        reach::check(&routes.all, list_spot, findings);
    }
    routes
}

/// A gateway without routes passes everything to its one upstream.
fn implicit(routes: &mut Routes, upstreams: &[String], list_spot: Option<Spot>, findings: &mut Findings<'_>) {
    if let [_] = upstreams {
        let route = Route {
            name: IMPLICIT_ROUTE.to_owned(),
            methods: Vec::new(),
            hosts: Vec::new(),
            path: "/{*rest}".to_owned(),
            upstream: Some(0),
            sensitivity: None,
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

fn check_one(
    raw: RouteFields,
    spot: Spot,
    paths: Paths,
    upstreams: &Upstreams,
    findings: &mut Findings<'_>,
) -> Option<Route> {
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
        path: check_path(raw.path, paths, findings)?,
        upstream: upstream.ok()?,
        sensitivity: raw.sensitivity.value(),
        description: raw.description.value().map(|text| text.0),
    })
}

/// A pattern has to be in the form that requests are routed in, or none would ever meet it.
fn check_path(
    raw: Field<super::super::scalar::PathPattern>,
    paths: Paths,
    findings: &mut Findings<'_>,
) -> Option<String> {
    let Located { value, spot } = raw.given()?;
    let pattern = value.0;
    // Parameters have braces, which no path has; any name does in their place.
    let segments: Vec<&str> = pattern.split('/').collect();
    let named = segments
        .iter()
        .map(|segment| if segment.starts_with('{') { "x" } else { segment });
    let path = named.collect::<Vec<_>>().join("/");
    match path::canonical(&path, paths) {
        Ok(form) if form == path => return Some(pattern),
        // Segment by segment, or else no parameter would find its name again.
        Ok(form) if form.split('/').count() == segments.len() => {
            let written = form.split('/').zip(&segments);
            let written = written.map(|(form, segment)| if segment.starts_with('{') { segment } else { form });
            let written = written.collect::<Vec<_>>().join("/");
            findings.fault(
                spot,
                "is a path that no request has: paths are brought into one form first",
                format!("write {written}, or say in `paths` what to keep"),
            );
        }
        Ok(_) => findings.fault(
            spot,
            "is a path that no request has: paths are brought into one form first",
            "leave out empty segments, dot segments and the slash at the end, or say in `paths` what to keep",
        ),
        Err(fault) => findings.fault(
            spot,
            format!("is a path that no request has: {fault}"),
            "write a path without it, or say in `paths` what to keep",
        ),
    }
    None
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
