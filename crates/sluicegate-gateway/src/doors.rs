//! The door of a connection in HTTP/2: as the one of HTTP/1.1, for any number of requests at a time.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use sluicegate::policy::checked::MethodOverride;
use sluicegate_tower::LimitBody;
use tower::Service;

use crate::body::RequestBody;
use crate::connection::{SharedWatch, Streams};
use crate::door::{Answering, Caps, Outgoing, answering};
use crate::headers::{settle_fields, settle_method};
use crate::paced::Paced;
use crate::problem::Problem;

/// One connection's door; `F` makes a service for each stream.
pub(crate) struct Doors<F> {
    service: F,
    streams: Rc<Streams>,
    caps: Caps,
    method_override: MethodOverride,
}

impl<F> Doors<F> {
    /// What `service` makes has to be ready at all times.
    pub(crate) fn new(service: F, streams: Rc<Streams>, caps: Caps, method_override: MethodOverride) -> Self {
        Self {
            service,
            streams,
            caps,
            method_override,
        }
    }

    fn inspect(&self, request: &mut Request<Incoming>) -> Result<(), Problem> {
        if request.headers().len() > self.caps.headers {
            return Err(Problem::TooManyHeaders);
        }
        settle_fields(request)?;
        settle_method(request, self.method_override)
    }
}

impl<F, S, B> hyper::service::Service<Request<Incoming>> for Doors<F>
where
    F: Fn(SharedWatch) -> S,
    S: Service<Request<RequestBody>, Response = Response<LimitBody<B>>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    type Response = Response<Paced<Outgoing<LimitBody<B>>>>;
    type Error = Infallible;
    type Future = Pacing<Answering<S::Future>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let watch = self.streams.begin();
        watch.begin_turn(!request.body().is_end_stream());
        let answer = self.inspect(&mut request).map(|()| {
            let receive = |incoming| RequestBody::new(incoming, self.caps.body_bytes, watch.clone());
            (self.service)(watch.clone()).call(request.map(receive))
        });
        Pacing {
            answering: answering(answer, watch.clone()),
            watch,
        }
    }
}

pin_project! {
    /// An answer on its way into its stream.
    pub(crate) struct Pacing<F> {
        #[pin]
        answering: F,
        watch: SharedWatch,
    }
}

impl<F, B> Future for Pacing<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<Paced<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answering.poll(cx))?;
        Poll::Ready(Ok(answer.map(|body| Paced::new(body, this.watch.clone()))))
    }
}
