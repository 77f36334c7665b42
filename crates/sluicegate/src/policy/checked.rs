//! The policy after checking: what cannot be held here cannot go wrong later.
//!
//! Values of these types come from [`Policy::parse`] or from code; each holds only what makes sense, so nothing behind
//! it checks again. Their defaults are those of the file; `docs/policy.md` gives the reason for each.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;
use sluicegate_core::Limit;

/// A whole policy file, checked.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The reverse proxy; `None` where the file has no `gateway`.
    pub gateway: Option<Gateway>,
    /// The listener for metrics and health.
    pub admin: Admin,
    /// What the node remembers, and where it keeps it.
    pub state: State,
    /// How the client's address is found.
    pub identity: Identity,
    /// Named classes of requests, in file order. A gateway with one upstream whose file has no routes gets one here,
    /// named [`IMPLICIT_ROUTE`], that takes in every request.
    pub routes: Vec<Route>,
    /// The limits, in file order.
    pub rules: Vec<Rule>,
}

/// The name of the route that a gateway with one upstream has when its file lists none; its path is `/{*rest}`.
pub const IMPLICIT_ROUTE: &str = "all";

/// The reverse proxy's listeners, upstreams, deadlines and caps.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// At least one.
    pub listen: Vec<Listen>,
    /// Worker threads, each with a runtime and listening sockets of its own; `None` means one per core.
    pub threads: Option<usize>,
    /// At least one, in file order.
    pub upstreams: Vec<Upstream>,
    /// How long each step of a request may take.
    pub deadlines: Deadlines,
    /// How much one client, or all of them, may hold.
    pub caps: Caps,
}

/// One listening address.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Port 0 asks the system for a free one.
    pub address: SocketAddr,
}

/// A named set of servers that answer the same requests.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Unique among upstreams.
    pub name: String,
    /// At least one.
    pub servers: Vec<Server>,
}

/// One server of an upstream.
#[derive(Debug, Clone)]
pub struct Server {
    /// `host:port`; a name is resolved when a connection is made.
    pub authority: http::uri::Authority,
    /// Its share of requests beside its siblings', 1 to 1000; 1 unless said.
    pub weight: u16,
}

/// How long each step of a request may take in the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlines {
    /// From a connection's start, or a later head's first byte, to the end of a request's head.
    pub request_head: Duration,
    /// Between two reads of a request's body.
    pub request_body_idle: Duration,
    /// For the connection to an upstream server.
    pub connect: Duration,
    /// From the request sent to the upstream's response head.
    pub response_head: Duration,
    /// Between two reads of a response's body from the upstream.
    pub response_body_idle: Duration,
    /// How long a client may take no bytes of a response.
    pub write_stall: Duration,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
    /// How long an unused upstream connection is kept.
    pub upstream_idle: Duration,
    /// How long SIGTERM waits for requests under way.
    pub drain: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            request_head: Duration::from_secs(10),
            request_body_idle: Duration::from_secs(30),
            connect: Duration::from_secs(2),
            response_head: Duration::from_mins(1),
            response_body_idle: Duration::from_mins(1),
            write_stall: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            upstream_idle: Duration::from_secs(4),
            drain: Duration::from_secs(25),
        }
    }
}

/// How much one request or all clients together may hold in the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caps {
    /// Bytes of a request's head; more is 431.
    pub head_bytes: usize,
    /// Header lines of a request; more is 431.
    pub headers: usize,
    /// Bytes of a request's body; more is 413. `None` means unbounded (streamed, never buffered).
    pub body_bytes: Option<u64>,
    /// Client connections open at once over all threads; more wait in the listen queue.
    pub connections: usize,
    /// Unused connections kept per upstream server and thread.
    pub idle_per_server: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            head_bytes: 16 << 10,
            headers: 100,
            body_bytes: None,
            connections: 8_192,
            idle_per_server: 64,
        }
    }
}

/// Where metrics and health are served.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Loopback unless a token guards it; `None` means `off` in the file. 127.0.0.1:9900 unless said.
    pub listen: Option<SocketAddr>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 9_900))),
        }
    }
}

/// What the node remembers.
#[derive(Debug, Clone)]
pub struct State {
    /// Hard bound of the local table, in bytes, 1 MiB to 1 TiB; 256 MiB unless said.
    pub memory: usize,
    /// Where the installation secret is kept; `None` keeps a secret for this process only.
    pub directory: Option<PathBuf>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            directory: None,
        }
    }
}

/// How the client's address is found (RFC 7239, and the older X-Forwarded-For).
#[derive(Debug, Clone)]
pub struct Identity {
    /// Peers whose forwarded header is believed; empty means none, and the socket's peer is the client.
    pub trusted_proxies: Vec<IpNet>,
    /// The one header that is read from a trusted peer.
    pub forwarded_header: ForwardedHeader,
    /// Bits of an IPv4 address that make a client, 8 to 32; 32 unless said.
    pub v4_prefix: u8,
    /// Bits of an IPv6 address that make a client, 32 to 128; 64 unless said.
    pub v6_prefix: u8,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            v4_prefix: 32,
            v6_prefix: 64,
        }
    }
}

/// Which header trusted proxies write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: a list of addresses.
    XForwardedFor,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}

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
    /// Index into [`Gateway::upstreams`]; `None` only in a policy without a gateway.
    pub upstream: Option<usize>,
    /// What a reader should know.
    pub description: Option<String>,
}

/// One limit and whom it applies to.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Unique among rules; printable ASCII, at most 64 bytes.
    pub name: String,
    /// Parts of the key, at most [`KEY_PARTS_MAX`]; empty means one cell for all.
    pub key: Vec<KeyPart>,
    /// How much may pass.
    pub limit: Limit,
    /// Indexes into [`Policy::routes`]; empty means every request, also one that no route takes in.
    pub routes: Vec<usize>,
    /// What stands in for an absent part of the key.
    pub on_missing_key: OnMissingKey,
    /// For which part of the keys a refusal counts.
    pub enforce: Enforce,
    /// What a key that finds no free cell meets; a shared cell with ten times the limit unless said.
    pub overflow: Overflow,
    /// What a reader should know.
    pub description: Option<String>,
    /// Why the limit is what it is; read by audits.
    pub rationale: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// When it should be looked at again, `YYYY-MM-DD`.
    pub review_by: Option<String>,
}

/// Most parts that one key may have.
pub const KEY_PARTS_MAX: usize = 8;

/// One attribute that a key is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's address, cut to its prefix.
    Ip,
    /// The name of the request's route.
    Route,
    /// The request's method. Whoever counts by it folds the methods that no registry knows into one, since a client
    /// can make up any number of them.
    Method,
    /// The canonical host: lower case, without port and final dot.
    Host,
    /// A header's value, bytewise. Two lines of it count as absent: neither is believed.
    Header(HeaderName),
}

/// What stands in for a part of the key that a request does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissingKey {
    /// The client's address; where there is none (a Unix socket), one cell that all such requests share.
    Ip,
    /// One cell that all such requests share.
    Shared,
    /// The request is refused.
    Refuse,
    /// The rule does not apply: whoever leaves the part out is not limited. Dangerous.
    Skip,
}

/// For which part of its keys a rule's refusal counts; the others are evaluated and reported only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Enforce(u8);

impl Enforce {
    /// Every key.
    pub const ALL: Self = Self(100);
    /// None: shadow mode.
    pub const SHADOW: Self = Self(0);

    /// A share in percent; `None` above 100.
    pub const fn percent(percent: u8) -> Option<Self> {
        if percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// The share in percent, 0 to 100.
    pub const fn as_percent(self) -> u8 {
        self.0
    }
}

/// What a key that finds no free cell meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overflow {
    /// All such keys share one cell with this limit.
    Shared(Limit),
    /// Such requests are refused.
    Closed,
}
