//! The layer: what makes a [`Limit`] around a service.

use std::marker::PhantomData;
use std::sync::Arc;

use sluicegate::Limiter;
use tower_layer::Layer;

use crate::hand::InExtensions;
use crate::peer::PeerInExtensions;
use crate::service::Limit;

/// Wraps services so that the limiter is asked before them. See the crate's documentation for the choices `P` and `H`.
pub struct LimitLayer<P = PeerInExtensions, H = InExtensions> {
    limiter: Arc<Limiter>,
    peer: P,
    hand: PhantomData<fn() -> H>,
}

impl LimitLayer {
    /// A layer that looks for a [`Peer`](crate::Peer) in the request's extensions, and leaves an
    /// [`Admission`](crate::Admission) there.
    pub fn new(limiter: Arc<Limiter>) -> Self {
        Self {
            limiter,
            peer: PeerInExtensions,
            hand: PhantomData,
        }
    }
}

impl<P, H> LimitLayer<P, H> {
    /// Looks for the peer where `peer` says.
    #[must_use]
    pub fn peer_from<Q>(self, peer: Q) -> LimitLayer<Q, H> {
        LimitLayer {
            limiter: self.limiter,
            peer,
            hand: PhantomData,
        }
    }

    /// Hands admitted requests over in the way `G`: [`InExtensions`] or [`Together`](crate::Together).
    #[must_use]
    pub fn hand_over<G>(self) -> LimitLayer<P, G> {
        LimitLayer {
            limiter: self.limiter,
            peer: self.peer,
            hand: PhantomData,
        }
    }
}

impl<P: Clone, H> Clone for LimitLayer<P, H> {
    fn clone(&self) -> Self {
        Self {
            limiter: Arc::clone(&self.limiter),
            peer: self.peer.clone(),
            hand: PhantomData,
        }
    }
}

impl<S, P: Clone, H> Layer<S> for LimitLayer<P, H> {
    type Service = Limit<S, P, H>;

    fn layer(&self, inner: S) -> Self::Service {
        Limit::new(Arc::clone(&self.limiter), self.peer.clone(), inner)
    }
}
