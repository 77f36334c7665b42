//! Who is at the other end of the connection.

use std::net::IpAddr;
use std::sync::Arc;

use http::Extensions;
use sluicegate::Caller;

/// The address at the other end of the connection that a request came by, as a server puts it into the request's
/// extensions. Never an address out of a header: which headers to believe is the limiter's affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Says who is at the other end of a request's connection.
pub trait FindPeer {
    /// `None` where there is no address: a Unix socket, or a server that does not tell. Rules keyed by address then
    /// meet what their `on_missing_key` says.
    fn find_peer(&self, extensions: &Extensions) -> Option<IpAddr>;

    /// What is verified of whoever sent the request, beside what its headers show: by a middleware that stands before this one and
    /// leaves a [`Caller`] in the request's extensions, or by the connection. `None` where there is nothing.
    fn find_caller<'a>(&'a self, extensions: &'a Extensions) -> Option<&'a Caller> {
        extensions.get::<Caller>()
    }
}

/// Looks for a [`Peer`] in the request's extensions. The default.
#[derive(Debug, Clone, Copy, Default)]
pub struct PeerInExtensions;

/// The same peer for every request: for a service that is made anew for each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedPeer(pub IpAddr);

/// The same peer for every request, and the same caller: for a connection that says who is at its other end.
#[derive(Debug, Clone)]
pub struct FixedCaller {
    /// The address at the other end.
    pub peer: IpAddr,
    /// What is verified of it, and what its handshake shows.
    pub caller: Arc<Caller>,
}

impl FindPeer for FixedCaller {
    #[inline]
    fn find_peer(&self, _: &Extensions) -> Option<IpAddr> {
        Some(self.peer)
    }

    #[inline]
    fn find_caller<'a>(&'a self, _: &'a Extensions) -> Option<&'a Caller> {
        Some(&self.caller)
    }
}

impl FindPeer for PeerInExtensions {
    fn find_peer(&self, extensions: &Extensions) -> Option<IpAddr> {
        extensions.get::<Peer>().map(|peer| peer.0)
    }
}

impl FindPeer for FixedPeer {
    #[inline]
    fn find_peer(&self, _: &Extensions) -> Option<IpAddr> {
        Some(self.0)
    }
}

impl<F> FindPeer for F
where
    F: Fn(&Extensions) -> Option<IpAddr>,
{
    fn find_peer(&self, extensions: &Extensions) -> Option<IpAddr> {
        self(extensions)
    }
}
