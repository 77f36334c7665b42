//! The service: asks the limiter, then the inner service or nobody.

use std::error::Error;
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
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use pin_project_lite::pin_project;
use sluicegate::path::{self, PathFault, is_plain};
use sluicegate::{Admitted, Announcement, Decision, Limiter, Outcome, Refusal};
use tower_service::Service;

use crate::body::LimitBody;
use crate::hand::{Admission, HandOver, Together};
use crate::held::{Held, Verdict, Wait};
use crate::host::host_of;
use crate::passage::Passage;
use crate::peer::{FindPeer, FixedCaller, FixedPeer};
use crate::reading::Reading;
use crate::replay::Replay;

/// What any error of a request's body can be made into.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

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

impl<S, L> Limit<S, FixedCaller, Together, L> {
    /// As [`for_peer`](Limit::for_peer), where the connection itself says who its client is.
    pub fn for_caller(limiter: L, caller: FixedCaller, inner: S) -> Self {
        Self::new(limiter, caller, inner)
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
    H: HandOver<Replay<B>>,
    L: Deref<Target = Limiter> + Clone,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    C: Body<Data = Bytes>,
{
    type Response = Response<LimitBody<C>>;
    type Error = S::Error;
    type Future = Limiting<S, H, L, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if !is_plain(request.uri().path())
            && let Err(fault) = settle_path(&self.limiter, &mut request)
        {
            return Limiting {
                stage: Stage::refused(Refusal::plain(StatusCode::BAD_REQUEST, &fault.to_string())),
                limiter: self.limiter.clone(),
            };
        }
        let peer = self.peer.find_peer(request.extensions());
        let caller = self.peer.find_caller(request.extensions());
        let outcome = seen(
            request.method(),
            request.uri(),
            request.headers(),
            peer,
            |seen| match caller {
                Some(caller) => self.limiter.decide_as(seen, caller),
                None => self.limiter.decide(seen),
            },
        );
        let stage = match outcome {
            Outcome::Decided(Decision::Allow { admitted, report }) => {
                let told = self.limiter.announcement(admitted.route(), &report);
                let (request, passage) = pass::<H, B>(request.map(Replay::straight), admitted);
                Stage::Inner {
                    future: self.inner.call(request),
                    passage: Some(passage),
                    told,
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
        H: HandOver<Replay<B>>,
        B: Body<Data = Bytes>,
    {
        let (head, body) = request.into_parts();
        let outcome = match outcome {
            Outcome::NeedsBody(question) if question.is_advisory() && !fits(&body, question.bytes_max()) => {
                question.finish_unread()
            }
            other => other,
        };
        let (wait, body) = match outcome {
            // Only where it needed the body, and nobody read it.
            Outcome::Decided(Decision::Allow { admitted, report }) => (
                Wait::delay(admitted, Duration::ZERO, report),
                Some(Replay::straight(body)),
            ),
            Outcome::Pending(ticket) => (Wait::Ticket { ticket }, Some(Replay::straight(body))),
            Outcome::NeedsBody(question) => {
                let reading = Reading::new(question, body);
                (Wait::Body { reading }, None)
            }
            Outcome::Decided(Decision::Delay {
                admitted,
                after,
                report,
            }) => (Wait::delay(admitted, after, report), Some(Replay::straight(body))),
            Outcome::Decided(refused) => {
                let refusal = seen(&head.method, &head.uri, &head.headers, peer, |seen| {
                    self.limiter.refusal(seen, &refused)
                });
                return Stage::refused(refusal.expect(REFUSED));
            }
        };
        // The service that was found ready goes with the request; its clone has to be found ready anew.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        Stage::Held {
            held: Box::pin(Held::new(wait, head, body, peer, ready)),
        }
    }
}

pin_project! {
    /// The answer to come.
    pub struct Limiting<S, H, L, B>
    where
        S: Service<H::Request>,
        H: HandOver<Replay<B>>,
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
        H: HandOver<Replay<B>>,
    {
        // The inner service has the request. Its future goes first, and with it whatever it does.
        Inner {
            #[pin]
            future: S::Future,
            passage: Option<Passage>,
            // What the client is told of its limits. Not the report, which is ten times as large, and would be moved with the future.
            told: Option<Announcement>,
        },
        // It will never have it.
        Refused { response: Option<Response<Bytes>> },
        // It will have it later, or not.
        Held { held: Pin<Box<Held<S, H, B>>> },
    }
}

impl<S, H, B> Stage<S, H, B>
where
    S: Service<H::Request>,
    H: HandOver<Replay<B>>,
{
    fn refused(Refusal { status, headers, body }: Refusal) -> Self {
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Self::Refused {
            response: Some(response),
        }
    }
}

impl<S, H, L, B, C> Future for Limiting<S, H, L, B>
where
    S: Service<H::Request, Response = Response<C>>,
    H: HandOver<Replay<B>>,
    L: Deref<Target = Limiter>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    C: Body<Data = Bytes>,
{
    type Output = Result<Response<LimitBody<C>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                StageProjection::Inner { future, passage, told } => {
                    let answer = ready!(future.poll(cx));
                    let passage = passage.take().expect(POLLED_AGAIN);
                    let told = told.take();
                    return Poll::Ready(answer.map(|response| answered(response, passage, told)));
                }
                StageProjection::Refused { response } => {
                    let response = response.take().expect(POLLED_AGAIN);
                    return Poll::Ready(Ok(response.map(LimitBody::refusal)));
                }
                StageProjection::Held { held } => match ready!(held.as_mut().poll(cx)) {
                    Verdict::Passes {
                        future,
                        passage,
                        report,
                    } => Stage::Inner {
                        told: this.limiter.announcement(passage.route(), &report),
                        future,
                        passage: Some(passage),
                    },
                    Verdict::Refused { head, peer, decision } => {
                        let refusal = seen(&head.method, &head.uri, &head.headers, peer, |seen| {
                            this.limiter.refusal(seen, &decision)
                        });
                        Stage::refused(refusal.expect(REFUSED))
                    }
                    Verdict::Faulty { fault } => Stage::refused(fault.refusal()),
                },
            };
            this.stage.set(next);
        }
    }
}

/// Parts an admitted request into what the inner service gets and what stays here.
#[inline]
pub(crate) fn pass<H, B>(mut request: Request<Replay<B>>, admitted: Admitted) -> (H::Request, Passage)
where
    H: HandOver<Replay<B>>,
{
    if admitted.reads_answers() {
        // A rule looks for something in the answer, and finds nothing in one that is compressed.
        request.headers_mut().insert(ACCEPT_ENCODING, IDENTITY);
    }
    let admission = Admission::of(&admitted);
    let passage = Passage::new(admitted, request.method());
    (H::hand_over(request, admission), passage)
}

/// Whether a body says how long it is, and is no longer than that.
fn fits<B: Body>(body: &B, bytes_max: usize) -> bool {
    body.size_hint().exact().is_some_and(|bytes| bytes <= bytes_max as u64)
}

/// Sends the inner service's answer on its way.
#[inline]
fn answered<C: Body>(
    response: Response<C>,
    mut passage: Passage,
    told: Option<Announcement>,
) -> Response<LimitBody<C>> {
    let (mut head, body) = response.into_parts();
    passage.answered(&head, body.is_end_stream());
    // Told of a low `r`, a client might not follow a redirection that it is to follow.
    if let Some(told) = told
        && !head.status.is_redirection()
    {
        told.add_to(&mut head.headers);
    }
    Response::from_parts(head, LimitBody::inner(body, passage))
}

/// Brings a request's path into the one form in which it is decided, and in which the inner service gets it.
#[cold]
fn settle_path<B>(limiter: &Limiter, request: &mut Request<B>) -> Result<(), PathFault> {
    let form = limiter.canonical_path(request.method(), request.uri().path())?;
    if form != request.uri().path() {
        let form = form.into_owned();
        path::put(&form, request.uri_mut())?;
    }
    Ok(())
}

/// Shows a request to the limiter.
#[inline]
fn seen<T>(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    look: impl FnOnce(&sluicegate::Request<'_>) -> T,
) -> T {
    look(&sluicegate::Request {
        method,
        host: &host_of(uri, headers),
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        peer,
        headers,
    })
}

pub(crate) const POLLED_AGAIN: &str = "a future that answered is not polled again";
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const REFUSED: &str = "a decision that does not pass has a refusal";
