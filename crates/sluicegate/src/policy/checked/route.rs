//! Classes of requests.

use http::Method;

/// A named class of requests.
///
/// Where several take in a request, the most particular one has it: first by host (a name before `*.` patterns, the
/// longer pattern before the shorter, those before every host), then by path (a literal segment before `{name}`, that
/// before `{*name}`), then by method (named before every method). Where a host's routes have no place for the request,
/// those of the next less particular host are asked. Two routes that would tie are a fault of the policy.
#[derive(Debug, Clone)]
pub struct Route {
    /// Unique among routes; printable ASCII.
    pub name: String,
    /// Methods that belong; empty means every method. `GET` takes in `HEAD`, unless a route names that.
    pub methods: Vec<Method>,
    /// Canonical hosts that belong (`*.example.com` takes in any name below); empty means every host.
    pub hosts: Vec<String>,
    /// A path pattern: literal segments, `{name}` for one segment, a last `{*name}` for the rest. The rest may be
    /// empty: `/{*rest}` takes in `/` too, `/files/{*name}` also `/files/`.
    pub path: String,
    /// Index into [`Gateway::upstreams`](super::Gateway::upstreams); `None` only in a policy without a gateway.
    pub upstream: Option<usize>,
    /// What a reader should know.
    pub description: Option<String>,
}

/// The name of the route that a gateway with one upstream has when its file lists none; its path is `/{*rest}`.
pub const IMPLICIT_ROUTE: &str = "all";
