//! The gate for the framing of requests: where it sees the end of one, hyper sees it too, however the bytes are cut.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use sluicegate_gateway::framing::{Framing, HeadCaps, Then};

/// What requests are made of, and what has been used to make two of one.
pub const DICTIONARY: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\n",
    "HTTP/1.0\r\n",
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "Host: a\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 5, 5\r\n",
    "Content_Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: Chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: websocket\r\n",
    "0\r\n\r\n",
    "5\r\nabcde\r\n",
    "5;a=b\r\nabcde\r\n",
    "00000000000000005\r\n",
    "ffffffffffffffff\r\n",
    "X-Sum: 1\r\n",
    " folded\r\n",
    "\t",
    ":",
    "\0",
    "#",
    "*",
    "http://a/",
    "é",
];

/// # Panics
///
/// When bytes that pass are not, to hyper, the requests that the gate has seen in them, one by one and each to its last byte, or when
/// it matters how the bytes are cut.
pub fn target(data: &[u8]) {
    let whole = Passed::of(data, data.len());
    let by_byte = Passed::of(data, 1);
    assert_eq!(whole.ends, by_byte.ends, "it matters how the bytes are cut");
    assert!(
        whole.is_refused || !by_byte.is_refused,
        "what is refused in parts passes in one"
    );

    let all = hyper(&data[..whole.bytes]);
    assert!(
        all.len() as u64 <= whole.requests,
        "hyper sees more requests than have passed: {all:?}"
    );
    let mut begin = 0;
    for (index, &end) in whole.ends.iter().enumerate() {
        let message = &data[begin..end];
        begin = end;
        let alone = hyper(&[message, NEXT].concat());
        match &alone[..] {
            // It has reasons of its own, such as a target that is no URI.
            [] => {}
            [first, rest @ ..] => {
                assert!(first.body.is_ok(), "a whole body is not whole to hyper: {first:?}");
                if let Some(seen) = all.get(index) {
                    assert_eq!(seen, first, "beside others it is another request");
                }
                let is_next = |seen: &Seen| {
                    seen.method == Method::DELETE && seen.target == "/next" && seen.body == Ok(Vec::new())
                };
                assert!(
                    rest.len() <= 1 && rest.iter().all(is_next),
                    "what follows is read as {rest:?}"
                );
            }
        }
    }
}

/// Follows each message, to show that hyper takes none of it for the message's.
const NEXT: &[u8] = b"DELETE /next HTTP/1.1\r\nHost: next\r\n\r\n";

const CAPS: HeadCaps = HeadCaps {
    bytes: 8 * 1024,
    headers: 100,
};

/// What the gate lets pass.
struct Passed {
    bytes: usize,
    requests: u64,
    /// Where each whole message ends.
    ends: Vec<usize>,
    is_refused: bool,
}

impl Passed {
    fn of(data: &[u8], step: usize) -> Self {
        let mut framing = Framing::new(CAPS);
        let mut passed = Self {
            bytes: 0,
            requests: 0,
            ends: Vec::new(),
            is_refused: false,
        };
        // Ends can only be seen byte by byte; in one piece, what has passed must come to the same.
        let mut watcher = Framing::new(CAPS);
        'parts: for part in data.chunks(step.max(1)) {
            let mut left = part;
            loop {
                let look = framing.handle(left);
                for &byte in &left[..look.passes] {
                    let _ = watcher.handle(&[byte]);
                    watcher.resume();
                    passed.bytes += 1;
                    if watcher.is_between() {
                        passed.ends.push(passed.bytes);
                    }
                }
                left = &left[look.passes..];
                match look.then {
                    Then::GoOn => break,
                    Then::Wait => framing.resume(),
                    Then::Refuse(_) => {
                        passed.is_refused = true;
                        break 'parts;
                    }
                }
            }
        }
        assert_eq!(
            framing.requests(),
            watcher.requests(),
            "it matters how the bytes are cut"
        );
        passed.requests = framing.requests();
        passed
    }
}

/// A request as hyper reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    method: Method,
    target: Uri,
    headers: HeaderMap,
    body: Result<Vec<u8>, ()>,
}

/// All requests that hyper reads from a connection that sends these bytes and ends.
fn hyper(bytes: &[u8]) -> Vec<Seen> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes().to_vec()).map_err(drop);
            seen.borrow_mut().push(Seen {
                method: head.method,
                target: head.uri,
                headers: head.headers,
                body,
            });
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let wire = Wire {
        bytes: bytes.to_vec(),
        read: 0,
    };
    {
        let mut connection = pin!(http1::Builder::new().half_close(true).serve_connection(wire, service));
        let mut cx = Context::from_waker(Waker::noop());
        // The wire never waits, so that hyper only gives way to be polled again.
        for _ in 0..=bytes.len() {
            if connection.as_mut().poll(&mut cx).is_ready() {
                break;
            }
        }
    }
    seen.take()
}

/// A client that has sent all, and reads all.
struct Wire {
    bytes: Vec<u8>,
    read: usize,
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let left = &self.bytes[self.read..];
        let count = left.len().min(buf.remaining());
        buf.put_slice(&left[..count]);
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
