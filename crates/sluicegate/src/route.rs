//! Which named class a request belongs to.

use std::collections::HashMap;

use http::Method;
use matchit::{InsertError, Router};

use crate::path::loosened;
use crate::paths::PathTree;
use crate::policy::checked::Route;

/// A route's place in its policy, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(u16);

impl RouteId {
    pub(crate) const fn new(index: u16) -> Self {
        Self(index)
    }

    /// The route's index in its policy.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Finds a request's route by host, then path, then method.
///
/// An exact host goes before a wildcard, a longer wildcard before a shorter one, and both before routes of every host.
/// Among the routes of a host that take the method, the most particular path wins: literal segments before `{name}`,
/// both before `{*rest}`. Of two routes with the same path, the one that names the method wins, then the earlier one.
#[derive(Clone)]
pub(crate) struct Routes {
    hosts: HashMap<String, Paths>,
    /// By the part after `*`, which begins with a dot; the longest first.
    wildcards: Vec<(String, Paths)>,
    any: Paths,
}

impl Routes {
    /// Routes of a checked policy.
    ///
    /// # Errors
    ///
    /// If two paths cannot stand beside each other, which reading a policy rules out.
    pub(crate) fn new(routes: &[Route]) -> Result<Self, PathConflict> {
        let mut any = Vec::new();
        let mut by_host = HashMap::<&str, Vec<(&Route, RouteId)>>::new();
        for (route, index) in routes.iter().zip(0..) {
            if route.hosts.is_empty() {
                any.push((route, RouteId(index)));
            }
            for host in &route.hosts {
                by_host.entry(host).or_default().push((route, RouteId(index)));
            }
        }
        let mut hosts = HashMap::new();
        let mut wildcards = Vec::new();
        for (host, routes) in by_host {
            match host.strip_prefix('*') {
                Some(suffix) => wildcards.push((suffix.to_owned(), Paths::new(&routes)?)),
                None => drop(hosts.insert(host.to_owned(), Paths::new(&routes)?)),
            }
        }
        wildcards.sort_unstable_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        Ok(Self {
            hosts,
            wildcards,
            any: Paths::new(&any)?,
        })
    }

    /// The request's route; `None` if no route takes it in. No allocation, but for a path with escaped delimiters.
    pub(crate) fn find(&self, method: &Method, host: &str, path: &str) -> Option<RouteId> {
        let path = &*loosened(path);
        if !self.hosts.is_empty()
            && let Some(route) = self.hosts.get(host).and_then(|paths| paths.find(method, path))
        {
            return Some(route);
        }
        let below = |suffix: &String| host.len() > suffix.len() && host.ends_with(suffix.as_str());
        self.wildcards
            .iter()
            .filter(|(suffix, _)| below(suffix))
            .find_map(|(_, paths)| paths.find(method, path))
            .or_else(|| self.any.find(method, path))
    }
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routes")
            .field("hosts", &self.hosts.len())
            .finish_non_exhaustive()
    }
}

/// The routes of one host, by method and path.
#[derive(Clone)]
struct Paths {
    /// For each method that any of them names, all routes that take it.
    by_method: Vec<(Method, PathTree)>,
    /// For every other method, the routes that name none.
    other: PathTree,
}

impl Paths {
    fn new(routes: &[(&Route, RouteId)]) -> Result<Self, PathConflict> {
        let mut methods: Vec<&Method> = routes.iter().flat_map(|(route, _)| &route.methods).collect();
        methods.sort_unstable_by_key(|method| method.as_str());
        methods.dedup();
        // Whoever may GET may ask for the head of the same answer, and must not do so beside the limit.
        if methods.contains(&&Method::GET) && !methods.contains(&&Method::HEAD) {
            methods.push(&Method::HEAD);
        }
        let naming = |method| routes.iter().filter(move |(route, _)| route.methods.contains(method));
        let taking_all = || routes.iter().filter(|(route, _)| route.methods.is_empty());
        let by_method = methods.into_iter().map(|method| {
            let stand_ins = (*method == Method::HEAD).then(|| naming(&Method::GET));
            let all = naming(method)
                .chain(stand_ins.into_iter().flatten())
                .chain(taking_all());
            Ok((method.clone(), tree(all)?))
        });
        Ok(Self {
            by_method: by_method.collect::<Result<_, _>>()?,
            other: tree(taking_all())?,
        })
    }

    fn find(&self, method: &Method, path: &str) -> Option<RouteId> {
        let named = self.by_method.iter().find(|(named, _)| named == method);
        named.map_or(&self.other, |(_, tree)| tree).find(path)
    }
}

/// Two paths that one table cannot hold, such as `/a/{x}` and `/a/{*y}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path {path:?} cannot stand beside {with:?}")]
pub struct PathConflict {
    path: String,
    with: String,
}

/// The paths of some routes. What contradicts what is for matchit to say, as where a policy is read; it does not find them, since
/// it allocates for a path that begins like two patterns.
fn tree<'a>(routes: impl Iterator<Item = &'a (&'a Route, RouteId)>) -> Result<PathTree, PathConflict> {
    let mut judge = Router::new();
    let mut tree = PathTree::new();
    for (route, id) in routes {
        match judge.insert(route.path.as_str(), ()) {
            Ok(()) => tree.insert(&loosened(&route.path), *id),
            // The same path stands already: it belongs to a route that names the method, or to an earlier one.
            Err(InsertError::Conflict { with }) if shape(&with) == shape(&route.path) => {}
            // A route that is left out silently would be a way around its limits.
            Err(error) => {
                let with = match error {
                    InsertError::Conflict { with } => with,
                    other => other.to_string(),
                };
                let path = route.path.clone();
                return Err(PathConflict { path, with });
            }
        }
    }
    Ok(tree)
}

/// Where a parameter of a route's path stands in a path that the route takes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathPart {
    pub(crate) name: Box<str>,
    /// Segments before it.
    place: usize,
    /// Whether it is the rest of the path, and not one segment.
    is_rest: bool,
}

impl PathPart {
    /// The parameters of a pattern.
    pub(crate) fn all(pattern: &str) -> impl Iterator<Item = Self> {
        let segments = pattern.strip_prefix('/').unwrap_or(pattern).split('/');
        segments.enumerate().filter_map(|(place, segment)| {
            let name = segment.strip_prefix('{')?.strip_suffix('}')?;
            Some(Self {
                name: name.trim_start_matches('*').into(),
                place,
                is_rest: name.starts_with('*'),
            })
        })
    }

    /// What stands there; `None` where nothing does. No allocation.
    pub(crate) fn of<'p>(&self, path: &'p str) -> Option<&'p str> {
        let mut left = path.strip_prefix('/')?;
        for _ in 0..self.place {
            left = left.split_once('/')?.1;
        }
        let part = match left.split_once('/') {
            Some((segment, _)) if !self.is_rest => segment,
            _ => left,
        };
        Some(part).filter(|part| !part.is_empty())
    }
}

/// A path without the names of its parameters: two paths of one shape take in the same requests.
pub(crate) fn shape(path: &str) -> String {
    let segment = |segment: &str| match segment.as_bytes() {
        [b'{', b'*', ..] => "{*}".to_owned(),
        [b'{', ..] => "{}".to_owned(),
        _ => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, methods: &[Method], hosts: &[&str], path: &str) -> Route {
        Route {
            name: name.to_owned(),
            methods: methods.to_vec(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            path: path.to_owned(),
            upstream: None,
            sensitivity: None,
            description: None,
        }
    }

    #[track_caller]
    fn check(routes: &[Route], method: &Method, host: &str, path: &str, expected: Option<&str>) {
        let found = Routes::new(routes)
            .expect("paths that go together")
            .find(method, host, path);
        assert_eq!(
            found.map(|id| routes[id.index()].name.as_str()),
            expected,
            "{method} {host}{path}"
        );
    }

    #[test]
    fn the_most_particular_path_wins_and_a_method_falls_through_to_the_next() {
        let routes = [
            route("rest", &[], &[], "/{*rest}"),
            route("login", &[Method::POST], &[], "/auth/login"),
            route("item", &[Method::GET], &[], "/items/{id}"),
            route("special", &[], &[], "/items/special"),
        ];
        check(&routes, &Method::POST, "", "/auth/login", Some("login"));
        check(&routes, &Method::GET, "", "/auth/login", Some("rest"));
        check(&routes, &Method::GET, "", "/items/7", Some("item"));
        check(&routes, &Method::GET, "", "/items/special", Some("special"));
        check(&routes, &Method::DELETE, "", "/items/7", Some("rest"));
        check(&routes, &Method::GET, "", "/items/7/parts", Some("rest"));
    }

    #[test]
    fn a_pattern_for_the_rest_takes_in_the_folder_itself() {
        let routes = [
            route("files", &[], &[], "/files/{*path}"),
            route("all", &[], &[], "/{*rest}"),
        ];
        check(&routes, &Method::GET, "", "/", Some("all"));
        check(&routes, &Method::GET, "", "/files/", Some("files"));
        check(&routes, &Method::GET, "", "/files/a/b", Some("files"));
    }

    #[test]
    fn a_parameter_is_what_stands_in_its_place() {
        #[track_caller]
        fn check(pattern: &str, path: &str, expected: &[(&str, Option<&str>)]) {
            let parts: Vec<PathPart> = PathPart::all(pattern).collect();
            let found: Vec<_> = parts.iter().map(|part| (&*part.name, part.of(path))).collect();
            assert_eq!(found, expected, "{path} by {pattern}");
        }
        check("/items/{id}", "/items/7", &[("id", Some("7"))]);
        check("/{a}/b/{c}", "/x/b/y", &[("a", Some("x")), ("c", Some("y"))]);
        check("/files/{*rest}", "/files/a/b", &[("rest", Some("a/b"))]);
        check("/files/{*rest}", "/files/", &[("rest", None)]);
        check("/files/{*rest}", "/files", &[("rest", None)]);
        check("/{*rest}", "/", &[("rest", None)]);
        check("/plain", "/plain", &[]);
    }

    #[test]
    fn a_head_request_goes_where_its_get_would() {
        let routes = [
            route("get", &[Method::GET], &[], "/a"),
            route("rest", &[], &[], "/{*rest}"),
        ];
        check(&routes, &Method::HEAD, "", "/a", Some("get"));
        let routes = [
            route("head", &[Method::HEAD], &[], "/a"),
            route("get", &[Method::GET], &[], "/a"),
        ];
        check(&routes, &Method::HEAD, "", "/a", Some("head"));
        // A route that names HEAD elsewhere opens no way around the limit on GET.
        let routes = [
            route("get", &[Method::GET], &[], "/a"),
            route("head", &[Method::HEAD], &[], "/b"),
            route("rest", &[], &[], "/{*rest}"),
        ];
        check(&routes, &Method::HEAD, "", "/a", Some("get"));
    }

    #[test]
    fn methods_are_compared_by_case() {
        let routes = [route("post", &[Method::POST], &[], "/a")];
        check(&routes, &Method::from_bytes(b"post").expect("a token"), "", "/a", None);
    }

    #[test]
    fn an_exact_host_goes_before_a_wildcard_before_every_host() {
        let routes = [
            route("any", &[], &[], "/{*rest}"),
            route("wild", &[], &["*.example.com"], "/{*rest}"),
            route("deeper", &[], &["*.eu.example.com"], "/{*rest}"),
            route("exact", &[], &["a.example.com"], "/only"),
        ];
        check(&routes, &Method::GET, "a.example.com", "/only", Some("exact"));
        check(&routes, &Method::GET, "a.example.com", "/x", Some("wild"));
        check(&routes, &Method::GET, "b.eu.example.com", "/x", Some("deeper"));
        check(&routes, &Method::GET, "example.com", "/x", Some("any"));
        check(&routes, &Method::GET, "badexample.com", "/x", Some("any"));
    }

    #[test]
    fn what_no_route_takes_in_has_none() {
        check(&[], &Method::GET, "", "/", None);
        check(&[route("a", &[], &[], "/a")], &Method::GET, "", "/b", None);
        check(&[route("a", &[], &[], "/a")], &Method::OPTIONS, "", "*", None);
    }

    #[test]
    fn a_route_that_cannot_stand_beside_another_is_an_error_and_never_left_out() {
        let routes = [
            route("head", &[Method::HEAD], &[], "/a/{x}"),
            route("get", &[Method::GET], &[], "/a/{*y}"),
            route("rest", &[], &[], "/{*rest}"),
        ];
        assert!(Routes::new(&routes).is_err());
    }
}
