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
    /// How much harm too many requests of it do; `None` where nobody has said, which reads as [`Sensitivity::Normal`].
    pub sensitivity: Option<Sensitivity>,
    /// What a reader should know.
    pub description: Option<String>,
}

/// How much harm too many requests of a route do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sensitivity {
    /// Cheap and without consequence: health, static files.
    Low,
    /// Whatever is none of the others.
    Normal,
    /// Each costs much to answer: searches, reports, models.
    Costly,
    /// Each is worth an attack: logins, resets of passwords, payments.
    Critical,
}

impl Sensitivity {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::Costly, Self::Critical];

    /// Their words, the least first.
    pub const NAMES: [&'static str; 4] = ["low", "normal", "costly", "critical"];

    /// A route's class, [`Normal`](Self::Normal) where nobody has said one, and for requests of no route.
    pub fn of(route: Option<&Route>) -> Self {
        route.and_then(|route| route.sensitivity).unwrap_or(Self::Normal)
    }

    /// The word in the file, and the attribute's value.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// The name of the route that a gateway with one upstream has when its file lists none; its path is `/{*rest}`.
pub const IMPLICIT_ROUTE: &str = "all";
