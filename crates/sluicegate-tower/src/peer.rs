//! Who is at the other end of the connection.

use std::net::IpAddr;

use http::Extensions;

/// The address at the other end of the connection that a request came by, as a server puts it into the request's
/// extensions. Never an address out of a header: which headers to believe is the limiter's affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Says who is at the other end of a request's connection.
pub trait FindPeer {
    /// `None` where there is no address: a Unix socket, or a server that does not tell. Rules keyed by address then
    /// meet what their `on_missing_key` says.
    fn find_peer(&self, extensions: &Extensions) -> Option<IpAddr>;
}

/// Looks for a [`Peer`] in the request's extensions. The default.
#[derive(Debug, Clone, Copy, Default)]
pub struct PeerInExtensions;

/// The same peer for every request: for a service that is made anew for each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedPeer(pub IpAddr);

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
