//! The token bucket, as a meter of arrivals: one word of state, exact for ever.

use core::num::NonZeroU64;
use core::time::Duration;

use super::answer::{Answer, Ruling};
use super::ticks::{Tick, TickScale};
use crate::time::Timestamp;
use crate::{Cost, Limit, Retry};

/// The theoretical arrival time of the next unit, in the bucket's ticks: all that a token bucket remembers of a key.
///
/// A TAT that lies in the past means the same as one never seen: the bucket is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tat(u64);

impl Tat {
    /// A key never seen.
    pub const UNSEEN: Self = Self(0);

    /// The latest TAT that is ever written, 2⁶³ − 1: a debt that never ends.
    pub const MAX: Self = Self((1 << 63) - 1);

    /// A TAT read back from where it was kept. Only 63 bits are meant; a larger number is debt that never ends, which
    /// refuses and harms nobody else.
    #[inline]
    pub const fn from_u64(ticks: u64) -> Self {
        Self(ticks)
    }

    /// The TAT as a number to keep, below 2⁶³.
    #[inline]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Whether the bucket is full at `now`, so that forgetting this TAT loses nothing.
    #[inline]
    pub const fn is_idle(self, now: Tick) -> bool {
        self.0 <= now.0
    }
}

/// A limit, made ready to decide by.
///
/// With emission interval `T = period / count` and burst `B`, a request of cost `c` at time `t` moves the TAT to
/// `max(TAT, t) + c·T` and passes if that is at most `B·T` ahead of `t`. Over any interval Δ this admits at most
/// `B + count·Δ/period`, and never refuses what an exact bucket with one unit less would admit.
///
/// A clock that goes back reads as one that stands still: the TAT never moves back by it.
///
/// Source: the virtual scheduling form of the generic cell rate algorithm, ITU-T I.371 (2004), Annex A, with `cost` cells arriving
/// at once and the tolerance counted from the burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    scale: TickScale,
    /// T, in ticks; at least 1.
    interval: u64,
    /// B·T, in ticks; at most 2⁶¹.
    tolerance: u64,
    /// The largest cost that can ever pass, `tolerance / interval`.
    cost_max: u64,
    limit: Limit,
}

impl TokenBucket {
    /// Most ticks that a bucket may be in debt, 2⁶¹ (at least 73 years): with the clock's 2⁶² no sum reaches 2⁶³, which
    /// leaves the highest bit of a stored TAT free for a flag.
    const TOLERANCE_MAX: u64 = 1 << 61;

    /// Chooses the bucket's tick, and its interval and tolerance in it.
    ///
    /// A burst that takes more than 2⁶¹ ns to refill makes the tick coarser, so that it is still held in full; the
    /// price is that refill is then counted in larger steps, never more than one unit. A burst above 2⁶¹ units is held
    /// as 2⁶¹.
    pub const fn new(limit: Limit) -> Self {
        Self::new_sharing(limit, limit.burst())
    }

    /// A bucket that counts in the tick and interval of a bucket of the same rate and the burst `largest_burst`: limits
    /// that differ in nothing but their burst can so draw from one TAT.
    pub const fn new_sharing(limit: Limit, largest_burst: NonZeroU64) -> Self {
        let count = limit.count().get();
        let period = limit.period_nanos().get();
        let burst = limit.burst().get();
        let largest_burst = if largest_burst.get() > burst {
            largest_burst.get()
        } else {
            burst
        };
        // Whole nanoseconds, rounded down, so that a tick is never shorter than one: at least 1, since a limit's rate
        // is at most one unit per nanosecond.
        let finest = period / count;
        let longest = Self::TOLERANCE_MAX / largest_burst;
        let interval = if finest < longest { finest } else { longest };
        let interval = if interval == 0 { 1 } else { interval };
        let cost_max = Self::TOLERANCE_MAX / interval;
        let cost_max = if burst < cost_max { burst } else { cost_max };
        Self {
            scale: TickScale::new(count, period, interval),
            interval,
            // No overflow: cost_max ≤ 2⁶¹ / interval.
            tolerance: cost_max * interval,
            cost_max,
            limit,
        }
    }

    /// The limit this bucket keeps.
    pub const fn limit(&self) -> &Limit {
        &self.limit
    }

    /// The bucket's tick at `now`.
    #[inline]
    pub const fn tick(&self, now: Timestamp) -> Tick {
        self.scale.tick(now)
    }

    /// The scale of this bucket's ticks, for whoever ages cells without knowing their limit.
    pub const fn scale(&self) -> TickScale {
        self.scale
    }

    /// Decides one request. Reads no clock and keeps nothing: the caller stores [`Verdict::tat`].
    #[inline]
    pub const fn decide(&self, tat: Tat, now: Tick, cost: Cost) -> Verdict {
        let cost = cost.units();
        let start = if tat.0 > now.0 { tat.0 } else { now.0 };
        let debt = start - now.0;
        if cost > self.cost_max {
            return Verdict {
                tat,
                debt,
                wait: Verdict::NEVER,
            };
        }
        // No overflow: cost ≤ cost_max, so the product is at most the tolerance.
        let advance = cost * self.interval;
        let room = self.tolerance - advance;
        if debt > room {
            return Verdict {
                tat,
                debt,
                wait: debt - room,
            };
        }
        // Asking for nothing leaves no trace, or a mere question would keep a cell alive.
        let tat = if advance == 0 { tat } else { Tat(start + advance) };
        Verdict {
            tat,
            debt: debt + advance,
            wait: 0,
        }
    }

    /// The TAT after a charge of `cost`, made at `charged_at`, is taken back at `now`.
    ///
    /// Only what has not refilled since is credited. Subtracting the whole charge could revive refill that another
    /// request has spent in between: with 10 units at once, take 10, wait for 9, let another take 9, give 10 back and
    /// 10 more would pass, 19 in the time of 9.
    #[inline]
    #[must_use]
    pub const fn give_back(&self, tat: Tat, cost: Cost, charged_at: Tick, now: Tick) -> Tat {
        let refilled = now.0.saturating_sub(charged_at.0);
        let credit = cost.units().saturating_mul(self.interval).saturating_sub(refilled);
        Tat(tat.0.saturating_sub(credit))
    }

    /// The TAT after a charge of `reserved`, made at `charged_at`, turns out at `now` to have been `actual`.
    ///
    /// Less than reserved is given back as far as it has not refilled since, as in [`Self::give_back`]; more is an
    /// overdraft.
    #[must_use]
    pub const fn settle(&self, tat: Tat, reserved: Cost, actual: Cost, charged_at: Tick, now: Tick) -> Tat {
        let (reserved, actual) = (reserved.units(), actual.units());
        if actual > reserved {
            return self.overdraw(tat, now, Cost::new(actual - reserved));
        }
        let refilled = now.0.saturating_sub(charged_at.0);
        let over = (reserved - actual).saturating_mul(self.interval);
        // With nothing else owed, the charge has refilled from its top down to `reserved - refilled`: that much is left
        // to give, be it more or less than what was reserved in excess.
        let left = reserved.saturating_mul(self.interval).saturating_sub(refilled);
        let credit = if over < left { over } else { left };
        Tat(tat.0.saturating_sub(credit))
    }

    /// The TAT after a charge that is made whether it fits or not; it may lie further ahead than the burst reaches.
    #[must_use]
    pub const fn overdraw(&self, tat: Tat, now: Tick, cost: Cost) -> Tat {
        if cost.units() == 0 {
            return tat;
        }
        let start = if tat.0 > now.0 { tat.0 } else { now.0 };
        let end = start.saturating_add(cost.units().saturating_mul(self.interval));
        if end > Tat::MAX.0 { Tat::MAX } else { Tat(end) }
    }

    /// The TAT after a refused request is charged all the same, as a penalty: as far as the burst reaches, so that it is
    /// paid off within the time of a burst. What is overdrawn already stays so.
    #[must_use]
    pub const fn penalize(&self, tat: Tat, now: Tick, cost: Cost) -> Tat {
        let Tat(end) = self.overdraw(tat, now, cost);
        let most = now.0.saturating_add(self.tolerance);
        let end = if end > most { most } else { end };
        if end > tat.0 { Tat(end) } else { tat }
    }

    /// A TAT of `old`'s in this bucket's ticks: the debt in units stays, as far as a changed limit's burst reaches. A
    /// lowered limit so clamps, and a raised one does not refill.
    #[must_use]
    pub fn carry_over(&self, old: &Self, tat: Tat, now: Timestamp) -> Tat {
        if self == old {
            return tat;
        }
        let debt = tat.0.saturating_sub(old.tick(now).0);
        let debt = self.debt_carried(old, debt).min(self.tolerance);
        if debt == 0 {
            Tat::UNSEEN
        } else {
            Tat(self.tick(now).0 + debt)
        }
    }

    /// The ticks of this bucket that are as many units as `debt` ticks of `old`, rounded up; at most [`Tat::MAX`].
    pub(super) fn debt_carried(&self, old: &Self, debt: u64) -> u64 {
        let scaled = (u128::from(debt) * u128::from(self.interval)).div_ceil(u128::from(old.interval));
        u64::try_from(scaled).unwrap_or(u64::MAX).min(Tat::MAX.0)
    }

    /// The debt at `now`, in ticks: what to keep of a TAT where another clock will read it.
    pub const fn keep(&self, tat: Tat, now: Timestamp) -> u64 {
        tat.0.saturating_sub(self.tick(now).0)
    }

    /// The TAT of a debt that was kept `away` ago.
    pub fn restore(&self, debt: u64, now: Timestamp, away: Duration) -> Tat {
        self.ageing(now, away).tat(debt)
    }

    /// What brings debts that were kept `away` ago to `now`, for whoever has many.
    pub const fn ageing(&self, now: Timestamp, away: Duration) -> Ageing {
        Ageing {
            refilled: self.tick(Timestamp::ZERO.saturating_add(away)).0,
            // Of the parts of ticks that are rounded here and at a debt's keeping, none is given away.
            now: self.scale.tick_up(now).0,
        }
    }

    /// All that a verdict says, in units and spans.
    pub const fn answer(&self, verdict: &Verdict) -> Answer {
        Answer {
            remaining: self.remaining(verdict),
            reset_after: self.reset_after(verdict),
            retry: self.retry(verdict),
            delay: Duration::ZERO,
        }
    }

    /// [`Self::decide`] in the form that all algorithms share.
    #[inline]
    pub const fn rule(&self, tat: Tat, now: Timestamp, cost: Cost) -> Ruling<Tat> {
        let verdict = self.decide(tat, self.tick(now), cost);
        Ruling {
            state: verdict.tat,
            answer: self.answer(&verdict),
        }
    }

    /// T, in ticks.
    pub(super) const fn interval(&self) -> u64 {
        self.interval
    }

    /// B·T, in ticks.
    pub(super) const fn tolerance(&self) -> u64 {
        self.tolerance
    }

    /// The largest cost that can ever pass.
    pub(super) const fn cost_max(&self) -> u64 {
        self.cost_max
    }

    /// Whole units left at a debt of a [`Verdict`] on this bucket.
    #[inline]
    pub const fn remaining(&self, verdict: &Verdict) -> u64 {
        self.tolerance.saturating_sub(verdict.debt) / self.interval
    }

    /// Until the bucket is full, if nothing more is charged; zero when it is.
    pub const fn reset_after(&self, verdict: &Verdict) -> Duration {
        self.scale.span(verdict.debt)
    }

    /// [`Self::reset_after`] in nanoseconds, without the division that parts them from the seconds; `None` if they are 2⁶⁴ and more.
    #[inline]
    pub(crate) const fn reset_nanos(&self, verdict: &Verdict) -> Option<u64> {
        self.scale.span_nanos(verdict.debt)
    }

    /// `None` if the request passes, else when it would.
    pub const fn retry(&self, verdict: &Verdict) -> Option<Retry> {
        match verdict.wait {
            0 => None,
            Verdict::NEVER => Some(Retry::Never),
            wait => Some(Retry::After(self.scale.span(wait))),
        }
    }
}

/// Brings debts that were kept before a restart to a moment after it; made by [`TokenBucket::ageing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ageing {
    /// Ticks that have refilled meanwhile.
    refilled: u64,
    now: u64,
}

impl Ageing {
    /// The TAT of a debt in ticks.
    #[inline]
    pub fn tat(&self, debt: u64) -> Tat {
        match debt.min(Tat::MAX.0).saturating_sub(self.refilled) {
            0 => Tat::UNSEEN,
            left => Tat(self.now.saturating_add(left).min(Tat::MAX.0)),
        }
    }
}

/// What a [`TokenBucket`] says to one request. Its numbers are in that bucket's ticks; ask the bucket to turn them
/// into units and spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    tat: Tat,
    /// How far the TAT lies ahead after this request.
    debt: u64,
    /// Zero for a pass.
    wait: u64,
}

impl Verdict {
    const NEVER: u64 = u64::MAX;

    /// Whether the request passes.
    #[inline]
    pub const fn passes(&self) -> bool {
        self.wait == 0
    }

    /// What to remember: a refusal, and a question of cost zero, leave it as it was.
    #[inline]
    pub const fn tat(&self) -> Tat {
        self.tat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `A` for a pass, `d` for a refusal, of requests of cost 1 at the given milliseconds.
    #[track_caller]
    fn check(limit: &str, arrivals_ms: &[u64], expected: &str) {
        let bucket = TokenBucket::new(limit.parse().expect(limit));
        let mut tat = Tat::UNSEEN;
        let got: alloc::string::String = arrivals_ms
            .iter()
            .map(|ms| {
                let verdict = bucket.decide(tat, bucket.tick(Timestamp::from_nanos(ms * 1_000_000)), Cost::ONE);
                tat = verdict.tat();
                if verdict.passes() { 'A' } else { 'd' }
            })
            .collect();
        assert_eq!(got, expected, "{limit} at {arrivals_ms:?}");
    }

    #[test]
    fn burst_is_spent_then_refilled_one_emission_interval_at_a_time() {
        check("10/s burst 3", &[0, 0, 0, 0, 99, 100, 100, 200], "AAAddAdA");
    }

    #[test]
    fn a_burst_of_one_spaces_requests_by_the_emission_interval() {
        check("2/s burst 1", &[0, 499, 500, 900, 1000], "AdAdA");
    }

    #[test]
    fn an_idle_bucket_never_holds_more_than_the_burst() {
        check("10/s burst 2", &[0, 3_600_000, 3_600_000, 3_600_000], "AAAd");
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_nothing_and_takes_nothing() {
        check("10/s burst 2", &[5000, 5000, 5000, 1000, 0, 5000, 5100], "AAddddA");
    }

    #[test]
    fn a_cost_above_the_burst_is_refused_for_ever_and_charges_nothing() {
        let bucket = TokenBucket::new("5/s burst 10".parse().expect("a limit"));
        let now = bucket.tick(Timestamp::ZERO);
        let verdict = bucket.decide(Tat::UNSEEN, now, Cost::new(11));
        assert_eq!(bucket.retry(&verdict), Some(Retry::Never));
        assert_eq!((verdict.tat(), bucket.remaining(&verdict)), (Tat::UNSEEN, 10));
        assert!(bucket.decide(verdict.tat(), now, Cost::new(10)).passes());
    }

    #[test]
    fn a_cost_of_zero_passes_an_empty_bucket_and_charges_nothing() {
        let bucket = TokenBucket::new("5/s burst 1".parse().expect("a limit"));
        let now = bucket.tick(Timestamp::ZERO);
        let spent = bucket.decide(Tat::UNSEEN, now, Cost::ONE).tat();
        let verdict = bucket.decide(spent, now, Cost::ZERO);
        assert!(verdict.passes());
        assert_eq!((verdict.tat(), bucket.remaining(&verdict)), (spent, 0));
    }

    #[test]
    fn a_cost_of_zero_is_refused_while_the_bucket_is_overdrawn() {
        let bucket = TokenBucket::new("5/s burst 1".parse().expect("a limit"));
        let now = bucket.tick(Timestamp::ZERO);
        let overdrawn = Tat::from_u64(bucket.tolerance + 1);
        let verdict = bucket.decide(overdrawn, now, Cost::ZERO);
        assert!(!verdict.passes());
        assert_eq!(bucket.remaining(&verdict), 0);
    }

    #[test]
    fn what_is_given_back_at_once_is_all_there_again() {
        let bucket = TokenBucket::new("10/s burst 4".parse().expect("a limit"));
        let now = bucket.tick(Timestamp::from_nanos(7_000_000_000));
        let before = bucket.decide(Tat::UNSEEN, now, Cost::ONE).tat();
        let charged = bucket.decide(before, now, Cost::new(3)).tat();
        assert_eq!(bucket.give_back(charged, Cost::new(3), now, now), before);
    }

    /// The example of [`TokenBucket::give_back`]: a plain subtraction admitted 19 units at once.
    #[test]
    fn what_is_given_back_late_never_revives_refill_that_was_spent() {
        let bucket = TokenBucket::new("1/s burst 10".parse().expect("a limit"));
        let start = bucket.tick(Timestamp::ZERO);
        let later = bucket.tick(Timestamp::from_nanos(9_000_000_000));
        let tat = bucket.decide(Tat::UNSEEN, start, Cost::new(10)).tat();
        let tat = bucket.decide(tat, later, Cost::new(9)).tat();
        let tat = bucket.give_back(tat, Cost::new(10), start, later);
        let left = bucket.remaining(&bucket.decide(tat, later, Cost::ZERO));
        assert!(
            left <= 1,
            "{left} units left, of which at most one was not yet refilled"
        );
    }

    /// A charge that is settled is at last the charge that it should have been, and refill that passed meanwhile stays.
    #[track_caller]
    fn check_settled(reserved: u64, actual: u64, after_s: u64, expected_left: u64) {
        let bucket = TokenBucket::new("1/s burst 10".parse().expect("a limit"));
        let start = bucket.tick(Timestamp::ZERO);
        let later = bucket.tick(Timestamp::from_nanos(after_s * 1_000_000_000));
        let tat = bucket.decide(Tat::UNSEEN, start, Cost::new(reserved)).tat();
        let tat = bucket.settle(tat, Cost::new(reserved), Cost::new(actual), start, later);
        let left = bucket.remaining(&bucket.decide(tat, later, Cost::ZERO));
        assert_eq!(left, expected_left, "{reserved} as {actual} after {after_s} s");
    }

    #[test]
    fn a_settled_charge_is_at_last_what_it_should_have_been() {
        check_settled(6, 6, 0, 4);
        check_settled(6, 2, 0, 8);
        check_settled(6, 2, 3, 10);
        check_settled(6, 0, 9, 10);
        check_settled(6, 5, 2, 7);
        check_settled(6, 9, 0, 1);
        check_settled(6, 9, 2, 3);
        check_settled(6, 30, 0, 0);
    }

    #[test]
    fn an_overdraft_of_any_size_ends_in_a_debt_that_never_does() {
        let bucket = TokenBucket::new("1/s burst 10".parse().expect("a limit"));
        let now = bucket.tick(Timestamp::MAX);
        let tat = bucket.overdraw(Tat::UNSEEN, now, Cost::new(u64::MAX));
        assert_eq!(bucket.overdraw(tat, now, Cost::new(u64::MAX)), Tat::MAX);
        assert!(!Tat::MAX.is_idle(now));
        assert_eq!(bucket.overdraw(Tat::UNSEEN, now, Cost::ZERO), Tat::UNSEEN);
    }

    #[test]
    fn a_penalty_reaches_as_far_as_the_burst_and_forgives_no_overdraft() {
        let bucket = TokenBucket::new("1/s burst 10".parse().expect("a limit"));
        let now = bucket.tick(Timestamp::from_nanos(5_000_000_000));
        let left = |tat| bucket.remaining(&bucket.decide(tat, now, Cost::ZERO));
        let used = bucket.decide(Tat::UNSEEN, now, Cost::new(4)).tat();
        assert_eq!(left(bucket.penalize(used, now, Cost::new(2))), 4);
        let spent = bucket.penalize(used, now, Cost::new(u64::MAX));
        assert_eq!((left(spent), bucket.decide(spent, now, Cost::ZERO).passes()), (0, true));
        let overdrawn = bucket.overdraw(spent, now, Cost::ONE);
        assert_eq!(bucket.penalize(overdrawn, now, Cost::ONE), overdrawn);
        assert_eq!(bucket.penalize(used, now, Cost::ZERO), used);
    }

    #[test]
    fn limits_of_one_rate_draw_from_one_tat_by_bursts_of_their_own() {
        let limit = |text: &str| text.parse::<Limit>().expect(text);
        let largest = limit("10/s burst 500000000000000000").burst();
        let wide = TokenBucket::new_sharing(limit("10/s burst 500000000000000000"), largest);
        let narrow = TokenBucket::new_sharing(limit("10/s burst 3"), largest);
        assert_eq!(wide.scale(), narrow.scale());
        assert_eq!(wide, TokenBucket::new(*wide.limit()));
        let now = wide.tick(Timestamp::from_nanos(1_000_000_000));
        let two = wide.decide(Tat::UNSEEN, now, Cost::new(2)).tat();
        let three = narrow.decide(two, now, Cost::ONE);
        assert!(three.passes() && narrow.remaining(&three) == 0);
        assert!(!narrow.decide(three.tat(), now, Cost::ONE).passes());
        assert!(wide.decide(three.tat(), now, Cost::ONE).passes());
    }

    #[test]
    fn a_changed_limit_keeps_the_debt_in_units_and_clamps_it() {
        let bucket = |text: &str| TokenBucket::new(text.parse().expect(text));
        let (old, now) = (bucket("10/min"), Timestamp::from_nanos(60_000_000_000));
        let used = old.decide(Tat::UNSEEN, old.tick(now), Cost::new(6)).tat();
        let left = |new: TokenBucket, tat| {
            let tat = new.carry_over(&old, tat, now);
            new.remaining(&new.decide(tat, new.tick(now), Cost::ZERO))
        };
        assert_eq!(left(bucket("10/min"), used), 4);
        assert_eq!(left(bucket("20/min"), used), 14);
        assert_eq!(left(bucket("10/min burst 7"), used), 1);
        assert_eq!(left(bucket("3/min"), used), 0);
        let overdrawn = old.overdraw(used, old.tick(now), Cost::new(90));
        assert_eq!(old.carry_over(&old, overdrawn, now), overdrawn);
        let raised = bucket("20/min");
        let clamped = raised.carry_over(&old, overdrawn, now);
        assert!(raised.decide(clamped, raised.tick(now), Cost::ZERO).passes());
    }

    #[test]
    fn a_burst_beyond_all_horizons_is_admitted_and_never_panics() {
        for text in [
            "1 per 3650d burst 18446744073709551615",
            "1000000000/s burst 18446744073709551615",
        ] {
            let bucket = TokenBucket::new(text.parse().expect(text));
            for now in [Timestamp::ZERO, Timestamp::MAX] {
                let mut tat = Tat::UNSEEN;
                for cost in [1, 1 << 40, 1 << 60] {
                    let verdict = bucket.decide(tat, bucket.tick(now), Cost::new(cost));
                    assert!(verdict.passes(), "{text}: cost {cost} at {now:?}");
                    tat = verdict.tat();
                }
                let verdict = bucket.decide(tat, bucket.tick(now), Cost::new(u64::MAX));
                assert_eq!(bucket.retry(&verdict), Some(Retry::Never));
                let _ = (bucket.remaining(&verdict), bucket.reset_after(&verdict));
            }
        }
    }

    #[test]
    fn a_stored_word_of_any_value_is_an_answer_never_a_panic() {
        let bucket = TokenBucket::new("3/s burst 7".parse().expect("a limit"));
        for word in [0, 1, 1 << 61, 1 << 62, u64::MAX >> 1, u64::MAX] {
            for now in [Timestamp::ZERO, Timestamp::from_nanos(1), Timestamp::MAX] {
                for cost in [0, 1, 7, 8, u64::MAX] {
                    let verdict = bucket.decide(Tat::from_u64(word), bucket.tick(now), Cost::new(cost));
                    let _ = (
                        bucket.retry(&verdict),
                        bucket.remaining(&verdict),
                        bucket.reset_after(&verdict),
                    );
                    let _ = bucket.give_back(verdict.tat(), Cost::new(cost), Tick(word), bucket.tick(now));
                }
            }
        }
    }
}
