//! One server: one connection that is kept, its breaker, and the calls over it.
//!
//! ```text
//!  keeper: find ─► open ─► greet ─► probe ─► Link, published ─► broken or cut ─► back-off ─► find …
//!  breaker:        half-open ──────────────► closed             open
//! ```
//!
//! Calls are sent while there is a link, and otherwise refused at once. The keeper's own greeting is the one probe of the
//! half-open breaker: no call is spent on finding out.

mod error;
mod greeting;
mod link;
mod origin;
mod silence;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use sluicegate_core::Timestamp;
use sluicegate_state::store::StoreError;
use sluicegate_state::{AnyClock, Clock};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

pub(crate) use error::Failure;
pub use error::LinkError;
pub(crate) use link::{Exchange, Link};
pub(crate) use origin::{Origin, ask_once};

use crate::chance::Chance;
use crate::endpoint::Endpoint;
use crate::health::{Breaker, Health};
use origin::Driver;

/// A server. Its connection is kept until this is dropped.
pub(crate) struct Server {
    inner: Arc<Inner>,
    keeper: AbortHandle,
}

struct Inner {
    origin: Origin,
    label: String,
    link: ArcSwapOption<Link>,
    health: Arc<Health>,
    around: Around,
}

/// What all servers of a store share.
#[derive(Clone)]
pub(crate) struct Around {
    pub(crate) clock: AnyClock,
    pub(crate) chance: Arc<Chance>,
    pub(crate) deadline: Duration,
    pub(crate) runtime: Handle,
}

impl Server {
    /// Begins to keep a connection; returns before there is one.
    pub(crate) fn start(origin: Origin, around: Around) -> Self {
        let runtime = around.runtime.clone();
        let inner = Arc::new(Inner {
            label: origin.label(),
            origin,
            link: ArcSwapOption::empty(),
            health: Arc::default(),
            around,
        });
        let keeper = runtime.spawn(keep(Arc::clone(&inner))).abort_handle();
        Self { inner, keeper }
    }

    /// What it is called in logs and metrics.
    pub(crate) fn label(&self) -> &str {
        &self.inner.label
    }

    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.inner.health
    }

    /// The connection, while there is one that works.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotSent`] while there is none.
    pub(crate) fn link(&self) -> Result<Arc<Link>, StoreError> {
        let link = self.inner.link.load_full().filter(|link| !link.is_cut());
        link.ok_or(StoreError::NotSent(None))
            .inspect_err(|error| self.inner.health.trouble(error))
    }

    /// Whether there is a connection that works.
    pub(crate) fn is_connected(&self) -> bool {
        self.inner.link.load().as_ref().is_some_and(|link| !link.is_cut())
    }
}

impl Server {
    /// What a node of a cluster tells of its slots, and where it was asked; `None` if it does not.
    pub(crate) async fn slots(&self) -> Option<(Endpoint, redis::Value)> {
        let Origin::Fixed(endpoint) = &self.inner.origin else {
            return None;
        };
        let link = self.link().ok()?;
        let slots = self.ask(&link, redis::cmd("CLUSTER").arg("SLOTS")).await.ok()?;
        Some((endpoint.clone(), slots))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Keeps a connection for as long as the server is wanted.
async fn keep(inner: Arc<Inner>) {
    let clock = &inner.around.clock;
    let mut attempt = 0;
    let mut failures = 0;
    loop {
        inner.health.set_breaker(Breaker::HalfOpen);
        let opened = timeout(OPEN_DEADLINE, inner.open(attempt));
        match opened.await.unwrap_or(Err(LinkError::Silent(OPEN_DEADLINE))) {
            Ok((link, driver)) => {
                let since = clock.now();
                inner.attend(link, driver).await;
                info!(server = inner.label, "the connection to the store is gone");
                failures = if lasted(since, clock.now()) { 0 } else { failures + 1 };
            }
            Err(error) => {
                inner.health.set_breaker(Breaker::Open);
                inner.tell(&error, failures);
                failures += 1;
            }
        }
        attempt += 1;
        sleep(back_off(failures, inner.around.chance.fraction())).await;
    }
}

impl Inner {
    /// Opens a connection and probes it.
    async fn open(&self, attempt: usize) -> Result<(Arc<Link>, Driver), LinkError> {
        let endpoint = self.origin.find(attempt).await?;
        let (connection, mut driver, unanswered) = origin::open(&endpoint).await?;
        let probed = Link::probe(connection, unanswered, &self.around.clock);
        let (link, facts, took) = tokio::select! {
            probed = probed => probed?,
            () = &mut driver => return Err(LinkError::Lost),
        };
        self.health.round_trip(took);
        self.health.set_may_evict(facts.may_evict());
        facts.tell(&endpoint.label());
        Ok((Arc::new(link), driver))
    }

    /// Publishes a connection until it is broken, or cut since it is of no use.
    async fn attend(&self, link: Arc<Link>, driver: Driver) {
        self.health.connections.add(1);
        self.link.store(Some(Arc::clone(&link)));
        self.health.set_breaker(Breaker::Closed);
        tokio::select! {
            () = driver => link.cut(),
            () = link.until_cut() => {}
        }
        self.link.store(None);
        self.health.set_breaker(Breaker::Open);
    }

    /// Says it once an outage; the rest is for whoever looks closer.
    fn tell(&self, error: &LinkError, failures: u32) {
        let why = std::error::Error::source(error).map(ToString::to_string);
        if failures == 0 {
            warn!(server = self.label, %error, why, "no connection to the store");
        } else {
            debug!(server = self.label, %error, why, failures, "still no connection to the store");
        }
    }
}

/// Whether a connection lasted long enough that the next one need not be held back.
fn lasted(since: Timestamp, until: Timestamp) -> bool {
    until.saturating_since(since) >= BACK_OFF.1
}

/// How long to wait after so many failures in a row: drawn evenly from the upper half below a bound that doubles, so that nodes which
/// lost the store at the same moment do not come back at the same moment.
///
/// Of nodes that wait again and again, as many come back in the first tenth of a second as a tenth of a second is of the mean wait: 13 in
/// a hundred of three quarters of a second. Drawn from zero on, up to half a second, it was 36.
fn back_off(failures: u32, fraction: f64) -> Duration {
    let (least, most) = BACK_OFF;
    let bound = least.saturating_mul(1 << failures.min(8)).min(most);
    bound.mul_f64(0.5 + 0.5 * fraction)
}

/// What the bound on waiting before the next connection begins with, and where it ends: a node is back within a second of its store.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long a connection may take from its name to the answered probe: eight round trips of 120 ms.
const OPEN_DEADLINE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_drawn_from_the_upper_half_below_a_bound_that_doubles_up_to_a_second() {
        for (failures, bound) in [(0, 50), (1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (40, 1_000)] {
            let bound = Duration::from_millis(bound);
            assert_eq!(back_off(failures, 0.0), bound / 2, "{failures}");
            assert_eq!(back_off(failures, 1.0), bound, "{failures}");
        }
    }
}
