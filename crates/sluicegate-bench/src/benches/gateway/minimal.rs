//! The least that a proxy, or a server that refuses, can be on the libraries that the gateway stands on: the floor under it.
//!
//! One current-thread runtime a core, each with a listening socket of its own on one port (SO_REUSEPORT), HTTP/1.1,
//! hyper-util's pooled client. No limit, no header rewritten, no deadline, no count.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::arguments::{ProxyPart, RefuserPart};
use crate::error::BenchError;
use crate::machine::cores;

/// Forwards every request until the process is ended.
///
/// # Errors
///
/// If it cannot listen.
pub(crate) fn proxy(part: ProxyPart) -> Result<(), BenchError> {
    let ProxyPart { listen, upstream } = part;
    let authority: Authority = format!("127.0.0.1:{upstream}")
        .parse()
        .map_err(|error: http::uri::InvalidUri| BenchError::set_up("the minimal proxy", &error))?;
    on_every_core(listen, || {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
        let authority = authority.clone();
        service_fn(move |mut request: Request<Incoming>| {
            let mut parts = std::mem::take(request.uri_mut()).into_parts();
            parts.scheme = Some(Scheme::HTTP);
            parts.authority = Some(authority.clone());
            // A path without a scheme and an authority is a whole address with them.
            *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
            client.request(request)
        })
    })
}

/// Refuses every request until the process is ended, with as many fields as a refusal of ours has.
///
/// # Errors
///
/// If it cannot listen.
pub(crate) fn refuser(part: RefuserPart) -> Result<(), BenchError> {
    on_every_core(part.listen, || {
        service_fn(|_: Request<Incoming>| async {
            let mut response = Response::new(Full::new(Bytes::from_static(REFUSAL)));
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            let fields = response.headers_mut();
            for (name, value) in FIELDS {
                fields.insert(name, HeaderValue::from_static(value));
            }
            Ok::<_, Infallible>(response)
        })
    })
}

const FIELDS: [(HeaderName, &str); 5] = [
    (header::CONTENT_TYPE, "application/problem+json"),
    (header::RETRY_AFTER, "3600"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("ratelimit"), "\"per-client\";r=0;t=3600"),
    (HeaderName::from_static("ratelimit-policy"), "\"per-client\";q=1;w=3600"),
];

const REFUSAL: &[u8] = br#"{"type":"about:blank","title":"Too Many Requests","status":429}"#;

/// Serves on every core, by a runtime, a socket and a service of its own each.
fn on_every_core<S, B>(port: u16, service: impl Fn() -> S + Sync) -> Result<(), BenchError>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
    S::Error: std::error::Error + Send + Sync,
    S::Future: 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + 'static,
{
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..cores()).map(|_| scope.spawn(|| serve(port, service()))).collect();
        for thread in running {
            thread
                .join()
                .map_err(|_| BenchError::panicked("the minimal server"))??;
        }
        Ok(())
    })
}

fn serve<S, B>(port: u16, service: S) -> Result<(), BenchError>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
    S::Error: std::error::Error + Send + Sync,
    S::Future: 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = listen(port)?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let service = service.clone();
            tokio::task::spawn_local(async move {
                // A client that breaks off is its own affair.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            });
        }
    })
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}
