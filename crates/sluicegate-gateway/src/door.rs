//! The entry of a request, right behind hyper's parser: what is no proper request ends here, everything else goes on to
//! the limiter.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use sluicegate::policy::checked::MethodOverride;
use sluicegate_tower::LimitBody;
use tower::Service;

use crate::body::RequestBody;
use crate::connection::SharedWatch;
use crate::headers::{settle_host, settle_method};
use crate::problem::Problem;

/// One connection's door.
pub(crate) struct Door<S> {
    /// hyper calls through a shared reference and one request at a time; tower's services want an exclusive one.
    inner: RefCell<S>,
    watch: SharedWatch,
    caps: Caps,
    method_override: MethodOverride,
}

/// How large a request may be, beyond what hyper's parser holds it to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    pub(crate) headers: usize,
    /// `None` means unbounded.
    pub(crate) body_bytes: Option<u64>,
}

impl<S> Door<S> {
    /// `inner` has to be ready at all times.
    pub(crate) fn new(inner: S, watch: SharedWatch, caps: Caps, method_override: MethodOverride) -> Self {
        Self {
            inner: RefCell::new(inner),
            watch,
            caps,
            method_override,
        }
    }

    /// From here on the body is under its cap and its deadline, whoever reads it.
    fn receive(&self, request: Request<Incoming>) -> Request<RequestBody> {
        request.map(|incoming| RequestBody::new(incoming, self.caps.body_bytes, self.watch.clone()))
    }

    fn inspect(&self, request: &mut Request<Incoming>) -> Result<(), Problem> {
        if request.headers().len() > self.caps.headers {
            return Err(Problem::TooManyHeaders);
        }
        settle_host(request)?;
        settle_method(request, self.method_override)
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Door<S>
where
    S: Service<Request<RequestBody>, Response = Response<LimitBody<B>>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    type Response = Response<Outgoing<LimitBody<B>>>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.watch.begin_turn(!request.body().is_end_stream());
        let answer = self
            .inspect(&mut request)
            .map(|()| self.inner.borrow_mut().call(self.receive(request)));
        answering(answer, self.watch.clone())
    }
}

/// What becomes of a request that was let in, or was not.
#[inline]
pub(crate) fn answering<F>(answer: Result<F, Problem>, watch: SharedWatch) -> Answering<F> {
    let answer = match answer {
        Ok(future) => Answer::Inner { future },
        Err(problem) => Answer::Problem { problem },
    };
    Answering { answer, watch }
}

pin_project! {
    /// An answer on its way out.
    pub(crate) struct Answering<F> {
        #[pin]
        answer: Answer<F>,
        watch: SharedWatch,
    }
}

pin_project! {
    #[project = AnswerProjection]
    enum Answer<F> {
        Inner { #[pin] future: F },
        Problem { problem: Problem },
    }
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<Response<LimitBody<B>>, Infallible>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<Outgoing<LimitBody<B>>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let turn = |watch: &SharedWatch| Turn(watch.clone());
        let mut response = match this.answer.project() {
            AnswerProjection::Inner { future } => {
                let mut response = ready!(future.poll(cx))?;
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    this.watch.keep(response.body_mut().take_passage());
                }
                response.map(|body| Outgoing {
                    body: Side::Inner { body },
                    turn: turn(this.watch),
                })
            }
            AnswerProjection::Problem { problem } => problem.answer::<Bytes>().map(|text| Outgoing {
                body: Side::Text { text: Some(text) },
                turn: turn(this.watch),
            }),
        };
        // What is not HTTP any more has its own way to end.
        if this.watch.is_draining() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

pin_project! {
    /// A body on its way to a client. When it is dropped, its connection's turn is over.
    pub(crate) struct Outgoing<B> {
        #[pin]
        body: Side<B>,
        turn: Turn,
    }
}

pin_project! {
    #[project = SideProjection]
    enum Side<B> {
        Inner { #[pin] body: B },
        Text { text: Option<Bytes> },
    }
}

struct Turn(SharedWatch);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.end_turn();
    }
}

impl<B: Body<Data = Bytes>> Body for Outgoing<B> {
    type Data = Bytes;
    type Error = B::Error;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().body.project() {
            SideProjection::Inner { body } => body.poll_frame(cx),
            SideProjection::Text { text } => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Side::Inner { body } => body.is_end_stream(),
            Side::Text { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Side::Inner { body } => body.size_hint(),
            Side::Text { text } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}
