//! What the gateway takes from a policy, and how another policy's settings take their place.
//!
//! A request is decided by one policy, whose number it carries, and that policy has numbered its route. So the settings of a policy are
//! published before the first request is decided by it, and kept for those that were decided and are still to be forwarded.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sluicegate::policy::checked::{self, Identity};
use sluicegate::policy::{FieldFault, Policy};
use sluicegate::{Limiter, LimiterError};

use crate::tls::{Certificate, EXPIRY_WARNING, Former, Terms, TlsError};

/// The settings of a gateway, to be replaced while it runs. Clones are of the same gateway.
#[derive(Clone)]
pub struct Settings {
    published: Arc<Published>,
    limiter: Arc<Limiter>,
    threads: Option<usize>,
    /// Where, and whether behind proxies.
    listen: Arc<[(SocketAddr, bool)]>,
    connections: usize,
}

/// Why a running gateway does not take a policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// It asks for what only a start can give.
    #[error("{} fields of the policy cannot change without a restart", .0.len())]
    NeedsRestart(Vec<FieldFault>),
    /// A listener cannot speak TLS by what its files say now.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It cannot be put to work.
    #[error(transparent)]
    Limiter(#[from] LimiterError),
}

impl Settings {
    pub(crate) fn new(gateway: &checked::Gateway, published: Arc<Published>, limiter: Arc<Limiter>) -> Self {
        Self {
            published,
            limiter,
            threads: gateway.threads,
            listen: listening(gateway).collect(),
            connections: gateway.caps.connections,
        }
    }

    /// What in `policy` a running gateway cannot take over: where it listens, its threads, and its cap of connections.
    pub fn needing_restart(&self, policy: &Policy) -> Vec<FieldFault> {
        let Some(gateway) = &policy.gateway else {
            return vec![FieldFault::needs_restart(&["gateway"], "is gone")];
        };
        let mut found = Vec::new();
        if !listening(gateway).eq(self.listen.iter().copied()) {
            found.push(FieldFault::needs_restart(&["gateway", "listen"], "has changed"));
        }
        if gateway.threads != self.threads {
            found.push(FieldFault::needs_restart(&["gateway", "threads"], "has changed"));
        }
        if gateway.caps.connections != self.connections {
            found.push(FieldFault::needs_restart(
                &["gateway", "caps", "connections"],
                "has changed",
            ));
        }
        found
    }

    /// Puts another policy in force, in the limiter and in every worker: a request is forwarded by the routes and servers of the
    /// policy that has decided it. Servers that stay keep their connections; to those that are gone, requests under way are
    /// finished. Connections keep the caps and deadlines by which they were accepted.
    ///
    /// Takes as long as [`Limiter::replace`], in the caller's thread and beside the traffic.
    ///
    /// # Errors
    ///
    /// If the policy needs a restart or cannot be put to work, or a listener's certificates or keys cannot be used. Nothing has changed
    /// then.
    pub fn replace(&self, policy: &Policy) -> Result<(), ReplaceError> {
        let found = self.needing_restart(policy);
        let (Some(gateway), true) = (&policy.gateway, found.is_empty()) else {
            return Err(ReplaceError::NeedsRestart(found));
        };
        let former = Former {
            terms: &self.published.newest().tls,
            now: self.limiter.unix_now(),
        };
        let tls = Terms::of_all(gateway, former)?;
        let publish = |generation| self.published.add(Setup::new(policy, gateway, tls.into(), generation));
        self.limiter.replace_after(policy, publish)?;
        self.warn_of_expiry();
        Ok(())
    }

    /// The certificates that listeners show, in the policy's order; those of a listener without TLS are none.
    pub fn certificates(&self) -> Vec<Certificate> {
        let setup = self.published.newest();
        let each = setup.gateway.listen.iter().zip(&*setup.tls);
        each.filter_map(|(listen, terms)| Some((listen.address, terms.as_deref()?)))
            .flat_map(|(address, terms)| terms.certificates(address))
            .collect()
    }

    /// Whether a file by which listeners speak TLS says something else than what is in force, or cannot be read: a reason to call
    /// [`Settings::replace`] again. Reads them all.
    pub fn have_certificates_changed(&self) -> bool {
        Terms::have_changed(&self.published.newest().tls)
    }

    /// Logs a warning for each certificate that ends within [`EXPIRY_WARNING`], or has ended. To be called once a day; whenever a
    /// policy is put in force it is done by itself.
    pub fn warn_of_expiry(&self) {
        let now = self.limiter.unix_now();
        for Certificate {
            listen,
            file,
            not_after,
        } in self.certificates()
        {
            let file = file.display();
            match not_after.checked_sub(now) {
                None => tracing::error!(%listen, %file, "a certificate has expired; clients refuse it"),
                Some(left) if left <= EXPIRY_WARNING => {
                    let days = left.as_secs() / 86_400;
                    tracing::warn!(%listen, %file, days, "a certificate is about to expire; put a new one in its place");
                }
                Some(_) => {}
            }
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("generation", &self.published.newest().generation)
            .finish_non_exhaustive()
    }
}

fn listening(gateway: &checked::Gateway) -> impl Iterator<Item = (SocketAddr, bool)> {
    gateway
        .listen
        .iter()
        .map(|listen| (listen.address, listen.proxy_protocol))
}

/// What the gateway takes from one policy.
pub(crate) struct Setup {
    /// The policy's number in the limiter.
    pub(crate) generation: u32,
    pub(crate) gateway: checked::Gateway,
    pub(crate) identity: Identity,
    /// By route: the upstream that takes it, if any.
    pub(crate) routes: Box<[Option<usize>]>,
    /// By listener; `None` for those that speak plain HTTP.
    pub(crate) tls: Arc<[Option<Arc<Terms>>]>,
}

impl Setup {
    pub(crate) fn new(
        policy: &Policy,
        gateway: &checked::Gateway,
        tls: Arc<[Option<Arc<Terms>>]>,
        generation: u32,
    ) -> Self {
        Self {
            generation,
            tls,
            gateway: gateway.clone(),
            identity: policy.identity.clone(),
            routes: policy.routes.iter().map(|route| route.upstream).collect(),
        }
    }
}

/// The setups of the last policies, the newest first.
pub(crate) struct Published(ArcSwap<VecDeque<Arc<Setup>>>);

impl Published {
    pub(crate) fn new(first: Setup) -> Self {
        Self(ArcSwap::from_pointee(VecDeque::from([Arc::new(first)])))
    }

    /// Called by one thread at a time: the limiter puts one policy in force after another.
    fn add(&self, setup: Setup) {
        let mut setups = VecDeque::clone(&self.0.load());
        setups.truncate(SETUPS_MAX - 1);
        setups.push_front(Arc::new(setup));
        self.0.store(Arc::new(setups));
    }

    pub(crate) fn newest(&self) -> Arc<Setup> {
        Arc::clone(
            self.0
                .load()
                .front()
                .expect("there is one from the start, and none is taken away without another"),
        )
    }

    /// `None` for a policy that has been replaced too often since.
    pub(crate) fn of(&self, generation: u32) -> Option<Arc<Setup>> {
        let setups = self.0.load();
        setups.iter().find(|setup| setup.generation == generation).cloned()
    }
}

/// Setups that are kept. A request that waits, for its place in a queue or for its body, can outlive the policy that has decided it
/// by seconds; whoever replaces policies more often than twice a second for half a minute makes it fail with 503.
const SETUPS_MAX: usize = 64;
