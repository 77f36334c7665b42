//! What the gateway says by itself, besides the limiter's refusals: one table of statuses and texts.
//!
//! The documents follow RFC 9457. Their `type` is `about:blank`, so the title is the status's own phrase and `detail`
//! says more; none of them repeats anything a client sent, and none names a server.

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Response, StatusCode};
use sluicegate::Refusal;
use sluicegate_tower::BodyFault;

use crate::framing::Doubt;

/// A request that the gateway answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// No `Host`, more than one, or one that is no host.
    BadHost,
    /// A request whose bytes have more than one meaning.
    Framing(Doubt),
    /// A field's value begins or ends with a blank, in HTTP/2.
    BadField,
    /// A target that a gateway has no use for.
    BadTarget,
    /// A header that asks for a method which it cannot have.
    BadMethod,
    /// More header lines than the cap.
    TooManyHeaders,
    /// No route with an upstream takes the request.
    NoRoute,
    /// The request's body cannot be had.
    Body(BodyFault),
    /// No server of the upstream could be reached.
    Unreachable,
    /// The server broke off, or answered with something that is not HTTP.
    BadAnswer,
    /// The server did not answer in time.
    AnswerLate,
    /// Nobody knows any more what its route was: the policy that has decided it is too long gone.
    Outlived,
}

/// Whether the connection can serve another request after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Keep,
    /// The request's end is not known, or not worth waiting for.
    Close,
}

impl Problem {
    pub(crate) fn answer<B: From<Bytes>>(self) -> Response<B> {
        let (status, after, detail) = self.line();
        let refusal = match self {
            Self::Body(fault) => Refusal::plain(status, &fault.to_string()),
            Self::Framing(doubt) => Refusal::plain(status, &doubt.to_string()),
            _ => Refusal::plain(status, detail),
        };
        let mut response = Response::new(B::from(Bytes::from(refusal.body)));
        *response.status_mut() = refusal.status;
        *response.headers_mut() = refusal.headers;
        if after == After::Close {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The whole answer as HTTP/1.1 writes it, for a client with whom hyper has no request in common.
    pub(crate) fn in_full(self) -> Vec<u8> {
        let answer = self.answer::<Bytes>();
        let mut text = format!("HTTP/1.1 {}\r\n", answer.status()).into_bytes();
        for (name, value) in answer.headers() {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                text.extend_from_slice(part);
            }
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(answer.body());
        text
    }

    const fn line(self) -> (StatusCode, After, &'static str) {
        match self {
            Self::BadHost => (
                StatusCode::BAD_REQUEST,
                After::Close,
                "the request must name exactly one valid host",
            ),
            Self::Framing(Doubt::HeadTooLarge | Doubt::TooManyHeaders) => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, After::Close, "")
            }
            Self::Framing(_) => (StatusCode::BAD_REQUEST, After::Close, ""),
            Self::BadField => (
                StatusCode::BAD_REQUEST,
                After::Close,
                "a field of the request begins or ends with a blank",
            ),
            Self::BadTarget => (
                StatusCode::BAD_REQUEST,
                After::Close,
                "the request's target is not one that this gateway serves",
            ),
            Self::BadMethod => (
                StatusCode::BAD_REQUEST,
                After::Close,
                "a header of the request asks for a method that a form has no need of",
            ),
            Self::TooManyHeaders => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                After::Close,
                "the request has too many header fields",
            ),
            Self::NoRoute => (StatusCode::NOT_FOUND, After::Keep, "no route takes this request"),
            Self::Body(fault) => (fault.status(), After::Close, ""),
            Self::Unreachable => (
                StatusCode::BAD_GATEWAY,
                After::Keep,
                "no upstream server could be reached",
            ),
            Self::BadAnswer => (
                StatusCode::BAD_GATEWAY,
                After::Keep,
                "the upstream server gave no valid answer",
            ),
            Self::AnswerLate => (
                StatusCode::GATEWAY_TIMEOUT,
                After::Keep,
                "the upstream server did not answer in time",
            ),
            Self::Outlived => (
                StatusCode::SERVICE_UNAVAILABLE,
                After::Keep,
                "the gateway was set up anew many times while this request waited",
            ),
        }
    }
}

/// For a head that did not arrive in time: hyper has no request to answer, so these bytes go to the socket as they are.
pub(crate) const HEAD_LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    content-type: application/problem+json\r\n\
    cache-control: no-store\r\n\
    connection: close\r\n\
    content-length: 114\r\n\
    \r\n\
    {\"type\":\"about:blank\",\"title\":\"Request Timeout\",\"status\":408,\"detail\":\"the request's head did not arrive in time\"}";

#[cfg(test)]
mod tests {
    use http::header::{CACHE_CONTROL, CONTENT_TYPE};

    use super::*;

    const ALL: [Problem; 13] = [
        Problem::Framing(Doubt::Length),
        Problem::Framing(Doubt::HeadTooLarge),
        Problem::BadHost,
        Problem::BadTarget,
        Problem::BadMethod,
        Problem::TooManyHeaders,
        Problem::NoRoute,
        Problem::Body(BodyFault::TooLarge),
        Problem::Body(BodyFault::Late),
        Problem::Body(BodyFault::Broken),
        Problem::Unreachable,
        Problem::BadAnswer,
        Problem::AnswerLate,
    ];

    #[test]
    fn every_document_repeats_its_status_and_is_kept_out_of_caches() {
        for problem in ALL {
            let answer: Response<Bytes> = problem.answer();
            let status = format!(r#""status":{},"#, answer.status().as_u16());
            let body = std::str::from_utf8(answer.body()).expect("the documents are ASCII");
            assert!(body.contains(&status), "{problem:?}: {body}");
            assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        }
    }

    #[test]
    fn an_answer_in_full_is_a_message() {
        let text = String::from_utf8(Problem::Framing(Doubt::Coding).in_full()).expect("the documents are ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("a blank line ends the head");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert!(head.contains("connection: close"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    }

    #[test]
    fn the_answer_to_a_late_head_states_its_true_length() {
        let text = std::str::from_utf8(HEAD_LATE).expect("the answer is ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("a blank line ends the head");
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "the body has {} bytes",
            body.len()
        );
    }
}
