//! Where requests come in and where they go: listeners, upstreams, deadlines and caps.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;

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
    /// What becomes of a header that asks for another method.
    pub method_override: MethodOverride,
    /// The header in which responses name rules in shadow mode, and what each would have said; `None` names none. It begins with `x-`.
    pub shadow_header: Option<HeaderName>,
}

/// What becomes of `X-HTTP-Method-Override`, `X-HTTP-Method` and `X-Method-Override`. No upstream sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MethodOverride {
    /// They go, and the method stays what it is.
    #[default]
    Strip,
    /// A POST that asks for PUT, PATCH or DELETE is one: it is routed, counted and forwarded as that.
    Honour,
}

impl Gateway {
    /// Every file that it names, to be seen from another folder.
    pub(in crate::policy) fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let tls = self.listen.iter_mut().filter_map(|listen| listen.tls.as_mut());
        tls.flat_map(|tls| {
            let pairs = tls.certificates.iter_mut();
            let pairs = pairs.flat_map(|pair| [&mut pair.certificate, &mut pair.private_key]);
            pairs.chain(tls.clients.as_mut().map(|clients| &mut clients.authorities))
        })
    }
}

/// One listening address.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Port 0 asks the system for a free one.
    pub address: SocketAddr,
    /// `None` means plain HTTP.
    pub tls: Option<ListenTls>,
    /// Whether every connection begins with a header of the PROXY protocol, before TLS if there is any, and comes from a trusted proxy;
    /// false unless said.
    pub proxy_protocol: bool,
    /// Whether HTTP/2 is spoken with clients that ask for it: by the handshake, or in clear by beginning with it.
    pub http2: bool,
}

/// TLS on a listening address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenTls {
    /// At least one; the first is for clients that ask for no name, or for one that none is for.
    pub certificates: Vec<ServerCertificate>,
    /// `None` means that clients are not asked who they are.
    pub clients: Option<ClientAuthorities>,
    /// Lower versions are not spoken.
    pub min_version: TlsVersion,
}

impl ListenTls {
    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.certificates.iter();
        let pairs = pairs.flat_map(|pair| [pair.certificate.as_path(), pair.private_key.as_path()]);
        pairs.chain(self.clients.iter().map(|clients| clients.authorities.as_path()))
    }
}

/// A certificate with its private key, as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCertificate {
    /// PEM, the listener's own certificate first.
    pub certificate: PathBuf,
    /// PEM.
    pub private_key: PathBuf,
}

/// By whom clients' certificates are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuthorities {
    /// A file of certificates (PEM).
    pub authorities: PathBuf,
    /// What becomes of clients that show none.
    pub auth: ClientAuth,
}

/// Whether a client has to show a certificate. One that is shown has to be good, either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Without one there is no connection.
    Require,
    /// It may, and who does is known by it.
    Request,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
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
    /// How long an upgraded connection, such as a WebSocket's, may carry nothing in either direction.
    pub upgraded_idle: Duration,
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
            upgraded_idle: Duration::from_mins(5),
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
