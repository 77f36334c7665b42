//! The answer to a refused request.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sluicegate_core::{Reason, Report, Retry, RuleState};

use super::announcer::{Announcer, whole_seconds};
use super::problem::{ABNORMAL_USAGE, BAD_REQUEST, Kind, PROBLEM_JSON, QUOTA_EXCEEDED};

/// The longest wait that a client is told, one day: a longer one only makes clients give up or ask a human, and both are
/// served by coming back tomorrow.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// A whole answer to a request that goes no further: status, headers and body. To a `HEAD` request a door sends everything but the body.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// 429; 400 where the request leaves out what a limit is counted by; 200 for gRPC, whose status is in the headers.
    pub status: StatusCode,
    /// All headers, `Content-Length` among them.
    pub headers: HeaderMap,
    /// A problem document; empty for gRPC.
    pub body: String,
}

/// Which language the refused caller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Http,
    /// A bare 429 would reach a gRPC caller as UNAVAILABLE, which it retries at once: a storm by design.
    Grpc,
}

impl Wire {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
        if headers.get(CONTENT_TYPE).is_some_and(is_grpc) {
            Self::Grpc
        } else {
            Self::Http
        }
    }
}

/// What a refusal has to say.
pub(crate) struct Refused {
    /// `None` for a client that should prove itself.
    pub(crate) reason: Option<Reason>,
    pub(crate) retry: Retry,
}

impl Refusal {
    /// A refusal that has nothing to do with a limit: a problem document of no registered type, whose title is the status's
    /// own phrase. `detail` says the rest, in printable ASCII without `"` and `\`; it must repeat nothing of the request.
    pub fn plain(status: StatusCode, detail: &str) -> Self {
        let kind = Kind {
            uri: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status,
        };
        let body = kind.document(detail, std::iter::empty());
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        Self { status, headers, body }
    }

    pub(crate) fn new(refused: &Refused, report: &Report, announcer: &Announcer, wire: Wire) -> Self {
        let violated = || report.states().iter().filter(|state| state.refuses());
        let kind = match refused.reason {
            Some(Reason::MissingKey | Reason::BadValue) => BAD_REQUEST,
            Some(_) => QUOTA_EXCEEDED,
            None => ABNORMAL_USAGE,
        };
        let wait = match refused.retry {
            Retry::After(wait) => Some(whole_seconds(wait.min(RETRY_AFTER_MAX)).max(1)),
            Retry::Never => None,
        };
        let detail = detail(refused.reason, wait, violated().count());
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = wait {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        match wire {
            Wire::Http => {
                let names = violated()
                    .filter_map(|state: &RuleState| announcer.rule(state))
                    .map(|(name, _)| name);
                let body = kind.document(&detail, names);
                headers.insert(CONTENT_TYPE, PROBLEM_JSON);
                headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
                Self {
                    status: kind.status,
                    headers,
                    body,
                }
            }
            Wire::Grpc => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert(GRPC_STATUS, HeaderValue::from_static(grpc_status(&kind)));
                if let Ok(message) = HeaderValue::try_from(detail) {
                    headers.insert(GRPC_MESSAGE, message);
                }
                Self {
                    status: StatusCode::OK,
                    headers,
                    body: String::new(),
                }
            }
        }
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Source: the status codes of the gRPC core documentation.
fn grpc_status(kind: &Kind) -> &'static str {
    // INVALID_ARGUMENT or RESOURCE_EXHAUSTED.
    if kind.status == StatusCode::BAD_REQUEST {
        "3"
    } else {
        "8"
    }
}

/// One sentence for a human. Printable ASCII without `%`, `"` and `\`, so that it needs no quoting on any wire.
fn detail(reason: Option<Reason>, wait: Option<u64>, violated: usize) -> String {
    let limits = if violated > 1 { "limits are" } else { "limit is" };
    match wait {
        _ if reason == Some(Reason::MissingKey) => {
            "The request leaves out an attribute that a limit is counted by.".to_owned()
        }
        _ if reason == Some(Reason::BadValue) => {
            "A header or a member of the body that a limit is counted by is not what it has to be: a cost is a whole number in \
             plain digits, a key a single value."
                .to_owned()
        }
        Some(1) => format!("The {limits} used up; try again in 1 second."),
        Some(seconds) if seconds >= RETRY_AFTER_MAX.as_secs() => {
            format!("The {limits} used up; try again in a day at the earliest.")
        }
        Some(seconds) => format!("The {limits} used up; try again in {seconds} seconds."),
        None => "The request asks for more than the limit ever allows at once; waiting will not help.".to_owned(),
    }
}
