//! The leaky bucket, as a queue that exists only as a point in time: its end.

use core::num::NonZeroU64;
use core::time::Duration;

use super::answer::{Answer, Ruling};
use super::ticks::Tick;
use super::token_bucket::{Tat, TokenBucket};
use crate::{Cost, Limit, Retry, Timestamp};

/// A limit whose requests wait for their turn, made ready to decide by.
///
/// With emission interval `T` and burst `B`, a request of cost `c` at time `t` joins the queue's end: it leaves at
/// `max(TAT, t)` and moves the TAT to `max(TAT, t) + c·T`. It passes if that is at most `B·T` ahead of `t`, so that the
/// queue is the burst, and if it need not wait longer than `max_wait`. What leaves is spaced by at least `T` a unit, to
/// the nanosecond that a clock shows.
///
/// The first `free` units are not delayed: a request then waits only for what of the queue is beyond them. The queue is
/// as long as without them, and the bound of the token bucket holds.
///
/// A cost of zero passes, undelayed, unless the queue is overdrawn. A clock that goes back reads as one that stands.
///
/// It remembers of a key a [`Tat`], as the token bucket does. Source: ITU-T I.371 (2004), Annex A, whose virtual
/// scheduling is here taken at its word: a unit that comes early is held until its theoretical arrival time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeakyBucket {
    bucket: TokenBucket,
    max_wait: Duration,
    /// The undelayed units, in ticks; at most 2⁶².
    free: u64,
}

impl LeakyBucket {
    /// The longest wait where nothing else is said: longer ones outlive many a client's patience and hold its
    /// connection all the while.
    pub const MAX_WAIT_DEFAULT: Duration = Duration::from_secs(1);

    /// A queue of `limit`'s burst that nobody waits in longer than `max_wait`, and the first `free` units not at all.
    pub const fn new(limit: Limit, max_wait: Duration, free: u64) -> Self {
        Self::new_sharing(limit, limit.burst(), max_wait, free)
    }

    /// A queue that counts in the tick and interval of one of the same rate and the burst `largest_burst`, as
    /// [`TokenBucket::new_sharing`] does.
    pub const fn new_sharing(limit: Limit, largest_burst: NonZeroU64, max_wait: Duration, free: u64) -> Self {
        let bucket = TokenBucket::new_sharing(limit, largest_burst);
        let free = free.saturating_mul(bucket.interval());
        Self {
            bucket,
            max_wait,
            free: if free > 1 << 62 { 1 << 62 } else { free },
        }
    }

    /// The limit this bucket keeps.
    pub const fn limit(&self) -> &Limit {
        self.bucket.limit()
    }

    /// The token bucket of the same limit, whose TATs are read and aged alike.
    pub const fn bucket(&self) -> &TokenBucket {
        &self.bucket
    }

    /// Decides one request, which leaves as soon as it may.
    #[inline]
    pub fn decide(&self, tat: Tat, now: Timestamp, cost: Cost) -> Ruling<Tat> {
        self.decide_departing(tat, now, cost, Duration::ZERO)
    }

    /// Decides one request that has to wait `depart_after` for another queue's sake. The checks are as if it had not; what
    /// it holds of this queue then ends where its departure says, so that nothing behind it leaves too early.
    pub fn decide_departing(&self, tat: Tat, now: Timestamp, cost: Cost, depart_after: Duration) -> Ruling<Tat> {
        let queue = Queue::new(self, tat, now);
        let retry = queue.retry(cost);
        let charged = cost.units() > 0 && retry.is_none();
        let (tat, delay) = if charged {
            let Tick(departs) = self.bucket.scale().tick_up(now.saturating_add(depart_after));
            // No overflow: a cost that passes is at most the tolerance, 2⁶¹ ticks, and a start that passes at most as
            // far from a clock that reads at most 2⁶².
            let end = queue.start.max(departs) + cost.units() * self.bucket.interval();
            (Tat::from_u64(end), queue.delay().max(depart_after))
        } else {
            (tat, Duration::ZERO)
        };
        let after = Queue::new(self, tat, now);
        Ruling {
            state: tat,
            answer: Answer {
                remaining: after.remaining(),
                reset_after: after.reset_after(),
                retry,
                delay,
            },
        }
    }

    /// The TAT after the one who moved it from `before` to `written` leaves the queue: its place is free again only if
    /// nobody has joined behind it since.
    #[must_use]
    pub const fn leave(&self, tat: Tat, before: Tat, written: Tat) -> Tat {
        if tat.as_u64() == written.as_u64() { before } else { tat }
    }
}

/// A queue, seen at one moment.
struct Queue<'a> {
    of: &'a LeakyBucket,
    now: Timestamp,
    /// The first tick that has not begun before now: a request that leaves at once leaves then, on the queue's scale, and
    /// never before its time.
    tick: u64,
    /// `max(TAT, t)`: the queue's end.
    start: u64,
}

impl<'a> Queue<'a> {
    #[inline]
    fn new(of: &'a LeakyBucket, tat: Tat, now: Timestamp) -> Self {
        let Tick(tick) = of.bucket.scale().tick_up(now);
        Self {
            of,
            now,
            tick,
            start: tat.as_u64().max(tick),
        }
    }

    const fn debt(&self) -> u64 {
        self.start - self.tick
    }

    /// The tick at which whoever joins now leaves.
    const fn leaves(&self) -> u64 {
        self.start.saturating_sub(self.of.free)
    }

    fn delay(&self) -> Duration {
        if self.leaves() <= self.tick {
            return Duration::ZERO;
        }
        let leaves_at = self.of.bucket.scale().begins_at(self.leaves());
        Duration::from_nanos(leaves_at.saturating_sub(self.now.as_nanos()))
    }

    /// The last tick at which whoever joins now may leave.
    fn latest(&self) -> u64 {
        let Tick(latest) = self
            .of
            .bucket
            .scale()
            .begun_by(self.now.saturating_add(self.of.max_wait));
        latest.max(self.tick)
    }

    /// `None` if `cost` passes, else the least wait after which it would.
    fn retry(&self, cost: Cost) -> Option<Retry> {
        let bucket = &self.of.bucket;
        if cost.units() > bucket.cost_max() {
            return Some(Retry::Never);
        }
        // No overflow: cost ≤ cost_max.
        let room = bucket.tolerance() - cost.units() * bucket.interval();
        let fits = self.debt() <= room;
        let in_time = cost.units() == 0 || self.leaves() <= self.latest();
        if fits && in_time {
            return None;
        }
        let scale = bucket.scale();
        let mut passes_at = 0;
        if !fits {
            passes_at = scale.first_nano_up(self.start - room);
        }
        if !in_time {
            let max_wait = crate::time::saturating_nanos(self.of.max_wait);
            let near_enough = scale.begins_at(self.leaves()).saturating_sub(max_wait);
            let at_once = scale.first_nano_up(self.leaves());
            passes_at = passes_at.max(near_enough.min(at_once));
        }
        // A wait of zero would be a pass; only words that nobody wrote lie beyond what the clock can reach.
        let wait = passes_at.saturating_sub(self.now.as_nanos()).max(1);
        Some(Retry::After(Duration::from_nanos(wait)))
    }

    /// Units of cost 1 that would still pass, one after another, now.
    fn remaining(&self) -> u64 {
        let bucket = &self.of.bucket;
        let interval = bucket.interval();
        let fit = bucket.tolerance().saturating_sub(self.debt()) / interval;
        // The unit numbered k, from 0, leaves k intervals after the first. No overflow: both are about 2⁶² at most.
        let in_time = match (self.latest() + self.of.free).checked_sub(self.start) {
            Some(room) => room / interval + 1,
            None => 0,
        };
        fit.min(in_time)
    }

    fn reset_after(&self) -> Duration {
        if self.debt() == 0 {
            return Duration::ZERO;
        }
        let empty_at = self.of.bucket.scale().begins_at(self.start);
        Duration::from_nanos(empty_at.saturating_sub(self.now.as_nanos()))
    }
}
