//! What is expected to be asked for, what is owed, and what is believed to be left.

use libm::{exp, floor, sqrt};

use super::Lease;
use super::spend::LINGER_US;
use crate::sharing::Kind;
use crate::sharing::plan::View;

impl Lease {
    /// Below so many units a lease is renewed at once.
    pub(super) fn low_water(&self, view: &View<'_>) -> f64 {
        let span = 2.0 * view.at.round_trip + LOW_WATER_US;
        (self.demand_rate(view, BURST_SURE) * span).min(self.room(view, span))
    }

    /// How many units the lease should hold until its next renewal: what is expected, a quarter more, and twice the spread of what comes
    /// at random. Not more than can leave in time: units that wait here for their turn are missed elsewhere.
    pub(super) fn need(&self, view: &View<'_>) -> f64 {
        let rate = self.demand_rate(view, BURST_SEEN);
        let period = self.period(view).min(self.left_of_window(view));
        let expected = rate * period;
        if expected < 0.8 {
            return 0.0;
        }
        let span = period + 2.0 * view.at.round_trip;
        (1.25 * rate * span + 2.0 * sqrt(expected) + 1.0).min(self.room(view, span))
    }

    /// Until leases of the present window die, as far as is known; infinite for a bucket.
    pub(super) fn left_of_window(&self, view: &View<'_>) -> f64 {
        let terms = &view.plan.terms;
        match self.known {
            Some(known) if terms.kind != Kind::Bucket => {
                let windows = (view.at.time - known.good_until) / terms.ttl;
                (floor(windows) + 1.0 - windows) * terms.ttl
            }
            _ => f64::INFINITY,
        }
    }

    /// What is asked for here, in units a microsecond; a burst of at least `seen` units since the last ask counts at once. Of requests that
    /// settle it takes as many requests: they cost much, and most of it comes back, so that one of them would lease all there is.
    fn demand_rate(&self, view: &View<'_>, seen: f64) -> f64 {
        let smooth = self.demand_at(view) / view.plan.terms.theta;
        let since = if view.plan.terms.holds {
            self.requests_since
        } else {
            self.demand_since
        };
        if since < seen {
            return smooth;
        }
        let span = (view.at.time - self.synced_at).max(LINGER_US);
        smooth.max(self.demand_since / span)
    }

    /// How long the lease should last: longer where much is left.
    pub(super) fn period(&self, view: &View<'_>) -> f64 {
        let terms = &view.plan.terms;
        let period = view.plan.period();
        let available = self.known.map_or(terms.burst, |known| known.available);
        if available <= terms.burst / 2.0 {
            return period;
        }
        let rate = self.demand_at(view) / terms.theta;
        let most = match terms.kind {
            Kind::Bucket => 0.8 * terms.ttl,
            // As of a bucket with the same limit: an epoch of that is half of what a window is.
            Kind::SlidingWindow | Kind::FixedWindow => 0.4 * terms.ttl,
        };
        let most = most.min(LEASE_MAX_US).max(period);
        (8.0 / rate).clamp(period, most)
    }

    pub(super) fn demand_at(&self, view: &View<'_>) -> f64 {
        fade(self.demand, view.at.time - self.demand_at, view.plan.terms.theta)
    }

    /// Units let through and not reported, less what may be forgotten of them.
    pub(super) fn unpaid(&self, view: &View<'_>) -> f64 {
        let age = (view.at.time - self.unpaid_at).max(0.0);
        let terms = &view.plan.terms;
        if terms.kind != Kind::Bucket && age > 2.0 * terms.ttl {
            // Of a window that no longer counts.
            return 0.0;
        }
        (self.unpaid - view.forgiven_rate() * age).max(0.0)
    }

    pub(super) fn refund(&self, view: &View<'_>) -> f64 {
        let age = (view.at.time - self.refund_at).max(0.0);
        (self.refund - view.plan.terms.rate() * age).max(0.0)
    }

    /// Units that the store is believed to have left.
    pub(super) fn estimate(&self, view: &View<'_>) -> f64 {
        let terms = &view.plan.terms;
        let Some(known) = self.known else {
            return terms.burst;
        };
        let age = (view.at.time - known.at).max(0.0);
        let grown = known.available + terms.rate() * age;
        if age >= fresh_for(view) {
            return grown.min(terms.burst);
        }
        let taken = known.rate * terms.theta * (1.0 - exp(-age / terms.theta));
        (grown - taken).min(terms.burst)
    }

    /// Whether what the store said last is no reason to refuse: requests that end may have given back much of what it had not.
    pub(super) fn is_stale(&self, view: &View<'_>) -> bool {
        let is_old = |at: f64| view.at.time - at >= RECHECK_US;
        view.plan.terms.holds && self.known.is_none_or(|known| is_old(known.at))
    }

    /// Until `cost` units are believed to be there.
    pub(super) fn ready_after(&self, view: &View<'_>, cost: f64) -> f64 {
        let terms = &view.plan.terms;
        let age = self.known.map_or(0.0, |known| view.at.time - known.at);
        let available = self.known.map_or(terms.burst, |known| known.available) + terms.rate() * age.max(0.0);
        ((cost - available) * terms.interval).max(0.0)
    }
}

/// How long a node refuses by what the store said last, where requests give back what they took, in microseconds: a client that is refused
/// on all nodes costs each of them five asks a second, and what ended on one node is known on the others before anybody tries again.
pub(super) const RECHECK_US: f64 = 200_000.0;

/// Requests from which on a burst is believed to be one.
pub(super) const BURST_SEEN: f64 = 3.0;
const BURST_SURE: f64 = 8.0;

/// The longest lease period, in microseconds: that of windows, which last as long as they like.
const LEASE_MAX_US: f64 = 10_000_000.0;

/// The low water of a lease, beside two round trips: the longest that a due ask may lie before it is sent.
const LOW_WATER_US: f64 = 2_000.0;

/// How long the store's last word is taken for more than a start: three times the limit's own time, at least three seconds.
pub(super) fn fresh_for(view: &View<'_>) -> f64 {
    3.0 * view.plan.terms.whole().max(1_000_000.0)
}

/// An average after a span; most spans are far below theta, and the first terms of the series are exact to 10⁻⁷ there.
fn fade(value: f64, span: f64, theta: f64) -> f64 {
    let part = span.max(0.0) / theta;
    if part < 0.005 {
        return value * (1.0 - part + part * part / 2.0);
    }
    value * exp(-part)
}
