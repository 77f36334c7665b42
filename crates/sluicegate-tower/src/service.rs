//! The service: asks the limiter, then the inner service or nobody.

use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::net::IpAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use sluicegate::{Admitted, Decision, Limiter, Outcome, Refusal, Report, RouteId, Ticket};
use tokio::time::Sleep;
use tower_service::Service;

use crate::body::LimitBody;
use crate::hand::{HandOver, Together};
use crate::host::host_of;
use crate::peer::{FindPeer, FixedPeer};

/// Asks the limiter before the service `S`. Made by a [`LimitLayer`](crate::LimitLayer).
///
/// `L` is how it holds the limiter: by an `Arc`, or by whatever is cheaper to clone for each request where services do
/// not leave their thread.
pub struct Limit<S, P, H, L = Arc<Limiter>> {
    inner: S,
    limiter: L,
    peer: P,
    hand: PhantomData<fn() -> H>,
}

impl<S, P, H, L> Limit<S, P, H, L> {
    pub(crate) fn new(limiter: L, peer: P, inner: S) -> Self {
        Self {
            inner,
            limiter,
            peer,
            hand: PhantomData,
        }
    }
}

impl<S, L> Limit<S, FixedPeer, Together, L> {
    /// For a server that makes a service for each connection: `peer` is its other end, and `inner` takes each request
    /// together with the proof of its admission.
    pub fn for_peer(limiter: L, peer: IpAddr, inner: S) -> Self {
        Self::new(limiter, FixedPeer(peer), inner)
    }
}

impl<S: Clone, P: Clone, H, L: Clone> Clone for Limit<S, P, H, L> {
    fn clone(&self) -> Self {
        Self::new(self.limiter.clone(), self.peer.clone(), self.inner.clone())
    }
}

impl<S, P, H, L, B, C> Service<Request<B>> for Limit<S, P, H, L>
where
    S: Service<H::Request, Response = Response<C>> + Clone,
    P: FindPeer,
    H: HandOver<B>,
    L: Deref<Target = Limiter> + Clone,
    C: Body<Data = Bytes>,
{
    type Response = Response<LimitBody<C>>;
    type Error = S::Error;
    type Future = Limiting<S, H, L, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let peer = self.peer.find_peer(request.extensions());
        let outcome = seen(&request, peer, |seen| self.limiter.decide(seen));
        let stage = match outcome {
            Outcome::Decided(Decision::Allow { admitted, report }) => {
                let route = admitted.route();
                Stage::Inner {
                    future: self.inner.call(H::hand_over(request, admitted)),
                    route,
                    report,
                }
            }
            other => self.not_yet(other, request, peer),
        };
        Limiting {
            stage,
            limiter: self.limiter.clone(),
        }
    }
}

impl<S, P, H, L> Limit<S, P, H, L>
where
    L: Deref<Target = Limiter>,
{
    /// All that is not an immediate pass.
    #[cold]
    fn not_yet<B>(&mut self, outcome: Outcome, request: Request<B>, peer: Option<IpAddr>) -> Stage<S, H, B>
    where
        S: Service<H::Request> + Clone,
        H: HandOver<B>,
    {
        let wait = match outcome {
            Outcome::Pending(ticket) => Wait::Ticket { ticket },
            Outcome::Decided(Decision::Delay {
                admitted,
                after,
                report,
            }) => Wait::delay(admitted, after, report),
            Outcome::Decided(refused) => {
                return Stage::Refused {
                    response: Some(refuse(&self.limiter, &request, peer, &refused)),
                };
            }
        };
        // The service that was found ready goes with the request; its clone has to be found ready anew.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        Stage::Held {
            held: Box::pin(Held {
                wait,
                request: Some(request),
                peer,
                ready,
                hand: PhantomData,
            }),
        }
    }
}

pin_project! {
    /// The answer to come.
    pub struct Limiting<S, H, L, B>
    where
        S: Service<H::Request>,
        H: HandOver<B>,
    {
        #[pin]
        stage: Stage<S, H, B>,
        limiter: L,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<S, H, B>
    where
        S: Service<H::Request>,
        H: HandOver<B>,
    {
        // The inner service has the request.
        Inner {
            #[pin]
            future: S::Future,
            route: Option<RouteId>,
            report: Report,
        },
        // It will never have it.
        Refused { response: Option<Response<Bytes>> },
        // It will have it later, or not.
        Held { held: Pin<Box<Held<S, H, B>>> },
    }
}

pin_project! {
    struct Held<S, H, B> {
        #[pin]
        wait: Wait,
        request: Option<Request<B>>,
        peer: Option<IpAddr>,
        ready: S,
        hand: PhantomData<fn() -> H>,
    }
}

pin_project! {
    #[project = WaitProjection]
    enum Wait {
        // For an answer from the store. Dropped, it gives back what it took.
        Ticket { #[pin] ticket: Ticket },
        // For the time that the limiter set; everything is charged.
        Delay { #[pin] sleep: Sleep, admitted: Option<Admitted>, report: Report },
    }
}

impl Wait {
    fn delay(admitted: Admitted, after: Duration, report: Report) -> Self {
        Self::Delay {
            sleep: tokio::time::sleep(after),
            admitted: Some(admitted),
            report,
        }
    }
}

impl<S, H, L, B, C> Future for Limiting<S, H, L, B>
where
    S: Service<H::Request, Response = Response<C>>,
    H: HandOver<B>,
    L: Deref<Target = Limiter>,
    C: Body<Data = Bytes>,
{
    type Output = Result<Response<LimitBody<C>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                StageProjection::Inner { future, route, report } => {
                    let mut response = ready!(future.poll(cx))?.map(LimitBody::inner);
                    // Told of a low `r`, a client might not follow a redirection that it is to follow.
                    if !response.status().is_redirection() {
                        this.limiter.announce(*route, report, response.headers_mut());
                    }
                    return Poll::Ready(Ok(response));
                }
                StageProjection::Refused { response } => {
                    let response = response.take().expect(POLLED_AGAIN);
                    return Poll::Ready(Ok(response.map(LimitBody::refusal)));
                }
                StageProjection::Held { held } => match ready!(held.as_mut().poll(cx)) {
                    Verdict::Passes { future, route, report } => Stage::Inner { future, route, report },
                    Verdict::Refused {
                        request,
                        peer,
                        decision,
                    } => Stage::Refused {
                        response: Some(refuse(this.limiter, &request, peer, &decision)),
                    },
                },
            };
            this.stage.set(next);
        }
    }
}

/// What the end of a wait brought.
#[expect(
    clippy::large_enum_variant,
    reason = "moved once, and only for a request that had to wait"
)]
enum Verdict<F, B> {
    Passes {
        future: F,
        route: Option<RouteId>,
        report: Report,
    },
    Refused {
        request: Request<B>,
        peer: Option<IpAddr>,
        decision: Decision,
    },
}

impl<S, H, B> Future for Held<S, H, B>
where
    S: Service<H::Request>,
    H: HandOver<B>,
{
    type Output = Verdict<S::Future, B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (admitted, report) = loop {
            match this.wait.as_mut().project() {
                WaitProjection::Ticket { ticket } => match ready!(ticket.poll(cx)) {
                    Decision::Allow { admitted, report } => break (admitted, report),
                    Decision::Delay {
                        admitted,
                        after,
                        report,
                    } => {
                        this.wait.set(Wait::delay(admitted, after, report));
                    }
                    decision => {
                        let request = this.request.take().expect(POLLED_AGAIN);
                        return Poll::Ready(Verdict::Refused {
                            request,
                            peer: *this.peer,
                            decision,
                        });
                    }
                },
                WaitProjection::Delay {
                    sleep,
                    admitted,
                    report,
                } => {
                    ready!(sleep.poll(cx));
                    break (admitted.take().expect(POLLED_AGAIN), mem::take(report));
                }
            }
        };
        let request = this.request.take().expect(POLLED_AGAIN);
        let route = admitted.route();
        Poll::Ready(Verdict::Passes {
            future: this.ready.call(H::hand_over(request, admitted)),
            route,
            report,
        })
    }
}

/// Shows a request to the limiter.
#[inline]
fn seen<B, T>(request: &Request<B>, peer: Option<IpAddr>, look: impl FnOnce(&sluicegate::Request<'_>) -> T) -> T {
    look(&sluicegate::Request {
        method: request.method(),
        host: &host_of(request.uri(), request.headers()),
        path: request.uri().path(),
        peer,
        headers: request.headers(),
    })
}

/// The answer to a request that does not pass.
fn refuse<B>(limiter: &Limiter, request: &Request<B>, peer: Option<IpAddr>, refused: &Decision) -> Response<Bytes> {
    let refusal = seen(request, peer, |seen| limiter.refusal(seen, refused));
    let Refusal { status, headers, body } = refusal.expect("a decision that does not pass has a refusal");
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

const POLLED_AGAIN: &str = "a future that answered is not polled again";
