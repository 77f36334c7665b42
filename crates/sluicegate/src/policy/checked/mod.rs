//! The policy after checking: what cannot be held here cannot go wrong later.
//!
//! Values of these types come from [`Policy::parse`] or from code; each holds only what makes sense, so nothing behind
//! it checks again. Their defaults are those of the file; `docs/policy.md` gives the reason for each.

mod allow;
mod charge;
mod gateway;
mod identity;
mod paths;
mod route;
mod rule;
mod secret;
mod share;
mod sharing;
mod state;

pub use crate::body::Pointer;
pub use allow::{ALLOW_MAX, Allow};
pub use charge::{
    ClassCosts, CostBy, CostSource, CostSpec, Count, FailedWhen, Failures, OnSuccess, SettleSource, Step,
};
pub use gateway::{
    Admin, Caps, ClientAuth, ClientAuthorities, Deadlines, Gateway, Listen, ListenTls, MethodOverride, Server,
    ServerCertificate, TlsVersion, Upstream,
};
pub use identity::{ApiKeys, CLAIMS_KEPT_MAX, ForwardedHeader, Identity, Jwt, KeysFrom, KeysUrl};
pub use paths::{EncodedSlash, Paths, Spelling};
pub use route::{IMPLICIT_ROUTE, Route, Sensitivity};
pub use rule::{
    AT_ONCE_MAX, ClaimName, Enforce, KEY_PARTS_MAX, KeyPart, MEMBERS_MAX, OnMissingKey, Overflow, Rule, RuleLimit,
};
pub use secret::SecretSource;
pub use share::{ClientCertificate, Credentials, STORE_SERVERS_MAX, Share, StoreAddress, StoreTls, StoreUrl};
pub use sharing::{Alone, Offered, Sharing, SharingTerms};
pub use sluicegate_core::algorithm::{Algorithm, Align, LOG_MAX};
pub use sluicegate_core::sharing::excess::{Excess, Outage};
pub use sluicegate_core::sharing::{Mode, OnStoreLoss};
pub use sluicegate_state::HOLDS_MAX;
pub(super) use state::Needs;
pub use state::{Division, SNAPSHOT_EVERY, Split, State};

/// A whole policy file, checked.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The reverse proxy; `None` where the file has no `gateway`.
    pub gateway: Option<Gateway>,
    /// The listener for metrics and health.
    pub admin: Admin,
    /// What the node remembers, and where it keeps it.
    pub state: State,
    /// How callers are told apart.
    pub identity: Identity,
    /// Which spellings of a path are one.
    pub paths: Paths,
    /// Named classes of requests, in file order. A gateway with one upstream whose file has no routes gets one here,
    /// named [`IMPLICIT_ROUTE`], that takes in every request.
    pub routes: Vec<Route>,
    /// Requests that pass without a limit, in file order: the first entry that holds has them. At most [`ALLOW_MAX`].
    pub allow: Vec<Allow>,
    /// The limits, in file order.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// Puts every rule into shadow mode: each is evaluated and reported, and none is enforced. What is no limit stays as it is: requests
    /// that cannot be read in one way, and caps.
    pub fn shadow(&mut self) {
        for rule in &mut self.rules {
            rule.enforce = Enforce::SHADOW;
        }
    }
}
