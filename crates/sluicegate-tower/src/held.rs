//! A request that waits: for the limiter's answer, for its own body, or for its turn.

use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::Body;
use pin_project_lite::pin_project;
use sluicegate::{Admitted, Decision, Outcome, Report, Ticket};
use tokio::time::Sleep;
use tower_service::Service;

use crate::fault::BodyFault;
use crate::hand::HandOver;
use crate::passage::Passage;
use crate::reading::Reading;
use crate::replay::Replay;
use crate::service::{BoxError, POLLED_AGAIN, pass};

pin_project! {
    /// Dropped, it withdraws the request: whatever it waits for gives back what was taken.
    pub(crate) struct Held<S, H, B> {
        #[pin]
        wait: Wait<B>,
        head: Option<Parts>,
        // `None` while it is read.
        body: Option<Replay<B>>,
        peer: Option<IpAddr>,
        ready: S,
        hand: PhantomData<fn() -> H>,
    }
}

impl<S, H, B> Held<S, H, B> {
    /// `body` is `None` if `wait` has it. `ready` has been found ready for this request.
    pub(crate) fn new(wait: Wait<B>, head: Parts, body: Option<Replay<B>>, peer: Option<IpAddr>, ready: S) -> Self {
        Self {
            wait,
            head: Some(head),
            body,
            peer,
            ready,
            hand: PhantomData,
        }
    }
}

pin_project! {
    #[project = WaitProjection]
    pub(crate) enum Wait<B> {
        // For an answer from the store. Dropped, it gives back what it took.
        Ticket { #[pin] ticket: Ticket },
        // For the body that the answer depends on.
        Body { #[pin] reading: Reading<B> },
        // For the time that the limiter set; everything is charged.
        Delay { #[pin] sleep: Sleep, admitted: Option<Admitted>, report: Report },
    }
}

impl<B> Wait<B> {
    pub(crate) fn delay(admitted: Admitted, after: Duration, report: Report) -> Self {
        Self::Delay {
            sleep: tokio::time::sleep(after),
            admitted: Some(admitted),
            report,
        }
    }
}

/// What the end of a wait brought.
#[expect(
    clippy::large_enum_variant,
    reason = "moved once, and only for a request that had to wait"
)]
pub(crate) enum Verdict<F> {
    Passes {
        future: F,
        passage: Passage,
        report: Report,
    },
    Refused {
        head: Parts,
        peer: Option<IpAddr>,
        decision: Decision,
    },
    /// Its body could not be had.
    Faulty { fault: BodyFault },
}

impl<S, H, B> Future for Held<S, H, B>
where
    S: Service<H::Request>,
    H: HandOver<Replay<B>>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = Verdict<S::Future>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (admitted, report) = loop {
            let outcome = match this.wait.as_mut().project() {
                WaitProjection::Ticket { ticket } => ready!(ticket.poll(cx)),
                WaitProjection::Body { reading } => match ready!(reading.poll(cx)) {
                    Ok((outcome, body)) => {
                        *this.body = Some(body);
                        outcome
                    }
                    Err(fault) => return Poll::Ready(Verdict::Faulty { fault }),
                },
                WaitProjection::Delay {
                    sleep,
                    admitted,
                    report,
                } => {
                    ready!(sleep.poll(cx));
                    let mut admitted = admitted.take().expect(POLLED_AGAIN);
                    // Its turn has come: from here on what it took is spent.
                    admitted.depart();
                    break (admitted, mem::take(report));
                }
            };
            match outcome {
                Outcome::Pending(ticket) => this.wait.set(Wait::Ticket { ticket }),
                Outcome::NeedsBody(question) => {
                    // Only the head's rules ask for it, before it was read.
                    let body = this.body.take().and_then(Replay::unread).expect(POLLED_AGAIN);
                    let reading = Reading::new(question, body);
                    this.wait.set(Wait::Body { reading });
                }
                Outcome::Decided(Decision::Allow { admitted, report }) => break (admitted, report),
                Outcome::Decided(Decision::Delay {
                    admitted,
                    after,
                    report,
                }) => this.wait.set(Wait::delay(admitted, after, report)),
                Outcome::Decided(decision) => {
                    return Poll::Ready(Verdict::Refused {
                        head: this.head.take().expect(POLLED_AGAIN),
                        peer: *this.peer,
                        decision,
                    });
                }
            }
        };
        let head = this.head.take().expect(POLLED_AGAIN);
        let body = this.body.take().expect(POLLED_AGAIN);
        let (request, passage) = pass::<H, B>(Request::from_parts(head, body), admitted);
        Poll::Ready(Verdict::Passes {
            future: this.ready.call(request),
            passage,
            report,
        })
    }
}
