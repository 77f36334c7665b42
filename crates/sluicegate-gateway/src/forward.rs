//! Sends an admitted request to its upstream, and brings the answer back.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::Body as _;
use sluicegate_tower::{Admission, Admit, BodyFault};

use crate::body::{Outbound, Reply};
use crate::connection::{SharedWatch, Watch};
use crate::headers::{Offer, Peer, Scheme, strip_answer, strip_request, to_origin_form, write_forwarded};
use crate::problem::Problem;
use crate::pulse::{Pulse, Tick};
use crate::settings::{Published, Setup};
use crate::upstream::{Server, Upstream};

/// Answers an admitted request, by its upstream or, where that cannot be, by a problem document.
pub(crate) async fn forward(
    switchboards: Rc<Switchboards>,
    watch: SharedWatch,
    caller: Rc<Caller>,
    Admit { request, admission }: Admit<Outbound>,
) -> Result<Response<Reply>, Infallible> {
    let sent = match switchboards.of(admission.generation()) {
        Some(switchboard) => {
            let peer = caller.peer(&switchboard);
            switchboard.send(request, &admission, &watch, &peer).await
        }
        None => Err(Problem::Outlived),
    };
    Ok(match sent {
        Ok(answer) => answer,
        Err(problem) => problem.answer(),
    })
}

/// What forwarding needs to know by one policy, besides the request; made by each worker for itself.
pub(crate) struct Switchboard {
    setup: Arc<Setup>,
    upstreams: Vec<Upstream>,
}

/// The switchboards of the policies by which this worker's requests were decided.
pub(crate) struct Switchboards {
    published: Arc<Published>,
    pulse: Rc<Pulse<Watch>>,
    /// The latest first. Only its servers' connections are kept for more requests.
    boards: RefCell<VecDeque<Rc<Switchboard>>>,
}

impl Switchboards {
    pub(crate) fn new(setup: &Arc<Setup>, published: Arc<Published>, pulse: &Rc<Pulse<Watch>>) -> Self {
        let board = Switchboard::new(setup, None, pulse);
        board.keep_idle(pulse);
        Self {
            published,
            pulse: Rc::clone(pulse),
            boards: RefCell::new(VecDeque::from([Rc::new(board)])),
        }
    }

    /// The switchboard of the policy of that generation; `None` where that has been replaced too often since.
    #[inline]
    pub(crate) fn of(&self, generation: u32) -> Option<Rc<Switchboard>> {
        let known = self
            .boards
            .borrow()
            .front()
            .filter(|board| board.setup.generation == generation)
            .cloned();
        known.or_else(|| self.other(generation))
    }

    #[cold]
    fn other(&self, generation: u32) -> Option<Rc<Switchboard>> {
        let mut boards = self.boards.borrow_mut();
        if let Some(board) = boards.iter().find(|board| board.setup.generation == generation) {
            return Some(Rc::clone(board));
        }
        let setup = self.published.of(generation)?;
        let latest = boards.front().cloned();
        let board = Rc::new(Switchboard::new(&setup, latest.as_deref(), &self.pulse));
        boards.truncate(BOARDS_MAX - 1);
        match latest {
            // Decided before the last reload. Servers that are gone keep no connections.
            Some(latest) if latest.setup.generation > generation => boards.push_back(Rc::clone(&board)),
            latest => {
                board.keep_idle(&self.pulse);
                if let Some(former) = latest {
                    former.retire_but(&board);
                }
                boards.push_front(Rc::clone(&board));
            }
        }
        Some(board)
    }

    /// Closes connections that waited too long for work, or that the server closed. Says whether any are left.
    pub(crate) fn tend(&self, now: Tick) -> bool {
        let latest = self.boards.borrow().front().cloned();
        let mut left = false;
        for upstream in latest.iter().flat_map(|board| &board.upstreams) {
            left |= upstream.tend(now);
        }
        left
    }
}

/// Switchboards that one worker keeps at hand. More than two are asked for only where requests wait through several reloads; one
/// that was let go is made anew.
const BOARDS_MAX: usize = 8;

/// A connection's client, as upstreams will read it by the policy that has decided its request.
pub(crate) struct Caller {
    address: IpAddr,
    scheme: Scheme,
    peer: RefCell<Option<(u32, Rc<Peer>)>>,
}

impl Caller {
    pub(crate) fn new(address: IpAddr, scheme: Scheme) -> Self {
        Self {
            address,
            scheme,
            peer: RefCell::new(None),
        }
    }

    fn peer(&self, switchboard: &Switchboard) -> Rc<Peer> {
        let setup = &switchboard.setup;
        let mut peer = self.peer.borrow_mut();
        match &*peer {
            Some((generation, peer)) if *generation == setup.generation => Rc::clone(peer),
            _ => {
                let made = Rc::new(Peer::new(self.address, self.scheme, &setup.identity));
                *peer = Some((setup.generation, Rc::clone(&made)));
                made
            }
        }
    }
}

impl Switchboard {
    /// Goes on with those servers of `former` that are the same.
    fn new(setup: &Arc<Setup>, former: Option<&Self>, pulse: &Rc<Pulse<Watch>>) -> Self {
        let upstreams = setup.gateway.upstreams.iter().map(|upstream| {
            let mut former = former.into_iter().flat_map(|former| &former.upstreams);
            let former = former.find(|former| former.name() == upstream.name);
            Upstream::new(upstream, &setup.gateway, former, pulse)
        });
        Self {
            upstreams: upstreams.collect(),
            setup: Arc::clone(setup),
        }
    }

    fn keep_idle(&self, pulse: &Pulse<Watch>) {
        for upstream in &self.upstreams {
            upstream.keep_idle(&self.setup.gateway, pulse);
        }
    }

    /// Keeps no connections any more, but to servers that `other` has too.
    fn retire_but(&self, other: &Self) {
        for server in self.upstreams.iter().flat_map(Upstream::servers) {
            let stays = |theirs: &Rc<Server>| Rc::ptr_eq(server, theirs);
            if !other.upstreams.iter().flat_map(Upstream::servers).any(stays) {
                server.retire();
            }
        }
    }

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
        let upstream = self.setup.routes.get(route.index()).copied().flatten()?;
        self.upstreams.get(upstream)
    }

    fn outgoing(&self, request: Request<Outbound>, peer: &Peer) -> Result<Request<Outbound>, Problem> {
        let (mut head, body) = request.into_parts();
        if self
            .setup
            .gateway
            .caps
            .body_bytes
            .is_some_and(|most| announced(&head.headers).is_some_and(|announced| announced > most))
        {
            return Err(Problem::Body(BodyFault::TooLarge));
        }
        strip_request(&mut head.headers);
        if let Some(name) = &self.setup.identity.ja4_header
            && !peer.is_believed()
        {
            // Upstreams believe it, since we are the ones whom they believe.
            head.headers.remove(name);
        }
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
