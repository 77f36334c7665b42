//! Sends an admitted request to its upstream, and brings the answer back.

use std::convert::Infallible;
use std::rc::Rc;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::Body as _;
use sluicegate_tower::{Admission, Admit, BodyFault};

use crate::body::{Outbound, Reply};
use crate::connection::SharedWatch;
use crate::headers::{Offer, Peer, strip_answer, strip_request, to_origin_form, write_forwarded};
use crate::problem::Problem;
use crate::upstream::Upstream;

/// What forwarding needs to know besides the request; one for each worker.
pub(crate) struct Switchboard {
    /// By route: the upstream that takes it, if any.
    pub(crate) routes: Vec<Option<usize>>,
    pub(crate) upstreams: Vec<Upstream>,
    /// `None` means unbounded.
    pub(crate) body_bytes_max: Option<u64>,
}

/// Answers an admitted request, by its upstream or, where that cannot be, by a problem document.
pub(crate) async fn forward(
    switchboard: Rc<Switchboard>,
    watch: SharedWatch,
    peer: Rc<Peer>,
    Admit { request, admission }: Admit<Outbound>,
) -> Result<Response<Reply>, Infallible> {
    Ok(match switchboard.send(request, &admission, &watch, &peer).await {
        Ok(answer) => answer,
        Err(problem) => problem.answer(),
    })
}

impl Switchboard {
    /// The proof of admission is asked for and not used up. What the request holds until its answer has ended stays with the
    /// limiter's layer.
    async fn send(
        &self,
        request: Request<Outbound>,
        admission: &Admission,
        watch: &SharedWatch,
        peer: &Peer,
    ) -> Result<Response<Reply>, Problem> {
        let upstream = self.upstream(admission).ok_or(Problem::NoRoute)?;
        let offer = offer(&request);
        let mut request = self.outgoing(request, peer)?;
        if let Some(offer) = &offer {
            offer.write(request.headers_mut());
        }
        let (answer, link, server) = upstream.send(request, watch, || self.spare()).await?;
        let (mut head, incoming) = answer.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let switch = offer.and_then(|offer| offer.taken_up(&head.headers));
            // A server must not go over to what nobody offered.
            let switch = switch.ok_or(Problem::BadAnswer)?;
            strip_answer(&mut head.headers);
            switch.write(&mut head.headers);
            watch.go_over(link.leave_http().await.ok_or(Problem::BadAnswer)?);
            return Ok(Response::from_parts(head, Reply::nothing()));
        }
        strip_answer(&mut head.headers);
        head.version = Version::HTTP_11;
        Ok(Response::from_parts(
            head,
            Reply::relay(incoming, link, server, watch.clone()),
        ))
    }

    /// Gives up some unused connections, of any upstream's. Says whether there were any.
    fn spare(&self) -> bool {
        let mut spared = false;
        for upstream in &self.upstreams {
            spared |= upstream.spare();
        }
        spared
    }

    fn upstream(&self, admission: &Admission) -> Option<&Upstream> {
        let route = admission.route()?;
        let upstream = self.routes.get(route.index()).copied().flatten()?;
        self.upstreams.get(upstream)
    }

    fn outgoing(&self, request: Request<Outbound>, peer: &Peer) -> Result<Request<Outbound>, Problem> {
        let (mut head, body) = request.into_parts();
        if self
            .body_bytes_max
            .is_some_and(|most| announced(&head.headers).is_some_and(|announced| announced > most))
        {
            return Err(Problem::Body(BodyFault::TooLarge));
        }
        strip_request(&mut head.headers);
        write_forwarded(&mut head.headers, peer);
        to_origin_form(&mut head.uri);
        head.version = Version::HTTP_11;
        Ok(Request::from_parts(head, body))
    }
}

/// What a request offers to go over to. One with a body offers nothing: the other protocol could only begin behind it,
/// and servers differ on where that is.
fn offer(request: &Request<Outbound>) -> Option<Offer> {
    let offer = Offer::of(request.version(), request.headers())?;
    request.body().is_end_stream().then_some(offer)
}

/// The length that a request's head announces for its body. hyper has refused one that is no number.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
