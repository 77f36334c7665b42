//! Upstreams as one worker sees them: its own turns, its own connections, nothing shared and nothing locked.

mod balance;
mod line;
mod link;
mod resolver;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use http::uri::Authority;
use http::{Request, Response};
use hyper::body::Incoming;
use rustix::io::Errno;
use sluicegate::policy::checked;
use sluicegate_tower::BodyFault;
use tokio::net::TcpStream;

use self::balance::Turns;
pub(crate) use self::link::{Failure, Far, Link};
use self::resolver::Resolver;
use crate::body::Outbound;
use crate::connection::{SharedWatch, Watch};
use crate::problem::Problem;
use crate::pulse::{Pulse, Tick, Ticks};

/// A named set of servers that answer the same requests.
pub(crate) struct Upstream {
    name: String,
    servers: Vec<Rc<Server>>,
    turns: Rc<Turns>,
    connect: Duration,
}

/// One server, and the connections to it that wait for work.
pub(crate) struct Server {
    authority: Authority,
    weight: u16,
    address: Address,
    /// When it may be tried again, after it could not be reached.
    rests_until: Cell<Option<Tick>>,
    rest: Ticks,
    idle: RefCell<Vec<Idle>>,
    idle_max: Cell<usize>,
    idle_for: Cell<Ticks>,
}

struct Idle {
    link: Box<Link>,
    until: Tick,
}

/// Where a server is.
enum Address {
    Known(SocketAddr),
    /// Resolved whenever a connection is made.
    Named(Rc<Resolver<Watch>>),
}

impl Upstream {
    /// Goes on with the connections to those servers of `former` that are named again, and, where all of them are, with their turns.
    pub(crate) fn new(
        upstream: &checked::Upstream,
        gateway: &checked::Gateway,
        former: Option<&Self>,
        pulse: &Rc<Pulse<Watch>>,
    ) -> Self {
        let mut left: Vec<Rc<Server>> = former.map(|former| former.servers.clone()).unwrap_or_default();
        let server = |server: &checked::Server| {
            let same = left
                .iter()
                .position(|former| (&former.authority, former.weight) == (&server.authority, server.weight));
            match same {
                Some(place) => left.remove(place),
                None => Rc::new(Server::new(server, pulse)),
            }
        };
        let servers: Vec<_> = upstream.servers.iter().map(server).collect();
        let turns = former.filter(|former| former.has_servers(&servers)).map_or_else(
            || Rc::new(Turns::new(upstream.servers.iter().map(|server| server.weight))),
            |former| Rc::clone(&former.turns),
        );
        Self {
            name: upstream.name.clone(),
            servers,
            turns,
            connect: gateway.deadlines.connect,
        }
    }

    /// Keeps connections for later requests, as `gateway` says; until then a new server keeps none.
    pub(crate) fn keep_idle(&self, gateway: &checked::Gateway, pulse: &Pulse<Watch>) {
        for server in &self.servers {
            server.idle_max.set(gateway.caps.idle_per_server);
            server.idle_for.set(pulse.ticks(gateway.deadlines.upstream_idle));
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = &Rc<Server>> {
        self.servers.iter()
    }

    fn has_servers(&self, servers: &[Rc<Server>]) -> bool {
        self.servers.len() == servers.len()
            && self
                .servers
                .iter()
                .zip(servers)
                .all(|(ours, theirs)| Rc::ptr_eq(ours, theirs))
    }

    /// Sends the request to the server whose turn it is, or to another one as long as nothing of it was sent; each
    /// server is tried once. A failure is told as the client will read it.
    ///
    /// `spare` gives file descriptors back if it can, for where the process has no more of them.
    pub(crate) async fn send(
        &self,
        mut request: Request<Outbound>,
        watch: &SharedWatch,
        spare: impl Fn() -> bool,
    ) -> Result<(Response<Incoming>, Box<Link>, Rc<Server>), Problem> {
        let mut tried = Tried::default();
        while let Some(place) = self.next(&tried, watch.now()) {
            let server = &self.servers[place];
            while let Some(mut link) = server.idle_link() {
                match link.send(request, watch).await {
                    Ok(answer) => return Ok((answer, link, Rc::clone(server))),
                    // The server closed it while it was idle.
                    Err(Failure::Unsent(unsent)) => request = *unsent,
                    Err(failure) => return Err(tell(&failure)),
                }
            }
            let mut connected = server.connect(self.connect).await;
            if connected.as_ref().is_err_and(lacks_descriptors) && spare() {
                connected = server.connect(self.connect).await;
            }
            match connected {
                Ok(mut link) => match link.send(request, watch).await {
                    Ok(answer) => {
                        server.rests_until.set(None);
                        return Ok((answer, link, Rc::clone(server)));
                    }
                    Err(Failure::Unsent(unsent)) => {
                        request = *unsent;
                        server.rest(watch.now());
                    }
                    Err(failure) => return Err(tell(&failure)),
                },
                // Ours, and no fault of the server's. Others may have an unused connection.
                Err(error) if lacks_descriptors(&error) => tracing::debug!(%error, "cannot connect to a server"),
                Err(_) => server.rest(watch.now()),
            }
            tried.add(place);
        }
        Err(Problem::Unreachable)
    }

    /// Servers that rest are passed over, unless no other is left: better a slow answer than none.
    fn next(&self, tried: &Tried, now: Tick) -> Option<usize> {
        let untried = |place: usize| !tried.contains(place);
        let awake = |place: usize| self.servers[place].rests_until.get().is_none_or(|until| until <= now);
        self.turns
            .next(|place| untried(place) && awake(place))
            .or_else(|| self.turns.next(untried))
    }

    /// Closes the unused connection that has waited longest to each server. Says whether there were any.
    pub(crate) fn spare(&self) -> bool {
        let mut spared = false;
        for server in &self.servers {
            spared |= server.spare();
        }
        spared
    }

    /// Closes connections that waited too long for work, or that the server closed. Says whether any are left.
    pub(crate) fn tend(&self, now: Tick) -> bool {
        let mut left = false;
        for server in &self.servers {
            left |= server.tend(now);
        }
        left
    }
}

impl Server {
    fn new(server: &checked::Server, pulse: &Rc<Pulse<Watch>>) -> Self {
        Self {
            authority: server.authority.clone(),
            weight: server.weight,
            address: Address::new(&server.authority, pulse),
            rests_until: Cell::new(None),
            rest: pulse.ticks(REST_AFTER_FAILURE),
            idle: RefCell::new(Vec::new()),
            idle_max: Cell::new(0),
            idle_for: Cell::new(pulse.ticks(Duration::ZERO)),
        }
    }

    /// Keeps no connection any more: the policy names it no longer. Requests that were decided before are still sent to it.
    pub(crate) fn retire(&self) {
        self.idle_max.set(0);
        self.idle.borrow_mut().clear();
    }

    /// The connection that was used last: the least likely to have been closed meanwhile.
    #[inline]
    fn idle_link(&self) -> Option<Box<Link>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { link, .. }) = idle.pop() {
            if link.is_ready() {
                return Some(link);
            }
        }
        None
    }

    async fn connect(&self, within: Duration) -> io::Result<Box<Link>> {
        let connected = tokio::time::timeout(within, async {
            let stream = match &self.address {
                Address::Known(address) => TcpStream::connect(address).await,
                Address::Named(resolver) => TcpStream::connect(&*resolver.addresses().await?).await,
            }?;
            // A head and the start of its body leave in one write; waiting for more would only add delay.
            stream.set_nodelay(true)?;
            Link::new(stream).await.map_err(io::Error::other)
        });
        connected.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Keeps a connection for the next request.
    #[inline]
    pub(crate) fn keep(&self, link: Box<Link>, now: Tick) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.idle_max.get() {
            idle.push(Idle {
                link,
                until: now.after(self.idle_for.get()),
            });
        }
    }

    /// It could not be reached.
    fn rest(&self, now: Tick) {
        self.rests_until.set(Some(now.after(self.rest)));
    }

    fn spare(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            return false;
        }
        // The one that was used last stands at the end.
        idle.remove(0);
        true
    }

    fn tend(&self, now: Tick) -> bool {
        let mut idle = self.idle.borrow_mut();
        // Whoever takes a connection registers its own waker with it; until then nobody has to know.
        let mut cx = Context::from_waker(Waker::noop());
        idle.retain_mut(|idle| idle.until > now && idle.link.drive(&mut cx).is_pending());
        !idle.is_empty()
    }
}

impl Address {
    fn new(authority: &Authority, pulse: &Rc<Pulse<Watch>>) -> Self {
        let authority = authority.as_str();
        if let Ok(address) = authority.parse() {
            return Self::Known(address);
        }
        let name = authority.to_owned();
        Self::Named(Resolver::new(pulse, move || Ok(name.to_socket_addrs()?.collect())))
    }
}

/// Which servers a request has been tried on. Allocates only once something failed.
#[derive(Default)]
struct Tried(Vec<usize>);

impl Tried {
    fn add(&mut self, place: usize) {
        self.0.push(place);
    }

    fn contains(&self, place: usize) -> bool {
        self.0.contains(&place)
    }
}

/// Whether the process, or the whole system, has no more file descriptors.
fn lacks_descriptors(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|lack| error.raw_os_error() == Some(lack.raw_os_error()))
}

fn tell(failure: &Failure) -> Problem {
    match failure {
        Failure::Late => Problem::AnswerLate,
        Failure::Unsent(_) => Problem::Unreachable,
        Failure::Broken(error) => BodyFault::of(error).map_or(Problem::BadAnswer, Problem::Body),
    }
}

/// How long a server that could not be reached is passed over while others can. Long enough that a dead server costs
/// one request in thousands a connection attempt, short enough that a restarted one is back within a breath.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(2);
