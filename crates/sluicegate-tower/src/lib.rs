//! A tower layer that asks the limiter before the inner service.
//!
//! ```text
//!  request ──► Limit ──► Limiter::decide ──► allow ───► inner service ──► response + RateLimit fields
//!                                        ├─► body? ───► read the body, ask again
//!                                        ├─► delay ───► wait, then the same
//!                                        └─► deny ────► 429, Retry-After, problem document
//! ```
//!
//! [`LimitLayer`] wraps any service over `http::Request`, whatever its body; the service sees the body as a [`Replay`]. The limiter has to know who is at the other
//! end of the connection; [`FindPeer`] says where to look. By default that is a [`Peer`] in the request's extensions;
//! in axum, its own `ConnectInfo` will do:
//!
//! ```
//! # fn example(limiter: std::sync::Arc<sluicegate::Limiter>) {
//! use sluicegate_tower::LimitLayer;
//! # mod axum { pub mod extract { #[derive(Clone)] pub struct ConnectInfo<T>(pub T); } }
//!
//! let layer = LimitLayer::new(limiter).peer_from(|extensions: &http::Extensions| {
//!     use axum::extract::ConnectInfo;
//!     extensions.get::<ConnectInfo<std::net::SocketAddr>>().map(|info| info.0.ip())
//! });
//! # let _ = layer;
//! # }
//! ```
//!
//! A layer in front that has verified who calls, by a session for instance, says so by a [`Caller`](sluicegate::Caller) in the request's
//! extensions; what that leaves open is looked for in the headers, as the policy's `identity` says.
//!
//! The path is brought into one form before the limiter is asked, and the service gets that: `//items/%37` is decided as, and handed on
//! as, `/items/7` (see [`sluicegate::path`]). So the layer belongs around a router, not into it: one that has chosen a handler by
//! another spelling does not choose again. A path that has no one form is answered with 400.
//!
//! What the inner service gets is a choice too: [`InExtensions`] leaves the request as it is and puts the [`Admission`]
//! into its extensions, where handlers may look for it; [`Together`] hands over request and proof as one [`Admit`], for
//! a service that must not be callable without.
//!
//! What a request holds until its answer has ended, such as a permit of a `concurrency` rule, is neither's to keep. It stays
//! with the layer: in the future while the service works, then in the answer's [`LimitBody`]. Whatever drops these gives it
//! back: the server when the last byte is sent or the client is gone, a timeout around the service, a panic in it. A service
//! that goes on working in a task of its own after that does so without. So does a connection that leaves HTTP: its answer
//! of 101 ends with its head, and a server that wants the permit held longer moves it over by [`LimitBody::take_passage`].
//!
//! Where a rule decides by the request's body, the layer reads it first, never more than the policy allows and for no longer
//! than 30 s. Nothing reaches the service before. A body that cannot be had is answered with 400, 408, 413 or 415; see
//! [`BodyFault`] for servers whose bodies know more.
#![forbid(unsafe_code)]

mod body;
mod fault;
mod hand;
mod held;
mod host;
mod layer;
mod passage;
mod peer;
mod reading;
mod replay;
mod service;

pub use self::body::LimitBody;
pub use self::fault::BodyFault;
pub use self::hand::{Admission, Admit, HandOver, InExtensions, Together};
pub use self::layer::LimitLayer;
pub use self::passage::Passage;
pub use self::peer::{FindPeer, FixedCaller, FixedPeer, Peer, PeerInExtensions};
pub use self::replay::Replay;
pub use self::service::{Limit, Limiting};
