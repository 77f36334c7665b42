//! One client connection, from accept to close.

mod gate;
mod preface;
mod receipt;
mod streams;
mod traffic;
mod watch;
mod wire;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use sluicegate::policy::checked::MethodOverride;
use sluicegate_tower::LimitBody;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::gate::Gate;
pub(crate) use self::preface::read_preface;
pub(crate) use self::receipt::Receipt;
pub(crate) use self::streams::Streams;
use self::streams::Tasks;
pub use self::traffic::Traffic;
pub(crate) use self::traffic::{Place, Tally};
#[cfg(test)]
pub(crate) use self::watch::HALF_ENDED_IDLE;
pub(crate) use self::watch::{Phase, SharedWatch, Spans, Watch};
pub(crate) use self::wire::HTTP2;
use self::wire::Wire;
use crate::body::RequestBody;
use crate::door::{Caps as DoorCaps, Door};
use crate::doors::Doors;
use crate::framing::{Doubt, HeadCaps};
use crate::problem::{HEAD_LATE, Problem};
use crate::pulse::{Attendance, Pulse};
use crate::settings::Setup;
use crate::tls::{Terms, Transport};
use crate::tunnel::{Mouth, tunnel};

/// How connections of one worker are served.
pub(crate) struct Reception {
    http: http1::Builder,
    head_caps: HeadCaps,
    caps: DoorCaps,
    method_override: MethodOverride,
    pulse: Rc<Pulse<Watch>>,
    spans: Spans,
    draining: Cell<bool>,
    generation: u32,
    /// By listener; `None` for those that speak plain HTTP.
    tls: Arc<[Option<Arc<Terms>>]>,
    /// By listener: whether it speaks HTTP/2.
    http2: Box<[bool]>,
}

impl Reception {
    pub(crate) fn new(setup: &Setup, pulse: &Rc<Pulse<Watch>>) -> Self {
        let gateway = &setup.gateway;
        let caps = &gateway.caps;
        let mut http = http1::Builder::new();
        // Caps and deadlines are held before it, at the gate and by the watch: hyper's own would make and drop a timer for each request.
        http.header_read_timeout(None)
            .max_header_size(caps.head_bytes)
            .max_buf_size(caps.head_bytes.max(READ_BUFFER_BYTES_MAX));
        if caps.headers > HYPER_HEADERS_MAX {
            http.max_headers(caps.headers);
        }
        Self {
            http,
            head_caps: HeadCaps {
                bytes: caps.head_bytes,
                headers: caps.headers,
            },
            caps: DoorCaps {
                headers: caps.headers,
                body_bytes: caps.body_bytes,
            },
            method_override: gateway.method_override,
            pulse: Rc::clone(pulse),
            spans: Spans::new(&gateway.deadlines, pulse),
            draining: Cell::new(false),
            generation: setup.generation,
            tls: Arc::clone(&setup.tls),
            http2: gateway.listen.iter().map(|listen| listen.http2).collect(),
        }
    }

    /// By what terms the listener of that place in the policy's list shakes hands; `None` where it speaks plain HTTP.
    pub(crate) fn terms(&self, listener: usize) -> Option<&Terms> {
        self.tls.get(listener)?.as_deref()
    }

    /// Which policy's caps and deadlines these are.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// The same reception by another policy.
    pub(crate) fn renewed(&self, setup: &Setup) -> Self {
        let renewed = Self::new(setup, &self.pulse);
        renewed.draining.set(self.draining.get());
        renewed
    }

    /// Counts a new connection in, at once: a drain waits for all that attend.
    pub(crate) fn attend(&self) -> Attendance<Watch> {
        let attendance = self.pulse.attend(Watch::new(Rc::clone(&self.pulse), self.spans));
        attendance.open();
        if self.draining.get() {
            attendance.drain();
        }
        attendance
    }

    /// Every connection ends after its next answer, also those that are still to come from the listen queue.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.pulse.for_each(Watch::drain);
    }

    /// Serves one connection of a listener to its end, by services that `service` makes: one, or in HTTP/2 one for each stream.
    pub(crate) async fn serve<S, B>(
        &self,
        (stream, listener): (Transport, usize),
        tally: Tally,
        attendance: Attendance<Watch>,
        service: impl Fn(SharedWatch) -> S,
    ) where
        S: tower::Service<
                http::Request<RequestBody>,
                Response = http::Response<LimitBody<B>>,
                Error = std::convert::Infallible,
            >,
        S::Future: 'static,
        B: http_body::Body<Data = bytes::Bytes> + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let watch = attendance.share();
        let _parting = Parting(&watch);
        let mut wire = Wire::new(stream, attendance.share(), tally);
        if self.http2.get(listener) == Some(&true) && wire.begins_as_http2().await {
            // Boxed, so that it does not weigh on connections of the other kind.
            Box::pin(self.serve_streams(wire, attendance, service)).await;
            return;
        }
        let door = Door::new(
            service(attendance.share()),
            attendance.share(),
            self.caps,
            self.method_override,
        );
        let gate = Gate::new(wire, self.head_caps, attendance.share());
        let mut connection = self.http.serve_connection(TokioIo::new(gate), door);
        let end = std::future::poll_fn(|cx| {
            watch.turn().wakes(cx.waker());
            let polled = Pin::new(&mut connection).poll(cx);
            // Behind it, since it has just read what they are to send, and may have left one more of them.
            let _ = watch.poll_uploads(cx);
            if let Poll::Ready(done) = polled {
                return Poll::Ready(End::of(&watch, &done));
            }
            if watch.lets_go() {
                cx.waker().wake_by_ref();
            }
            if let Some(doubt) = watch.refused() {
                return Poll::Ready(End::Refused(doubt));
            }
            // Only now: bytes that came with the same wake-up have been read, and moved the deadline.
            match (watch.turn().has_rung(), watch.phase()) {
                (true, Phase::Fresh | Phase::Idle) => Poll::Ready(End::Over),
                (true, Phase::Head) => Poll::Ready(End::HeadLate),
                // Whoever waits for an upstream, or for the client to take or send a body's bytes, looks by itself.
                _ => Poll::Pending,
            }
        })
        .await;
        if end == End::Broken {
            return;
        }
        let parts = connection.into_parts();
        let (mut wire, held) = parts.io.into_inner().into_parts();
        if end == End::Over && watch.uploads().is_empty() {
            wire.part();
            return;
        }
        if end == End::Upgraded
            && let Some(far) = watch.take_far()
        {
            // hyper has read nothing beyond the request: that waited at the gate.
            debug_assert!(parts.read_buf.is_empty());
            let client = Mouth::new(wire, held);
            // Boxed, as below.
            let (server, passage) = far.into_parts();
            Box::pin(tunnel(client, server, &watch)).await;
            drop(passage);
            return;
        }
        // Empty lines before a request are none of it, and who sent no more has asked for nothing.
        if end == End::HeadLate && parts.read_buf.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
            wire.say(HEAD_LATE);
        }
        if let End::Refused(doubt) = end {
            wire.refuse_head(&Problem::Framing(doubt).in_full());
        }
        if end != End::Over && !wire.has_ended() {
            // Boxed, so that its buffer weighs on the few that linger and not on every connection.
            Box::pin(linger(&mut wire)).await;
        }
        if !watch.uploads().is_empty() {
            // Its client has sent them to the end and is done; their servers have not taken all of them yet.
            let _ = tokio::time::timeout(LINGER_MAX, wire.shutdown()).await;
            std::future::poll_fn(|cx| watch.poll_uploads(cx)).await;
        }
    }
}

impl Reception {
    /// Serves a connection in HTTP/2.
    async fn serve_streams<S, B>(&self, wire: Wire, attendance: Attendance<Watch>, service: impl Fn(SharedWatch) -> S)
    where
        S: tower::Service<
                http::Request<RequestBody>,
                Response = http::Response<LimitBody<B>>,
                Error = std::convert::Infallible,
            >,
        S::Future: 'static,
        B: http_body::Body<Data = bytes::Bytes> + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let watch = attendance.share();
        let streams = Streams::new(&self.pulse, self.spans, attendance.share());
        let doors = Doors::new(service, Rc::clone(&streams), self.caps, self.method_override);
        // What a list of fields takes is reckoned with 32 bytes for each (RFC 9113, section 6.5.2).
        let list = (self.head_caps.bytes + 32 * self.head_caps.headers).min(FIELDS_BYTES_MAX);
        let mut http = http2::Builder::new(Tasks(Rc::clone(&streams)));
        http.max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(STREAM_WINDOW_BYTES as usize);
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(wire), doors));
        let mut is_told = false;
        std::future::poll_fn(|cx| {
            watch.turn().wakes(cx.waker());
            if connection.as_mut().poll(cx).is_ready() || streams.is_abused(cx.waker()) {
                return Poll::Ready(());
            }
            match (watch.turn().has_rung(), is_told) {
                (false, _) => {}
                (true, false) => {
                    is_told = true;
                    connection.as_mut().graceful_shutdown();
                    watch.told_to_part();
                    cx.waker().wake_by_ref();
                }
                (true, true) if watch.has_streams() => {}
                (true, true) => return Poll::Ready(()),
            }
            Poll::Pending
        })
        .await;
    }
}

/// Gives up at a connection's end, however that comes, what its watch holds for it. Uploads would keep the watch, and the
/// watch them.
struct Parting<'a>(&'a Watch);

impl Drop for Parting<'_> {
    fn drop(&mut self) {
        self.0.uploads().give_up();
        drop(self.0.take_far());
    }
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There is nothing left to say or to hear.
    Over,
    /// The client went away, or took no more bytes.
    Broken,
    /// The client was answered before it had sent everything.
    Unheard,
    /// A head did not arrive in time.
    HeadLate,
    /// A head has more than one meaning.
    Refused(Doubt),
    /// The client has read that its connection leaves HTTP.
    Upgraded,
}

impl End {
    fn of(watch: &Watch, done: &Result<(), hyper::Error>) -> Self {
        match done {
            Ok(()) if watch.is_going_over() => Self::Upgraded,
            // A body that is still read has come to its end, or its reader will see where it broke off.
            Ok(()) if watch.is_unread() && !watch.is_uploading() => Self::Unheard,
            Ok(()) => Self::Over,
            Err(error) if error.is_parse() => Self::Unheard,
            Err(_) => Self::Broken,
        }
    }
}

/// Reads and forgets what a client is still sending, for a while. To close at once would make the system answer those
/// bytes by a reset, and a reset may overtake the answer that says why.
async fn linger(wire: &mut Wire) {
    let mut forgotten = vec![0; LINGER_CHUNK_BYTES];
    let mut bytes_left = LINGER_BYTES_MAX;
    // Late or broken, it is closed all the same.
    let _ = tokio::time::timeout(LINGER_MAX, async {
        // Under TLS the word of the end waits behind the answer for the client to take it.
        let _ = wire.shutdown().await;
        while let Ok(count @ 1..) = wire.read(&mut forgotten).await {
            bytes_left = bytes_left.saturating_sub(count);
            if bytes_left == 0 {
                break;
            }
        }
    })
    .await;
}

/// While draining, how long a client that is between two requests, or has just connected, may still bring one: its
/// answer says `Connection: close`. Longer than any round trip that a busy client's next request is away, short beside
/// what requests under way are given.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// Most bytes read at once from a client, and held for it before they are written. Any client may make us hold this
/// much, so it is smaller than what servers are trusted with.
const READ_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Up to this many header lines hyper keeps them on the stack, and a higher cap makes it allocate for every request.
/// A lower cap is held at the door.
const HYPER_HEADERS_MAX: usize = 100;

/// Requests of one client at a time in HTTP/2: as many as RFC 9113, section 6.5.2, asks for at least, and as browsers use.
const STREAMS_MAX: u32 = 100;

/// Most bytes of one request's fields in HTTP/2, however large heads may be in HTTP/1.1: a client may send a hundred of them at once.
const FIELDS_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one request's body that a client may send before a server takes any, and of one answer that wait for the client.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// The same over all requests of a connection: what one fast upload over a slow line needs (8 MB/s at an eighth of a second).
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// A client that has not noticed the end of its connection in a second is not going to read the answer.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// What fits into the socket buffers between an attentive client and us, several times over.
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

const LINGER_CHUNK_BYTES: usize = 16 * 1024;
