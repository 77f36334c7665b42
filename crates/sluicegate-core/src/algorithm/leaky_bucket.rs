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

    /// The TAT after a charge of `reserved`, made at `charged_at`, turns out at `now` to have been `actual`, as in
    /// [`TokenBucket::settle`]. With `actual` zero it is taken back.
    ///
    /// Points in time are rounded so that the place of a unit may stay empty for a part of a tick, and is never given
    /// twice; who withdraws before anybody else came uses [`Self::leave`].
    #[must_use]
    pub const fn settle(&self, tat: Tat, reserved: Cost, actual: Cost, charged_at: Timestamp, now: Timestamp) -> Tat {
        let charged_at = self.bucket.tick(charged_at);
        let now = self.bucket.scale().tick_up(now);
        self.bucket.settle(tat, reserved, actual, charged_at, now)
    }

    /// The TAT after a charge that is made whether it fits or not.
    #[must_use]
    pub const fn overdraw(&self, tat: Tat, now: Timestamp, cost: Cost) -> Tat {
        self.bucket.overdraw(tat, self.bucket.scale().tick_up(now), cost)
    }

    /// The TAT after a refused request is charged all the same, as in [`TokenBucket::penalize`].
    #[must_use]
    pub const fn penalize(&self, tat: Tat, now: Timestamp, cost: Cost) -> Tat {
        self.bucket.penalize(tat, self.bucket.scale().tick_up(now), cost)
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
    /// The first tick that has not begun before now: what joins an empty queue counts from then, never before its time.
    tick: u64,
    /// The queue's end as it was written, which may be over.
    tat: u64,
    /// `max(TAT, t)`.
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
            tat: tat.as_u64(),
            start: tat.as_u64().max(tick),
        }
    }

    const fn debt(&self) -> u64 {
        self.start - self.tick
    }

    /// The nanosecond before which whoever joins now may not leave.
    const fn leaves_at(&self) -> u64 {
        self.of.bucket.scale().first_nano(self.tat.saturating_sub(self.of.free))
    }

    const fn delay(&self) -> Duration {
        Duration::from_nanos(self.leaves_at().saturating_sub(self.now.as_nanos()))
    }

    /// The last nanosecond at which whoever joins now is willing to leave.
    const fn patience_ends(&self) -> Timestamp {
        self.now.saturating_add(self.of.max_wait)
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
        let in_time = cost.units() == 0 || self.leaves_at() <= self.patience_ends().as_nanos();
        if fits && in_time {
            return None;
        }
        let fits_at = if fits {
            0
        } else {
            bucket.scale().first_nano_up(self.start - room)
        };
        let max_wait = crate::time::saturating_nanos(self.of.max_wait);
        let in_time_at = if in_time {
            0
        } else {
            self.leaves_at().saturating_sub(max_wait)
        };
        // A wait of zero would be a pass; only words that nobody wrote lie beyond what the clock can reach.
        let wait = fits_at.max(in_time_at).saturating_sub(self.now.as_nanos()).max(1);
        Some(Retry::After(Duration::from_nanos(wait)))
    }

    /// Units of cost 1 that would still pass, one after another, now.
    fn remaining(&self) -> u64 {
        let bucket = &self.of.bucket;
        let fit = bucket.tolerance().saturating_sub(self.debt()) / bucket.interval();
        // The last TAT that a unit may find. No overflow: both are about 2⁶² at most.
        let last = bucket.tick(self.patience_ends()).as_u64() + self.of.free;
        if self.tat > last {
            return 0;
        }
        // The first finds the TAT as it is, and each after it finds one interval more than `max(TAT, t)`.
        let in_time = 1 + last.saturating_sub(self.start) / bucket.interval();
        fit.min(in_time)
    }

    fn reset_after(&self) -> Duration {
        let empty_at = self.of.bucket.scale().first_nano(self.tat);
        Duration::from_nanos(empty_at.saturating_sub(self.now.as_nanos()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    fn leaky(limit: &str, max_wait_ms: u64, free: u64) -> LeakyBucket {
        LeakyBucket::new(limit.parse().expect(limit), Duration::from_millis(max_wait_ms), free)
    }

    /// For requests of cost 1 at the given milliseconds: the milliseconds each waits, `d` for a refusal.
    #[track_caller]
    fn check(leaky: &LeakyBucket, arrivals_ms: &[u64], expected: &str) {
        let mut tat = Tat::UNSEEN;
        let got: alloc::vec::Vec<_> = arrivals_ms
            .iter()
            .map(|ms| {
                let ruling = leaky.decide(tat, at_ms(*ms), Cost::ONE);
                tat = ruling.state;
                match ruling.answer.retry {
                    None => alloc::format!("{}", ruling.answer.delay.as_millis()),
                    Some(_) => "d".into(),
                }
            })
            .collect();
        assert_eq!(got.join(" "), expected, "{} at {arrivals_ms:?}", leaky.limit());
    }

    #[test]
    fn requests_wait_for_their_turn_until_the_queue_is_full() {
        check(
            &leaky("10/s burst 3", 1_000, 0),
            &[0, 0, 0, 0, 50, 100, 100],
            "0 100 200 d d 200 d",
        );
    }

    #[test]
    fn nobody_waits_longer_than_the_longest_wait() {
        check(
            &leaky("10/s burst 9", 250, 0),
            &[0, 0, 0, 0, 49, 50, 50],
            "0 100 200 d d 250 d",
        );
        check(&leaky("10/s burst 9", 0, 0), &[0, 0, 99, 100], "0 d d 0");
    }

    #[test]
    fn free_units_are_not_delayed_and_the_queue_stays_as_long() {
        check(&leaky("10/s burst 5", 1_000, 2), &[0, 0, 0, 0, 0, 0], "0 0 0 100 200 d");
        check(&leaky("10/s burst 3", 1_000, 9), &[0, 0, 0, 0, 100], "0 0 0 d 0");
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_lets_nobody_leave_earlier() {
        check(
            &leaky("10/s burst 4", 1_000, 0),
            &[500, 500, 400, 400, 500, 600],
            "0 100 300 d 300 300",
        );
    }

    #[test]
    fn a_cost_above_the_burst_never_passes_and_a_cost_of_zero_never_waits() {
        let leaky = leaky("10/s burst 3", 0, 0);
        let ruling = leaky.decide(Tat::UNSEEN, at_ms(0), Cost::new(4));
        assert_eq!((ruling.state, ruling.answer.retry), (Tat::UNSEEN, Some(Retry::Never)));
        let full = leaky.decide(Tat::UNSEEN, at_ms(0), Cost::new(3)).state;
        let asked = leaky.decide(full, at_ms(0), Cost::ZERO);
        assert_eq!((asked.state, asked.answer.retry), (full, None));
        assert_eq!((asked.answer.delay, asked.answer.remaining), (Duration::ZERO, 0));
        let overdrawn = leaky.overdraw(full, at_ms(0), Cost::ONE);
        let refused = leaky.decide(overdrawn, at_ms(0), Cost::ZERO);
        assert_eq!(refused.answer.retry, Some(Retry::After(Duration::from_millis(100))));
    }

    #[test]
    fn a_request_held_up_elsewhere_moves_the_queue_to_its_departure() {
        let leaky = leaky("10/s burst 9", 1_000, 0);
        let held_up = leaky.decide_departing(Tat::UNSEEN, at_ms(0), Cost::ONE, Duration::from_millis(350));
        assert_eq!(held_up.answer.delay, Duration::from_millis(350));
        let next = leaky.decide(held_up.state, at_ms(0), Cost::ONE);
        assert_eq!(next.answer.delay, Duration::from_millis(450));
    }

    #[test]
    fn only_the_last_in_the_queue_gives_its_place_back() {
        let leaky = leaky("10/s burst 9", 1_000, 0);
        let first = leaky.decide(Tat::UNSEEN, at_ms(0), Cost::ONE).state;
        let second = leaky.decide(first, at_ms(0), Cost::ONE).state;
        assert_eq!(leaky.leave(second, Tat::UNSEEN, first), second);
        let second_gone = leaky.leave(second, first, second);
        assert_eq!(second_gone, first);
        assert_eq!(leaky.leave(second_gone, Tat::UNSEEN, first), Tat::UNSEEN);
    }

    #[test]
    fn limits_of_one_rate_share_a_queue_by_thresholds_of_their_own() {
        let limit = |text: &str| text.parse::<Limit>().expect(text);
        let largest = limit("10/s burst 9").burst();
        let wide = LeakyBucket::new_sharing(limit("10/s burst 9"), largest, Duration::from_secs(9), 0);
        let narrow = LeakyBucket::new_sharing(limit("10/s burst 2"), largest, Duration::from_secs(9), 1);
        assert_eq!(wide.bucket().scale(), narrow.bucket().scale());
        let one = wide.decide(Tat::UNSEEN, at_ms(0), Cost::ONE).state;
        let two = narrow.decide(one, at_ms(0), Cost::ONE);
        assert_eq!((two.answer.retry, two.answer.delay), (None, Duration::ZERO));
        assert!(!narrow.decide(two.state, at_ms(0), Cost::ONE).answer.passes());
        assert!(wide.decide(two.state, at_ms(0), Cost::ONE).answer.passes());
    }
}
