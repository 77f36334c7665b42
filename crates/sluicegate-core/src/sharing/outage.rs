//! A key while the store is away: a bucket of the node's own with its last known share of the limit.

use super::plan::View;

/// The node's own bucket of a key, from the moment the store was missed until it has been told.
///
/// It starts with the share of what was left, never with a full burst: many nodes would each give one away. When the store is
/// back it is told the *residual*, what the share took from what would be there now, and not what was let through: of that, most has
/// come back meanwhile, and charging it late would lock the key for seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outage {
    since: f64,
    /// This node's part of the limit.
    share: f64,
    /// What was left in the store then.
    available: f64,
    level: f64,
    level_at: f64,
    /// What the store is being told.
    telling: f64,
}

/// What a node may always have, unless that could break the limit: so that a client whose node has a tiny share is not shut out.
const LEAST_BURST: f64 = 1.0;

impl Outage {
    /// Begins, with this node's `share` of the `available` units.
    pub(super) fn begin(view: &View<'_>, share: f64, available: f64) -> Self {
        let now = view.at.time;
        let available = available.clamp(0.0, view.plan.terms.burst);
        Self {
            since: now,
            share,
            available,
            level: share * available,
            level_at: now,
            telling: 0.0,
        }
    }

    /// This node's part of the limit, above 0 to 1.
    pub(super) const fn share(&self) -> f64 {
        self.share
    }

    /// Units left at this node.
    pub(super) fn level(&self, view: &View<'_>) -> f64 {
        let terms = &view.plan.terms;
        let most = self.most(view);
        let grown = self.level + self.share * terms.rate() * (view.at.time - self.level_at).max(0.0);
        grown.min(most.max(self.level))
    }

    /// The most that can gather.
    fn most(&self, view: &View<'_>) -> f64 {
        let least = if view.allowance > 0.0 { LEAST_BURST } else { 0.0 };
        (self.share * view.plan.terms.burst).max(least)
    }

    /// Until there are `cost` units; infinite if there never will be.
    pub(super) fn ready_after(&self, view: &View<'_>, cost: f64) -> f64 {
        let level = self.level(view);
        if cost > self.most(view).max(level) {
            return f64::INFINITY;
        }
        let missing = cost - level;
        missing.max(0.0) / (self.share * view.plan.terms.rate())
    }

    /// Spends; the caller has seen that there is enough.
    pub(super) fn spend(&mut self, view: &View<'_>, cost: f64) {
        self.level = self.level(view) - cost;
        self.level_at = view.at.time;
    }

    /// Undoes it, but for what has come back meanwhile by itself: beyond the most that can gather nothing does.
    pub(super) fn unspend(&mut self, view: &View<'_>, cost: f64) {
        let level = self.level(view);
        self.level = (level + cost).min(self.most(view).max(level));
        self.level_at = view.at.time;
    }

    /// Whether it has gone on since `at`.
    pub(super) fn knows(&self, at: f64) -> bool {
        self.since <= at
    }

    /// This node's part of what comes back in a span of microseconds.
    pub(super) fn refilled(&self, view: &View<'_>, span: f64) -> f64 {
        self.share * view.plan.terms.rate() * span
    }

    /// All of the share is there again.
    pub(super) fn fill(&mut self, view: &View<'_>) {
        self.level = self.level(view).max(self.most(view));
        self.level_at = view.at.time;
    }

    /// Whether nothing is owed, and the share is as full as one that begins.
    pub(super) fn is_whole(&self, view: &View<'_>) -> bool {
        self.would_be(view) >= view.plan.terms.burst && self.residual(view) <= 0.0
    }

    /// What is owed to the store, and is told now.
    pub(super) fn tell(&mut self, view: &View<'_>) -> f64 {
        self.telling = self.residual(view);
        self.telling
    }

    /// What came on top since it was told, at the end of the outage.
    pub(super) fn rest(&self, view: &View<'_>) -> f64 {
        (self.residual(view) - self.telling).max(0.0)
    }

    fn residual(&self, view: &View<'_>) -> f64 {
        (self.share * self.would_be(view) - self.level(view)).max(0.0)
    }

    /// What would be left in the store by now if nobody had asked for any.
    fn would_be(&self, view: &View<'_>) -> f64 {
        let terms = &view.plan.terms;
        (self.available + terms.rate() * (view.at.time - self.since).max(0.0)).min(terms.burst)
    }
}
