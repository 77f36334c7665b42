//! A connection in HTTP/2: many requests at a time, each with a watch and a task of its own.
//!
//! hyper hands each stream to an [`Executor`] right after its door was called, in the same breath. So the door leaves the stream's watch
//! in [`Streams`], and the executor takes it along: only a task can give up a stream whose client takes nothing of it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;

use super::watch::{SharedWatch, Spans, Watch};
use crate::pulse::{Attendance, Pulse};

/// What the streams of one connection share.
pub(crate) struct Streams {
    pulse: Rc<Pulse<Watch>>,
    spans: Spans,
    connection: SharedWatch,
    /// Begun at the door, and not yet handed to its task.
    begun: RefCell<Option<Stream>>,
    /// Streams that the client gave up before their end, less those that came to it.
    given_up: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

/// One stream, as long as its task lives.
struct Stream {
    attendance: Attendance<Watch>,
    streams: Rc<Streams>,
}

impl Streams {
    pub(super) fn new(pulse: &Rc<Pulse<Watch>>, spans: Spans, connection: SharedWatch) -> Rc<Self> {
        connection.multiplex();
        Rc::new(Self {
            pulse: Rc::clone(pulse),
            spans,
            connection,
            begun: RefCell::new(None),
            given_up: Cell::new(0),
            waker: RefCell::new(None),
        })
    }

    /// A stream whose head is here; gives back its watch.
    pub(crate) fn begin(self: &Rc<Self>) -> SharedWatch {
        let attendance = self.pulse.attend(Watch::new(Rc::clone(&self.pulse), self.spans));
        let watch = attendance.share();
        self.connection.stream_began();
        let stream = Stream {
            attendance,
            streams: Rc::clone(self),
        };
        self.begun.replace(Some(stream));
        watch
    }

    /// Whether the client gives up more of its requests than anybody has use for. Wakes the waker when it comes to that.
    pub(super) fn is_abused(&self, waker: &Waker) -> bool {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        self.given_up.get() > GIVEN_UP_MAX
    }

    fn ended(&self, well: bool) {
        let given_up = self.given_up.get();
        self.given_up
            .set(if well { given_up.saturating_sub(1) } else { given_up + 1 });
        if self.given_up.get() > GIVEN_UP_MAX
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let watch = &self.attendance;
        watch.uploads().give_up();
        self.streams.ended(watch.has_said_all());
        self.streams.connection.stream_ended();
    }
}

/// Runs streams as tasks of the worker's thread.
#[derive(Clone)]
pub(super) struct Tasks(pub(super) Rc<Streams>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let task = Task {
            future: Some(Box::pin(future)),
            stream: self.0.begun.take(),
        };
        tokio::task::spawn_local(task);
    }
}

/// A stream's task: hyper's, and beside it what that knows nothing of.
struct Task<F> {
    future: Option<Pin<Box<F>>>,
    /// `None` cannot be: hyper has nothing else to run.
    stream: Option<Stream>,
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { future, stream } = self.get_mut();
        if let Some(running) = future {
            let is_over = running.as_mut().poll(cx).is_ready();
            let is_stalled = || {
                stream
                    .as_ref()
                    .is_some_and(|stream| stream.attendance.is_stalled(cx.waker()))
            };
            if is_over || is_stalled() {
                // What is dropped before its end is reset.
                *future = None;
            }
        }
        // A server may answer before it has read everything.
        let uploads = stream
            .as_ref()
            .map_or(Poll::Ready(()), |stream| stream.attendance.poll_uploads(cx));
        match (future, uploads) {
            (None, Poll::Ready(())) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

/// So many more streams given up than brought to their end, and the connection is closed. A browser that leaves a page gives up what is
/// under way, at most a hundred; whoever gives up five hundred has no use for answers (CVE-2023-44487). Streams that are given up before
/// we have seen them the library counts itself.
const GIVEN_UP_MAX: u32 = 500;
