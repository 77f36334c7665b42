//! What the admin listener answers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::readings::Source;
use crate::scrape::{self, Exposition};
use crate::{Readiness, Stage};

/// The pages behind the admin listener.
#[derive(Clone)]
pub struct Console {
    router: Router,
}

impl Console {
    /// Serves `sources` under `/metrics` and `readiness` under `/readyz`.
    pub fn new(sources: Vec<Arc<dyn Source>>, readiness: Readiness) -> Self {
        let shared = Arc::new(Shared {
            exposition: Exposition::new(sources),
            readiness,
        });
        let router = Router::new()
            .route("/", get(index))
            .route("/metrics", get(metrics))
            .route("/healthz", get(health))
            .route("/readyz", get(ready))
            .fallback(nothing_here)
            .with_state(shared)
            .layer(middleware::from_fn(guard));
        Self { router }
    }

    pub(crate) fn into_router(self) -> Router {
        self.router
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

struct Shared {
    exposition: Exposition,
    readiness: Readiness,
}

async fn index() -> Response {
    with_type("text/html; charset=utf-8", INDEX)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(text) = shared.exposition.text() else {
        tracing::error!("a metric has a reading that its type cannot hold; please report this");
        return (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be encoded\n").into_response();
    };
    with_type(scrape::CONTENT_TYPE, text)
}

async fn health() -> Response {
    with_type(PLAIN, "ok\n")
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let stage = shared.readiness.stage();
    let ready = stage == Stage::Ready;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    // Every word in it is ours, so nothing needs escaping.
    let body = format!(
        "{{\"ready\":{ready},\"stage\":\"{}\",\"reason\":\"{}\"}}\n",
        stage.as_str(),
        stage.reason()
    );
    (status, with_type("application/json", body)).into_response()
}

async fn nothing_here() -> Response {
    (
        StatusCode::NOT_FOUND,
        with_type(PLAIN, "nothing here; see / for what there is\n"),
    )
        .into_response()
}

/// Refuses hosts that a page in a browser may have rebound to this machine, and marks every answer as neither to be kept
/// nor to be guessed at.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = if addressed_to_us(request.uri(), request.headers()) {
        next.run(request).await
    } else {
        let told = "this listener answers to IP addresses and localhost only\n";
        (StatusCode::MISDIRECTED_REQUEST, with_type(PLAIN, told)).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether the request names us by an IP address or as localhost. A name of someone's choosing may resolve to this
/// machine (DNS rebinding); an address cannot. No host at all comes from no browser.
fn addressed_to_us(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return false,
        (Some(host), None) => host.to_str().ok().map(without_port),
        (None, None) => Some("localhost"),
    };
    let target = uri
        .authority()
        .map_or("localhost", |authority| without_port(authority.as_str()));
    host.is_some_and(is_ours) && is_ours(target)
}

fn is_ours(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

fn with_type(content_type: &'static str, body: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, content_type)], body).into_response()
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// On every answer, refusals too.
const ALWAYS: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (axum::http::header::REFERRER_POLICY, "no-referrer"),
];

const INDEX: &str = include_str!("index.html");
