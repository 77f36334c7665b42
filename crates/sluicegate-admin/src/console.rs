//! What the admin listener answers.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use sluicegate::policy::FAULTS_MAX;

use crate::guard::guard;
use crate::readings::Source;
use crate::reload::{Reload, Reloads, Told};
use crate::scrape::{self, Exposition};
use crate::sharing::{SharingView, Standing as StoreStanding};
use crate::{Readiness, Stage};

/// The pages behind the admin listener.
#[derive(Clone)]
pub struct Console {
    router: Router,
}

/// The policy file, and who reads it again.
#[derive(Debug, Clone)]
pub struct PolicyFile {
    /// What became of it so far.
    pub reloads: Reloads,
    /// Reads it again.
    pub reload: Arc<dyn Reload>,
}

impl Console {
    /// Serves `sources` under `/metrics` and `readiness` under `/readyz`; where there is a policy file, `/readyz` tells of it too, and a
    /// POST to `/reload` reads it again; where limits are shared, `/sharing` and `/readyz` tell how.
    pub fn new(
        sources: Vec<Arc<dyn Source>>,
        readiness: Readiness,
        file: Option<PolicyFile>,
        sharing: Option<SharingView>,
    ) -> Self {
        let mut router = Router::new()
            .route("/", get(index))
            .route("/metrics", get(metrics))
            .route("/healthz", get(health))
            .route("/readyz", get(ready));
        if file.is_some() {
            router = router.route("/reload", post(reload));
        }
        if sharing.is_some() {
            router = router.route("/sharing", get(share));
        }
        let shared = Arc::new(Shared {
            exposition: Exposition::new(sources),
            readiness,
            file,
            sharing,
        });
        let router = router
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
    file: Option<PolicyFile>,
    sharing: Option<SharingView>,
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
    let sharing = shared.sharing.as_ref();
    let refusal = sharing.and_then(SharingView::refusal).filter(|_| stage == Stage::Ready);
    let ready = stage == Stage::Ready && refusal.is_none();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let reloads = shared.file.as_ref().map(|file| &file.reloads);
    let last = reloads.map(Reloads::last);
    let policy = reloads
        .zip(last.as_deref())
        .map(|(reloads, last)| Told::new(last, reloads.generation(), READY_FAULTS_MAX));
    let told = Standing {
        ready,
        stage: stage.as_str(),
        reason: refusal.unwrap_or(stage.reason()),
        policy,
        store: sharing.and_then(SharingView::standing),
    };
    json(status, &told)
}

/// What `/readyz` says. A faulty file makes nobody less ready: the policy before it is in force.
#[derive(Debug, Serialize)]
struct Standing<'a> {
    ready: bool,
    stage: &'static str,
    reason: &'static str,
    /// `None` where there is no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Told<'a>>,
    /// `None` where nothing is shared. A store that is away makes nobody less ready whose rules go on without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreStanding>,
}

async fn share(State(shared): State<Arc<Shared>>) -> Response {
    match shared.sharing.as_ref().and_then(SharingView::page) {
        Some(page) => json(StatusCode::OK, &page),
        None => nothing_here().await,
    }
}

async fn reload(State(shared): State<Arc<Shared>>) -> Response {
    let Some(file) = &shared.file else {
        return nothing_here().await;
    };
    let Some(told) = file.reload.reload() else {
        let told = "too many wait for the policy file to be read\n";
        return (StatusCode::SERVICE_UNAVAILABLE, with_type(PLAIN, told)).into_response();
    };
    let Ok(reloaded) = told.await else {
        tracing::error!("nobody reads the policy file any more; please report this");
        let told = "nobody reads the policy file any more\n";
        return (StatusCode::INTERNAL_SERVER_ERROR, with_type(PLAIN, told)).into_response();
    };
    json(
        reloaded.status(),
        &Told::new(&reloaded, file.reloads.generation(), FAULTS_MAX),
    )
}

fn json(status: StatusCode, told: &impl Serialize) -> Response {
    match serde_json::to_string(told) {
        Ok(text) => (status, with_type("application/json", text + "\n")).into_response(),
        // Structs of words and numbers are always JSON.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Faults that `/readyz` lists: it is asked every few seconds, and by those who look for one word.
const READY_FAULTS_MAX: usize = 3;

async fn nothing_here() -> Response {
    (
        StatusCode::NOT_FOUND,
        with_type(PLAIN, "nothing here; see / for what there is\n"),
    )
        .into_response()
}

fn with_type(content_type: &'static str, body: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, content_type)], body).into_response()
}

const PLAIN: &str = "text/plain; charset=utf-8";

const INDEX: &str = include_str!("index.html");
