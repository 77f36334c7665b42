//! What of sharing a rule can have, and what that comes to for so many nodes.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use sluicegate_core::sharing::excess::{Excess, Fleet, Held, Outage};
use sluicegate_core::sharing::{self, Kind, Mode, OnStoreLoss, Plan, Spacing, Terms};

use super::{Algorithm, Align, CostSource, CostSpec, Rule, RuleLimit, Step};

/// How a rule asks for its limit to be held by several nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sharing {
    /// As the limit, the costs and the number of nodes allow; see [`Plan::mode`].
    #[default]
    Auto,
    /// Every request asks the store.
    Exact,
    /// From leases; a cold or empty key may wait.
    Leased,
    /// From leases, and beyond them a little on trust; nothing ever waits.
    Hybrid,
    /// Each node keeps the limit for itself.
    Local,
}

impl Sharing {
    /// The word of the policy file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Exact => "exact",
            Self::Leased => "leased",
            Self::Hybrid => "hybrid",
            Self::Local => "local",
        }
    }
}

/// The modes of sharing that a rule can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// Every one.
    Every,
    /// Leases or none: permits come back when requests end, and do not refill.
    Leases,
    /// None but [`Sharing::Local`].
    Local(Alone),
}

/// Why each node keeps a limit for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// A window from the first hit begins on each node when that hit comes.
    FirstHit,
    /// The times in a log are of the node's own clock.
    Log,
}

/// A part of a sentence: `a leaky bucket spaces what its own node lets go`.
impl fmt::Display for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstHit => "a window from the first hit begins when that comes to this node",
            Self::Log => "a sliding log remembers what came to this node",
        })
    }
}

impl Rule {
    /// The modes of sharing that the rule's algorithm allows, whatever it asks for.
    pub fn offered(&self) -> Offered {
        let alone = match self.algorithm {
            Algorithm::Concurrency => return Offered::Leases,
            Algorithm::FixedWindow { align: Align::FirstHit } => Some(Alone::FirstHit),
            Algorithm::SlidingLog => Some(Alone::Log),
            _ => None,
        };
        alone.map_or(Offered::Every, Offered::Local)
    }

    /// For how long it locks who uses the limit up.
    fn lock(&self) -> Option<Duration> {
        let mut locks = self.exceed.iter().map(|Step::Lock(span)| *span);
        locks.next()
    }

    /// Most units that one request takes of the rule's limit: a claim without a `max` may be as large as the burst, above
    /// which nothing passes.
    pub fn cost_max(&self) -> u64 {
        let CostSpec {
            reserve, default, max, ..
        } = &self.cost;
        let most = match reserve {
            CostSource::Fixed(units) => *units,
            CostSource::ByClass(costs) => costs.most(),
            CostSource::Header(_) | CostSource::Body(_) | CostSource::Amount(_) => {
                max.unwrap_or(u64::MAX).max(*default)
            }
        };
        most.min(self.limit.at_once().get())
    }
}

/// What is to be known of a bucket that several nodes hold: what its rules say, which agree, and the strictest of where they
/// differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharingTerms {
    /// What is asked of the store; `None` means that each node keeps the limit for itself, because the rules say so, because
    /// they cannot be shared, or because there is no store. Of permits always [`sharing::Sharing::Leased`].
    pub sharing: Option<sharing::Sharing>,
    /// What is answered while the store cannot.
    pub on_store_loss: OnStoreLoss,
    /// How many nodes can see a key; `None` means as many as run. Without `sharing` the number that the limit was divided by,
    /// and `None` that each node has it whole.
    pub fanout: Option<NonZeroU32>,
    /// How the limit is kept; of queues with the fewest units that need not wait.
    pub algorithm: Algorithm,
    /// The limit, with the least burst of the rules.
    pub limit: RuleLimit,
    /// The most that one request takes.
    pub cost_max: u64,
    /// Whether what requests take is put right when they end, by one of the rules at least.
    pub holds: bool,
    /// For how long the limit locks who uses it up.
    pub lock: Option<Duration>,
}

impl SharingTerms {
    /// Of all rules that draw from one bucket; `None` where there is none. `is_shared` says whether there is a store
    /// ([`State::share`](super::State::share)).
    pub fn of<'r>(bucket: impl IntoIterator<Item = &'r Rule>, is_shared: bool) -> Option<Self> {
        let mut rules = bucket.into_iter();
        let first = rules.next()?;
        let mut offered = first.offered();
        let (mut limit, mut cost_max) = (first.limit, first.cost_max());
        let mut algorithm = first.algorithm;
        // One rule that settles makes the whole bucket settle.
        let (mut holds, mut lock) = (first.settles(), first.lock());
        for rule in rules {
            if let (Algorithm::LeakyBucket { free, .. }, Algorithm::LeakyBucket { free: fewer, .. }) =
                (&mut algorithm, rule.algorithm)
            {
                *free = fewer.min(*free);
            }
            if rule.limit.at_once() < limit.at_once() {
                limit = rule.limit;
            }
            cost_max = cost_max.max(rule.cost_max());
            holds |= rule.settles();
            lock = lock.or(rule.lock());
            if let Offered::Local(_) = rule.offered() {
                offered = rule.offered();
            }
        }
        let sharing = match (first.sharing, offered) {
            _ if !is_shared => None,
            (Sharing::Local, _) | (_, Offered::Local(_)) => None,
            (_, Offered::Leases) | (Sharing::Leased, _) => Some(sharing::Sharing::Leased),
            (Sharing::Auto, Offered::Every) => Some(sharing::Sharing::Auto),
            (Sharing::Exact, Offered::Every) => Some(sharing::Sharing::Exact),
            (Sharing::Hybrid, Offered::Every) => Some(sharing::Sharing::Hybrid),
        };
        Some(Self {
            sharing,
            on_store_loss: first.on_store_loss,
            // Only who asks for `local` has the limit divided.
            fanout: first
                .fanout
                .filter(|_| sharing.is_some() || first.sharing == Sharing::Local),
            algorithm,
            limit,
            cost_max,
            holds,
            lock,
        })
    }

    /// The same, where each node keeps the limit for itself after all.
    #[must_use]
    pub fn alone(self) -> Self {
        Self {
            fanout: self.fanout.filter(|_| self.sharing.is_none()),
            sharing: None,
            ..self
        }
    }

    /// What nodes keep to; `None` where each keeps the limit for itself, and for permits, whose leases know neither rate nor
    /// modes.
    #[expect(clippy::cast_precision_loss, reason = "rounding to 53 bits is 10⁻¹⁶ of the cost")]
    pub fn plan(&self) -> Option<Plan> {
        let kind = match self.algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket { .. } => Kind::Bucket,
            Algorithm::SlidingWindow => Kind::SlidingWindow,
            Algorithm::FixedWindow { .. } => Kind::FixedWindow,
            _ => return None,
        };
        let mut terms = Terms::new(kind, self.limit.rate()?, 0.0);
        if self.holds {
            terms = terms.held();
        }
        if let Some(lock) = self.lock {
            terms = terms.locking(lock);
        }
        let plan = Plan {
            terms,
            sharing: self.sharing?,
            on_store_loss: self.on_store_loss,
            cost_max: self.cost_max as f64,
            fanout: self.fanout.map_or(0.0, |fanout| f64::from(fanout.get())),
            spacing: None,
        };
        Some(match self.algorithm {
            Algorithm::LeakyBucket { max_wait, free } => plan.spaced(Spacing::new(max_wait, free)),
            _ => plan,
        })
    }

    /// The number of nodes that the bucket is reckoned with while `live` run: those, or the fanout if it is larger.
    pub fn nodes(&self, live: NonZeroU32) -> NonZeroU32 {
        let expected = self.fanout.filter(|_| self.sharing.is_some());
        expected.map_or(live, |expected| expected.max(live))
    }

    /// The mode while `live` nodes run; `None` where each keeps the limit for itself.
    pub fn mode(&self, live: NonZeroU32) -> Option<Mode> {
        self.sharing?;
        let nodes = f64::from(self.nodes(live).get());
        Some(self.plan().map_or(Mode::Leased, |plan| plan.mode(nodes)))
    }

    /// U while `live` nodes run: the most that one of them may let through of a key before it reports it. Of use in
    /// [`Mode::Hybrid`].
    pub fn allowance(&self, live: NonZeroU32) -> NonZeroU64 {
        self.fleet(live).allowance()
    }

    /// The most beyond the limit while `live` nodes run and the store answers.
    pub fn excess(&self, live: NonZeroU32) -> Excess {
        self.fleet(live).excess()
    }

    /// The most on top of that while the store is away.
    pub fn outage(&self, live: NonZeroU32) -> Outage {
        self.fleet(live).outage(self.on_store_loss)
    }

    #[expect(clippy::cast_precision_loss, reason = "rounding to 53 bits is 10⁻¹⁶ of the rate")]
    fn fleet(&self, live: NonZeroU32) -> Fleet {
        let parts = self.fanout.unwrap_or(NonZeroU32::MIN);
        let rate = self.limit.rate();
        Fleet {
            held: self.mode(live).map_or(Held::Apart(parts), Held::Together),
            burst: self.limit.at_once(),
            rate: rate.map_or(0.0, |rate| rate.count().get() as f64 / rate.period().as_secs_f64()),
            is_bucket: matches!(self.algorithm, Algorithm::TokenBucket | Algorithm::LeakyBucket { .. }),
            nodes: self.nodes(live),
        }
    }
}
