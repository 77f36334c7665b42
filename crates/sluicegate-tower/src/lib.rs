//! A tower layer that asks the limiter before the inner service.
//!
//! ```text
//!  request ──► Limit ──► Limiter::decide ──► allow ───► inner service ──► response + RateLimit fields
//!                                        ├─► delay ───► wait, then the same
//!                                        └─► deny ────► 429, Retry-After, problem document
//! ```
//!
//! [`LimitLayer`] wraps any service over `http::Request`, whatever its body. The limiter has to know who is at the other
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
//! What the inner service gets is a choice too: [`InExtensions`] leaves the request as it is and puts the [`Admission`]
//! into its extensions, where handlers may look for it; [`Together`] hands over request and proof as one [`Admit`], for
//! a service that must not be callable without.
#![forbid(unsafe_code)]

mod body;
mod hand;
mod host;
mod layer;
mod peer;
mod service;

pub use self::body::LimitBody;
pub use self::hand::{Admission, Admit, HandOver, InExtensions, Together};
pub use self::layer::LimitLayer;
pub use self::peer::{FindPeer, FixedPeer, Peer, PeerInExtensions};
pub use self::service::{Limit, Limiting};
