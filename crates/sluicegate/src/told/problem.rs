//! Problem documents (RFC 9457), with the problem types that the rate limit draft registers.

use http::{HeaderValue, StatusCode};

/// The media type of a problem document.
pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A kind of problem: what stays the same in all its documents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) uri: &'static str,
    pub(super) title: &'static str,
    pub(super) status: StatusCode,
}

/// A limit is used up. Registered as `quota-exceeded`.
pub(super) const QUOTA_EXCEEDED: Kind = Kind {
    uri: "https://iana.org/assignments/http-problem-types#quota-exceeded",
    title: "Request cannot be satisfied as assigned quota has been exceeded",
    status: StatusCode::TOO_MANY_REQUESTS,
};

/// The client behaves as no client should. Registered as `abnormal-usage-detected`.
pub(super) const ABNORMAL_USAGE: Kind = Kind {
    uri: "https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
    title: "Request not satisfied due to detection of abnormal request pattern",
    status: StatusCode::TOO_MANY_REQUESTS,
};

/// The request leaves out what limits are counted by, or says it in a way that makes no sense. No registered type says that.
pub(super) const BAD_REQUEST: Kind = Kind {
    uri: "about:blank",
    title: "Bad Request",
    status: StatusCode::BAD_REQUEST,
};

impl Kind {
    /// The document. `detail` is ours and `violated` holds JSON strings made of the policy: nothing that a client sent
    /// is in it, so no content of a request can break it.
    pub(super) fn document<'a>(&self, detail: &str, violated: impl Iterator<Item = &'a str>) -> String {
        let Self { uri, title, status } = self;
        // Room for the whole of it, whose fixed parts are 53 bytes and whose names are mostly one or two: text that grows is copied
        // each time.
        let mut json = String::with_capacity(128 + uri.len() + title.len() + detail.len());
        for part in [
            r#"{"type":""#,
            uri,
            r#"","title":""#,
            title,
            r#"","status":"#,
            status.as_str(),
            r#","detail":""#,
            detail,
            "\"",
        ] {
            json.push_str(part);
        }
        let mut end = "}";
        for (index, name) in violated.enumerate() {
            json.push_str(if index == 0 { r#","violated-policies":["# } else { "," });
            json.push_str(name);
            end = "]}";
        }
        json.push_str(end);
        json
    }
}
